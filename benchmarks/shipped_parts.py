"""What benchmarks found of the shipped model, as its report has it: quality, novelty, phones,
bfloat16 and patients; and what its own scores decide that a report of an earlier day lacks.
benchmarks/reseal_shipped.py seals it."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pandas as pd

from benchmarks.recompute import report_of_scores
from benchmarks.shipped import OOF, RESULTS, ROOT
from melanoma.evaluation.measure.held_out_source import describe_held_out
from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.number_format import measured, number
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_parts import CalibrationSummary
from melanoma.evaluation.report.schema_patients import ContextGain, PatientContext
from melanoma.evaluation.report.schema_points import NoveltySummary
from melanoma.evaluation.report.schema_quality import (
    CaughtSpoiled,
    PhonePhotographs,
    PictureQuality,
    QualityLimits,
    StoppedClass,
)
from melanoma.evaluation.report.schema_rounding import Rounding
from melanoma.evaluation.report.schema_sources import HeldOutSource, SourceLine
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.recipe.overrides import load_recipe

# Of good photographs in results/benchmarks/quality.json.
ELSEWHERE = {"isic2017_train": "ISIC 2017, whole frames squashed", "siim2020": "SIIM-ISIC 2020"}


def calibration(content: ReportContent) -> CalibrationSummary:
    """The report's, with what chance alone shows on so many images."""
    anew, stated = report_of_scores(RESULTS).content.calibration, content.calibration
    chance = {
        name: getattr(stated, name).model_copy(
            update={"ece_if_exact": getattr(anew, name).ece_if_exact}
        )
        for name in ("before", "after")
    }
    return stated.model_copy(update=chance)


def sources(content: ReportContent) -> tuple[SourceLine, ...]:
    """The report's, with what the scores of what was held out say at its own share of melanomas."""
    names = ("ece_if_exact", "slope_at_own_share", "intercept_at_own_share")
    lines = []
    for line in content.sources:
        if line.held_out is not None:
            anew = held_out_again(content, line.name)
            more = {name: getattr(anew, name) for name in names}
            line = line.model_copy(update={"held_out": line.held_out.model_copy(update=more)})
        lines.append(line)
    return tuple(lines)


def held_out_again(content: ReportContent, name: str) -> HeldOutSource:
    """What results/ keeps of a source's scores, measured as `evaluate` does."""
    frame = pd.read_csv(RESULTS / "sources" / f"{name}.csv.gz", keep_default_na=False)
    frame = frame.assign(target=frame["melanoma"], lesion_id="")
    score = frame["prob"].to_numpy(np.float64)
    pair, share = np.stack([1 - score, score], axis=1), content.calibration.prevalence or 0.0
    images = ScoredImages(
        frame, ("other", "melanoma"), ("melanoma",), pair, pair, (1 - share, share)
    )
    recipe, point = load_recipe(RESULTS / "recipe.yaml"), content.thresholds[0]
    return describe_held_out(
        images,
        Threshold(point.value, point.at),
        trained=share,
        resamples=recipe.evaluation.resamples,
        seed=recipe.seed,
    )


def patients() -> PatientContext:
    """That HAM10000's table names no patients, so that no context of theirs is sealed, and what one
    changed that was tried on another set's patients (benchmarks/patient.py)."""
    tried = json.loads((ROOT / "results" / "benchmarks" / "patient.json").read_text())
    gain = ContextGain.model_validate(tried["context"]["of_scores"]["gain"])
    change = measured(gain.auroc_difference, number)
    status = (
        "no context: the table names no patients. A stack that was tried with members of the same "
        "training without SIIM-ISIC 2020's archive, on the labeled sample of that "
        f"({gain.patients} patients with three or more lesions) changes the AUROC "
        f"there by {change} on withheld patients, which shows no gain, so none is sealed"
    )
    return PatientContext(status=status, gain=gain)


def picture_quality(content: ReportContent) -> PictureQuality:
    """The benchmark's limits, of all images; what they stop, by limits without the image's fold."""
    told = json.loads((ROOT / "results" / "benchmarks" / "quality.json").read_text())
    good, counts = told["good"]["ham10000, held out"], content.data.classes
    return PictureQuality(
        limits=QualityLimits(**told["limits"]),
        images=good["images"],
        stopped=good["stopped"],
        by_class=tuple(
            StoppedClass(name=name, images=counts[name], stopped=round(share * counts[name]))
            for name, share in good["by_class"].items()
        ),
        reasons={name: round(share * good["images"]) for name, share in good["reasons"].items()},
        held_out=True,
        elsewhere=tuple(
            StoppedClass(
                name=title,
                images=told["good"][name]["images"],
                stopped=round(told["good"][name]["stopped"] * told["good"][name]["images"]),
            )
            for name, title in ELSEWHERE.items()
        ),
        spoiled=tuple(
            CaughtSpoiled(
                name=name,
                melanomas=one["melanomas"],
                fell=one["fell"],
                caught=one["fell_and_stopped"],
            )
            for name, one in told["spoiled"].items()
        ),
    )


def novelty() -> NoveltySummary:
    """As python -m benchmarks.novelty measured it, which also wrote the file that is sealed."""
    measured = json.loads((ROOT / "results" / "benchmarks" / "novelty.json").read_text())
    return NoveltySummary.model_validate_json(json.dumps(measured["summary"]))


def bfloat16() -> Rounding:
    """As python -m benchmarks.bfloat16 measured it."""
    told = json.loads((ROOT / "results" / "benchmarks" / "bfloat16.json").read_text())
    with gzip.open(OOF) as table:
        assert told["images"] == sum(1 for _ in table) - 1, "measured on a part of the images"
    figures = {name: told[name] for name in Rounding.model_fields if name != "backend"}
    return Rounding(backend="openvino", **figures)


def phones() -> PhonePhotographs:
    """As python -m benchmarks.smartphone counted them."""
    counted = json.loads((ROOT / "results" / "benchmarks" / "smartphone.json").read_text())
    return PhonePhotographs(**{name: counted[name] for name in PhonePhotographs.model_fields})
