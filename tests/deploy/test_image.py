"""What the Dockerfile says, done here without Docker: installed, started, asked, ended."""

from __future__ import annotations

import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from front import ROOT, free_port
from tiny_bundle import TinyRun

from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.bundle.golden import open_scorer

PORT_OF_IMAGE = "8000"


class Step(NamedTuple):
    word: str
    rest: str


def steps() -> list[Step]:
    """The Dockerfile's instructions, continued lines joined and comments left out."""
    lines = (ROOT / "Dockerfile").read_text().splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = text.replace("\\\n", " ").splitlines()
    return [Step(*line.split(maxsplit=1)) for line in joined if line.strip()]


def last(word: str) -> str:
    return [step.rest for step in steps() if step.word == word][-1]


def copied() -> list[str]:
    """What COPY takes from the checkout."""
    given = [shlex.split(step.rest) for step in steps() if step.word == "COPY"]
    return [source for words in given if "--from=build" not in words for source in words[:-1]]


def environment() -> dict[str, str]:
    words = shlex.split(last("ENV"))
    return dict(word.split("=", 1) for word in words)


def healthcheck() -> list[str]:
    found: list[str] = json.loads(last("HEALTHCHECK").partition("CMD ")[2])
    return [sys.executable, *found[1:]]


def test_what_is_copied_is_there_and_is_not_ignored() -> None:
    assert {"melanoma", "api", "setup.cfg"} <= set(copied())
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    assert ignored[1] == "*", "all is left out but what is named"
    assert {line[1:] for line in ignored if line.startswith("!")} == set(copied())
    assert all((ROOT / source).exists() for source in copied())


def test_no_photograph_no_weights_and_no_secret_can_enter_the_image() -> None:
    left_out = ("data", "shared", "weights", "arrays", ".env", ".git", "results", "tests", ".venv")
    assert not [
        (source, name) for source in copied() for name in left_out if fnmatch.fnmatch(name, source)
    ]


def test_the_image_runs_as_nobody_and_installs_torch_from_a_cpu_index() -> None:
    user = last("USER")
    assert user.isdecimal()
    assert int(user) > 0
    indexes = [step.rest for step in steps() if step.word == "ARG" and "INDEX" in step.rest]
    assert indexes == ["TORCH_INDEX=https://download.pytorch.org/whl/cpu"]
    runs = [step.rest for step in steps() if step.word == "RUN"]
    pinned = r'\{TORCH_INDEX:\+--index-url "\$TORCH_INDEX"\} torch==[\d.]+ torchvision==[\d.]+'
    assert any(re.search(pinned, run) for run in runs)
    # Installed last and alone, so that it brings no other torch.
    assert runs[-2] == "pip install --no-deps ."


def test_all_else_is_installed_by_its_sha256_before_the_sources_are_copied() -> None:
    words = [(step.word, step.rest) for step in steps()]
    locked = ("RUN", "pip install --require-hashes --no-deps -r requirements.lock")
    sources = next(
        i for i, (word, rest) in enumerate(words) if (word, rest.split()[0]) == ("COPY", "melanoma")
    )
    assert words.index(locked) < sources


@pytest.fixture(scope="session")
def bundle_folder(resnet18_run: TinyRun) -> Path:
    """A started CMD knows no tiny backbone. Converted here, where torch is imported already."""
    open_scorer(resnet18_run.folder, engine=Engine("openvino"))
    return resnet18_run.folder


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What pip installs of the files that COPY takes, and of nothing else."""
    build, target = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("site")
    for source in copied():
        path = ROOT / source
        if path.is_dir():
            shutil.copytree(path, build / source, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, build)
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--target", str(target), str(build)], check=True, timeout=120)
    return target


def test_all_that_the_page_needs_is_installed(installed: Path) -> None:
    for folder in ("api", "melanoma"):
        here = [path for path in (ROOT / folder).rglob("*") if path.is_file()]
        names = {p.relative_to(ROOT) for p in here if "__pycache__" not in p.parts}
        there = {p.relative_to(installed) for p in (installed / folder).rglob("*") if p.is_file()}
        assert names - there == set()


# Runs CMD as the image does: its environment, a root that cannot be written, an own folder /tmp,
# no network but the loopback. Then asks its health, has a photograph scored, and ends it.
INSIDE = """
import fcntl, json, os, signal, socket, struct, subprocess, sys, time, urllib.request
given = json.loads(sys.argv[1])
with socket.socket() as one:  # the loopback, which is down in a new namespace
    fcntl.ioctl(one, 0x8914, struct.pack("16sh14x", b"lo", 0x41))
