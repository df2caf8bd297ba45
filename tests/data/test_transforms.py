"""Augmentations: seeded, same shape, strictly configured. Tensors and views: exact."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from melanoma.data.phantom_images import draw_phantom
from melanoma.data.transforms import (
    NORMALIZATIONS,
    TRANSFORMS,
    Augmentation,
    dihedral_views,
    to_tensor,
)
from melanoma.errors import RecipeError

Pixels = npt.NDArray[np.uint8]

SURE: dict[str, dict[str, Any]] = {name: {"p": 1.0} for name in TRANSFORMS} | {
    "one_of": {"of": [{"transpose": {"p": 1.0}}, {"gauss_noise": {"std": 0.2}}], "p": 1.0}
}
# These do one thing only: with p = 1 nothing is left to chance.
FIXED = {"flip_horizontal", "flip_vertical", "transpose"}


@pytest.fixture(scope="module")
def picture() -> Pixels:
    return draw_phantom(melanoma=True, rng=np.random.default_rng(8), size=128)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_step_changes_the_picture_and_keeps_its_shape_and_type(
    name: str, picture: Pixels
) -> None:
    before = picture.copy()
    augment = Augmentation([{name: SURE[name]}])
    results = [augment(picture, seed=seed) for seed in range(4)]
    assert np.array_equal(picture, before), "the original was written to"
    for result in results:
        assert result.shape == picture.shape
        assert result.dtype == np.uint8
    assert any(not np.array_equal(result, picture) for result in results)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_step_follows_its_seed_whatever_came_before(name: str, picture: Pixels) -> None:
    step = [{name: SURE[name]}]
    first = [Augmentation(step)(picture, seed=seed) for seed in range(6)]
    np.random.seed(99)  # the global generators must not matter
    used = Augmentation(step)
    backwards = [used(picture, seed=seed) for seed in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, backwards, strict=True))
    different = len({result.tobytes() for result in first})
    assert different == 1 if name in FIXED else different > 1


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_step_with_p_0_does_nothing(name: str, picture: Pixels) -> None:
    augment = Augmentation([{name: {**SURE[name], "p": 0.0}}])
    assert all(np.array_equal(augment(picture, seed=seed), picture) for seed in range(3))


def test_a_step_with_p_half_happens_about_every_other_time(picture: Pixels) -> None:
    augment = Augmentation([{"flip_horizontal": {}}])
    flips = sum(not np.array_equal(augment(picture, seed=seed), picture) for seed in range(400))
    assert 160 < flips < 240


def test_no_steps_give_the_picture_itself(picture: Pixels) -> None:
    assert np.array_equal(Augmentation([])(picture, seed=1), picture)


def test_flips_and_transposition_are_what_they_are_called(picture: Pixels) -> None:
    wanted = {
        "flip_horizontal": picture[:, ::-1],
        "flip_vertical": picture[::-1],
        "transpose": picture.transpose(1, 0, 2),
    }
    for name, result in wanted.items():
        assert np.array_equal(Augmentation([{name: {"p": 1}}])(picture, seed=0), result)


def test_moving_and_turning_leave_no_black_border() -> None:
    """A wedge that no photograph has would tell training from validation."""
    skin = np.full((48, 48, 3), (210, 170, 150), np.uint8)
    strong = {"shift": 0.3, "scale": 0.3, "rotate": 45, "p": 1}
    for seed in range(20):
        moved = Augmentation([{"shift_scale_rotate": strong}])(skin, seed=seed)
        assert abs(moved.astype(int) - skin).max() <= 1


def test_the_cut_out_covers_the_share_it_is_given() -> None:
    white = np.full((48, 48, 3), 255, np.uint8)
    cut = Augmentation([{"cutout": {"size": 0.5, "p": 1}}])(white, seed=3)
    assert (cut.max(axis=2) == 0).sum() == 24 * 24


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ({"flip_horizontl": {}}, "augment.0.flip_horizontl: unknown step; did you mean flip_hor"),
        ({"zzz": {}}, "augment.0.zzz: unknown step; known: flip_horizontal, "),
        ({"flip_vertical": {"prob": 1}}, "augment.0.flip_vertical.prob: unknown argument"),
        ({"shift_scale_rotate": {"rotat": 1}}, ".rotat: unknown argument; did you mean rotate?"),
        ({"flip_horizontal": {"p": 2}}, "augment.0.flip_horizontal: {'p': 2} cannot be meant"),
        ({"flip_horizontal": {"p": -0.1}}, "cannot be meant"),
        ({"flip_horizontal": {"p": "x"}}, "augment.0.flip_horizontal.p: a number is needed"),
        ({"flip_horizontal": {"p": True}}, "augment.0.flip_horizontal.p: a number is needed"),
        ({"hue_saturation_value": {"hue": [1, 2]}}, "hue: a number is needed (got [1, 2])"),
        ({"motion_blur": {"blur": 4}}, "augment.0.motion_blur: {'blur': 4} cannot be meant"),
        ({"gauss_noise": {"std": -1}}, "augment.0.gauss_noise"),
        ({"cutout": {"size": 2}}, "augment.0.cutout: {'size': 2} cannot be meant: size is a"),
        ({"cutout": {"size": 0}}, "augment.0.cutout"),
        ({"shift_scale_rotate": {"scale": 5}}, "augment.0.shift_scale_rotate: {'scale': 5}"),
        ({"grid_distortion": {"steps": 0}}, "augment.0.grid_distortion"),
        ({}, "augment.0: one step a list item, found nothing"),
        ({"flip_vertical": {}, "transpose": {}}, "one step a list item, found flip_vertical, tr"),
        ({"one_of": {}}, "augment.0.one_of: {} cannot be meant"),
        ({"one_of": {"of": []}}, "augment.0.one_of: {'of': []} cannot be meant: of names no"),
        ({"one_of": {"of": ["transpose"]}}, "one_of.0: a step is name: {arguments}, found 'tra"),
        ({"one_of": {"of": ["x"]}}, "one_of.0: a step is name: {arguments}, found 'x'"),
        ({"one_of": {"of": [{"transpose": {"q": 1}}]}}, "one_of.0.transpose.q: unknown argument"),
    ],
)
def test_what_cannot_be_meant_is_refused_by_its_field_in_one_line(
    step: dict[str, Any], said: str
) -> None:
    with pytest.raises(RecipeError, match=re.escape(said)) as caught:
        Augmentation([step])
    assert "\n" not in str(caught.value)


def test_the_second_step_is_named_as_the_second() -> None:
    with pytest.raises(RecipeError, match=r"augment\.1\.flop"):
        Augmentation([{"transpose": {}}, {"flop": {}}])


@pytest.mark.parametrize("normalize", NORMALIZATIONS)
def test_tensors_are_scaled_shifted_and_reordered_exactly(normalize: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3)).astype(np.uint8)
    mean, std = NORMALIZATIONS[normalize]
    wanted = ((pixels / 255 - mean) / std).transpose(0, 3, 1, 2)
    for given in (pixels, torch.from_numpy(pixels)):
        found = to_tensor(given, normalize=normalize)
        assert found.dtype == torch.float32
        assert found.is_contiguous(memory_format=torch.channels_last)
        assert np.allclose(found.numpy(), wanted, rtol=0, atol=1e-6)


def test_the_two_scalings_are_those_that_published_weights_expect() -> None:
    red = np.zeros((1, 1, 1, 3), np.uint8)
    red[..., 0] = 255
    imagenet = to_tensor(red, normalize="imagenet").flatten().tolist()
    assert imagenet == pytest.approx([2.248908, -2.035714, -1.804444], abs=1e-5)
    assert to_tensor(red, normalize="half").flatten().tolist() == [1, -1, -1]


def test_the_eight_views_are_the_eight_symmetries_of_a_square() -> None:
    image = torch.arange(2 * 3 * 4 * 4.0).reshape(2, 3, 4, 4)
    views = dihedral_views(image, 8)
    assert len({view.contiguous().numpy().tobytes() for view in views}) == 8
    turns = [torch.rot90(image, turn, (2, 3)) for turn in range(4)]
    symmetries = {t.contiguous().numpy().tobytes() for t in turns}
    symmetries |= {t.flip(3).contiguous().numpy().tobytes() for t in turns}
    assert {view.contiguous().numpy().tobytes() for view in views} == symmetries


@pytest.mark.parametrize("count", [1, 2, 4, 8])
def test_fewer_views_are_the_first_of_more_and_one_is_the_image_itself(count: int) -> None:
    image = torch.rand(1, 3, 6, 6)
    views, all_eight = dihedral_views(image, count), dihedral_views(image, 8)
    assert len(views) == count
    assert all(torch.equal(a, b) for a, b in zip(views, all_eight[:count], strict=True))
    assert torch.equal(views[0], image)


def test_two_views_are_a_flip_and_four_hold_no_transposition() -> None:
    image = torch.rand(1, 3, 6, 6)
    assert torch.equal(dihedral_views(image, 2)[1], image.flip(3))
    assert torch.equal(dihedral_views(image, 4)[3], torch.rot90(image, 2, (2, 3)))
