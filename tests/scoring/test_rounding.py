"""How far a faster precision moves answers; and it is never chosen unasked."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from tiny_bundle import TinyRun

from melanoma.devices import CPU
from melanoma.evaluation.prevalence import Move
from melanoma.evaluation.report.rounding_words import describe_rounding
from melanoma.evaluation.report.schema_rounding import Rounding
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.backends.torch_members import load_members
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.scoring.held_out import score_by_all
from melanoma.scoring.rounding import measure_rounding, precision_note


def measure(
    exact: np.ndarray, rounded: np.ndarray, positive: np.ndarray | None = None, **given: Any
) -> Rounding:
    """Of one member, or of several."""
    flags = POSITIVE if positive is None else positive
    each = (one.reshape(len(one), -1, one.shape[-1]) for one in (exact, rounded))
    own = given.pop("own", np.zeros(len(exact), int))
    return measure_rounding(*each, own, flags, backend="torch", **given)


POSITIVE = np.arange(60) % 3 == 0


def _draw() -> np.ndarray:
    rng = np.random.default_rng(0)
    found = rng.dirichlet([1, 1, 1, 1], 60)
    found[POSITIVE, 1] += 0.3
    return np.round(found / found.sum(axis=1, keepdims=True), 1)  # with ties


def test_the_changes_are_those_of_the_same_images() -> None:
    exact = _draw()
    rounded = exact.copy()
    rounded[7, 0] += 0.03
    rounded[8, 2] -= 0.01
    rounded[9, [1, 3]] += [0.05, -0.05]
    threshold = float(exact[9, 1:3].sum()) + 0.02
    found = measure(exact, rounded, melanoma=[1, 2], threshold=threshold)
    assert found.auroc is not None and found.auroc_change is not None
    assert found.largest_change == found.member_change == pytest.approx(0.05)
    assert (found.images, found.images_above, found.flags_turned) == (60, 2, 1)
    before, after = (roc_auc_score(POSITIVE, each[:, 1:3].sum(axis=1)) for each in (exact, rounded))
    assert found.auroc == pytest.approx(before)
    assert found.auroc_change == pytest.approx(after - before)
    assert found.auroc_change != 0
    assert not found.holds


def test_an_answer_is_of_all_members_and_the_auroc_of_the_one_that_never_saw_the_image() -> None:
    exact = np.stack([_draw(), _draw()[::-1]], axis=1)
    rounded, own = exact.copy(), np.arange(60) % 2
    rounded[4, 0] += [0.03, -0.03, 0, 0]
    rounded[4, 1] += [0.005, -0.005, 0, 0]
    rounded[6, 1] += [0, 0.03, -0.03, 0]  # of the other member: no AUROC knows it
    rounded[9, 1] += [0, 0.2, -0.2, 0]
    found = measure(exact, rounded, own=own, melanoma=[1], threshold=0.5)
    assert found.member_change == pytest.approx(0.2)
    assert found.largest_change == pytest.approx(0.1)
    assert found.images_above == 1, "0.0175 and 0.015 are not above"
    held = np.arange(60), own
    before, after = (roc_auc_score(POSITIVE, one[held][:, 1]) for one in (exact, rounded))
    assert found.auroc_change == pytest.approx(after - before)
    answers = [one.mean(axis=1)[:, 1] >= 0.5 for one in (exact, rounded)]
    assert found.flags_turned == (answers[0] != answers[1]).sum()


def test_of_a_moved_bundle_the_changes_are_those_of_its_answers() -> None:
    exact = np.stack([_draw(), _draw()[::-1]], axis=1)
    rounded = exact.copy()
    rounded[9, 1] += [0, 0.2, -0.2, 0]
    move = Move(1.0, -1.5, 0.02)
    found = measure(
        exact,
        rounded,
        own=np.arange(60) % 2,
        melanoma=[1],
        threshold=0.2,
        served=lambda by_class: move.shares(by_class, [1]),
    )
    moved = [move.shares(one.mean(axis=1), [1]) for one in (exact, rounded)]
    assert found.largest_change == pytest.approx(np.abs(moved[1] - moved[0]).max())
    each = [move.shares(one, [1]) for one in (exact, rounded)]
    assert found.member_change == pytest.approx(np.abs(each[1] - each[0]).max())
    flags = [one[:, 1] >= 0.2 for one in moved]
    assert found.flags_turned == (flags[0] != flags[1]).sum()


def test_what_is_equal_holds_and_without_melanomas_there_is_no_auroc() -> None:
    exact = _draw()
    assert measure(exact, exact, melanoma=[1], threshold=0.5).holds
    none = measure(exact, exact, POSITIVE & False, melanoma=[], threshold=None)
    assert (none.auroc, none.auroc_change, none.flags_turned) == (None, None, 0)
    assert none.holds
    moved = exact + np.array([0.021, 0, 0, 0])
    assert not measure(exact, moved, POSITIVE & False, melanoma=[], threshold=None).holds


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({}, "within 0.02 and 0.001 of AUROC"),
        ({"largest_change": 0.0201}, "too much (0.02, 0.001 of AUROC): score in float32"),
        ({"auroc_change": -0.001}, "too much"),
        ({"member_change": 0.03}, "by more than 0.02), one of a single member by 0.030, the AUROC"),
        ({"auroc": None, "auroc_change": None}, "by more than 0.02); flags turned: 3"),
    ],
)
def test_the_sentence_says_whether_it_is_too_much(change: dict[str, float], says: str) -> None:
    values = {"backend": "torch", "images": 1200, "auroc": 0.9, "auroc_change": -0.0009}
    values |= {"largest_change": 0.02, "images_above": 0, "flags_turned": 3, **change}
    assert says in describe_rounding(Rounding.model_validate(values))


def test_all_members_score_each_image_however_many_there_are(trained: TinyRun) -> None:
    scorer = open_scorer(trained.folder)
    rows = np.arange(70)[::-1] % len(trained.array)
    found = score_by_all(scorer, trained.array, rows)
    each = [scorer.member_probabilities(trained.array.rows(rows[[n]]))[0] for n in (0, 33, 69)]
    assert np.allclose(found[[0, 33, 69]], each, atol=1e-6)
    assert not np.allclose(found[:, 0], found[:, 1], atol=1e-3), "two members that differ"


def test_who_scores_in_bfloat16_is_told_what_is_known_of_it(trained: TinyRun) -> None:
    scorer = open_scorer(trained.folder)
    assert precision_note(scorer) is None
    half = scorer.on(load_members(scorer.bundle, CPU).in_precision(torch.bfloat16))
    assert "was not measured" in str(precision_note(half))
    known = measure(_draw(), _draw(), melanoma=[1], threshold=0.5)
    report = scorer.bundle.report.model_copy(update={"bfloat16": known})
    half.bundle = replace(scorer.bundle, report=report)
    told = str(precision_note(half))
    assert "on 60 held-out images a probability changes by 0.000" in told
    assert "not measured" not in told
    other = known.model_copy(update={"backend": "openvino"})
    report = scorer.bundle.report.model_copy(update={"bfloat16": other})
    half.bundle = replace(scorer.bundle, report=report)
    assert str(precision_note(half)).endswith("; that is by openvino, and by torch not measured")


@pytest.mark.parametrize("backend", ["auto", "openvino", "torch"])
def test_bfloat16_is_only_what_was_asked_for(backend: str) -> None:
    assert Engine(backend).precision == "float32"
