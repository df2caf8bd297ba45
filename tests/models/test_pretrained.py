"""Good files load by name and give their digest; everything else is refused in one line."""

from __future__ import annotations

import functools
import hashlib
import http.server
import os
import pickle
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from families import FAMILIES
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision import models

from melanoma.errors import MelanomaError, RecipeError, StorageError, WeightsError
from melanoma.models import published_weights
from melanoma.models.backbones import BACKBONES, PublishedWeights, find_backbone, import_senet
from melanoma.models.classifier import make_classifier
from melanoma.models.pretrained import load_pretrained, read_weights

pytestmark = pytest.mark.slow  # together they take many seconds

SHARED = Path(__file__).resolve().parents[2].parent / "shared" / "data"
SMALL = "mobilenet_v2"


def _se_resnext50() -> nn.Module:
    return import_senet().se_resnext50_32x4d(pretrained=None)


def _make_source(name: str) -> nn.Module:
    if name == "se_resnext50_32x4d":
        return _se_resnext50()
    if name.startswith("efficientnet_lite"):
        return timm.create_model(f"tf_{name}")
    return models.get_model(name, weights=None)


@functools.lru_cache(maxsize=2)  # some have 240 MB
def _published(name: str = SMALL) -> dict[str, torch.Tensor]:
    """A state dict in the layout of the published file, old head and all."""
    torch.manual_seed(1)
    return _make_source(name).state_dict()


def _load(
    backbone: nn.Module, path: Path | str, *, name: str = SMALL, folder: Path = Path()
) -> str:
    return load_pretrained(backbone, name, source=str(path), folder=folder)


