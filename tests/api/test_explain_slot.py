"""One explanation at a time, within its deadline, and only while somebody waits for it."""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from functools import partial

import pytest

from api import explain_slot
from api.error_answers import Refusal
from api.explain_slot import ExplainSlot
from melanoma.data.images import decode_image
from melanoma.errors import ExplanationError
from melanoma.scoring.explain.explainers import explain_lime


class Work:
    """A function that works until it is let go or told to stop, and says which it was."""

    def __init__(self) -> None:
        self.started, self.go = threading.Event(), threading.Event()
        self.stopped = False

    def __call__(self, *, deadline, should_stop):
        self.started.set()
        until = time.monotonic() + 30
        while not self.go.is_set() and time.monotonic() < until:
            if should_stop():
                self.stopped = True
                raise ExplanationError("stopped")
            time.sleep(0.01)
        return deadline


async def started(work: Work) -> None:
    while not work.started.is_set():
        await asyncio.sleep(0.01)


def test_a_second_explanation_is_refused_until_the_first_has_ended():
    slot, work = ExplainSlot(deadline=7.0), Work()

    async def scenario():
        first = asyncio.create_task(slot.run(work))
        await started(work)
        assert slot.busy
        for _ in range(2):
            with pytest.raises(Refusal) as refusal:
                await slot.run(Work())
            assert refusal.value.code == "busy"
        work.go.set()
        assert await first == 7.0, "the function is given the deadline"
        assert not slot.busy
        again = Work()
        again.go.set()
        assert await slot.run(again) == 7.0

    asyncio.run(scenario())


def test_it_stops_when_the_caller_has_left_and_the_slot_is_free():
    slot, work = ExplainSlot(), Work()
    left: list[bool] = []
    asked: list[bool] = []

    async def disconnected():
        asked.append(bool(left))
        return bool(left)

    async def scenario():
        task = asyncio.create_task(slot.run(work, disconnected=disconnected))
        await started(work)
        while len(asked) < 3:
            await asyncio.sleep(0.01)
        assert not work.stopped
        left.append(True)
        with pytest.raises(ExplanationError):
            await task
        assert not slot.busy

    asyncio.run(scenario())
    assert work.stopped
    assert asked.count(True) == 1, "it is told at the first look that finds nobody"


def test_a_cancelled_call_stops_the_work_and_keeps_the_slot_until_it_has_ended():
    slot, work = ExplainSlot(), Work()

    async def scenario():
        task = asyncio.create_task(slot.run(work))
        await started(work)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        while slot.busy:
            await asyncio.sleep(0.01)
        assert work.stopped
        assert not slot.busy

    asyncio.run(scenario())


def test_what_the_function_raises_is_raised_and_frees_the_slot():
    slot = ExplainSlot()

    def fail(**_):
        raise ZeroDivisionError

    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            asyncio.run(slot.run(fail))
    assert not slot.busy


def test_lime_keeps_its_deadline_in_the_slot(scorer, photograph):
    slot = ExplainSlot(deadline=0.001)
    lime = partial(explain_lime, scorer, decode_image(photograph).pixels, precision="High")
    with pytest.raises(ExplanationError, match="deadline"):
        asyncio.run(slot.run(lime))


def test_lime_stops_in_the_middle_when_its_caller_leaves(scorer, photograph):
    slot = ExplainSlot(deadline=60.0)
    asked: list[int] = []

    pixels = decode_image(photograph).pixels

    async def left():
        return len(asked) == 2

    def explain(*, deadline, should_stop):
        # Stands at the second of the members until the caller has gone.
        def stopping():
            asked.append(1)
            while len(asked) == 2 and not should_stop():
                time.sleep(0.01)
            return should_stop()

        return explain_lime(
            scorer, pixels, precision="High", deadline=deadline, should_stop=stopping
        )

    with pytest.raises(ExplanationError, match="stopped after 1 of 1000"):
        asyncio.run(slot.run(explain, disconnected=left))
    assert len(asked) == 2, "it stops before the next member, not after the batch"


def test_a_slot_that_is_being_freed_is_waited_for():
    slot, work, again = ExplainSlot(), Work(), Work()
    again.go.set()

    async def left():
        return True

    async def scenario():
        first = asyncio.create_task(slot.run(work, disconnected=left))
        await started(work)
        # Before the slot has looked whether anybody waits, and while its step is under way.
        await slot.run(again)
        with pytest.raises(ExplanationError):
            await first

    asyncio.run(scenario())
    assert again.started.is_set()


def test_when_the_service_ends_the_explanation_is_stopped_and_none_begins():
    slot, work = ExplainSlot(), Work()

    async def scenario():
        task = asyncio.create_task(slot.run(work))
        await started(work)
        slot.leave()
        for one in (task, slot.run(Work())):
            with pytest.raises(Refusal) as refusal:
                await one
            assert refusal.value.code == "not_ready"

    asyncio.run(scenario())
    assert work.stopped


@pytest.mark.skipif(sys.platform != "linux", reason="needs priorities of threads, as Linux has")
def test_the_slot_works_at_a_low_priority_and_nobody_else_does():
    found: list[int] = []

    def look(*, deadline, should_stop):
        del deadline, should_stop
        inherited = threading.Thread(target=lambda: found.append(_niceness()))
        inherited.start()
        inherited.join()
        found.append(_niceness())

    before = _niceness()
    asyncio.run(ExplainSlot().run(look))
    assert _niceness() == before
    assert found == [min(19, before + explain_slot._NICENESS)] * 2


def _niceness() -> int:
    return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())


def test_it_rests_between_its_steps_while_scores_wait_and_not_when_it_is_to_stop():
    stop, waiting, rests = threading.Event(), [True, True, False], []

    def others_wait() -> bool:
        rests.append(1)
        return waiting.pop(0) if waiting else True

    steps = explain_slot._Steps(stop, others_wait)
    time.sleep(0.05)
    before = time.monotonic()
    assert not steps()
    rested = time.monotonic() - before
    assert len(rests) >= 2, "it looked again whether they still wait"
    assert rested > 0.05, "longer than its step took"
    stop.set()
    assert steps()


def test_without_scores_it_does_not_rest(monkeypatch):
    stop = threading.Event()
    monkeypatch.setattr(stop, "wait", lambda *_: pytest.fail("it rests"))
    assert not explain_slot._Steps(stop, lambda: False)()
