"""OpenVINO's members answer as torch's do; their conversion is kept, whole and of this bundle."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn
from torchvision.models.mobilenetv2 import InvertedResidual

from melanoma.devices import has_bfloat16
from melanoma.errors import RecipeError, WeightsError
from melanoma.models.backbones import import_senet
from melanoma.models.classifier import Classifier
from melanoma.models.seed_mean import SeedMean
from melanoma.recipe.sections import Head
from melanoma.scoring.backends import conversion
from melanoma.scoring.backends.backend_catalog import Engine, choose_backend
from melanoma.scoring.backends.open_members import open_members
from melanoma.scoring.backends.openvino_members import OpenVinoMembers
from melanoma.scoring.backends.torch_members import TorchMembers
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.bundle.golden import open_scorer, require_golden
from melanoma.scoring.explain.evidence import Evidence, read_heads
from melanoma.scoring.members import WatchedMembers
from melanoma.scoring.scorer import Scorer

pytestmark = pytest.mark.slow  # together they take many seconds

CPU = torch.device("cpu")
OPENVINO = Engine("openvino")


@pytest.fixture(scope="module")
def kept(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the bundle, converted once. Read only."""
    folder = tmp_path_factory.mktemp("kept") / "tiny"
    shutil.copytree(bundle_folder, folder)
    open_members(load_bundle(folder), CPU, OPENVINO)
    return folder


@pytest.fixture(scope="module")
def scorer(kept: Path) -> Scorer:
    return open_scorer(kept, engine=OPENVINO)


@pytest.fixture(scope="module")
def reference(kept: Path) -> Scorer:
    return open_scorer(kept, engine=Engine("torch"))


@pytest.fixture
def folder(kept: Path, tmp_path: Path) -> Path:
    """A converted bundle to spoil."""
    shutil.copytree(kept, tmp_path / "tiny")
    return tmp_path / "tiny"


