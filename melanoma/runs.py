"""python -m melanoma.runs: list the runs in folders, compare some, draw one's mistakes."""

from __future__ import annotations

import time
from dataclasses import asdict
from pathlib import Path
from textwrap import fill
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import DataError, RecipeError
from melanoma.recipe.recipe import differences

if TYPE_CHECKING:
    from melanoma.training.run.survey import RunSummary

app = t.make_app()
_SORTS = ("name", "date", "auroc")
_MACRO = ("macro_auroc", "balanced_accuracy")


@app.command()
def runs(
    folders: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FOLDER]...", help="Where to look; or two or more runs."),
    ] = None,
    weights_root: Annotated[
        Path, typer.Option("--weights-root", help="Looked in, with results/, without a FOLDER.")
    ] = Path("weights"),
    sort: Annotated[str, typer.Option("--sort", help="name, date or auroc.")] = "name",
    pictures: Annotated[
        Path | None,
        typer.Option("--pictures", help="Draw the one run's mistakes into this folder."),
    ] = None,
    curves: Annotated[
        Path | None,
        typer.Option("--curves", help="Draw loss and rate by epoch into this folder."),
    ] = None,
    arrays: t.Arrays = t.DEFAULT_ARRAYS,
    json: t.AsJson = False,
) -> None:
    """List the runs below folders; set two or more side by side; draw one's mistakes.

    Whether the better of two is better by more than chance, python -m melanoma.compare A B says.
    --curves draws every run's loss and learning rate by epoch, while it trains too.
    --pictures writes confusion.png and wrong_confidence.png, and of photographs
    mistakes_confident.png, mistakes_unsure.png and largest_losses.png.
    """
    from melanoma.training.run.survey import find_runs, is_run, summarize_run

    if sort not in _SORTS:
        raise RecipeError(f"--sort {sort}: {', '.join(_SORTS)}")
    named = folders or [path for path in (weights_root, Path("results")) if path.is_dir()]
    found = [summarize_run(path) for path in find_runs(named)]
    if pictures is not None:
        if len(found) != 1 or len(named) != 1:
            raise RecipeError("--pictures: name one run's folder")
        _draw(found[0], pictures, arrays)
        return
    if curves is not None:
        from melanoma.workflows.curves import save_curves

        for path in save_curves([run.folder for run in found], curves, say=t.say):
            t.answer(str(path))
        return
    if folders and len(folders) > 1 and all(is_run(folder) for folder in folders):
        _compare(found, as_json=json)
        return
    found = sorted(found, key=_key(sort))
    if json:
        t.answer_json([_content(run) for run in found])
    elif not found:
        t.answer(f"no runs below {', '.join(map(str, named)) or 'weights/ and results/'}")
    else:
        _say_runs(found)


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


def _say_runs(found: list[RunSummary]) -> None:
    sound = [run for run in found if not run.damage]
    macro = [metric for metric in _MACRO if any(metric in run.metrics for run in sound)]
    heads = ["run", "recipe", "backbone", "px", "folds", "ep.", "AUROC"]
    heads += [{"macro_auroc": "macro", "balanced_accuracy": "bal.acc"}[m] for m in macro]
    heads += ["date", "time"]
    # A terminal has a hundred columns: with those of the classes, --json alone has these two.
    kept = [i for i, head in enumerate(heads) if not (macro and head in ("recipe", "date"))]
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
    least = {kept.index(0): 20, kept.index(2): 9}
    narrow = [[row[i] for i in kept] for row in table]
    lines = iter(t.table_lines(narrow, least=least, paths=(0,)))
    if sound:
        t.answer(next(lines))
    for run in found:
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
        notes.append("LEAK: trained on a leaking fold file")
    return notes


def _compare(found: list[RunSummary], *, as_json: bool) -> None:
    sound = [run for run in found if not run.damage]
    differ = [(run, differences(run.recipe, sound[0].recipe)) for run in sound[1:]]
    digests = {run.folds_digest for run in sound}
    same = len(digests) == 1 and "" not in digests
    if as_json:
        t.answer_json(
            {
                "runs": [_content(run) for run in found],
                "same_folds": same,
                "differences": [
                    {"from": str(sound[0].folder), "to": str(run.folder), "fields": fields}
                    for run, fields in differ
                ],
            }
        )
        return
    for run in found:
        if run.damage:
            t.answer(f"{run.folder}: damaged: {run.damage}")
    if len(sound) < 2:
        t.answer("nothing to compare: two sound runs are needed")
        return
    _say_metrics(sound)
    for run, fields in differ:
        t.answer("")
        t.answer(f"recipe, {sound[0].folder} -> {run.folder}:")
        for line in fields or ["no field differs"]:
            t.answer(fill(line, 98, initial_indent="  ", subsequent_indent="      "))
    t.answer("")
    _say_test(sound, same=same)


def _say_metrics(sound: list[RunSummary]) -> None:
    """A column a run."""
    rows = [["", *(str(run.folder) for run in sound)]]
    rows.append(["recipe", *(run.recipe_digest[:12] for run in sound)])
    rows.append(["folds", *(f"{r.finished}/{r.folds_expected}" for r in sound)])
    rows.append(["fold file", *(run.folds_digest[:12] or "?" for run in sound)])
    rows.append(["epochs", *(_epochs(run) for run in sound)])
    rows.append(["time", *(t.spoken_seconds(run.seconds) for run in sound)])
    for metric in dict.fromkeys(m for run in sound for m in run.metrics):
        rows.append([metric, *(_interval(run.metrics.get(metric)) for run in sound)])
    if not all(run.evaluated for run in sound):
        rows.append(["fold AUROC", *("" if r.evaluated else _auroc(r) for r in sound)])
    columns = range(1, len(sound) + 1)
    for line in t.table_lines(rows, least=dict.fromkeys(columns, 19), paths=columns):
        t.answer(line)


def _say_test(sound: list[RunSummary], *, same: bool) -> None:
    first, *others = sound
    if not same:
        t.answer(
            "they were not held out by the same folds (or a digest is missing): their difference "
            "is no paired one; train on one fold file to test it"
        )
    elif not all(run.evaluated for run in sound):
        t.answer("same folds; evaluate them all for a paired test")
    else:
        for run in others:
            t.answer(
                f"same folds; a paired test: python -m melanoma.compare {first.folder} {run.folder}"
            )


def _draw(run: RunSummary, out: Path, arrays: Path) -> None:
    """The pictures of an evaluated run. Raises DataError when the images are not at hand."""
    from melanoma.data.arrays import load_array
    from melanoma.evaluation.compare.evaluated_run import load_evaluated
    from melanoma.evaluation.compare.mistake_figures import save_mistakes
    from melanoma.recipe.overrides import make_recipe

    start = time.monotonic()
    if run.damage:
        raise DataError(f"{run.folder}: damaged: {run.damage}")
    evaluated = load_evaluated(run.folder)
    recipe = make_recipe(run.recipe, origin=str(run.folder / "recipe.yaml"))
    array = load_array(arrays, recipe.image)
    if array is None:
        raise DataError(
            f"no array of {recipe.image.size} px in {arrays}: name the folder that the run was "
            "trained from with --arrays"
        )
    written = save_mistakes(evaluated, recipe.classes, array, out)
    names = ", ".join(path.name for path in written)
    t.say(f"wrote {names} in {out} in {t.duration(start)}")
    t.say("photographs stay under their data set's license: do not publish these sheets unseen")


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
