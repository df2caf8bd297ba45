"""What a batch's images drew, gathered by step: each image gets its own steps, in its own order."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from melanoma.data.device_augmentation import drawn_steps
from melanoma.data.device_augmentation.drawn_steps import gather_steps
from melanoma.data.device_augmentation.twins import Twin


def add(images: Tensor, by: Tensor) -> Tensor:
    return images + by[:, None, None, None]


def times(images: Tensor, factor: int) -> Tensor:
    return images * factor


TOYS = {
    "add": Twin(lambda step, size: {}, add),
    "times": Twin(lambda step, size: {}, times),
    "turn": Twin(lambda step, size: {}, lambda images: images.transpose(2, 3)),
}


@pytest.fixture(autouse=True)
def _toys(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, twin in TOYS.items():
        monkeypatch.setitem(drawn_steps.TWINS, name, twin)


def adding(place: int, by: int) -> tuple[int, str, Any]:
    return place, "add", {"by": np.uint8(by)}


def multiplying(place: int, factor: int) -> tuple[int, str, Any]:
    return place, "times", {"factor": factor}


def ones(count: int) -> Tensor:
    return torch.ones((count, 2, 2, 3), dtype=torch.uint8)


def values(pixels: Tensor) -> list[int]:
    assert (pixels.flatten(1) == pixels.flatten(1)[:, :1]).all()
    return [int(value) for value in pixels[:, 0, 0, 0]]


def test_each_image_goes_through_its_own_steps_in_the_order_of_the_recipe() -> None:
    drawn = gather_steps(
        [
            [adding(0, 3), multiplying(1, 5)],
            [multiplying(1, 5), adding(2, 3)],
            [],
            [adding(0, 10), adding(2, 20)],
        ]
    )
    assert values(drawn.apply(ones(4))) == [20, 8, 1, 31]


def test_images_with_one_step_go_through_it_together_and_those_of_other_numbers_apart() -> None:
    drawn = gather_steps(
        [
            [adding(0, 1), multiplying(1, 2)],
            [multiplying(1, 3)],
            [adding(0, 5), multiplying(1, 2)],
        ]
    )
    found = {(step.name, tuple(step.numbers.values())): step for step in drawn.steps}
    assert len(found) == len(drawn.steps) == 3
    together = found["add", ()]
    assert together.places.tolist() == [0, 2]
    assert together.arrays["by"].tolist() == [1, 5]
    assert found["times", (2,)].places.tolist() == [0, 2]
    assert found["times", (3,)].places.tolist() == [1]
    assert values(drawn.apply(ones(3))) == [4, 3, 12]


def test_arrays_of_other_shapes_go_apart() -> None:
    drawn = gather_steps([[(0, "add", {"by": np.zeros(size)})] for size in (2, 3, 2)])
    assert sorted(step.places.tolist() for step in drawn.steps) == [[0, 2], [1]]


def test_one_step_at_two_places_of_a_recipe_happens_twice() -> None:
    drawn = gather_steps([[adding(0, 1), adding(1, 1)], [adding(1, 1)]])
    assert values(drawn.apply(ones(2))) == [3, 2]


def test_the_pixels_that_are_given_stay_and_what_comes_is_theirs_turned_as_the_step_says() -> None:
    pixels = torch.arange(2 * 4 * 4 * 3, dtype=torch.uint8).view(2, 4, 4, 3)
    before = pixels.clone()
    found = gather_steps([[], [(0, "turn", {})]]).apply(pixels)
    assert torch.equal(pixels, before)
    assert torch.equal(found[0], pixels[0])
    assert torch.equal(found[1], pixels[1].transpose(0, 1))
    assert found.is_contiguous()


def test_a_worker_sends_them_as_they_are() -> None:
    drawn = gather_steps([[adding(0, 3)], [multiplying(1, 5)]])
    sent = pickle.dumps(drawn)
    assert b"torch" not in sent
    assert values(pickle.loads(sent).apply(ones(2))) == [4, 5]


def test_values_for_the_processor_stay_there(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[Any] = []

    def send(values: Tensor, device: torch.device) -> Tensor:
        sent.append(values.tolist())
        return values

    monkeypatch.setattr(drawn_steps, "send", send)
    monkeypatch.setitem(
        drawn_steps.TWINS,
        "add",
        Twin(lambda step, size: {}, lambda images, by, seed: images, frozenset({"seed"})),
    )
    step = (0, "add", {"by": np.float32(7), "seed": np.float32(9)})
    gather_steps([[step]]).apply(ones(1))
    assert sent == [[0], [7.0]]  # the places, and what the device needs
