"""Backbones by name: from normalised images (B, 3, S, S) to feature maps (B, D, h, w).

State-dict keys stay those of the source, so that published weights load by name.
"""

from __future__ import annotations

import difflib
import re
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import nn

from melanoma.errors import MelanomaError, RecipeError


@dataclass(frozen=True)
class PublishedWeights:
    """Where a backbone's ImageNet weights are published, and what they must hash to.

    `sha256` holds all 64 digits, or the first eight where the publisher states no more (in the
    file's name); the file's digest must start with it.
    """

    url: str
    sha256: str
    note: str

    @property
    def file_name(self) -> str:
        """The file's name, as published."""
        return self.url.rsplit("/", 1)[1]


@dataclass(frozen=True)
class Backbone:
    """How to build a backbone, and what the rest of the library must know about it.

    `stage` maps the name of a parameter to its depth, from 0 (stem) to `stages` - 1 (top).
    `normalization` is the scaling that the published weights expect. `ignored` are the key
    prefixes of the published file that belong to its ImageNet head; `rename` turns its other keys
    into the backbone's.
    """

    name: str
    features: int
    build: Callable[[], nn.Module]
    stage: Callable[[str], int]
    stages: int
    normalization: Literal["imagenet", "half"]
    pretrained: PublishedWeights
    ignored: tuple[str, ...]
    rename: Callable[[str], str] = str


def find_backbone(name: str) -> Backbone:
    """The entry of that name. Raises RecipeError listing the known ones."""
    if name in BACKBONES:
        return BACKBONES[name]
    close = difflib.get_close_matches(name, BACKBONES, n=1)
    hint = f"did you mean {close[0]}? " if close else ""
    raise RecipeError(
        f"model.backbone: unknown backbone {name!r}; {hint}(known: {', '.join(BACKBONES)})"
    )


def make_backbone(name: str) -> nn.Module:
    """A backbone with fresh weights from torch's generator, any S from 32 up.

    Raises RecipeError for an unknown name.
    """
    return find_backbone(name).build()


def _keep(source: nn.Module, *names: str) -> nn.Module:
    """The source's children of these names, in order; its pooling and old head are dropped."""
    return nn.Sequential(OrderedDict((name, getattr(source, name)) for name in names))


def _build_se_resnext50() -> nn.Module:
    # Slow to import, and only needed here. Its import draws from torch's generator: the first
    # fold of a process would begin with other weights than the same fold alone or after another.
    with torch.random.fork_rng(devices=[]):
        from pretrainedmodels.models.senet import se_resnext50_32x4d

    source = se_resnext50_32x4d(pretrained=None)
    return _keep(source, "layer0", "layer1", "layer2", "layer3", "layer4")


def _keep_resnet(source: nn.Module) -> nn.Module:
    return _keep(source, "conv1", "bn1", "relu", "maxpool", "layer1", "layer2", "layer3", "layer4")


def _build_resnet18() -> nn.Module:
    from torchvision.models import resnet18

    return _keep_resnet(resnet18(weights=None))


def _build_resnet34() -> nn.Module:
    from torchvision.models import resnet34

    return _keep_resnet(resnet34(weights=None))


def _build_resnet50() -> nn.Module:
    from torchvision.models import resnet50

    return _keep_resnet(resnet50(weights=None))


def _build_resnet152() -> nn.Module:
    from torchvision.models import resnet152

    return _keep_resnet(resnet152(weights=None))


def _build_densenet161() -> nn.Module:
    from torchvision.models import densenet161

    # torchvision's forward ends the features with a ReLU that is no module of theirs.
    features = densenet161(weights=None).features
    return nn.Sequential(OrderedDict(features=features, relu=nn.ReLU(inplace=True)))


def _densenet_key(key: str) -> str:
    """`norm.1` as `norm1`: the published file is older than torch's ban on dots in names."""
    return re.sub(r"(denselayer\d+\.(?:norm|conv))\.(?=[12]\.)", r"\1", key)


def _build_efficientnet_b0() -> nn.Module:
    from torchvision.models import efficientnet_b0

    return _keep(efficientnet_b0(weights=None), "features")


def _build_efficientnet_b1() -> nn.Module:
    from torchvision.models import efficientnet_b1

    return _keep(efficientnet_b1(weights=None), "features")


