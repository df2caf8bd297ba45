"""torch.compile in training: the same logits and gradients, and one line where it cannot be had."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # each a process that imports torch's compiler

SUPPORT = Path(__file__).resolve().parents[1] / "support"
HEADER = Path(sysconfig.get_paths()["include"]) / "Python.h"
CAN_COMPILE = shutil.which("g++") is not None and HEADER.is_file()  # .ci/run sees to g++
# Alone in its process: what torch has compiled there stays.
SCRIPT = """
import torch
from tiny_backbone import make_tiny_backbone
from melanoma.errors import RecipeError
from melanoma.models.classifier import Classifier
from melanoma.training.training_network import compile_network

torch.manual_seed(0)
one = Classifier(make_tiny_backbone(norm=True).build(), features=16, outputs=2)
images = torch.randn(2, 3, 16, 16)
try:
    logits = compile_network(one)(images)
except RecipeError as error:
    raise SystemExit(f"refused: {error}")
logits.square().sum().backward()
found = [p.grad.clone() for p in one.parameters()]
one.zero_grad()
expected = one(images)
expected.square().sum().backward()
torch.testing.assert_close(logits, expected)
torch.testing.assert_close(found, [p.grad for p in one.parameters()])
print("alike")
"""


def run_script(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    own = {"PYTHONPATH": str(SUPPORT), "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), **environment}
    command = [sys.executable, "-c", SCRIPT]
    return subprocess.run(
        command, env={**os.environ, **own}, capture_output=True, text=True, check=False
    )


@pytest.mark.skipif(not CAN_COMPILE, reason="there is no g++, or none of Python's headers")
def test_the_program_is_the_network(tmp_path: Path) -> None:
    done = run_script(tmp_path)
    assert done.stdout.strip() == "alike", done.stderr


def test_without_a_compiler_one_line_says_what_to_install_or_leave_out(tmp_path: Path) -> None:
    done = run_script(tmp_path, CXX=str(tmp_path / "none"))
    (line,) = [one for one in done.stderr.splitlines() if one.startswith("refused: ")]
    assert "No working C++ compiler" in line
    assert "--set training.compile=false" in line
