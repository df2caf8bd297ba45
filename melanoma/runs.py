"""python -m melanoma.runs: list the runs in folders."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import RecipeError

if TYPE_CHECKING:
    from melanoma.training.run.survey import RunSummary

app = t.make_app()
_SORTS = ("name", "date", "auroc")
_MACRO = ("macro_auroc", "balanced_accuracy")


@app.command()
def runs(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Where to look."),
    ] = None,
    weights_root: Annotated[
        Path, typer.Option("--weights-root", help="Looked in, with results/, without a FOLDER.")
    ] = Path("weights"),
    sort: Annotated[str, typer.Option("--sort", help="name, date or auroc.")] = "name",
    curves: Annotated[
        Path | None,
        typer.Option("--curves", help="Draw loss and rate by epoch into this folder."),
    ] = None,
    json: t.AsJson = False,
) -> None:
    """List the runs below folders. Two of them side by side: python -m melanoma.compare A B.

    --curves draws every run's loss and learning rate by epoch, while it trains too.
    """
    from melanoma.training.run.survey import find_runs, summarize_run

    if sort not in _SORTS:
        raise RecipeError(f"--sort {sort}: {', '.join(_SORTS)}")
    named = folders or [path for path in (weights_root, Path("results")) if path.is_dir()]
    summaries = [summarize_run(path) for path in find_runs(named)]
    if curves is not None:
        from melanoma.workflows.curves import save_curves

        for path in save_curves([run.folder for run in summaries], curves, say=t.say):
            t.answer(str(path))
        return
    summaries = sorted(summaries, key=_key(sort))
    if json:
        t.answer_json([_content(run) for run in summaries])
    elif not summaries:
        t.answer(f"no runs below {', '.join(map(str, named)) or 'weights/ and results/'}")
    else:
        _say_runs(summaries)


def _key(sort: str) -> Any:
    from melanoma.training.run.survey import numeric_order

    def key(run: RunSummary) -> Any:
        place = numeric_order(str(run.folder))
        if sort == "auroc":
            value = _sorting_value(run)
            return value is None, -(value or 0.0), place
        return (run.created, place) if sort == "date" else (place,)

    return key


def _sorting_value(run: RunSummary) -> float | None:
    """The pooled AUROC (macro, where no class is a melanoma), else the mean over the folds."""
    for metric in ("auroc", "macro_auroc"):
        if run.value(metric) is not None:
            return run.value(metric)
    known = [fold.metric for fold in run.folds if fold.metric is not None]
    return sum(known) / len(known) if known else None


def _say_runs(summaries: list[RunSummary]) -> None:
    sound = [run for run in summaries if not run.damage]
    macro = [metric for metric in _MACRO if any(metric in run.metrics for run in sound)]
    heads = ["run", "recipe", "backbone", "px", "folds", "ep.", "AUROC"]
    heads += [{"macro_auroc": "macro", "balanced_accuracy": "bal.acc"}[m] for m in macro]
    heads += ["date", "time"]
    # A terminal has a hundred columns: with those of the classes, --json alone has these two.
    columns = [i for i, head in enumerate(heads) if not (macro and head in ("recipe", "date"))]
    table = [heads]
    for run in sound:
        model, image = run.recipe.get("model", {}), run.recipe.get("image", {})
        table.append(
            [
                str(run.folder),
                run.recipe_digest[:7],
                str(model.get("backbone", "")),
                str(image.get("size", "")),
                f"{run.finished}/{run.folds_expected}",
                _epochs(run),
                _auroc(run),
                *(_number(run.value(metric)) for metric in macro),
                run.created[:10],
                t.spoken_seconds(run.seconds),
            ]
        )
    least = {columns.index(0): 20, columns.index(2): 9}
    narrow = [[row[i] for i in columns] for row in table]
    lines = iter(t.table_lines(narrow, least=least, paths=(0,)))
    if sound:
        t.answer(next(lines))
    for run in summaries:
        if run.damage:
            t.answer(f"{run.folder}: damaged: {run.damage}")
            continue
        t.answer(next(lines))
        for note in _notes(run):
            t.answer(f"  {note}")


def _epochs(run: RunSummary) -> str:
    numbers = sorted({fold.epoch for fold in run.folds})
    return "-".join(str(n) for n in dict.fromkeys((*numbers[:1], *numbers[-1:])))


def _auroc(run: RunSummary) -> str:
    if run.evaluated:
        metric = "auroc" if run.value("auroc") is not None else "macro_auroc"
        return _interval(run.metrics.get(metric))
    known = [fold.metric for fold in run.folds if fold.metric is not None]
    if len(run.folds) > 5 and known:
        return f"{sum(known) / len(known):.3f}, {min(known):.2f}-{max(known):.2f}"
    return " ".join(_number(fold.metric, 2) for fold in run.folds)


def _notes(run: RunSummary) -> list[str]:
    """Where an unfinished run stands, and what must not be overlooked."""
    notes = []
    for fold in run.folds:
        if not fold.finished:
            notes.append(f"fold {fold.fold}: epoch {fold.epoch} of {fold.planned} done")
    begun = {fold.fold for fold in run.folds}
    absent = [str(n) for n in range(run.folds_expected) if n not in begun]
    if absent:
        notes.append(f"{'folds' if len(absent) > 1 else 'fold'} {', '.join(absent)}: not trained")
    if run.folds and not run.evaluated:
        notes.append("AUROC of each fold; not evaluated yet: python -m melanoma.evaluate")
    if run.leaks:
        notes.append("LEAK: what was held out had been trained on; the report says which")
    if run.phantoms:
        notes.append("trained on drawings: its figures say nothing of photographs")
    for result in run.external:
        caught = result["sensitivity"]["value"]
        flagged = "" if caught is None else f", {caught:.0%} of melanomas flagged"
        notes.append(f"elsewhere, {result['name']}: AUROC {_interval(result['auroc'])}{flagged}")
    return notes


def _content(run: RunSummary) -> dict[str, Any]:
    """What --json says of a run."""
    values = asdict(run)
    values["folder"] = str(run.folder)
    for fold in values["folds"]:
        fold["seconds"] = round(fold["seconds"], 1)
    return {**values, "evaluated": run.evaluated, "seconds": round(run.seconds, 1)}


def _interval(metric: dict[str, Any] | None) -> str:
    value = (metric or {}).get("value")
    if metric is None or value is None:
        return "-"
    low, high = metric.get("low"), metric.get("high")
    return f"{value:.3f}" if low is None or high is None else f"{value:.3f} ({low:.3f}-{high:.3f})"


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


if __name__ == "__main__":
    t.run(app)