def _build_efficientnet_b3() -> nn.Module:
    from torchvision.models import efficientnet_b3

    return _keep(efficientnet_b3(weights=None), "features")


def _build_mobilenet_v2() -> nn.Module:
    from torchvision.models import mobilenet_v2

    return _keep(mobilenet_v2(weights=None), "features")


def _stage_by(*stages: tuple[str, ...]) -> Callable[[str], int]:
    """A `stage` that finds a parameter by the prefixes of each stage, stem first."""

    def stage(parameter: str) -> int:
        for depth, prefixes in enumerate(stages):
            if parameter.startswith(prefixes):
                return depth
        raise MelanomaError(f"parameter {parameter} belongs to no stage of its backbone")

    return stage


_SE_STAGE = _stage_by(("layer0.",), ("layer1.",), ("layer2.",), ("layer3.",), ("layer4.",))
_RESNET_STAGE = _stage_by(
    ("conv1.", "bn1."), ("layer1.",), ("layer2.",), ("layer3.",), ("layer4.",)
)
# One stage a resolution: the blocks at strides 2, 4, 8, 16 and 32.
_MOBILENET_STAGE = _stage_by(
    *(
        tuple(f"features.{block}." for block in blocks)
        for blocks in (range(2), range(2, 4), range(4, 7), range(7, 14), range(14, 19))
    )
)

_EFFICIENTNET_STAGE = _stage_by(
    *(
        tuple(f"features.{block}." for block in blocks)
        for blocks in (range(2), range(2, 3), range(3, 4), range(4, 6), range(6, 9))
    )
)
# A transition halves the resolution after its block, and belongs to that block's depth.
_DENSENET_STAGE = _stage_by(
    ("features.conv0.", "features.norm0."),
    ("features.denseblock1.", "features.transition1."),
    ("features.denseblock2.", "features.transition2."),
    ("features.denseblock3.", "features.transition3."),
    ("features.denseblock4.", "features.norm5."),
)