@functools.cache
def _untouched() -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A backbone that every refusal must leave as it is, and what it is."""
    backbone = find_backbone(SMALL).build()
    return backbone, {key: value.clone() for key, value in backbone.state_dict().items()}


def _refusal(path: Path | str, *, folder: Path = Path()) -> str:
    """The line of the refusal, after which the backbone is as it was."""
    backbone, before = _untouched()
    with pytest.raises(WeightsError) as refusal:
        _load(backbone, path, folder=folder)
    assert _holds(backbone, before)
    line = str(refusal.value)
    assert "\n" not in line
    return line


def _holds(backbone: nn.Module, weights: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(weights[key], value) for key, value in backbone.state_dict().items())


# Good files


@pytest.mark.parametrize("name", FAMILIES)
def test_a_file_in_the_published_layout_loads_and_is_named_by_its_digest(
    name: str, tmp_path: Path
) -> None:
    path, backbone = tmp_path / "published.pth", find_backbone(name).build()
    # The published files of 2017 to 2019 are of torch's older format.
    torch.save(_published(name), path, _use_new_zipfile_serialization=False)
    provenance = _load(backbone, path, name=name)
    assert _holds(backbone, _published(name))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert provenance == f"file sha256:{digest} from published.pth"


def test_densenet_s_published_names_with_dots_are_understood(tmp_path: Path) -> None:
    # densenet161-8d451a50.pth says norm.1 where torchvision's module says norm1.
    pattern = re.compile(r"(denselayer\d+\.(?:norm|conv))([12]\.)")
    old = {pattern.sub(r"\1.\2", key): v for key, v in _published("densenet161").items()}
    assert "features.denseblock2.denselayer11.norm.1.running_mean" in old
    assert "features.denseblock2.denselayer11.conv.2.weight" in old
    path, backbone = tmp_path / "published.pth", find_backbone("densenet161").build()
    torch.save(old, path)
    _load(backbone, path, name="densenet161")
    assert _holds(backbone, _published("densenet161"))


@pytest.mark.parametrize("suffix", [".pth", ".pt", ".safetensors"])
def test_every_format_gives_the_same_weights(suffix: str, tmp_path: Path) -> None:
    path, backbone = tmp_path / f"weights{suffix}", find_backbone(SMALL).build()
    save: Any = save_file if suffix == ".safetensors" else torch.save
    save(_published(), path)
    _load(backbone, path)
    assert _holds(backbone, _published())


def test_prefixes_and_wrappers_of_other_trainers_are_taken_off(tmp_path: Path) -> None:
    path, backbone = tmp_path / "ddp.pth", find_backbone(SMALL).build()
    torch.save({"state_dict": {f"module.{k}": v for k, v in _published().items()}}, path)
    _load(backbone, path)
    assert _holds(backbone, _published())


def test_the_counter_of_batches_may_be_absent(tmp_path: Path) -> None:
    path, backbone = tmp_path / "old.pth", find_backbone(SMALL).build()
    torch.save({k: v for k, v in _published().items() if "num_batches" not in k}, path)
    _load(backbone, path)
    assert _holds(backbone, _published())


def test_one_classifier_starts_from_another_s_backbone(tmp_path: Path) -> None:
    path, theirs = tmp_path / "model.safetensors", make_classifier(SMALL, outputs=7)
    save_file(theirs.state_dict(), path)
    ours = make_classifier(SMALL, outputs=1)
    head = ours.head.weight.clone()
    _load(ours.backbone, path)
    assert _holds(ours.backbone, theirs.backbone.state_dict())
    assert torch.equal(ours.head.weight, head)


def test_the_real_mobilenet_weights_load_and_look_at_the_image() -> None:
    path = SHARED / "weights" / "mobilenet_v2_imagenet.safetensors"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    backbone = find_backbone(SMALL).build()
    provenance = _load(backbone, path)
    assert provenance.endswith("from mobilenet_v2_imagenet.safetensors")
    assert _holds(backbone, load_file(path))
    images = torch.rand(2, 3, 96, 96, generator=torch.Generator().manual_seed(0)) * 2 - 1
    with torch.inference_mode():
        first, second = backbone.eval()(images).mean((2, 3))
    # Fresh weights answer both alike; trained ones see two different pictures.
    assert (first - second).norm() > 0.05 * first.norm()


def test_no_weights_leave_the_backbone_alone() -> None:
    backbone = find_backbone(SMALL).build()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    assert load_pretrained(backbone, SMALL, source="none", folder=Path()) == "none"
    assert _holds(backbone, before)


# Files that cannot be used


def test_an_unknown_backbone_is_refused_before_anything_is_read() -> None:
    with pytest.raises(RecipeError, match="did you mean mobilenet_v2"):
        load_pretrained(find_backbone(SMALL).build(), "mobilenetv2", source="none", folder=Path())


def test_an_absent_file_is_named_with_what_else_is_possible(tmp_path: Path) -> None:
    line = _refusal(tmp_path / "imagnet.pth")
    assert "no weights at" in line
    assert "imagnet.pth" in line
    assert "--pretrained PATH" in line
    assert "--set model.pretrained=imagenet --set image.normalize=imagenet" in line
    assert "--pretrained none" in line


def test_a_file_is_also_found_by_its_name_where_weights_are_kept(tmp_path: Path) -> None:
    kept = tmp_path / "imagenet" / "kept.pth"
    kept.parent.mkdir()
    torch.save(_published(), kept)
    backbone = find_backbone(SMALL).build()
    _load(backbone, Path("kept.pth"), folder=kept.parent)
    assert _holds(backbone, _published())
    # A path that is there is meant as it stands, whatever lies in the folder.
    (tmp_path / "kept.pth").write_bytes(b"")
    assert "is empty" in _refusal(tmp_path / "kept.pth", folder=kept.parent)


def test_a_folder_and_an_unknown_suffix_are_refused(tmp_path: Path) -> None:
    assert "is a folder" in _refusal(tmp_path)
    (tmp_path / "weights.h5").write_bytes(b"\x89HDF")
    assert ".safetensors, .pth or .pt" in _refusal(tmp_path / "weights.h5")


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty"),
        (b"\n<!DOCTYPE html><html>404</html>", "web page (HTML)"),
        (b"<html><body>Sign in</body></html>", "web page (HTML)"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0", "Git LFS pointer"),
        (b"not weights at all, but text of some length", "is no "),
    ],
)
def test_what_a_failed_download_leaves_is_called_what_it_is(
    suffix: str, content: bytes, reason: str, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    path.write_bytes(content)
    assert reason in _refusal(path)


_save_old = functools.partial(torch.save, _use_new_zipfile_serialization=False)


@pytest.mark.parametrize("kept", [10, 1000, 0.5, -10])
@pytest.mark.parametrize(
    ("suffix", "save"), [(".pth", torch.save), (".pt", _save_old), (".safetensors", save_file)]
)
def test_a_truncated_file_is_called_truncated(
    suffix: str, save: Callable[..., None], kept: float, tmp_path: Path
) -> None:
    path = tmp_path / f"weights{suffix}"
    save(_published(), path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2 if kept == 0.5 else int(kept)])
    assert "truncated" in _refusal(path)


class _Malicious:
    def __init__(self, marker: Path) -> None:
        self.command = f"touch {marker}"

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (self.command,)


def _dump(protocol: int) -> Callable[[Any, Path], None]:
    return lambda value, path: path.write_bytes(pickle.dumps(value, protocol)) and None


@pytest.mark.parametrize(
    "save",
    [
        torch.save,
        _save_old,
        functools.partial(torch.save, pickle_protocol=4),
        functools.partial(_save_old, pickle_protocol=4),
        *(_dump(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
    ],
)
def test_a_pickle_that_would_run_code_is_named_and_not_run(
    save: Callable[[Any, Path], None], tmp_path: Path
) -> None:
    path, marker = tmp_path / "weights.pth", tmp_path / "executed"
    save({"features.0.0.weight": torch.zeros(3), "extra": _Malicious(marker)}, path)
    assert f"unsafe pickle: {os.system.__module__}.system" in _refusal(path)
    assert not marker.exists()


def test_the_trap_of_the_test_above_works(tmp_path: Path) -> None:
    torch.save(_Malicious(tmp_path / "executed"), tmp_path / "weights.pth")
    torch.load(tmp_path / "weights.pth", weights_only=False)
    assert (tmp_path / "executed").exists()


def test_a_pickled_model_is_refused_by_its_class(tmp_path: Path) -> None:
    torch.save(make_classifier(SMALL, outputs=1), tmp_path / "model.pt")
    line = _refusal(tmp_path / "model.pt")
    assert "unsafe pickle: melanoma.models.classifier.Classifier" in line
    assert "state_dict" in line


def test_plain_tensors_in_a_pickle_that_torch_cannot_read_are_not_called_unsafe(
    tmp_path: Path,
) -> None:
    torch.save({"weight": torch.zeros(3)}, tmp_path / "new.pth", pickle_protocol=4)
    assert "unsafe" not in _refusal(tmp_path / "new.pth")


@pytest.mark.parametrize("content", [[1, 2], {"epoch": 3}, torch.zeros(3)])
def test_a_file_without_a_table_of_tensors_is_refused(content: Any, tmp_path: Path) -> None:
    torch.save(content, tmp_path / "other.pth")
    assert "no table of tensors" in _refusal(tmp_path / "other.pth")


def test_another_backbone_s_weights_are_refused_with_three_keys(tmp_path: Path) -> None:
    torch.save(_published("resnet18"), tmp_path / "resnet18.pth")
    line = _refusal(tmp_path / "resnet18.pth")
    assert "does not fit mobilenet_v2: missing features.0.0.weight; " in line
    assert line.count("missing ") == 3
    assert " and " in line
    assert line.endswith(" more")


def test_each_key_that_does_not_fit_is_listed_with_its_fault(tmp_path: Path) -> None:
    weights = dict(_published())
    weights.pop("features.18.1.bias")
    weights["features.19.weight"] = torch.zeros(1)
    weights["features.0.0.weight"] = torch.zeros(32, 1, 3, 3)
    torch.save(weights, tmp_path / "changed.pth")
    line = _refusal(tmp_path / "changed.pth")
    assert "missing features.18.1.bias; unexpected features.19.weight; " in line
    assert line.endswith("features.0.0.weight is (32, 1, 3, 3), not (32, 3, 3, 3)")


def test_a_classifier_of_another_backbone_is_refused(tmp_path: Path) -> None:
    theirs = make_classifier("resnet18", outputs=1)
    save_file(theirs.state_dict(), tmp_path / "model.safetensors")
    assert "does not fit mobilenet_v2" in _refusal(tmp_path / "model.safetensors")


def test_a_path_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    assert "cannot read" in _refusal(tmp_path / "file" / "weights.pth")


# Published weights


def _publish(monkeypatch: pytest.MonkeyPatch, url: str, sha256: str) -> PublishedWeights:
    """Let the small backbone's weights be published elsewhere."""
    published = PublishedWeights(url=url, sha256=sha256, note="")
    monkeypatch.setitem(BACKBONES, SMALL, replace(BACKBONES[SMALL], pretrained=published))
    return published


