"""Geometry of a batch: pixels are read where a matrix, a lens, a grid or a field sends them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from melanoma.data.device_augmentation.geometry import (
    apply_affine,
    apply_elastic,
    apply_grid,
    apply_optical,
    apply_perspective,
    draw_elastic,
    draw_grid,
    draw_matrix,
    draw_optical,
    remap,
)
from melanoma.data.elastic import SIGMA, shapes

SIZE = 24
BORDERS = {
    "reflection": cv2.BORDER_REFLECT_101,
    "zeros": cv2.BORDER_CONSTANT,
    "border": cv2.BORDER_REPLICATE,
}


def noise(count: int = 2, size: int = SIZE) -> Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randint(0, 256, (count, 3, size, size), generator=generator, dtype=torch.uint8)


def by_opencv(image: Tensor, x: Any, y: Any, border: int) -> Any:
    pixels = image.permute(1, 2, 0).numpy()
    maps = (np.float32(x), np.float32(y))
    return cv2.remap(pixels, *maps, cv2.INTER_LINEAR, borderMode=border).transpose(2, 0, 1)


@pytest.mark.parametrize("padding", BORDERS)
def test_pixels_are_read_as_opencv_reads_them_also_beyond_the_border(padding: str) -> None:
    images = noise()
    rng = np.random.default_rng(0)
    # In 32nds of a pixel, the steps of OpenCV's own table.
    x, y = rng.integers(-10 * 32, (SIZE + 10) * 32, (2, 2, SIZE, SIZE)).astype(np.float32) / 32
    found = remap(images, torch.from_numpy(x), torch.from_numpy(y), padding)
    for number in range(2):
        wanted = by_opencv(images[number], x[number], y[number], BORDERS[padding])
        assert np.abs(found[number].numpy().astype(int) - wanted).max() <= 1


def affine(*rows: tuple[float, float, float]) -> Tensor:
    return torch.tensor([[*rows, (0.0, 0.0, 1.0)]])


def test_a_matrix_says_where_each_pixel_comes_from() -> None:
    images = noise(1)
    still = apply_affine(images, affine((1, 0, 0), (0, 1, 0)))
    assert torch.equal(still, images)
    moved = apply_affine(images, affine((1, 0, 3), (0, 1, -2)))  # three to the left, two down
    assert torch.equal(moved[:, :, 2:, : SIZE - 3], images[:, :, : SIZE - 2, 3:])
    assert torch.equal(moved[:, :, 0], moved[:, :, 4])  # mirrored about the border's own pixel
    turned = apply_affine(images, affine((0, 1, 0), (1, 0, 0)))
    assert torch.equal(turned, images.transpose(2, 3))


def test_each_image_goes_by_its_own_matrix() -> None:
    images = noise(1).expand(2, -1, -1, -1)
    matrices = torch.cat([affine((1, 0, 5), (0, 1, 0)), affine((1, 0, 0), (0, 1, 5))])
    for apply in (apply_affine, apply_perspective):
        found = apply(images, matrices)
        assert torch.equal(found[0, :, :, : SIZE - 5], images[0, :, :, 5:])
        assert torch.equal(found[1, :, : SIZE - 5], images[1, :, 5:])


def test_a_perspective_divides_by_the_depth_and_replicates_the_border() -> None:
    images = noise(1)
    matrix = torch.tensor([[[1.1, 0.1, -2.0], [0.05, 0.9, 1.0], [0.004, 0.002, 1.0]]])
    found = apply_perspective(images, matrix)[0].numpy().astype(int)
    y, x = np.indices((SIZE, SIZE))
    rows = [row[0] * x + row[1] * y + row[2] for row in matrix[0].numpy()]
    wanted = by_opencv(images[0], rows[0] / rows[2], rows[1] / rows[2], cv2.BORDER_REPLICATE)
    apart = np.abs(found - wanted)
    assert apart.max() <= 8 and apart.mean() < 1  # OpenCV reads at whole 32nds of a pixel
    twice = apply_perspective(images, 2 * matrix)[0].numpy()
    assert np.abs(found - twice).max() <= 1


def test_a_step_s_matrix_is_drawn_inverted_and_of_full_size() -> None:
    matrix = np.array([[0.5, 0.2, 3.0], [-0.1, 2.0, -4.0]])
    for given in (matrix, np.vstack([matrix, [0, 0, 1]])):
        found = {"matrix": given}
        step = SimpleNamespace(get_params_dependent_on_data=lambda *_, found=found: found)
        drawn = draw_matrix(step, SIZE)["matrix"]
        assert drawn.dtype == np.float32
        assert drawn @ np.vstack([matrix, [0, 0, 1]]) == pytest.approx(np.eye(3), abs=1e-6)


def test_a_lens_that_does_not_bend_shifts_by_half_a_pixel_and_one_that_does_moves_the_corners() -> (
    None
):
    """OpenCV's new camera has its middle at (size - 1) / 2, albumentations' own at size / 2."""
    images = noise(1)
    flat = apply_optical(images, torch.zeros(1))[0]
    places = np.arange(SIZE, dtype=np.float32) + 0.5
    wanted = by_opencv(images[0], *np.meshgrid(places, places), cv2.BORDER_CONSTANT)
    assert np.abs(flat.numpy().astype(int) - wanted).max() <= 1
    white = torch.full((2, 3, SIZE, SIZE), 255, dtype=torch.uint8)
    outward, inward = apply_optical(white, torch.tensor([0.5, -0.3]))
    assert outward[:, 0, 0].max() == 0  # read from beyond the picture
    assert outward[:, SIZE // 2, SIZE // 2].min() == 255
    assert inward[:, 0, 0].min() == 255


def test_a_lens_is_drawn_from_its_limits() -> None:
    step = SimpleNamespace(
        distort_limit=(-0.2, 0.3), py_random=SimpleNamespace(uniform=lambda low, high: low + high)
    )
    assert float(draw_optical(step, SIZE)["bend"]) == pytest.approx(0.1)


def test_columns_and_rows_are_read_elsewhere_each_its_own_and_black_beside() -> None:
    images = noise(2)
    line = torch.arange(SIZE, dtype=torch.float32)
    columns = torch.stack([line.flip(0), line + 4])
    rows = torch.stack([line, line.flip(0)])
    found = apply_grid(images, columns, rows)
    assert torch.equal(found[0], images[0].flip(2))
    assert torch.equal(found[1, :, :, : SIZE - 4], images[1].flip(1)[:, :, 4:])
    assert found[1, :, :, SIZE - 4 :].max() == 0


def test_a_grid_is_drawn_as_one_line_of_columns_and_one_of_rows() -> None:
    x, y = np.meshgrid(np.linspace(0, 9, SIZE), np.linspace(3, 5, SIZE))
    step = SimpleNamespace(get_params_dependent_on_data=lambda *_: {"map_x": x, "map_y": y})
    drawn = draw_grid(step, SIZE)
    assert np.allclose(drawn["columns"], np.linspace(0, 9, SIZE))
    assert np.allclose(drawn["rows"], np.linspace(3, 5, SIZE))


def test_a_field_is_the_product_of_its_factors_x_above_y() -> None:
    images = noise(2)
    across = shapes(SIZE, SIGMA)
    rng = np.random.default_rng(1)
    left = rng.normal(0, 1, (2, 2 * SIZE, across.shape[1])).astype(np.float32)
    left[0] = 0
    found = apply_elastic(images, torch.from_numpy(left))
    assert torch.equal(found[0], images[0])
    field = left[1] @ across.T
    y, x = np.indices((SIZE, SIZE))
    places = (field[:SIZE] + x, field[SIZE:] + y)
    wanted = by_opencv(images[1], *places, cv2.BORDER_CONSTANT)
    apart = np.abs(found[1].numpy().astype(int) - wanted)
    assert np.abs(field).max() > 1  # pixels move
    assert apart.mean() < 1.5 and apart.max() <= 12


def test_a_field_is_drawn_for_the_size_of_the_image() -> None:
    asked: list[tuple[int, int]] = []
    step = SimpleNamespace(draw_left=lambda height, width: asked.append((height, width)))
    draw_elastic(step, 48)
    assert asked == [(48, 48)]
