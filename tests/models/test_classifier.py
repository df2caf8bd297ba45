"""A classifier over a backbone of each family: one embedding, one linear head, honest groups."""

from __future__ import annotations

import math
from typing import get_args

import pytest
import torch
from families import FAMILIES
from torch import nn
from torch.nn import functional as F

from melanoma.errors import DataError, RecipeError
from melanoma.models.backbones import BACKBONES
from melanoma.models.classifier import (
    ACTIVATIONS,
    Classifier,
    make_classifier,
    make_faster,
    parameter_groups,
)
from melanoma.recipe.sections import Head

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs

# Of float32 over the 152 layers of the deepest; what the tests tell apart differs by far more.
_NOISE = 1e-3


@pytest.fixture(scope="module", params=FAMILIES)
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def classifier(name: str) -> Classifier:
    """Fresh weights, with BatchNorm's statistics of one batch.

    Without them a fresh mobilenet_v2 answers every image alike, and no test below could fail.
    A test that changes weights makes its own.
    """
    torch.manual_seed(0)
    fresh = make_classifier(name, outputs=1)
    for module in fresh.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.inference_mode():
        fresh(_images(128, seed=1))
    return fresh.eval()


def _images(size: int = 32, *, seed: int = 0) -> torch.Tensor:
    return torch.randn(2, 3, size, size, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("size", [32, 96])
@torch.inference_mode()
def test_the_head_of_the_embedding_is_the_answer(
    classifier: Classifier, name: str, size: int
) -> None:
    embedding = classifier.embed(_images(size))
    assert embedding.shape == (2, BACKBONES[name].features)
    assert torch.allclose(classifier.head(embedding), classifier(_images(size)), atol=1e-6)


@torch.inference_mode()
def test_an_image_s_logit_does_not_depend_on_its_batch_in_eval(classifier: Classifier) -> None:
    images = _images()
    alone = torch.cat([classifier(image[None]) for image in images])
    assert torch.allclose(alone, classifier(images), atol=_NOISE)


@torch.inference_mode()
def test_red_and_blue_swapped_changes_the_answer(classifier: Classifier) -> None:
    images = _images(64)  # of 32 px a fresh efficientnet_b1 tells too little apart
    assert not torch.allclose(classifier(images.flip(1)), classifier(images), atol=_NOISE)


@torch.inference_mode()
def test_channels_last_gives_the_same_logits(classifier: Classifier) -> None:
    images = _images()
    plain = classifier(images)
    last = classifier.to(memory_format=torch.channels_last)
    swapped = last(images.to(memory_format=torch.channels_last))
    classifier.to(memory_format=torch.contiguous_format)
    assert torch.allclose(swapped, plain, atol=_NOISE)


def test_training_reaches_every_parameter() -> None:
    # That it does in every backbone, test_backbones.py shows.
    classifier = make_classifier("resnet18", outputs=1).train()
    before = {key: value.clone() for key, value in classifier.state_dict().items()}
    optimizer = torch.optim.SGD(
        parameter_groups(classifier, "resnet18", rate=0.1, weight_decay=0.0, depth_decay=1.0)
    )
    classifier(_images()).square().sum().backward()
    assert all(p.grad is not None for p in classifier.parameters())
    optimizer.step()
    assert not torch.equal(before["head.weight"], classifier.head.weight)
    assert not torch.equal(before["head.bias"], classifier.head.bias)


def test_the_answer_is_a_logit_and_no_probability() -> None:
    classifier = make_classifier("resnet18", outputs=3).eval()
    nn.init.constant_(classifier.head.bias, 7.0)
    nn.init.zeros_(classifier.head.weight)
    with torch.inference_mode():
        assert torch.equal(classifier(_images()), torch.full((2, 3), 7.0))


def test_state_dict_keys_are_the_backbone_s_and_the_head_s(classifier: Classifier) -> None:
    keys = classifier.state_dict().keys()
    assert {key for key in keys if not key.startswith("backbone.")} == {"head.weight", "head.bias"}
    assert {key for key in keys if key.startswith("backbone.")} == {
        f"backbone.{key}" for key in classifier.backbone.state_dict()
    }


def test_a_head_with_hidden_layers_is_what_it_is_called() -> None:
    head = Head(hidden=(7, 5), dropout=0.5, activation="gelu")
    classifier = make_classifier("resnet18", outputs=3, head=head).eval()
    keys = {key for key in classifier.state_dict() if not key.startswith("backbone.")}
    assert keys == {f"head.{i}.{part}" for i in (0, 3, 6) for part in ("weight", "bias")}
    first, second, third = (classifier.head[i] for i in (0, 3, 6))
    with torch.inference_mode():
        embedding = classifier.embed(_images())
        expected = third(F.gelu(second(F.gelu(first(embedding)))))
        assert torch.allclose(classifier(_images()), expected, atol=1e-6)
        classifier.head.train()
        assert not torch.allclose(classifier(_images()), expected, atol=1e-3)


def test_every_activation_that_a_recipe_may_name_is_there() -> None:
    assert set(get_args(Head.model_fields["activation"].annotation)) == set(ACTIVATIONS)


@pytest.mark.parametrize("head", [None, Head(hidden=(8,))])
def test_the_prior_is_in_the_last_layer_whatever_the_head(head: Head | None) -> None:
    one = make_classifier("resnet18", outputs=1, head=head, class_shares=[0.982, 0.018])
    assert torch.sigmoid(one.last_layer.bias).item() == pytest.approx(0.018)
    three = make_classifier("resnet18", outputs=3, head=head, class_shares=[0.5, 0.3, 0.2])
    assert three.last_layer.bias.softmax(0).tolist() == pytest.approx([0.5, 0.3, 0.2])


def test_dropout_stands_before_the_head_and_only_in_training() -> None:
    classifier = make_classifier("resnet18", outputs=1, dropout=0.9)
    nn.init.ones_(classifier.head.weight)
    nn.init.zeros_(classifier.head.bias)
    classifier.backbone.eval()
    with torch.inference_mode():
        kept = classifier.eval()(_images())
        classifier.dropout.train()
        assert torch.equal(classifier.embed(_images()), classifier.embed(_images()))
        assert not torch.allclose(classifier(_images()), kept)


def test_a_fresh_head_starts_at_the_prior() -> None:
    classifier = make_classifier("resnet18", outputs=1, class_shares=[0.982, 0.018])
    assert torch.sigmoid(classifier.head.bias).item() == pytest.approx(0.018)


def test_every_trainable_parameter_is_in_exactly_one_group(
    name: str, classifier: Classifier
) -> None:
    groups = parameter_groups(classifier, name, rate=1e-3, weight_decay=0.1, depth_decay=0.5)
    grouped = [id(p) for group in groups for p in group["params"]]
    assert sorted(grouped) == sorted(id(p) for p in classifier.parameters())
    assert all(set(group) == {"params", "lr", "weight_decay", "name"} for group in groups)
    assert len({group["name"] for group in groups}) == len(groups)


def test_biases_and_norms_take_no_weight_decay(name: str, classifier: Classifier) -> None:
    groups = parameter_groups(classifier, name, rate=1e-3, weight_decay=0.1, depth_decay=0.5)
    for group in groups:
        bare = group["weight_decay"] == 0.0
        assert bare == group["name"].endswith("_no_decay")
        assert all((p.ndim <= 1) == bare for p in group["params"])


def test_the_rate_falls_by_the_same_ratio_from_head_to_stem(
    name: str, classifier: Classifier
) -> None:
    stages = BACKBONES[name].stages
    groups = parameter_groups(classifier, name, rate=1e-3, weight_decay=0.1, depth_decay=0.5)
    rates = {group["name"].removesuffix("_no_decay"): group["lr"] for group in groups}
    assert list(rates) == ["head", *(f"stage_{i}" for i in reversed(range(stages)))]
    assert rates["head"] == 1e-3
    for i in range(stages):
        assert math.isclose(rates[f"stage_{i}"], 1e-3 * 0.5 ** (stages - i))
    stem = next(iter(classifier.backbone.parameters()))
    (owner,) = [g for g in groups if any(p is stem for p in g["params"])]
    assert owner["name"] == "stage_0"


@pytest.mark.parametrize(("ratio", "decay"), [(0.1, 1.0), (0.1, 0.5), (1.0, 0.5)])
def test_the_backbone_s_ratio_comes_on_top_of_the_depth(
    ratio: float, decay: float, name: str, classifier: Classifier
) -> None:
    stages = BACKBONES[name].stages
    groups = parameter_groups(
        classifier, name, rate=1e-3, weight_decay=0.1, depth_decay=decay, backbone_ratio=ratio
    )
    for group in groups:
        part = group["name"].removesuffix("_no_decay")
        depth = stages if part == "head" else int(part.removeprefix("stage_"))
        expected = 1e-3 if part == "head" else 1e-3 * ratio * decay ** (stages - depth)
        assert group["lr"] == pytest.approx(expected, rel=1e-12)


def test_without_depth_decay_there_is_one_rate(name: str, classifier: Classifier) -> None:
    groups = parameter_groups(classifier, name, rate=1e-3, weight_decay=0.1, depth_decay=1.0)
    assert {group["lr"] for group in groups} == {1e-3}


def test_frozen_parameters_are_in_no_group() -> None:
    classifier = make_classifier("resnet18", outputs=1)
    classifier.backbone.requires_grad_(False)
    groups = parameter_groups(classifier, "resnet18", rate=1.0, weight_decay=0.1, depth_decay=0.5)
    assert [group["name"] for group in groups] == ["head", "head_no_decay"]


@pytest.mark.parametrize("share", [0.0, 1.0, math.nan])
def test_a_share_without_both_classes_is_refused(share: float) -> None:
    with pytest.raises(DataError, match="every class"):
        make_classifier("resnet18", outputs=1, class_shares=[1 - share, share])


def test_several_outputs_start_at_the_shares_of_their_classes() -> None:
    shares = [0.7, 0.2, 0.1]
    classifier = make_classifier("resnet18", outputs=3, class_shares=shares)
    assert classifier.head.bias.softmax(dim=0).tolist() == pytest.approx(shares)


@pytest.mark.parametrize("shares", [[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [math.nan, 0.5, 0.5]])
def test_shares_without_every_class_are_refused(shares: list[float]) -> None:
    with pytest.raises(DataError, match="every class"):
        make_classifier("resnet18", outputs=3, class_shares=shares)


@pytest.mark.parametrize("dropout", [-0.1, 1.0])
def test_a_dropout_that_keeps_nothing_is_refused(dropout: float) -> None:
    with pytest.raises(RecipeError, match=r"model\.dropout"):
        make_classifier("resnet18", outputs=1, dropout=dropout)


def test_a_classifier_without_outputs_is_refused() -> None:
    with pytest.raises(RecipeError, match="at least one output"):
        make_classifier("resnet18", outputs=0)


def test_an_unknown_backbone_is_refused_by_both_doors() -> None:
    with pytest.raises(RecipeError, match="did you mean resnet18"):
        make_classifier("resnet-18", outputs=1)
    with pytest.raises(RecipeError, match="did you mean resnet18"):
        parameter_groups(
            make_classifier("resnet18", outputs=1),
            "resnet-18",
            rate=1.0,
            weight_decay=0.0,
            depth_decay=1.0,
        )


def test_the_faster_network_differs_by_rounding_only_and_leaves_the_original(
    name: str,
) -> None:
    torch.manual_seed(0)
    classifier = make_classifier(name, outputs=2).train()
    with torch.no_grad():
        classifier(torch.randn(4, 3, 32, 32) * 2 + 1)  # running statistics worth folding
    classifier.eval()
    before = {name: value.clone() for name, value in classifier.state_dict().items()}
    folded = make_faster(classifier, torch.float32)
    half = make_faster(classifier, torch.bfloat16)
    images = torch.randn(4, 3, 32, 32)
    with torch.inference_mode():
        logits, maps = classifier(images), classifier.backbone(images)
        near = folded(images), folded.backbone(images)
        rough = half(images.bfloat16()).float()
    assert torch.allclose(near[0], logits, atol=_NOISE * float(logits.abs().max()))
    assert (near[1] - maps).abs().max() <= 1e-5 * maps.abs().max().clamp(min=1)
    # Eight bits a number, over many layers: near, and not the same.
    assert torch.nn.functional.cosine_similarity(rough, logits, dim=0).min() > 0.9
    assert not torch.equal(rough, logits)
    assert {m.weight.dtype for m in half.modules() if isinstance(m, nn.Conv2d)} == {torch.bfloat16}
    norms = [m for m in half.modules() if isinstance(m, nn.BatchNorm2d)]
    assert all(m.running_mean.dtype == torch.float32 for m in norms)
    counts = [sum(isinstance(m, nn.BatchNorm2d) for m in c.modules()) for c in (classifier, folded)]
    assert counts[1] < counts[0]
    after = classifier.state_dict()
    assert all(torch.equal(value, after[name]) for name, value in before.items())
