"""Resume state: plain tensors, two generations, each with its sha256.

`state.json` names the newest file and the one before it. A kill at any moment leaves at least one
whole generation; a flipped byte, which torch.load would not notice, falls back to the one before.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from melanoma.errors import WeightsError
from melanoma.storage import read_text, sha256_of, write_atomic, write_json

State = dict[str, Any]
_INDEX = "state.json"


def save_state(folder: Path, state: State, *, needed: int = 0) -> None:
    """Write one more generation and drop the last but one."""
    generations = _generations(folder)
    # A third name: a file that the index still names may be the only whole one.
    number = min({0, 1, 2} - {int(generation["number"]) for generation in generations})
    path = folder / f"state-{number}.pt"
    write_atomic(path, lambda file: torch.save(state, file), needed=needed)
    newest = {"number": number, "file": path.name, "sha256": sha256_of(path)}
    write_json(folder / _INDEX, [newest, *generations[:1]])
    for dropped in generations[1:]:
        (folder / dropped["file"]).unlink(missing_ok=True)


def load_state(folder: Path, *, warn: Callable[[str], None]) -> State | None:
    """The newest whole state; None when there is none.

    Falls back to the generation before, with a warning. Raises WeightsError when both are broken.
    """
    generations = _generations(folder)
    reasons = []
    for generation in generations:
        try:
            state = _read(folder / generation["file"], generation["sha256"])
        except WeightsError as error:
            reasons.append(str(error))
            continue
        for reason in reasons:
            warn(f"{reason}; resuming from the state before it")
        return state
    if generations:
        raise WeightsError(f"{'; '.join(reasons)}; --resume never starts the fold again")
    return None


def remove_states(folder: Path) -> None:
    """Delete all generations: the fold is finished, or starts again."""
    (folder / _INDEX).unlink(missing_ok=True)
    for path in folder.glob("state-*.pt"):
        path.unlink()


def _generations(folder: Path) -> list[dict[str, Any]]:
    try:
        generations: list[dict[str, Any]] = json.loads(read_text(folder / _INDEX))
    except FileNotFoundError:
        return []
    except ValueError as error:
        raise WeightsError(
            f"{folder / _INDEX} is truncated or damaged; --resume never starts the fold again"
        ) from error
    return generations


def _read(path: Path, sha256: str) -> State:
    if not path.is_file():
        raise WeightsError(f"{path} is missing")
    digest = sha256_of(path)
    if digest != sha256:
        what = "sha256 mismatch" if zipfile.is_zipfile(path) else "truncated"
        raise WeightsError(
            f"{path} is {what}"
            if what == "truncated"
            else f"{path}: {what} (expected {sha256[:12]}, found {digest[:12]})"
        )
    try:
        state: State = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile) as error:
        raise WeightsError(f"{path} cannot be read as a state ({error})") from error
    return state
