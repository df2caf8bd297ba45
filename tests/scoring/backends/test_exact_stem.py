"""What stays in float32 where a network is scored in bfloat16: a mark, and what it does."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.devices import CPU, has_bfloat16
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.scoring.backends.common_layers import take_out_common
from melanoma.scoring.backends.core import the_core
from melanoma.scoring.backends.exact_stem import keep_stem_exact
from melanoma.scoring.backends.from_torch import from_torch
from melanoma.scoring.backends.torch_members import TorchMembers

SIZE = 64


def network(name: str) -> Classifier:
    torch.manual_seed(0)
    return make_classifier(name, outputs=3)


def converted(*networks: Classifier) -> dict[int, Any]:
    members = TorchMembers(dict(enumerate(networks)), normalize="half", device=CPU)
    return from_torch(members, size=SIZE)


def marked(model: Any) -> list[str]:
    """Kinds of the convolutions with a mark, in their order; all of them first."""
    layers = [one for one in model.get_ordered_ops() if "Convolution" in one.get_type_name()]
    flags = [len(one.get_rt_info()) > 0 and _mark_of(one) for one in layers]
    assert flags == sorted(flags, reverse=True)
    return [one.get_type_name() for one, flag in zip(layers, flags, strict=True) if flag]


def _mark_of(operation: Any) -> bool:
    # OpenVINO's own name of what its files call "precise" has changed with its versions.
    return any("Precision" in key or "FP16" in key for key in operation.get_rt_info())


def drawn(count: int = 4) -> np.ndarray:
    rng = np.random.default_rng(0)
    return np.stack([draw_phantom(melanoma=n % 2 == 0, rng=rng, size=SIZE) for n in range(count)])


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        ("mobilenet_v2", ["Convolution", "GroupConvolution", "Convolution"]),
        ("efficientnet_lite0", ["Convolution", "GroupConvolution", "Convolution"]),
        ("resnet18", []),
        ("se_resnext50_32x4d", []),  # by groups of four channels
    ],
)
def test_the_stem_is_what_comes_up_to_the_first_filters_by_channel(
    name: str, kinds: list[str]
) -> None:
    (model,) = converted(network(name)).values()
    assert marked(model) == kinds


def test_the_mark_outlives_a_copy_and_the_cut_at_common_layers() -> None:
    one, other = network("mobilenet_v2"), network("mobilenet_v2")
    torch.nn.init.normal_(other.last_layer.weight)
    found = take_out_common(converted(one, other))
    assert found.common is not None
    assert len(marked(found.common)) == 3
    assert not marked(found.by_fold[0])


def test_in_float32_nothing_changes() -> None:
    classifier = network("mobilenet_v2").eval()
    (model,) = converted(classifier).values()
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    given = the_core().compile_model(model, "CPU", options)([drawn()])[0]
    members = TorchMembers({0: classifier}, normalize="half", device=CPU)
    assert np.allclose(given, members.logits(drawn(), views=1)[:, 0], atol=1e-4)


def test_a_model_without_a_stem_is_the_same_model() -> None:
    (model,) = converted(network("resnet18")).values()
    assert keep_stem_exact(model) is model


@pytest.mark.skipif(not has_bfloat16(), reason="the processor multiplies no bfloat16")
def test_in_bfloat16_the_marked_layers_run_in_float32() -> None:
    (model,) = converted(network("mobilenet_v2")).values()
    options = {"INFERENCE_PRECISION_HINT": "bf16"}
    graph = the_core().compile_model(model, "CPU", options).get_runtime_model()
    types: dict[str, list[str]] = {}
    for one in graph.get_ordered_ops():
        notes = one.get_rt_info()
        kind = notes["layerType"].astype(str)
        types.setdefault(kind, []).append(notes["runtimePrecision"].astype(str))
    assert types["Convolution"][:3] == ["f32"] * 3
    assert set(types["Convolution"][3:]) == {"bf16"}
    # The pixels' scaling, which all members have in common.
    assert types["Eltwise"][0] == "f32"
