"""TRACKERS: where a run can be followed, by the word that `--track` begins with."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from melanoma.errors import RecipeError
from melanoma.training.tracking.follow import Tracker
from melanoma.training.tracking.mlflow import MlflowTracker
from melanoma.training.tracking.tensorboard import TensorboardTracker
from melanoma.training.tracking.wandb import WandbTracker

_URI = "MELANOMA_MLFLOW_URI"


@dataclass(frozen=True)
class TrackingSystem:
    """How to make a tracker of a place, what a place is called, and which one is the default."""

    make: Callable[[str], Tracker]
    place: str
    default: str


# Adding a tracker is one entry here.
TRACKERS: dict[str, TrackingSystem] = {
    "mlflow": TrackingSystem(MlflowTracker, "URI", "sqlite:///mlflow.db"),
    "tensorboard": TrackingSystem(TensorboardTracker, "DIR", "runs/tensorboard"),
    "wandb": TrackingSystem(WandbTracker, "PROJECT", "melanoma"),
}


def list_trackers() -> str:
    """What --track may be given, as help and messages have it: mlflow[:URI], ..."""
    return ", ".join(f"{name}[:{one.place}]" for name, one in TRACKERS.items())


def tracking_places(
    options: Sequence[str] | None, environment: Mapping[str, str] = os.environ
) -> tuple[str, ...]:
    """Where the run is followed, each as system:place, by --track and MELANOMA_MLFLOW_URI.

    An option is none, a system, or system:place. Raises RecipeError for anything else.
    """
    uri = environment.get(_URI)
    if not options:
        return (f"mlflow:{uri}",) if uri else ()
    if "none" in options:
        if len(options) > 1:
            raise RecipeError("--track none: nothing else can be tracked beside it")
        return ()
    return tuple(_complete(option, uri) for option in options)


def make_trackers(places: Sequence[str] | str | None) -> list[Tracker]:
    """A tracker of each place, as `tracking_places` gives them; a plain URI is MLflow's."""
    all_places = [places] if isinstance(places, str) else places or ()
    trackers = []
    for place in all_places:
        system, _, where = place.partition(":")
        if system not in TRACKERS:
            system, where = "mlflow", place
        trackers.append(TRACKERS[system].make(where))
    return trackers


def _complete(option: str, uri: str | None) -> str:
    name, _, place = option.partition(":")
    if name not in TRACKERS:
        raise RecipeError(f"--track {option}: none, or {list_trackers()}")
    own = uri if name == "mlflow" else None
    return f"{name}:{place or own or TRACKERS[name].default}"
