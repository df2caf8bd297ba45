"""A verdict that is safe to read alone."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.shipped import WEIGHTS as SHIPPED
from melanoma.evaluation.measure.other_cancer import OtherCancer
from melanoma.evaluation.report.assemble import retarget_report
from melanoma.recipe.overrides import load_recipe
from melanoma.scoring.bundle.bundle import load_bundle, make_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.scoring.verdict import Verdict, make_verdict, reason_of, sum_by_risk

RULE = OtherCancer(0.2, "sensitivity 0.95 for other cancers", ("bcc", "keratosis"))
CALM = {"bcc": 0.05, "keratosis": 0.02, "nevus": 0.93}


@pytest.fixture(scope="module")
def shipped() -> Scorer:
    return Scorer(load_bundle(SHIPPED))


def _answer(scorer: Scorer, **shares: float) -> dict[str, object]:
    """The answer where every member gives these shares, and the rest to nevi."""
    names = scorer.bundle.classes
    full = {name.replace(" ", "_"): 0.0 for name in names} | shares
    full["melanocytic_nevus"] = 1 - sum(shares.values())
    members = np.tile([full[name.replace(" ", "_")] for name in names], (5, 1))
    return scorer.answer(members).as_dict()


def test_a_basal_cell_carcinoma_is_not_told_to_be_fine(shipped: Scorer) -> None:
    answer = _answer(shipped, melanoma=0.011, basal_cell_carcinoma=0.76)
    assert answer["flagged"] is False
    verdict = answer["verdict"]
    assert verdict["code"] == "other_cancer_likely"  # type: ignore[index]
    assert "basal cell carcinoma 76" in verdict["text"]  # type: ignore[index]
    assert answer["risk"] == pytest.approx(
        {"premalignant": 0.0, "malignant": 0.771, "benign": 0.229}
    )


def test_a_melanoma_is_flagged_whatever_else_it_may_be(shipped: Scorer) -> None:
    answer = _answer(shipped, melanoma=0.4, basal_cell_carcinoma=0.55)
    assert answer["verdict"]["code"] == "flagged"  # type: ignore[index]


def test_a_nevus_is_no_all_clear(shipped: Scorer) -> None:
    verdict = _answer(shipped, melanoma=0.001)["verdict"]
    assert verdict["code"] == "not_flagged"  # type: ignore[index]
    assert "no all-clear" in verdict["text"]  # type: ignore[index]


def test_the_verdict_stays_where_melanoma_is_rarer(shipped: Scorer) -> None:
    report = retarget_report(shipped.bundle.report, 0.01)
    recipe = load_recipe(SHIPPED / "recipe.yaml")
    manifest = json.loads((SHIPPED / "manifest.json").read_text())
    moved = Scorer(make_bundle(SHIPPED, manifest, recipe, report), members=shipped.members)
    logits = shipped.member_logits(
        np.random.default_rng(1).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)
    )
    for here, there in zip(shipped.calibrate(logits), moved.calibrate(logits), strict=True):
        one, other = shipped.answer(here), moved.answer(there)
        assert one.melanoma_probability != other.melanoma_probability
        assert one.other_cancer is not None
        assert other.other_cancer is not None
        # The mean of the members' shares weighs them a little otherwise there.
        assert other.other_cancer.value == one.other_cancer.value


@pytest.mark.parametrize(
    ("flagged", "share", "code"),
    [
        (True, 0.9, "flagged"),
        (False, 0.2, "other_cancer_likely"),
        (False, np.nextafter(0.2, 0), "not_flagged"),
    ],
)
def test_the_codes_go_by_melanoma_first(flagged: bool, share: float, code: str) -> None:
    made = make_verdict(flagged=flagged, by_class=CALM, other_share=share, rule=RULE)
    assert made.code == code
    assert made.text.endswith(".")


@pytest.mark.parametrize(
    ("flagged", "share", "unscorable", "unsure", "code"),
    [
        (True, 0.9, "No lesion.", "Torn.", "unscorable"),
        (True, 0.9, None, "Torn.", "flagged"),
        (False, 0.2, None, "Torn.", "other_cancer_likely"),
        (False, 0.1, None, "Torn.", "unsure"),
        (False, 0.1, None, None, "not_flagged"),
    ],
)
def test_of_several_reasons_the_first_counts(
    flagged: bool, share: float, unscorable: str | None, unsure: str | None, code: str
) -> None:
    for rule in (RULE, None):
        if rule is None and code == "other_cancer_likely":
            continue
        made = make_verdict(
            flagged=flagged,
            by_class=CALM,
            other_share=share if rule else None,
            rule=rule,
            unscorable=unscorable,
            unsure=unsure,
        )
        assert made.code == code
        told = {"unscorable": unscorable, "unsure": unsure}.get(code)
        assert told is None or made.text.startswith(told)
        # A picture that cannot be scored may be of a melanoma: its flag is not kept back.
        assert ("flag it as a possible melanoma" in made.text) == (code == "unscorable" and flagged)


def test_only_a_picture_that_cannot_be_scored_has_a_reason() -> None:
    made = {
        reason: make_verdict(
            flagged=True, by_class=CALM, other_share=None, rule=None, unscorable=reason, unsure=None
        )
        for reason in ("No lesion.", None)
    }
    assert reason_of(made["No lesion."]) == "No lesion."
    assert reason_of(made[None]) is None and reason_of(None) is None


def test_what_cannot_be_scored_stays_so_at_another_threshold(shipped: Scorer) -> None:
    members = np.full((5, 7), 1 / 7)
    answer = shipped.answer(members, unscorable="No lesion.")
    told = "Its score would flag it as a possible melanoma: have a doctor look at it soon."
    assert answer.verdict == Verdict("unscorable", f"No lesion. {told}")
    assert answer.flagged
    assert answer.melanoma_probability == pytest.approx(1 / 7)
    higher = shipped.flag_from(answer, 0.5)
    assert higher.verdict == Verdict("unscorable", "No lesion.")
    assert shipped.flag_from(higher, 0.1).verdict == answer.verdict
    assert shipped.flag_from(shipped.answer(members), 0.5).verdict != answer.verdict


def test_the_shipped_model_judges_no_noise_no_even_color_and_no_gray_page(shipped: Scorer) -> None:
    rng = np.random.default_rng(0)
    page = np.full((128, 128, 3), 235, np.uint8)
    page[8:-8:8, 8:-8][:, rng.random(112) < 0.6] = 20
    others = np.stack(
        [
            rng.integers(0, 256, (128, 128, 3), dtype=np.uint8),
            np.full((128, 128, 3), (190, 120, 60), np.uint8),
            page,
        ]
    )
    noise, even, gray = shipped.score_squares(others)
    for answer in (noise, even, gray):
        assert answer.verdict is not None
        assert answer.verdict.code == "unscorable"
        assert answer.melanoma_probability is not None
    for answer in (noise, gray):
        assert answer.novelty is not None
        assert answer.novelty.score >= answer.novelty.threshold
    # Bare skin is nearly this, so novelty alone need not know it: there is no lesion.
    assert even.quality is not None
    assert {"not_sharp", "lesion_too_small"} <= set(even.quality.reasons)


def test_a_model_that_knows_no_other_cancer_says_so() -> None:
    made = make_verdict(flagged=False, by_class={"melanoma": 0.01}, other_share=None, rule=None)
    assert made.code == "not_flagged"
    assert "of other skin cancers this model says nothing" in made.text


def test_sums_by_risk_hold_every_class_once() -> None:
    sums = sum_by_risk(CALM, {"bcc": "malignant", "keratosis": "premalignant", "nevus": "benign"})
    assert sums == {"malignant": 0.05, "premalignant": 0.02, "benign": 0.93}


def test_a_set_that_spans_risks_makes_the_verdict_unsure(shipped: Scorer) -> None:
    """A tenth of a carcinoma beside a keratosis: below what other cancers are told from."""
    shares = {"melanoma": 0.02, "basal_cell_carcinoma": 0.12, "benign_keratosis-like_lesion": 0.8}
    answer = _answer(shipped, **shares)
    names = ["benign keratosis-like lesion", "basal cell carcinoma"]
    assert answer["set"] == {"level": 0.9, "classes": names}
    verdict = answer["verdict"]
    assert verdict["code"] == "unsure"  # type: ignore[index]
    for said in (*names, "Have a doctor look at it."):
        assert said in verdict["text"]  # type: ignore[index]
    # Graver things are said as before, with the set beside them.
    flagged = _answer(shipped, melanoma=0.1, basal_cell_carcinoma=0.12)
    assert flagged["verdict"]["code"] == "flagged"  # type: ignore[index]
    # The likeliest leads, though it is below its own class's value.
    assert flagged["set"]["classes"][:3] == [  # type: ignore[index]
        "melanocytic nevus", "basal cell carcinoma", "melanoma"
    ]  # fmt: skip


def test_a_calm_set_and_a_bundle_without_sets_are_not_unsure(shipped: Scorer) -> None:
    calm = _answer(shipped, melanoma=0.001)
    assert calm["set"] == {"level": 0.9, "classes": ["melanocytic nevus"]}
    assert calm["verdict"]["code"] == "not_flagged"  # type: ignore[index]
    older = Scorer(replace(shipped.bundle, sets=None), members=shipped.members)
    shares = {"melanoma": 0.02, "basal_cell_carcinoma": 0.12, "benign_keratosis-like_lesion": 0.8}
    answer = _answer(older, **shares)
    assert answer["set"] is None
    assert answer["verdict"]["code"] == "not_flagged"  # type: ignore[index]
