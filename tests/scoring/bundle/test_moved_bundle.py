"""A bundle for a place where melanoma is rarer: other probabilities, the same images flagged."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_content import external as external_content
from made_content import external_fit
from scipy.special import expit, logit

from melanoma.errors import RecipeError, StorageError
from melanoma.evaluation.prevalence import Move, move_between
from melanoma.evaluation.report.external_results import external_result
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.bundle.operating import asked_point
from melanoma.scoring.bundle.recalibrated import doubt_fit, seal_recalibrated
from melanoma.scoring.bundle.shipped_copy import ship_bundle
from melanoma.scoring.external_set import is_calibrated_on
from melanoma.scoring.scorer import Scorer
from melanoma.training.weights_origin import TRAINING_IMAGES, seen_before
from melanoma.workflows.evaluate import evaluate_folds


@pytest.fixture(scope="module")
def moved(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("moved") / "small"
    shutil.copytree(trained.folder, folder)
    evaluate_folds(trained.recipe, folder, trained.folder.parent / "folds.csv", prevalence=0.02)
    return load_bundle(folder)


def test_a_moved_bundle_answers_as_the_bundle_that_is_asked_for_the_prevalence(
    trained: Any, moved: Bundle
) -> None:
    """The members' mean is moved, not every member before it: that mean would be another."""
    here = load_bundle(trained.folder)
    assert here.prevalence is not None and moved.prevalence == 0.02
    assert moved.calibration == here.calibration
    factor = logit(0.02) - logit(here.prevalence)
    scorer, there = Scorer(here), Scorer(moved)
    for pair in ((0.1, 0.7), (0.02, 0.9), (0.4, 0.4)):  # members that differ tell the two apart
        by_member = np.array([[1 - p, p] for p in pair])
        plain, answer = scorer.answer(by_member), there.answer(by_member)
        expected = expit(logit(np.mean(pair)) + factor)
        assert answer.melanoma_probability == pytest.approx(expected, rel=1e-9)
        assert answer.by_fold == pytest.approx(expit(logit(np.array(pair)) + factor), rel=1e-9)
        asked = scorer.at_prevalence(plain, 0.02)
        assert answer.by_class == pytest.approx(asked.by_class, rel=1e-9)
        assert (answer.flagged, answer.set) == (plain.flagged, asked.set)
        assert (answer.prevalence, answer.frequency) == (0.02, asked.frequency)
        assert answer.frequency is not None and answer.frequency.low is not None
        # A threshold that is asked for is one of the answer's own place.
        value = float(expit(logit(0.3) + factor))
        first, second = scorer.flag_from(plain, 0.3), there.flag_from(answer, value)
        assert first.flagged == second.flagged
        assert first.threshold is not None and second.threshold is not None
        assert second.threshold.sensitivity == first.threshold.sensitivity
        further, twice = scorer.at_prevalence(plain, 0.3), there.at_prevalence(answer, 0.3)
        assert twice.melanoma_probability == pytest.approx(further.melanoma_probability)


def test_thresholds_move_with_the_probabilities(trained: Any, moved: Bundle) -> None:
    here = load_bundle(trained.folder)
    assert here.prevalence is not None
    factor = logit(0.02) - logit(here.prevalence)
    for one, other in zip(here.thresholds, moved.thresholds, strict=True):
        assert one.at == other.at
        assert other.value == pytest.approx(expit(logit(one.value) + factor), rel=1e-9)
    for share in (0.2, 0.7):
        asked = float(np.quantile(here.curve.thresholds, share))
        there = float(expit(logit(asked) + factor))
        for name in ("sensitivity", "specificity"):
            same = getattr(asked_point(asked, here.curve), name)
            # A hair below: both roundings of one threshold are the same threshold.
            assert getattr(asked_point(there - 1e-12, moved.curve), name) == same
    report = json.loads((moved.folder / "report.json").read_text())
    assert report["retargeted"]["prevalence"] == 0.02
    assert report["thresholds"][0]["value"] == here.thresholds[0].value


@pytest.mark.parametrize(("after", "lines"), [(0.0931, 1), (0.09, 0), (0.0888, 0)])
def test_a_fit_that_is_worse_on_other_images_is_doubted(after: float, lines: int) -> None:
    fit = {"brier_as_sealed": 0.09, "brier_recalibrated": after}
    found = doubt_fit(external_fit({"slope": 1, "intercept": 1, "prevalence": 0.1, **fit}))
    assert len(found) == lines
    assert not found or "Brier score 0.0931; as sealed 0.0900" in found[0]
    assert doubt_fit(external_fit(None)) == []


