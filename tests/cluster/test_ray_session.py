"""What --on and --per-task may say, and what is said where Ray cannot be had."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest

from melanoma.cluster.ray_session import parse_on, ray_cluster, read_resources
from melanoma.errors import RecipeError, ServiceError

CPUS = [{"CPU": 4.0}, {"CPU": 8.0}]
GPUS = [*CPUS, {"CPU": 16.0, "GPU": 2.0}]


@pytest.mark.parametrize(("text", "address"), [("ray", ""), ("ray=a:1", "a:1")])
def test_the_address_of_a_cluster_is_read(text: str, address: str) -> None:
    assert parse_on(text) == address


@pytest.mark.parametrize("text", ["dask", "ray=", "ray:1", ""])
def test_another_cluster_is_refused(text: str) -> None:
    with pytest.raises(RecipeError, match="ray, or ray=ADDRESS"):
        parse_on(text)


@pytest.mark.parametrize(
    ("text", "nodes", "gpu", "found"),
    [
        (None, CPUS, True, {"CPU": 4.0}),
        (None, GPUS, True, {"GPU": 1.0, "CPU": 8.0}),
        (None, GPUS, False, {"CPU": 4.0}),
        ("cpus=2", GPUS, True, {"CPU": 2.0}),
        ("cpus=2,gpus=0.5", GPUS, True, {"CPU": 2.0, "GPU": 0.5}),
    ],
)
def test_a_task_gets_what_is_asked_for_or_its_share(
    text: str | None, nodes: Any, gpu: bool, found: dict[str, float]
) -> None:
    assert read_resources(text, nodes, gpu=gpu) == found


@pytest.mark.parametrize(
    ("text", "reason"),
    [("cpus", "cpus=N"), ("tpus=1", "cpus=N"), ("cpus=x", "cpus=N"), ("cpus=99", "no node")],
)
def test_resources_that_cannot_be_had_are_refused(text: str, reason: str) -> None:
    with pytest.raises(RecipeError, match=reason):
        read_resources(text, [*GPUS], gpu=True)


@pytest.mark.parametrize(
    ("verb", "options", "reason"),
    [
        ("train", ["--fold", "all", "--on", "ray"], "pip install 'melanoma\\[ray\\]'"),
        ("train", ["--fold", "all", "--per-task", "cpus=1"], "mean nothing without --on ray"),
        ("train", ["--fold", "all", "--on", "dask"], "ray, or ray=ADDRESS"),
        ("predict", ["x", "--per-task", "cpus=1"], "--per-task means nothing without --on ray"),
        ("predict", ["x", "--on", "ray", "--top", "2"], "--top means nothing with --on ray"),
        ("predict", ["x", "--on", "ray", "--url", "http://a"], "means nothing with"),
        ("predict", ["x", "--on", "ray", "--weights", "w"], "pip install 'melanoma\\[ray\\]'"),
    ],
)
def test_the_commands_refuse_what_they_cannot_do_in_one_line(
    verb: str,
    options: list[str],
    reason: str,
    call_door: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import re

    monkeypatch.setitem(sys.modules, "ray", None)  # as where it is not installed
    ended = call_door(verb, *options)
    assert ended.code == 2
    assert re.search(reason, ended.err), ended.err
    assert ended.err.count("\n") == 1


def test_a_cluster_that_is_lost_is_one_line_and_a_tasks_own_error_stays_what_it_is(
    two_nodes: Any,
) -> None:
    from ray.exceptions import LocalRayletDiedError, RayTaskError

    said = "is lost; on another one the same command resumes"
    with pytest.raises(ServiceError, match=said), ray_cluster(""):
        raise LocalRayletDiedError

    def fail() -> None:
        raise ValueError("of a task")

    with pytest.raises(RayTaskError, match="of a task"), ray_cluster("") as ray:
        ray.get(ray.remote(num_cpus=0)(fail).remote())
