"""Classifier: a backbone, an average over space, a head. Logits out, never probabilities."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from melanoma.errors import DataError, RecipeError
from melanoma.models.backbone_records import Features, PooledBackbone
from melanoma.models.backbones import find_backbone
from melanoma.models.checkpointing import run_checkpointed, start_checkpointing
from melanoma.models.fusion import fuse_norms
from melanoma.models.pooling import GeM
from melanoma.recipe.sections import Head

# Adding an activation is one line here and its name in the recipe.
ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "gelu": nn.GELU, "silu": nn.SiLU}


class Classifier(nn.Module):
    """Logits (B, outputs) of normalised images (B, 3, S, S), any S from 32 up.

    `backbone` gives feature maps (B, features, h, w), whose mean is the embedding, or pools its
    own way; `head` is the linear layer on it, or linear layers with the hidden ones between.
    `pooling` gem takes a generalized mean in the place of the mean; `dropout_samples` draws of the
    dropout are averaged in training. In training alone, `auxiliary` further logits come behind.
    Raises RecipeError for a dropout outside [0, 1), less than one output, or gem on a backbone that
    pools its own way.
    """

    def __init__(
        self,
        backbone: nn.Module,
        *,
        features: int,
        outputs: int,
        dropout: float = 0.0,
        head: Head | None = None,
        pooling: str = "mean",
        dropout_samples: int = 1,
        auxiliary: int = 0,
    ) -> None:
        super().__init__()
        if not 0.0 <= dropout < 1.0:
            raise RecipeError(f"model.dropout: {dropout} is not in [0, 1)")
        if outputs < 1:
            raise RecipeError(f"a classifier needs at least one output, got {outputs}")
        if pooling == "gem" and isinstance(backbone, PooledBackbone):
            raise RecipeError(
                "model.pooling: gem is for feature maps; timm's models pool their own way"
            )
        self.backbone = backbone
        self.dropout = nn.Dropout(dropout)
        self.head = _make_head(features, outputs, head)
        self.gem = GeM() if pooling == "gem" else None
        self.dropout_samples = dropout_samples
        # Last, so that the numbers drawn for the head are the same with and without it.
        self.auxiliary = nn.Linear(features, auxiliary) if auxiliary else None
        self.frozen = self.checkpointing = False
        self.kept: frozenset[str] = frozenset()

    @property
    def last_layer(self) -> nn.Linear:
        """The layer that gives the logits."""
        last = self.head if isinstance(self.head, nn.Linear) else self.head[-1]
        assert isinstance(last, nn.Linear)
        return last

    def freeze_backbone(self, frozen: bool = True) -> None:
        """Keep the backbone as it is, BatchNorm statistics included, or let it learn again."""
        self.frozen = frozen
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(not frozen and name not in self.kept)
        self.train(self.training)

    def keep_stages(self, names: Iterable[str]) -> None:
        """Keep these parameters of the backbone, and the statistics of their norms, for good."""
        self.kept = frozenset(names)
        self.freeze_backbone(self.frozen)

    def start_checkpointing(self) -> None:
        """Compute the backbone's activations twice in training. Raises RecipeError where it
        cannot."""
        start_checkpointing(self.backbone)
        self.checkpointing = True

    def train(self, mode: bool = True) -> Classifier:
        """As Module.train; a frozen backbone, or frozen stages of it, stay in evaluation."""
        super().train(mode)
        # requires_grad does not stop BatchNorm, which moves its statistics in every forward pass.
        if self.frozen:
            self.backbone.eval()
        elif self.kept:
            for module in filter(is_kept, self.backbone.modules()):
                module.train(False)
        return self

    def embed(self, images: Tensor) -> Tensor:
        """(B, D): the backbone's features, averaged over space or pooled its own way."""
        if self.checkpointing and self.training and not self.frozen:
            return self.pool(run_checkpointed(self.backbone, images))
        return self.pool(self.backbone(images))

    def pool(self, features: Features) -> Tensor:
        """(B, D) of what the backbone gave."""
        if isinstance(self.backbone, PooledBackbone):
            return self.backbone.pool(features)
        assert isinstance(features, Tensor)
        if self.gem is not None:
            pooled: Tensor = self.gem(features)
            return pooled
        return F.adaptive_avg_pool2d(features, 1).flatten(1)

    def forward(self, images: Tensor) -> Tensor:
        """(B, outputs) logits."""
        return self.classify(self.embed(images))

    def classify(self, embeddings: Tensor) -> Tensor:
        """(B, outputs) logits of what `embed` gave."""
        if not self.training:
            logits: Tensor = self.head(self.dropout(embeddings))
            return logits
        draws = [self.head(self.dropout(embeddings)) for _ in range(self.dropout_samples)]
        mean = draws[0] if len(draws) == 1 else torch.stack(draws).mean(dim=0)
        if self.auxiliary is None:
            return mean
        return torch.cat([mean, self.auxiliary(self.dropout(embeddings))], dim=1)

    def drop_auxiliary(self) -> Classifier:
        """Itself, without what training alone has."""
        self.auxiliary = None
        return self


def is_kept(module: nn.Module) -> bool:
    """Whether the layer has parameters of its own and neither they nor those below it learn: the
    top module of a network may own a token beside all of its blocks."""
    own = any(True for _ in module.parameters(recurse=False))
    return own and not any(one.requires_grad for one in module.parameters())


