"""A contact sheet: squares in rows with a few words under each, for a person to look at."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from melanoma.data.images import Pixels
from melanoma.storage import write_atomic

_SIDE = 180  # of a square on the sheet, px
_GAP = 12
_FONT_SIZE = 13
_LINE = 17
_PAPER, _INK, _PALE = "white", "#1a1a1a", "#5f5f5f"


class Tile(NamedTuple):
    """A square (S, S, 3) uint8 RGB and the lines under it; the first is set darker."""

    pixels: Pixels
    lines: tuple[str, ...] = ()


def save_contact_sheet(path: Path, rows: Sequence[Sequence[Tile]], *, title: str = "") -> None:
    """Write the tiles as one PNG, a row of tiles a row of the sheet. Raises StorageError."""
    sheet = draw_contact_sheet(rows, title=title)
    data = io.BytesIO()
    sheet.save(data, "PNG")
    write_atomic(path, lambda file: file.write(data.getvalue()), needed=len(data.getvalue()))


def draw_contact_sheet(rows: Sequence[Sequence[Tile]], *, title: str = "") -> Image.Image:
    """The sheet; lines that are wider than their square are cut with an ellipsis."""
    font = ImageFont.load_default(_FONT_SIZE)
    heading = ImageFont.load_default(_FONT_SIZE + 5)
    columns = max((len(row) for row in rows), default=1)
    top = 3 * _GAP + _FONT_SIZE if title else _GAP
    heights = [
        _SIDE + _LINE * max((len(t.lines) for t in row), default=0) + 2 * _GAP for row in rows
    ]
    width = max(columns * (_SIDE + _GAP) + _GAP, int(heading.getlength(title)) + 2 * _GAP)
    sheet = Image.new("RGB", (width, top + sum(heights) + _GAP), _PAPER)
    draw = ImageDraw.Draw(sheet)
    draw.text((_GAP, _GAP), title, fill=_INK, font=heading)
    for row, height in zip(rows, heights, strict=True):
        for column, tile in enumerate(row):
            left = _GAP + column * (_SIDE + _GAP)
            sheet.paste(_square(tile.pixels), (left, top))
            for number, line in enumerate(tile.lines):
                place = (left, top + _SIDE + 4 + number * _LINE)
                color = _PALE if number else _INK
                draw.text(place, _fitting(line, font), fill=color, font=font)
        top += height
    return sheet


def _square(pixels: Pixels) -> Image.Image:
    image = Image.fromarray(np.ascontiguousarray(pixels))
    # Enlarged pixels are shown as they are; a smooth one would look like a sharper photograph.
    smaller = max(image.size) < _SIDE
    how = Image.Resampling.NEAREST if smaller else Image.Resampling.LANCZOS
    return image.resize((_SIDE, _SIDE), how)


def _fitting(line: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    if font.getlength(line) <= _SIDE:
        return line
    while line and font.getlength(line + "\N{HORIZONTAL ELLIPSIS}") > _SIDE:
        line = line[:-1]
    return line + "\N{HORIZONTAL ELLIPSIS}"
