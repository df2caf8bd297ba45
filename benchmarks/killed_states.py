"""What stands in a folder when the process that works in it is killed before any of its changes."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}
_FAILED = 1
_LARGE = 1 << 20  # bytes


def killed_before_changes(
    folder: Path, states: Path, work: Callable[[], Any], *, every: int = 1
) -> list[Path]:
    """Run `work` once in a forked process; copies of `folder` as it was before changes in it.

    The copies are STATES/1, STATES/2 and so on, one for each `every`-th change, and last what the
    end left; STATES/1.txt says what the change would have been. Each holds what SIGKILL at that
    moment would leave: no finally, no exit handler, nothing flushed. Files of a megabyte and more
    are links, so they must be written beside and renamed, never in place. What `work` raises is
    printed, and fails the caller.
    """
    states.mkdir()
    process = os.fork()
    if process == 0:
        keep = _keep_before_changes(folder.resolve(), states, every)
        try:
            work()
            keep()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(_FAILED)
        os._exit(0)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code == 0, f"the work ended with {code}"
    return sorted(filter(Path.is_dir, states.iterdir()), key=lambda path: int(path.name))


def _keep_before_changes(folder: Path, states: Path, every: int) -> Callable[[], None]:
    number, changes, keeping = 0, 0, False

    def keep(what: str = "the end") -> None:
        nonlocal number, keeping
        number, keeping = number + 1, True
        (states / f"{number}.txt").write_text(what)
        if folder.exists():
            shutil.copytree(folder, states / str(number), copy_function=_copy)
        else:
            (states / str(number)).mkdir()
        keeping = False

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal changes
        if not keeping and _is_change(event, arguments, folder):
            changes += 1
            if changes % every == 0:
                named = [os.fsdecode(a) for a in arguments[:2] if isinstance(a, (str, os.PathLike))]
                keep(" ".join([event, *named]).replace(str(folder), ""))

    sys.addaudithook(hook)
    return keep


def _copy(source: str, target: str) -> None:
    (os.link if Path(source).stat().st_size > _LARGE else shutil.copyfile)(source, target)


def _is_change(event: str, arguments: tuple[Any, ...], folder: Path) -> bool:
    if event == "open":
        path, mode, flags = arguments
        writes = any(c in mode for c in "wax+") if isinstance(mode, str) else False
        flagged = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
        return bool(writes or flagged) and _is_below(path, folder)
    return event in _CHANGES and any(_is_below(path, folder) for path in arguments[:2])


def _is_below(path: Any, folder: Path) -> bool:
    if not isinstance(path, (str, os.PathLike)):
        return False
    return Path.cwd().joinpath(os.fsdecode(path)).is_relative_to(folder)
