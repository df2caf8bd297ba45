"""python -m melanoma.evaluate: pool the out-of-fold scores, calibrate, report, seal the bundle."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from melanoma import terminal as t
from melanoma.errors import RecipeError
from melanoma.evaluation.asked_prevalence import require_asked
from melanoma.recipe.find_recipe import find_recipe
from melanoma.recipe.overrides import load_recipe
from melanoma.workflows.places import fold_file, run_recipe, weights_folder

if TYPE_CHECKING:
    from melanoma.evaluation.report.build import Report

app = t.make_app()


@app.command()
def evaluate(
    config: Annotated[
        Path | None,
        typer.Option(
            "--config", help=f"The recipe (default that of --weights, else {t.DEFAULT_CONFIG})."
        ),
    ] = None,
    data: t.DataDir = t.DEFAULT_DATA,
    arrays: t.Arrays = t.DEFAULT_ARRAYS,
    folds: t.FoldFile = None,
    weights: t.Weights = None,
    settings: t.Settings = None,
    seed: t.Seed = None,
    device: t.Device = "auto",
    pretrained: t.Pretrained = None,
    allow_missing: Annotated[
        bool, typer.Option("--allow-missing", help="Seal the folds that are trained, if not all.")
    ] = False,
    prevalence: Annotated[
        float | None,
        typer.Option("--prevalence", help="Share of melanomas where the bundle will be used."),
    ] = None,
    by: Annotated[
        list[str] | None,
        typer.Option("--by", help="Further column of the fold file for subgroups; repeatable."),
    ] = None,
    external: Annotated[
        Path | None,
        typer.Option("--external", help="Recipe, file or name, of an external test set (--data)."),
    ] = None,
    external_arrays: Annotated[
        Path | None,
        typer.Option("--external-arrays", help="Its arrays (default ARRAYS/external_NAME)."),
    ] = None,
    recalibrate: Annotated[
        Path | None,
        typer.Option("--recalibrate", help="External: seal a copy calibrated on it, here."),
    ] = None,
    attach: Annotated[
        bool,
        typer.Option(
            "--attach", help="External: seal the result into the bundle, beside its own figures."
        ),
    ] = False,
    unseen: Annotated[
        bool,
        typer.Option(
            "--unseen",
            help="External: leave out the images, patients and lesions that the model was trained "
            "on; seen.csv beside the report names them.",
        ),
    ] = False,
    left_out: Annotated[
        list[Path] | None,
        typer.Option(
            "--left-out",
            help="Run of this recipe without some of its sources: its results elsewhere go into "
            "the report; repeatable.",
        ),
    ] = None,
    bfloat16: Annotated[
        bool,
        typer.Option(
            "--bfloat16",
            help="Also measure what scoring in bfloat16 changes, on every held-out image: minutes.",
        ),
    ] = False,
    pictures: Annotated[
        bool,
        typer.Option(
            "--pictures",
            help="Also figures/largest_errors.png; of the run's own images its mistakes and its "
            "confusion matrix too. Photographs: do not publish them unseen.",
        ),
    ] = False,
    names: Annotated[
        bool,
        typer.Option(
            "--names", help="Images' names in the report (which /report never gives), no digests."
        ),
    ] = False,
    json: t.AsJson = False,
) -> None:
    """Report on all folds' held-out images, and seal the bundle that predict and serve load.

    A test part of the fold file is scored once the bundle is sealed, and reported in WEIGHTS/test.
    With --external: report on another set with the sealed bundle, which stays as it is, unless
    --attach puts the result into it.
    """
    from melanoma.devices import resolve_device
    from melanoma.training.run.run_folder import read_recipe
    from melanoma.workflows.error_pictures import save_pictures
    from melanoma.workflows.evaluate import evaluate_folds
    from melanoma.workflows.external import evaluate_external, evaluate_test

    start, watch = time.monotonic(), t.watch()
    test = None
    _check_options(prevalence, external, recalibrate, pretrained, attach=attach, left_out=left_out)
    if unseen and external is None:
        raise RecipeError(
            "--unseen: only with --external; a fold was never trained on what it scores"
        )
    if bfloat16 and external is not None:
        raise RecipeError("--bfloat16: not with --external; it is measured on held-out images")
    if settings and external is not None and weights is not None:
        raise RecipeError("--set: not with --external and --weights, whose bundle is as it is")
    if external is not None:
        external = find_recipe(external)
    if external is not None and weights is not None:
        recipe = read_recipe(weights)  # the bundle's own, which names its fold file
    else:
        config = config or (run_recipe(weights) if weights else None) or t.DEFAULT_CONFIG
        recipe = t.read_asked(
            config, settings, None, data=data, arrays=arrays, folds=folds, pretrained=pretrained
        ).recipe
    folder = weights_folder(weights, recipe)
    fold_path = fold_file(folds, recipe)
    if external is None:
        report = evaluate_folds(
            recipe,
            folder,
            fold_path,
            allow_missing=allow_missing,
            seed=seed,
            prevalence=prevalence,
            by=tuple(by or ()),
            watch=watch,
            names=names,
            data=data,
            arrays=arrays,
            left_out=left_out or (),
            bfloat16=resolve_device(device) if bfloat16 else None,
        )
        test = evaluate_test(
            folder,
            fold_path,
            data,
            arrays,
            device=device,
            seed=seed,
            by=tuple(by or ()),
            watch=watch,
            names=names,
        )
        shown = arrays
    else:
        shown = external_arrays or arrays / f"external_{external.stem}"
        report, folder = evaluate_external(
            folder,
            load_recipe(external),
            data,
            arrays=shown,
            training=(fold_path, arrays),
            device=device,
            seed=seed,
            by=tuple(by or ()),
            recalibrate=recalibrate,
            attach=attach,
            unseen=unseen,
            watch=watch,
            names=names,
        )
    if pictures:
        save_pictures(report, folder, shown, watch=watch)
    _answer(report, test, json=json)
    t.say(f"wrote report.html, report.json and the scores in {folder} in {t.duration(start)}")


def _answer(report: Report, test: Report | None, *, json: bool) -> None:
    """The report, and in words that of the test part behind it."""
    from melanoma.evaluation.render.text import report_lines

    if json:
        t.answer_json(report.content.model_dump(mode="json"))
        return
    lines = report_lines(report.content)
    # A leak of both parts is said once, above all numbers.
    leaks = {line for line in lines if line.startswith("warning: LEAK")}
    lines += [line for line in report_lines(test.content) if line not in leaks] if test else []
    for line in lines:
        t.answer(line)


def _check_options(
    prevalence: float | None,
    external: Path | None,
    recalibrate: Path | None,
    pretrained: str | None,
    *,
    attach: bool,
    left_out: list[Path] | None,
) -> None:
    if attach and external is None:
        raise RecipeError("--attach: only with --external, whose result goes into the bundle")
    if left_out and external is not None:
        raise RecipeError("--left-out: not with --external, whose result it would stand beside")
    if pretrained is not None and external is not None:
        raise RecipeError("--pretrained: not with --external, which scores the sealed bundle")
    if prevalence is not None:
        require_asked(prevalence)
    if recalibrate is not None and external is None:
        raise RecipeError("--recalibrate: only with --external, whose images it is fitted on")
    if prevalence is not None and external is not None:
        raise RecipeError("--prevalence: not with --external, whose own prevalence is measured")


if __name__ == "__main__":
    t.run(app)
