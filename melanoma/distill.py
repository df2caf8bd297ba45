"""python -m melanoma.distill TEACHER ...: teach one network a fold what an ensemble says."""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import RecipeError

if TYPE_CHECKING:
    from melanoma.workflows.compare import ComparedRuns

app = t.make_app()
_ONE_PASS = ("evaluation.views=1", "seeds=[]")  # a student is one network, whatever its teacher is


@app.command()
def distill(
    teachers: Annotated[
        list[Path],
        typer.Argument(metavar="TEACHER ...", help="Sealed runs on the same fold file."),
    ],
    config: Annotated[
        Path | None,
        typer.Option("--config", help="The student's recipe (default the first teacher's)."),
    ] = None,
    data: t.DataDir = t.DEFAULT_DATA,
    arrays: t.Arrays = t.DEFAULT_ARRAYS,
    folds: t.FoldFile = None,
    weights: t.Weights = None,
    fold: Annotated[str, typer.Option("--fold", help="A fold's number, or all.")] = "all",
    settings: t.Settings = None,
    seed: t.Seed = None,
    pretrained: t.Pretrained = None,
    members: Annotated[
        str,
        typer.Option(
            "--members",
            help="own: fold N is taught by the members that never saw it. all: by every member, "
            "which leaks; only external sets test such a student.",
        ),
    ] = "own",
    weight: Annotated[
        float, typer.Option("--weight", help="Share of the loss that goes by the teachers.")
    ] = 0.7,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Of both sides, in the teachers' part.")
    ] = 2.0,
    start: Annotated[
        str,
        typer.Option(
            "--start",
            help="recipe: as --pretrained or the recipe says. members: each student goes on from "
            "the mean of the members that teach it.",
        ),
    ] = "recipe",
    allow_leak: Annotated[
        bool, typer.Option("--allow-leak", help="With --members all; the report says so.")
    ] = False,
    beside: Annotated[
        list[Path] | None,
        typer.Option(
            "--beside",
            help="Evaluated runs to compare the student with (default the teachers); repeatable.",
        ),
    ] = None,
    device: t.Device = "auto",
    backend: t.Backend = "auto",
    json: t.AsJson = False,
) -> None:
    """Distill ensembles into one network a fold, report it, and compare it with them in pairs."""
    if members not in ("own", "all"):
        raise RecipeError(f"--members {members}: own or all")
    if start not in ("recipe", "members"):
        raise RecipeError(f"--start {start}: recipe or members")
    if start == "members" and pretrained is not None:
        raise RecipeError("--start members and --pretrained: a student has one start")
    if not 0 < weight <= 1 or temperature <= 0:
        raise RecipeError("--weight is above 0 and up to 1, --temperature above 0")
    from melanoma.workflows.asked import require_used_seed
    from melanoma.workflows.distill import (
        SOFT_TARGETS,
        Distillation,
        compare_with,
        load_teachers,
        require_starts,
        student_recipe,
        write_soft_targets,
    )
    from melanoma.workflows.mean_start import write_mean_starts
    from melanoma.workflows.places import fold_file, weights_folder
    from melanoma.workflows.train import check_recipe, select_folds, train_fold

    begun, watch = time.monotonic(), t.watch(epoch=_say_epoch)
    read = partial(t.read_asked, data=data, arrays=arrays, folds=folds, pretrained=pretrained)
    if config:
        asked = read(config, settings, seed).recipe
    else:
        asked = read(teachers[0] / "recipe.yaml", [*_ONE_PASS, *(settings or [])], seed).recipe
        asked = asked.model_copy(update={"name": f"{asked.name}_student"})
    require_used_seed(asked, seed)
    folder = weights_folder(weights, asked)
    if folder.resolve() in {teacher.resolve() for teacher in teachers}:
        raise RecipeError(
            f"{folder} is a teacher's own folder; give the student another one, with --weights DIR "
            "or --set name=NAME"
        )
    rules = Distillation(
        "all" if members == "all" else "own",
        weight,
        temperature,
        "members" if start == "members" else "recipe",
    )
    recipe = student_recipe(asked, folder, rules)
    bundles = load_teachers(teachers, same_as=recipe)
    check_recipe(recipe, watch=watch)
    places = {"data": data, "arrays": arrays, "folds": fold_file(folds, recipe)}
    parts = select_folds(
        recipe,
        data=data,
        arrays=arrays,
        folds=places["folds"],
        fold=fold,
        allow_leak=allow_leak,
        watch=watch,
    )
    if rules.start == "members":
        write_mean_starts(bundles, recipe, parts, members=rules.members)
    require_starts(recipe, parts, folder / SOFT_TARGETS)
    write_soft_targets(
        bundles,
        parts,
        folder / SOFT_TARGETS,
        members=rules.members,
        device=device,
        backend=backend,
        watch=watch,
    )
    for part in parts:
        train_fold(recipe, part, folder, arrays=arrays, device=device, watch=watch)
    complete = _report(recipe, folder, places, watch, len(parts) == len(parts[0].folds.folds))
    compared = compare_with(folder, beside or teachers) if complete and members == "own" else []
    if json:
        values = [one.model_dump(mode="json") for one in compared]
        t.answer_json({"folder": str(folder), "views": recipe.evaluation.views, "compared": values})
    else:
        _say(compared, members)
    t.say(f"wrote {folder} in {t.duration(begun)}")


def _report(recipe: Any, folder: Path, places: dict[str, Path], watch: Any, whole: bool) -> bool:
    """Seal the bundle of the folds that are there; whether they are all."""
    from melanoma.workflows.evaluate import evaluate_folds

    evaluate_folds(
        recipe,
        folder,
        places["folds"],
        allow_missing=not whole,
        data=places["data"],
        arrays=places["arrays"],
        watch=watch,
    )
    return whole


def _say(compared: Sequence[ComparedRuns], members: str) -> None:
    from melanoma.evaluation.number_format import compared_value, number

    for line in compared:
        for name, metric in line.metrics.items():
            t.answer(
                f"{name}: student {number(metric.a.value, 4)}, {line.b.folder} "
                f"{number(metric.b.value, 4)}, difference {compared_value(metric.difference)}"
            )
            t.answer(metric.sentence.replace("A ", "the student ").replace("B ", "the teacher "))
    if members == "all":
        t.answer(
            "no figure is given: the teachers learned from what is held out; "
            "test it elsewhere with python -m melanoma.evaluate --external RECIPE"
        )
    elif not compared:
        t.answer("no comparison: not all folds are there, or no teacher has an oof.csv")


def _say_epoch(record: dict[str, Any]) -> None:
    t.say(f"fold {record['fold']} epoch {record['epoch']:>2}: loss {record['loss']:.4f}")


if __name__ == "__main__":
    t.run(app)