# Adding a backbone is one function and one entry here; the tests run over them all.
BACKBONES: dict[str, Backbone] = {
    "se_resnext50_32x4d": Backbone(
        name="se_resnext50_32x4d",
        features=2048,
        build=_build_se_resnext50,
        stage=_SE_STAGE,
        stages=5,
        normalization="imagenet",
        # timm's copy of pretrainedmodels' se_resnext50_32x4d-a260b3a4.pth, whose own host is
        # plain http. Nobody states the whole digest of either file, so the pin is the eight
        # digits in the name: it catches a broken or mixed-up file, not a forged one.
        pretrained=PublishedWeights(
            url="https://github.com/huggingface/pytorch-image-models/releases/download/"
            "v0.1-weights/legacy_se_resnext50_32x4d-f3651bad.pth",
            sha256="f3651bad",
            note="ImageNet-1k, converted from hujie-frank/SENet by Cadene's pretrainedmodels "
            "(BSD-3-Clause), republished by timm (Apache-2.0)",
        ),
        ignored=("last_linear.",),
    ),
    "resnet18": Backbone(
        name="resnet18",
        features=512,
        build=_build_resnet18,
        stage=_RESNET_STAGE,
        stages=5,
        normalization="imagenet",
        pretrained=PublishedWeights(
            url="https://download.pytorch.org/models/resnet18-f37072fd.pth",
            sha256="f37072fd47e89c5e827621c5baffa7500819f7896bbacec160b1a16c560e07ec",
            note="torchvision (BSD-3-Clause), ResNet18_Weights.IMAGENET1K_V1",
        ),
        ignored=("fc.",),
    ),
    "resnet34": Backbone(
        name="resnet34",
        features=512,
        build=_build_resnet34,
        stage=_RESNET_STAGE,
        stages=5,
        normalization="imagenet",
        pretrained=PublishedWeights(
            url="https://download.pytorch.org/models/resnet34-b627a593.pth",
            sha256="b627a593bcbe140c234610266fe4f8ae95ea42fc881d091c9b6052e6b1d0590f",
            note="torchvision (BSD-3-Clause), ResNet34_Weights.IMAGENET1K_V1",
        ),
        ignored=("fc.",),
    ),
    "resnet50": Backbone(
        name="resnet50",
        features=2048,
        build=_build_resnet50,
        stage=_RESNET_STAGE,
        stages=5,
        normalization="imagenet",
        pretrained=PublishedWeights(
            url="https://download.pytorch.org/models/resnet50-11ad3fa6.pth",
            sha256="11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
            note="torchvision (BSD-3-Clause), ResNet50_Weights.IMAGENET1K_V2",
        ),
        ignored=("fc.",),
    ),
    "resnet152": Backbone(
        name="resnet152",
        features=2048,
        build=_build_resnet152,
        stage=_RESNET_STAGE,
        stages=5,
        normalization="imagenet",
        # V1, for features that stay frozen: V2's training (label smoothing, mixup) scores higher
        # on ImageNet and makes poorer fixed features (Kornblith et al., NeurIPS 2021).
        pretrained=PublishedWeights(
            url="https://download.pytorch.org/models/resnet152-394f9c45.pth",
            sha256="394f9c45966e3651a89bbb78a48410a6755854ce4a5ab64927cf1c7247f85e58",
            note="torchvision (BSD-3-Clause), ResNet152_Weights.IMAGENET1K_V1",
        ),
        ignored=("fc.",),
    ),
    "densenet161": Backbone(
        name="densenet161",
        features=2208,
        build=_build_densenet161,
        stage=_DENSENET_STAGE,
        stages=5,
        normalization="imagenet",
        pretrained=PublishedWeights(
            url="https://download.pytorch.org/models/densenet161-8d451a50.pth",
            sha256="8d451a50bad6b9a83f477126c443716882a17af26e94d338154b058fb2dfd359",
            note="torchvision (BSD-3-Clause), DenseNet161_Weights.IMAGENET1K_V1, converted from "
            "liuzhuang13/DenseNet",
        ),
        ignored=("classifier.",),
        rename=_densenet_key,
    ),
    "efficientnet_b0": Backbone(
        name="efficientnet_b0",
        features=1280,
        build=_build_efficientnet_b0,
        stage=_EFFICIENTNET_STAGE,
        stages=5,
        normalization="imagenet",
        pretrained=PublishedWeights(
            url="https://download.pytorch.org/models/efficientnet_b0_rwightman-7f5810bc.pth",
            sha256="7f5810bc96def8f7552d5b7e68d53c4786f81167d28291b21c0d90e1fca14934",
            note="torchvision (BSD-3-Clause), EfficientNet_B0_Weights.IMAGENET1K_V1, from timm "
            "(Apache-2.0)",
        ),
        ignored=("classifier.",),
    ),
    "efficientnet_b1": Backbone(
        name="efficientnet_b1",
        features=1280,
        build=_build_efficientnet_b1,
        stage=_EFFICIENTNET_STAGE,
        stages=5,
        normalization="imagenet",
        pretrained=PublishedWeights(
            url="https://download.pytorch.org/models/efficientnet_b1-c27df63c.pth",
            sha256="c27df63ce6eb17ef8bcea58922fd3a254cba910c720f41ee89d64d99fb7a4ddf",
            note="torchvision (BSD-3-Clause), EfficientNet_B1_Weights.IMAGENET1K_V2",
        ),
        ignored=("classifier.",),
    ),
    "efficientnet_b3": Backbone(
        name="efficientnet_b3",
        features=1536,
        build=_build_efficientnet_b3,
        stage=_EFFICIENTNET_STAGE,
        stages=5,
        normalization="imagenet",
        pretrained=PublishedWeights(
            url="https://download.pytorch.org/models/efficientnet_b3_rwightman-b3899882.pth",
            sha256="b3899882250c22946d0229d266049fcd133c169233530b36b9ffa7983988362f",
            note="torchvision (BSD-3-Clause), EfficientNet_B3_Weights.IMAGENET1K_V1, from timm "
            "(Apache-2.0)",
        ),
        ignored=("classifier.",),
    ),
    "mobilenet_v2": Backbone(
        name="mobilenet_v2",
        features=1280,
        build=_build_mobilenet_v2,
        stage=_MOBILENET_STAGE,
        stages=5,
        normalization="imagenet",
        pretrained=PublishedWeights(
            url="https://download.pytorch.org/models/mobilenet_v2-b0353104.pth",
            sha256="b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
            note="torchvision (BSD-3-Clause), MobileNet_V2_Weights.IMAGENET1K_V1",
        ),
        ignored=("classifier.",),
    ),
}
