"""timm's models as backbones: `timm:NAME` in a recipe (extra [timm]).

Features, pooling, scaling and stages are timm's own: what its forward_head gives before the
classifier is the embedding.
"""

from __future__ import annotations

import difflib
import math
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from melanoma.errors import MelanomaError, RecipeError
from melanoma.models.backbone_records import Backbone, Features, HubWeights, PooledBackbone, Triple

PREFIX = "timm:"
# What makes a family take images of another size than its own; each knows some of it.
_ANY_SIZE: tuple[dict[str, bool], ...] = (
    {"dynamic_img_size": True, "dynamic_img_pad": True},
    {"dynamic_img_size": True},
    {"strict_img_size": False},
    {},
)
_MISSING = "timm is not installed: pip install 'melanoma[timm]'"


def import_timm() -> Any:
    """timm. Raises RecipeError naming the extra where it is not installed."""
    try:
        import timm
    except ImportError as error:
        raise RecipeError(_MISSING) from error
    return timm


@cache
def find_timm_backbone(name: str) -> Backbone:
    """The entry of `timm:NAME`. Raises RecipeError for a model that timm does not know."""
    timm = import_timm()
    model = name.removeprefix(PREFIX)
    architecture = model.split(".")[0]
    if not timm.is_model(architecture):
        near = difflib.get_close_matches(model, timm.list_models(), n=3)
        hint = f"; did you mean {' or '.join(near)}?" if near else ""
        raise RecipeError(
            f"model.backbone: timm has no model {model!r}{hint} (timm.list_models() lists them)"
        )
    try:
        config = timm.get_pretrained_cfg(model)
    except RuntimeError as error:
        known = timm.list_models(f"{architecture}.*", include_tags=True)
        raise RecipeError(
            f"model.backbone: timm has no weights called {model!r}; it has {', '.join(known)}"
        ) from error
    source = _create(model)
    stages = _find_stages(source)
    parameters = source.state_dict()
    return Backbone(
        name=name,
        features=int(source.head_hidden_size),
        build=partial(TimmBackbone, model),
        stage=partial(_stage_of, stages),
        stages=max(stages.values()) + 1,
        normalization=_scaling(source.pretrained_cfg),
        pretrained=HubWeights(model, f"timm ({_license(config)}), {model}"),
        ignored=tuple(f"model.{key}" for key in _all_keys(model) if key not in parameters),
        rename=_rename,
    )


def require_timm_size(name: str, size: int, *, field: str = "image.size") -> None:
    """Raise RecipeError unless the model takes images of `size` pixels a side, which `field` of the
    recipe says."""
    model = _create(name.removeprefix(PREFIX)).eval()
    try:
        with torch.inference_mode():
            model(torch.zeros(1, 3, size, size))
    except (RuntimeError, AssertionError, ValueError) as error:
        own = model.pretrained_cfg["input_size"][-1]
        hint = f"--set {field}={own}" if field == "image.size" else f"leave {field} out"
        raise RecipeError(
            f"{field}: {name} takes no images of {size} px; its own are of {own} px ({hint})"
        ) from error


class TimmBackbone(PooledBackbone):
    """A model of timm without its classifier."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.model: Any = _create(name)

    def forward(self, images: Tensor) -> Features:
        """What forward_features gives: maps (B, C, h, w) or (B, h, w, C), or tokens (B, N, C);
        of each branch, where the model has several."""
        features: Features = self.model.forward_features(images)
        return features

    def pool(self, features: Features) -> Tensor:
        """(B, D): what timm's own head gives before its last layer."""
        embedding: Tensor = self.model.forward_head(features, pre_logits=True)
        return embedding

    def as_map(self, features: Tensor) -> Tensor | None:
        """See PooledBackbone."""
        if features.ndim == 4:
            last = getattr(self.model, "output_fmt", "NCHW") == "NHWC"
            return features.permute(0, 3, 1, 2) if last else features
        if getattr(self.model, "global_pool", "avg") == "token":
            return None
        tokens = features[:, getattr(self.model, "num_prefix_tokens", 0) :]
        side = math.isqrt(tokens.shape[1])
        return tokens.transpose(1, 2).reshape(len(tokens), -1, side, side)


def create_timm_model(model: str, *, outputs: int = 0) -> tuple[Any, dict[str, bool]]:
    """timm's model for images of any size where it can, without a classifier where `outputs` is 0,
    and the options that make it take them. Raises RecipeError where timm cannot build it."""
    # timm drops what a family does not take in some models, and refuses it in others.
    for options in _ANY_SIZE:
        try:
            made = import_timm().create_model(model, num_classes=outputs, **options)
        except TypeError:
            continue
        return made, options
    raise RecipeError(f"model.backbone: timm cannot build {model}")


def _create(model: str) -> Any:
    return create_timm_model(model)[0]


def _all_keys(model: str) -> list[str]:
    """The names in a file of the model's weights, its classifier's too."""
    try:
        with torch.device("meta"):  # names alone
            return list(import_timm().create_model(model, num_classes=2).state_dict())
    except (RuntimeError, NotImplementedError):
        return list(import_timm().create_model(model, num_classes=2).state_dict())


def _find_stages(source: Any) -> dict[str, int]:
    """The depth of each parameter by timm's own groups; all in one where it states none."""
    from timm.models import group_parameters

    names = [name for name, _ in source.named_parameters()]
    matcher = getattr(source, "group_matcher", None)
    if matcher is None:
        return dict.fromkeys(names, 0)
    try:
        groups = matcher(coarse=True)
    except AssertionError:  # RDNet states its finer ones alone
        groups = matcher(coarse=False)
    group_of = group_parameters(source, groups, reverse=True)
    depths = sorted({group_of[name] for name in names})
    return {name: depths.index(group_of[name]) for name in names}


def _stage_of(stages: dict[str, int], parameter: str) -> int:
    try:
        return stages[parameter.removeprefix("model.")]
    except KeyError:
        raise MelanomaError(f"parameter {parameter} belongs to no stage of its backbone") from None


def _rename(key: str) -> str:
    return key if key.startswith("model.") else f"model.{key}"


def _scaling(config: dict[str, Any]) -> Any:
    mean, std = _triple(config["mean"]), _triple(config["std"])
    if mean == std == (0.5, 0.5, 0.5):
        return "half"
    if (mean, std) == ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)):
        return "imagenet"
    return mean, std


def _triple(values: Any) -> Triple:
    first, second, third = (float(value) for value in values)
    return first, second, third


def _license(config: Any) -> str:
    return getattr(config, "license", None) or "license not stated"
