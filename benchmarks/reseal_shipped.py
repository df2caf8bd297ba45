"""The shipped bundle and its results, given what reports have learned since, without a training.

    python -m benchmarks.reseal_shipped

From the recipe's `risk` and results/ham10000_mobilenet/oof.csv it chooses and measures what tells
of other cancers, draws the operating curve and finds the sets of possible classes and what share
of lesions of about each score are melanomas, as `python -m melanoma.evaluate` does.
Report, card and manifest are written anew. No other number changes, and no weights: their digests
are as before. The limits of a photograph's quality, and what they catch, are those of
results/benchmarks/quality.json (python -m benchmarks.quality).
"""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from benchmarks.shipped_parts import novelty, patients_and_lesions, phones, picture_quality
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.evaluation.measure.near_scores import measure_near_scores
from melanoma.evaluation.measure.operating_points import (
    Threshold,
    describe_thresholds,
    threshold_statistics,
)
from melanoma.evaluation.measure.other_cancer import (
    OtherCancer,
    choose_other_cancer,
    describe_any_malignancy,
    other_cancer_statistics,
)
from melanoma.evaluation.measure.performance import operating_curve
from melanoma.evaluation.measure.prediction_sets import measure_sets
from melanoma.evaluation.metrics.bootstrap import bootstrap_intervals
from melanoma.evaluation.metrics.net_benefit import decision_curve
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.report.assemble import measure_subgroups, with_words
from melanoma.evaluation.report.external_results import external_result
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_parts import Flow
from melanoma.evaluation.report.schema_points import AnyMalignancy, PredictionSets
from melanoma.evaluation.scored_images import ScoredImages
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import load_bundle, make_statement
from melanoma.scoring.bundle.novelty_file import NOVELTY
from melanoma.scoring.bundle.staging import MANIFEST
from melanoma.storage import sha256_of, write_json, write_text

ROOT = Path(__file__).resolve().parents[1]
NAME = "ham10000_mobilenet"
DIGITS = 7  # of oof.csv, as benchmarks/reference.py publishes scores
# Beside the checkout, or beside the folder of its worktrees.
TABLES = [folder / "shared" / "data" / "ham10000" for folder in ROOT.parents[:2]]
TABLE = next((folder for folder in TABLES if folder.is_dir()), TABLES[0])
# What the external sets are, by the folder of results/NAME/external.
SOURCES = {
    "siim_mobilenet": "SIIM-ISIC 2020, all 584 melanomas and a sample of 560 others (Rotemberg et "
    "al. 2021)",
    "isic2017": "ISIC 2017, training and validation parts, whole frames squashed (Codella et al. "
    "2018)",
}


def main() -> None:
    """Write results/NAME and weights/NAME, and print the operating point."""
    asked = load_recipe(ROOT / "configs" / f"{NAME}.yaml")
    first, *_ = folders = (ROOT / "results" / NAME, ROOT / "weights" / NAME)
    stated = {name: getattr(asked, name) for name in ("risk", "image_type", "study")}
    recipe = load_recipe(first / "recipe.yaml").model_copy(update=stated)
    content = ReportContent.model_validate_json((first / "report.json").read_bytes())
    content = _measured(recipe, content)
    for folder in folders:
        write_text(folder / "recipe.yaml", _with_risk(folder / "recipe.yaml", recipe))
        write_json(folder / "report.json", content.model_dump(mode="json"))
        write_text(folder / "report.html", render_html(content))
        write_text(folder / "MODEL_CARD.md", render_card(content, recipe))
        if (folder / MANIFEST).is_file():
            _reseal(folder, recipe, content)
    assert content.any_malignancy is not None
    print(content.any_malignancy.model_dump_json(exclude={"risk"}))


def _measured(recipe: Recipe, content: ReportContent) -> ReportContent:
    """The report with its parts measured anew."""
    images = scored_images(recipe, content)
    found = _measure(images, recipe, content)
    more = {"any_malignancy": found, "operating_curve": operating_curve(images)}
    content = content.model_copy(update=more)
    more = {
        "prediction_sets": _sets(images, recipe, content),
        "near_scores": measure_near_scores(images),
        "quality": picture_quality(content),
        "novelty": novelty(),
        "image_type": recipe.image_type,
        "phones": phones(),
        **patients_and_lesions(images, recipe),
    }
    return _report_parts(images, recipe, content.model_copy(update=more))


def _with_risk(path: Path, recipe: Recipe) -> str:
    """The file's own lines, and the risk after its melanoma classes."""
    written = yaml.safe_load(path.read_text())
    told: dict[str, Any] = {}
    for key, value in written.items():
        told |= {} if key in ("risk", "image_type", "study") else {key: value}
        if key == "melanoma":
            told |= {"risk": dict(recipe.risk), "image_type": recipe.image_type}
            told |= {"study": recipe.study.model_dump()}
    return str(yaml.safe_dump(told, sort_keys=False))


