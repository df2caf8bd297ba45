"""A member as a folder that timm loads: `timm.create_model("local-dir:FOLDER", pretrained=True)`.

timm has every backbone of ours, with the same tensors in the same order under its own names. That a
model of timm's gives the member's logits is not taken for granted: it is compared on pictures, and
what differs becomes no such folder. The calibration is an affine map of the logits, so it goes into
the last layer: softmax (or sigmoid, of one output) of what the model gives is the member's
calibrated probability.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import Tensor, nn

from melanoma.data.transforms import NORMALIZATIONS, Normalize, to_tensor
from melanoma.errors import RecipeError
from melanoma.models.classifier import Classifier
from melanoma.models.seed_mean import Network
from melanoma.models.timm_backbones import PREFIX, create_timm_model, import_timm
from melanoma.recipe.sections import Scaling
from melanoma.scoring.bundle.bundle import Bundle, Member
from melanoma.scoring.export.graph import check_squares
from melanoma.storage import write_bytes, write_json

# Our backbones by timm's names; those of `timm:NAME` have theirs already.
ARCHITECTURES = {
    "se_resnext50_32x4d": "legacy_seresnext50_32x4d",
    "mobilenet_v2": "mobilenetv2_100",
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 152)},
    "densenet161": "densenet161",
    **{f"efficientnet_b{number}": f"efficientnet_b{number}" for number in (0, 1, 3)},
    **{f"efficientnet_lite{number}": f"tf_efficientnet_lite{number}" for number in (0, 1, 2)},
}
_LARGEST = 1e-3  # of a logit, as a share of it where it is above 1


@dataclass(frozen=True)
class TimmMember:
    """A model of timm with a member's weights, the calibration in its last layer."""

    model: Any
    architecture: str
    options: Mapping[str, bool]


def require_timm() -> None:
    """Raise RecipeError where timm is not installed."""
    if importlib.util.find_spec("timm") is None:
        raise RecipeError("--to huggingface: timm is not installed; pip install 'melanoma[timm]'")


def make_timm_member(bundle: Bundle, member: Member, network: Network) -> TimmMember | None:
    """timm's model that gives the member's calibrated logits; None where timm has none that does:
    several networks a member, a head with hidden layers, or a family built otherwise."""
    known = bundle.backbone.startswith(PREFIX) or bundle.backbone in ARCHITECTURES
    if not known or not isinstance(network, Classifier) or bundle.head is not None:
        return None
    options: dict[str, bool] = {}
    if bundle.backbone.startswith(PREFIX):
        architecture = bundle.backbone.removeprefix(PREFIX).split(".")[0]
        model, options = create_timm_model(architecture, outputs=bundle.outputs)
    else:
        architecture = ARCHITECTURES[bundle.backbone]
        model = import_timm().create_model(architecture, num_classes=bundle.outputs)
    if not _copy_weights(network, model) or not _agree(network, model.eval(), bundle):
        return None
    _calibrate(_last_layer(model), bundle, member)
    return TimmMember(model, architecture, options)


def write_timm_member(
    made: TimmMember, bundle: Bundle, facts: Mapping[str, Any], folder: Path
) -> None:
    """Write config.json and model.safetensors. `facts` stand in the config under melanoma."""
    write_json(folder / "config.json", _config(made, bundle, facts))
    # Clones: a file has no names for one tensor twice, which some families have.
    tensors = {name: value.contiguous().clone() for name, value in made.model.state_dict().items()}
    write_bytes(folder / "model.safetensors", save(tensors, metadata={"format": "pt"}))


def _copy_weights(network: Classifier, model: Any) -> bool:
    """Whether all weights of `network` found their place in `model`, which holds no others."""
    names = [*model.state_dict()]
    last = f"{_classifier_name(model)}."
    if not isinstance(_last_layer(model), nn.Linear):
        return False
    ours = [*network.backbone.state_dict().values()]
    theirs = [name for name in names if not name.startswith(last)]
    if len(ours) != len(theirs):
        return False
    weights = dict(zip(theirs, ours, strict=True))
    weights |= {f"{last}{name}": value for name, value in network.last_layer.state_dict().items()}
    state = model.state_dict()
    if weights.keys() != state.keys() or any(weights[n].shape != state[n].shape for n in names):
        return False
    model.load_state_dict(weights)
    return True


@torch.inference_mode()
def _agree(network: Classifier, model: Any, bundle: Bundle) -> bool:
    images = to_tensor(check_squares(bundle.size), normalize=bundle.normalize)
    ours: Tensor = network(images).float()
    largest = ((model(images) - ours).abs() / ours.abs().clamp(min=1)).max()
    return bool(largest <= _LARGEST)


@torch.no_grad()
def _calibrate(layer: nn.Linear, bundle: Bundle, member: Member) -> None:
    """slope * (logit - shift) + intercept, as weights and bias."""
    slope, intercept = bundle.calibration.slope, np.asarray(bundle.calibration.intercept)
    constant = torch.tensor(intercept - slope * np.asarray(member.prior_shift))
    layer.bias.copy_(slope * layer.bias.double() + constant)
    layer.weight.mul_(slope)


def _classifier_name(model: Any) -> str:
    name = model.pretrained_cfg.get("classifier", "")
    return name if isinstance(name, str) else ""


def _last_layer(model: Any) -> Any:
    return model.get_submodule(_classifier_name(model))


def _config(made: TimmMember, bundle: Bundle, facts: Mapping[str, Any]) -> dict[str, Any]:
    mean, std = _scaling(bundle.normalize)
    source = made.model.pretrained_cfg
    # Of one output the last class's probability is the sigmoid; the first's is what is left.
    labels = list(bundle.classes)[-bundle.outputs :]
    return {
        "architecture": made.architecture,
        "num_classes": bundle.outputs,
        "num_features": int(made.model.num_features),
        "label_names": labels,
        **({"model_args": dict(made.options)} if made.options else {}),
        "pretrained_cfg": {
            "num_classes": bundle.outputs,
            "input_size": [3, bundle.size, bundle.size],
            "fixed_input_size": False,
            # Of Pillow's ways the nearest to OpenCV's INTER_AREA: its box takes a pixel whole or
            # not at all.
            "interpolation": "bilinear",
            "crop_pct": 1.0,
            "crop_mode": "center" if bundle.fit == "center" else "squash",
            "mean": mean,
            "std": std,
            "first_conv": source.get("first_conv"),
            "classifier": source.get("classifier"),
            "custom_load": False,
        },
        "melanoma": dict(facts),
    }


def _scaling(normalize: Normalize) -> tuple[list[float], list[float]]:
    if isinstance(normalize, Scaling):
        return list(normalize.mean), list(normalize.std)
    mean, std = NORMALIZATIONS[normalize]
    return list(mean), list(std)
