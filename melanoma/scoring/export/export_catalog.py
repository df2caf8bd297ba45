"""EXPORTS: every format that a bundle is written in, by its name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from melanoma.errors import RecipeError, suggest
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.export.export_folder import Exported
from melanoma.scoring.export.export_options import ExportOptions
from melanoma.scoring.export.huggingface import export_huggingface
from melanoma.scoring.export.onnx import export_onnx
from melanoma.scoring.export.openvino import export_openvino

Export = Callable[[Bundle, Path, ExportOptions], Exported]

# Adding a format is one entry here and its name in FORMATS.
EXPORTS: dict[str, Export] = {
    "onnx": export_onnx,
    "openvino": export_openvino,
    "huggingface": export_huggingface,
}


def find_export(name: str) -> Export:
    """The export of that name. Raises RecipeError listing the known."""
    if name not in EXPORTS:
        raise RecipeError(f"--to {name}: {suggest(name, EXPORTS)}")
    return EXPORTS[name]
