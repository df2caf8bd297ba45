"""The image as it is run: read-only, as nobody, probed, asked for a score, and stopped in time.

    make image                     # builds it, and runs this
    python -m benchmarks.image     # melanoma:local, which deploy/image.sh built

Docker or podman runs it with a root that cannot be written, no rights, and the shipped bundle. It
holds when it runs as the Dockerfile's user, nothing can be written but /tmp, /healthz and /readyz
say 200, the probabilities of the golden picture and of a photograph (a phantom's JPEG, or
--photograph) are those of `predict` in this checkout to 1e-5, and `stop` ends it within
ten seconds by SIGTERM, exit code 0, with a score in flight that is answered. The exit code is 1
otherwise. The figures go to results/benchmarks/image.json.
"""

from __future__ import annotations

import argparse
import io
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from PIL import Image

from benchmarks.facts import run_facts
from benchmarks.service import draw_photographs
from benchmarks.shipped import WEIGHTS
from melanoma.scoring.bundle.golden import draw_golden
from melanoma.storage import write_json

OUT = Path("results/benchmarks/image.json")
NAME = "melanoma:local"
MOST_STOP_SECONDS, MOST_DIFFERENCE = 10.0, 1e-5
READY_SECONDS = 600  # a busy machine takes minutes to import torch
BOUNDARY = "image"
# The last one is for a sandbox: limits that may not be raised, no systemd to run health checks, and
# control groups of both versions at once, which crun refuses.
SANDBOX = ["--no-healthcheck", "--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"]
TOOLS: list[tuple[list[str], list[str]]] = [
    (["docker"], []),
    (["podman"], []),
    (["podman", "--runtime", "runc"], SANDBOX),
]
PROBE = """
import os, json
def writable(folder):
    try:
        open(os.path.join(folder, "written"), "w").close()
        return True
    except OSError:
        return False
status = open("/proc/self/status").read().split("CapEff:")[1].split()[0]
folders = ("/", "/venv", "/weights", "/tmp")
print(json.dumps({"uid": os.getuid(), "capabilities": int(status, 16),
                  "writable": [f for f in folders if writable(f)]}))
"""


class Container:
    """A container of the image by docker or podman; ended when the block is left."""

    def __init__(self, tool: list[str], extra: list[str], name: str, weights: Path) -> None:
        self.tool, self.port = tool, free_port()
        mounted = f"{weights.resolve()}:/weights:ro"
        options = ["--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges"]
        # The host's network: a sandbox may not make a bridge, and nothing here is about one.
        options += ["--network", "host", "--tmpfs", "/tmp", "-v", mounted]
        options += extra
        command = [*tool, "run", "-d", *options, "-e", f"PORT={self.port}", name]
        self.id = run(command).strip().splitlines()[-1]

    def __enter__(self) -> Container:
        return self

    def __exit__(self, *_: object) -> None:
        subprocess.run([*self.tool, "rm", "-f", self.id], capture_output=True, check=False)

    def get(self, path: str) -> int:
        """The status of a GET, 0 where nobody answers."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait_ready(self) -> float:
        """Seconds until /readyz says 200."""
        start = time.monotonic()
        while self.get("/readyz") != 200:
            state = self.state()
            if not state["Running"] or time.monotonic() - start > READY_SECONDS:
                logs = subprocess.run([*self.tool, "logs", self.id], capture_output=True, text=True)
                sys.exit(f"not ready: {state['Status']}\n{logs.stdout}{logs.stderr}")
            time.sleep(0.2)
        return time.monotonic() - start

    def state(self) -> dict[str, Any]:
        """What the tool knows of it."""
        found: list[dict[str, Any]] = json.loads(run([*self.tool, "inspect", self.id]))
        state: dict[str, Any] = found[0]["State"]
        return state

    def score(self, photograph: bytes) -> dict[str, Any]:
        """The service's answer."""
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/predict",
            data=head.encode() + photograph + f"\r\n--{BOUNDARY}--\r\n".encode(),
            headers={"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"},
        )
        with urllib.request.urlopen(request, timeout=120) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def inside(self) -> dict[str, Any]:
        """Who it is in there, its rights, and the folders that can be written."""
        found: dict[str, Any] = json.loads(
            run([*self.tool, "exec", self.id, "python", "-c", PROBE])
        )
        return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--name", default=NAME)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--photograph", type=Path, help="instead of a phantom")
    options = parser.parse_args()
    tool, extra = find_tool(options.name)
    given = options.photograph
    photographs = [golden_picture(), given.read_bytes() if given else draw_photographs(1)[0]]
    with Container(tool, extra, options.name, options.weights) as container:
        found: dict[str, Any] = {"tool": " ".join(tool), "options": extra}
        found |= {"seconds_to_ready": round(container.wait_ready(), 1)}
        found |= {"healthz": container.get("/healthz"), "readyz": container.get("/readyz")}
        found |= container.inside()
        found |= compare(container, photographs, options.weights)
        found |= stop(container, photographs[-1])
    found["image_megabytes"] = image_megabytes(tool, options.name)
    failed = judge(found)
    write_json(OUT, {**run_facts("image"), **found, "failed": failed})
    print(json.dumps(found, indent=2))
    for line in failed:
        print(f"FAILED: {line}", file=sys.stderr)
    return 1 if failed else 0