@pytest.fixture
def upstream(tmp_path: Path) -> Path:
    """A good file where a publisher might keep it."""
    path = tmp_path / "upstream" / "weights.pth"
    path.parent.mkdir()
    torch.save(_published(), path)
    return path


@pytest.mark.parametrize("digits", [64, 8])
def test_published_weights_in_the_folder_are_used_without_the_network(
    digits: int, upstream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(upstream.read_bytes()).hexdigest()
    _publish(monkeypatch, "https://unreachable.invalid/weights.pth", digest[:digits])
    backbone = find_backbone(SMALL).build()
    provenance = _load(backbone, "imagenet", folder=upstream.parent)
    assert _holds(backbone, _published())
    assert provenance == f"imagenet sha256:{digest} from weights.pth"


def test_another_file_under_the_published_name_is_refused_and_kept(
    upstream: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(monkeypatch, "https://unreachable.invalid/weights.pth", "0" * 64)
    line = _refusal("imagenet", folder=upstream.parent)
    assert hashlib.sha256(upstream.read_bytes()).hexdigest() in line
    assert "0" * 64 in line
    assert "truncated or another file" in line


def test_absent_weights_are_downloaded_once(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(upstream.read_bytes()).hexdigest()
    _publish(monkeypatch, upstream.as_uri(), digest)
    folder = tmp_path / "weights" / "imagenet"
    provenance = _load(find_backbone(SMALL).build(), "imagenet", folder=folder)
    assert [path.name for path in folder.iterdir()] == ["weights.pth"]
    upstream.unlink()
    assert _load(find_backbone(SMALL).build(), "imagenet", folder=folder) == provenance


def test_a_download_with_another_digest_leaves_nothing_behind(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(monkeypatch, upstream.as_uri(), "0" * 64)
    folder = tmp_path / "imagenet"
    line = _refusal("imagenet", folder=folder)
    assert f"what came has sha256 {hashlib.sha256(upstream.read_bytes()).hexdigest()}" in line
    assert list(folder.iterdir()) == []


def _closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def test_offline_and_absent_names_the_url_the_digest_and_the_place_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"https://127.0.0.1:{_closed_port()}/weights.pth"
    _publish(monkeypatch, url, "ab" * 32)
    line = _refusal("imagenet", folder=tmp_path)
    assert url in line
    assert "ab" * 32 in line
    assert str(tmp_path / "weights.pth") in line
    assert "--set model.pretrained=none" in line
    assert WeightsError.exit_code == 5


@pytest.mark.parametrize(
    ("limit", "reason"),
    [("_SILENCE", "timed out"), ("_PATIENCE", "no connection within 0.2 s")],
)
def test_a_network_that_swallows_everything_is_given_up(
    limit: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_weights, limit, 0.2)
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()  # takes the connection, and never says a word
        url = f"https://127.0.0.1:{silent.getsockname()[1]}/weights.pth"
        _publish(monkeypatch, url, "ab" * 32)
        assert reason in _refusal("imagenet", folder=tmp_path)


def test_a_silent_server_and_dead_addresses_together_stay_under_half_a_minute() -> None:
    assert published_weights._SILENCE <= 10
    assert published_weights._PATIENCE < 30


@pytest.fixture
def plain_http(upstream: Path) -> Iterator[str]:
    handler = functools.partial(_Quiet, directory=str(upstream.parent))
    with http.server.HTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *arguments: Any) -> None:
        """Say nothing on stderr."""


def test_plain_http_is_refused_even_with_the_right_digest(
    upstream: Path, plain_http: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = hashlib.sha256(upstream.read_bytes()).hexdigest()
    _publish(monkeypatch, f"{plain_http}/weights.pth", digest)
    assert "plain http" in _refusal("imagenet", folder=tmp_path / "imagenet")


def test_a_missing_page_is_refused_with_the_server_s_answer(
    plain_http: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(monkeypatch, f"{plain_http}/moved.pth", "ab" * 32)
    assert "404" in _refusal("imagenet", folder=tmp_path / "imagenet")


def test_a_disk_that_cannot_be_written_is_no_fault_of_the_network(
    upstream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _publish(monkeypatch, upstream.as_uri(), hashlib.sha256(upstream.read_bytes()).hexdigest())
    (tmp_path / "file").touch()
    with pytest.raises(StorageError):
        _load(find_backbone(SMALL).build(), "imagenet", folder=tmp_path / "file" / "imagenet")


def test_weights_are_read_onto_the_cpu_by_name(tmp_path: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.zeros(1)}, tmp_path / "two.safetensors")
    weights = read_weights(tmp_path / "two.safetensors")
    assert weights["a"].tolist() == [1.0, 1.0]
    assert set(weights) == {"a", "b"}
    with pytest.raises(MelanomaError):
        read_weights(tmp_path / "three.safetensors")


def test_the_message_of_absent_weights_names_the_original_file_too(tmp_path, monkeypatch):
    def nobody(_url: str) -> None:
        raise OSError("no network")

    monkeypatch.setattr(published_weights, "_connect", nobody)
    with pytest.raises(
        WeightsError, match=r"or --pretrained PATH/se_resnext50_32x4d-a260b3a4\.pth"
    ):
        load_pretrained(nn.Identity(), "se_resnext50_32x4d", source="imagenet", folder=tmp_path)
    with pytest.raises(WeightsError) as absent:
        load_pretrained(nn.Identity(), "resnet18", source="imagenet", folder=tmp_path)
    assert "original" not in str(absent.value)


def test_weights_of_a_generalized_mean_start_another_network(tmp_path: Path) -> None:
    first = make_classifier(SMALL, outputs=1, pooling="gem")
    save_file(first.state_dict(), tmp_path / "gem.safetensors")
    for pooling in ("gem", "mean"):
        ours = make_classifier(SMALL, outputs=1, pooling=pooling)
        source = str(tmp_path / "gem.safetensors")
        assert load_pretrained(ours.backbone, SMALL, source=source, folder=tmp_path)
        weight = next(iter(first.backbone.parameters()))
        assert torch.equal(next(iter(ours.backbone.parameters())), weight)
