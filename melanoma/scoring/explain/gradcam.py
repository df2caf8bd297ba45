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

from melanoma.errors import RecipeError
from melanoma.models.backbone_records import PooledBackbone
from melanoma.models.classifier import Classifier

Heat = npt.NDArray[np.float64]
_NO_PLACES = (
    "gradcam: it needs places that the answer is an average of, and this backbone answers from a "
    "class token: ask for LIME"
)


def map_evidence(
    classifier: Classifier, image: Tensor, *, evidence: Callable[[Tensor], Tensor]
) -> Heat:
    """(h, w) in [0, 1], 1 where most speaks for `evidence`; all 0 where nothing does.

    `image` is (1, 3, S, S), normalised; `evidence` makes one number of logits (1, outputs). Each
    feature map counts with the mean of its gradient, and what speaks against is cut off. Raises
    RecipeError for a backbone whose answer no place reaches.
    """
    with torch.no_grad():
        features = classifier.backbone(image)
    if not isinstance(features, Tensor):  # several branches' tokens, a class token among each
        raise RecipeError(_NO_PLACES)
    with torch.enable_grad():
        features.requires_grad_()
        logits = classifier.classify(classifier.pool(features))
        (gradient,) = torch.autograd.grad(evidence(logits), features)
    maps, slopes = _as_map(classifier, features.detach()), _as_map(classifier, gradient)
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    heat = (weights * maps).sum(dim=1)[0].relu()
    highest = heat.max()
    scaled: Heat = (heat / highest if highest > 0 else heat).cpu().double().numpy()
    return scaled


def _as_map(classifier: Classifier, features: Tensor) -> Tensor:
    if not isinstance(classifier.backbone, PooledBackbone):
        return features
    feature_map = classifier.backbone.as_map(features)
    if feature_map is None:
        raise RecipeError(_NO_PLACES)
    return feature_map
