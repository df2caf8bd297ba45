"""What predict says of an image, and once of all: every number with what it refers to."""

from __future__ import annotations

from typing import Any

import pytest
from made_content import binary

from melanoma.evaluation.disclaimer import DISCLAIMER
from melanoma.evaluation.render.text import report_lines
from melanoma.evaluation.report.assemble import retarget_report
from melanoma.scoring.files.spoken import common_lines, image_lines

ROW: dict[str, Any] = {
    "error": "",
    "prediction": "benign",
    "probability": 0.544,
    "melanoma_probability": 0.456,
    "flagged": True,
    "novelty": 0.3,
    "is_novel": False,
    "threshold": 0.042,
    "threshold_at": "sensitivity 0.95",
    "sensitivity": {"value": 0.951, "low": 0.93, "high": 0.97},
    "specificity": {"value": 0.6, "low": None, "high": None},
    "calibrated": True,
    "prevalence": 0.018,
    "disclaimer": DISCLAIMER,
}


def test_a_flag_above_a_benign_prediction_is_explained() -> None:
    assert image_lines(ROW, ["melanoma"]) == [
        "prediction: benign - 54.4%",
        "melanoma 45.6%, flagged (threshold 4.2%)",
        "flagged although benign is the likeliest class: the threshold (4.2%) decides, "
        "which lies low so that few melanomas are missed",
    ]
    spared = {**ROW, "prediction": "melanoma", "flagged": False, "threshold": 0.9}
    assert image_lines(spared, ["melanoma"])[2].startswith("not flagged although melanoma is the")
    agreed = {**ROW, "prediction": "melanoma"}
    assert len(image_lines(agreed, ["melanoma"])) == 2


@pytest.mark.parametrize("verdict", ["unscorable", "other_cancer_likely", "unsure"])
def test_not_flagged_is_not_said_of_what_a_doctor_must_see(verdict: str) -> None:
    row = {**ROW, "flagged": False, "verdict": verdict, "threshold": 0.9, "prediction": "melanoma"}
    for novel in {False, verdict == "unscorable"}:
        lines = image_lines({**row, "is_novel": novel}, ["melanoma"])
        assert "doctor" in lines[0]  # the next step stands beside what is said
        assert not any("not flagged" in line for line in lines)
        assert "melanoma 45.6%, below the threshold of 90.0%" in lines


@pytest.mark.parametrize(
    ("probability", "mark", "told"),
    [
        (0.000342, 0.000337, "melanoma 0.0342%, flagged (threshold 0.0337%)"),
        (0.0402, 0.0404, "melanoma 4.02%, not flagged (threshold 4.04%)"),
        (0.00001, 0.0004, "melanoma 0.001%, not flagged (threshold 0.040%)"),
        (0.177, 0.001678, "melanoma 17.7%, flagged (threshold 0.17%)"),
        (0.001678, 0.001678, "melanoma 0.17%, flagged (threshold 0.17%)"),
        (0.01004, 0.00996, "melanoma 1.004%, flagged (threshold 0.996%)"),
        (0.04, 0.04, "melanoma 4.0%, flagged (threshold 4.0%)"),
        (0.5, 0.0, "melanoma 50.0%, flagged (threshold 0.0%)"),
    ],
)
def test_a_probability_is_told_apart_from_its_threshold(
    probability: float, mark: float, told: str
) -> None:
    flagged = probability >= mark
    row = {**ROW, "melanoma_probability": probability, "threshold": mark, "flagged": flagged}
    assert image_lines(row, ["melanoma"])[1] == told
    assert common_lines({**row, "threshold": 0.0004})[0].startswith("threshold 0.040% (")


def test_warnings_come_first_and_under_a_verdict_stands_what_to_do() -> None:
    said = "Of 100 lesions with such a score about 46 are melanomas, where 18 in 1,000 are."
    row = {**ROW, "prediction": "melanoma", "verdict": "flagged", "warnings": "views: one"}
    lines = image_lines({**row, "frequency": said, "set": "melanoma; benign"}, ["melanoma"])
    assert lines == [
        "warning: views: one",
        "prediction: melanoma - 54.4%",
        "melanoma 45.6%, flagged (threshold 4.2%)",
        "have a doctor look at it soon",
        said.rstrip("."),
        "it may be: melanoma, benign",
    ]
    calm = image_lines({**row, "flagged": False, "verdict": "not_flagged"}, ["benign"])
    assert any("no all-clear" in line for line in calm)
    assert not any("sensitivity" in line for line in [*lines, *calm])