def test_a_recalibrated_copy_is_asked_for_and_leaves_the_bundle_alone(
    trained: Any, tmp_path: Path
) -> None:
    here = load_bundle(trained.folder)
    fit = {"slope": 0.5, "intercept": -1.0, "prevalence": 0.1}
    external = external_fit(fit)
    old = here.report.model_copy(update={"warnings": ("of an earlier day",)})
    copy = seal_recalibrated(replace(here, report=old), tmp_path / "copy", trained.recipe, external)
    # Said anew, and the share of melanomas as a copy's.
    told = [line.split("more than a clinic sees: ") for line in here.report.warnings]
    anew = [line.split("more than a clinic sees: ") for line in copy.report.warnings]
    assert [line[0] for line in anew] == [line[0] for line in told]
    (answers,) = [line[1] for line in anew if len(line) > 1]
    assert answers.endswith("answers to one of 10.0 %")
    assert copy.digest != here.digest
    assert load_bundle(trained.folder) == here
    squares = trained.array.rows([3, 9])
    for plain, answer in zip(
        *(Scorer(one).score_squares(squares) for one in (here, copy)), strict=True
    ):
        assert plain.melanoma_probability is not None
        moved = expit(0.5 * logit(plain.melanoma_probability) - 1.0)
        assert answer.melanoma_probability == pytest.approx(moved)
        assert answer.set is not None and plain.set is not None
        assert answer.set.classes == plain.set.classes
    for one, other in zip(here.thresholds, copy.thresholds, strict=True):
        assert other.value == pytest.approx(expit(0.5 * logit(one.value) - 1.0))
    assert copy.report.recalibrated.external == "elsewhere"
    # Its own papers say so too: the bundle's would have described other probabilities.
    page, card = ((copy.folder / name).read_text() for name in ("report.html", "MODEL_CARD.md"))
    assert "by a fit on the external set <strong>elsewhere</strong>" in page
    assert "Recalibrated on elsewhere: slope 0.5" in card
    assert (copy.folder / "figures" / "report.svg").is_file()
    # Its probabilities refer to the set's share, and may be moved on from there.
    shipped = ship_bundle(copy, tmp_path / "there", prevalence=0.02).bundle
    assert shipped.prevalence == 0.02
    assert shipped.move == copy.move.then(move_between(0.1, 0.02))
    points = shipped.report.retargeted.thresholds
    assert [one.value for one in shipped.thresholds] == [one.value for one in points]
    page, card = ((shipped.folder / n).read_text() for n in ("report.html", "MODEL_CARD.md"))
    assert "both were moved on to a place where 2.0 % of images are melanomas" in page
    assert "Recalibrated on elsewhere: slope 0.5" in card
    assert "Re-targeted to a prevalence of 2.0 %" in card
    # A fit on its answers is of what they are by now, and takes the place of what was there.
    again = seal_recalibrated(shipped, tmp_path / "again", trained.recipe, external)
    assert again.move == shipped.move.then(Move(0.5, -1.0, 0.1))
    assert again.report.retargeted is None and again.prevalence == 0.1
    asked = Scorer(copy).score_squares(squares[:1])[0]
    there = Scorer(copy).at_prevalence(asked, 0.02)
    assert asked.melanoma_probability is not None
    factor = logit(0.02) - logit(0.1)
    assert there.melanoma_probability == pytest.approx(
        expit(logit(asked.melanoma_probability) + factor)
    )
    with pytest.raises(StorageError, match="exists"):
        seal_recalibrated(here, tmp_path / "copy", trained.recipe, external)
    with pytest.raises(RecipeError, match="images of both kinds"):
        seal_recalibrated(here, tmp_path / "other", trained.recipe, external_fit(None))


def test_a_recalibrated_copy_gives_no_result_of_its_own_set_as_one_from_elsewhere(
    trained: Any, tmp_path: Path
) -> None:
    """Of such sets its papers say that nothing was fitted on them."""
    here, result = load_bundle(trained.folder), external_result(external_content().content)
    results = tuple(
        result.model_copy(update=update)
        for update in ({"name": "elsewhere"}, {"name": "elsewhere", "without": "a"}, {"name": "b"})
    )
    before = replace(here, report=here.report.model_copy(update={"external_results": results}))
    fit = {"slope": 1.0, "intercept": 0.5, "prevalence": 0.1}
    copy = seal_recalibrated(before, tmp_path / "copy", trained.recipe, external_fit(fit))
    assert copy.report.external_results == results[1:]


def test_a_copy_that_is_recalibrated_again_remembers_each_set_it_was_fitted_on(
    trained: Any, tmp_path: Path
) -> None:
    """Else a result on the first set would be told, and sealed, as one from elsewhere."""
    fit = external_fit({"slope": 1.0, "intercept": 0.5, "prevalence": 0.1})
    bundle = load_bundle(trained.folder)
    for name, before in [("a", ()), ("b", ("a",)), ("a", ("b",)), ("c", ("b", "a"))]:
        asked = fit.model_copy(update={"recipe": name})
        folder = tmp_path / f"{name}_after_{len(before)}"
        bundle = seal_recalibrated(bundle, folder, trained.recipe, asked)
        assert bundle.report.recalibrated.before == before
    shipped = ship_bundle(bundle, tmp_path / "shipped", prevalence=0.02).bundle
    for one in (bundle, shipped):
        assert [is_calibrated_on(one, name) for name in "abcd"] == [True, True, True, False]
        page, card = ((one.folder / name).read_text() for name in ("report.html", "MODEL_CARD.md"))
        assert "with the earlier fit on b, a" in page
        assert "with the earlier fit on b, a" in card


def test_a_recalibrated_copy_knows_what_its_starting_weights_had_seen(
    trained: Any, tmp_path: Path
) -> None:
    """Else an external set of those images would be called one that shares none."""
    run = tmp_path / "run"
    shutil.copytree(trained.folder, run)
    record = run / "fold_0" / TRAINING_IMAGES
    record.write_text(record.read_text() + "from_the_start,,start\nof_a_source,,source\n")
    fit = {"slope": 1.0, "intercept": 0.5, "prevalence": 0.1}
    copy = seal_recalibrated(load_bundle(run), tmp_path / "copy", trained.recipe, external_fit(fit))
    assert seen_before(copy.folder) == seen_before(run) == ["from_the_start", "of_a_source"]
    shipped = ship_bundle(copy, tmp_path / "shipped").bundle
    assert len(seen_before(shipped.folder)) == 2
