"""What may be asked of a backend. Nothing here imports torch, so that --help need not wait."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass

from melanoma.errors import RecipeError

BACKENDS = ("auto", "torch", "openvino")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Engine:
    """What runs the networks, and the type of its products. Auto is OpenVINO on a CPU where it is
    installed, else torch. Raises RecipeError for a name that is none."""

    backend: str = "auto"
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise RecipeError(f"--backend {self.backend}: {_listed(BACKENDS)}")
        if self.precision not in PRECISIONS:
            raise RecipeError(f"--precision {self.precision}: {_listed(PRECISIONS)}")


def choose_backend(name: str, device_type: str) -> str:
    """torch or openvino, on a device of that type (cpu or cuda).

    Raises RecipeError where OpenVINO is asked for and cannot be had.
    """
    installed = importlib.util.find_spec("openvino") is not None
    if name == "auto":
        return "openvino" if installed and device_type == "cpu" else "torch"
    if name == "openvino" and not installed:
        raise RecipeError("--backend openvino: it is not installed; pip install melanoma[openvino]")
    if name == "openvino" and device_type != "cpu":
        raise RecipeError("--backend openvino runs on the CPU; add --device cpu")
    return name


def _listed(names: tuple[str, ...]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
