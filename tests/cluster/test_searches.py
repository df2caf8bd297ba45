"""A search by Optuna: what it tries, what it gives up, and that a broken one goes on as it was."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from small_disk import files_of_at_most

from melanoma.cluster import ray_search
from melanoma.cluster.searches import SearchResult, import_optuna, search_by_optuna, spoken
from melanoma.cluster.trials import ALL, Report, Sweep
from melanoma.errors import DivergedError, InterruptedRun, RecipeError, StorageError
from melanoma.recipe.space import Range, Space, TrialSettings
from melanoma.training.watchers import Watchers

pytest.importorskip("optuna", reason="needs the extra [sweep]")

SPACE = {
    "optimizer.rate": {"low": 1.0e-5, "high": 1.0e-1, "log": True},
    "training.epochs": {"low": 2, "high": 10, "step": 4},
    "model.dropout": {"low": 0.0, "high": 0.5, "step": 0.25},
    "loss.name": ["bce", "focal"],
}
FOLDS = 3


@dataclass
class Known:
    """A sweep whose trials are no training: a fold's value is a function of the settings."""

    folder: Path
    value: Callable[[TrialSettings, int], float]
    tried: list[TrialSettings] = field(default_factory=list)
    folds: list[int] = field(default_factory=list)  # that each trial came to

    def inner(self, search: str) -> list[int]:
        return list(range(FOLDS))

    def score(
        self, search: str, settings: TrialSettings, report: Report, watchers: Watchers
    ) -> float:
        self.tried.append(settings)
        self.folds.append(0)
        values: list[float] = []
        for fold in range(FOLDS):
            values.append(self.value(settings, fold))
            self.folds[-1] += 1
            mean = sum(values) / len(values)
            if report(fold + 1, mean) and fold + 1 < FOLDS:
                return mean
        return sum(values) / len(values)


def dropout_is_good(settings: TrialSettings, fold: int) -> float:
    return float(settings["model.dropout"] + settings["optimizer.rate"])


def search(
    sweep: Known, trials: int, *, space: Any = SPACE, name: str = ALL, said: Any = None
) -> SearchResult:
    return search_by_optuna(
        cast(Sweep, sweep),
        name,
        Space(trials=trials, space=space),
        seed=4,
        watchers=Watchers(),
        say=(lambda _: None) if said is None else said.append,
    )


def test_choices_that_are_parts_of_a_recipe_are_searched_without_a_warning(tmp_path: Path) -> None:
    """Optuna doubts that a database holds them; as JSON, which they come from, it does."""
    heads: list[Any] = [{"hidden": [8], "dropout": 0.1}, {"hidden": []}, [1, 2], None]
    space = {"model.head": heads, "training.epochs": [1, 2]}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        sweep = Known(tmp_path, lambda settings, _: heads.index(settings["model.head"]) == 0)
        search(sweep, 4, space=space)
        settings, value = search(sweep, 12, space=space)  # goes on by what the file says
    assert [str(one.message) for one in caught] == []
    assert len(sweep.tried) == 12 and all(tried["model.head"] in heads for tried in sweep.tried)
    assert (settings["model.head"], value) == (heads[0], 1.0)


def test_what_is_tried_lies_in_the_space_and_the_best_of_it_is_found(tmp_path: Path) -> None:
    sweep = Known(tmp_path, dropout_is_good)
    settings, value = search(sweep, 12)
    assert len(sweep.tried) == 12
    for tried in sweep.tried:
        assert tried.keys() == SPACE.keys()
        assert 1e-5 <= tried["optimizer.rate"] <= 1e-1
        assert tried["training.epochs"] in (2, 6, 10)
        assert tried["model.dropout"] in (0.0, 0.25, 0.5)
        assert tried["loss.name"] in ("bce", "focal")
    # By magnitude: evenly drawn, one in a hundred would lie below.
    assert sum(tried["optimizer.rate"] < 1e-3 for tried in sweep.tried) >= 2
    whole = [tried for tried, folds in zip(sweep.tried, sweep.folds, strict=True) if folds == FOLDS]
    assert settings == max(whole, key=lambda tried: dropout_is_good(tried, 0))
    assert value == pytest.approx(dropout_is_good(settings, 0))


