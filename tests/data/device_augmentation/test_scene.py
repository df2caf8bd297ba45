"""Scenes of a batch: a vignette's shade, hairs over the picture, and holes in it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from melanoma.data.device_augmentation.scene import (
    apply_hair,
    apply_hole,
    apply_vignette,
    draw_hair,
    draw_hole,
    draw_vignette,
)
from melanoma.data.scene_augmentation import HAIR_TINT

SIZE = 33  # with a pixel in the middle


def even(level: int, count: int = 1) -> Tensor:
    return torch.full((count, 3, SIZE, SIZE), level, dtype=torch.uint8)


def test_a_vignette_is_bright_inside_and_falls_to_its_depth_outside() -> None:
    ring = torch.tensor([[0.0, 0.0, 0.5, 0.25, 0.6]])
    line = apply_vignette(even(200), ring)[0, 0, SIZE // 2].int()
    away = np.abs(np.linspace(-1, 1, SIZE))
    shade = 1 - 0.6 * ((away - 0.5) / 0.25).clip(0, 1)
    assert np.abs(line.numpy() - 200 * shade).max() <= 0.5001
    assert line[SIZE // 2] == 200 and line[0] == 80


def test_a_vignette_has_its_own_middle_across_and_down() -> None:
    rings = torch.tensor([[0.5, -0.25, 0.0, 0.5, 0.9], [0.0, 0.0, 9.0, 1.0, 0.9]])
    first, second = apply_vignette(even(240, 2), rings)
    brightest = divmod(int(first[0].argmax()), SIZE)
    assert brightest == (12, 24)  # down, across: (-0.25 + 1) * 16 and (0.5 + 1) * 16
    assert torch.equal(first[0], first[2])
    assert torch.equal(second, even(240)[0])


def test_a_ring_is_drawn_in_its_own_order() -> None:
    drawn = draw_vignette(SimpleNamespace(draw_ring=lambda: (0.1, 0.2, 0.3, 0.4, 0.5)), SIZE)
    assert drawn["ring"].tolist() == np.array([0.1, 0.2, 0.3, 0.4, 0.5], np.float32).tolist()


def hairs(*lines: tuple[list[tuple[int, int]], float, int]) -> Any:
    found = [(np.array(points, np.int32), shade, width) for points, shade, width in lines]
    return SimpleNamespace(get_params_dependent_on_data=lambda *_: {"hairs": found})


def test_a_hair_covers_its_line_and_spares_the_rest() -> None:
    drawn = draw_hair(hairs(([(0, 10), (SIZE, 10)], 30.0, 3)), SIZE)
    assert drawn["left"][10].max() == 0 and (drawn["added"][10] == 30).all()
    assert drawn["left"][20].min() == 1 and drawn["added"][20].max() == 0


def test_of_crossing_hairs_the_later_one_lies_above() -> None:
    across, down = ([(0, 10), (SIZE, 10)], 30.0, 3), ([(16, 0), (16, SIZE)], 90.0, 3)
    for first, last in ((across, down), (down, across)):
        drawn = draw_hair(hairs(first, last), SIZE)
        assert drawn["added"][10, 16] == last[1]
        assert drawn["left"][10, 16] == 0


def test_a_hair_s_color_is_its_shade_in_the_hairs_tint_over_what_is_left() -> None:
    left = torch.tensor([0.0, 0.5, 1.0]).view(3, 1, 1).expand(3, SIZE, SIZE)
    added = torch.tensor([100.0, 40.0, 0.0]).view(3, 1, 1).expand(3, SIZE, SIZE)
    found = apply_hair(even(200, 3), left, added)
    for number, (share, plus) in enumerate(((0.0, 100.0), (0.5, 40.0), (1.0, 0.0))):
        wanted = [round(200 * share + plus * tint) for tint in HAIR_TINT]
        assert np.abs(found[number, :, 3, 3].numpy() - np.array(wanted)).max() <= 1
    assert len(set(HAIR_TINT)) > 1
    whole, bright = torch.ones(1, SIZE, SIZE), torch.full((1, SIZE, SIZE), 99.0)
    assert apply_hair(even(250), whole, bright).max() == 255


def test_a_hole_is_black_from_left_and_top_to_before_right_and_bottom() -> None:
    holes = torch.tensor([[3, 5, 10, 20], [0, 0, 0, 0]], dtype=torch.int32)
    images = even(77, 2)
    first, second = apply_hole(images, holes)
    wanted = even(77)[0]
    wanted[:, 5:20, 3:10] = 0
    assert torch.equal(first, wanted)
    assert torch.equal(second, images[1])
    assert images.min() == 77  # those that were given stay


def test_the_one_hole_of_a_step_is_drawn() -> None:
    holes = {"holes": np.array([[1, 2, 3, 4]])}
    drawn = draw_hole(SimpleNamespace(get_params_dependent_on_data=lambda *_: holes), SIZE)
    assert drawn["hole"].tolist() == [1, 2, 3, 4]
