"""Pictures of other things than lesions, by kind: what ships in packages, and what is drawn here.

All from a seed; nothing is fetched. Each picture is (H, W, 3) uint8 RGB of any size.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import matplotlib
import numpy as np
import skimage
import sklearn.datasets
from PIL import Image, ImageDraw, ImageFont

from melanoma.data.images import Pixels, decode_image
from melanoma.data.phantoms.drawing import draw_phantom

ROOT = Path(__file__).resolve().parents[1]
SIZE = 256
PHOTOGRAPHS = (
    *("astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png"),
    *("motorcycle_right.png", "camera.png", "clock_motion.png", "hubble_deep_field.jpg"),
    *("moon.png", "coins.png", "color.png"),
)
TEXTURES = ("brick.png", "grass.png", "gravel.png")
MEDICAL = ("retina.jpg", "ihc.png", "microaneurysms.png", "cell.png", "phantom.png")
TEXT = ("page.png", "text.png")
DRAWN = ("chessboard_GRAY.png", "chessboard_RGB.png", "logo.png", "horse.png")
SKIN = ((240, 194, 189), (242, 219, 189), (214, 196, 201), (168, 125, 105), (222, 153, 145))
_WORDS = "The quick brown fox jumps over the lazy dog while fourteen wizards brew tea. " * 30


def pictures_by_kind(seed: int = 0) -> dict[str, list[Pixels]]:
    """Every kind's pictures, in a fixed order."""
    kinds: dict[str, Callable[[np.random.Generator], Iterator[Pixels]]] = {
        "photographs": _photographs,
        "faces": _faces,
        "textures": _textures,
        "medical images": lambda _: _shipped(MEDICAL),
        "text": _text,
        "drawings": _drawings,
        "noise": _noise,
        "plain colors": _plain,
        "drawn bare skin": _bare_skin,
        "phantoms": _phantoms,
    }
    return {
        kind: list(make(np.random.default_rng((seed, number))))
        for number, (kind, make) in enumerate(kinds.items())
    }


def _shipped(names: tuple[str, ...]) -> Iterator[Pixels]:
    folder = Path(skimage.__file__).parent / "data"
    for name in names:
        yield _read(folder / name)


