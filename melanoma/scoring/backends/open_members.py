"""The members of a bundle on the backend that was asked for."""

from __future__ import annotations

import torch

from melanoma.devices import count_cores, require_bfloat16
from melanoma.scoring.backends.options import Engine, choose_backend
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.members import Members, load_members


def open_members(bundle: Bundle, device: torch.device, engine: Engine) -> Members:
    """The bundle's networks, ready.

    Raises RecipeError for a backend or a precision that this machine has not, WeightsError for
    weights that cannot be the networks.
    """
    backend = choose_backend(engine.backend, device.type)
    if engine.precision == "bfloat16":
        require_bfloat16(device)
    if backend == "openvino":
        # Here, so that torch alone waits for no import of OpenVINO's.
        from melanoma.scoring.backends.openvino_members import open_openvino

        return open_openvino(bundle, precision=engine.precision)
    torch.set_num_threads(count_cores())
    members = load_members(bundle, device)
    return members.in_precision(torch.bfloat16) if engine.precision == "bfloat16" else members
