"""Backbones by name: from normalised images (B, 3, S, S) to feature maps (B, D, h, w).

State-dict keys stay those of the source, so that published weights load by name.
"""

from __future__ import annotations

import re
import sys
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from itertools import pairwise
from pathlib import Path
from types import ModuleType

from torch import nn

from melanoma.errors import MelanomaError, RecipeError, suggest
from melanoma.models.backbone_records import Backbone, PublishedWeights
from melanoma.models.lite_backbones import make_lite
from melanoma.models.timm_backbones import PREFIX, find_timm_backbone


def find_backbone(name: str) -> Backbone:
    """The entry of that name, or timm's of timm:NAME. Raises RecipeError listing the known."""
    if name in BACKBONES:
        return BACKBONES[name]
    if name.startswith(PREFIX):
        return find_timm_backbone(name)
    raise RecipeError(
        f"model.backbone: unknown backbone {name!r}; {suggest(name, BACKBONES)}, or timm:NAME"
    )


def _keep(source: nn.Module, *names: str) -> nn.Module:
    """The source's children of these names, in order; its pooling and old head are dropped."""
    return nn.Sequential(OrderedDict((name, getattr(source, name)) for name in names))


@cache
def import_senet() -> ModuleType:
    """pretrainedmodels' senet.py alone: to import the package draws two ResNeXt101 from torch's
    generator, which takes two seconds and 480 MB, and is nothing that this library uses."""
    package = find_spec("pretrainedmodels")
    assert package is not None and package.origin is not None
    file = Path(package.origin).parent / "models" / "senet.py"
    spec = spec_from_file_location("pretrainedmodels_senet", file)
    assert spec is not None and spec.loader is not None
    module = sys.modules[spec.name] = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _build_se_resnext50() -> nn.Module:
    source = import_senet().se_resnext50_32x4d(pretrained=None)
    return _keep(source, "layer0", "layer1", "layer2", "layer3", "layer4")


