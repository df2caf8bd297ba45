"""A backbone of each family: in what their common code decides, the others do as it does."""

from __future__ import annotations

from melanoma.models.backbones import BACKBONES

# The first of those that share their stages, and a ResNet with bottlenecks.
_FIRST = {entry.stage: name for name, entry in reversed(BACKBONES.items())}
FAMILIES = [*_FIRST.values(), "resnet50"]
