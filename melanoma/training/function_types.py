"""What an epoch calls: a loss, and a network in training."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

LossFunction = Callable[[Tensor, Tensor], Tensor]  # logits and targets to one number
NetworkFunction = Callable[[Tensor], Tensor]  # images, or embeddings, to logits
