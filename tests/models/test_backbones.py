"""Every backbone keeps its source's numbers and names, at any size, and can be told apart."""

from __future__ import annotations

import re
import sys

import pytest
import timm
import torch
from families import FAMILIES
from torch import nn
from torchvision import models

from melanoma.errors import MelanomaError, RecipeError
from melanoma.models.backbone_records import PackagedWeights
from melanoma.models.backbones import BACKBONES, Backbone, find_backbone, import_senet

pytestmark = pytest.mark.slow  # together they take many seconds


def _make_source(name: str) -> nn.Module:
    if name == "se_resnext50_32x4d":
        from pretrainedmodels.models.senet import se_resnext50_32x4d

        return se_resnext50_32x4d(pretrained=None)
    if name.startswith("efficientnet_lite"):
        return timm.create_model(f"tf_{name}")
    return models.get_model(name, weights=None)


HEADS = {"last_linear.": "last_linear", "fc.": "fc", "classifier.": "classifier"}


@pytest.fixture(params=list(BACKBONES))
def entry(request: pytest.FixtureRequest) -> Backbone:
    return BACKBONES[request.param]


def test_every_entry_is_found_under_its_own_name(entry: Backbone) -> None:
    assert find_backbone(entry.name) is entry


def test_pooled_features_under_the_source_s_head_give_the_source_s_logits(entry: Backbone) -> None:
    source = _make_source(entry.name).eval()
    with torch.device("meta"):  # the source's weights take the place of its own
        backbone = find_backbone(entry.name).build().eval()
    theirs = source.state_dict()
    backbone.load_state_dict({key: theirs[key] for key in backbone.state_dict()}, assign=True)
    head = getattr(source, HEADS[entry.ignored[0]])
    # The one size at which pretrainedmodels' head works; torchvision's work at any.
    size = 224 if entry.name == "se_resnext50_32x4d" else 64
    images = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        pooled = backbone(images).mean((2, 3))
        assert pooled.shape == (1, entry.features)
        assert torch.allclose(head(pooled), source(images), atol=1e-5)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_smallest_image_gives_a_map_that_every_weight_decides(name: str) -> None:
    backbone = find_backbone(name).build()
    maps = backbone(torch.randn(2, 3, 32, 32))
    assert not torch.equal(maps[0], maps[1])
    maps.square().sum().backward()
    # A parameter without a gradient would be an old head that training carries along.
    assert all(p.grad is not None for p in backbone.parameters())


@pytest.mark.parametrize("name", FAMILIES)
def test_the_seed_alone_decides_fresh_weights_even_at_the_source_s_first_import(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in [m for m in sys.modules if m.split(".")[0] == "pretrainedmodels"]:
        monkeypatch.delitem(sys.modules, module)
    import_senet.cache_clear()
    torch.manual_seed(0)
    first = find_backbone(name).build().state_dict()
    torch.manual_seed(0)
    second = find_backbone(name).build().state_dict()
    assert all(torch.equal(value, second[key]) for key, value in first.items())
    # The package would draw two networks that nobody asked for: two seconds and 480 MB.
    assert "pretrainedmodels" not in sys.modules


def test_stages_rise_from_stem_to_top_and_none_is_empty(entry: Backbone) -> None:
    with torch.device("meta"):  # names alone
        names = [name for name, _ in find_backbone(entry.name).build().named_parameters()]
    stages = [entry.stage(name) for name in names]
    assert stages == sorted(stages)
    assert set(stages) == set(range(entry.stages))


@pytest.mark.parametrize(
    "name", ["mobilenet_v2", "efficientnet_b0", "efficientnet_b1", "efficientnet_b3"]
)
def test_stages_of_inverted_residuals_follow_their_strides(name: str) -> None:
    entry, backbone = BACKBONES[name], find_backbone(name).build().eval()
    maps = torch.zeros(1, 3, 64, 64)
    for index, block in enumerate(backbone.features):
        maps = block(maps)
        assert 64 // maps.shape[-1] == 2 ** (entry.stage(f"features.{index}.0.weight") + 1)


def test_a_parameter_of_no_stage_is_refused(entry: Backbone) -> None:
    with pytest.raises(MelanomaError, match=r"head\.weight belongs to no stage"):
        entry.stage("head.weight")


def test_published_weights_are_pinned_and_come_over_https(entry: Backbone) -> None:
    published = entry.pretrained
    if isinstance(published, PackagedWeights):
        assert re.fullmatch("[0-9a-f]{64}", published.sha256)
        assert f"-{published.sha256[:8]}." in published.file_name
        return
    assert published.url.startswith("https://")
    assert re.fullmatch("[0-9a-f]{64}|[0-9a-f]{8}", published.sha256)
    # The publishers put the first eight digits into the file's name.
    assert f"-{published.sha256[:8]}." in published.file_name


@pytest.mark.parametrize(
    ("name", "hint"),
    [("se_resnext50", "did you mean se_resnext50_32x4d?"), ("efficientnet", "efficientnet_b0")],
)
def test_an_unknown_backbone_lists_the_known_ones(name: str, hint: str) -> None:
    with pytest.raises(RecipeError) as refusal:
        find_backbone(name).build()
    assert hint in str(refusal.value)
    assert all(known in str(refusal.value) for known in BACKBONES)


def test_a_name_like_nothing_known_gets_no_suggestion() -> None:
    with pytest.raises(RecipeError) as refusal:
        find_backbone("vit")
    assert "did you mean" not in str(refusal.value)
