"""fit_fold: one fold from its rows to a FoldRun, resumable at any moment."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable
from contextlib import ExitStack
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from melanoma.data.device_augmentation.device_augmentation import make_augmentation
from melanoma.data.symmetries import VIEW_ORDER
from melanoma.devices import seed_everything
from melanoma.errors import WeightsError
from melanoma.freed_memory import freed_memory_kept
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.recipe.recipe import Recipe
from melanoma.training.auxiliary import auxiliary_digest, auxiliary_values
from melanoma.training.bfloat16_weights import require_roundable
from melanoma.training.class_balance import shown_shares
from melanoma.training.fold_data import FoldData
from melanoma.training.given_embeddings import embedding_facts, embedding_width
from melanoma.training.loop import Loop
from melanoma.training.ranks import ALONE, Ranks, sync_norms
from melanoma.training.run.facts import RunStart, read_facts
from melanoma.training.run.resume_state import State, load_state, remove_states
from melanoma.training.run.run_folder import (
    FoldRun,
    clear_run,
    hold,
    load_run,
    require_same_run,
    start_run,
)
from melanoma.training.run.signals import Interruption
from melanoma.training.same_start import require_same_start
from melanoma.training.source_rows import describe_source
from melanoma.training.starting_weights import (
    changed_start,
    load_start,
    resumed_start,
    with_start,
)
from melanoma.training.teacher import open_teacher, teacher_facts, teacher_findings
from melanoma.training.watchers import Watchers

_GENERATIONS = 3  # of the state: two that are kept, and the one that is being written


def fit_fold(
    recipe: Recipe,
    data: FoldData,
    folder: Path,
    *,
    device: torch.device,
    imagenet: Path,
    embeddings: Path | None = None,
    resume: bool = True,
    force_resume: bool = False,
    watchers: Watchers | None = None,
    ranks: Ranks = ALONE,
) -> FoldRun:
    """The fold trained, or resumed, or as it is when it was finished before.

    `folder` holds everything (see run_folder); `imagenet` is where published weights are kept,
    `embeddings` where those of a frozen backbone are (beside `folder` when it is not said). Of
    several `ranks` all call this, and the first has the folder.
    Raises DivergedError, InterruptedRun (with the state saved), WeightsError, StorageError, and
    FoldError for starting weights that saw its held-out images, unless data.allow_leak.
    """
    watchers = watchers or Watchers()
    augmentation = make_augmentation(recipe)
    seed_everything(recipe.seed, data.fold)
    embeddings_path = recipe.model.embeddings
    classifier = make_classifier(
        recipe.model.backbone,
        outputs=recipe.outputs,
        dropout=recipe.model.dropout,
        head=recipe.model.head,
        pooling=recipe.model.pooling,
        dropout_samples=recipe.model.dropout_samples,
        frozen_stages=recipe.model.frozen_stages,
        auxiliary=len(auxiliary_values(recipe, data)),
        embedding_width=None if embeddings_path is None else embedding_width(Path(embeddings_path)),
        class_shares=shown_shares(recipe, data),
    )
    if recipe.training.checkpointing:
        classifier.start_checkpointing()
    if recipe.training.bfloat16_weights:
        require_roundable(classifier, recipe.image.size)
    size = sum(p.numel() * 4 for p in classifier.parameters())
    start = ranks.in_turn(lambda: describe_run(recipe, data, device))
    require_same_start(recipe, data, start, ranks)
    with ExitStack() as held, Interruption.watch() as interruption:

        def begin() -> FoldRun | tuple[RunStart, State | None]:
            held.enter_context(hold(folder, needed=_room_for(folder, recipe, size)))
            return _begin(
                recipe,
                data,
                folder,
                classifier,
                start=start,
                imagenet=imagenet,
                resume=resume,
                force_resume=force_resume,
                say=watchers.say,
            )

        begun = ranks.from_first(begin)
        if isinstance(begun, FoldRun):
            return begun
        facts, saved = begun
        ranks.spread(classifier)
        loop = Loop(
            recipe,
            data,
            folder,
            sync_norms(classifier, ranks).to(device).to(memory_format=torch.channels_last),
            augmentation,
            interruption,
            watchers,
            embeddings or folder.parent,
            ranks,
        )
        if saved is not None:
            _restore(loop, saved)
            watchers.say(
                f"fold {data.fold}: resuming at epoch {loop.state.epoch + 1}, "
                f"batch {loop.state.batch}"
            )
        with freed_memory_kept(device):
            return loop.run(facts)


def _begin(
    recipe: Recipe,
    data: FoldData,
    folder: Path,
    classifier: Classifier,
    *,
    start: RunStart,
    imagenet: Path,
    resume: bool,
    force_resume: bool,
    say: Callable[[str], None],
) -> FoldRun | tuple[RunStart, State | None]:
    """The finished run in the folder; or what a run begins with, recorded there, the classifier
    having its starting weights, and the state to go on from, if there is one."""
    earlier = read_facts(folder)
    if earlier is not None and not resume:
        clear_run(folder)
    elif earlier is not None:
        if not force_resume:
            other = changed_start(recipe, data.fold, earlier, imagenet=imagenet)
            require_same_run(folder, recipe, start, earlier, other_start=other)
        if earlier.finished:
            remove_states(folder)  # a kill may have come between the last record and this
            say(f"fold {data.fold} is finished already; nothing to do")
            return load_run(folder)
    saved = load_state(folder, warn=say)
    if saved is None:
        origin = load_start(classifier.backbone, recipe, data, imagenet=imagenet, folder=folder)
    else:
        origin = resumed_start(earlier, data, folder=folder)
    facts = with_start(start, data, *origin)
    start_run(folder, recipe, facts)
    return facts, saved


def _room_for(folder: Path, recipe: Recipe, size: int) -> int:
    """The bytes that training may yet need in `folder`, with `size` bytes of parameters.

    A state holds the weights, the optimizer's moments, the average and the best weights.
    """
    facts = read_facts(folder) if folder.is_dir() else None
    if facts is not None and facts.finished:
        return 0
    sgd = all(plan.optimizer.name == "sgd" for plan in recipe.stage_plans)
    copies = 2 + (1 if sgd else 2) + (recipe.training.ema_decay is not None)
    there = sum(path.stat().st_size for path in folder.glob("state-*.pt"))
    # The finished weights are written while the states are still there.
    return max(0, size * (_GENERATIONS * copies + 1) - there)


def _restore(loop: Loop, saved: dict[str, Any]) -> None:
    try:
        loop.state.restore(saved)
    except (RuntimeError, ValueError) as error:
        # Only --force-resume comes here with another recipe's state.
        reason = " ".join(str(error).split())[:200]
        raise WeightsError(
            f"{loop.folder}: the saved state does not fit this recipe ({reason}); "
            "start again with --resume never"
        ) from error


def describe_run(recipe: Recipe, data: FoldData, device: torch.device) -> RunStart:
    """What is known of the run before its first batch, its starting weights aside."""
    parts = {"training": data.training, "validation": data.validation}
    counts = {part: data.count(rows) for part, rows in parts.items()}
    melanoma = recipe.melanoma_columns
    embeddings_path, taught = recipe.model.embeddings, open_teacher(recipe, data)
    libraries = ("torch", "torchvision", "pretrainedmodels", "albumentations", "numpy", "melanoma")
    numbers = {
        **{f"{part}_images": int(by_class.sum()) for part, by_class in counts.items()},
        **{f"{part}_positives": int(by_class[melanoma].sum()) for part, by_class in counts.items()},
        **{
            f"{part}_classes": dict(zip(recipe.classes, by_class.tolist(), strict=True))
            for part, by_class in counts.items()
        },
    }
    return RunStart.model_validate(
        {
            "fold": data.fold,
            "recipe_digest": recipe.digest(),
            "folds_digest": data.folds.digest,
            "array_digest": data.array.digest,
            "decoder": data.array.decoder,
            "view_order": VIEW_ORDER,
            "seed": recipe.seed,
            **numbers,
            "own_files": {
                name: hashlib.sha256(file).hexdigest() for name, file in recipe.own_files.items()
            }
            or None,
            "embeddings": None
            if embeddings_path is None
            else embedding_facts(Path(embeddings_path)),
            "sources": tuple(describe_source(source, recipe) for source in data.sources) or None,
            "teacher": teacher_facts(recipe, data),
            "auxiliary": auxiliary_digest(recipe, data),
            "leaks": (*data.audit.findings, *teacher_findings(taught, data.fold)),
            "audit": data.audit.as_facts(),
            "device": device.type,
            "versions": {"python": platform.python_version(), **{n: version(n) for n in libraries}},
        }
    )
