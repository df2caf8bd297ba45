"""Readings: a step's losses and gradient norm, read once the device has come to them."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from melanoma.training.readings import Reading, start_reading

ROWS = np.array([4, 2], dtype=np.int64)


def test_a_reading_has_each_batch_s_loss_and_then_the_norm() -> None:
    losses = [torch.tensor(0.5, dtype=torch.bfloat16), torch.tensor(2.25, dtype=torch.float64)]
    reading = start_reading(losses, torch.tensor(7.0, dtype=torch.float64), [8, 2], ROWS)
    assert reading.values() == [0.5, 2.25, 7.0]
    assert reading.numbers.dtype == torch.float32
    assert reading.on_device.tolist() == reading.values()
    assert reading.sizes == (8, 2)
    assert reading.rows.tolist() == [4, 2]
    assert reading.copied is None, "nothing to wait for on a CPU"


def test_a_reading_holds_no_graph_and_nothing_that_changes_afterwards() -> None:
    weight = torch.ones((), requires_grad=True)
    loss, sizes = weight * 3, [1]
    reading = start_reading([loss], torch.tensor(1.0), sizes, ROWS)
    assert not reading.numbers.requires_grad
    with torch.no_grad():
        loss.mul_(0)
    sizes.append(9)
    assert reading.values() == [3.0, 1.0]
    assert reading.sizes == (1,)


def test_what_is_no_number_is_read_as_it_is() -> None:
    reading = start_reading([torch.tensor(float("inf"))], torch.tensor(float("nan")), [1], ROWS)
    infinite, missing = reading.values()
    assert infinite == float("inf") and missing != missing


def test_numbers_on_their_way_are_waited_for() -> None:
    host = torch.zeros(2)

    class Arrival:
        """A copy that is there only once somebody waited for it."""

        def synchronize(self) -> None:
            host.copy_(torch.tensor([0.5, 7.0]))

    copied: Any = Arrival()
    reading = Reading(host, torch.tensor([0.5, 7.0]), (3,), ROWS, copied)
    assert reading.values() == [0.5, 7.0]
