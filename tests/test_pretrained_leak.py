"""train --pretrained with weights of a k-fold run: the right fold's, or a leak that is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_content import binary

from melanoma.evaluation.report.schema_parts import StartingWeights
from melanoma.evaluation.report.warnings import find_caveats

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs

Door = Callable[..., Any]


def test_weights_of_another_fold_are_refused_or_stamped_and_the_same_fold_s_pass(
    phantom_set: Path, tmp_path: Path, tiny_recipe: Callable[..., Path], call_door: Door
) -> None:
    recipe = tiny_recipe(folds={"k": 2}, training={"epochs": 1})
    common = ["--config", recipe, "--data", phantom_set, "--arrays", tmp_path / "arrays"]
    common += ["--folds", tmp_path / "folds.csv"]
    first = tmp_path / "weights" / "A"
    made = call_door("train", *common, "--fold", "all", "--weights", first)
    assert made.code == 0, made.err
    assert "unknown origin" not in made.err

    wrong = [*common, "--pretrained", first / "fold_1/model.safetensors"]
    wrong += ["--weights", tmp_path / "B"]
    for more in ([], ["--dry-run"]):
        found = call_door("train", *wrong, "--fold", "all", *more)
        assert found.code == 3, found.err
        last = found.err.splitlines()[-1]
        assert last.startswith("error: ")
        assert "held-out images of fold 0" in last
        assert "fold_{fold}/model.safetensors" in last
        assert not (tmp_path / "B").exists()
    swept = call_door("lr_range", *common, "--pretrained", first / "fold_1/model.safetensors")
    assert swept.code == 3, swept.err
    assert "held-out images of fold 0" in swept.err.splitlines()[-1]
    assert swept.err.count("held-out images of fold 0") == 1, "said twice"

    right = [*common, "--pretrained", first / "fold_{fold}/model.safetensors"]
    found = call_door("train", *right, "--fold", "all", "--weights", tmp_path / "C")
    assert found.code == 0, found.err
    assert "LEAK" not in found.err
    # The command line that trained it says what was trained.
    told = call_door("evaluate", *right, "--weights", tmp_path / "C")
    assert told.code == 0, told.err
    assert "note: reporting what was trained" not in told.err
    outside = [*right, "--external", recipe]
    assert "--pretrained: not with --external" in call_door("evaluate", *outside).err
    clean = json.loads((tmp_path / "C/report.json").read_text())
    assert not [line for line in clean["warnings"] if "LEAK" in line or "unknown" in line]
    assert clean["leaks"]["starting_weights"] == {"held_out_seen": 0, "unknown": False}

    found = call_door("train", *wrong, "--fold", "all", "--allow-leak")
    assert found.code == 0, found.err
    assert "LEAK: " in found.err
    assert call_door("evaluate", *common, "--weights", tmp_path / "B").code == 0
    stamped = json.loads((tmp_path / "B/report.json").read_text())
    assert "held-out images of fold 0" in stamped["warnings"][0]
    assert stamped["warnings"][0].startswith("LEAK: ")
    assert "its starting weights were trained on" in (tmp_path / "B/MODEL_CARD.md").read_text()

    # A shipped copy says which member saw what, so that its own fold may start from it.
    copy = tmp_path / "weights" / "shipped"
    assert call_door("ship", "--weights", tmp_path / "C", "--out", copy).code == 0
    member = copy / "members" / "fold_1.safetensors"
    for fold, code in (("0", 3), ("1", 0)):
        more = ["--pretrained", member, "--dry-run"]
        found = call_door("train", *common, "--fold", fold, *more)
        assert found.code == code, found.err


@pytest.mark.parametrize("unknown", [True, False])
def test_the_card_and_the_report_say_that_an_origin_is_unknown(unknown: bool) -> None:
    made = binary().content
    start = StartingWeights(held_out_seen=0, unknown=unknown)
    content = made.model_copy(
        update={"leaks": made.leaks.model_copy(update={"starting_weights": start})}
    )
    assert any("of unknown origin" in line for line in find_caveats(content)) == unknown
