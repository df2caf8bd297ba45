"""A fold's run: repeatable, resumable at any moment, alone in its folder, honest when it fails."""

from __future__ import annotations

import itertools
import json
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from interrupted import Interrupted, train_and_kill
from safetensors.torch import load_file
from tiny_backbone import make_tiny_backbone
from torch import Tensor

from melanoma.errors import (
    DataError,
    DivergedError,
    FoldError,
    InterruptedRun,
    RecipeError,
    StorageError,
    WeightsError,
)
from melanoma.models.backbones import BACKBONES
from melanoma.models.classifier import make_classifier
from melanoma.models.losses import LOSSES, LossEntry, binary_cross_entropy
from melanoma.training import epoch_metrics, loop
from melanoma.training.class_balance import fold_prior_shift, shown_shares
from melanoma.training.fold_data import select_fold
from melanoma.training.run.resume_state import load_state
from melanoma.training.run.run_folder import FoldRun, load_run
from melanoma.training.watchers import Watchers

Fit = Callable[..., FoldRun]


def _logits(run: FoldRun) -> list[list[float]]:
    # A finished run is read from a CSV with the nine digits of a float32.
    columns = ("logit", "logit_best", "logit_last")
    return [run.scores.logits(c).astype(np.float32).tolist() for c in columns]


def _same(ours: FoldRun, theirs: FoldRun) -> bool:
    """Whether two runs gave one result, bit for bit."""
    weights = [load_file(run.folder / "model.safetensors") for run in (ours, theirs)]
    return _logits(ours) == _logits(theirs) and all(
        torch.equal(weights[0][key], weights[1][key]) for key in weights[0] | weights[1]
    )


def _metrics(run: FoldRun | Path) -> list[dict[str, Any]]:
    folder = run if isinstance(run, Path) else run.folder

    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [json.loads(line, parse_constant=refuse) for line in lines]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where what several tests look at is kept once it is trained."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def done(fit: Fit, recipe_of: Any, kept: Path, tmp_path: Path) -> FoldRun:
    """The run of BASE, a copy of its own for each test."""
    if not (kept / "run").exists():
        fit(recipe_of(), kept / "run")
    return load_run(Path(shutil.copytree(kept / "run", tmp_path / "run")))


# Repeatable


