"""Pictures of other things as people send them: whole, compressed, small.

A folder's pictures are halved by their names: the score was built with a look at one half, and the
other was looked at once, when it was done.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from melanoma.data.images import SUFFIXES, Pixels, decode_image
from melanoma.errors import ImageError

HALVES = ("tuned", "looked at once")
_SMALL = 224
_LARGEST, _LEAST, _NARROW = 1600, 48, 9


def half_of(path: Path) -> str:
    """Which half a picture belongs to, by its file's name alone."""
    return HALVES[int(md5(path.name.encode()).hexdigest(), 16) % 2]


def pictures_in_forms(folder: Path) -> Iterator[tuple[Pixels, str, str]]:
    """(pixels, form, half) of every picture in the folder, five forms each."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in SUFFIXES:
            continue
        try:
            image = _on_white(path)
        except (UnidentifiedImageError, OSError):
            continue
        if min(image.size) < _LEAST or max(image.size) > _NARROW * min(image.size):
            continue
        for form, data in _forms(image):
            try:
                pixels = decode_image(data).pixels
            except ImageError:
                continue  # refused, whatever it would be called
            yield pixels, form, half_of(path)


def _on_white(path: Path) -> Image.Image:
    with Image.open(path) as file:
        layered = file.convert("RGBA")
    white = Image.new("RGBA", layered.size, (255, 255, 255, 255))
    white.alpha_composite(layered)
    image = white.convert("RGB")
    image.thumbnail((_LARGEST, _LARGEST))
    return image


def _forms(image: Image.Image) -> Iterator[tuple[str, bytes]]:
    scale = _SMALL / min(image.size)
    small = image.resize(
        (round(image.width * scale), round(image.height * scale)), Image.Resampling.BICUBIC
    )
    for form, one, kind, options in (
        ("PNG", image, "PNG", {}),
        ("JPEG 92", image, "JPEG", {"quality": 92}),
        ("JPEG 60", image, "JPEG", {"quality": 60}),
        ("224 pixels, PNG", small, "PNG", {}),
        ("224 pixels, JPEG 85", small, "JPEG", {"quality": 85}),
    ):
        yield form, _saved(one, kind, **options)


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()
