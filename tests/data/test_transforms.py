"""Augmentations: seeded, same shape, strictly configured. Tensors and views: exact."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch

from melanoma.data.augmentation import TRANSFORMS, Augmentation
from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.data.transforms import (
    NORMALIZATIONS,
    dihedral_views,
    linear_scaling,
    to_tensor,
)
from melanoma.errors import RecipeError
from melanoma.recipe.sections import Scaling

Pixels = npt.NDArray[np.uint8]

SURE: dict[str, dict[str, Any]] = {name: {"p": 1.0} for name in TRANSFORMS} | {
    "one_of": {"of": [{"transpose": {"p": 1.0}}, {"gauss_noise": {"std": 0.2}}], "p": 1.0},
    "own": {"file": "own.py", "sha256": "-", "p": 1.0},
}
OWN_FILES = {"own.py": b"def augment(pixels, rng): return pixels ^ rng.integers(256, dtype='u1')"}
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
    augment = Augmentation([{name: SURE[name]}], OWN_FILES)
    results = [augment(picture, seed=seed) for seed in range(4)]
    assert np.array_equal(picture, before), "the original was written to"
    for result in results:
        assert result.shape == picture.shape
        assert result.dtype == np.uint8
    assert any(not np.array_equal(result, picture) for result in results)


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_step_follows_its_seed_whatever_came_before(name: str, picture: Pixels) -> None:
    step = [{name: SURE[name]}]
    first = [Augmentation(step, OWN_FILES)(picture, seed=seed) for seed in range(6)]
    np.random.seed(99)  # the global generators must not matter
    used = Augmentation(step, OWN_FILES)
    backwards = [used(picture, seed=seed) for seed in reversed(range(6))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(first, backwards, strict=True))
    different = len({result.tobytes() for result in first})
    assert different == 1 if name in FIXED else different > 1


@pytest.mark.parametrize("name", TRANSFORMS)
def test_a_step_with_p_0_does_nothing(name: str, picture: Pixels) -> None:
    augment = Augmentation([{name: {**SURE[name], "p": 0.0}}], OWN_FILES)
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


@pytest.mark.parametrize(
    "step",
    [{"zoom": {"most": 1.5}}, {"perspective": {"distortion": 0.9}}, {"aspect": {"least": 0.5}}],
)
def test_looking_closer_or_from_a_slant_shows_nothing_that_was_not_there(
    step: dict[str, Any],
) -> None:
    skin = np.full((48, 48, 3), (210, 170, 150), np.uint8)
    (name, arguments) = next(iter(step.items()))
    augment = Augmentation([{name: {**arguments, "p": 1}}])
    for seed in range(20):
        assert abs(augment(skin, seed=seed).astype(int) - skin).max() <= 1


def _ramp(side: int) -> Pixels:
    """Red is the column, green the row: a pixel says where it came from."""
    rows, columns = np.mgrid[:side, :side]
    return np.stack([columns, rows, np.zeros_like(rows)], axis=2).astype(np.uint8)


def test_a_zoom_goes_from_the_picture_itself_to_its_most() -> None:
    ramp = _ramp(201)
    augment = Augmentation([{"zoom": {"most": 1.25, "p": 1}}])
    spans = [np.ptp(augment(ramp, seed=seed)[..., 0].astype(int)) for seed in range(200)]
    assert min(spans) == pytest.approx(200 / 1.25, abs=3)
    assert max(spans) == pytest.approx(200, abs=3)


def test_a_blur_of_a_fixed_kernel_reaches_that_far_and_no_further() -> None:
    dot = np.zeros((31, 31, 3), np.uint8)
    dot[15, 15] = 255
    fixed = {"blur": 5, "least": 5, "sigma_least": 2.0, "sigma": 2.0, "p": 1}
    found = [Augmentation([{"gaussian_blur": fixed}])(dot, seed=seed) for seed in range(5)]
    assert all(np.array_equal(picture, found[0]) for picture in found)
    kernel = np.exp(-(np.arange(-2, 3) ** 2) / 8)
    expected = 255 * np.outer(kernel, kernel) / kernel.sum() ** 2
    assert np.abs(found[0][13:18, 13:18, 0] - expected).max() <= 1
    assert found[0].astype(int).sum() == found[0][13:18, 13:18].astype(int).sum()


@pytest.mark.parametrize(
    ("only", "reference"),
    [
        ("brightness", lambda image, by: image * by),
        ("contrast", lambda image, by: image * by + _luma(image).mean() * (1 - by)),
        ("saturation", lambda image, by: image * by + _luma(image)[..., None] * (1 - by)),
    ],
)
def test_color_jitter_draws_one_factor_within_its_range(
    only: str, reference: Any, picture: Pixels
) -> None:
    # Away from 0 and 255, where values are cut.
    mild = (64 + picture[::4, ::4] // 2).astype(np.uint8)
    nothing = {"brightness": 0, "contrast": 0, "saturation": 0, "hue": 0}
    augment = Augmentation([{"color_jitter": {**nothing, only: 0.2, "p": 1}}])
    factors = np.linspace(0.8, 1.2, 401)
    best = []
    for seed in range(40):
        shown = augment(mild, seed=seed).astype(float)
        errors = [np.abs(reference(mild.astype(float), by) - shown).mean() for by in factors]
        assert min(errors) < 1.0
        best.append(factors[int(np.argmin(errors))])
    assert max(best) > 1.15
    assert min(best) < 0.85


def _luma(image: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return image @ np.array([0.299, 0.587, 0.114])


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
        ({"cutout": {"size": 1}}, "augment.0.cutout: {'size': 1} cannot be meant: size is a"),
        ({"cutout": {"size": 0}}, "augment.0.cutout"),
        ({"zoom": {"most": 0.9}}, "augment.0.zoom: {'most': 0.9} cannot be meant: most is a"),
        ({"perspective": {"distortion": 1}}, "augment.0.perspective: {'distortion': 1} cannot"),
        ({"color_jitter": {"hue": 0.7}}, "augment.0.color_jitter: {'hue': 0.7} cannot be meant"),
        ({"gaussian_blur": {"least": 7}}, "augment.0.gaussian_blur: {'least': 7} cannot be meant"),
        ({"gaussian_blur": {"sigma": 0.1}}, "cannot be meant: least is more than blur, or sigma_"),
        ({"shift_scale_rotate": {"scale": 5}}, "augment.0.shift_scale_rotate: {'scale': 5}"),
        ({"grid_distortion": {"steps": 0}}, "augment.0.grid_distortion"),
        ({}, "augment.0: one step a list item, found nothing"),
        ({"flip_vertical": {}, "transpose": {}}, "one step a list item, found flip_vertical, tr"),
        ({"one_of": {}}, "augment.0.one_of: {} cannot be meant"),
        ({"one_of": {"of": []}}, "augment.0.one_of: {'of': []} cannot be meant: of names no"),
        ({"one_of": {"of": [{"transpose": {"p": 0}}]}}, "of names no step with a p above 0"),
        ({"one_of": {"of": [{"transpose": {}}], "p": 5}}, "p is a probability, from 0 to 1"),
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


@pytest.mark.parametrize("count", [2, 4])
def test_two_and_four_views_are_turns_alone_however_the_square_lies(count: int) -> None:
    image, turn = torch.rand(1, 3, 6, 6), 4 // count
    turned = [torch.rot90(image, turn * times, (2, 3)) for times in range(count)]
    for lying in turned:
        views = {view.contiguous().numpy().tobytes() for view in dihedral_views(lying, count)}
        assert views == {view.contiguous().numpy().tobytes() for view in turned}


OWN = Scaling(mean=(0.7, 0.55, 0.5), std=(0.15, 0.16, 0.17))


def test_own_values_scale_as_a_name_of_the_same_values_would() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (2, 5, 5, 3)).astype(np.uint8)
    wanted = ((pixels / 255 - OWN.mean) / OWN.std).transpose(0, 3, 1, 2)
    assert np.allclose(to_tensor(pixels, normalize=OWN).numpy(), wanted, rtol=0, atol=1e-5)
    mean, std = NORMALIZATIONS["imagenet"]
    same = to_tensor(pixels, normalize=Scaling(mean=mean, std=std))
    assert torch.equal(same, to_tensor(pixels, normalize="imagenet"))


@pytest.mark.parametrize("normalize", [*NORMALIZATIONS, OWN])
def test_a_factor_and_what_is_added_scale_as_to_tensor_does(normalize: Any) -> None:
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    factor, offset = linear_scaling(normalize)
    assert factor.shape == offset.shape == (1, 3, 1, 1)
    scaled = torch.from_numpy(every).permute(0, 3, 1, 2) * factor + offset
    assert torch.allclose(scaled, to_tensor(every, normalize=normalize), rtol=1e-6, atol=1e-6)
