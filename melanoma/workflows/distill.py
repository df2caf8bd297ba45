"""From evaluated runs to one student: soft targets by honest members, training, both compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from melanoma.data.arrays import ImageArray
from melanoma.devices import resolve_device
from melanoma.errors import FoldError, RecipeError
from melanoma.evaluation.calibration import plain_probabilities
from melanoma.models.pretrained import find_weights, require_weights_file
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.backends.open_members import open_members
from melanoma.scoring.bundle.bundle import Bundle, Member, load_bundle
from melanoma.storage import sha256_of, write_atomic, write_json
from melanoma.training.fold_data import FoldData
from melanoma.training.starting_weights import starting_source
from melanoma.training.teacher import TEACHER, Members, Teacher, fold_name, read_teacher
from melanoma.training.weights_origin import seen_before
from melanoma.workflows.compare import ComparedRuns, compare_runs_in
from melanoma.workflows.mean_start import start_pattern
from melanoma.workflows.places import IMAGENET
from melanoma.workflows.watch import SILENT, Watch

Start = Literal["recipe", "members"]
SOFT_TARGETS = "soft_targets"  # in the student's run folder
_BATCH = 32


@dataclass(frozen=True)
class Distillation:
    """How students are taught: by which `members`, at what share of the loss and temperature, and
    whether they start from the mean of those members or as the recipe says."""

    members: Members = "own"
    weight: float = 0.7
    temperature: float = 2.0
    start: Start = "recipe"


def student_recipe(recipe: Recipe, folder: Path, rules: Distillation) -> Recipe:
    """The recipe with a teacher whose soft targets lie in FOLDER/soft_targets, and the mean of its
    members in FOLDER/starts where students start from it."""
    teacher = {
        "folder": str(folder / SOFT_TARGETS),
        "weight": rules.weight,
        "temperature": rules.temperature,
    }
    values = recipe.model_dump(mode="json")
    values["loss"]["teacher"] = teacher
    if rules.start == "members":
        values["model"]["pretrained"] = start_pattern(folder)
    taught = make_recipe(values)
    return taught.with_own_files(recipe.own_files)


def load_teachers(folders: Sequence[Path], *, same_as: Recipe) -> list[Bundle]:
    """The runs' bundles, every file verified.

    Raises WeightsError for a folder without a bundle; RecipeError for one of other classes,
    melanomas or squares than the student's; FoldError for one that leaks, as its students would.
    """
    bundles = [load_bundle(folder) for folder in folders]
    for bundle in bundles:
        ours = (same_as.classes, {*same_as.melanoma}, same_as.image.size, same_as.image.fit)
        theirs = (bundle.classes, {*bundle.melanoma}, bundle.size, bundle.fit)
        if ours != theirs:
            raise RecipeError(f"{bundle.folder} cannot teach this recipe: {theirs} is not {ours}")
        if bundle.report.leaks.findings:
            raise FoldError(
                f"{bundle.folder} leaks ({bundle.report.leaks.findings[0]}), and so would whatever "
                "it teaches"
            )
    return bundles


def require_starts(recipe: Recipe, parts: Sequence[FoldData], folder: Path) -> None:
    """Refuse absent starting weights before the teachers are asked, which takes minutes.

    Raises WeightsError. A fold whose soft targets are in `folder` has begun, and has its own say.
    """
    for part in parts:
        source = starting_source(recipe, part.fold)
        begun = (folder / fold_name(part.fold)).is_file()
        if not begun and source not in ("none", "imagenet"):
            require_weights_file(find_weights(source, IMAGENET))


def write_soft_targets(
    bundles: Sequence[Bundle],
    parts: Sequence[FoldData],
    folder: Path,
    *,
    members: Members,
    device: str = "auto",
    backend: str = "auto",
    watch: Watch = SILENT,
) -> Teacher:
    """FOLDER/teacher.json and a file a fold: what the bundles' members say of its training images.

    `own`: fold N's are by the members that held fold N out, one a bundle. `all`: by every member,
    most of which learned from fold N. The answers are means of the members' probabilities, each
    over its bundle's views, the prior shift taken out, uncalibrated (a calibration has seen all
    folds). Files that are there and of the same teachers stay. Raises FoldError for a bundle that
    was trained on other folds or has no member for one of them.
    """
    first = parts[0]
    for bundle in bundles:
        _require_folds(bundle, first, [part.fold for part in parts])
    teacher = Teacher(
        name=" + ".join(f"{bundle.name} {bundle.digest[:12]}" for bundle in bundles),
        classes=tuple(first.classes),
        folds_digest=first.folds.digest,
        array_digest=first.array.digest,
        members=members,
        views=max(bundle.views for bundle in bundles),
        seen={str(fold): _seen(bundles, fold, members) for fold in first.folds.folds},
        files={},
    )
    files = _kept_files(folder, teacher)
    folder.mkdir(parents=True, exist_ok=True)
    for part in parts:
        name = fold_name(part.fold)
        if name in files:
            continue
        soft = _soft_targets(bundles, part, members, device, backend, watch)
        write_atomic(folder / name, partial(np.save, arr=soft))
        files[name] = sha256_of(folder / name)
        write_json(folder / TEACHER, replace(teacher, files=files).to_json())
    return replace(teacher, files=files)


def compare_with(student: Path, teachers: Sequence[Path]) -> list[ComparedRuns]:
    """The student's out-of-fold scores against those of each that has some: compare_runs_in."""
    return [compare_runs_in(student, one) for one in teachers if (one / "oof.csv").is_file()]


