"""Settings: what the environment, or python -m melanoma.serve, may decide about the service."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from melanoma.errors import RecipeError
from melanoma.scoring.backends.backend_catalog import BACKENDS, PRECISIONS, Engine

DEVICES = ("auto", "cpu", "cuda")


@dataclass(frozen=True)
class Settings:
    """Which bundles are served, on what, and within which limits.

    `engine` runs the networks: backend and precision.

    `queue` photographs may wait for a score; up to `batch` are scored together, the first of them
    waiting at most `batch_wait_ms` for the others. LIME has `lime_seconds`. With a `token`,
    whoever asks for more than the page must send it. Bodies of requests may have `body_mb`
    megabytes together, and each `body_seconds` to arrive. `root_path` is what a proxy takes off
    the address before it asks here.
    """

    weights: tuple[Path, ...] = (Path("weights/siim_seresnext50"),)
    device: str = "auto"
    queue: int = 32
    token: str | None = field(default=None, repr=False)
    batch: int = 8
    batch_wait_ms: float = 5.0
    lime_seconds: float = 60.0
    body_mb: int = 192
    body_seconds: float = 60.0
    root_path: str = ""
    engine: Engine = field(default_factory=Engine)


def read_settings(environment: Mapping[str, str]) -> Settings:
    """Settings from MELANOMA_WEIGHTS (folders, joined as PATH is), _DEVICE, _QUEUE, _TOKEN, _BATCH,
    _BATCH_WAIT_MS, _LIME_SECONDS, _BODY_MB, _BODY_SECONDS, _ROOT_PATH, _BACKEND and _PRECISION; one
    that is empty is as one that is not there.

    Raises RecipeError naming the variable that cannot be meant.
    """
    prefix = "MELANOMA_"
    variables = {
        name.removeprefix(prefix): text
        for name, text in environment.items()
        if name.startswith(prefix) and text
    }
    plain = Settings()
    folders = tuple(Path(f) for f in variables.get("WEIGHTS", "").split(os.pathsep) if f)
    if "WEIGHTS" in variables and not folders:
        raise _bad("WEIGHTS", variables["WEIGHTS"], "a folder, or several")
    return Settings(
        weights=folders or plain.weights,
        device=_one_of(variables, "DEVICE", plain.device, DEVICES),
        queue=_whole(variables, "QUEUE", plain.queue, low=0, high=10_000),
        token=_token(variables.get("TOKEN")),
        batch=_whole(variables, "BATCH", plain.batch, low=1, high=1024),
        batch_wait_ms=_number(variables, "BATCH_WAIT_MS", plain.batch_wait_ms, low=0, high=1000),
        lime_seconds=_number(variables, "LIME_SECONDS", plain.lime_seconds, low=1, high=3600),
        # At least one batch in base64, or no batch could ever come.
        body_mb=_whole(variables, "BODY_MB", plain.body_mb, low=87, high=1_000_000),
        body_seconds=_number(variables, "BODY_SECONDS", plain.body_seconds, low=1, high=3600),
        root_path=_prefix(variables.get("ROOT_PATH", "")),
        engine=Engine(
            _one_of(variables, "BACKEND", plain.engine.backend, ("auto", *BACKENDS)),
            _one_of(variables, "PRECISION", plain.engine.precision, PRECISIONS),
        ),
    )


def _one_of(variables: Mapping[str, str], name: str, plain: str, known: Sequence[str]) -> str:
    text = variables.get(name, plain)
    if text not in known:
        raise _bad(name, text, ", ".join(known))
    return text


def _whole(variables: Mapping[str, str], name: str, plain: int, *, low: int, high: int) -> int:
    text = variables.get(name, str(plain))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and low <= int(text) <= high):
        raise _bad(name, text, f"a whole number from {low} to {high}")
    return int(text)


def _number(
    variables: Mapping[str, str], name: str, plain: float, *, low: float, high: float
) -> float:
    text = variables.get(name, str(plain))
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise _bad(name, text, f"a number from {low} to {high}")
    return value


def _prefix(text: str) -> str:
    if text and not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+/?", text):
        raise _bad("ROOT_PATH", text, "a path as /melanoma")
    return text.rstrip("/")


def _token(text: str | None) -> str | None:
    if text is not None and not all("!" <= character <= "~" for character in text):
        # The token itself is left out: what is printed here ends in a log.
        raise RecipeError(f"{_names('TOKEN')}: printable ASCII without spaces was expected")
    return text


def _bad(name: str, text: str, expected: str) -> RecipeError:
    return RecipeError(f"{_names(name)} {text!r}: {expected} was expected")


def _names(name: str) -> str:
    return f"MELANOMA_{name} (--{name.lower().replace('_', '-')})"