def test_steps_between_whole_ends_need_not_be_whole(tmp_path: Path) -> None:
    space = {"schedule.warmup_epochs": {"low": 0, "high": 1, "step": 0.25}}
    sweep = Known(tmp_path, lambda settings, _: float(settings["schedule.warmup_epochs"]))
    search(sweep, 8, space=space)
    drawn = {tried["schedule.warmup_epochs"] for tried in sweep.tried}
    assert drawn <= {0, 0.25, 0.5, 0.75, 1} and drawn - {0, 1}
    # 1.0 is a whole step: a study of an earlier version has whole numbers, and goes on.
    assert Range(low=1, high=3, step=1.0).whole and not Range(low=0, high=1, step=0.25).whole


def test_steps_that_pass_the_end_by_are_counted_from_the_low_one_here_and_on_ray(
    tmp_path: Path,
) -> None:
    """Optuna warned in several lines, and Ray Tune took them for a fault."""
    space: Any = {
        "model.dropout": {"low": 0.05, "high": 0.5, "step": 0.1},
        "training.epochs": {"low": 2, "high": 9, "step": 3},
    }
    expected = {"model.dropout": [0.05, 0.15, 0.25, 0.35, 0.45], "training.epochs": [2, 5, 8]}
    sweep = Known(tmp_path, lambda settings, _: settings["model.dropout"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        search(sweep, 8, space=space)
    assert [str(one.message) for one in caught] == []
    fake = SimpleNamespace(choice=lambda values: values)
    for name, values in expected.items():
        assert {round(tried[name], 9) for tried in sweep.tried} <= set(values)
        assert ray_search._domain(fake, Range(**space[name])) == values


def test_the_study_lies_in_the_sweep_s_folder_whatever_that_is_called(tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("why?one", "why?two", "50% {a}#b c", "é")]
    for folder in folders:
        folder.mkdir()
        sweep = Known(folder, dropout_is_good)
        search(sweep, 1)
        assert len(sweep.tried) == 1  # of its own, where another sweep's would count as done
        assert (folder / "study.db").is_file()
    assert sorted(tmp_path.iterdir()) == sorted(folders)


def test_a_search_is_told_line_by_line_with_the_fold_that_it_never_sees(tmp_path: Path) -> None:
    said: list[str] = []
    sweep = Known(tmp_path, lambda *_: 0.75)
    search(sweep, 2, said=said)
    search(sweep, 1, name="2", said=said)
    first, second, other = said
    assert first == f"all folds: trial 1 of 2: 0.7500 {spoken(sweep.tried[0])}"
    assert second.startswith("all folds: trial 2 of 2: 0.7500 ")
    assert other.startswith("without fold 2: trial 1 of 1: ")


def test_a_hopeless_trial_is_given_up_after_a_fold_and_none_after_the_last(tmp_path: Path) -> None:
    worse = iter(range(100))

    def falling(settings: TrialSettings, fold: int) -> float:
        return -float(next(worse)) if fold == 0 else 0.0

    sweep = Known(tmp_path, falling)
    search(sweep, 6)
    assert sweep.folds[0] == FOLDS
    assert 1 in sweep.folds[1:]
    assert len(sweep.folds) == 6  # one that was given up is one of the trials


def test_a_trial_that_was_given_up_is_never_the_best(tmp_path: Path) -> None:
    """Its value is of the folds so far."""
    trials = iter(range(100))

    def easy_first_fold(settings: TrialSettings, fold: int) -> float:
        return 0.9 - 0.01 * next(trials) if fold == 0 else 0.1

    sweep = Known(tmp_path, easy_first_fold)
    settings, value = search(sweep, 6)
    assert min(sweep.folds) < FOLDS
    assert sweep.folds[sweep.tried.index(settings)] == FOLDS
    assert value < 0.5


def test_a_broken_search_tries_what_an_unbroken_one_tries(tmp_path: Path) -> None:
    def breaking_at(fold_values: int) -> Callable[[TrialSettings, int], float]:
        count = iter(range(1000))

        def value(settings: TrialSettings, fold: int) -> float:
            if next(count) == fold_values:
                raise InterruptedRun("enough", signal_number=15)
            return dropout_is_good(settings, fold)

        return value

    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = Known(tmp_path / "whole", dropout_is_good)
    found = search(whole, 8)
    tried: list[TrialSettings] = []
    for moment in (1, 5):
        broken = Known(tmp_path / "broken", breaking_at(moment))
        with pytest.raises(InterruptedRun):
            search(broken, 8)
        tried += broken.tried[:-1]  # the last one is tried again
    rest = Known(tmp_path / "broken", dropout_is_good)
    assert search(rest, 8) == found
    assert [*tried, *rest.tried] == whole.tried
    storage = f"sqlite:///{tmp_path / 'broken' / 'study.db'}"
    study = import_optuna().load_study(study_name=ALL, storage=storage)
    assert len(study.trials) == 8  # none of a run that was killed is left behind
    assert all(trial.state.is_finished() for trial in study.trials)


def test_a_search_that_has_ended_tries_nothing_more_and_a_longer_one_goes_on(
    tmp_path: Path,
) -> None:
    found = search(Known(tmp_path, dropout_is_good), 3)
    again = Known(tmp_path, dropout_is_good)
    assert search(again, 3) == found
    assert again.tried == []
    search(again, 5)
    assert len(again.tried) == 2


def test_settings_that_diverge_are_said_and_counted(tmp_path: Path) -> None:
    def diverging(settings: TrialSettings, fold: int) -> float:
        if settings["loss.name"] == "bce":
            raise DivergedError("no number")
        return 0.5

    said: list[str] = []
    sweep = Known(tmp_path, diverging)
    settings, _ = search(sweep, 8, said=said)
    assert settings["loss.name"] == "focal"
    assert len(sweep.tried) == 8
    outcomes = {tried["loss.name"]: line for tried, line in zip(sweep.tried, said, strict=True)}
    assert ": diverged " in outcomes["bce"] and ": 0.5000 " in outcomes["focal"]


def test_settings_that_do_not_go_together_are_a_trial_that_failed(tmp_path: Path) -> None:
    """Each end of the space is tried alone when it is read; the trials draw them together."""

    def refusing(settings: TrialSettings, fold: int) -> float:
        if settings["training.epochs"] < 10:
            raise RecipeError("schedule.warmup_epochs must be less than training.epochs")
        return 0.5

    said: list[str] = []
    sweep = Known(tmp_path, refusing)
    settings, value = search(sweep, 8, said=said)
    assert (settings["training.epochs"], value) == (10, 0.5)
    assert len(sweep.tried) == 8
    for tried, line in zip(sweep.tried, said, strict=True):
        refused = ": refused (schedule.warmup_epochs must be less than training.epochs) "
        assert (refused if tried["training.epochs"] < 10 else ": 0.5000 ") in line


def test_trials_that_failed_are_not_replaced_when_the_command_is_given_again(
    tmp_path: Path,
) -> None:
    def refusing(settings: TrialSettings, fold: int) -> float:
        if settings["training.epochs"] < 10:
            raise RecipeError("no")
        return dropout_is_good(settings, fold)

    for name in ("whole", "broken"):
        (tmp_path / name).mkdir()
    whole = Known(tmp_path / "whole", refusing)
    found = search(whole, 8)
    assert any(tried["training.epochs"] < 10 for tried in whole.tried)
    again = Known(tmp_path / "whole", refusing)
    assert (search(again, 8), again.tried) == (found, [])
    first, rest = (Known(tmp_path / "broken", refusing) for _ in range(2))
    search(first, 5)
    assert search(rest, 8) == found
    assert [*first.tried, *rest.tried] == whole.tried


def test_where_nothing_can_be_trained_the_search_ends_and_says_so(tmp_path: Path) -> None:
    def diverging(settings: TrialSettings, fold: int) -> float:
        raise DivergedError("no number")

    sweep = Known(tmp_path, diverging)
    with pytest.raises(RecipeError, match="without fold 1: no settings of the space"):
        search(sweep, 3, name="1")
    assert len(sweep.tried) == 3
    # What was amiss with all of them may have been mended.
    mended = Known(tmp_path, dropout_is_good)
    search(mended, 3, name="1")
    assert len(mended.tried) == 3


def test_without_optuna_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(RecipeError, match=r"pip install 'melanoma\[sweep\]'.*--on ray"):
        import_optuna()


def test_settings_are_one_line_of_what_set_takes() -> None:
    settings = {"optimizer.rate": 0.000123456, "training.epochs": 12345, "loss.name": "bce"}
    assert spoken(settings) == "optimizer.rate=0.0001235 training.epochs=12345 loss.name=bce"


@pytest.mark.parametrize("room", [4_096, 40_960, 90_112])
def test_a_full_disk_ends_a_search_in_a_sentence_and_it_goes_on_when_there_is_room(
    room: int, tmp_path: Path
) -> None:
    with files_of_at_most(room), pytest.raises(StorageError, match=r"cannot write .*/study\.db: "):
        search(Known(tmp_path, dropout_is_good), 60)
    search(Known(tmp_path, dropout_is_good), 61)


def test_trials_of_no_sqlite_file_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_bytes(b"no database, and longer than its header" * 99)
    with pytest.raises(StorageError, match=r"study\.db: file is not a database"):
        search(Known(tmp_path, dropout_is_good), 1)
