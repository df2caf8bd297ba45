"""From a recipe to trained folds; array and fold file are made first where they are absent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from melanoma.data.array_lock import hold_arrays
from melanoma.data.arrays import ImageArray
from melanoma.data.device_augmentation.device_augmentation import make_augmentation
from melanoma.data.find_array import find_array, require_same_files
from melanoma.data.folds import FoldTable, load_folds
from melanoma.data.leaks import audit_folds, require_no_leaks, with_identities
from melanoma.data.readers.table import LesionTable
from melanoma.data.transforms import NORMALIZATIONS
from melanoma.devices import resolve_device
from melanoma.errors import FoldError, RecipeError
from melanoma.models.backbone_records import Backbone, HubWeights
from melanoma.models.backbones import find_backbone
from melanoma.models.losses import find_loss
from melanoma.models.timm_backbones import require_timm_size
from melanoma.recipe.recipe import Recipe
from melanoma.training.epoch_metrics import metric_names, validate
from melanoma.training.fold_data import FoldData, select_fold
from melanoma.training.given_embeddings import embedding_width
from melanoma.training.ranks import ALONE, Ranks
from melanoma.training.run.run_folder import FoldRun, fold_folder
from melanoma.training.seeds import fit_seeds
from melanoma.training.starting_weights import audit_starts, describe_random_features
from melanoma.training.tracking.follow import follow
from melanoma.training.tracking.tracker_catalog import make_trackers
from melanoma.training.watchers import Watchers
from melanoma.workflows.fold_sources import add_sources
from melanoma.workflows.places import IMAGENET, fold_numbers
from melanoma.workflows.prepare import prepare_array
from melanoma.workflows.source import require_same_source
from melanoma.workflows.split import search_duplicates, split_folds
from melanoma.workflows.watch import SILENT, Watch


def select_folds(
    recipe: Recipe,
    *,
    data: Path,
    arrays: Path,
    folds: Path,
    fold: str = "all",
    allow_leak: bool = False,
    dry_run: bool = False,
    watch: Watch = SILENT,
) -> list[FoldData]:
    """What each wanted fold (a number, or all) trains on; array and fold file made when absent.

    Raises FoldError when the fold file leaks or a fold's starting weights saw what it holds out,
    unless `allow_leak`; RecipeError for a fold that does not exist.
    """
    array, table = _ensure_inputs(recipe, data, arrays, folds, fold, dry_run=dry_run, watch=watch)
    source = require_same_source(recipe, table, folds, data, watch=watch)
    if source is not None:
        require_same_files(array, source, arrays, say=watch.say, amend=not dry_run)
    names = table.whole["image_name"].tolist()
    duplicates = search_duplicates(array, arrays, watch=watch).among(array.names, names)
    identified = _identified(recipe, source, table, folds)
    audit = audit_folds(identified, duplicates)
    # Once: what is refused stands in the refusal.
    for line in audit.lines() if allow_leak else audit.lists():
        watch.say(line if line.startswith(" ") else f"LEAK: {line}")
    audit = require_no_leaks(audit, allow=allow_leak)
    numbers = fold_numbers(fold, table.folds)
    parts = [
        select_fold(
            array, table, number, classes=recipe.classes, audit=audit, allow_leak=allow_leak
        )
        for number in numbers
    ]
    if recipe.data.sources:
        parts = add_sources(recipe, parts, identified, data, arrays, dry_run=dry_run, watch=watch)
    audit_starts(recipe, parts, imagenet=IMAGENET, say=watch.say)
    return parts


def train_fold(
    recipe: Recipe,
    part: FoldData,
    weights: Path,
    *,
    arrays: Path | None = None,
    device: str = "auto",
    resume: bool = True,
    force_resume: bool = False,
    track: Sequence[str] | str | None = None,
    watch: Watch = SILENT,
    ranks: Ranks = ALONE,
) -> FoldRun:
    """The fold's run in WEIGHTS/fold_N: trained, resumed, or as it is when it was finished.

    `arrays` keeps a frozen backbone's embeddings, for the other folds and other recipes. `track`
    names the trackers that are told of it, as `tracking_places` gives them or the URI of an MLflow;
    their failure changes nothing. `ranks` are the processes of torchrun, which all call this (see
    join_ranks).
    """
    watchers = Watchers(say=watch.say, epoch=watch.epoch, bar=watch.bar, saved=watch.saved)
    with follow(make_trackers(track if ranks.is_first else None), watchers, recipe) as watchers:
        return fit_seeds(
            recipe,
            part,
            fold_folder(weights, part.fold),
            device=ranks.device or resolve_device(device),
            ranks=ranks,
            resume=resume,
            force_resume=force_resume,
            imagenet=IMAGENET,
            embeddings=arrays,
            watchers=watchers,
        )


def check_recipe(recipe: Recipe, *, watch: Watch = SILENT) -> None:
    """Refuse an unknown backbone, loss or augmentation before any work is done."""
    backbone = find_backbone(recipe.model.backbone)
    if isinstance(backbone.pretrained, HubWeights):
        require_timm_size(backbone.name, recipe.image.size)
        for number, plan in enumerate(recipe.stage_plans):
            if plan.size is not None:
                require_timm_size(backbone.name, plan.size, field=f"stages.{number}.size")
    if recipe.model.pretrained == "imagenet":
        _say_scaling(backbone, recipe, watch)
    make_augmentation(recipe)
    if recipe.model.embeddings is not None:
        embedding_width(Path(recipe.model.embeddings))
    warning = describe_random_features(recipe)
    if warning:
        watch.say(f"warning: {warning}")
    find_loss(recipe.loss.name, recipe.loss.parameters, outputs=recipe.outputs)


def _say_scaling(backbone: Backbone, recipe: Recipe, watch: Watch) -> None:
    """A scaling that the published weights did not learn with is a choice, and a costly one."""
    asked, own = recipe.image.normalize, backbone.normalization
    values = NORMALIZATIONS[asked] if isinstance(asked, str) else (asked.mean, asked.std)
    if values != (NORMALIZATIONS[own] if isinstance(own, str) else own):
        scaling = own if isinstance(own, str) else f"{{mean: {[*own[0]]}, std: {[*own[1]]}}}"
        watch.say(
            f"warning: the published weights of {backbone.name} were trained with another scaling "
            f"of the pixels: --set image.normalize='{scaling}'"
        )


def _ensure_inputs(
    recipe: Recipe,
    data: Path,
    arrays: Path,
    fold_path: Path,
    fold: str,
    *,
    dry_run: bool,
    watch: Watch,
) -> tuple[ImageArray, FoldTable]:
    """The array and the fold file; made first, and said, when they are absent."""
    there = fold_path.is_file()
    table = load_folds(fold_path, classes=recipe.classes) if there else None
    fold_numbers(fold, list(range(recipe.folds.k)) if table is None else table.folds)
    asked = recipe.folds.holdout not in ("none", "supplied")
    if table is not None and asked and table.test.empty:
        raise FoldError(
            f"folds.holdout: {fold_path} has no test part; rebuild it with python -m "
            "melanoma.split, or --set folds.holdout=none"
        )
    array = find_array(arrays, recipe.image, data=data, say=watch.say, amend=not dry_run)
    if dry_run and (array is None or table is None):
        absent = "array" if array is None else "fold file"
        raise RecipeError(f"--dry-run: there is no {absent} yet; run prepare and split first")
    if array is None or table is None:
        array, table = _make_inputs(recipe, data, arrays, fold_path, watch=watch)
        fold_numbers(fold, table.folds)
    return array, table


def _make_inputs(
    recipe: Recipe, data: Path, arrays: Path, fold_path: Path, *, watch: Watch
) -> tuple[ImageArray, FoldTable]:
    """What is absent is made; a fold that is trained beside this one waits, and uses the same."""
    with hold_arrays(arrays, say=watch.say):
        array = find_array(arrays, recipe.image, data=data, say=watch.say)
        if array is None:
            watch.say(f"no array of {recipe.image.size} px in {arrays}: preparing it from {data}")
            array = prepare_array(recipe, data, arrays, watch=watch)
        if fold_path.is_file():
            return array, load_folds(fold_path, classes=recipe.classes)
        watch.say(f"no fold file at {fold_path}: splitting")
        table, audit = split_folds(recipe, data, arrays, fold_path, watch=watch)
        for line in audit:
            if not line.startswith("LEAK"):  # select_folds says it, or refuses it
                watch.say(line)
    return array, table


def _identified(
    recipe: Recipe, table: LesionTable | None, folds: FoldTable, path: Path
) -> FoldTable:
    """The fold table with patients and lesions that only the data's own table knows.

    Raises FoldError where the data's own test part is to be kept apart and is among the folds.
    """
    if table is None:
        return folds  # an array and a fold file are all that training needs
    apart = recipe.folds.holdout == "supplied" and "part" in table.frame
    if apart and folds.test.empty and (table.frame["part"] == "test").any():
        raise FoldError(
            f"folds.holdout: {table.folder} has a test part of its own, which {path} has among its "
            "folds; make another with python -m melanoma.split --out FILE and name it with "
            "--folds, or --set folds.holdout=none"
        )
    return with_identities(folds, table)


@dataclass(frozen=True)
class FoldSummary:
    """A trained fold's facts for machines; `metrics` are NAME_best and NAME_last, of its epochs."""

    fold: int
    folder: str
    metrics: Mapping[str, float | None]
    kept: str
    seconds: float

    def as_dict(self) -> dict[str, Any]:
        """One level of plain values, ready for JSON."""
        first, last = {"fold": self.fold, "folder": self.folder}, {"kept": self.kept}
        return {**first, **self.metrics, **last, "seconds": self.seconds}


def fold_summary(recipe: Recipe, run: FoldRun) -> FoldSummary:
    """The fold's facts; the metrics of the best and the last epoch."""
    metrics: dict[str, float | None] = {}
    for which in ("best", "last"):
        epoch_metrics = validate(
            recipe,
            run.scores.logits(f"logit_{which}"),
            run.scores.target,
            shift=run.facts.prior_shift,
        )
        metrics |= {
            f"{key}_{which}": epoch_metrics[key] for key in metric_names() if key in epoch_metrics
        }
    return FoldSummary(run.fold, str(run.folder), metrics, run.facts.kept, run.facts.seconds)
