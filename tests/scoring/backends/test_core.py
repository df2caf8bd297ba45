"""OpenVINO's one Core compiles for as long as the process lives, and says where it cannot."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from melanoma.scoring.backends.core import import_openvino, the_core

# Another process: in this one OpenVINO is imported already, from where it stays.
MOVED = """
import os, sys
sys.path.insert(0, sys.argv[1])
from melanoma.errors import RecipeError
from melanoma.scoring.backends import core
openvino = core.import_openvino()
if sys.argv[2] == "after":
    core.the_core()
os.remove(os.path.join(sys.argv[1], "openvino"))
from openvino import opset13
given = opset13.parameter([1, 4])
model = openvino.Model([opset13.relu(given)], [given])
try:
    core.the_core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    print("compiled")
except RecipeError as error:
    print(error)
"""

# Without the tables made before, OpenVINO 2026's own threads wait for each other and Python's lock.
AT_ONCE = """
import os, sys, threading
from melanoma.scoring.backends import core
core.the_core()
sys.setswitchinterval(1e-6)
u8, together = core.import_openvino().Type.u8, threading.Barrier(4)
def ask():
    together.wait()
    u8.to_dtype()
threads = [threading.Thread(target=ask, daemon=True) for _ in range(4)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join(60)
os._exit(9 if any(thread.is_alive() for thread in threads) else 0)
"""


def _move(tmp_path: Path, when: str) -> str:
    """What is printed where OpenVINO's folder goes away before or after the Core is made."""
    spec = importlib.util.find_spec("openvino")
    assert spec is not None and spec.submodule_search_locations is not None
    (tmp_path / "openvino").symlink_to(spec.submodule_search_locations[0])
    command = [sys.executable, "-c", MOVED, str(tmp_path), when]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run(
        command, check=True, capture_output=True, text=True, env=environment
    ).stdout


def test_models_compile_after_the_environment_was_moved(tmp_path: Path) -> None:
    assert _move(tmp_path, "after") == "compiled\n"


def test_an_openvino_without_its_plugin_is_one_line(tmp_path: Path) -> None:
    message = _move(tmp_path, "before")
    assert "has no CPU plugin" in message and str(tmp_path) in message
    assert message.count("\n") == 1 and message.endswith("or take --backend torch\n")


def test_threads_share_one_core() -> None:
    with ThreadPoolExecutor(4) as pool:
        assert len({id(core) for core in pool.map(lambda _: the_core(), range(4))}) == 1


def test_nothing_is_reported_to_openvino_s_makers() -> None:
    import_openvino()
    assert not any(name.startswith("openvino_telemetry.") for name in sys.modules)


def test_threads_that_begin_at_once_do_not_wait_for_each_other_for_ever() -> None:
    asked = subprocess.run(
        [sys.executable, "-c", AT_ONCE], env=os.environ, check=False, timeout=100
    )
    assert asked.returncode == 0
