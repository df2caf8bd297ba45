"""BACKENDS: whatever can run a bundle's networks, one entry each, and what may be asked of one.

Nothing here imports torch: an entry imports what it needs when it is opened, and --help waits for
none of it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from melanoma.errors import RecipeError

if TYPE_CHECKING:
    from melanoma.devices import Device
    from melanoma.scoring.bundle.bundle import Bundle
    from melanoma.scoring.members import Members

PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Backend:
    """What can run networks.

    `open` gives a bundle's members on a device, ready, with products of that type (one of
    PRECISIONS). `package` is what it imports, brought by the extra of that name where there is one;
    `devices` are the types that it runs on.
    """

    open: Callable[[Bundle, Device, str], Members]
    package: str
    extra: str | None = None
    devices: tuple[str, ...] = ("cpu", "cuda")

    @property
    def installed(self) -> bool:
        return importlib.util.find_spec(self.package) is not None


def _open_torch(bundle: Bundle, device: Device, precision: str) -> Members:
    import torch

    from melanoma.devices import count_cores
    from melanoma.scoring.backends.torch_members import load_members

    torch.set_num_threads(min(torch.get_num_threads(), count_cores()))
    members = load_members(bundle, device)
    return members.in_precision(torch.bfloat16) if precision == "bfloat16" else members


def _open_openvino(bundle: Bundle, device: Device, precision: str) -> Members:
    from melanoma.scoring.backends.openvino_members import open_openvino

    return open_openvino(bundle, precision=precision)


# The later, the faster where it runs: auto takes the last that is installed.
BACKENDS = {
    "torch": Backend(_open_torch, package="torch"),
    "openvino": Backend(_open_openvino, package="openvino", extra="openvino", devices=("cpu",)),
}


def list_backends() -> str:
    """The names that may be asked for, as a message has them: auto, torch or openvino."""
    return _listed(("auto", *BACKENDS))


@dataclass(frozen=True)
class Engine:
    """What runs the networks, and the type of its products. Auto is OpenVINO on a CPU where it is
    installed, else torch. Raises RecipeError for a name that is none."""

    backend: str = "auto"
    precision: str = "float32"

    def __post_init__(self) -> None:
        if self.backend not in ("auto", *BACKENDS):
            raise RecipeError(f"--backend {self.backend}: {list_backends()}")
        if self.precision not in PRECISIONS:
            raise RecipeError(f"--precision {self.precision}: {_listed(PRECISIONS)}")


def choose_backend(name: str, device_type: str) -> str:
    """The entry for that name, of auto too, on a device of that type (cpu or cuda).

    Raises RecipeError where the one that is asked for cannot be had.
    """
    if name == "auto":
        fit = (n for n, b in reversed(BACKENDS.items()) if device_type in b.devices and b.installed)
        return next(fit, "torch")
    entry = BACKENDS[name]
    if not entry.installed:
        message = f"--backend {name}: it is not installed"
        raise RecipeError(
            f"{message}; pip install melanoma[{entry.extra}]" if entry.extra else message
        )
    if device_type not in entry.devices:
        device = entry.devices[0]
        raise RecipeError(f"--backend {name} runs on the {device.upper()}; add --device {device}")
    return name


def _listed(names: tuple[str, ...]) -> str:
    *others, last = names
    return f"{', '.join(others)} or {last}"
