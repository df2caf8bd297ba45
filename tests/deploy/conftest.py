"""The tiny service, and nginx before it with the file that ships."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def served(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from tiny_service import start_service

    service = start_service(bundle_folder, tmp_path_factory.mktemp("served") / "log")
    yield service
    service.process.kill()
    service.process.wait()


@pytest.fixture
def start_front(tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """Starts nginx before a port, with changes to lines of deploy/nginx.conf."""
    from front import Front

    if shutil.which("nginx") is None:
        pytest.skip("nginx is not installed (apt-get install nginx)")
    started: list[Front] = []

    def start(upstream: int | Sequence[int], **changes: str) -> Front:
        started.append(Front(tmp_path / f"nginx_{len(started)}", upstream, changes))
        return started[-1]

    yield start
    for front in started:
        front.stop()
