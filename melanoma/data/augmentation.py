"""Augmentations for training, by name: the only module that imports albumentations, slowly."""

from __future__ import annotations

import inspect
import os
import random
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # before the import: it calls home
import albumentations as A

from melanoma.data.elastic import SIGMA, Elastic
from melanoma.data.images import Pixels
from melanoma.data.own_augmentation import make_own
from melanoma.data.perspective import Perspective
from melanoma.data.scene_augmentation import Aspect, CameraColor, Hair, Vignette
from melanoma.errors import RecipeError, suggest

if TYPE_CHECKING:
    from melanoma.data.device_augmentation.drawn_steps import DrawnSteps

Step = dict[str, dict[str, Any]]
Transform = Any  # albumentations publishes no types


class Augmentation:
    """The recipe's list of steps; a seed decides what happens to an image, whoever asks.

    `own` are the recipe's own files (Recipe.own_files), which steps called own run.
    """

    def __init__(self, steps: Sequence[Step], own: Mapping[str, bytes] | None = None) -> None:
        made = [_make_step(s, f"augment.{i}", own or {}) for i, s in enumerate(steps)]
        self._compose = A.Compose(made)
        # One of each for all steps. albumentations' set_random_seed gives every step its own with
        # the same seed: two flips of p .5 then happen together or not at all.
        self._numbers, self._random = np.random.default_rng(0), random.Random(0)
        self._compose.set_random_state(self._numbers, self._random)

    def __call__(self, pixels: Pixels, *, seed: int) -> Pixels:
        """An augmented copy, same shape and type."""
        self.start(seed)
        augmented: Pixels = self._compose(image=pixels)["image"]
        return augmented

    def start(self, seed: int) -> None:
        """What is drawn from now on is decided by the seed."""
        self._numbers.bit_generator.state = np.random.PCG64(seed).state
        self._random.seed(seed)

    def augment(self, pixels: Pixels, seeds: Sequence[int]) -> tuple[Pixels, DrawnSteps | None]:
        """(B, S, S, 3) augmented, by a seed an image; and what is left for the device to do."""
        augmented = [self(image, seed=seed) for image, seed in zip(pixels, seeds, strict=True)]
        return np.stack(augmented), None


def _flip_horizontal(*, p: float = 0.5) -> Transform:
    return A.HorizontalFlip(p=p)


def _flip_vertical(*, p: float = 0.5) -> Transform:
    return A.VerticalFlip(p=p)


def _transpose(*, p: float = 0.5) -> Transform:
    return A.Transpose(p=p)


def _shift_scale_rotate(
    *, shift: float = 0.0625, scale: float = 0.1, rotate: float = 15.0, p: float = 0.5
) -> Transform:
    if not 0 <= scale < 1:
        raise ValueError("scale is a share of the size, from 0 and below 1")
    # Mirrored borders: a black wedge would be an artefact that no photograph has.
    return A.Affine(
        translate_percent={"x": (-shift, shift), "y": (-shift, shift)},
        scale=(1 - scale, 1 + scale),
        rotate=(-rotate, rotate),
        keep_ratio=True,
        border_mode=cv2.BORDER_REFLECT_101,
        p=p,
    )


def _zoom(*, most: float = 1.1, p: float = 0.5) -> Transform:
    if most < 1:
        raise ValueError("most is a factor of the size, from 1 up")
    # Only into the picture: out of it there is nothing but the border.
    return A.Affine(scale=(1.0, most), keep_ratio=True, border_mode=cv2.BORDER_REFLECT_101, p=p)


def _perspective(*, distortion: float = 0.5, p: float = 0.5) -> Transform:
    if not 0 <= distortion < 1:
        raise ValueError("distortion is a share of half the side, from 0 and below 1")
    return Perspective(distortion, p=p)


def _color_jitter(
    *,
    brightness: float = 0.2,
    contrast: float = 0.2,
    saturation: float = 0.2,
    hue: float = 0.05,
    p: float = 0.5,
) -> Transform:
    if not 0 <= hue <= 0.5:
        raise ValueError("hue is a share of the color circle, from 0 to .5")
    return A.ColorJitter(brightness, contrast, saturation, hue, p=p)


def _brightness_contrast(
    *, brightness: float = 0.2, contrast: float = 0.2, p: float = 0.5
) -> Transform:
    return A.RandomBrightnessContrast(brightness, contrast, p=p)


def _hue_saturation_value(
    *, hue: float = 10, saturation: float = 20, value: float = 10, p: float = 0.5
) -> Transform:
    return A.HueSaturationValue(hue, saturation, value, p=p)


def _motion_blur(*, blur: int = 5, p: float = 0.5) -> Transform:
    return A.MotionBlur(blur_limit=(3, blur), p=p)


def _median_blur(*, blur: int = 5, p: float = 0.5) -> Transform:
    return A.MedianBlur(blur_limit=(3, blur), p=p)


def _gaussian_blur(
    *,
    blur: int = 5,
    least: int = 3,
    sigma_least: float = 0.5,
    sigma: float = 3.0,
    p: float = 0.5,
) -> Transform:
    """A kernel of `least` to `blur` pixels (a fixed one where they are equal)."""
    if least > blur or sigma_least > sigma:
        raise ValueError("least is more than blur, or sigma_least than sigma")
    return A.GaussianBlur(blur_limit=(least, blur), sigma_limit=(sigma_least, sigma), p=p)


def _gauss_noise(*, std: float = 0.02, p: float = 0.5) -> Transform:
    return A.GaussNoise(std_range=(std / 2, std), p=p)


