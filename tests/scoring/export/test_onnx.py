"""The ONNX file: the bundle's probabilities in onnxruntime alone, and what is refused."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from apart import run_apart
from small_disk import files_of_at_most
from torch import Tensor, nn
from torch.nn import functional as F

from melanoma.errors import DiskError, MelanomaError, RecipeError
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.export import onnx
from melanoma.scoring.export.export_options import ExportOptions
from melanoma.scoring.export.onnx import export_onnx
from melanoma.scoring.scorer import Scorer

pytestmark = pytest.mark.slow  # together they take many seconds


@pytest.fixture(scope="module")
def onnx_folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    export_onnx(bundle, folder, ExportOptions())
    return folder


def test_onnxruntime_alone_scores_a_photograph_as_the_bundle_does(
    onnx_folder: Path, bundle: Bundle, trained: Any, tmp_path: Path
) -> None:
    expected = []
    for row in (3, 7):
        (tmp_path / f"{row}.jpg").write_bytes(trained.photograph(row))
        expected.append(Scorer(bundle).score(trained.photograph(row)))
    answers = run_apart(onnx_folder / "score.py", tmp_path / "3.jpg", tmp_path / "7.jpg")
    for answer, ours in zip(answers, expected, strict=True):
        assert answer["melanoma_probability"] == pytest.approx(ours.melanoma_probability, abs=1e-4)
        assert answer["by_class"] == pytest.approx(ours.by_class, abs=1e-4)
    assert abs(answers[0]["melanoma_probability"] - answers[1]["melanoma_probability"]) > 1e-3


def test_the_file_answers_any_number_of_squares_by_member_and_says_what_it_is(
    onnx_folder: Path, bundle: Bundle, trained: Any
) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(
        str(onnx_folder / "model.onnx"), providers=["CPUExecutionProvider"]
    )
    squares = trained.array.rows(list(range(5)))
    mean, by_member = session.run(None, {"squares": squares})
    expected = Scorer(bundle).member_probabilities(squares)
    assert np.abs(by_member - expected).max() < 1e-4
    assert np.abs(mean - expected.mean(axis=1)).max() < 1e-4
    facts = session.get_modelmeta().custom_metadata_map
    assert facts["digest"] == bundle.digest
    assert json.loads(facts["classes"]) == list(bundle.classes)
    assert json.loads(facts["views"]) == bundle.views
    described = json.loads((onnx_folder / "model.json").read_text())
    assert described["thresholds"] == [asdict(point) for point in bundle.points]
    page = (onnx_folder / "README.md").read_text()
    assert "not a medical device" in page and bundle.digest in page


def test_a_file_that_answers_otherwise_than_the_bundle_is_not_left_behind(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = onnx._run
    monkeypatch.setattr(onnx, "_run", lambda *given: run(*given) + 2e-4)
    with pytest.raises(MelanomaError, match="the ONNX file differs from the bundle"):
        export_onnx(bundle, tmp_path / "onnx", ExportOptions())
    assert list(tmp_path.iterdir()) == []


def test_more_weights_than_one_file_holds_are_refused_with_the_format_that_holds_them(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = sum(member.file.stat().st_size for member in bundle.members)
    monkeypatch.setattr(onnx, "_MOST_BYTES", weights - 1)
    with pytest.raises(RecipeError, match="--to openvino has no such limit"):
        export_onnx(bundle, tmp_path / "onnx", ExportOptions())
    assert list(tmp_path.iterdir()) == []


class _Positions(nn.Module):
    """As a ViT on squares of another size than its own: its positions are resampled."""

    def __init__(self) -> None:
        super().__init__()
        self.grid = nn.Parameter(torch.arange(25.0).reshape(1, 1, 5, 5))

    def forward(self, squares: Tensor) -> tuple[Tensor, Tensor]:
        places = F.interpolate(self.grid, size=(2, 2), mode="bicubic", antialias=True)
        seen = (squares.float().mean(dim=3)[:, None, :2, :2] * places).flatten(1)
        return seen, seen


class _Spectrum(nn.Module):
    def forward(self, squares: Tensor) -> tuple[Tensor, Tensor]:
        seen = torch.fft.fft2(squares.float()).abs()
        return seen, seen


def test_what_is_resampled_of_weights_is_a_constant_of_the_graph(
    bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    graph = _Positions()
    monkeypatch.setattr(onnx, "make_graph", lambda *_: graph)
    onnx._write_graph(bundle, tmp_path / "model.onnx", 1)
    shape = (3, bundle.size, bundle.size, 3)
    squares = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    expected = graph(torch.from_numpy(squares))[1].detach().numpy()
    found = onnx._run(onnxruntime, tmp_path / "model.onnx", squares)
    assert np.allclose(found, expected, rtol=1e-5)


def test_a_network_that_onnx_has_no_words_for_is_refused_in_one_line(
    bundle: Bundle,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(onnx, "make_graph", lambda *_: _Spectrum())
    with pytest.raises(RecipeError, match=r"as ONNX \(.*fft.*\); --to openvino may$"):
        onnx._write_graph(bundle, tmp_path / "model.onnx", 1)
    assert capfd.readouterr().out == "", "torch has printed its graph"


def test_a_full_disk_is_said_with_the_file_and_leaves_no_folder(
    bundle: Bundle, tmp_path: Path
) -> None:
    """What torch's exporter raises names no file, and the room of another folder was told."""
    said = r"cannot write .*/model\.onnx: .*bytes free, more than [\d,]+ needed"
    with files_of_at_most(10_000), pytest.raises(DiskError, match=said):
        export_onnx(bundle, tmp_path / "onnx", ExportOptions())
    assert not list(tmp_path.iterdir())
