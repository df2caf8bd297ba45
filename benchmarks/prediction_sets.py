"""What the sets of possible classes do to the shipped verdicts, and what they reach elsewhere.

    python -m benchmarks.prediction_sets [--external FOLDER]

From the shipped model's oof.csv.gz: of every class, images that were "not flagged" by
melanoma's threshold alone, with other cancers told of, and with `unsure` as well; coverage and size
of the sets, cross-fitted by fold, at 90 and 95 %. With --external the sealed bundle scores a
set's photographs (one view): the melanomas whose set holds melanoma, by the mean of the members and
by the members themselves. Writes results/benchmarks/prediction_sets.json.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.facts import run_facts
from benchmarks.shipped import OOF, RESULTS, ROOT, WEIGHTS
from melanoma.data.images import decode_image
from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.measure.other_cancer import OtherCancer
from melanoma.evaluation.measure.prediction_sets import measure_sets
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.storage import write_json

OUT = ROOT / "results" / "benchmarks" / "prediction_sets.json"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--external", type=Path, help="SIIM's layout: train.csv, jpeg/train")
    asked = parser.parse_args()
    found: dict[str, Any] = {
        **run_facts("prediction_sets"),
        "held_out": [_held_out(level) for level in (0.9, 0.95)],
    }
    if asked.external:
        found["external"] = _external(asked.external)
    write_json(OUT, found)
    print(OUT.relative_to(ROOT))


def _held_out(level: float) -> dict[str, Any]:
    recipe = load_recipe(RESULTS / "recipe.yaml")
    content = ReportContent.model_validate_json((RESULTS / "report.json").read_bytes())
    told = content.any_malignancy
    assert told is not None
    sets = measure_sets(
        _scored_images(recipe, content),
        [Threshold(point.value, point.at) for point in content.thresholds],
        OtherCancer(told.value, told.at, told.classes),
        level=level,
        resamples=2000,
        seed=1,
    )
    lines = []
    for caught, line in zip(told.by_class, sets.by_class, strict=True):
        calm = caught.images - caught.flagged
        lines.append(
            {
                **line.model_dump(),
                "risk": caught.risk,
                "not_flagged_by_melanoma_alone": calm,
                "not_flagged_with_other_cancers": calm - caught.other_cancer_likely,
                "not_flagged_with_sets": calm - caught.other_cancer_likely - line.unsure,
            }
        )
    return {"level": level, "overall": sets.overall.model_dump(), "by_class": lines}


def _scored_images(recipe: Recipe, content: ReportContent) -> ScoredImages:
    table = pd.read_csv(OOF, dtype={"patient_id": str})
    both = ("prob", "prob_crossfit")
    served, crossfit = (
        table[[f"{column}_{name}" for name in recipe.classes]].to_numpy(np.float64)
        for column in both
    )
    return ScoredImages(
        table,
        recipe.classes,
        recipe.melanoma,
        served,
        crossfit,
        tuple(content.calibration.class_prevalence.values()),
        recipe.risk,
    )


def _external(folder: Path) -> dict[str, Any]:
    scorer = Scorer(load_bundle(WEIGHTS), views=1)
    bundle = scorer.bundle
    assert bundle.sets is not None
    table = pd.read_csv(folder / "train.csv")
    pictures = {path.stem: path for path in (folder / "jpeg").rglob("*.jpg")}
    table = table[table["image_name"].isin(pictures)]
    parts = []
    for first in range(0, len(table), 32):
        names = table["image_name"][first : first + 32]
        squares = [scorer.square(decode_image(pictures[n].read_bytes()).pixels) for n in names]
        parts.append(scorer.member_probabilities(np.stack(squares)))
    by_member = np.concatenate(parts)
    priors = bundle.calibration.class_prevalence
    column = bundle.classes.index("melanoma")
    positive = table["target"].to_numpy() == 1
    mean = bundle.sets.of(by_member.mean(axis=1), priors)
    single = bundle.sets.of(by_member, priors)
    return {
        "set": folder.name,
        "views": 1,
        "images": len(table),
        "melanomas": int(positive.sum()),
        "melanoma_in_set_of_melanomas": float(mean[positive, column].mean()),
        "melanoma_in_set_of_melanomas_members": float(single[positive][..., column].mean()),
        "melanoma_in_set_of_others": float(mean[~positive, column].mean()),
        "mean_size": float(mean.sum(axis=-1).mean()),
        "mean_size_members": float(single.sum(axis=-1).mean()),
    }


if __name__ == "__main__":
    main()
