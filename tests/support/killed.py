"""A process that is killed before the N-th change that it makes below a folder."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_CHANGES = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.truncate", "os.link"}
_ENDED, _KILLED, _FAILED = 0, 9, 1


def killed_before(number: int, folder: Path, work: Callable[[], Any]) -> bool:
    """Run `work` in a forked process; whether it was killed, and did not come to its end first.

    It ends as by SIGKILL: no finally, no exit handler, nothing flushed. What `work` raises is
    printed, and fails the test.
    """
    process = os.fork()
    if process == 0:
        _end_before(number, folder.resolve())
        try:
            work()
        except BaseException as error:
            os.write(2, f"{type(error).__name__}: {error}\n".encode())
            os._exit(_FAILED)
        os._exit(_ENDED)
    code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
    assert code in (_ENDED, _KILLED), f"the work ended with {code}"
    return code == _KILLED


def _end_before(number: int, folder: Path) -> None:
    left = number

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal left
        if _is_change(event, arguments, folder):
            left -= 1
            if left == 0:
                os._exit(_KILLED)

    sys.addaudithook(hook)


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