def _keep_resnet(source: nn.Module) -> nn.Module:
    return _keep(source, "conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def _keep_densenet(source: nn.Module) -> nn.Module:
    # torchvision's forward ends the features with a ReLU that is no module of theirs.
    features = _keep(source, "features")
    features.add_module("relu", nn.ReLU(inplace=True))
    return features


def _keep_features(source: nn.Module) -> nn.Module:
    return _keep(source, "features")


def _densenet_key(key: str) -> str:
    """`norm.1` as `norm1`: the published file is older than torch's ban on dots in names."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)", r"\1", key)


def _stage_by(*stages: tuple[str, ...]) -> Callable[[str], int]:
    """A `stage` that finds a parameter by the prefixes of each stage, stem first."""

    def stage(parameter: str) -> int:
        for depth, prefixes in enumerate(stages):
            if parameter.startswith(prefixes):
                return depth
        raise MelanomaError(f"parameter {parameter} belongs to no stage of its backbone")

    return stage


def _stage_by_blocks(*firsts: int) -> Callable[[str], int]:
    """The same, of blocks features.0, features.1 ...; `firsts` begin a stage each, and the last
    number is the count of the blocks."""
    stages = pairwise(firsts)
    return _stage_by(*(tuple(f"features.{n}." for n in range(*stage)) for stage in stages))


@dataclass(frozen=True)
class _Family:
    """What the models of one paper share: what is kept of torchvision's model, and its keys."""

    keep: Callable[[nn.Module], nn.Module]
    stage: Callable[[str], int]
    ignored: tuple[str, ...] = ("classifier.",)
    rename: Callable[[str], str] = str


_RESNET = _Family(
    _keep_resnet,
    _stage_by(("conv1.", "bn1."), ("layer1.",), ("layer2.",), ("layer3.",), ("layer4.",)),
    ignored=("fc.",),
)
# A transition halves the resolution after its block, and belongs to that block's depth.
_DENSENET = _Family(
    _keep_densenet,
    _stage_by(
        ("features.conv0.", "features.norm0."),
        ("features.denseblock1.", "features.transition1."),
        ("features.denseblock2.", "features.transition2."),
        ("features.denseblock3.", "features.transition3."),
        ("features.denseblock4.", "features.norm5."),
    ),
    rename=_densenet_key,
)
# One stage a resolution: the blocks at strides 2, 4, 8, 16 and 32.
_MOBILENET = _Family(_keep_features, _stage_by_blocks(0, 2, 4, 7, 14, 19))
_EFFICIENTNET = _Family(_keep_features, _stage_by_blocks(0, 2, 3, 4, 6, 9))


def _torchvision(
    name: str, family: _Family, features: int, file: str, *, sha256: str, note: str
) -> Backbone:
    """The entry of torchvision's model of that name; `note` says which of its weights `file` is."""
    return Backbone(
        name=name,
        features=features,
        build=partial(_build_torchvision, name, family),
        stage=family.stage,
        stages=5,
        normalization="imagenet",
        pretrained=PublishedWeights(
            url=f"https://download.pytorch.org/models/{file}",
            sha256=sha256,
            note=f"torchvision (BSD-3-Clause), {note}",
        ),
        ignored=family.ignored,
        rename=family.rename,
    )


def _build_torchvision(name: str, family: _Family) -> nn.Module:
    from torchvision.models import get_model

    return family.keep(get_model(name, weights=None))


_SE_RESNEXT50 = Backbone(
    name="se_resnext50_32x4d",
    features=2048,
    build=_build_se_resnext50,
    stage=_stage_by(("layer0.",), ("layer1.",), ("layer2.",), ("layer3.",), ("layer4.",)),
    stages=5,
    normalization="imagenet",
    # timm's copy of pretrainedmodels' se_resnext50_32x4d-a260b3a4.pth, whose own host is plain
    # http. Nobody states the whole digest of either file, so the pin is the eight digits in the
    # name: it catches a broken or mixed-up file, not a forged one.
    pretrained=PublishedWeights(
        url="https://github.com/huggingface/pytorch-image-models/releases/download/"
        "v0.1-weights/legacy_se_resnext50_32x4d-f3651bad.pth",
        sha256="f3651bad",
        note="ImageNet-1k, converted from hujie-frank/SENet by Cadene's pretrainedmodels "
        "(BSD-3-Clause), republished by timm (Apache-2.0)",
        original="se_resnext50_32x4d-a260b3a4.pth",
    ),
    ignored=("last_linear.",),
)
# Adding a backbone is one entry here; a torchvision model of a known family is one line of its
# name, family, features and published file. The tests run over them all.
BACKBONES: dict[str, Backbone] = {
    "se_resnext50_32x4d": _SE_RESNEXT50,
    "resnet18": _torchvision(
        "resnet18",
        _RESNET,
        512,
        "resnet18-f37072fd.pth",
        sha256="f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
        note="ResNet18_Weights.IMAGENET1K_V1",
    ),
    "resnet34": _torchvision(
        "resnet34",
        _RESNET,
        512,
        "resnet34-b627a593.pth",
        sha256="b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
        note="ResNet34_Weights.IMAGENET1K_V1",
    ),
    "resnet50": _torchvision(
        "resnet50",
        _RESNET,
        2048,
        "resnet50-11ad3fa6.pth",
        sha256="11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
        note="ResNet50_Weights.IMAGENET1K_V2",
    ),
    # V1, for features that stay frozen: V2's training (label smoothing, mixup) scores higher
    # on ImageNet and makes poorer fixed features (Kornblith et al., NeurIPS 2021).
    "resnet152": _torchvision(
        "resnet152",
        _RESNET,
        2048,
        "resnet152-394f9c45.pth",
        sha256="394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58",
        note="ResNet152_Weights.IMAGENET1K_V1",
    ),
    "densenet161": _torchvision(
        "densenet161",
        _DENSENET,
        2208,
        "densenet161-8d451a50.pth",
        sha256="8d451a50bad6b9a83f477126c443716882a17af26e94d338154b058fb2dfd359",
        note="DenseNet161_Weights.IMAGENET1K_V1, converted from liuzhuang13/DenseNet",
    ),
    "efficientnet_b0": _torchvision(
        "efficientnet_b0",
        _EFFICIENTNET,
        1280,
        "efficientnet_b0_rwightman-7f5810bc.pth",
        sha256="7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
        note="EfficientNet_B0_Weights.IMAGENET1K_V1, from timm (Apache-2.0)",
    ),
    "efficientnet_b1": _torchvision(
        "efficientnet_b1",
        _EFFICIENTNET,
        1280,
        "efficientnet_b1-c27df63c.pth",
        sha256="c27df63ce6eb17ef8bcea58922fd3a254cba910c720f41ee89d64d99fb7a4ddf",
        note="EfficientNet_B1_Weights.IMAGENET1K_V2",
    ),
    "efficientnet_b3": _torchvision(
        "efficientnet_b3",
        _EFFICIENTNET,
        1536,
        "efficientnet_b3_rwightman-b3899882.pth",
        sha256="b3899882250c22946d0229d266049fcd133c169233530b36b9ffa7983988362f",
        note="EfficientNet_B3_Weights.IMAGENET1K_V1, from timm (Apache-2.0)",
    ),
    "mobilenet_v2": _torchvision(
        "mobilenet_v2",
        _MOBILENET,
        1280,
        "mobilenet_v2-b0353104.pth",
        sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
        note="MobileNet_V2_Weights.IMAGENET1K_V1",
    ),
    **{entry.name: entry for entry in map(make_lite, range(3))},
}
