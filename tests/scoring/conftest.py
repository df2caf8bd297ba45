"""The scorer over the small bundle."""

from __future__ import annotations

from typing import Any

import pytest

from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer


@pytest.fixture(scope="session")
def scorer(trained: Any) -> Scorer:
    return Scorer(load_bundle(trained.folder))
