"""Grad-CAM: which places of the last feature map speak for a class.

Selvaraju et al., Grad-CAM, ICCV 2017. A Classifier hands out its feature maps, so that neither
hooks nor a library are needed.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional as F

from melanoma.models.classifier import Classifier

Heat = npt.NDArray[np.float64]


def map_evidence(
    classifier: Classifier, image: Tensor, *, evidence: Callable[[Tensor], Tensor]
) -> Heat:
    """(h, w) in [0, 1], 1 where most speaks for `evidence`; all 0 where nothing does.

    `image` is (1, 3, S, S), normalised; `evidence` makes one number of logits (1, outputs). Each
    feature map counts with the mean of its gradient, and what speaks against is cut off.
    """
    with torch.no_grad():
        maps = classifier.backbone(image)
    with torch.enable_grad():
        maps.requires_grad_()
        pooled = F.adaptive_avg_pool2d(maps, 1).flatten(1)
        (gradient,) = torch.autograd.grad(evidence(classifier.head(pooled)), maps)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    heat = (weights * maps.detach()).sum(dim=1)[0].relu()
    highest = heat.max()
    scaled: Heat = (heat / highest if highest > 0 else heat).cpu().double().numpy()
    return scaled
