"""The report's part about patients: fitted where patients are, sealed where it helps, rendered."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from made_content import binary
from scipy.special import expit

from melanoma.evaluation.calibration import Calibration, by_class
from melanoma.evaluation.measure.lesions import lesion_figures
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.report.build import Report
from melanoma.evaluation.report.schema import Retargeted
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.scoring.bundle.context import served_context
from melanoma.scoring.patient_report import NO_PATIENTS, add_context, check_context, patient_table


def _images(effect: float, *, seed: int = 0, patients: int = 120) -> ScoredImages:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(patients), rng.integers(4, 10, patients))
    target = (rng.random(len(owner)) < 0.2).astype(np.int64)
    shift = effect * rng.normal(size=patients)
    shares = by_class(
        expit(-2 + 1.5 * target + rng.normal(size=len(owner)) + shift[owner])[:, None]
    )
    table = pd.DataFrame(
        {"patient_id": [f"p{one}" for one in owner], "target": target, "group": owner, "site": ""}
    )
    return ScoredImages(table, ("other", "melanoma"), ("melanoma",), shares, shares, (0.8, 0.2))


def _report(images: ScoredImages) -> Report:
    return Report(binary().content, Calibration(1.0, 0.0, 0.2), (), images)


@pytest.fixture(scope="module")
def fitted() -> Report:
    return add_context(_report(_images(2.0)), resamples=100, seed=0)


def test_a_stack_that_helps_is_in_report_card_and_manifest(fitted: Report) -> None:
    content = fitted.content
    assert content.patients is not None and content.patients.stack is not None
    page, card = render_html(content), render_card(content, binary().recipe)
    for text in (page, card):
        assert "context sealed: on withheld patients" in text and "120 patients" in text
    assert "above median" in page and "Concordance within patients" in page
    assert served_context(content.model_copy(update={"retargeted": None})) is not None


def test_a_bundle_at_another_prevalence_has_no_context(fitted: Report) -> None:
    moved = Retargeted(prevalence=0.1, thresholds=())
    assert served_context(fitted.content.model_copy(update={"retargeted": moved})) is None


def test_a_stack_that_does_not_help_is_not_sealed_and_it_is_said() -> None:
    content = add_context(_report(_images(0.0)), resamples=100, seed=0).content
    assert content.patients is not None and content.patients.stack is None
    for text in (render_html(content), render_card(content, binary().recipe)):
        assert "does not rank better on withheld patients" in text and "experimental" in text


def test_a_table_without_patients_has_no_context_and_it_is_said() -> None:
    images = _images(2.0)
    bare = replace(images, table=images.table.assign(patient_id=""))
    content = add_context(_report(bare), resamples=50, seed=0).content
    assert content.patients is not None and content.patients.status == NO_PATIENTS
    assert check_context(bare, None, resamples=50, seed=0) is None


def test_a_sealed_stack_is_tested_on_other_patients_without_a_fit(fitted: Report) -> None:
    assert fitted.content.patients is not None
    stack = fitted.content.patients.stack
    found = check_context(_images(2.0, seed=5), stack, resamples=100, seed=0)
    assert found is not None and found.gain is not None and found.stack is None
    assert found.gain.auroc_difference.low is not None and found.gain.auroc_difference.low > 0
    none = check_context(_images(2.0), None, resamples=50, seed=0)
    assert none is not None and "the bundle has none" in none.status


def test_a_lesion_of_several_images_is_one_lesion_with_their_mean() -> None:
    images = _images(0.0, patients=30)
    ids = ["a" if row < 3 else "" for row in range(len(images))]
    one = replace(images, table=images.table.assign(patient_id="p0", lesion_id=ids))
    table = patient_table(one, np.eye(len(images)))
    assert table is not None and len(table.logits) == len(images) - 2
    assert expit(table.logits[0]) == pytest.approx(images.probability[:3].mean())
    found = lesion_figures(one, resamples=20, seed=0)
    assert found is not None
    assert (found.with_several, found.images_of_several) == (1, 3)
    assert found.lesions == len(images) - 2
    assert found.spread_median == pytest.approx(np.ptp(images.probability[:3]))
    assert lesion_figures(images, resamples=20, seed=0) is None
