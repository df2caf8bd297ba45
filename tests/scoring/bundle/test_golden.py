"""The golden image gives its stored score again, or says that it does not."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from made_content import external_fit

from melanoma.errors import ScoreError, WeightsError
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.golden import check_golden, draw_golden, golden_score, score_golden
from melanoma.scoring.bundle.recalibrated import seal_recalibrated
from melanoma.scoring.scorer import Scorer


@pytest.fixture
def scorer(trained: Any) -> Scorer:
    return Scorer(load_bundle(trained.folder))


def test_the_drawing_never_changes() -> None:
    # Bundles that are out in the world have its score: another drawing is another golden.json.
    digest = hashlib.sha256(draw_golden(32).tobytes()).hexdigest()
    assert digest == "3192f881ac4f9eda6dcc3741558de7a27d62adbc77657543454933fdc44dd1c8"


@pytest.mark.parametrize("size", [32, 128, 224])
def test_the_square_is_the_drawing_halved_in_whole_numbers(scorer: Scorer, size: int) -> None:
    scorer.bundle = dataclasses.replace(scorer.bundle, size=size)
    blocks = draw_golden(size).reshape(size, 2, size, 2, 3).astype(int).sum(axis=(1, 3))
    halved = ((blocks + 2) // 4).astype(np.uint8)
    assert np.array_equal(scorer.square(draw_golden(size)), halved)
    assert halved.std() > 30, "there is something to see"


def test_a_sealed_bundle_gives_its_golden_score(scorer: Scorer) -> None:
    found = check_golden(scorer)
    assert found.holds
    assert found.largest is not None
    assert found.largest < 1e-4
    assert len(scorer.bundle.golden.logits) == len(scorer.bundle.members)
    one = check_golden(scorer.of_fold(scorer.bundle.members[-1].fold))
    assert one.holds, "a member's own logits are looked up by its fold"


def test_the_stored_score_is_what_scoring_again_gives(trained: Any) -> None:
    bundle = load_bundle(trained.folder)
    assert golden_score(bundle) == bundle.golden


SPOILED = {
    "another preprocessing": lambda bundle: dataclasses.replace(bundle, normalize="half"),
    "more views": lambda bundle: dataclasses.replace(bundle, views=8),
    "members exchanged": lambda bundle: dataclasses.replace(
        bundle,
        members=tuple(
            dataclasses.replace(member, file=other.file)
            for member, other in zip(bundle.members, bundle.members[::-1], strict=True)
        ),
    ),
}


@pytest.mark.parametrize("what", SPOILED)
def test_what_is_scored_in_another_way_does_not_hold(scorer: Scorer, what: str) -> None:
    found = check_golden(Scorer(SPOILED[what](scorer.bundle)))
    assert not found.holds
    assert "differ" in found.says


def test_a_network_that_drifted_does_not_hold(scorer: Scorer) -> None:
    with torch.no_grad():
        for weights in scorer.classifiers[scorer.bundle.members[0].fold].head.parameters():
            weights.mul_(1.05)
    assert not check_golden(scorer).holds


def test_other_pixels_do_not_hold_whatever_their_score(scorer: Scorer) -> None:
    golden = dataclasses.replace(scorer.bundle.golden, image="0" * 64)
    scorer.bundle = dataclasses.replace(scorer.bundle, golden=golden)
    found = check_golden(scorer)
    assert not found.holds
    assert "pixels" in found.says


def test_a_score_that_is_no_number_raises(scorer: Scorer) -> None:
    with torch.no_grad():
        next(iter(scorer.classifiers.values())).head.bias.fill_(float("nan"))
    with pytest.raises(ScoreError):
        score_golden(scorer)


def test_a_bundle_without_a_golden_score_is_refused(trained: Any, tmp_path: Path) -> None:
    folder = tmp_path / "old"
    shutil.copytree(trained.folder, folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["sha256"]["golden.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    # The file alone counts for nothing: no digest vouches for it.
    with pytest.raises(WeightsError, match=r"no golden score.*melanoma\.evaluate"):
        load_bundle(folder)


def test_a_golden_score_that_was_edited_is_refused(trained: Any, tmp_path: Path) -> None:
    folder = tmp_path / "edited"
    shutil.copytree(trained.folder, folder)
    path = folder / "golden.json"
    path.write_text(path.read_text().replace("1", "2", 1))
    with pytest.raises(WeightsError, match=r"golden\.json: sha256 mismatch"):
        load_bundle(folder)


def test_recalibration_keeps_the_golden_score(trained: Any, tmp_path: Path) -> None:
    fit = {"slope": 0.5, "intercept": -1.0, "prevalence": 0.1}
    here = load_bundle(trained.folder)
    copy = seal_recalibrated(here, tmp_path / "copy", trained.recipe, external_fit(fit))
    assert copy.golden == here.golden
    assert check_golden(Scorer(copy)).holds
