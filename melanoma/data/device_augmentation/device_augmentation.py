"""DeviceAugmentation: the recipe's list of steps, drawn by the loader and done by the device."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from melanoma.data.augmentation import Augmentation, Step, Transform
from melanoma.data.device_augmentation.drawn_steps import DrawnSteps, gather_steps
from melanoma.data.device_augmentation.step_values import Values
from melanoma.data.device_augmentation.twins import TWINS
from melanoma.data.images import Pixels
from melanoma.errors import RecipeError
from melanoma.recipe.recipe import Recipe

_ONE_OF = "one_of"


class DeviceAugmentation(Augmentation):
    """As Augmentation, for whole batches: the same seed draws the same steps and values.

    So an image is that of the processor up to rounding; the numbers of gauss_noise alone are the
    device's own. Raises RecipeError naming the steps that have no batched form.
    """

    def __init__(self, steps: Sequence[Step], own: Mapping[str, bytes] | None = None) -> None:
        super().__init__(steps, own)
        without = dict.fromkeys(_without_twin(steps, "augment"))
        if without:
            raise RecipeError(
                f"training.augment_on: device, but {', '.join(without)} "
                "can only be done by the processor; use processor, or leave the step out"
            )
        self._steps = tuple(steps)

    def augment(self, pixels: Pixels, seeds: Sequence[int]) -> tuple[Pixels, DrawnSteps | None]:
        """The pixels as they are, and what the device is to do with them."""
        return pixels, self.draw(seeds, size=pixels.shape[1])

    def draw(self, seeds: Sequence[int], *, size: int) -> DrawnSteps:
        """What happens to the images of these seeds, squares of `size` pixels."""
        return gather_steps([self._draw(seed, size) for seed in seeds])

    def _draw(self, seed: int, size: int) -> list[tuple[int, str, Values]]:
        self.start(seed)
        self._random.random()  # albumentations asks whether the list as a whole happens
        drawn_steps = []
        for place, (step, made) in enumerate(
            zip(self._steps, self._compose.transforms, strict=True)
        ):
            drawn = _draw_step(step, made, size)
            if drawn is not None:
                drawn_steps.append((place, *drawn))
        return drawn_steps


def make_augmentation(recipe: Recipe) -> Augmentation:
    """The recipe's augmentation, by the processor or the device as training.augment_on says."""
    on_device = recipe.training.augment_on == "device"
    return (DeviceAugmentation if on_device else Augmentation)(recipe.augment, recipe.own_files)


def _draw_step(
    step: Step, made: Transform, size: int, *, sure: bool = False
) -> tuple[str, Values] | None:
    """The step that happens and its values, by the very draws of albumentations' own call."""
    name, arguments = next(iter(step.items()))
    if name != _ONE_OF:
        if not made.should_apply(force_apply=sure):
            return None
        return name, TWINS[name].draw(made, size)
    if not sure and made.py_random.random() >= made.p:
        return None
    number = int(made.random_generator.choice(len(made.transforms), p=made.transforms_ps))
    return _draw_step(arguments["of"][number], made.transforms[number], size, sure=True)


def _without_twin(steps: Any, field: str) -> list[str]:
    places = []
    for number, step in enumerate(steps):
        name, arguments = next(iter(step.items()))
        place = f"{field}.{number}.{name}"
        if name == _ONE_OF:
            places += _without_twin(arguments["of"], place)
        elif name not in TWINS:
            places.append(place)
    return places
