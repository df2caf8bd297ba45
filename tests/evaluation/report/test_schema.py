"""report.json's contract: written down, equal to the model, and strict about nonsense."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_content import SEVEN, TWENTY_TWO, binary, external, many, undefined
from pydantic import ValidationError

from melanoma.evaluation.report.schema import ReportContent, save_schema, validate_report

COMMITTED = Path(__file__).resolve().parents[3] / "docs" / "report.schema.json"
AGAIN = (
    'python -c "from pathlib import Path; '
    "from melanoma.evaluation.report.schema import save_schema; "
    "save_schema(Path('docs/report.schema.json'))\""
)


def test_the_committed_schema_is_the_models(tmp_path: Path) -> None:
    save_schema(tmp_path / "schema.json")
    assert COMMITTED.read_text() == (tmp_path / "schema.json").read_text(), f"write it: {AGAIN}"


def test_a_report_read_from_json_is_the_one_that_was_written() -> None:
    for made in (binary(), many(SEVEN, ("melanoma",)), many(TWENTY_TWO), external(), undefined()):
        text = json.dumps(made.content.model_dump(mode="json"), allow_nan=False)
        assert validate_report(json.loads(text)) == made.content


def test_the_committed_schema_accepts_reports_and_refuses_a_field_too_many() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    check = jsonschema.Draft202012Validator(json.loads(COMMITTED.read_text()))
    for made in (binary(), many(TWENTY_TWO), external(), undefined()):
        plain = made.content.model_dump(mode="json")
        check.validate(plain)
        assert not check.is_valid(plain | {"surprise": 1})
        assert not check.is_valid({k: v for k, v in plain.items() if k != "warnings"})


def _set(*path: str | int, to: Any) -> Callable[[Any], None]:
    def change(plain: Any) -> None:
        for step in path[:-1]:
            plain = plain[step]
        plain[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("metrics", "auroc", "low", to=0.99), "ends"),
        (_set("metrics", "auroc", "high", to=None), "both ends or none"),
        (_set("metrics", "auroc", "value", to=float("nan")), "finite"),
        (_set("thresholds", 0, "flagged", to=3), "flagged images"),
        (_set("thresholds", 0, "true_negatives", to=3), "images of data"),
        (_set("calibration", "after", "bins", 0, "low", to=0.9), "is not between"),
        (_set("curves", "roc", "x", to=[0.0, 1.0]), "2 x for"),
        (_set("confusion", "counts", to=[[1, 2]]), "a row and a column"),
        (_set("confusion", "counts", to=[[1, 2], [3, 4]]), "confusion does not add up"),
        (_set("net_benefit", "model", to=[0.1]), "each threshold"),
        (_set("data", "classes", "benign", to=1), "data.classes do not add up"),
        (_set("folds", 0, "images", to=1), "folds do not add up"),
        (_set("data", "prevalence", to=1.2), "less than or equal to 1"),
        (_set("format", to=1), "Input should be 2"),
    ],
)
def test_nonsense_is_refused_by_name(change: Callable[[Any], None], said: str) -> None:
    plain = binary().content.model_dump(mode="json")
    ReportContent.model_validate(plain)
    change(plain)
    with pytest.raises(ValidationError, match=said):
        validate_report(plain)