@pytest.mark.parametrize(
    ("share", "told"), [(0.0000041, "0.00041%"), (0.00099, "0.099%"), (0.001, "0.10%")]
)
def test_a_rare_prevalence_is_not_told_as_none(share: float, told: str) -> None:
    assert f"a place where {told} of the images" in common_lines({**ROW, "prevalence": share})[1]
    content = retarget_report(binary().content, share)
    lines = report_lines(content)
    assert f"for a place where {told} of the images are melanomas" in lines[-1]
    (moved,) = [line for line in lines if line.startswith("at a prevalence of ")]
    assert content.retargeted is not None
    mark = content.retargeted.thresholds[0].value
    assert moved.startswith(f"at a prevalence of {told} the bundle's threshold is {mark:.2g}: ")


def test_all_numbers_stand_beside_what_they_refer_to() -> None:
    assert common_lines(ROW) == [
        "threshold 4.2% (sensitivity 0.95): sensitivity 95.1% (95 % interval 93.0% to 97.0%), "
        "specificity about 60.0%, on the bundle's held-out images",
        "probabilities are calibrated, for a place where 1.80% of the images are melanomas",
        DISCLAIMER,
    ]


def test_what_it_reached_elsewhere_stands_below_what_it_reached_here() -> None:
    known = {"sensitivity": {"value": 0.627}, "specificity": {"value": 0.673}}
    results = [
        {
            "name": "a",
            "source": "St. Elsewhere, all of 2020",
            "images": 1144,
            "auroc": {"value": 0.711},
            "without": "theirs",
            **known,
        },
        {
            **{name: {"value": None} for name in ("auroc", "sensitivity")},
            "specificity": None,
            "name": "b",
            "source": "",
            "images": 20,
        },
    ]
    lines = common_lines(ROW, results)
    assert lines[0].endswith("on the bundle's held-out images")
    assert lines[1] == (
        "elsewhere, at the model's own threshold: sensitivity 62.7%, specificity 67.3%, "
        "AUROC 0.711 on 1,144 images of St. Elsewhere (by the same training without theirs); "
        "undefined on 20 images of b"
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sensitivity": None, "specificity": None}, "its sensitivity and specificity are not"),
        ({"calibrated": None}, "whether the probabilities are calibrated is not known"),
        ({"calibrated": False, "prevalence": None}, "probabilities are not calibrated"),
    ],
)
def test_what_is_not_known_is_said_to_be_so(change: dict[str, Any], said: str) -> None:
    assert any(said in line for line in common_lines({**ROW, **change}))


def test_a_novel_picture_is_told_first_and_a_bundle_that_cannot_tell_says_so() -> None:
    novel = {**ROW, "verdict": "unscorable", "novelty": 4.2, "is_novel": True}
    assert "does not look like the photographs" in image_lines(novel, ["melanoma"])[0]
    unlike = "this bundle has no novelty score"
    assert not any(unlike in line for line in common_lines(novel))
    assert any(unlike in line for line in common_lines({**ROW, "novelty": None}))


def test_without_a_melanoma_class_no_threshold_is_spoken_of() -> None:
    names = ("melanoma_probability", "flagged", "threshold", "threshold_at", "prevalence")
    row = {**ROW, **dict.fromkeys(names)}
    assert image_lines(row, []) == ["prediction: benign - 54.4%"]
    assert common_lines(row) == ["probabilities are calibrated", DISCLAIMER]


def test_pictures_that_a_bundle_is_not_for_are_named_once_and_of_any_nothing_is_said() -> None:
    first = common_lines({**ROW, "image_type": "dermatoscope"})[0]
    assert first.startswith("Dermatoscope pictures only")
    assert not first.endswith(".")
    for unsaid in ("any", None):
        assert common_lines({**ROW, "image_type": unsaid}) == common_lines(ROW)
