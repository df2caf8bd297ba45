"""The members of a bundle on the backend that was asked for."""

from __future__ import annotations

from melanoma.devices import Device, require_bfloat16
from melanoma.scoring.backends.backend_catalog import BACKENDS, Engine, choose_backend
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.members import Members


def open_members(bundle: Bundle, device: Device, engine: Engine) -> Members:
    """The bundle's networks, ready.

    Raises RecipeError for a backend or a precision that this machine has not, WeightsError for
    weights that cannot be the networks.
    """
    backend = choose_backend(engine.backend, device.type)
    if engine.precision == "bfloat16":
        require_bfloat16(device)
    return BACKENDS[backend].open(bundle, device, engine.precision)
