"""The shipped model's held-out scores, calibrated by the rule that holds for every run.

    python -m benchmarks.recalibrate_shipped && python -m benchmarks.reseal_shipped

The first report was made with `calibration: scale`. The rule since (`auto`) keeps a scaling only
where it makes melanoma's log loss smaller out of fold. From the logits of
results/ham10000_mobilenet/oof.csv everything that stands on probabilities is measured anew, as
`python -m melanoma.evaluate` does; no weights change. Then: external sets (configs/isic2017.yaml,
configs/siim_mobilenet.yaml) with `evaluate --external --attach`, and benchmarks/reseal_shipped.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import yaml
from PIL import Image

from benchmarks.reseal_shipped import DIGITS, NAME, ROOT, TABLE, cut_off
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.evaluation.report.build import build_report, save_out_of_fold
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_parts import LeakAudit
from melanoma.evaluation.score_table import load_scores
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.storage import write_json, write_text

RESULTS, WEIGHTS = ROOT / "results" / NAME, ROOT / "weights" / NAME
OOF = RESULTS / "oof.csv.gz"
# Of the training and its parts: what no calibration changes.
KEPT = ("selection", "flow", "leaks", "history", "quality", "novelty", "phones", "patients")


@dataclass(frozen=True)
class Fold:
    """A fold's facts as the report has them."""

    fold: int
    kept: Literal["best", "last"]
    best_epoch: int
    last_epoch: int
    seconds: float
    prior_shift: float | tuple[float, ...]
    audit: LeakAudit
    recipe_digest: str
    folds_digest: str
    array_digest: str
    versions: dict[str, str]
    device: str
    precision: str
    pretrained: Any


def main() -> None:
    """Write oof.csv, both recipes and both reports, and print the rule's choice."""
    path = RESULTS / "recipe.yaml"
    written = yaml.safe_load(path.read_text())
    written["evaluation"]["calibration"] = "auto"
    for folder in (RESULTS, WEIGHTS):
        write_text(folder / "recipe.yaml", yaml.safe_dump(written, sort_keys=False))
    recipe = load_recipe(path)
    before = ReportContent.model_validate_json((RESULTS / "report.json").read_bytes())
    scores = load_scores(OOF, recipe.classes)
    facts = [_fold(before, number) for number in range(len(before.folds))]
    report = build_report(
        recipe, scores, facts, table=_table(recipe), folds_expected=recipe.folds.k
    )
    kept = {name: getattr(before, name) for name in KEPT}
    content = _with_short_thresholds(report.content.model_copy(update=kept))
    save_out_of_fold(report, scores, facts, OOF)
    table = pd.read_csv(OOF, dtype={"patient_id": str, "group": str})
    table.to_csv(OOF, index=False, float_format=f"%.{DIGITS}g")
    for folder in (RESULTS, WEIGHTS):
        write_json(folder / "report.json", content.model_dump(mode="json"))
    print(content.calibration.method, content.thresholds[0].model_dump_json())


def _with_short_thresholds(content: ReportContent) -> ReportContent:
    """The thresholds cut off at as many digits as oof.csv has: a threshold is an image's score, and
    that score, rounded, has to reach it for whoever recomputes the report from the file."""
    points = tuple(
        point.model_copy(update={"value": cut_off(point.value)}) for point in content.thresholds
    )
    return content.model_copy(update={"thresholds": points})


def _fold(content: ReportContent, number: int) -> Fold:
    line, selected = content.folds[number], content.selection
    assert selected is not None
    shift = content.calibration.prior_shift[str(line.fold)]
    return Fold(
        fold=line.fold,
        kept=selected.kept,
        best_epoch=line.best_epoch,
        last_epoch=line.last_epoch,
        seconds=line.seconds,
        prior_shift=tuple(shift) if isinstance(shift, list | tuple) else shift,
        audit=content.leaks,
        recipe_digest=content.digests["recipe_digest"],
        folds_digest=content.digests["folds_digest"],
        array_digest=content.digests["array_digest"],
        versions=content.versions,
        device=content.device,
        precision=content.precision,
        pretrained=content.pretrained,
    )


def _table(recipe: Recipe) -> pd.DataFrame:
    """The photographs' table with the file facts that an array has of them."""
    told = read_lesions(TABLE, recipe.data, classes=recipe.classes)
    columns = ["image_name", "age", "sex", "site", "reference_standard", "source"]
    rows = []
    for source in told.frame["source"]:
        path = TABLE / source
        with Image.open(path) as image:
            rows.append((*image.size, path.stat().st_size))
    facts = pd.DataFrame(rows, columns=["width", "height", "bytes"])
    return pd.concat([told.frame[columns], facts], axis=1).drop(columns="source")


if __name__ == "__main__":
    main()
