"""Resume state survives kills, cuts and flipped bytes, or says which file is broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import forked
import pytest
import torch

from melanoma.errors import StorageError, WeightsError
from melanoma.training.run import resume_state
from melanoma.training.run.resume_state import load_state, remove_states, save_state

Damage = Callable[[bytes], bytes]


def _flip(data: bytes) -> bytes:
    """One bit in the middle, where the numbers of a tensor lie."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


DAMAGES: dict[str, tuple[Damage, str]] = {
    "cut at 0": (lambda data: b"", "truncated"),
    "cut at 10": (lambda data: data[:10], "truncated"),
    "cut at 1000": (lambda data: data[:1000], "truncated"),
    "cut at half": (lambda data: data[: len(data) // 2], "truncated"),
    "cut 10 before its end": (lambda data: data[:-10], "truncated"),
    "a flipped bit": (_flip, "sha256"),
}


def _state(number: int) -> dict[str, Any]:
    return {"weights": {"a": torch.full((64, 64), float(number))}, "epoch": number, "best": None}


def _save(folder: Path, *numbers: int) -> None:
    for number in numbers:
        save_state(folder, _state(number))


def _newest(folder: Path) -> Path:
    return folder / str(json.loads((folder / "state.json").read_text())[0]["file"])


def _load(folder: Path) -> tuple[dict[str, Any], list[str]]:
    warnings: list[str] = []
    state = load_state(folder, warn=warnings.append)
    assert state is not None
    return state, warnings


@pytest.mark.parametrize("saves", [1, 2, 3, 4])
def test_the_newest_of_two_generations_comes_back_bit_for_bit(saves: int, tmp_path: Path) -> None:
    _save(tmp_path, *range(saves))
    state, warnings = _load(tmp_path)
    assert state["epoch"] == saves - 1
    assert state["best"] is None
    assert torch.equal(state["weights"]["a"], _state(saves - 1)["weights"]["a"])
    assert warnings == []
    assert len(list(tmp_path.glob("state-*.pt"))) == min(saves, 2)


def test_a_folder_without_a_state_has_none(tmp_path: Path) -> None:
    assert load_state(tmp_path, warn=pytest.fail) is None


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_state_falls_back_to_the_one_before_with_a_warning(
    damage: str, tmp_path: Path
) -> None:
    spoil, reason = DAMAGES[damage]
    _save(tmp_path, 1, 2, 3)
    path = _newest(tmp_path)
    path.write_bytes(spoil(path.read_bytes()))
    state, warnings = _load(tmp_path)
    assert state["epoch"] == 2
    (warning,) = warnings
    assert str(path) in warning
    assert reason in warning
    assert "the state before it" in warning


def test_a_missing_state_falls_back_too(tmp_path: Path) -> None:
    _save(tmp_path, 1, 2)
    _newest(tmp_path).unlink()
    state, warnings = _load(tmp_path)
    assert state["epoch"] == 1
    assert "is missing" in warnings[0]


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_two_damaged_states_are_refused_and_never_a_fresh_start(
    damage: str, tmp_path: Path
) -> None:
    spoil, reason = DAMAGES[damage]
    _save(tmp_path, 1, 2)
    for path in tmp_path.glob("state-*.pt"):
        path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(WeightsError) as refusal:
        load_state(tmp_path, warn=pytest.fail)
    assert str(refusal.value).count(reason) == 2
    assert "never starts the fold again" in str(refusal.value)
    assert refusal.value.exit_code == 5


@pytest.mark.parametrize("cut", [0, 10, 100])
def test_a_damaged_index_is_refused(cut: int, tmp_path: Path) -> None:
    _save(tmp_path, 1)
    index = tmp_path / "state.json"
    index.write_bytes(index.read_bytes()[:cut])
    with pytest.raises(WeightsError, match=r"state\.json is truncated"):
        load_state(tmp_path, warn=pytest.fail)


def test_after_a_fall_back_the_next_save_is_the_newest(tmp_path: Path) -> None:
    _save(tmp_path, 1, 2)
    _newest(tmp_path).write_bytes(b"")
    _save(tmp_path, 3)
    state, warnings = _load(tmp_path)
    assert (state["epoch"], warnings) == (3, [])


def test_a_kill_before_the_index_is_written_never_costs_the_only_whole_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path, 1, 2)
    _newest(tmp_path).write_bytes(b"")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(resume_state, "write_json", killed)
        with pytest.raises(KeyboardInterrupt):
            save_state(tmp_path, _state(3))
    assert _load(tmp_path)[0]["epoch"] == 1
    _save(tmp_path, 4)
    assert _load(tmp_path)[0]["epoch"] == 4
    assert len(list(tmp_path.glob("state-*.pt"))) == 2


def test_a_state_with_code_in_it_is_not_run(tmp_path: Path) -> None:
    class Code:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tmp_path / "executed",))

    save_state(tmp_path, {"epoch": Code()})
    with pytest.raises(WeightsError, match="cannot be read as a state"):
        load_state(tmp_path, warn=pytest.fail)
    assert not (tmp_path / "executed").exists()


def test_removed_states_leave_nothing(tmp_path: Path) -> None:
    _save(tmp_path, 1, 2)
    remove_states(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_save_that_fails_leaves_the_state_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _save(tmp_path, 1, 2)

    def half(state: Any, file: Any) -> None:
        file.write(b"PK half a state")
        # What torch.save answers to a full disk.
        raise RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(StorageError, match=r"cannot write .*state-\d\.pt.*500 needed"):
        save_state(tmp_path, _state(3), needed=500)
    state, warnings = _load(tmp_path)
    assert (state["epoch"], warnings) == (2, [])
    assert not list(tmp_path.glob(".*.tmp"))


# Forks once torch is imported, so that a kill costs milliseconds.
_KILLED_SAVES = """
import os, random, signal, sys, time
from pathlib import Path
import torch
from melanoma.training.run.resume_state import load_state, save_state
from melanoma.training.run.run_folder import hold

folder, random_ = Path(sys.argv[1]), random.Random(0)
tensor = torch.zeros(1 << 20)
orphans, last, fallbacks = 0, -1, 0
for kill in range(15):
    saved, tell = os.pipe()
    child = os.fork()
    if child == 0:
        number = last
        while True:
            number += 1
            save_state(folder, {"number": number, "tensor": tensor})
            os.write(tell, b".")
    os.read(saved, 1)  # a busy machine may take longer than the times below to start
    time.sleep(0.02 + random_.random() * 0.06)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    orphans += len(list(folder.glob(".*.tmp")))
    with hold(folder, needed=0):
        assert not list(folder.glob(".*.tmp")), "a stale temporary was not swept"
        warnings = []
        state = load_state(folder, warn=warnings.append)
    fallbacks += len(warnings)
    number = -1 if state is None else state["number"]
    assert number >= last, f"went back from {last} to {number}"
    last = number
assert last > 0, "the kills came too early to mean anything"
print(orphans, last, fallbacks)
"""


def test_a_kill_in_the_middle_of_a_save_is_always_resumable(tmp_path: Path) -> None:
    done = forked.run("-c", _KILLED_SAVES, str(tmp_path), timeout=120)
    assert done.returncode == 0, done.stderr
    orphans, _, fallbacks = map(int, done.stdout.split())
    assert orphans > 0, "no kill met a save; the test proves nothing"
    assert fallbacks == 0
