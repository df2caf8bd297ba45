"""timm's models as backbones: timm's own numbers, stages, files and maps, family by family."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import timm
import torch
from safetensors.torch import save_file

from melanoma.errors import MelanomaError, RecipeError, WeightsError
from melanoma.models import published_weights
from melanoma.models.backbones import find_backbone
from melanoma.models.classifier import Classifier, make_classifier, make_faster, parameter_groups
from melanoma.models.pretrained import load_pretrained
from melanoma.models.timm_backbones import find_timm_backbone, require_timm_size
from melanoma.scoring.explain.gradcam import map_evidence

pytestmark = pytest.mark.slow  # together they take many seconds

SIZE = 64
# The smallest of each family.
FAMILIES = [
    "resnet10t",
    "convnext_atto",
    "tf_efficientnetv2_b0",
    "vit_tiny_patch16_224",
    "deit_tiny_distilled_patch16_224",
    "eva02_tiny_patch14_224",
    "swin_tiny_patch4_window7_224",
    "mobilenetv3_small_050",
    "mobilevit_xxs",
    "coat_tiny",
    "repvit_m0_9",
]
OF_ITS_OWN_SIZE = {"coat_tiny"}
FROM_A_TOKEN = {"vit_tiny_patch16_224", "deit_tiny_distilled_patch16_224", "coat_tiny"}


class Pair(NamedTuple):
    """timm's model with its classifier, and ours, on the same weights from the same file."""

    name: str
    source: Any
    ours: Classifier
    provenance: str


@pytest.fixture(scope="module", params=FAMILIES)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    torch.manual_seed(0)
    name = f"timm:{request.param}"
    # timm's own model has the size that its positions are of; ours takes any.
    source = timm.create_model(request.param, pretrained=False, num_classes=7).eval()
    path = tmp_path_factory.mktemp("timm") / "weights.safetensors"
    # Clones: CoaT has some tensors under two names.
    save_file({k: value.clone().contiguous() for k, value in source.state_dict().items()}, path)
    ours = make_classifier(name, outputs=3).eval()
    return Pair(
        name,
        source,
        ours,
        load_pretrained(ours.backbone, name, source=str(path), folder=path.parent),
    )


def test_an_embedding_is_what_timm_gives_before_its_classifier(pair: Pair) -> None:
    size = pair.source.pretrained_cfg["input_size"][-1]
    images = torch.randn(1, 3, size, size)
    with torch.inference_mode():
        features = pair.source.forward_features(images)
        expected = pair.source.forward_head(features, pre_logits=True)
        found = pair.ours.embed(images)
    assert found.shape == (1, find_backbone(pair.name).features)
    assert torch.allclose(found, expected, atol=1e-4)
    assert pair.provenance.startswith("file sha256:")


def test_each_parameter_is_of_one_stage_and_learns_the_slower_the_deeper(pair: Pair) -> None:
    entry = find_backbone(pair.name)
    names = [name for name, _ in pair.ours.backbone.named_parameters()]
    stages = {entry.stage(name) for name in names}
    assert stages == set(range(entry.stages))
    assert entry.stages >= 4
    groups = parameter_groups(
        pair.ours, pair.name, rate=1.0, weight_decay=0.1, depth_decay=0.5, backbone_ratio=0.5
    )
    assert sum(len(group["params"]) for group in groups) == len(list(pair.ours.parameters()))
    rates = {group["name"].removesuffix("_no_decay"): group["lr"] for group in groups}
    assert rates["head"] == 1.0
    assert rates["stage_0"] == 0.5 * 0.5**entry.stages
    with pytest.raises(MelanomaError, match="belongs to no stage"):
        entry.stage("head.weight")