def scored_images(recipe: Recipe, content: ReportContent) -> ScoredImages:
    table = pd.read_csv(ROOT / "results" / NAME / "oof.csv.gz", dtype={"patient_id": str})
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


def _measure(images: ScoredImages, recipe: Recipe, content: ReportContent) -> AnyMalignancy:
    points = [Threshold(point.value, point.at) for point in content.thresholds]
    rule = choose_other_cancer(images, points, recipe.evaluation)
    assert rule is not None
    rule = replace(rule, value=cut_off(rule.value))
    intervals = bootstrap_intervals(
        other_cancer_statistics(images, points, rule),
        images.groups,
        resamples=recipe.evaluation.resamples,
        rng=np.random.default_rng(recipe.seed),
    )
    found = describe_any_malignancy(images, points, rule, intervals)
    assert found is not None
    return found


def cut_off(value: float) -> float:
    """The value at as many digits as oof.csv has, no larger: a threshold is an image's own score,
    and that score, rounded, has to reach it for whoever recomputes the report from the file."""
    step = 10.0 ** (math.floor(math.log10(value)) + 1 - DIGITS)
    return float(f"{math.floor(value / step) * step:.{DIGITS}g}")


def _sets(images: ScoredImages, recipe: Recipe, content: ReportContent) -> PredictionSets:
    """The sets of possible classes, as python -m melanoma.evaluate finds them."""
    found = content.any_malignancy
    return measure_sets(
        images,
        [Threshold(point.value, point.at) for point in content.thresholds],
        OtherCancer(found.value, found.at, found.classes) if found else None,
        level=recipe.evaluation.set_level,
        resamples=recipe.evaluation.resamples,
        seed=recipe.seed,
    )


def _report_parts(images: ScoredImages, recipe: Recipe, content: ReportContent) -> ReportContent:
    """The report with its study, subgroups (by the reference standard too, where the photographs'
    table is at hand), cross-fitted thresholds, what it reached elsewhere, and its words anew."""
    points = [Threshold(point.value, point.at) for point in content.thresholds]
    rules = {"resamples": recipe.evaluation.resamples, "seed": recipe.seed}
    intervals = bootstrap_intervals(
        threshold_statistics(images, points),
        images.groups,
        resamples=recipe.evaluation.resamples,
        rng=np.random.default_rng(recipe.seed),
    )
    more: dict[str, Any] = {"study": recipe.study.stated()}
    # What the table's seven digits decide is stated already; only what is new is added.
    found = describe_thresholds(images, points, intervals)
    fields = ("crossfit_sensitivity", "crossfit_specificity")
    more["thresholds"] = tuple(
        stated.model_copy(update={field: getattr(point, field) for field in fields})
        for stated, point in zip(content.thresholds, found, strict=True)
    )
    if TABLE.is_dir():
        told = read_lesions(TABLE, recipe.data, classes=recipe.classes).frame
        columns = ["image_name", "age", "sex", "site", "reference_standard"]
        table = images.table.merge(told[columns], on="image_name", how="left", validate="1:1")
        more["subgroups"] = measure_subgroups(replace(images, table=table), points, (), **rules)
        rest = {"never_held_out": 0, "in_test_part": 0, "untrained": 0}
        more["flow"] = Flow(read=len(told), unreadable=len(told) - len(images), **rest)
    more["net_benefit"] = decision_curve(
        images.positive,
        images.crossfit_probability,
        images.groups,
        resamples=recipe.evaluation.resamples,
        rng=np.random.default_rng(recipe.seed),
    )
    if content.data.patients is None:  # so nobody knows whether one is in two folds
        more["leaks"] = content.leaks.model_copy(update={"patients": None})
    results = sorted((ROOT / "results" / NAME / "external").glob("*/report.json"))
    more["external_results"] = tuple(
        external_result(
            ReportContent.model_validate_json(path.read_bytes()),
            source=SOURCES.get(path.parent.name, ""),
        )
        for path in results
    )
    return with_words(content.model_copy(update=more))


def _reseal(folder: Path, recipe: Recipe, content: ReportContent) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    names = dict.fromkeys([*manifest["sha256"], NOVELTY])
    digests = {name: sha256_of(folder / name) for name in names}
    stated = make_statement(recipe, content)
    write_json(folder / MANIFEST, {**manifest, **stated, "sha256": digests})
    load_bundle(folder)


if __name__ == "__main__":
    main()