def _make_head(features: int, outputs: int, head: Head | None) -> nn.Linear | nn.Sequential:
    if head is None:
        return nn.Linear(features, outputs)
    layers: list[nn.Module] = []
    for before, width in pairwise([features, *head.hidden]):
        layers += [nn.Linear(before, width), ACTIVATIONS[head.activation]()]
        layers += [nn.Dropout(head.dropout)]
    return nn.Sequential(*layers, nn.Linear(head.hidden[-1], outputs))


def make_classifier(
    backbone: str,
    *,
    outputs: int,
    dropout: float = 0.0,
    head: Head | None = None,
    class_shares: Sequence[float] | None = None,
    embedding_width: int | None = None,
    frozen_stages: int = 0,
    **options: Any,
) -> Classifier:
    """A Classifier with fresh weights from torch's generator.

    The head's bias starts at the prior that the loss will see, sampler and weights counted in:
    `class_shares` (C,), each in (0, 1), of two classes with one output. With `embedding_width` it
    is a head alone, for embeddings so wide. The first `frozen_stages` of the backbone never learn.
    `options` are the Classifier's own. Raises RecipeError for an unknown backbone or more frozen
    stages than it can spare, and DataError for shares that are none.
    """
    entry = find_backbone(backbone)
    if frozen_stages >= entry.stages:
        raise RecipeError(
            f"model.frozen_stages: {backbone} has {entry.stages} stages (got {frozen_stages}); "
            "model.freeze_backbone: true freezes all of them"
        )
    if class_shares is not None and not all(0.0 < share < 1.0 for share in class_shares):
        raise DataError(f"class shares {[*class_shares]}: training needs every class")
    classifier = Classifier(
        nn.Identity() if embedding_width else entry.build(),
        features=embedding_width or entry.features,
        outputs=outputs,
        dropout=dropout,
        head=head,
        **options,
    )
    if frozen_stages and not embedding_width:
        names = (name for name, _ in classifier.backbone.named_parameters())
        classifier.keep_stages(name for name in names if entry.stage(name) < frozen_stages)
    # Start at the prior: else the first epochs only learn how rare melanoma is.
    if class_shares is not None:
        shares = torch.tensor(class_shares, dtype=torch.float64)
        with torch.no_grad():
            prior = (shares[1:] / shares[0] if outputs == 1 else shares).log()
            classifier.last_layer.bias.copy_(prior)
    return classifier


def make_faster(classifier: Classifier, precision: torch.dtype) -> Classifier:
    """A copy in evaluation mode that takes images of that precision, equal up to rounding.

    Batch norms are part of the convolutions before them, whose products are of `precision` without
    autocast: its look at every operation costs a twentieth. Norms that stay, the average and the
    head keep float32. The head is shared, the backbone is not.
    """
    if isinstance(classifier.backbone, PooledBackbone):
        # Its layers are not known one by one: autocast decides what is of which precision.
        backbone: nn.Module = _Autocast(classifier.backbone, precision)
    else:
        fused = fuse_norms(classifier.backbone)
        for module in fused.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(precision)
        backbone = nn.Sequential(fused, _AsFloat())
    faster = Classifier(backbone, features=1, outputs=1)
    faster.head, faster.gem = classifier.head, classifier.gem
    return faster.eval().to(memory_format=torch.channels_last)


class _AsFloat(nn.Module):
    def forward(self, maps: Tensor) -> Tensor:
        return maps.float()


class _Autocast(PooledBackbone):
    """Another one's features and pooling under autocast; embeddings in float32."""

    def __init__(self, backbone: PooledBackbone, precision: torch.dtype) -> None:
        super().__init__()
        self.backbone, self.precision = copy.deepcopy(backbone).eval(), precision

    def forward(self, images: Tensor) -> Features:
        with self._cast():
            features: Features = self.backbone(images.float())
        return features

    def pool(self, features: Features) -> Tensor:
        with self._cast():
            return self.backbone.pool(features).float()

    def as_map(self, features: Tensor) -> Tensor | None:
        return self.backbone.as_map(features)

    def _cast(self) -> torch.autocast:
        kind = next(self.parameters()).device.type
        enabled = self.precision != torch.float32
        return torch.autocast(kind, dtype=self.precision, enabled=enabled)


def parameter_groups(
    classifier: Classifier,
    backbone_name: str,
    *,
    rate: float,
    weight_decay: float,
    depth_decay: float,
    backbone_ratio: float = 1.0,
) -> list[dict[str, Any]]:
    """Optimizer groups (params, lr, weight_decay, name), head first, then stages down to the stem.

    The head learns at `rate`, stage i at rate * backbone_ratio * depth_decay ** (stages - i).
    Frozen parameters are in no group, every other one in exactly one.
    """
    entry = find_backbone(backbone_name)
    groups: dict[tuple[int, bool], list[nn.Parameter]] = {}
    for name, parameter in classifier.named_parameters():
        if not parameter.requires_grad:
            continue
        inside = name.startswith("backbone.")
        stage = entry.stage(name.removeprefix("backbone.")) if inside else entry.stages
        # Shrinking biases and normalisation regularises nothing, so only matrices and kernels do.
        groups.setdefault((entry.stages - stage, parameter.ndim <= 1), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": rate * (backbone_ratio if below else 1.0) * depth_decay**below,
            "weight_decay": 0.0 if bare else weight_decay,
            "name": _group_name(entry.stages - below, stages=entry.stages, bare=bare),
        }
        for (below, bare), parameters in sorted(groups.items(), key=lambda item: item[0])
    ]


def _group_name(stage: int, *, stages: int, bare: bool) -> str:
    part = "head" if stage == stages else f"stage_{stage}"
    return f"{part}_no_decay" if bare else part
