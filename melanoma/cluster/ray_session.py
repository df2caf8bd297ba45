"""Ray, when a command is told --on ray: importing it, finding its cluster, asking for resources."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from melanoma.errors import RecipeError, ServiceError

_RESOURCES = {"cpus": "CPU", "gpus": "GPU"}


def parse_on(text: str) -> str:
    """ADDRESS of `ray=ADDRESS`; blank for `ray`. Raises RecipeError for anything else."""
    engine, equals, address = text.partition("=")
    if engine != "ray" or (equals and not address):
        raise RecipeError(f"--on {text}: ray, or ray=ADDRESS")
    return address


def import_ray() -> Any:
    """Ray. Raises RecipeError naming the extra where it is not installed."""
    # Read when it is imported: nothing is reported to its makers.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ImportError as error:
        raise RecipeError("--on ray: it is not installed; pip install 'melanoma[ray]'") from error
    return ray


@contextmanager
def ray_cluster(address: str) -> Iterator[Any]:
    """Ray, joined to the cluster at `address`; blank: the one that RAY_ADDRESS names or that runs
    on this machine, or one of this machine alone that ends with the block.

    Raises ServiceError where no cluster answers, or it is lost: its head, or the node of this
    process.
    """
    ray = import_ray()
    from ray.exceptions import RayError, RayTaskError

    joined = ray.is_initialized()
    if not joined:
        try:
            ray.init(address=address or None, log_to_driver=False, logging_level="ERROR")
        except (ConnectionError, ValueError, RuntimeError) as error:
            text = " ".join(str(error).split())[:200]
            raise ServiceError(f"--on ray={address}: no cluster there ({text})") from error
    try:
        yield ray
    except RayError as error:
        if isinstance(error, RayTaskError):
            raise  # what a task raised is a fault of ours
        text = " ".join(str(error).split())[:200]
        raise ServiceError(
            f"--on ray: the cluster is lost; on another one the same command resumes ({text})"
        ) from error
    finally:
        if not joined:
            ray.shutdown()


def read_resources(
    text: str | None, nodes: list[Mapping[str, float]], *, gpu: bool
) -> dict[str, float]:
    """CPU and GPU of a task, from `cpus=N,gpus=N`, or as the nodes have it: with `gpu` one GPU and
    its share of the CPUs where a node has a GPU, else all CPUs of the smallest node.

    Raises RecipeError for what cannot be read, or what no node has.
    """
    if text is None:
        with_gpu = [node for node in nodes if gpu and node.get("GPU", 0) >= 1]
        if with_gpu:
            share = min(node["CPU"] // node["GPU"] for node in with_gpu)
            resources = {"GPU": 1.0, "CPU": max(1.0, share)}
        else:
            resources = {"CPU": min(node.get("CPU", 1.0) for node in nodes if node.get("CPU"))}
    else:
        resources = _read(text)
    if not any(
        all(node.get(key, 0) >= value for key, value in resources.items()) for node in nodes
    ):
        asked = ", ".join(f"{value:g} {key}" for key, value in resources.items())
        raise RecipeError(f"no node of the cluster has {asked}; --per-task says what a task needs")
    return resources


def _read(text: str) -> dict[str, float]:
    resources = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        if name not in _RESOURCES or not number.replace(".", "", 1).isdecimal():
            raise RecipeError(f"--per-task {text}: cpus=N, gpus=N, or both with a comma")
        resources[_RESOURCES[name]] = float(number)
    return resources


def node_resources(ray: Any) -> list[Mapping[str, float]]:
    """What each node that is alive has."""
    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def here(ray: Any) -> Any:
    """Where to put what must not be lost with another node: on this one."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
