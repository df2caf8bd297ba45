"""A real nginx with deploy/nginx.conf, in which only places and times are others."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFIGURATION = ROOT / "deploy" / "nginx.conf"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def directive(name: str) -> str:
    """What the shipped file says first after `name`, without the semicolon."""
    found = re.search(rf"^\s*{name} ([^;]+);", CONFIGURATION.read_text(), re.MULTILINE)
    assert found, name
    return found[1]


def _servers(ports: Sequence[int]) -> str:
    """A server a port, with the options that the shipped line has, but for the look-up of names."""
    options = [word for word in directive("server").split()[1:] if word != "resolve"]
    return "; server ".join(" ".join([f"127.0.0.1:{port}", *options]) for port in ports)


class Front:
    """nginx on a free port of this machine before `upstream`, a port or several; `changes` replace
    directives."""

    def __init__(
        self, folder: Path, upstream: int | Sequence[int], changes: Mapping[str, str]
    ) -> None:
        folder.mkdir()
        self.port = free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        text = CONFIGURATION.read_text().replace("/tmp/nginx", f"{folder}/nginx")
        places = {
            "listen": f"127.0.0.1:{self.port}",
            "server": _servers([upstream] if isinstance(upstream, int) else upstream),
            # /dev/stderr is opened by name, which a socket in its place would not survive.
            "error_log": f"{folder}/log crit",
        }
        for name, value in {**places, **changes}.items():
            text, count = re.subn(rf"(?m)^(\s*{name}) [^;{{]+;", rf"\1 {value};", text)
            assert count, f"no directive {name}"
        (folder / "nginx.conf").write_text(text)
        # Started by root, nginx makes its workers somebody who may not read this folder.
        options = "daemon off;" + (" user root;" if os.geteuid() == 0 else "")
        self.log = folder / "log"
        self.process = subprocess.Popen(
            ["nginx", "-e", str(self.log), "-c", str(folder / "nginx.conf"), "-g", options]
        )
        self._wait()

    def _wait(self) -> None:
        for _ in range(100):
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.05)
        self.stop()
        raise AssertionError("nginx does not listen")

    def stop(self) -> None:
        """Its workers with it: those of a master that is killed go on serving."""
        self.process.terminate()
        self.process.wait(timeout=20)

    def connect(self, source: str = "127.0.0.1") -> socket.socket:
        return socket.create_connection(
            ("127.0.0.1", self.port), timeout=20, source_address=(source, 0)
        )

    def listens(self) -> bool:
        try:
            self.connect().close()
        except ConnectionRefusedError:
            return False
        return True

    def quit(self) -> None:
        """As `docker compose stop` does: requests in flight are answered."""
        self.process.send_signal(signal.SIGQUIT)
