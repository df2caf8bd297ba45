"""Photographs that come together are scored together, and answered as if each had come alone."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from PIL import Image
from tiny_service import encode

import api.batching
from api.batching import MicroBatcher
from api.decoding import decode_square
from api.error_answers import Refusal
from melanoma.data.images import decode_image
from melanoma.errors import ImageError, ScoreError
from melanoma.scoring.prediction import Prediction
from melanoma.scoring.scorer import Scorer


class Watched(Scorer):
    """The real scorer, which notes its batches and its threads, and waits while it is held."""

    def __init__(self, scorer: Scorer) -> None:
        self.__dict__.update(scorer.__dict__)
        self.sizes: list[int] = []
        self.threads: set[int] = set()
        self.go = threading.Event()
        self.go.set()
        self.entered = threading.Event()

    def member_probabilities(self, squares):
        self.entered.set()
        assert self.go.wait(30)
        self.sizes.append(len(squares))
        self.threads.add(threading.get_ident())
        return super().member_probabilities(squares)


@pytest.fixture
def watched(scorer: Scorer) -> Watched:
    return Watched(scorer)


@pytest.fixture
def files(bundle_folder) -> list[bytes]:
    found = sorted((bundle_folder.parent / "data" / "jpeg").rglob("*.jpg"))[:12]
    return [file.read_bytes() for file in found]


@pytest.fixture(autouse=True)
def _decoder_runs(scorer: Scorer) -> None:
    """As in a service that is ready; a start takes longer than some tests wait."""
    decode_square(scorer, np_photograph())


async def _held(batcher: MicroBatcher, scorer: Watched, work: Sequence[Any]) -> list[Any]:
    """The results of `work`, all of which came while a first photograph was being scored."""
    scorer.go.clear()
    first = asyncio.create_task(batcher.score(scorer, [np_photograph()]))
    while not scorer.entered.is_set():
        await asyncio.sleep(0.01)
    tasks = [asyncio.create_task(batcher.score(scorer, part)) for part in work]
    await _decoded(batcher)
    scorer.go.set()
    await first
    return list(await asyncio.gather(*tasks))


async def _decoded(batcher: MicroBatcher) -> None:
    """Return when all that has been handed in waits for its score."""
    await asyncio.sleep(0.05)
    while batcher._decoding:
        await asyncio.sleep(0.01)


def np_photograph() -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (40, 40, 3), dtype=np.uint8)
    return encode(Image.fromarray(pixels))


def test_what_waits_together_is_scored_together_and_as_if_alone(watched, scorer, files):
    batcher = MicroBatcher(waiting=32, largest=4)
    found = asyncio.run(_held(batcher, watched, [[file] for file in files[:10]]))
    assert watched.sizes == [1, 4, 4, 2]
    assert len(watched.threads) == 1
    for file, (prediction,) in zip(files, found, strict=False):
        alone = scorer.score(file)
        assert prediction.melanoma_probability == pytest.approx(
            alone.melanoma_probability, abs=1e-5
        )
        assert prediction.by_fold == pytest.approx(alone.by_fold, abs=1e-5)
        assert prediction.warnings == alone.warnings
    probabilities = {prediction.melanoma_probability for (prediction,) in found}
    assert len(probabilities) == len(found), "the answers could be exchanged unseen"


def test_photographs_that_come_at_once_make_one_batch_without_a_queue_before_them(watched, files):
    batcher = MicroBatcher(waiting=32, largest=8, wait=10.0)

    async def scenario():
        return await asyncio.gather(*(batcher.score(watched, [file]) for file in files[:5]))

    asyncio.run(asyncio.wait_for(scenario(), 5))
    assert watched.sizes == [5], "the first should have waited for those being decoded"


def test_a_lone_photograph_waits_for_nobody(watched, files):
    batcher = MicroBatcher(waiting=32, wait=60.0)
    asyncio.run(asyncio.wait_for(batcher.score(watched, files[:1]), 20))
    assert watched.sizes == [1]


def test_company_is_waited_for_no_longer_than_the_limit(watched, files, monkeypatch):
    held = threading.Event()
    slow, decode = files[1], api.batching.decode_square

    def hold(scorer, data):
        assert data != slow or held.wait(30)
        return decode(scorer, data)

    monkeypatch.setattr(api.batching, "decode_square", hold)
    batcher = MicroBatcher(waiting=32, wait=0.01)

    async def scenario():
        late = asyncio.create_task(batcher.score(watched, [slow]))
        await asyncio.wait_for(batcher.score(watched, files[:1]), 20)
        assert not late.done()
        held.set()
        await late

    asyncio.run(scenario())
    assert watched.sizes == [1, 1]


def test_decoded_photographs_are_scored_too(watched, scorer, files):
    batcher = MicroBatcher(waiting=4)
    (found,) = asyncio.run(batcher.score(watched, [decode_image(files[0])]))
    assert isinstance(found, Prediction)
    assert found.by_class == pytest.approx(scorer.score(files[0]).by_class, abs=1e-5)


def test_a_bad_file_harms_nobody_and_keeps_its_place(watched, scorer, files):
    batcher = MicroBatcher(waiting=32)
    sent = [files[0], b"no photograph", files[1], files[2][: len(files[2]) // 2]]
    found = asyncio.run(batcher.score(watched, sent))
    assert [type(outcome) for outcome in found] == [Prediction, ImageError, Prediction, ImageError]
    assert found[2].by_fold == pytest.approx(scorer.score(files[1]).by_fold, abs=1e-5)
    assert batcher.present == 0


def test_a_photograph_on_which_the_network_fails_fails_alone(watched, scorer, files):
    poison = scorer.square(decode_image(files[1]).pixels)
    score = watched.member_probabilities

    def fail(squares):
        if any(np.array_equal(square, poison) for square in squares):
            raise RuntimeError("out of memory")
        return score(squares)

    watched.member_probabilities = fail
    batcher = MicroBatcher(waiting=32, wait=5)
    found = asyncio.run(batcher.score(watched, files[:4]))
    kinds = [type(outcome) for outcome in found]
    assert kinds == [Prediction, RuntimeError, Prediction, Prediction]
    assert found[3].by_fold == pytest.approx(scorer.score(files[3]).by_fold, abs=1e-5)
    assert watched.sizes == [1, 1, 1], "the good ones are scored again, one by one"


def test_a_batch_too_large_for_the_memory_is_scored_one_by_one(watched, files):
    score = watched.member_probabilities

    def fail(squares):
        if len(squares) > 1:
            raise MemoryError
        return score(squares)

    watched.member_probabilities = fail
    found = asyncio.run(MicroBatcher(waiting=32).score(watched, files[:3]))
    assert all(isinstance(outcome, Prediction) for outcome in found)


def test_an_answer_that_is_no_number_is_one_photographs_alone(watched, scorer, files):
    poison = scorer.square(decode_image(files[0]).pixels)
    logits = watched.member_logits

    def spoil(squares):
        found = logits(squares)
        found[[np.array_equal(square, poison) for square in squares]] = np.nan
        return found

    watched.member_logits = spoil
    found = asyncio.run(MicroBatcher(waiting=32).score(watched, files[:3]))
    assert [type(outcome) for outcome in found] == [ScoreError, Prediction, Prediction]


def test_scorers_are_not_mixed_and_none_is_left_behind(scorer, files):
    one, other = Watched(scorer), Watched(scorer)
    batcher = MicroBatcher(waiting=32, largest=4)

    async def scenario():
        one.go.clear()
        first = asyncio.create_task(batcher.score(one, files[:1]))
        while not one.entered.is_set():
            await asyncio.sleep(0.01)
        tasks = [
            asyncio.create_task(batcher.score(who, [file]))
            for who, file in zip([one, other, one, other], files[1:5], strict=True)
        ]
        await _decoded(batcher)
        one.go.set()
        await asyncio.gather(first, *tasks)

    asyncio.run(asyncio.wait_for(scenario(), 30))
    assert (one.sizes, other.sizes) == ([1, 2], [2])


def test_a_request_of_many_lets_the_others_in_between(watched, files):
    batcher = MicroBatcher(waiting=32, largest=2)
    order: list[str] = []

    async def scenario():
        async def ask(name, part):
            await batcher.score(watched, part)
            order.append(name)

        watched.go.clear()
        many = asyncio.create_task(ask("many", files))
        while not watched.entered.is_set():
            await asyncio.sleep(0.01)
        single = asyncio.create_task(ask("single", files[:1]))
        await _decoded(batcher)
        watched.go.set()
        await asyncio.gather(many, single)

    asyncio.run(scenario())
    assert order == ["single", "many"]
    assert sum(watched.sizes) == len(files) + 1


def test_there_is_room_for_those_that_may_wait_and_for_no_more(watched, files):
    batcher = MicroBatcher(waiting=2)

    async def scenario():
        watched.go.clear()
        tasks = [asyncio.create_task(batcher.score(watched, files[:1])) for _ in range(3)]
        await asyncio.sleep(0)
        assert batcher.present == 3
        # A queue without a limit would take them and never answer: the network waits for `go`.
        try:
            with pytest.raises(Refusal) as refusal:
                await asyncio.wait_for(batcher.score(watched, files[:1]), 20)
            with pytest.raises(Refusal):
                await asyncio.wait_for(batcher.run(len, "abc"), 20)
        finally:
            watched.go.set()
        assert refusal.value.code == "busy"
        await asyncio.gather(*tasks)
        assert await batcher.run(len, "abc") == 3

    asyncio.run(scenario())
    assert batcher.present == 0


def test_a_request_of_many_is_taken_when_nobody_waits_however_small_the_queue(watched, files):
    batcher = MicroBatcher(waiting=0, largest=8)
    found = asyncio.run(batcher.score(watched, files))
    assert all(isinstance(outcome, Prediction) for outcome in found)


def test_who_has_gone_is_not_scored(watched, files):
    batcher = MicroBatcher(waiting=8)

    async def scenario():
        watched.go.clear()
        first = asyncio.create_task(batcher.score(watched, files[:1]))
        while not watched.entered.is_set():
            await asyncio.sleep(0.01)
        gone = asyncio.create_task(batcher.score(watched, files[1:2]))
        await _decoded(batcher)
        gone.cancel()
        await asyncio.sleep(0.05)
        watched.go.set()
        await first
        await batcher.score(watched, files[2:3])

    asyncio.run(scenario())
    assert watched.sizes == [1, 1]
    assert batcher.present == 0


def test_a_batcher_outlives_the_event_loop_that_left_work_behind(watched, files):
    batcher = MicroBatcher(waiting=8)

    async def leave():
        watched.go.clear()
        tasks = [asyncio.create_task(batcher.score(watched, files[:1])) for _ in range(3)]
        await asyncio.sleep(0.5)
        assert not any(task.done() for task in tasks)
        watched.go.set()

    asyncio.run(leave())
    assert batcher.present == 0
    (found,) = asyncio.run(asyncio.wait_for(batcher.score(watched, files[:1]), 20))
    assert isinstance(found, Prediction)


def test_big_photographs_have_a_pool_of_their_own(watched, files, monkeypatch):
    inside = most = 0
    lock, held, decode = threading.Lock(), threading.Event(), api.batching.decode_square
    big = encode(Image.new("RGB", (200, 200), "brown"))
    monkeypatch.setattr(api.batching, "BIG_PIXELS", 100 * 100)

    def hold(scorer, data):
        nonlocal inside, most
        if data == big:
            with lock:
                inside += 1
                most = max(most, inside)
            assert held.wait(30)
            inside -= 1
        return decode(scorer, data)

    monkeypatch.setattr(api.batching, "decode_square", hold)
    batcher = MicroBatcher(waiting=15)  # 16 places, a quarter of them for big ones

    async def scenario():
        tasks = [asyncio.create_task(batcher.score(watched, [big])) for _ in range(4)]
        await asyncio.sleep(0.3)
        # The small ones pass by, and a fifth big one is refused while there is room for others.
        small = await asyncio.wait_for(batcher.score(watched, files[:2]), 20)
        assert all(isinstance(outcome, Prediction) for outcome in small)
        (fifth,) = await batcher.score(watched, [big])
        assert isinstance(fifth, Refusal)
        assert fifth.code == "busy"
        held.set()
        return [outcome for (outcome,) in await asyncio.gather(*tasks)]

    found = asyncio.run(scenario())
    assert most == 1
    assert all(isinstance(outcome, Prediction) for outcome in found)


def test_batches_are_told_to_whoever_counts_them(watched, files):
    told: list[tuple[int, str]] = []
    batcher = MicroBatcher(
        waiting=8, on_batch=lambda size, scorer: told.append((size, scorer.bundle.name))
    )
    asyncio.run(batcher.score(watched, files[:3]))
    # How many go together depends on when they are decoded.
    assert [size for size, _ in told] == watched.sizes and sum(watched.sizes) == 3
    assert {name for _, name in told} == {"tiny"}


def test_who_has_waited_too_long_is_refused_and_costs_no_score(watched, files):
    async def ask() -> list[Any]:
        batcher = MicroBatcher(waiting=8, patience=1)
        watched.go.clear()
        first = asyncio.create_task(batcher.score(watched, [files[0]]))
        while not watched.entered.is_set():
            await asyncio.sleep(0.01)
        # The first is being scored, however long that takes; the second only waits.
        second = await batcher.score(watched, [files[1]])
        watched.go.set()
        found = [*second, *await first, *await batcher.score(watched, [files[2]])]
        assert batcher.present == 0
        return found

    late, first, third = asyncio.run(ask())
    assert isinstance(late, Refusal)
    assert late.code == "busy"
    assert isinstance(first, Prediction)
    assert isinstance(third, Prediction)
    assert watched.sizes == [1, 1]
