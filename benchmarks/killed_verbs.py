"""Every command on a tiny run, for killed_commands: its arguments and where it starts."""

from __future__ import annotations

from pathlib import Path

SETTINGS = (
    *("data.images=160", "data.patients=40", "data.size=32", "image.size=32", "name=small"),
    *("model.backbone=resnet18", "model.pretrained=none", "folds.k=2", "folds.name=small"),
    *("training.epochs=1", "evaluation.views=1"),
    "evaluation.resamples=100",
)
SPACE = "trials: 2\nspace:\n  optimizer.rate: {low: 1.0e-4, high: 1.0e-2, log: true}\n"


def recipe(folder: Path) -> list[str]:
    """The options that say which run."""
    given = ["--config", "demo"]
    for setting in SETTINGS:
        given += ["--set", setting]
    return [*given, "--data", f"{folder}/data", "--arrays", f"{folder}/arrays"]


def run_of(folder: Path, weights: str = "w") -> list[str]:
    """The same with its folds and its weights."""
    return [*recipe(folder), "--folds", f"{folder}/folds.csv", "--weights", f"{folder}/{weights}"]


def commands(folder: Path) -> dict[str, tuple[str, list[str], str]]:
    """By name: the module, its arguments, and the state that it starts from."""
    given = recipe(folder)
    sealed = [*given[: given.index("--data")], "--weights", f"{folder}/w"]
    few = ["--resamples", "100"]
    trained = [*run_of(folder), "--device", "cpu", "--fold"]
    blended = [f"{folder}/w", f"{folder}/w2", "--folds", f"{folder}/folds.csv"]
    return {
        "prepare": ("prepare", recipe(folder), "new"),
        "split": ("split", [*recipe(folder), "--folds", f"{folder}/folds.csv"], "prepared"),
        "train": ("train", [*trained, "0"], "split"),
        "evaluate": ("evaluate", run_of(folder), "trained"),
        "evaluate again": (
            "evaluate",
            [*run_of(folder), "--set", "evaluation.resamples=120"],
            "evaluated",
        ),
        "external": (
            "evaluate",
            [
                *("--external", f"{folder}/other.yaml", "--data", f"{folder}/other", "--attach"),
                *("--external-arrays", f"{folder}/other_arrays", *run_of(folder)[-4:]),
            ],
            "evaluated",
        ),
        "ship": ("ship", ["--out", f"{folder}/shipped", *sealed], "evaluated"),
        "export onnx": ("export", [f"{folder}/o", "--to", "onnx", *sealed], "evaluated"),
        "export hf": (
            "export",
            [f"{folder}/h", "--to", "huggingface", *sealed],
            "evaluated",
        ),
        "compare": ("compare", [f"{folder}/w", f"{folder}/w2", *few], "two"),
        "blend": ("blend", [*blended, *few, "--out", f"{folder}/b.csv"], "two"),
        "distill": (
            "distill",
            [f"{folder}/w", *run_of(folder, "student"), "--fold", "0", "--device", "cpu"],
            "evaluated",
        ),
        "sweep": (
            "sweep",
            [
                *(*run_of(folder)[:-2], "--space", f"{folder}/space.yaml"),
                *("--out", f"{folder}/sweep", "--outer", "none", "--device", "cpu"),
            ],
            "split",
        ),
        "predict": (
            "predict",
            [
                *(f"{folder}/data/jpeg/train", "--weights", f"{folder}/w", "--views", "2"),
                *("--out", f"{folder}/scores.csv"),
            ],
            "evaluated",
        ),
        "audit": ("audit", [*run_of(folder)[:-2], "--pictures", f"{folder}/pairs"], "split"),
        "runs": ("runs", [f"{folder}/w", "--curves", f"{folder}/curves"], "evaluated"),
        "lr_range": (
            "lr_range",
            [*run_of(folder)[:-2], "--fold", "0", "--out", f"{folder}/rate.png", "--device", "cpu"],
            "split",
        ),
    }
