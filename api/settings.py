"""Settings: what the environment may decide about the service."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from melanoma.errors import RecipeError

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Settings:
    """Which bundles are served, on what, and how many requests may wait for a score."""

    weights: tuple[Path, ...] = (Path("weights/siim_seresnext50"),)
    device: str = "auto"
    queue: int = 32


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from MELANOMA_WEIGHTS (folders, joined as PATH is), _DEVICE and _QUEUE.

    Raises RecipeError naming the variable that cannot be meant.
    """
    plain = Settings()
    listed = environment.get("MELANOMA_WEIGHTS", "").split(os.pathsep)
    folders = tuple(Path(folder) for folder in listed if folder)
    device = environment.get("MELANOMA_DEVICE", plain.device)
    if device not in DEVICES:
        raise RecipeError(f"MELANOMA_DEVICE={device}: {', '.join(DEVICES)}")
    queue = environment.get("MELANOMA_QUEUE", str(plain.queue))
    if not (queue.isascii() and queue.isdigit()):
        raise RecipeError(f"MELANOMA_QUEUE={queue}: a whole number from 0 was expected")
    return Settings(folders or plain.weights, device, int(queue))
