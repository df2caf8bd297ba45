"""Color shifts of a batch: what becomes of each value, and of hue, saturation and value."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from melanoma.data.device_augmentation.color_shifts import (
    apply_hsv,
    apply_table,
    draw_brightness,
    draw_camera,
    draw_hsv,
)

VALUES = torch.arange(256, dtype=torch.uint8)


def noise(count: int, size: int = 16) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def test_each_image_goes_through_its_own_table_and_each_channel_through_its_own_row() -> None:
    images = noise(2)
    tables = torch.stack([torch.stack([255 - VALUES, VALUES, VALUES // 2]), VALUES.expand(3, -1)])
    found = apply_table(images, tables)
    assert torch.equal(found[0, 0], 255 - images[0, 0])
    assert torch.equal(found[0, 1], images[0, 1])
    assert torch.equal(found[0, 2], images[0, 2] // 2)
    assert torch.equal(found[1], images[1])


def test_one_row_is_for_all_channels() -> None:
    images = noise(2)
    tables = torch.stack([(255 - VALUES)[None], (VALUES // 3)[None]])
    found = apply_table(images, tables)
    assert torch.equal(found, torch.stack([255 - images[0], images[1] // 3]))


class Brighter:
    """A step as albumentations has it: what it draws, and what it makes of pixels by that."""

    def get_params_dependent_on_data(self, params: Any, data: Any) -> dict[str, Any]:
        return {"by": 10}

    def apply(self, image: Any, by: int) -> Any:
        return np.clip(image.astype(int) + by, 0, 255).astype(np.uint8)


def test_a_brightness_is_drawn_as_what_the_step_makes_of_every_value() -> None:
    table = draw_brightness(Brighter(), 32)["table"]
    assert table.shape == (1, 256)
    assert table[0].tolist() == [min(value + 10, 255) for value in range(256)]


def test_a_camera_s_table_is_drawn_by_channel() -> None:
    table = np.random.default_rng(0).integers(0, 256, (256, 3), np.uint8)
    step = SimpleNamespace(get_params_dependent_on_data=lambda params, data: {"table": table})
    drawn = draw_camera(step, 32)["table"]
    assert np.array_equal(drawn, table.T)
    assert drawn.flags.c_contiguous


def test_saturation_and_value_move_by_whole_numbers_and_hue_by_parts() -> None:
    drawn = {"hue_shift": 3.7, "sat_shift": -8.9, "val_shift": 12.9}
    found = draw_hsv(SimpleNamespace(get_params=lambda: drawn), 32)
    assert float(found["hue"]) == np.float32(3.7)
    assert (float(found["sat"]), float(found["val"])) == (-8.0, 12.0)


def shifted(images: Tensor, hue: float, sat: float, val: float) -> Tensor:
    by = (torch.full((len(images),), shift) for shift in (hue, sat, val))
    return apply_hsv(images, *by)


def as_hsv(image: Tensor) -> Any:
    return cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV).astype(int)


def test_no_shift_leaves_colors_as_opencv_s_way_there_and_back_does() -> None:
    images = noise(3)
    for ours, image in zip(shifted(images, 0.0, 0.0, 0.0), images, strict=True):
        there = cv2.cvtColor(image.permute(1, 2, 0).numpy(), cv2.COLOR_RGB2HSV)
        back = cv2.cvtColor(there, cv2.COLOR_HSV2RGB).astype(int)
        assert np.abs(ours.permute(1, 2, 0).numpy() - back).max() <= 2


def test_a_hue_goes_round_and_grays_have_none() -> None:
    red = torch.tensor([200, 0, 0], dtype=torch.uint8)[None, :, None, None].expand(1, 3, 4, 4)
    for by, wanted in ((60.0, (0, 200, 0)), (-60.0, (0, 0, 200)), (180.0, (200, 0, 0))):
        assert shifted(red, by, 0.0, 0.0)[0, :, 0, 0].tolist() == list(wanted)
    gray = torch.full((1, 3, 4, 4), 90, dtype=torch.uint8)
    assert torch.equal(shifted(gray, 60.0, 100.0, 0.0), gray)  # no color comes of none


def test_saturation_and_value_end_at_their_ends() -> None:
    images = noise(2)
    assert (as_hsv(shifted(images, 0.0, -255.0, 0.0)[0])[..., 1] == 0).all()
    bright, dark = (shifted(images, 0.0, 0.0, by)[0] for by in (255.0, -255.0))
    assert (bright.amax(dim=0) == 255).all()
    assert (dark == 0).all()


def test_each_image_moves_by_its_own_shift() -> None:
    images = noise(1).expand(3, -1, -1, -1)
    by = torch.tensor([0.0, 30.0, 90.0])
    together = apply_hsv(images, by, by, -by)
    for number, shift in enumerate(by.tolist()):
        assert torch.equal(together[number], shifted(images[:1], shift, shift, -shift)[0])