def _optical_distortion(*, limit: float = 1.0, p: float = 0.5) -> Transform:
    return A.OpticalDistortion(distort_limit=limit, p=p)


def _grid_distortion(*, steps: int = 5, limit: float = 1.0, p: float = 0.5) -> Transform:
    return A.GridDistortion(num_steps=steps, distort_limit=limit, p=p)


def _elastic(*, alpha: float = 3.0, p: float = 0.5) -> Transform:
    return Elastic(alpha=alpha, sigma=SIGMA, p=p)


def _clahe(*, clip: float = 4.0, p: float = 0.5) -> Transform:
    return A.CLAHE(clip_limit=clip, p=p)


def _cutout(*, size: float = 0.375, p: float = 0.5) -> Transform:
    if not 0 < size < 1:  # albumentations takes 1 for a pixel
        raise ValueError("size is a share of the side, above 0 and below 1")
    return A.CoarseDropout(
        num_holes_range=(1, 1), hole_height_range=(size, size), hole_width_range=(size, size), p=p
    )


def _aspect(*, least: float = 0.75, p: float = 0.5) -> Transform:
    if not 0.25 <= least < 1:
        raise ValueError("least is a ratio of the sides, from 0.25 and below 1")
    return Aspect(least, p=p)


def _camera_color(*, gain: float = 0.1, gamma: float = 0.2, p: float = 0.5) -> Transform:
    if not (0 <= gain <= 1 and 0 <= gamma <= 1):
        raise ValueError("gain and gamma are logarithms of a factor, from 0 to 1")
    return CameraColor(gain, gamma, p=p)


def _vignette(*, darkness: float = 0.8, p: float = 0.5) -> Transform:
    if not 0 < darkness <= 1:
        raise ValueError("darkness is a share of the light, above 0 and up to 1")
    return Vignette(darkness, p=p)


def _hair(*, most: int = 8, p: float = 0.5) -> Transform:
    if not 1 <= most <= 100:
        raise ValueError("most is a number of hairs, from 1 to 100")
    return Hair(int(most), p=p)


def _one_of(own: Mapping[str, bytes], *, of: Sequence[Step], p: float = 0.5) -> Transform:
    if not 0 <= p <= 1:  # of which albumentations, for once, says nothing
        raise ValueError("p is a probability, from 0 to 1")
    steps = [_make_step(step, f"one_of.{i}", own) for i, step in enumerate(of)]
    if not any(step.p > 0 for step in steps):
        raise ValueError("of names no step with a p above 0")
    return A.OneOf(steps, p=p)


def _own(
    own: Mapping[str, bytes],
    *,
    file: str,
    sha256: str,
    arguments: Mapping[str, Any] | None = None,
    p: float = 0.5,
) -> Transform:
    del sha256  # the file was held against it when the recipe was read
    return make_own(own, file, arguments, p)


# Adding an augmentation is one function and one line here. Those that take other steps or files
# have a first argument for the recipe's own files.
TRANSFORMS: dict[str, Callable[..., Transform]] = {
    "flip_horizontal": _flip_horizontal,
    "flip_vertical": _flip_vertical,
    "transpose": _transpose,
    "shift_scale_rotate": _shift_scale_rotate,
    "zoom": _zoom,
    "perspective": _perspective,
    "color_jitter": _color_jitter,
    "brightness_contrast": _brightness_contrast,
    "hue_saturation_value": _hue_saturation_value,
    "motion_blur": _motion_blur,
    "median_blur": _median_blur,
    "gaussian_blur": _gaussian_blur,
    "gauss_noise": _gauss_noise,
    "optical_distortion": _optical_distortion,
    "grid_distortion": _grid_distortion,
    "elastic": _elastic,
    "clahe": _clahe,
    "cutout": _cutout,
    "aspect": _aspect,
    "camera_color": _camera_color,
    "vignette": _vignette,
    "hair": _hair,
    "one_of": _one_of,
    "own": _own,
}


def _make_step(step: Step, field: str, own: Mapping[str, bytes]) -> Transform:
    """Raises RecipeError naming the field for an unknown step or argument, or a bad value."""
    if not isinstance(step, dict):
        raise RecipeError(f"{field}: a step is name: {{arguments}}, found {step!r}")
    if len(step) != 1:
        raise RecipeError(f"{field}: one step a list item, found {', '.join(step) or 'nothing'}")
    name, arguments = next(iter(step.items()))
    if name not in TRANSFORMS:
        raise RecipeError(f"{field}.{name}: unknown step; {suggest(name, TRANSFORMS)}")
    if not isinstance(arguments, dict):
        raise RecipeError(f"{field}.{name}: arguments are a mapping, {{}} for none ({arguments!r})")
    _check_arguments(name, arguments, f"{field}.{name}")
    files = [own] if "own" in inspect.signature(TRANSFORMS[name]).parameters else []
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # albumentations only warns of what it ignores
            return TRANSFORMS[name](*files, **arguments)
    except (TypeError, ValueError, UserWarning) as error:
        reason = " ".join(str(error).split())[:160]
        raise RecipeError(f"{field}.{name}: {arguments} cannot be meant: {reason}") from None


def _check_arguments(name: str, arguments: dict[str, Any], field: str) -> None:
    known = dict(inspect.signature(TRANSFORMS[name]).parameters)
    known.pop("own", None)  # not the recipe's to give
    for argument, value in arguments.items():
        if argument not in known:
            raise RecipeError(f"{field}.{argument}: unknown argument; {suggest(argument, known)}")
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if isinstance(known[argument].default, int | float) and not is_number:
            raise RecipeError(f"{field}.{argument}: a number is needed (got {value!r})")
