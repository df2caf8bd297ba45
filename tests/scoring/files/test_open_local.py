"""The scorer that predict opens: the bundle in the folder, asked as the options say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from melanoma.errors import RecipeError, WeightsError
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.files.open_local import open_local

NOTHING: dict[str, Any] = {
    "views": None,
    "threshold": None,
    "prevalence": None,
    "engine": Engine("torch"),
}


def test_without_options_the_bundle_scores_as_it_was_sealed(bundle_folder: Path) -> None:
    scorer, bundle = open_local(bundle_folder, "cpu", **NOTHING), load_bundle(bundle_folder)
    assert (scorer.digest, scorer.views) == (bundle.digest, bundle.views)
    assert scorer.threshold is None  # its own, then
    assert scorer.prevalence is None
    assert scorer.engine == "torch float32"


def test_views_threshold_and_prevalence_are_those_that_were_asked_for(bundle_folder: Path) -> None:
    asked = {**NOTHING, "views": 2, "threshold": 0.125, "prevalence": 0.01}
    scorer = open_local(bundle_folder, "cpu", **asked)
    assert (scorer.views, scorer.threshold, scorer.prevalence) == (2, 0.125, 0.01)


def test_a_folder_without_a_bundle_and_a_device_that_is_none_are_refused(
    bundle_folder: Path, tmp_path: Path
) -> None:
    with pytest.raises(WeightsError):
        open_local(tmp_path, "cpu", **NOTHING)
    with pytest.raises(RecipeError, match="abacus"):
        open_local(bundle_folder, "abacus", **NOTHING)


def test_who_asks_for_bfloat16_is_told_what_is_known_of_it(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("melanoma.devices.has_bfloat16", lambda: True)
    said: list[str] = []
    open_local(bundle_folder, "cpu", said.append, **NOTHING)
    assert said == []
    open_local(
        bundle_folder, "cpu", said.append, **NOTHING | {"engine": Engine("torch", "bfloat16")}
    )
    assert len(said) == 1
    assert said[0].startswith("note: bfloat16: what it changes of this bundle's answers was not")
