"""What lies in run folders, read from their small files alone: no weights, no scores, no torch.

A run is WEIGHTS/RECIPE or results/RECIPE: recipe.yaml and report.json once it was evaluated, and
fold_N/ with recipe.yaml, run.json and metrics.jsonl. Reports of every format are read.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from melanoma.errors import DataError, MelanomaError, RecipeError
from melanoma.recipe.overrides import make_recipe
from melanoma.storage import read_text
from melanoma.training.run.facts import RunFacts, RunStart, read_facts

Values = dict[str, Any]


@dataclass(frozen=True)
class FoldProgress:
    """How far a fold is: its last epoch of `planned`, and what it reached there.

    `metric` is the AUROC (macro AUROC where no class is a melanoma) of the kept epoch, or of the
    last one while it trains; None before the first.
    """

    fold: int
    finished: bool
    epoch: int
    planned: int
    metric: float | None
    seconds: float


@dataclass(frozen=True)
class RunSummary:
    """One run folder. With `damage`, a sentence, nothing else but `folder` can be relied on.

    `metrics` is report.json's, empty before evaluation; `recipe` has every field, defaults too.
    Digests are those written down when it was trained.
    """

    folder: Path
    damage: str = ""
    name: str = ""
    recipe: Values = field(default_factory=dict)
    recipe_digest: str = ""
    folds_digest: str = ""
    folds_expected: int = 0
    folds: tuple[FoldProgress, ...] = ()
    metrics: dict[str, Values] = field(default_factory=dict)
    created: str = ""  # ISO 8601, UTC; of the report, else of the newest file
    leaks: bool = False
    phantoms: bool = False
    external: tuple[Values, ...] = ()  # report.json's external_results

    @property
    def evaluated(self) -> bool:
        """Whether there is a report."""
        return bool(self.metrics)

    @property
    def seconds(self) -> float:
        """What all folds took."""
        return sum(fold.seconds for fold in self.folds)

    @property
    def finished(self) -> int:
        """How many folds are finished."""
        return sum(fold.finished for fold in self.folds)

    def value(self, metric: str) -> float | None:
        """The report's value of a metric; None where it has none."""
        interval = self.metrics.get(metric) or {}
        return interval.get("value")


def numeric_order(text: str) -> list[str | int]:
    """A key that sorts names as a person does: v2 before v10."""
    return [int(p) if p.isdecimal() else p for p in re.split(r"([0-9]+)", text)]


def find_runs(folders: Sequence[Path]) -> list[Path]:
    """Every run folder at or below `folders`, sorted. Raises DataError for one that is absent."""
    run_folders: dict[Path, None] = {}
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"no folder {folder}")
        run_folders |= dict.fromkeys(_runs_below(folder))
    return list(run_folders)


def is_run(folder: Path) -> bool:
    """Whether the folder looks like a run, sound or not."""
    if (folder / "report.json").is_file():
        return True
    return any((fold / "recipe.yaml").is_file() for fold in folder.glob("fold_*"))


def summarize_run(folder: Path) -> RunSummary:
    """The folder's summary; one that cannot be read has `damage` instead of numbers."""
    try:
        return _summarize(folder)
    except (MelanomaError, OSError) as error:
        return RunSummary(folder, damage=" ".join(str(error).split()), name=folder.name)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        return RunSummary(folder, damage=f"not what a run writes ({what})", name=folder.name)


def _runs_below(folder: Path) -> Iterator[Path]:
    for place, below, _ in os.walk(folder):
        below.sort(key=numeric_order)
        # A report on an external set, below a run, is not a run.
        if is_run(Path(place)):
            below.clear()
            yield Path(place)


