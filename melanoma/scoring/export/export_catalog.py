"""EXPORTS: every format that a bundle is written in, by its name.

Nothing here imports torch: an entry imports what it needs when it is called, and --help waits for
none of it.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from melanoma.errors import RecipeError, suggest
from melanoma.scoring.export.export_options import ExportOptions

if TYPE_CHECKING:
    from melanoma.scoring.bundle.bundle import Bundle
    from melanoma.scoring.export.export_folder import Exported

Export: TypeAlias = "Callable[[Bundle, Path, ExportOptions], Exported]"


def _onnx(bundle: Bundle, folder: Path, options: ExportOptions) -> Exported:
    from melanoma.scoring.export.onnx import export_onnx

    return export_onnx(bundle, folder, options)


def _openvino(bundle: Bundle, folder: Path, options: ExportOptions) -> Exported:
    from melanoma.scoring.export.openvino import export_openvino

    return export_openvino(bundle, folder, options)


def _huggingface(bundle: Bundle, folder: Path, options: ExportOptions) -> Exported:
    from melanoma.scoring.export.huggingface import export_huggingface

    return export_huggingface(bundle, folder, options)


# Adding a format is one entry here.
EXPORTS: dict[str, Export] = {
    "onnx": _onnx,
    "openvino": _openvino,
    "huggingface": _huggingface,
}


def find_export(name: str) -> Export:
    """The export of that name. Raises RecipeError listing the known."""
    if name not in EXPORTS:
        raise RecipeError(f"--to {name}: {suggest(name, EXPORTS)}")
    return EXPORTS[name]
