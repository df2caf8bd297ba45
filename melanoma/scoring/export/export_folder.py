"""What lies beside an exported graph: what it is, how to ask it, one picture and its answer."""

from __future__ import annotations

import io
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from PIL import Image

from melanoma.data.images import decode_image
from melanoma.evaluation.disclaimer import DISCLAIMER, PICTURES_ONLY
from melanoma.scoring.bundle.bundle import LICENSE, Bundle
from melanoma.scoring.bundle.golden import draw_golden
from melanoma.scoring.export.graph import INPUT, OUTPUTS
from melanoma.scoring.scorer import Scorer
from melanoma.storage import copy_file, write_bytes, write_json, write_text

FORMAT = "melanoma-export/1"
EXAMPLE = "example.png"


@dataclass(frozen=True)
class Exported:
    """What was written: the folder, its format, the bytes of its files, and the largest difference
    of a probability from the bundle's own.

    `architecture` is timm's name of the members' network, and `license_id` what the card states, of
    a Hugging Face folder. `notes` are what its maker must know.
    """

    folder: Path
    to: str
    file_bytes: int
    largest: float
    architecture: str | None = None
    license_id: str | None = None
    notes: tuple[str, ...] = ()


def write_folder(
    stage: Path, bundle: Bundle, *, views: int, runtime: str, file: str, largest: float
) -> None:
    """Write model.json, README.md, score.py, the example and the license beside the graph."""
    image = io.BytesIO()
    Image.fromarray(draw_golden(bundle.size)).save(image, "PNG")
    write_bytes(stage / EXAMPLE, image.getvalue())
    scorer = Scorer(bundle, views=views)
    square = scorer.square(decode_image(image.getvalue()).pixels)
    example = scorer.answer(scorer.member_probabilities(square[None])[0])
    described = {
        **describe(bundle, views=views),
        "runtime": runtime,
        "file": file,
        "largest_difference": largest,
        "example": {"file": EXAMPLE, "probabilities": [*example.by_class.values()]},
    }
    write_json(stage / "model.json", described)
    pictures = PICTURES_ONLY.get(bundle.image_type, "of any kind")
    page = template("README.md.j2").render(m=described, b=bundle, pictures=pictures)
    write_text(stage / "README.md", page)
    write_text(stage / "score.py", template("score.py.j2").render(runtime=runtime))
    copy_license(bundle, stage)


def copy_license(bundle: Bundle, stage: Path) -> None:
    """The bundle's license goes along, where it has one."""
    if bundle.license is not None:
        copy_file(bundle.folder / LICENSE, stage / LICENSE)


def describe(bundle: Bundle, *, views: int) -> dict[str, Any]:
    """What a user of the graph must know, as JSON has it."""
    size = bundle.size
    return {
        "format": FORMAT,
        "name": bundle.name,
        "version": bundle.version,
        "digest": bundle.digest,
        "input": {
            "name": INPUT,
            "shape": ["batch", size, size, 3],
            "type": "uint8",
            "content": "RGB squares, 0 to 255; scaling is in the graph",
            "fit": bundle.fit,
            "image_type": bundle.image_type,
        },
        "outputs": {
            OUTPUTS[0]: ["batch", len(bundle.classes)],
            OUTPUTS[1]: ["batch", len(bundle.members), len(bundle.classes)],
        },
        "classes": list(bundle.classes),
        "melanoma": list(bundle.melanoma),
        "folds": [member.fold for member in bundle.members],
        "views": views,
        "views_evaluated": bundle.views,
        "calibrated": bundle.is_calibrated,
        "prevalence": bundle.prevalence,
        "thresholds": [asdict(point) for point in bundle.points],
        "phantoms": bundle.phantoms,
        "disclaimer": DISCLAIMER,
    }


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("melanoma.scoring.export"),
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        undefined=jinja2.StrictUndefined,
    )


def template(name: str) -> jinja2.Template:
    """A template of this room."""
    return _environment().get_template(name)


def folder_bytes(folder: Path) -> int:
    """The bytes of all files in a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