def test_one_seed_gives_the_same_numbers_and_another_gives_others(
    done: FoldRun, fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    torch.manual_seed(77)  # what the generators held before does not matter
    assert _same(done, fit(recipe_of(), tmp_path / "b"))
    other = fit(recipe_of(seed=6), tmp_path / "c")
    assert not np.allclose(done.scores.logits(), other.scores.logits(), atol=1e-3)


def test_workers_change_nothing(done: FoldRun, fit: Fit, recipe_of: Any, tmp_path: Path) -> None:
    assert _same(done, fit(recipe_of(training={"workers": 2}), tmp_path / "2"))


def test_a_fold_alone_is_the_fold_within_all(fit: Fit, recipe_of: Any, tmp_path: Path) -> None:
    within = [fit(recipe_of(), tmp_path / f"all/fold_{n}", fold=n) for n in (0, 1)]
    assert _same(within[1], fit(recipe_of(), tmp_path / "alone/fold_1", fold=1))
    assert (
        within[0].scores.frame["image_name"].tolist()
        != within[1].scores.frame["image_name"].tolist()
    )


def test_each_image_is_scored_by_the_run_that_held_it_out(
    fit: Fit, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    runs = [fit(recipe_of(), tmp_path / f"{n}", fold=n) for n in (0, 1)]
    held_out = place.folds.frame.groupby("fold")["image_name"].apply(list)
    for run in runs:
        assert run.scores.frame["image_name"].tolist() == held_out[run.fold]
        truth = place.folds.frame.set_index("image_name")["target"]
        assert run.scores.target.tolist() == truth[held_out[run.fold]].tolist()


# Resumable


DEMANDING: dict[str, Any] = {
    "training": {"epochs": 3, "batch_size": 4, "accumulate": 2, "ema_decay": 0.8},
    "selection": {"keep": "best", "patience": 3},
    "schedule": {"name": "plateau", "patience": 0, "threshold": 0.5},
    "evaluation": {"views": 2},
}


@pytest.fixture(scope="module")
def steps() -> int:
    """Optimizer steps in DEMANDING: 3 epochs of 32 images in groups of 8."""
    return 12


@pytest.fixture
def unbroken(fit: Fit, recipe_of: Any, kept: Path, request: pytest.FixtureRequest) -> FoldRun:
    """DEMANDING in one go, where AUROC is `falling` and where it is not."""
    folder = kept / ("falling" if "falling" in request.fixturenames else "unbroken")
    return load_run(folder) if folder.exists() else fit(recipe_of(**DEMANDING), folder)


# At every step; and where worker processes are begun anew each time, within two of the epochs.
@pytest.mark.parametrize(("workers", "each"), [(0, 1), (2, 5)])
def test_a_run_interrupted_again_and_again_gives_the_unbroken_run(
    workers: int,
    each: int,
    fit: Fit,
    recipe_of: Any,
    tmp_path: Path,
    unbroken: FoldRun,
    steps: int,
) -> None:
    training = {**DEMANDING["training"], "workers": workers}
    recipe, folder = recipe_of(**{**DEMANDING, "training": training}), tmp_path / "broken"
    for _ in range(steps // each):
        with pytest.raises(InterruptedRun, match="the same command resumes"):
            fit(recipe, folder, watchers=Interrupted(each).watchers())
    resumed = fit(recipe, folder)
    assert _same(resumed, unbroken)
    kept = ("epoch", "loss", "valid_loss", "auroc", "best", "rates")
    assert [{k: r[k] for k in kept} for r in _metrics(resumed)] == [
        {k: r[k] for k in kept} for r in _metrics(unbroken)
    ]
    assert sorted(p.name for p in folder.glob("*")) == sorted(
        p.name for p in unbroken.folder.glob("*")
    )


@pytest.fixture
def falling(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each epoch's AUROC is below the one before: the first is the best, the last is not."""
    aurocs = (0.9 - 0.001 * number for number in itertools.count())
    monkeypatch.setattr(epoch_metrics, "roc_auc_score", lambda *_: next(aurocs))


# Three validations; then the last epoch with its views, and the best one.
@pytest.mark.parametrize("call", [1, 2, 3, 4, 5])
def test_a_run_interrupted_while_it_predicts_gives_the_unbroken_run(
    call: int,
    falling: None,
    fit: Fit,
    recipe_of: Any,
    tmp_path: Path,
    unbroken: FoldRun,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    calls, original = 0, loop.predict_rows

    def predict(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == call:
            signal.raise_signal(signal.SIGTERM)
        return original(*arguments, **options)

    recipe, folder = recipe_of(**DEMANDING), tmp_path / "broken"
    with monkeypatch.context() as patch:
        patch.setattr(loop, "predict_rows", predict)
        with pytest.raises(InterruptedRun):
            fit(recipe, folder)
    resumed = fit(recipe, folder)
    assert (resumed.facts.best_epoch, resumed.facts.last_epoch) == (1, 3)
    assert _same(resumed, unbroken)


# The statistics of BatchNorm are those of ten training images.
PRECISE: dict[str, Any] = {
    "training": {"epochs": 2, "batch_size": 4, "ema_decay": 0.9, "precise_bn": 10},
}


@pytest.fixture
def normed(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tiny backbone with a BatchNorm."""
    monkeypatch.setitem(BACKBONES, "tiny", make_tiny_backbone(norm=True))


def test_renewed_statistics_are_all_that_precise_bn_changes(
    normed: None, fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    renewed = fit(recipe_of(**PRECISE), tmp_path / "renewed")
    plain = {**PRECISE, "training": {**PRECISE["training"], "precise_bn": 0}}
    left = fit(recipe_of(**plain), tmp_path / "left")
    ours, theirs = (load_file(run.folder / "model.safetensors") for run in (renewed, left))
    changed = {key for key in ours if not torch.equal(ours[key], theirs[key])}
    statistics = {key for key in ours if key.endswith(("running_mean", "running_var"))}
    assert statistics and statistics == changed - {k for k in ours if k.endswith("_tracked")}
    assert _logits(renewed) != _logits(left)


@pytest.mark.parametrize("call", [1, 2])
def test_a_run_interrupted_while_statistics_are_renewed_gives_the_unbroken_run(
    call: int,
    normed: None,
    fit: Fit,
    recipe_of: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    recipe, folder = recipe_of(**PRECISE), tmp_path / "broken"
    unbroken = fit(recipe, tmp_path / "unbroken")
    calls, original = 0, loop.renew_statistics

    def renew(*arguments: Any, **options: Any) -> None:
        nonlocal calls
        calls += 1
        if calls == call:
            signal.raise_signal(signal.SIGTERM)  # noticed after its first batch
        original(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "renew_statistics", renew)
        with pytest.raises(InterruptedRun):
            fit(recipe, folder)
    assert _same(fit(recipe, folder), unbroken)


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_its_exit_code_and_gives_the_handlers_back(
    number: int, code: int, fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    before = signal.getsignal(number)
    with pytest.raises(InterruptedRun) as interruption:
        fit(recipe_of(), tmp_path / "run", watchers=Interrupted(2, number).watchers())
    assert interruption.value.exit_code == code
    assert signal.getsignal(number) is before
    state = load_state(tmp_path / "run", warn=pytest.fail)
    assert state is not None
    assert state["counters"]["batch"] == 2


def test_a_run_killed_in_mid_epoch_gives_the_unbroken_run(
    fit: Fit, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    recipe = recipe_of(
        model={"backbone": "tiny_norm", "dropout": 0.4},
        training={"ema_decay": 0.9, "batch_size": 8},
    )
    # Four steps an epoch: saved after the sixth, killed in the seventh.
    train_and_kill(recipe, place, tmp_path / "killed", saved=6)
    said: list[str] = []
    resumed = fit(recipe, tmp_path / "killed", watchers=Watchers(say=said.append))
    assert said == ["fold 0: resuming at epoch 2, batch 2"]
    assert _same(resumed, fit(recipe, tmp_path / "unbroken"))


def test_a_damaged_state_resumes_from_the_one_before_and_ends_alike(
    fit: Fit, recipe_of: Any, tmp_path: Path, unbroken: FoldRun
) -> None:
    recipe, folder = recipe_of(**DEMANDING), tmp_path / "broken"
    for _ in range(2):
        with pytest.raises(InterruptedRun):
            fit(recipe, folder, watchers=Interrupted(2).watchers())
    newest = folder / json.loads((folder / "state.json").read_text())[0]["file"]
    newest.write_bytes(newest.read_bytes()[:-10])
    said: list[str] = []
    assert _same(fit(recipe, folder, watchers=Watchers(say=said.append)), unbroken)
    assert "truncated" in said[0]


def test_a_finished_fold_is_left_as_it_is(
    done: FoldRun, fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    before = {p: p.read_bytes() for p in done.folder.glob("*")}
    said: list[str] = []
    watchers = Watchers(say=said.append, bar=lambda *_: pytest.fail("it trains again"))
    again = fit(recipe_of(), tmp_path / "run", watchers=watchers)
    assert said == ["fold 0 is finished already; nothing to do"]
    assert {p: p.read_bytes() for p in done.folder.glob("*")} == before
    assert again.facts == done.facts
    assert np.allclose(again.scores.logits(), done.scores.logits(), rtol=1e-8)


def test_resume_never_trains_a_finished_fold_again(
    done: FoldRun, fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    second = fit(recipe_of(seed=6), tmp_path / "run", resume=False)
    assert second.facts.seed == 6
    assert _logits(second) != _logits(done)
    assert _same(second, fit(recipe_of(seed=6), tmp_path / "other"))


def test_a_run_that_was_forgotten_halfway_is_not_taken_up(
    fit: Fit, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--resume never, killed while it clears the folder, and then started once more."""
    folder = tmp_path / "run"
    with pytest.raises(InterruptedRun):
        fit(recipe_of(), folder, watchers=Interrupted(2).watchers())
    unlinked, original = 0, Path.unlink

    def unlink(path: Path, missing_ok: bool = False) -> None:
        nonlocal unlinked
        if path.parent == folder and path.suffix != ".tmp":
            unlinked += 1
            if unlinked == 2:
                raise KeyboardInterrupt
        original(path, missing_ok)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", unlink)
        with pytest.raises(KeyboardInterrupt):
            fit(recipe_of(seed=6), folder, resume=False)
    said: list[str] = []
    second = fit(recipe_of(seed=6), folder, resume=False, watchers=Watchers(say=said.append))
    assert said == []
    assert _same(second, fit(recipe_of(seed=6), tmp_path / "fresh"))


# Another's run


def test_another_recipe_is_refused_field_by_field(fit: Fit, recipe_of: Any, tmp_path: Path) -> None:
    with pytest.raises(InterruptedRun):
        fit(recipe_of(), tmp_path / "run", watchers=Interrupted(1).watchers())
    other = recipe_of(optimizer={"rate": 0.5}, training={"epochs": 7}, loss={"name": "focal"})
    with pytest.raises(WeightsError) as refusal:
        fit(other, tmp_path / "run")
    for field in (
        "loss.name: bce -> focal",
        "optimizer.rate: 0.003 -> 0.5",
        "training.epochs: 2 -> 7",
        "--resume never",
        "--force-resume",
    ):
        assert field in str(refusal.value)
    assert "image.size" not in str(refusal.value)
    assert refusal.value.exit_code == 5


def test_a_finished_run_of_another_recipe_is_refused_too(
    done: FoldRun, fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError, match="seed: 5 -> 6"):
        fit(recipe_of(seed=6), tmp_path / "run")


def test_other_folds_are_refused_by_their_digest(
    fit: Fit, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRun):
        fit(recipe_of(), tmp_path / "run", watchers=Interrupted(1).watchers())
    with pytest.raises(WeightsError, match="fold: 0 -> 1"):
        fit(recipe_of(), tmp_path / "run", fold=1)


def test_speed_alone_is_no_other_recipe(
    done: FoldRun, fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    before = (done.folder / "model.safetensors").stat().st_mtime_ns
    for same in (recipe_of(training={"workers": 2}), recipe_of(version=2)):
        again = fit(same, tmp_path / "run", watchers=Watchers(bar=lambda *_: pytest.fail("trains")))
        assert again.facts == done.facts
        assert (again.folder / "model.safetensors").stat().st_mtime_ns == before


def test_a_forced_resume_goes_on_under_the_new_recipe(
    fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRun):
        fit(recipe_of(), tmp_path / "run", watchers=Interrupted(5).watchers())
    changed = recipe_of(
        training={"epochs": 9},
        optimizer={"rate": 0.001},
        selection={"patience": 2, "min_delta": 0.99},
    )
    run = fit(changed, tmp_path / "run", force_resume=True)
    # The first epoch was the old recipe's and no later one is .99 better: two more, then it stops.
    assert [line["rates"] for line in _metrics(run)] == [[0.003], [0.001], [0.001]]


def test_a_forced_resume_of_another_network_is_refused_in_one_line(
    fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    with pytest.raises(InterruptedRun):
        fit(recipe_of(), tmp_path / "run", watchers=Interrupted(1).watchers())
    for other in (
        recipe_of(model={"backbone": "resnet18"}),
        recipe_of(training={"ema_decay": 0.9}),
        recipe_of(optimizer={"name": "sgd"}),
    ):
        with pytest.raises(WeightsError, match=r"does not fit this recipe.*--resume never"):
            fit(other, tmp_path / "run", force_resume=True)


# Alone in the folder


@pytest.fixture
def holder(tmp_path: Path) -> Iterator[Path]:
    """A run folder that another process holds."""
    folder = tmp_path / "run"
    folder.mkdir()
    code = "import sys, filelock\nwith filelock.FileLock(sys.argv[1]): print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", code, folder / ".lock"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield folder
        process.kill()


def test_a_second_process_in_the_folder_is_refused_and_touches_nothing(
    holder: Path, fit: Fit, recipe_of: Any
) -> None:
    (holder / ".state-0.pt.99.tmp").write_bytes(b"what the other process writes")
    before = sorted(holder.iterdir())
    with pytest.raises(StorageError, match="in use by another process") as refusal:
        fit(recipe_of(), holder)
    assert refusal.value.exit_code == 6
    assert sorted(holder.iterdir()) == before


def test_a_second_run_in_the_same_process_is_refused_too(
    fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    refused = []

    def epoch(_: dict[str, Any]) -> None:
        with pytest.raises(StorageError):
            fit(recipe_of(), tmp_path / "run")
        refused.append(True)

    fit(recipe_of(), tmp_path / "run", watchers=Watchers(epoch=epoch))
    assert len(refused) == 2


def test_what_a_killed_writer_left_is_swept_at_the_start(
    fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / ".state-0.pt.99.tmp").write_bytes(b"half")
    fit(recipe_of(), folder)
    assert not list(folder.glob(".*.tmp"))


def test_a_folder_that_cannot_be_made_is_refused_before_training(
    fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    watchers = Watchers(bar=lambda *_: pytest.fail("it trains"))
    with pytest.raises(StorageError, match="cannot write"):
        fit(recipe_of(), tmp_path / "file" / "run", watchers=watchers)


# Selection


def _script(monkeypatch: pytest.MonkeyPatch, *aurocs: float) -> None:
    scripted = iter(aurocs)
    monkeypatch.setattr(epoch_metrics, "roc_auc_score", lambda *_: next(scripted))


def test_a_scripted_auroc_stops_at_the_right_epoch_and_keeps_the_right_weights(
    fit: Fit, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(
        training={"epochs": 25},
        schedule={"name": "plateau", "factor": 0.1, "patience": 1, "threshold": 1e-3},
        selection={"keep": "best", "patience": 3, "min_delta": 1e-4},
    )
    # Epoch 4 gains less than min_delta; three epochs after the third it is over.
    _script(monkeypatch, 0.6, 0.55, 0.7, 0.70005, 0.65, 0.6, 0.99)
    run = fit(recipe, tmp_path / "run")
    assert (run.facts.best_epoch, run.facts.last_epoch, run.facts.kept) == (3, 6, "best")
    lines = _metrics(run)
    assert [line["best"] for line in lines] == [True, False, True, False, False, False]
    # Two epochs without a thousandth more, 4 and 5, and the sixth runs at a tenth of the rate.
    assert [line["rates"] for line in lines] == [[0.003]] * 5 + [pytest.approx([0.0003])]
    # The kept weights are those of a run that ends with epoch 3, the last column's with epoch 6.
    for epochs, column in ((3, "logit_best"), (6, "logit_last")):
        _script(monkeypatch, 0.6, 0.55, 0.7, 0.70005, 0.65, 0.6, 0.99)
        short = fit(
            recipe_of(
                training={"epochs": epochs},
                schedule=recipe.schedule.model_dump(),
                selection={"keep": "last"},
            ),
            tmp_path / f"{epochs}",
        )
        assert short.scores.logits().tolist() == run.scores.logits(column).tolist()
        ours, theirs = (load_file(r.folder / "model.safetensors") for r in (run, short))
        assert torch.equal(ours["head.weight"], theirs["head.weight"]) == (epochs == 3)
    assert run.scores.logits().tolist() == run.scores.logits("logit_best").tolist()
    assert run.scores.logits().tolist() != run.scores.logits("logit_last").tolist()


def test_keeping_the_last_epoch_still_reports_the_best_one(
    fit: Fit, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _script(monkeypatch, 0.9, 0.5, 0.5)
    run = fit(recipe_of(training={"epochs": 3}, selection={"keep": "last"}), tmp_path / "run")
    assert (run.facts.best_epoch, run.facts.last_epoch) == (1, 3)
    assert run.scores.logits().tolist() == run.scores.logits("logit_last").tolist()
    assert run.scores.logits().tolist() != run.scores.logits("logit_best").tolist()


# Weighted losses


@pytest.mark.parametrize(
    ("changes", "shift"),
    [
        ({"loss": {"positive_weight": "ratio"}}, lambda n0, n1: math.log(n0 / n1)),
        ({"loss": {"positive_weight": "ratio", "cap": 3.0}}, lambda n0, n1: math.log(3)),
        ({"loss": {"positive_weight": 2.5}}, lambda n0, n1: math.log(2.5)),
        ({"loss": {"positive_weight": "none"}}, lambda n0, n1: 0.0),
        (
            {"loss": {"positive_weight": "none"}, "sampler": {"name": "balanced"}},
            lambda n0, n1: math.log(n0 / n1),
        ),
        (
            {
                "loss": {"positive_weight": 2.0},
                "sampler": {"name": "balanced", "positive_share": 0.25},
            },
            lambda n0, n1: math.log(2) + math.log(1 / 3) - math.log(n1 / n0),
        ),
    ],
)
def test_the_shift_of_the_prior_is_what_weight_and_sampler_add_to_the_log_odds(
    changes: dict[str, Any], shift: Callable[[int, int], float], place: Any, recipe_of: Any
) -> None:
    recipe, data = recipe_of(**changes), place.data(0)
    negatives = len(data.training) - data.positives
    expected = shift(negatives, data.positives)
    assert fold_prior_shift(recipe, data) == pytest.approx(expected)
    # The head starts where a loss that sees this share would take a blind model.
    other, shown = shown_shares(recipe, data)
    assert other + shown == pytest.approx(1)
    prior = math.log(data.positives / negatives)
    assert math.log(shown / other) == pytest.approx(prior + expected)


def test_the_weight_of_positives_is_recorded_beside_the_weights_and_not_in_them(
    fit: Fit, place: Any, recipe_of: Any, tmp_path: Path
) -> None:
    data = place.data(0)
    run = fit(recipe_of(loss={"positive_weight": "ratio"}), tmp_path / "ratio")
    ratio = (len(data.training) - data.positives) / data.positives
    assert run.facts.prior_shift == pytest.approx(math.log(ratio))
    weights = load_file(run.folder / "model.safetensors")
    fresh = make_classifier("tiny", outputs=1)
    assert weights.keys() == fresh.state_dict().keys()
    # And the logits on disk are the network's own: the shift is taken out later, once.
    fresh.load_state_dict(weights)
    logits = loop.predict_rows(
        fresh, place.array, data.validation, normalize="imagenet", views=1, batch_size=64
    )[:, 0]
    assert np.allclose(run.scores.logits()[:, 0], logits, atol=1e-6)


# Divergence


class _Broken:
    """A loss whose calls in `bad` give NaN; stands in LOSSES as `broken`."""

    def __init__(self, bad: Callable[[int], bool]) -> None:
        self.calls, self.bad = 0, bad

    def __call__(self, logits: Tensor, targets: Tensor, **options: float) -> Tensor:
        self.calls += 1
        value = binary_cross_entropy(logits, targets, **options)  # type: ignore[arg-type]
        return value * math.nan if self.bad(self.calls - 1) else value


@pytest.fixture
def broken(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[int], bool]], None]:
    return lambda bad: monkeypatch.setitem(LOSSES, "broken", LossEntry(_Broken(bad)))


def test_skipped_steps_are_counted_and_the_epoch_s_loss_stays_a_number(
    fit: Fit, recipe_of: Any, tmp_path: Path, broken: Any
) -> None:
    broken(lambda call: call in (1, 2, 6))
    run = fit(recipe_of(loss={"name": "broken"}), tmp_path / "run")
    assert [line["skipped_steps"] for line in _metrics(run)] == [2, 1]
    assert all(math.isfinite(line["loss"]) for line in _metrics(run))
    assert run.facts.skipped_steps == 3


def test_an_epoch_without_a_finite_step_has_no_loss_and_its_line_is_json(
    fit: Fit, recipe_of: Any, tmp_path: Path, broken: Any
) -> None:
    broken(lambda call: call < 4)
    run = fit(recipe_of(loss={"name": "broken"}), tmp_path / "run")
    assert [line["loss"] is None for line in _metrics(run)] == [True, False]


def test_ten_bad_steps_in_a_row_go_back_once_at_half_the_rate(
    fit: Fit, recipe_of: Any, tmp_path: Path, broken: Any
) -> None:
    broken(lambda call: 20 <= call < 30)  # 16 steps an epoch: the fifth of the second one
    said: list[str] = []
    recipe = recipe_of(loss={"name": "broken"}, training={"batch_size": 2, "epochs": 3})
    run = fit(recipe, tmp_path / "run", watchers=Watchers(say=said.append))
    assert len(said) == 1
    assert "back to epoch 2 at half the rate" in said[0]
    assert [line["rates"] for line in _metrics(run)] == [[0.003], [0.0015], [0.0015]]
    assert run.facts.last_epoch == 3


def test_a_run_that_diverges_again_names_its_images_and_keeps_the_best_weights(
    fit: Fit, place: Any, recipe_of: Any, tmp_path: Path, broken: Any
) -> None:
    broken(lambda call: call >= 20)
    recipe = recipe_of(loss={"name": "broken"}, training={"batch_size": 2, "epochs": 3})
    with pytest.raises(DivergedError) as refusal:
        fit(recipe, tmp_path / "run")
    assert refusal.value.exit_code == 4
    named = [name for name in place.array.names if name in str(refusal.value)]
    assert len(named) == 2
    trained = [place.array.names[row] for row in place.data(0).training]
    assert set(named) <= set(trained)
    assert "in epoch 2" in str(refusal.value)
    state = load_state(tmp_path / "run", warn=pytest.fail)
    assert state is not None
    broken(lambda call: False)
    whole = fit(
        recipe_of(loss={"name": "broken"}, training={"batch_size": 2, "epochs": 1}),
        tmp_path / "one",
    )
    for key, value in load_file(whole.folder / "model.safetensors").items():
        assert torch.equal(state["best_weights"][key], value)
        assert torch.equal(state["classifier"][key], value)
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_run_that_never_had_a_good_step_has_nothing_to_go_back_to(
    fit: Fit, recipe_of: Any, tmp_path: Path, broken: Any
) -> None:
    broken(lambda call: True)
    recipe = recipe_of(loss={"name": "broken"}, training={"batch_size": 2})
    with pytest.raises(DivergedError, match=r"in epoch 1 .*clip_norm=1"):
        fit(recipe, tmp_path / "run")


def test_validation_that_is_not_finite_is_called_that(
    fit: Fit, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = loop.predict_rows
    monkeypatch.setattr(loop, "predict_rows", lambda *a, **k: original(*a, **k) * math.nan)
    with pytest.raises(DivergedError, match="held-out"):
        fit(recipe_of(), tmp_path / "run")


# What a finished folder holds


def test_a_finished_folder_is_verified_when_it_is_read(done: FoldRun) -> None:
    run = done
    for name in ("model.safetensors", "oof.csv", "recipe.yaml", "training_images.csv"):
        path = run.folder / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(WeightsError, match=rf"{name}: sha256 mismatch"):
            load_run(run.folder)
        path.unlink()
        with pytest.raises(WeightsError, match=rf"{name} is missing"):
            load_run(run.folder)
        path.write_bytes(whole)
    assert not list(run.folder.glob("state*"))


def test_a_fold_that_is_not_finished_is_no_run(fit: Fit, recipe_of: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="is not trained"):
        load_run(tmp_path)
    with pytest.raises(InterruptedRun):
        fit(recipe_of(), tmp_path / "run", watchers=Interrupted(1).watchers())
    with pytest.raises(WeightsError, match="is not finished"):
        load_run(tmp_path / "run")


@pytest.mark.parametrize("cut", [0, 10])
def test_a_damaged_record_is_refused_and_never_a_fresh_start(
    cut: int, done: FoldRun, fit: Fit, recipe_of: Any, tmp_path: Path
) -> None:
    path = done.folder / "run.json"
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(WeightsError, match=r"run\.json is damaged"):
        fit(recipe_of(), tmp_path / "run")


# Which rows


def test_an_array_of_other_images_is_refused_with_counts(place: Any) -> None:
    frame = place.folds.frame
    fewer = type(place.folds)(frame.iloc[:-3])
    with pytest.raises(DataError, match="0 only in the fold file, 3 only in the array"):
        select_fold(place.array, fewer, 0)
    renamed = type(place.folds)(frame.assign(image_name=["other", *frame["image_name"][1:]]))
    with pytest.raises(DataError, match="1 only in the fold file, 1 only in the array"):
        select_fold(place.array, renamed, 0)


def test_a_fold_with_one_class_is_refused_before_anything_trains(place: Any) -> None:
    frame = place.folds.frame.copy()
    frame.loc[frame["fold"] == 0, ["label", "target"]] = "benign", 0
    with pytest.raises(FoldError, match="AUROC needs both classes"):
        select_fold(place.array, type(place.folds)(frame), 0)
    with pytest.raises(FoldError, match="fold 9 is not in the fold file"):
        place.data(9)


def test_rows_are_found_by_name_whatever_the_order_of_the_fold_file(place: Any) -> None:
    shuffled = type(place.folds)(place.folds.frame.sample(frac=1, random_state=0))
    ours, theirs = place.data(1), select_fold(place.array, shuffled, 1)
    assert set(ours.training) == set(theirs.training)
    assert np.array_equal(ours.targets, theirs.targets)
    assert not set(ours.training) & set(ours.validation)
    names = [place.array.names[row] for row in theirs.validation]
    held_out = shuffled.frame[shuffled.frame["fold"] == 1]
    assert names == held_out["image_name"].tolist()


def test_compile_changes_what_trains_and_nothing_that_is_scored(
    done: FoldRun, fit: Any, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []

    def compile_(module: Any, **_: Any) -> Any:
        def network(images: Any) -> Any:
            compiled.append("train" if module.training else "eval")
            return module(images)

        return network

    monkeypatch.setattr(torch, "compile", compile_)
    fit(recipe_of(training={"epochs": 1}), tmp_path / "plain")
    assert compiled == []
    ours = fit(recipe_of(training={"compile": True}), tmp_path / "compiled")
    assert set(compiled) == {"train"}
    assert _same(done, ours)
    assert recipe_of().digest() != recipe_of(training={"compile": True}).digest()
    assert recipe_of().digest() == recipe_of(training={"compile": False}).digest()


def test_a_processor_s_activations_keep_their_memory_while_it_trains(
    fit: Fit, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[str, str]] = []

    @contextmanager
    def kept(device: torch.device) -> Iterator[None]:
        told.append(("kept", device.type))
        yield
        told.append(("let go", device.type))

    def train(*args: Any, **options: Any) -> None:
        told.append(("trains", ""))
        train_epoch(*args, **options)

    train_epoch = loop.train_epoch
    monkeypatch.setattr("melanoma.training.fit.freed_memory_kept", kept)
    monkeypatch.setattr(loop, "train_epoch", train)
    fit(recipe_of(training={"epochs": 1}), tmp_path / "run")
    assert told == [("kept", "cpu"), ("trains", ""), ("let go", "cpu")]


@pytest.mark.parametrize(
    "training",
    [{"batch_size": 1}, {"precise_bn": 1}, {"batch_size": 8, "accumulate": 30}],
    ids=lambda training: "_".join(training),
)
def test_one_image_that_batchnorm_can_make_nothing_of_is_refused_in_a_sentence(
    training: dict[str, Any], fit: Any, recipe_of: Any, tmp_path: Path
) -> None:
    """Of 32 px this backbone leaves one place a channel: of one image it has no variance."""
    recipe = recipe_of(model={"backbone": "tiny_resnet"}, training=training)
    with pytest.raises(RecipeError, match=r"one image.*training\.batch_size"):
        fit(recipe, tmp_path / "run")
