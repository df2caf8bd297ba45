"""OpenVINO in this process: its import, and its Core. Nothing here imports torch."""

from __future__ import annotations

import functools
import sys
import threading
from typing import Any

import numpy as np

from melanoma.errors import RecipeError

_MAKING = threading.Lock()


def import_openvino() -> Any:
    """The openvino package, its reports to its makers switched off.

    Its import alone would send one to Google Analytics, where openvino_telemetry is installed, and
    that is one of its requirements: a program that sees patients' photographs tells nobody.
    """
    if "openvino_telemetry" not in sys.modules:
        sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]
    import openvino

    return openvino


def the_core() -> Any:
    """OpenVINO's Core, one for the process, its CPU plugin loaded.

    A Core looks for the files of its plugins where the package was imported from, once, when it is
    made. Where they are not there it says so at the first compile only, of a device that is not
    registered: a second Core, made after an upgrade or a move of the environment under a running
    process, would fail where the first one still compiles.

    Raises RecipeError where the plugin cannot be had.
    """
    with _MAKING:
        return _make_core()


def _fill_tables(openvino: Any) -> None:
    """Make OpenVINO's tables of numpy's types, in the one thread that is here.

    They are made at the first use. The thread that makes them lets go of Python's lock and wants
    it back, while a second one waits for the tables with that lock held: both wait for ever, and
    with them the process.
    """
    tensor = openvino.Tensor(np.zeros(1, np.uint8))
    tensor.element_type.to_dtype()
    _ = tensor.data


@functools.cache
def _make_core() -> Any:
    openvino = import_openvino()
    try:
        core = openvino.Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")  # loads the plugin, which stays
        _fill_tables(openvino)
    except RuntimeError as error:
        reason = " ".join(str(error).split("\n", maxsplit=2)[-1].split())
        raise RecipeError(
            f"--backend openvino: OpenVINO of {openvino.__path__[0]} has no CPU plugin ({reason}); "
            "install it again, or take --backend torch"
        ) from error
    return core
