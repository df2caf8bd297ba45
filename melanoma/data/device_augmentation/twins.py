"""TWINS: the batched form of each step, by the step's name in a recipe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

from melanoma.data.device_augmentation import (
    blur,
    clahe,
    color_jitter,
    color_shifts,
    geometry,
    scene,
)
from melanoma.data.device_augmentation.step_values import Values, draw_nothing


class Twin(NamedTuple):
    """How a step's values are drawn for an image of a size, and how a batch goes through it.

    `draw` takes the processor's step, whose generators the image's seed has set, and takes from
    them what that step itself would. `apply` takes (N, 3, S, S) uint8 and the values by name, each
    (N, ...) on the device of the images, those `on_host` on the CPU.
    """

    draw: Callable[[Any, int], Values]
    apply: Callable[..., Tensor]
    on_host: frozenset[str] = frozenset()


# Adding a twin is two functions and one line here; `own` steps are a recipe's own Python, and have
# none. one_of is drawn as the one of its steps that happens.
TWINS: dict[str, Twin] = {
    "flip_horizontal": Twin(draw_nothing, lambda images: images.flip(3)),
    "flip_vertical": Twin(draw_nothing, lambda images: images.flip(2)),
    "transpose": Twin(draw_nothing, lambda images: images.transpose(2, 3)),
    "shift_scale_rotate": Twin(geometry.draw_matrix, geometry.apply_affine),
    "zoom": Twin(geometry.draw_matrix, geometry.apply_affine),
    "perspective": Twin(geometry.draw_matrix, geometry.apply_perspective),
    "color_jitter": Twin(
        color_jitter.draw_jitter, color_jitter.apply_jitter, on_host=frozenset({"order"})
    ),
    "brightness_contrast": Twin(color_shifts.draw_brightness, color_shifts.apply_table),
    "hue_saturation_value": Twin(color_shifts.draw_hsv, color_shifts.apply_hsv),
    "motion_blur": Twin(blur.draw_motion, blur.apply_motion),
    "median_blur": Twin(blur.draw_median, blur.apply_median),
    "gaussian_blur": Twin(blur.draw_gaussian, blur.apply_gaussian),
    "gauss_noise": Twin(blur.draw_noise, blur.apply_noise, on_host=frozenset({"seeds"})),
    "optical_distortion": Twin(geometry.draw_optical, geometry.apply_optical),
    "grid_distortion": Twin(geometry.draw_grid, geometry.apply_grid),
    "elastic": Twin(geometry.draw_elastic, geometry.apply_elastic),
    "clahe": Twin(clahe.draw_clahe, clahe.apply_clahe),
    "cutout": Twin(scene.draw_hole, scene.apply_hole),
    "aspect": Twin(geometry.draw_matrix, geometry.apply_affine),
    "camera_color": Twin(color_shifts.draw_camera, color_shifts.apply_table),
    "vignette": Twin(scene.draw_vignette, scene.apply_vignette),
    "hair": Twin(scene.draw_hair, scene.apply_hair),
}
