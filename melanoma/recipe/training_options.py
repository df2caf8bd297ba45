"""Sections of what a training may do besides: a second target, a teacher, and mixed images."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, model_validator

from melanoma.recipe.part import Part, Positive, Share


class Auxiliary(Part):
    """Another column of the table that training tells apart as well; its head is dropped after."""

    column: str
    """Column of the fold file, such as the diagnosis, kept by data.keep_cols."""
    weight: Positive = 0.3
    """Weight of its cross-entropy beside the loss itself."""


class Teacher(Part):
    """Soft targets, what another model says of the training images: melanoma.distill makes them."""

    folder: str
    """Folder of the soft targets, a file a fold."""
    weight: Annotated[float, Field(gt=0.0, le=1.0)] = 0.5
    """Share of the loss that goes by the teacher; the rest goes by the labels."""
    temperature: Positive = 1.0
    """What both sides' log-odds are divided by; above 1 small probabilities count for more."""


class Mix(Part):
    """Images mixed with others of their batch, and their targets with them."""

    mixup: Annotated[float, Field(ge=0.0)] = 0.0
    """Alpha of mixup's beta distribution: images are averaged; 0: not at all."""
    cutmix: Annotated[float, Field(ge=0.0)] = 0.0
    """Alpha of cutmix's: a box is pasted; 0: not at all. With both, each batch draws one."""
    p: Share = 1.0
    """Share of the batches that are mixed."""

    @model_validator(mode="after")
    def _mixes(self) -> Mix:
        if not (self.mixup or self.cutmix):
            raise ValueError("one of mixup and cutmix is above 0, such as mixup: 0.2")
        return self
