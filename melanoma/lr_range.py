"""python -m melanoma.lr_range: loss against learning rate, drawn, and a rate suggested."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from melanoma import terminal as t
from melanoma.errors import RecipeError
from melanoma.workflows.places import IMAGENET, fold_file

if TYPE_CHECKING:
    from melanoma.recipe.recipe import Recipe
    from melanoma.training.learning_rate_range import RateSweep

app = t.make_app()


@app.command()
def lr_range(
    config: t.Config = t.DEFAULT_CONFIG,
    data: t.DataDir = t.DEFAULT_DATA,
    arrays: t.Arrays = t.DEFAULT_ARRAYS,
    folds: t.FoldFile = None,
    fold: Annotated[int, typer.Option("--fold", min=0, help="Whose training part is used.")] = 0,
    settings: t.Settings = None,
    seed: t.Seed = None,
    device: t.Device = "auto",
    pretrained: t.Pretrained = None,
    low: Annotated[float, typer.Option("--low", help="The first rate.")] = 1e-7,
    high: Annotated[float, typer.Option("--high", help="The last rate.")] = 1.0,
    steps: Annotated[int, typer.Option("--steps", help="Steps between them.")] = 100,
    out: Annotated[Path, typer.Option("--out", help="The picture, PNG.")] = Path("lr_range.png"),
    image_col: t.ImageCol = None,
    target_col: t.TargetCol = None,
    group_col: t.GroupCol = None,
    json: t.AsJson = False,
) -> None:
    """Train a throwaway network at rates from --low to --high; draw the loss, suggest a rate."""
    start = time.monotonic()
    if out.suffix.lower() != ".png":
        raise RecipeError(f"--out {out}: a name that ends in .png")
    asked = t.read_asked(
        *(config, settings, seed),
        data=data,
        arrays=arrays,
        folds=folds,
        pretrained=pretrained,
        image_col=image_col,
        target_col=target_col,
        group_col=group_col,
    )
    recipe = asked.recipe
    from melanoma.devices import resolve_device
    from melanoma.training.learning_rate_figure import save_sweep
    from melanoma.training.learning_rate_range import sweep_rates
    from melanoma.workflows.train import check_recipe, select_folds

    where = resolve_device(device)
    check_recipe(recipe, watch=t.watch())
    [part] = select_folds(
        recipe,
        data=data,
        arrays=arrays,
        folds=fold_file(folds, recipe),
        fold=str(fold),
        watch=t.watch(),
    )
    sweep = sweep_rates(
        recipe,
        part,
        device=where,
        imagenet=IMAGENET,
        low=low,
        high=high,
        steps=steps,
        advance=t.epoch_bar(steps, 0, "steps"),
    )
    save_sweep(sweep, out, title=f"{recipe.name}, fold {fold}: {recipe.optimizer.name}")
    if json:
        t.answer_json(_content(sweep))
    else:
        _say_sweep(sweep, recipe)
    t.say(f"wrote {out} in {t.duration(start)}; the network was thrown away")


def _say_sweep(sweep: RateSweep, recipe: Recipe) -> None:
    rate = recipe.stage_plans[0].optimizer.rate
    # What a stage says of its rate stands before the optimizer's.
    own = bool(recipe.stages) and recipe.stages[0].optimizer.rate is not None
    field = "stages.0.optimizer.rate" if own else "optimizer.rate"
    end = "the loss diverged" if sweep.diverged else "the loss did not diverge"
    t.answer(
        f"{len(sweep.rates)} steps at rates from {sweep.rates[0]:.1e} to {sweep.rates[-1]:.1e}; "
        f"{end}"
    )
    if sweep.suggestion is None:
        t.answer(
            "no rate suggested: the loss fell by no more than its noise; try more --steps, "
            "a higher --high, or a larger --set training.batch_size"
        )
        return
    t.answer(f"steepest fall of the loss at {sweep.steepest:.1e}")
    t.answer(
        f"suggested, a tenth of the rate of the lowest loss: --set "
        f"{field}={sweep.suggestion:.1e} (the recipe has {rate:.1e})"
    )


def _content(sweep: RateSweep) -> dict[str, Any]:
    return {
        "suggestion": sweep.suggestion,
        "steepest": sweep.steepest,
        "minimum_tenth": sweep.tenth,
        "diverged": sweep.diverged,
        "rates": sweep.rates.tolist(),
        "losses": sweep.losses.tolist(),
        "smoothed": sweep.smoothed.tolist(),
    }


if __name__ == "__main__":
    t.run(app)
