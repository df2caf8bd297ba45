"""Threads are as many as the process may use, in a container and out of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from melanoma.devices import count_cores


@pytest.fixture(autouse=True)
def _on_a_large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(16)))
    monkeypatch.setenv("OMP_NUM_THREADS", "12")


def _write(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


V2, V1 = "sys/fs/cgroup", "sys/fs/cgroup/cpu"
CASES = {
    "no groups": ({}, 12),
    "no limit": ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "max 100000\n"}, 12),
    "two and a half cores": ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "250000 100000"}, 3),
    "the group above": (
        {
            "proc/self/cgroup": "0::/a/b\n",
            f"{V2}/a/cpu.max": "100000 100000",
            f"{V2}/a/b/cpu.max": "400000 100000",
        },
        1,
    ),
    "a path of the host's": (
        {"proc/self/cgroup": "0::/docker/1\n", f"{V2}/cpu.max": "200000 100000"},
        2,
    ),
    "version 1": (
        {
            "proc/self/cgroup": "5:memory:/x\n4:cpu,cpuacct:/x\n",
            f"{V1}/x/cpu.cfs_quota_us": "50000",
            f"{V1}/x/cpu.cfs_period_us": "100000",
        },
        1,
    ),
    "version 1 without": (
        {
            "proc/self/cgroup": "4:cpu:/\n",
            f"{V1}/cpu.cfs_quota_us": "-1",
            f"{V1}/cpu.cfs_period_us": "1",
        },
        12,
    ),
    "damaged": ({"proc/self/cgroup": "0::/\n", f"{V2}/cpu.max": "often"}, 12),
}


@pytest.mark.parametrize("case", CASES)
def test_the_quota_of_a_container_bounds_the_threads(case: str, tmp_path: Path) -> None:
    files, expected = CASES[case]
    assert count_cores(_write(tmp_path, **files)) == expected


def test_other_processors_than_its_own_are_not_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {3, 5})
    assert count_cores(tmp_path) == 2
