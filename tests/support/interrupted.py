"""Runs that a signal ends: inside this process at a step, or killed in one of their own."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import forked
import pytest

from melanoma.errors import InterruptedRun
from melanoma.training.loop import Loop, Watchers


class Interrupted:
    """Watchers that raise a signal at the given step of the run, counted over epochs."""

    def __init__(self, step: int, number: int = signal.SIGINT) -> None:
        self.left, self.number, self.said = step, number, list[str]()

    def watchers(self) -> Watchers:
        return Watchers(say=self.said.append, bar=lambda *_: self._advance)

    def _advance(self) -> None:
        self.left -= 1
        if self.left == 0:
            signal.raise_signal(self.number)


@contextmanager
def leaving_after_an_epoch(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Runs in here save their state after their first epoch and end there."""
    close = Loop._close_epoch

    def leave(loop: Loop, logits: Any) -> None:
        close(loop, logits)
        loop._save()
        raise InterruptedRun("enough", signal_number=signal.SIGTERM)

    with monkeypatch.context() as patched:
        patched.setattr(Loop, "_close_epoch", leave)
        with pytest.raises(InterruptedRun):
            yield


def train_and_kill(recipe: Any, place: Any, folder: Path, *, saved: int) -> None:
    """Train fold 0 into `folder`; saved after step `saved`, killed by SIGKILL in the next."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = folder.with_suffix(".yaml")
    path.write_text(recipe.to_yaml())
    paths = [path, place.folder / "arrays", place.folder / "folds.csv", folder]
    code = Path(__file__).with_name("killed_run.py").read_text()
    killed = forked.run("-c", code, *map(str, [*paths, saved]), timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