for folder in ("/", given["folder"]):
    try:
        open(os.path.join(folder, "written"), "w").close()
        sys.exit(f"{folder} can be written")
    except OSError:
        pass
with open(os.path.join(given["scratch"], "log"), "w") as log:
    process = subprocess.Popen(given["cmd"], stderr=log, cwd=given["scratch"])
text = ""
while "serving" not in text and process.poll() is None:
    time.sleep(0.1)
    text = open(os.path.join(given["scratch"], "log")).read()
assert subprocess.run(given["health"], capture_output=True).returncode == 0, text
body = open(given["body"], "rb").read()
asked = urllib.request.Request(
    f"http://127.0.0.1:{os.environ['PORT']}/predict", data=body,
    headers={"Content-Type": "multipart/form-data; boundary=B"})
with urllib.request.urlopen(asked, timeout=60) as answer:
    found = json.load(answer)
process.send_signal(signal.SIGTERM)
code = process.wait(timeout=40)
written = [name for _, _, files in os.walk(given["scratch"]) for name in files]
print(json.dumps({"code": code, "answer": found, "written": written, "log": text}))
"""


def run_inside(folder: Path, command: list[str], values: dict[str, str]) -> Any:
    scratch = folder / "scratch"
    scratch.mkdir()
    (folder / "body").write_bytes(
        b'--B\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
        + (folder / "photograph").read_bytes()
        + b"\r\n--B--\r\n"
    )
    given = {
        "cmd": command,
        "health": healthcheck(),
        "scratch": str(scratch),
        "folder": str(folder),
        "body": str(folder / "body"),
    }
    prepare = 'mount -t tmpfs tmpfs "$0" && mount -o remount,bind,ro / && exec "$@"'
    ended = subprocess.run(
        [
            *("unshare", "--map-root-user", "--mount", "--net", "sh", "-c", prepare, str(scratch)),
            *(sys.executable, "-c", INSIDE, json.dumps(given)),
        ],
        env={
            **environment(),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "MPLCONFIGDIR": str(scratch),
            "TMPDIR": str(scratch),
            "OMP_NUM_THREADS": "1",
            **values,
        },
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def require_namespaces() -> None:
    probe = [
        "unshare",
        "--map-root-user",
        "--mount",
        "--net",
        "mount",
        "-o",
        "remount,bind,ro",
        "/",
    ]
    if (
        shutil.which("unshare") is None
        or subprocess.run(probe, capture_output=True, check=False).returncode != 0
    ):
        pytest.skip("needs the right to make namespaces (unshare --map-root-user --mount --net)")


def test_cmd_serves_without_a_network_and_without_a_disk(
    bundle_folder: Path, photograph: bytes, installed: Path, tmp_path: Path
) -> None:
    require_namespaces()
    (tmp_path / "photograph").write_bytes(photograph)
    port = str(free_port())
    assert environment()["PORT"] == PORT_OF_IMAGE != port
    found = run_inside(
        tmp_path,
        json.loads(last("CMD")),
        {"PORT": port, "MELANOMA_WEIGHTS": str(bundle_folder), "PYTHONPATH": str(installed)},
    )
    assert found["answer"]["success"] is True
    assert found["answer"]["model"]["name"] == "tiny"
    assert found["code"] == 0
    # Matplotlib lists the fonts once; nothing else is left, no photograph above all.
    written = [name for name in found["written"] if not name.startswith("fontlist-")]
    assert written == ["log"], "the service leaves files"
    (line,) = found["log"].splitlines()
    assert line.startswith("serving tiny ")


def test_cmd_refuses_damaged_weights_with_exit_5(bundle_folder: Path, tmp_path: Path) -> None:
    folder = tmp_path / "weights"
    shutil.copytree(bundle_folder, folder)
    weights = folder / "fold_0" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    settings = {**environment(), "PATH": path, "PYTHONPATH": str(ROOT), "PORT": str(free_port())}
    ended = subprocess.run(
        json.loads(last("CMD")),
        env={**settings, "MELANOMA_WEIGHTS": str(folder)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 5
    assert "model.safetensors" in ended.stderr
    assert ended.stderr.count("\n") == 1