@pytest.fixture
def conversions(scorer: Scorer, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The sizes of what is converted from now on, by giving what was converted before: a second."""
    sizes: list[int] = []

    def convert(_: TorchMembers, *, size: int) -> Any:
        sizes.append(size)
        return scorer.members._models

    monkeypatch.setattr(conversion, "convert", convert)
    return sizes


def _never(*_: Any, **__: Any) -> Any:
    raise AssertionError("it was converted again")


def test_probabilities_and_embeddings_are_torch_s(
    trained: Any, scorer: Scorer, reference: Scorer
) -> None:
    squares = trained.array.rows(list(range(5)))
    for views in (1, 4, 8):
        found = scorer.on(scorer.members, views=views).member_probabilities(squares)
        expected = reference.on(reference.members, views=views).member_probabilities(squares)
        assert np.abs(found - expected).max() < 1e-4
        outputs = scorer.members.outputs(squares, views=views)
        theirs = reference.members.outputs(squares, views=views)
        assert np.array_equal(outputs.logits, scorer.members.logits(squares, views=views))
        assert outputs.embeddings.dtype == np.float32
        assert np.allclose(outputs.embeddings, theirs.embeddings, atol=1e-4)


def test_a_square_scores_the_same_alone_and_among_others(trained: Any, scorer: Scorer) -> None:
    squares = trained.array.rows(list(range(37)))
    together = scorer.member_probabilities(squares)
    for number in (0, 17, 36):
        alone = scorer.member_probabilities(squares[number : number + 1])
        assert np.abs(alone[0] - together[number]).max() < 1e-5


def test_members_alone_and_watched_are_the_same_members(trained: Any, scorer: Scorer) -> None:
    squares = trained.array.rows([0, 1, 2])
    together = scorer.members.logits(squares, views=2)
    seen: list[int] = []
    watched = WatchedMembers(scorer.members, lambda: seen.append(1))
    assert np.array_equal(watched.logits(squares, views=2), together)
    assert len(seen) >= len(scorer.members.folds)

    def stop() -> None:
        raise InterruptedError

    with pytest.raises(InterruptedError):
        WatchedMembers(scorer.members, stop).outputs(squares, views=2)
    one = scorer.of_fold(1)
    assert one.members.folds == (1,)
    assert np.array_equal(one.members.logits(squares, views=2), together[:, 1:])
    assert list(one.classifiers) == [1]
    assert one.members.alone()[0].folds == (1,)


def test_many_questions_go_to_bfloat16_where_the_processor_has_it(
    trained: Any, scorer: Scorer
) -> None:
    squares = trained.array.rows([0, 1, 2])
    faster = scorer.members.faster()
    assert faster is scorer.members.faster()
    assert faster.precision == ("bfloat16" if has_bfloat16() else "float32")
    before, found = (one.logits(squares, views=1) for one in (scorer.members, faster))
    assert np.allclose(found, before, atol=0.1, rtol=0.1)
    assert faster.reference() is scorer.members.reference()
    assert np.array_equal(scorer.members.alone()[0].faster().logits(squares, views=1), found[:, :1])


def test_grad_cam_is_torch_s_and_needs_no_torch(
    trained: Any, scorer: Scorer, reference: Scorer, monkeypatch: pytest.MonkeyPatch
) -> None:
    square = trained.array.rows([4])[0]
    monkeypatch.setattr(scorer.members, "_load", _never)
    monkeypatch.setattr(scorer.members, "_reference", None)
    for evidence in (Evidence((0,)), Evidence((0,), -1.0)):
        found, expected = (one.members.heat(square, evidence) for one in (scorer, reference))
        assert len(found) == len(expected) == len(scorer.members.folds)
        assert np.allclose(found, expected, atol=1e-3)
        assert np.array_equal(scorer.of_fold(1).members.heat(square, evidence), found[1:])


def test_an_answer_names_what_ran_it(trained: Any, scorer: Scorer) -> None:
    model = scorer.score(trained.photograph(3)).model
    assert (model.backend, model.precision) == ("openvino", "float32")


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_the_golden_score_holds_in_both_precisions(
    kept: Path, backend: str, scorer: Scorer, reference: Scorer
) -> None:
    found = require_golden({"torch": reference, "openvino": scorer}[backend])
    assert found.largest is not None and found.largest < 1e-4
    half = Engine(backend, "bfloat16")
    if not has_bfloat16():
        with pytest.raises(RecipeError, match="no bfloat16 of its own"):
            open_scorer(kept, engine=half)
        return
    rounded = open_scorer(kept, engine=half)
    assert rounded.info().precision == "bfloat16"
    assert rounded.members.reference().precision == "float32"
    require_golden(rounded)


def test_a_conversion_is_kept_and_not_made_again(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "convert", _never)
    open_scorer(folder, engine=OPENVINO)
    # It is no part of the bundle.
    assert "openvino" not in (folder / "manifest.json").read_text()


def test_a_damaged_conversion_is_made_again_and_others_are_swept(
    folder: Path, conversions: list[int]
) -> None:
    base = folder / conversion.FOLDER
    (place,) = base.iterdir()
    file = place / "fold_0.bin"
    good = file.read_bytes()
    file.write_bytes(bytes([good[0] ^ 255]) + good[1:])
    (base / "another").mkdir()
    (base / "partial-running").mkdir()
    open_scorer(folder, engine=OPENVINO)
    assert len(conversions) == 1
    assert file.read_bytes() == good
    assert {path.name for path in base.iterdir()} == {place.name, "partial-running"}


def test_of_two_that_convert_at_once_one_is_kept(folder: Path, scorer: Scorer) -> None:
    (place,) = (folder / conversion.FOLDER).iterdir()
    before = (place / "sha256.json").stat().st_mtime_ns
    conversion._keep(scorer.members._models, place)  # the second one comes too late
    assert (place / "sha256.json").stat().st_mtime_ns == before
    assert [path.name for path in place.parent.iterdir()] == [place.name]


def test_without_a_place_to_write_the_conversion_is_in_memory(
    folder: Path, conversions: list[int]
) -> None:
    shutil.rmtree(folder / conversion.FOLDER)
    (folder / conversion.FOLDER).write_text("no folder")
    assert open_scorer(folder, engine=OPENVINO).info().backend == "openvino"
    assert len(conversions) == 1


# As conversion sees it; a process whose torch is forgotten would import a second one.
WITHOUT_TORCH = SimpleNamespace(modules={}, executable=sys.executable)


@pytest.mark.parametrize("is_writable", [True, False])
def test_a_process_without_torch_leaves_the_conversion_to_a_child(
    folder: Path, conversions: list[int], monkeypatch: pytest.MonkeyPatch, is_writable: bool
) -> None:
    shutil.rmtree(folder / conversion.FOLDER)
    if not is_writable:
        (folder / conversion.FOLDER).write_text("no folder")
    commands: list[list[str]] = []

    def run(command: list[str], **_: Any) -> None:
        commands.append(command)
        conversion._convert_for_parent(Path(command[3]), Path(command[4]))

    monkeypatch.setattr(conversion.subprocess, "run", run)
    monkeypatch.setattr(conversion, "sys", WITHOUT_TORCH)
    bundle = load_bundle(folder)
    models = conversion.openvino_models(bundle, _never)
    assert sorted(models.by_fold) == [member.fold for member in bundle.members]
    assert [command[1:4] for command in commands] == [["-m", conversion.__name__, str(folder)]]
    assert (folder / conversion.FOLDER).is_dir() == is_writable


def test_a_child_that_fails_leaves_the_reason_to_the_parent(
    folder: Path, conversions: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.rmtree(folder / conversion.FOLDER)
    monkeypatch.setattr(conversion.subprocess, "run", lambda *_, **__: None)
    monkeypatch.setattr(conversion, "sys", WITHOUT_TORCH)

    def load() -> TorchMembers:
        raise WeightsError("no networks")

    with pytest.raises(WeightsError, match="no networks"):
        conversion.openvino_models(load_bundle(folder), load)
    assert conversions == []


def test_gradients_are_of_the_weights_that_scored_or_of_none(folder: Path) -> None:
    scorer = open_scorer(folder, engine=OPENVINO)
    report = folder / "report.json"
    report.write_text(report.read_text() + "\n")
    with pytest.raises(WeightsError, match=r"report\.json: sha256 mismatch"):
        _ = scorer.classifiers


def _tiny(*blocks: nn.Module, head: Head | None = None) -> Classifier:
    """A classifier of a stem of 64 channels and these blocks of a backbone that is offered:
    benchmarks/backends.py compares whole ones, each of which takes seconds to convert."""
    stem = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
    backbone = nn.Sequential(stem, nn.BatchNorm2d(64), *blocks)
    return Classifier(backbone, features=64, outputs=3, head=head)


def test_grouped_convolutions_and_gates_are_torch_s() -> None:
    torch.manual_seed(0)
    gated = import_senet().SEResNeXtBottleneck(64, 16, groups=32, reduction=16)
    separable = InvertedResidual(64, 64, stride=1, expand_ratio=2)
    _require_equal(TorchMembers({0: _tiny(gated, separable)}, normalize="half", device=CPU))


def test_networks_of_several_seeds_are_torch_s() -> None:
    torch.manual_seed(0)
    networks = SeedMean([_tiny(), _tiny(nn.ReLU())])
    _require_equal(TorchMembers({0: networks}, normalize="imagenet", device=CPU))


@pytest.mark.parametrize("activation", ["relu", "gelu", "silu"])
def test_a_head_of_several_layers_and_seeds_is_torch_s(activation: Any, tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = Head(hidden=(24, 16), activation=activation)
    networks = SeedMean([_tiny(head=head), _tiny(head=head)]).eval()
    save_file(networks.state_dict(), tmp_path / "model.safetensors")
    embedding = torch.randn(1, 128, requires_grad=True)
    evidence = Evidence((0, 2))
    for number, (one, found) in enumerate(
        zip(networks.networks, read_heads(tmp_path / "model.safetensors", head), strict=True)
    ):
        part = embedding[:, 64 * number : 64 * (number + 1)]
        (slopes,) = torch.autograd.grad(evidence.of_logits(one.classify(part)), part)
        plain = part.detach().double().numpy()[0]
        assert np.allclose(found.slopes(plain, evidence), slopes.numpy()[0], atol=1e-5)


def _require_equal(reference: TorchMembers) -> None:
    squares = np.random.default_rng(0).integers(0, 256, (3, 32, 32, 3), dtype=np.uint8)
    models = conversion.convert(reference, size=32)
    members = OpenVinoMembers(models, load=lambda: reference)
    # Without its heads, the reference explains.
    (heat, *_), (expected, *_) = (
        one.heat(squares[0], Evidence((1,))) for one in (members, reference)
    )
    assert np.array_equal(heat, expected)
    for found, expected in zip(
        members.outputs(squares, views=2), reference.outputs(squares, views=2), strict=True
    ):
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < 1e-4 * max(1, np.abs(expected).max())


def test_auto_is_openvino_on_a_processor_alone() -> None:
    assert choose_backend("auto", "cpu") == "openvino"
    assert choose_backend("auto", "cuda") == "torch"
    assert choose_backend("torch", "cpu") == "torch"
    with pytest.raises(RecipeError, match="add --device cpu"):
        choose_backend("openvino", "cuda")


def test_without_openvino_auto_is_torch_and_its_name_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert choose_backend("auto", "cpu") == "torch"
    with pytest.raises(RecipeError, match=r"pip install melanoma\[openvino\]"):
        choose_backend("openvino", "cpu")


@pytest.mark.parametrize("given", [("tensorflow", "float32"), ("auto", "Medium")])
def test_an_engine_that_cannot_be_meant_is_refused(given: tuple[str, str]) -> None:
    with pytest.raises(RecipeError, match=r"--backend tensorflow: auto|--precision Medium: float"):
        Engine(*given)


def test_a_conversion_is_of_the_weights_and_not_of_the_bundle(bundle: Bundle) -> None:
    first, *others = bundle.members
    moved = replace(first, prior_shift=1.0)
    sealed_anew = replace(bundle, digest="0" * 64, members=(moved, *others))
    assert conversion._key(sealed_anew) == conversion._key(bundle)
    trained_anew = replace(bundle, members=(replace(first, sha256="0" * 64), *others))
    for other in (trained_anew, replace(bundle, normalize="half"), replace(bundle, size=48)):
        assert conversion._key(other) != conversion._key(bundle)


@pytest.fixture
def bundle(kept: Path) -> Bundle:
    return load_bundle(kept)
