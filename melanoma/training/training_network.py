"""The way from a batch to its logits in training, where it is not simply the classifier."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from melanoma.errors import RecipeError
from melanoma.models.classifier import Classifier
from melanoma.training.function_types import NetworkFunction
from melanoma.training.state import TrainingState


def training_network(
    state: TrainingState, shared: NetworkFunction | None = None
) -> NetworkFunction | None:
    """torch.compile's program where the recipe asks for it, on smaller squares in a stage that has
    a size of its own; None where it is the classifier itself. `shared` is several processes' one,
    in the place of either. What is validated and kept is always
    computed as it is served."""
    recipe, network = state.recipe, shared
    if network is None and recipe.training.compile:
        network = compile_network(state.classifier)
    if all(plan.size is None for plan in recipe.stage_plans):
        return network
    whole: NetworkFunction = state.classifier if network is None else network

    def sized(images: Tensor) -> Tensor:
        return whole(shrink(images, state.plan.size))

    return sized


def shrink(images: Tensor, size: int | None) -> Tensor:
    """(B, 3, S, S) to (B, 3, size, size) by the mean of areas; as they are for None."""
    if size is None or size == images.shape[-1]:
        return images
    smaller = F.interpolate(images, size=(size, size), mode="bilinear", antialias=True)
    return smaller.contiguous(memory_format=torch.channels_last)


def compile_network(classifier: Classifier) -> NetworkFunction:
    """The classifier's logits by torch.compile, with the same parameters.

    The first call makes the program, and raises RecipeError where that cannot be done here.
    """
    from torch._dynamo.exc import TorchDynamoException  # here: it takes two seconds

    # An epoch has two sizes of batches, so two programs beat one for any size.
    program: NetworkFunction = torch.compile(classifier, dynamic=False)

    def compiled(images: Tensor) -> Tensor:
        try:
            return program(images)
        except TorchDynamoException as error:
            reason = str(error).strip().partition("\n")[0]
            raise RecipeError(
                f"training.compile: torch.compile makes no program here ({reason}); on a CPU it "
                "needs a C++ compiler and Python's headers (g++, python3-dev). Install them, or "
                "--set training.compile=false"
            ) from error

    return compiled