def _summarize(folder: Path) -> RunSummary:
    report = _read_json(folder / "report.json")
    parts = sorted(folder.glob("fold_*/run.json"), key=lambda path: int(path.parent.name[5:]))
    facts = [fold_facts for path in parts if (fold_facts := read_facts(path.parent)) is not None]
    where = folder if (folder / "recipe.yaml").is_file() else _first_recipe(folder)
    recipe = _read_recipe(where / "recipe.yaml")
    if report is not None:
        return _evaluated(folder, recipe, report)
    return RunSummary(
        folder,
        name=str(recipe["name"]),
        recipe=recipe,
        recipe_digest=facts[0].recipe_digest if facts else "",
        folds_digest=facts[0].folds_digest if facts else "",
        folds_expected=int(recipe["folds"]["k"]),
        folds=tuple(
            _read_fold(path.parent, fold_facts, recipe)
            for path, fold_facts in zip(parts, facts, strict=True)
        ),
        created=_newest(parts),
        leaks=any(fold_facts.leaks for fold_facts in facts),
    )


def _evaluated(folder: Path, recipe: Values, report: Values) -> RunSummary:
    return RunSummary(
        folder,
        name=str(report["recipe"]),
        recipe=recipe,
        recipe_digest=str(report["digests"]["recipe_digest"]),
        folds_digest=str(report["digests"]["folds_digest"]),
        folds_expected=int(report["folds_expected"]),
        folds=tuple(_reported_fold(line, recipe) for line in report["folds"]),
        metrics={key: dict(interval) for key, interval in report["metrics"].items()},
        created=str(report["created"]),
        leaks=any(str(warning).startswith("LEAK") for warning in report["warnings"]),
        phantoms=recipe["data"]["reader"] == "phantoms",
        external=tuple(dict(result) for result in report.get("external_results", ())),
    )


def _reported_fold(line: Values, recipe: Values) -> FoldProgress:
    """From a line of report.json's folds; its AUROC is macro where no class is a melanoma."""
    return FoldProgress(
        int(line["fold"]),
        True,
        int(line["last_epoch"]),
        int(recipe["training"]["epochs"]),
        line["auroc"],
        float(line["seconds"]),
    )


def _read_fold(folder: Path, facts: RunStart, recipe: Values) -> FoldProgress:
    history = _read_lines(folder / "metrics.jsonl")
    last = history[-1] if history else {}
    if isinstance(facts, RunFacts) and facts.kept == "best":
        best_lines = [line for line in history if line["epoch"] == facts.best_epoch]
        last = best_lines[-1] if best_lines else last
    metric = last.get("auroc")
    return FoldProgress(
        facts.fold,
        facts.finished,
        int(history[-1]["epoch"]) if history else 0,
        int(recipe["training"]["epochs"]),
        last.get("macro_auroc") if metric is None else metric,
        float(sum(line["seconds"] for line in history)),
    )


def _first_recipe(folder: Path) -> Path:
    recipe_files = sorted(folder.glob("fold_*/recipe.yaml"))
    if not recipe_files:
        raise DataError("no recipe.yaml")
    return recipe_files[0].parent


def _read_recipe(path: Path) -> Values:
    """The recipe with every default; as it stands, where this version would refuse it."""
    try:
        values = yaml.safe_load(read_text(path))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise DataError(f"{path.name} is not YAML") from error
    if not isinstance(values, dict):
        raise DataError(f"{path.name} holds no recipe")
    try:
        return make_recipe(values).model_dump(mode="json")
    except RecipeError:
        return values


def _read_json(path: Path) -> Values | None:
    try:
        values = json.loads(read_text(path))
    except FileNotFoundError:
        return None
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{_short(path)} is not JSON") from error
    if not isinstance(values, dict):
        raise DataError(f"{_short(path)} holds no record")
    return values


def _read_lines(path: Path) -> list[Values]:
    """metrics.jsonl, line by line; none before the first epoch."""
    if not path.is_file():
        return []
    try:
        return [json.loads(line) for line in read_text(path).splitlines()]
    except (ValueError, UnicodeDecodeError) as error:
        raise DataError(f"{_short(path)} is not JSON lines") from error


def _newest(paths: Sequence[Path]) -> str:
    times = [path.stat().st_mtime for path in paths]
    return datetime.fromtimestamp(max(times), UTC).isoformat(timespec="seconds") if times else ""


def _short(path: Path) -> str:
    fold = path.parent.name
    return f"{fold}/{path.name}" if fold.startswith("fold_") else path.name