def test_it_learns_scores_fast_and_shows_its_places(pair: Pair) -> None:
    own = pair.name.removeprefix("timm:") in OF_ITS_OWN_SIZE
    size = pair.source.pretrained_cfg["input_size"][-1] if own else SIZE
    images = torch.randn(2, 3, size, size)
    with torch.inference_mode():
        expected = pair.ours(images)
        faster = make_faster(pair.ours, torch.float32)(images)
        rough = make_faster(pair.ours, torch.bfloat16)(images.bfloat16())
    assert torch.allclose(faster, expected, atol=1e-4)
    assert rough.dtype == torch.float32
    assert torch.allclose(rough, expected, atol=0.1)
    if pair.name.removeprefix("timm:") in FROM_A_TOKEN:
        with pytest.raises(RecipeError, match="class token: ask for LIME"):
            map_evidence(pair.ours, images[:1], evidence=lambda logits: logits[0, 0])
    else:
        heat = map_evidence(pair.ours, images[:1], evidence=lambda logits: logits[0, 0])
        assert heat.ndim == 2
        assert heat.shape[0] == heat.shape[1]
        assert 0 <= heat.min() <= heat.max() <= 1
    pair.ours.train()(images).square().sum().backward()
    learned = [p.grad is not None for p in pair.ours.parameters()]
    # A distillation token's embedding counts, a second head's weights would not.
    assert all(learned)


def test_scaling_and_origin_are_timms_own() -> None:
    assert find_backbone("timm:vit_tiny_patch16_224").normalization == "half"
    assert find_backbone("timm:resnet10t").normalization == "imagenet"
    mean, std = find_backbone("timm:eva02_tiny_patch14_224").normalization
    assert mean[0] == pytest.approx(0.4815, abs=1e-4)
    assert std[2] == pytest.approx(0.2758, abs=1e-4)


def test_finer_stages_stand_in_where_a_family_states_no_others() -> None:
    entry = find_backbone("timm:rdnet_tiny")
    parameters = ["stem.0.weight", "dense_stages.0.0.dense_block0.gamma", "head.norm.weight"]
    depths = [entry.stage(f"model.{name}") for name in parameters]
    assert depths[:2] == [0, 1]
    assert depths[2] > 1


def test_a_model_that_timm_does_not_know_is_refused_with_those_near_it() -> None:
    with pytest.raises(RecipeError, match=r"no model 'resnet10tt'; did you mean resnet10t"):
        find_backbone("timm:resnet10tt")


def test_weights_that_timm_has_not_are_refused_with_those_that_it_has() -> None:
    with pytest.raises(RecipeError, match=r"no weights called .*; it has convnext_atto\."):
        find_backbone("timm:convnext_atto.fb_in1k")


def test_a_size_that_the_model_cannot_take_is_refused_with_its_own() -> None:
    require_timm_size("timm:resnet10t", 96)
    with pytest.raises(RecipeError, match=r"of 64 px; its own are of 256 px .*image\.size=256"):
        require_timm_size("timm:maxvit_rmlp_pico_rw_256", SIZE)


def test_weights_that_timm_cannot_fetch_are_one_line_with_the_way_on(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Offline:
        def create_model(self, *_: Any, **__: Any) -> Any:
            raise OSError("We couldn't connect\nto the hub")

    backbone = find_backbone("timm:resnet10t").build()
    monkeypatch.setattr(published_weights, "import_timm", Offline)
    with pytest.raises(WeightsError) as refusal:
        load_pretrained(backbone, "timm:resnet10t", source="imagenet", folder=tmp_path)
    line = str(refusal.value)
    assert "no weights of resnet10t at hand (We couldn't connect to the hub)" in line
    assert "--pretrained PATH" in line


def test_without_timm_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    there = builtins.__import__

    def absent(name: str, *arguments: Any, **options: Any) -> Any:
        if name == "timm":
            raise ImportError(name)
        return there(name, *arguments, **options)

    find_timm_backbone.cache_clear()
    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(RecipeError, match=r"pip install 'melanoma\[timm\]'"):
        find_backbone("timm:resnet10t")