def _read(path: Path) -> Pixels:
    with Image.open(path) as image:
        pixels: Pixels = np.asarray(image.convert("RGBA"))
    alpha = pixels[..., 3:].astype(np.float32) / 255
    return (pixels[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


def _photographs(rng: np.random.Generator) -> Iterator[Pixels]:
    """Whole, and a part of each: the middle of a photograph need not be its subject."""
    samples = Path(matplotlib.get_data_path()) / "sample_data"
    own = [_read(samples / name) for name in ("grace_hopper.jpg", "Minduka_Present_Blue_Pack.png")]
    whole = [*_shipped(PHOTOGRAPHS), *sklearn.datasets.load_sample_images().images, *own]
    for pixels in whole:
        yield pixels
        yield _part(pixels, rng)


def _part(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    side = min(pixels.shape[:2]) // 2
    top, left = (int(rng.integers(0, n - side + 1)) for n in pixels.shape[:2])
    return pixels[top : top + side, left : left + side]


def _faces(_: np.random.Generator) -> Iterator[Pixels]:
    """Two in color, and 20 of scikit-image's small gray ones."""
    folder = Path(skimage.__file__).parent / "data"
    yield _read(folder / "astronaut.png")[0:200, 130:330]
    yield _read(Path(matplotlib.get_data_path()) / "sample_data" / "grace_hopper.jpg")[
        20:330, 120:430
    ]
    for face in np.load(folder / "lfw_subset.npy")[:20]:
        gray = (255 * face).astype(np.uint8)
        yield np.repeat(gray[..., None], 3, axis=2)


def _textures(rng: np.random.Generator) -> Iterator[Pixels]:
    for pixels in _shipped(TEXTURES):
        yield pixels
        for _ in range(5):
            yield _part(pixels, rng)


def _text(rng: np.random.Generator) -> Iterator[Pixels]:
    """Two scans, and drawn screens of text."""
    yield from _shipped(TEXT)
    for _ in range(18):
        dark = rng.random() < 0.4
        paper, ink = (tuple(int(c) for c in rng.integers(*r, 3)) for r in ((225, 256), (0, 70)))
        if dark:
            paper, ink = ink, paper
        image = Image.new("RGB", (640, 480), paper)
        pen, font = ImageDraw.Draw(image), ImageFont.load_default(size=int(rng.integers(10, 40)))
        start = int(rng.integers(0, 70))
        lines = textwrap.wrap(_WORDS[start:], width=int(rng.integers(20, 90)))
        pen.multiline_text((15, 15), "\n".join(lines), fill=ink, font=font)
        yield np.asarray(image)


def _drawings(rng: np.random.Generator) -> Iterator[Pixels]:
    """Boards and logos, and scenes of colored shapes."""
    yield from _shipped(DRAWN)
    for _ in range(16):
        image = Image.new("RGB", (SIZE, SIZE), tuple(int(c) for c in rng.integers(0, 256, 3)))
        pen = ImageDraw.Draw(image)
        for _ in range(int(rng.integers(2, 9))):
            box = [int(v) for v in np.sort(rng.integers(0, SIZE, (2, 2)), axis=0).ravel()]
            color = tuple(int(c) for c in rng.integers(0, 256, 3))
            (pen.rectangle if rng.random() < 0.5 else pen.ellipse)(box, fill=color)
        yield np.asarray(image)


def _noise(rng: np.random.Generator) -> Iterator[Pixels]:
    """From single pixels to soft clouds, gray and colored."""
    for cells in (4, 8, 16, 32, 64, SIZE):
        for channels in (1, 3):
            for spread in (30, 80):
                grid = rng.normal(128, spread, (cells, cells, channels)).astype(np.float32)
                drawn = cv2.resize(grid, (SIZE, SIZE), interpolation=cv2.INTER_CUBIC)
                yield np.broadcast_to(
                    drawn.reshape(SIZE, SIZE, channels).clip(0, 255), (SIZE, SIZE, 3)
                ).astype(np.uint8)


def _plain(rng: np.random.Generator) -> Iterator[Pixels]:
    """One color, black and white among them, and even slopes from one to another."""
    colors = [np.zeros(3), np.full(3, 255), np.full(3, 128), *rng.integers(0, 256, (9, 3))]
    for color in colors:
        yield np.broadcast_to(color, (SIZE, SIZE, 3)).astype(np.uint8)
    slope = np.linspace(0, 1, SIZE)[:, None, None]
    for first, last in rng.integers(0, 256, (8, 2, 3)):
        yield np.broadcast_to(first + slope * (last - first), (SIZE, SIZE, 3)).astype(np.uint8)


def _bare_skin(rng: np.random.Generator) -> Iterator[Pixels]:
    """Skin without a lesion: tones, uneven light, some grain, some hairs."""
    for number in range(24):
        light = cv2.resize(
            rng.normal(0, 1, (4, 4)).astype(np.float32), (SIZE, SIZE), interpolation=cv2.INTER_CUBIC
        )
        grain = rng.normal(0, float(rng.uniform(1, 5)), (SIZE, SIZE, 1))
        skin = np.array(SKIN[number % len(SKIN)]) + 6 * light[..., None] + grain
        image = np.ascontiguousarray(skin.clip(0, 255).astype(np.uint8))
        for _ in range(int(rng.integers(0, 12)) if number % 2 else 0):
            ends = rng.integers(0, SIZE, (2, 2))
            cv2.line(image, ends[0].tolist(), ends[1].tolist(), (60, 45, 40), 1, cv2.LINE_AA)
        yield image


def _phantoms(rng: np.random.Generator) -> Iterator[Pixels]:
    """Drawn dermoscopy, lesions and all: the hardest of what is none."""
    for number in range(24):
        yield draw_phantom(melanoma=bool(number % 2), rng=rng, size=SIZE)
    for path in sorted((ROOT / "api" / "page" / "samples").glob("*.jpg")):
        yield decode_image(path.read_bytes()).pixels