def _require_folds(bundle: Bundle, part: FoldData, numbers: Sequence[int]) -> None:
    digest = bundle.report.digests.get("folds_digest")
    if digest != part.folds.digest:
        raise FoldError(
            f"{bundle.folder} was trained on other folds ({str(digest)[:12]}) than this fold file "
            f"({part.folds.digest[:12]}); name its own with --folds"
        )
    absent = sorted(set(numbers) - {member.fold for member in bundle.members})
    if absent:
        raise FoldError(f"{bundle.folder} has no member that held fold {absent[0]} out")


def _seen(bundles: Sequence[Bundle], fold: int, members: Members) -> tuple[str, ...]:
    """What those who teach the fold saw beside the folds: sources that are held out, in part."""
    number = fold if members == "own" else None
    return tuple(sorted({name for b in bundles for name in seen_before(b.folder, number)}))


def _kept_files(folder: Path, teacher: Teacher) -> dict[str, str]:
    """The files of an earlier call that are sound. Raises RecipeError for another teacher's, and
    DataError for a teacher.json that cannot be read."""
    if not (folder / TEACHER).is_file():
        return {}
    earlier = read_teacher(folder)
    if replace(earlier, files={}, seen=teacher.seen) != teacher:  # the same members saw the same
        raise RecipeError(
            f"{folder} holds what other teachers, members or folds said; distill into another "
            "--weights DIR"
        )
    return {
        name: digest
        for name, digest in earlier.files.items()
        if (folder / name).is_file() and sha256_of(folder / name) == digest
    }


def _soft_targets(
    bundles: Sequence[Bundle],
    part: FoldData,
    members: Members,
    device: str,
    backend: str,
    watch: Watch,
) -> npt.NDArray[np.float32]:
    probability_sums = np.zeros((len(part.array.names), len(part.classes)), np.float64)
    asked = 0
    for bundle in bundles:
        taken = [m for m in bundle.members if members == "all" or m.fold == part.fold]
        asked += len(taken)
        for member in taken:
            watch.say(
                f"fold {part.fold}: {len(part.training):,} images by member {member.fold} of "
                f"{bundle.name}, {bundle.views} views"
            )
            probability_sums[part.training] += _probabilities(
                bundle, member, part.array, part.training, device, backend, watch
            )
    return (probability_sums / asked).astype(np.float32)


def _probabilities(
    bundle: Bundle,
    member: Member,
    array: ImageArray,
    rows: npt.NDArray[np.int64],
    device: str,
    backend: str,
    watch: Watch,
) -> npt.NDArray[np.float64]:
    """(len(rows), C) by one member over its views."""
    alone = replace(bundle, members=(member,))
    network = open_members(alone, resolve_device(device), Engine(backend))
    parts = np.array_split(rows, -(-len(rows) // _BATCH))
    bar = watch.progress(parts, desc=f"member {member.fold}", unit=f"{_BATCH} images")
    logits = [network.logits(array.rows(one), views=bundle.views)[:, 0] for one in bar]
    return plain_probabilities(np.concatenate(logits) - np.asarray(member.prior_shift))
