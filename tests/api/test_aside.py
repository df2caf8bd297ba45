"""What is done beside the event loop, and what large uploads leave to the others."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from itertools import pairwise

import pytest

from api import aside
from api.app import ROUTERS
from api.bodies import Bodies
from api.uploads import read_files

LARGE = 256 * 1024


def test_work_beside_the_loop_is_done_by_few_threads_that_are_not_its_own() -> None:
    async def ask() -> set[int]:
        asked = [aside.run_aside(threading.get_ident) for _ in range(20)]
        return {*await asyncio.gather(*asked)}

    threads = asyncio.run(ask())
    assert threading.get_ident() not in threads
    assert len(threads) <= aside._THREADS


@pytest.mark.skipif(sys.platform != "linux", reason="needs priorities of threads, as Linux has")
def test_threads_beside_the_loop_go_behind_it() -> None:
    before = os.getpriority(os.PRIO_PROCESS, threading.get_native_id())
    found = asyncio.run(aside.run_aside(_niceness))
    assert found == min(19, before + aside.NICENESS)
    assert _niceness() == before


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_no_dependency_of_a_route_takes_a_thread() -> None:
    """FastAPI runs what is no coroutine in a thread: three of them cost more than a refusal."""
    taken = [
        f"{route.path}: {one.call.__name__}"
        for router in ROUTERS
        for route in router.routes
        for one in _all(route.dependant)
        if one.call is not None and not _is_async(one.call)
    ]
    assert not taken


def _all(dependant):
    return [dependant, *(more for one in dependant.dependencies for more in _all(one))]


def _is_async(call) -> bool:
    method = getattr(call, "__call__", None)  # noqa: B004  (a security scheme is an object)
    return asyncio.iscoroutinefunction(call) or asyncio.iscoroutinefunction(method)


def test_large_chunks_of_many_uploads_take_a_step_of_the_loop_each() -> None:
    async def read(size: int) -> list[int]:
        bodies, step, steps = Bodies(most=1, seconds=1), 0, []

        async def count() -> None:
            nonlocal step
            while True:
                step += 1
                await asyncio.sleep(0)

        async def upload() -> None:
            for _ in range(3):
                await bodies.take_turn(size)
                steps.append(step)

        counting = asyncio.create_task(count())
        await asyncio.gather(*(upload() for _ in range(5)))
        counting.cancel()
        return steps

    steps = asyncio.run(read(LARGE))
    assert len(steps) == 15
    assert all(one < other for one, other in pairwise(sorted(steps)))
    assert len(set(asyncio.run(read(1000)))) < 5  # small ones wait for nobody


@pytest.mark.parametrize(("size", "is_loops"), [(1000, True), (900_000, False)])
def test_megabytes_are_put_together_off_the_loop(size: int, is_loops: bool) -> None:
    threads: list[int] = []

    class File:
        def read(self) -> bytes:
            threads.append(threading.get_ident())
            return b"x"

    class Upload:
        file = File()

        def __init__(self) -> None:
            self.size = size

    found = asyncio.run(read_files([Upload(), Upload()]))
    assert found == [b"x", b"x"]
    assert {one == threading.get_ident() for one in threads} == {is_loops}
