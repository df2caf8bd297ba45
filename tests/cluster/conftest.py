"""Two Ray nodes on this machine for the whole session: starting them is seconds of a core."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tiny_bundle import TinyRun


@pytest.fixture(scope="session")
def trained(resnet18_run: TinyRun) -> TinyRun:
    """Ray's own processes know no tiny backbone."""
    return resnet18_run


@pytest.fixture(scope="session")
def bundle_folder(trained: TinyRun) -> Path:
    return trained.folder


@pytest.fixture(scope="session")
def two_nodes() -> Iterator[Any]:
    """A ray.cluster_utils.Cluster of two nodes of one CPU each, which this process has joined."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ |= {"RAY_worker_niceness": "0"}  # not behind whatever else runs here
    # A folder of that name where a test works would be a package without anything in it.
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="needs the extra [ray]")
    import ray

    # The smallest stores that Ray allows: nothing large passes here.
    options = {"num_cpus": 1, "object_store_memory": 80_000_000}
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=options)
    cluster.add_node(**options)
    ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
    cluster.options = options
    yield cluster
    ray.shutdown()
    cluster.shutdown()
