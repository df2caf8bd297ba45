"""Commands in processes of their own that need not import torch first: forks of one that has.

An import of torch, pandas and FastAPI is seconds of a core. One process a test session pays it and
forks whatever is asked for; the fork then runs as `python -m MODULE` or `python -c CODE` would,
with its own arguments, folder and environment, signals and exit. It knows tiny_backbone.py's
backbones too. What is under test before or in the import itself (--help, a first output) needs a
real start: `python -m`.
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

ROOT = Path(__file__).resolve().parents[2]
_PRELOADED = (
    "uvicorn",
    "torchvision.models",  # half of the time: it imports torch's compiler
    "api.app",
    "api.protocol",
    "melanoma.scoring.scorer",
    "melanoma.serve",
    "melanoma.workflows.train",
)
_NUMBER = struct.Struct("q")
_MOST = 1 << 20  # bytes of a request: arguments and environment


class Forked:
    """A running command, with the methods of subprocess.Popen that tests use."""

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        cwd: Path,
        out: Any,
        err: Any,
    ) -> None:
        self.args = list(arguments)
        self._end, theirs = socket.socketpair()
        asked = json.dumps([self.args, dict(environment), str(cwd)]).encode()
        with theirs:
            files = [theirs.fileno(), out.fileno(), err.fileno()]
            socket.send_fds(_server(), [asked], files)
        self.pid = _NUMBER.unpack(self._end.recv(_NUMBER.size, socket.MSG_WAITALL))[0]
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Its exit status, as Popen gives it. Raises subprocess.TimeoutExpired."""
        if self.returncode is None:
            if not select.select([self._end], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            status = _NUMBER.unpack(self._end.recv(_NUMBER.size, socket.MSG_WAITALL))[0]
            self._end.close()
            self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode

    def poll(self) -> int | None:
        try:
            return self.wait(timeout=0)
        except subprocess.TimeoutExpired:
            return None

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


def start(
    *arguments: str, log: IO[str], environment: Mapping[str, str] | None = None, cwd: Path = ROOT
) -> Forked:
    """`python ARGUMENTS`, which begin with -m MODULE or -c CODE; all that it says goes to `log`."""
    return Forked(arguments, os.environ if environment is None else environment, cwd, log, log)


def run(
    *arguments: str,
    timeout: float,
    environment: Mapping[str, str] | None = None,
    cwd: Path = ROOT,
) -> subprocess.CompletedProcess[str]:
    """The same to its end, as subprocess.run(..., capture_output=True, text=True)."""
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        given = os.environ if environment is None else environment
        process = Forked(arguments, given, cwd, out, err)
        try:
            code = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise
        said = []
        for file in (out, err):
            file.seek(0)
            said.append(file.read())
    return subprocess.CompletedProcess(process.args, code, *said)


_control: socket.socket | None = None


def _server() -> socket.socket:
    """The way to the process that forks, started where there is none yet in this process."""
    global _control
    if _control is None:
        _control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            # In a session of its own: a Ctrl-C at the terminal is not for it.
            process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                cwd=ROOT,
                env={**os.environ, "OMP_NUM_THREADS": "1"},
                pass_fds=[theirs.fileno()],
                start_new_session=True,
                stdin=subprocess.DEVNULL,
            )
        # It ends when this process does, whose end of the way is closed then.
        atexit.register(_end, process, _control)
    return _control


def _end(process: subprocess.Popen[bytes], control: socket.socket) -> None:
    control.close()
    process.wait()


# In the process that forks


def _fork_forever(control: socket.socket) -> list[str]:
    """Fork what is asked for; return in the forks alone, with the arguments that each is to run."""
    sys.path.insert(0, str(ROOT))
    for name in _PRELOADED:
        importlib.import_module(name)
    importlib.import_module("tiny_backbone").know_tiny_backbones()
    del sys.path[1]  # the folder of this file
    assert threading.active_count() == 1, "a fork has none of the other threads"
    gc.collect()
    gc.freeze()  # the forks share what is here
    os.fsync = lambda _: None  # as in conftest.py: a killed process loses nothing by it
    while True:
        asked, files, _, _ = socket.recv_fds(control, _MOST, 3)
        _reap_wardens()
        if not asked:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            arguments, environment, cwd = json.loads(asked)
            _become(environment, cwd, *files)
            return list(arguments)
        for file in files:
            os.close(file)


def _reap_wardens() -> None:
    with suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass


def _become(environment: dict[str, str], cwd: str, answers: int, out: int, err: int) -> None:
    """Return in the command's own process; its parent, the warden, tells its number and its end."""
    child = os.fork()
    if child:
        os.write(answers, _NUMBER.pack(child))
        os.write(answers, _NUMBER.pack(os.waitpid(child, 0)[1]))
        os._exit(0)
    os.close(answers)
    os.dup2(out, 1)
    os.dup2(err, 2)
    for file in {out, err}:
        os.close(file)
    # Those that are there remember what kind of file the old ones were.
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", 1, "utf-8", "backslashreplace", closefd=False)  # noqa: SIM115
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)


def _run(arguments: list[str]) -> None:
    kind, what, *rest = arguments
    sys.path[0] = str(Path.cwd()) if kind == "-m" else ""
    sys.argv = [kind if kind == "-c" else what, *rest]
    if kind == "-m":
        if not hasattr(sys.modules.get(what), "__path__"):
            sys.modules.pop(what, None)  # runpy warns of a module that is loaded already
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        names = vars(sys.modules["__main__"])
        for name in [name for name in names if not name.startswith("__")]:
            del names[name]
        exec(compile(what, "<string>", "exec"), names)


if __name__ == "__main__":
    _run(_fork_forever(socket.socket(fileno=int(sys.argv[1]))))
