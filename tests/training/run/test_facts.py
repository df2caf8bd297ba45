"""run.json: as it was written before it was a record, and read with what older ones lack."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from melanoma.errors import WeightsError
from melanoma.training.run.facts import RunFacts, RunStart, read_facts, write_facts

AUDIT = {
    "patients": 0,
    "lesions": 0,
    "groups": 0,
    "identical": None,
    "near_duplicates": None,
    "findings": [],
    "allowed": False,
    "starting_weights": None,
}
STARTED: dict[str, Any] = {
    "fold": 1,
    "recipe_digest": "r",
    "folds_digest": "f",
    "array_digest": "a",
    "decoder": 1,
    "view_order": 1,
    "seed": 3,
    "training_images": 4,
    "validation_images": 2,
    "training_positives": 1,
    "validation_positives": 1,
    "training_classes": {"benign": 3, "melanoma": 1},
    "validation_classes": {"benign": 1, "melanoma": 1},
    "leaks": [],
    "audit": AUDIT,
    "device": "cpu",
    "versions": {"torch": "2"},
    "pretrained": "none",
}
REACHED: dict[str, Any] = {
    "kept": "best",
    "best_epoch": 1,
    "last_epoch": 2,
    "prior_shift": [0.5, -0.5],
    "precision": "float32",
    "seconds": 1.5,
    "skipped_steps": 0,
}


def written(folder: Path, values: dict[str, Any]) -> Path:
    (folder / "run.json").write_text(json.dumps(values))
    return folder


def test_a_file_is_written_as_it_was_read_key_by_key(tmp_path: Path) -> None:
    files = {"oof.csv": "d"}
    for values, kind in (
        ({**STARTED, "finished": False}, RunStart),
        ({**STARTED, "embeddings": "e.npy", **REACHED, "finished": True, "files": files}, RunFacts),
    ):
        facts = read_facts(written(tmp_path, values))
        assert type(facts) is kind
        write_facts(tmp_path, facts)
        assert (tmp_path / "run.json").read_text() == json.dumps(values, indent=2) + "\n"


def test_finishing_keeps_what_was_known_at_the_start() -> None:
    started = RunStart.model_validate(STARTED)
    done = started.finish(**REACHED)
    assert done.finished and done.prior_shift == (0.5, -0.5)
    assert done.to_json() == STARTED | REACHED | {"finished": True, "files": {}}


def test_an_older_file_lacks_and_a_newer_one_has_more(tmp_path: Path) -> None:
    needed = ("fold", "recipe_digest", "folds_digest", "array_digest", "audit")
    old = {key: STARTED[key] for key in needed} | {"finished": False, "of_tomorrow": 1}
    facts = read_facts(written(tmp_path, old))
    assert facts is not None
    assert facts.training_images is None, "not known, which is not none"
    assert (facts.pretrained, facts.leaks, facts.embeddings) == ("unknown", (), None)


@pytest.mark.parametrize(
    "values", [[], {"fold": 1}, {**STARTED, "finished": True}, {**STARTED, "fold": "first"}]
)
def test_what_is_no_run_s_is_refused(values: Any, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"run\.json is damaged"):
        read_facts(written(tmp_path, values))
    assert read_facts(tmp_path / "none") is None