def compare(container: Container, photographs: list[bytes], weights: Path) -> dict[str, Any]:
    """The image's probabilities beside those of this checkout's predict, on the same backend."""
    answers = [container.score(one) for one in photographs]
    backend = answers[0]["model"]["backend"]
    rows = predict(photographs, weights, backend)
    differences = [
        abs(answer["by_class"][name] - p)
        for answer, row in zip(answers, rows, strict=True)
        for name, p in row["by_class"].items()
    ]
    return {
        "backend": backend,
        "digest": answers[0]["model"]["digest"],
        "melanoma_probabilities": [answer["melanoma_probability"] for answer in answers],
        "largest_difference": max(differences),
    }


def predict(photographs: list[bytes], weights: Path, backend: str) -> list[dict[str, Any]]:
    """What the command says of them as files, a row each."""
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.jpg" for number in range(len(photographs))]
        for file, data in zip(files, photographs, strict=True):
            file.write_bytes(data)
        command = [sys.executable, "-m", "melanoma.predict", *map(str, files), "--json"]
        options = ["--weights", str(weights), "--backend", backend, "--device", "cpu"]
        rows: list[dict[str, Any]] = json.loads(run([*command, *options]))
    return rows


def stop(container: Container, photograph: bytes) -> dict[str, Any]:
    """What `stop` does while scores are in flight: its time, and how the process ended."""
    answers: list[str] = []

    def ask() -> None:
        try:
            answers.append("scored" if container.score(photograph)["success"] else "refused")
        except OSError as error:
            answers.append(f"lost: {error}")

    asking = [threading.Thread(target=ask) for _ in range(4)]
    for thread in asking:
        thread.start()
    time.sleep(0.1)
    start = time.monotonic()
    run([*container.tool, "stop", "--time", "10", container.id])
    seconds = time.monotonic() - start
    for thread in asking:
        thread.join()
    state = container.state()
    return {
        "stop_seconds": round(seconds, 2),
        "exit_code": state["ExitCode"],
        "killed_for_memory": state.get("OOMKilled", False),
        "in_flight_at_stop": sorted(answers),
    }


def judge(found: dict[str, Any]) -> list[str]:
    """What does not hold, a sentence each."""
    rules = {
        "a probe does not say 200": found["healthz"] == found["readyz"] == 200,
        "it runs as root": found["uid"] > 0,
        "it has rights": found["capabilities"] == 0,
        "more than /tmp can be written": found["writable"] == ["/tmp"],
        "it scores otherwise": found["largest_difference"] <= MOST_DIFFERENCE,
        "stop took too long": found["stop_seconds"] < MOST_STOP_SECONDS,
        # 137 is SIGKILL.
        "it was killed": found["exit_code"] == 0,
        "a score in flight was lost": set(found["in_flight_at_stop"]) == {"scored"},
    }
    return [sentence for sentence, holds in rules.items() if not holds]


def find_tool(name: str) -> tuple[list[str], list[str]]:
    """The first of TOOLS that runs the image here, and the options that it needs."""
    said = []
    for tool, extra in TOOLS:
        if shutil.which(tool[0]) is None:
            continue
        command = [*tool, "run", "--rm", "--network", "host", *extra, name, "true"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            return tool, extra
        said.append(f"{' '.join(tool)}: {done.stderr.strip()[-300:]}")
    sys.exit("\n".join(["nothing here runs the image (apt-get install podman runc)", *said]))


def golden_picture() -> bytes:
    """The picture that every bundle is sealed with, as a file."""
    file = io.BytesIO()
    Image.fromarray(draw_golden(300)).save(file, "PNG")
    return file.getvalue()


def image_megabytes(tool: list[str], name: str) -> int:
    """Its size on the disk."""
    return round(int(json.loads(run([*tool, "image", "inspect", name]))[0]["Size"]) / 1e6)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{' '.join(command[:3])}: {done.stderr.strip()[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
