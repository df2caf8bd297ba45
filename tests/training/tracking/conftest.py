"""One way to train with trackers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from melanoma.training.tracking.follow import follow
from melanoma.training.watchers import Watchers


@pytest.fixture
def tracked(fit: Any, recipe_of: Any, tmp_path: Path) -> Callable[..., Any]:
    """Trains with a tracker, or several, or None; gives the run, and what was said."""

    def run(told: Any, name: str = "tracked", **bounds: float) -> tuple[Any, list[str]]:
        said: list[str] = []
        recipe = recipe_of()
        trackers = told if isinstance(told, list) else [told] if told else []
        with follow(trackers, Watchers(say=said.append), recipe, **bounds) as watchers:
            return fit(recipe, tmp_path / name, watchers=watchers), said

    return run
