"""The service on Ray Serve: predict's scores, and who is lost when a replica is killed."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from front import free_port

from melanoma.scoring.bundle.golden import open_scorer

pytest.importorskip("grpc", reason="needs the extra [ray-serve]")


@pytest.fixture
def address(two_nodes: Any, bundle_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The application of deploy/ray_serve.py with two replicas."""
    from ray import serve

    from deploy.ray_serve import Scale, build

    port = free_port()
    monkeypatch.setenv("MELANOMA_WEIGHTS", str(bundle_folder))
    monkeypatch.setenv("MELANOMA_DEVICE", "cpu")
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    serve.run(build(Scale(least=2, most=2, cpus=0.4)))
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


def test_photographs_are_scored_as_by_predict_also_after_a_replica_was_killed(
    address: str, bundle_folder: Path
) -> None:
    photographs = sorted((bundle_folder.parent / "data/jpeg").rglob("*.jpg"))[:4]
    scorer = open_scorer(bundle_folder)

    def assert_scored() -> None:
        for path in photographs:
            answer = httpx.post(f"{address}/predict", files={"file": path.read_bytes()}, timeout=60)
            assert answer.status_code == 200, answer.text
            wanted = scorer.score(path.read_bytes()).by_class
            assert answer.json()["by_class"] == pytest.approx(dict(wanted), abs=1e-6)

    assert_scored()
    refused = httpx.post(f"{address}/predict", files={"file": b"no photograph"}, timeout=60)
    assert refused.status_code == 415 and refused.json()["success"] is False
    replicas = [one for one in psutil.process_iter(["cmdline"]) if _is_replica(one)]
    assert len(replicas) == 2
    os.kill(replicas[0].pid, signal.SIGKILL)
    time.sleep(0.2)
    assert_scored()


def test_a_wrong_setting_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    from deploy.ray_serve import Scale, build

    monkeypatch.setenv("MELANOMA_QUEUE", "many")
    with pytest.raises(SystemExit, match="MELANOMA_QUEUE"):
        build(Scale())


def _is_replica(process: psutil.Process) -> bool:
    return "ServeReplica:default:melanoma" in " ".join(process.info["cmdline"] or ())
