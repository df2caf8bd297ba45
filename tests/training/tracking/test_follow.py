"""A tracker is told everything and can do no harm."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from run_lines import run_lines
from safetensors.torch import load_file

from melanoma.errors import InterruptedRun, RecipeError, WeightsError
from melanoma.training.tracking.flat import epoch_metrics, flatten
from melanoma.training.tracking.follow import follow
from melanoma.training.tracking.tracker_catalog import TRACKERS, make_trackers, tracking_places
from melanoma.training.watchers import Watchers


class Recorder:
    """Keeps what it is told; raises, hangs or signals where it is asked to."""

    name = "recorder"

    def __init__(self, **acts: Callable[[], Any]) -> None:
        self.acts, self.told = acts, []  # type: ignore[var-annotated]

    def _tell(self, what: str, *values: Any) -> None:
        self.told.append((what, *values))
        self.acts.get(what, lambda: None)()

    def start(self, facts: Any, recipe: Any, history: Any) -> None:
        self._tell("start", facts, recipe, history)

    def epoch(self, record: Any) -> None:
        self._tell("epoch", record)

    def finish(self, facts: Any, *, status: str) -> None:
        self._tell("finish", facts, status)

    @property
    def names(self) -> list[str]:
        return [told[0] for told in self.told]


def fail() -> None:
    raise ConnectionError("no route to http://user:secret@tracker:5000/api")


def _without_times(records: list[Any]) -> list[Any]:
    return [
        {key: value for key, value in record.items() if "second" not in key} for record in records
    ]


SQLITE = "mlflow:sqlite:///mlflow.db"


@pytest.mark.parametrize(
    ("options", "environment", "places"),
    [
        (None, {}, ()),
        (None, {"MELANOMA_MLFLOW_URI": ""}, ()),
        (None, {"MELANOMA_MLFLOW_URI": "http://h:1"}, ("mlflow:http://h:1",)),
        (["none"], {"MELANOMA_MLFLOW_URI": "http://h:1"}, ()),
        (["mlflow"], {}, (SQLITE,)),
        (["mlflow"], {"MELANOMA_MLFLOW_URI": "http://h:1"}, ("mlflow:http://h:1",)),
        (["mlflow:sqlite:///a.db"], {"MELANOMA_MLFLOW_URI": "x"}, ("mlflow:sqlite:///a.db",)),
        (["tensorboard"], {"MELANOMA_MLFLOW_URI": "x"}, ("tensorboard:runs/tensorboard",)),
        (["wandb:skin", "mlflow"], {}, ("wandb:skin", SQLITE)),
    ],
)
def test_the_option_comes_before_the_environment(
    options: list[str] | None, environment: dict[str, str], places: tuple[str, ...]
) -> None:
    assert tracking_places(options, environment) == places


@pytest.mark.parametrize("option", ["clearml", "sqlite:///a.db", ""])
def test_an_unknown_tracker_is_refused_with_the_known(option: str) -> None:
    with pytest.raises(RecipeError, match=r"none, or mlflow\[:URI\], tensorboard\[:DIR\], wandb"):
        tracking_places([option], {})
    with pytest.raises(RecipeError, match="nothing else"):
        tracking_places(["mlflow", "none"], {})


def test_a_place_is_a_tracker_and_a_plain_uri_is_mlflow_s() -> None:
    names = [tracker.name for tracker in make_trackers(["tensorboard:a", "wandb:b", "mlflow:c"])]
    assert names == ["TensorBoard in a", "W&B project b", "MLflow at c"]
    assert make_trackers(None) == []
    [plain] = make_trackers("sqlite:///a.db")
    assert plain.name == "MLflow at sqlite:///a.db"


def test_a_tracker_is_told_the_start_each_epoch_and_the_end(tracked: Any) -> None:
    recorder = Recorder()
    run, said = tracked(recorder)
    assert recorder.names == ["start", "epoch", "epoch", "finish"]
    _, facts, recipe, history = recorder.told[0]
    assert facts.recipe_digest == recipe.digest() and history == []
    assert [told[1] for told in recorder.told[1:3]] == run_lines(run)
    assert recorder.told[3][1:] == (run.facts, "FINISHED")
    assert said == []


def test_a_finished_fold_is_not_tracked_again(tracked: Any) -> None:
    tracked(None)
    recorder = Recorder()
    tracked(recorder)
    assert recorder.told == []


def test_an_interrupted_run_is_killed_and_the_resumed_one_knows_its_epochs(tracked: Any) -> None:
    def stop() -> None:
        raise InterruptedRun("stop", signal_number=15)

    first = Recorder()
    with pytest.raises(InterruptedRun):
        _stop_after_an_epoch(tracked, first, stop)
    assert first.names == ["start", "epoch", "finish"] and first.told[-1][2] == "KILLED"
    second = Recorder()
    run, _ = tracked(second)
    assert second.told[0][3] == run_lines(run)[:1]
    assert [told[1] for told in second.told[1:-1]] == run_lines(run)[1:]


def _stop_after_an_epoch(tracked: Any, recorder: Recorder, stop: Callable[[], None]) -> None:
    """A signal between two epochs, as the loop itself answers it."""
    from melanoma.training.loop import Loop

    whole = Loop._train

    def once(self: Any) -> None:
        if self.state.epoch == 1:
            self._save()
            stop()
        whole(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_train", once)
        tracked(recorder)


def test_a_run_that_breaks_is_failed_and_one_that_never_began_is_not_told(
    fit: Any, recipe_of: Any, tmp_path: Path
) -> None:
    broken, unborn = Recorder(), Recorder()
    with (
        pytest.raises(ZeroDivisionError),
        follow([broken], Watchers(), recipe_of()) as watchers,
    ):
        watchers.start({"fold": 0}, [])
        raise ZeroDivisionError
    assert broken.told[-1][2] == "FAILED"
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "run.json").write_text("{")
    with (
        pytest.raises(WeightsError),
        follow([unborn], Watchers(), recipe_of()) as watchers,
    ):
        fit(recipe_of(), tmp_path / "a", watchers=watchers)
    assert unborn.told == []


@pytest.mark.parametrize("where", ["start", "epoch", "finish"])
def test_a_tracker_that_fails_is_said_once_and_changes_nothing(tracked: Any, where: str) -> None:
    recorder = Recorder(**{where: fail})
    plain, _ = tracked(None, "plain")
    run, said = tracked(recorder)
    [warning] = said
    assert warning.startswith("warning: recorder: no route")
    assert "secret" not in warning and "training goes on" in warning
    assert recorder.names.count(where) == 1 and recorder.names[-1] == where
    assert _without_times(run_lines(run)) == _without_times(run_lines(plain))
    ours, theirs = (load_file(r.folder / "model.safetensors") for r in (run, plain))
    assert all(ours[key].equal(theirs[key]) for key in theirs)


@pytest.mark.parametrize("where", ["start", "epoch", "finish"])
def test_a_tracker_that_hangs_costs_a_bounded_time_once(tracked: Any, where: str) -> None:
    never, let_go = threading.Event(), []
    recorder = Recorder(**{where: lambda: let_go.append(never.wait(300))})
    run, said = tracked(recorder, start_seconds=0.3, call_seconds=0.3)
    assert let_go == [], "the run waited for the tracker until it answered"
    never.set()
    [warning] = said
    assert "no answer in 0.3 s" in warning
    assert [line["epoch"] for line in run_lines(run)] == [1, 2]
    assert run.facts.finished


def test_without_the_packages_training_goes_on_and_each_is_said_once(
    tracked: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("mlflow", "mlflow.tracking", "tensorboardX", "wandb"):
        monkeypatch.setitem(sys.modules, name, None)
    recorder = Recorder()
    run, said = tracked([*make_trackers([f"{system}:never" for system in TRACKERS]), recorder])
    for system, warning in zip(TRACKERS, said, strict=True):
        assert f"melanoma[{system}]" in warning
    # One that fails does not keep the others from being told.
    assert recorder.names == ["start", "epoch", "epoch", "finish"]
    assert len(run_lines(run)) == 2


def test_parameters_are_the_recipe_s_leaves_and_metrics_its_finite_numbers(recipe_of: Any) -> None:
    leaves = dict(flatten(recipe_of()))
    assert leaves["optimizer.rate"] == "0.003" and leaves["model.backbone"] == "tiny"
    assert json.loads(leaves["augment"])[0] == {"flip_horizontal": {}}
    assert json.loads(leaves["classes"]) == ["benign", "melanoma"]
    found = epoch_metrics(
        {"fold": 1, "epoch": 3, "loss": float("nan"), "auroc": None, "best": True, "rates": [1, 2]}
    )
    assert found == {"best": 1.0, "rate_low": 1.0, "rate_high": 2.0}
