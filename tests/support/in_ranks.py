"""Work in several processes at once, which find each other as those of torchrun do."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from melanoma.training.ranks import Ranks
from melanoma.training.torchrun import join_ranks


class Failed(Exception):  # noqa: N818 - a record of what another process raised
    """What a process raised: its kind, its text and the exit code that it stands for."""

    def __init__(self, kind: str, text: str, code: int) -> None:
        super().__init__(f"{kind}: {text} ({code})")
        self.kind, self.text, self.code = kind, text, code

    def __reduce__(self) -> Any:
        return Failed, (self.kind, self.text, self.code)


def torchrun_environment(rank: int, world: int, port: int) -> dict[str, str]:
    """What torchrun would tell process `rank`."""
    return {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(world),
        "LOCAL_WORLD_SIZE": str(world),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_RUN_ID": "test",
        "GLOO_SOCKET_IFNAME": "lo",
    }


def free_port() -> int:
    """One that nobody listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def in_ranks(work: Callable[[Ranks], Any], *, world: int = 2, seconds: float = 60) -> list[Any]:
    """What `work` gives in each of `world` forks of this process; Failed where it raised, None
    where the fork was killed. All are to end within `seconds`."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / str(rank) for rank in range(world)]
        forks = [
            _fork(work, torchrun_environment(rank, world, port), file)
            for rank, file in enumerate(files)
        ]
        try:
            _wait(forks, time.monotonic() + seconds)
        finally:
            for fork in forks:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(fork, signal.SIGKILL)
        return [pickle.loads(f.read_bytes()) if f.is_file() else None for f in files]


def _fork(work: Callable[[Ranks], Any], environment: Mapping[str, str], file: Path) -> int:
    child = os.fork()
    if child:
        return child
    try:
        os.environ.update(environment)
        found: Any
        try:
            with join_ranks("cpu") as ranks:
                found = work(ranks)
        except BaseException as error:
            code = error.code if isinstance(error, SystemExit) else getattr(error, "exit_code", 1)
            found = Failed(type(error).__name__, str(error), int(code or 0))
        file.with_suffix(".part").write_bytes(pickle.dumps(found))
        file.with_suffix(".part").rename(file)
    finally:
        os._exit(0)


def _wait(forks: list[int], until: float) -> None:
    left = set(forks)
    while left:
        for fork in list(left):
            if os.waitpid(fork, os.WNOHANG)[0]:
                left.remove(fork)
        assert time.monotonic() < until, f"{len(left)} processes go on"
        time.sleep(0.02)
