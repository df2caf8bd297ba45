"""An augmentation of a recipe's own: the function `augment` in a file that the recipe names.

    def augment(pixels, rng, **arguments): ...

`pixels` are (S, S, 3) uint8 RGB, `rng` is a numpy Generator and the only source of chance; what is
given back has the same shape and type.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any

import albumentations as A
import numpy as np

from melanoma.data.images import Pixels
from melanoma.errors import RecipeError

Function = Callable[..., Any]


def make_own(
    own: Mapping[str, bytes], file: str, arguments: Mapping[str, Any] | None, p: float
) -> Any:
    """The step, from the file's bytes as they were read with the recipe.

    Raises RecipeError when the file does not run, has no `augment`, or takes other arguments.
    """
    if file not in own:
        raise RecipeError(f"{file} was not read with the recipe; load the recipe from its file")
    function, options = _load(file, own[file]), dict(arguments or {})
    try:
        inspect.signature(function).bind(None, None, **options)
    except TypeError as error:
        raise RecipeError(f"{file}: augment cannot be called with {options}: {error}") from error
    return _Own(function, file, options, p=p)


def _load(file: str, source: bytes) -> Function:
    module = ModuleType(f"melanoma_own_{file.removesuffix('.py')}")
    try:
        exec(compile(source, file, "exec"), module.__dict__)  # the recipe has its sha256
    except Exception as error:
        raise RecipeError(f"{file} cannot be run: {type(error).__name__}: {error}") from error
    function = module.__dict__.get("augment")
    if not callable(function):
        raise RecipeError(f"{file} has no function augment(pixels, rng)")
    return function  # type: ignore[no-any-return]


class _Own(A.ImageOnlyTransform):  # type: ignore[misc]
    def __init__(self, function: Function, file: str, arguments: dict[str, Any], *, p: float):
        super().__init__(p=p)
        self.function, self.file, self.arguments = function, file, arguments

    def get_params_dependent_on_data(
        self, params: dict[str, Any], data: dict[str, Any]
    ) -> dict[str, Any]:
        """The generator, which the image's own seed has set."""
        return {"rng": self.random_generator}

    def apply(self, img: Pixels, rng: np.random.Generator, **_: Any) -> Pixels:
        """The picture through the function. Raises RecipeError for what is no such picture."""
        image = self.function(img.copy(), rng, **self.arguments)
        if not isinstance(image, np.ndarray) or (image.shape, image.dtype) != (img.shape, np.uint8):
            kind = getattr(image, "dtype", type(image).__name__)
            shape = getattr(image, "shape", "no shape")
            raise RecipeError(
                f"{self.file}: augment gave {kind} of {shape}, not uint8 of {img.shape}"
            )
        return image
