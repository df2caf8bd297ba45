"""K-fold training of skin-lesion classifiers, honest reports, one melanoma probability.

The names below are the library's public ones: `from melanoma import load_bundle, Scorer`. They are
imported when they are asked for. The commands are modules of the same package (melanoma.train ...).
"""

from __future__ import annotations

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# Before torch is imported: OpenMP threads that spin long while they wait bring two processes that
# share a few cores nearly to a halt; short spins cost a process that is alone next to nothing.
os.environ.setdefault("GOMP_SPINCOUNT", "2000")

if TYPE_CHECKING:
    from melanoma.data.arrays import ImageArray, load_array
    from melanoma.data.augmentation import Augmentation
    from melanoma.data.folds import FoldTable, load_folds, make_folds
    from melanoma.data.images import decode_image
    from melanoma.data.leaks import audit_folds
    from melanoma.data.phantoms.dataset import make_phantoms
    from melanoma.data.readers.reader_catalog import read_lesions
    from melanoma.data.readers.table import LesionTable
    from melanoma.errors import FoldError, MelanomaError
    from melanoma.evaluation.compare.evaluated_run import load_evaluated
    from melanoma.evaluation.render.figures import save_figures
    from melanoma.evaluation.render.text import report_lines
    from melanoma.evaluation.report.schema import validate_report
    from melanoma.recipe.overrides import load_recipe, make_recipe
    from melanoma.recipe.recipe import Recipe
    from melanoma.scoring.bundle.bundle import Bundle, load_bundle
    from melanoma.scoring.explain.explainers import explain_gradcam, explain_lime
    from melanoma.scoring.explain.pictures import draw_explanation
    from melanoma.scoring.load import load
    from melanoma.scoring.prediction import Prediction
    from melanoma.scoring.scorer import Scorer
    from melanoma.workflows.compare import compare_runs_in
    from melanoma.workflows.curves import save_curves
    from melanoma.workflows.evaluate import evaluate_folds
    from melanoma.workflows.external import evaluate_external, evaluate_test
    from melanoma.workflows.prepare import prepare_array
    from melanoma.workflows.split import split_folds
    from melanoma.workflows.train import select_folds, train_fold
    from melanoma.workflows.watch import Watch

__all__ = [
    "Augmentation",
    "Bundle",
    "FoldError",
    "FoldTable",
    "ImageArray",
    "LesionTable",
    "MelanomaError",
    "Prediction",
    "Recipe",
    "Scorer",
    "Watch",
    "audit_folds",
    "compare_runs_in",
    "decode_image",
    "draw_explanation",
    "evaluate_external",
    "evaluate_folds",
    "evaluate_test",
    "explain_gradcam",
    "explain_lime",
    "load",
    "load_array",
    "load_bundle",
    "load_evaluated",
    "load_folds",
    "load_recipe",
    "make_folds",
    "make_phantoms",
    "make_recipe",
    "prepare_array",
    "read_lesions",
    "report_lines",
    "save_curves",
    "save_figures",
    "select_folds",
    "split_folds",
    "train_fold",
    "validate_report",
]

_PUBLIC = {
    "Augmentation": "data.augmentation",
    "Bundle": "scoring.bundle.bundle",
    "FoldError": "errors",
    "FoldTable": "data.folds",
    "ImageArray": "data.arrays",
    "LesionTable": "data.readers.table",
    "MelanomaError": "errors",
    "Prediction": "scoring.prediction",
    "Recipe": "recipe.recipe",
    "Scorer": "scoring.scorer",
    "Watch": "workflows.watch",
    "audit_folds": "data.leaks",
    "compare_runs_in": "workflows.compare",
    "decode_image": "data.images",
    "draw_explanation": "scoring.explain.pictures",
    "evaluate_external": "workflows.external",
    "evaluate_folds": "workflows.evaluate",
    "evaluate_test": "workflows.external",
    "explain_gradcam": "scoring.explain.explainers",
    "explain_lime": "scoring.explain.explainers",
    "load": "scoring.load",
    "load_array": "data.arrays",
    "load_bundle": "scoring.bundle.bundle",
    "load_evaluated": "evaluation.compare.evaluated_run",
    "load_folds": "data.folds",
    "load_recipe": "recipe.overrides",
    "make_folds": "data.folds",
    "make_phantoms": "data.phantoms.dataset",
    "make_recipe": "recipe.overrides",
    "prepare_array": "workflows.prepare",
    "read_lesions": "data.readers.reader_catalog",
    "report_lines": "evaluation.render.text",
    "save_curves": "workflows.curves",
    "save_figures": "evaluation.render.figures",
    "select_folds": "workflows.train",
    "split_folds": "workflows.split",
    "train_fold": "workflows.train",
    "validate_report": "evaluation.report.schema",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"melanoma.{_PUBLIC[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*globals(), *_PUBLIC]
