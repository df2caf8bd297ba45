"""What is exported gives the bundle's probabilities in programs that know nothing of this one."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from tiny_bundle import TinyRun

import melanoma
from benchmarks.shipped import WEIGHTS as SHIPPED
from melanoma.errors import MelanomaError, RecipeError, StorageError, WeightsError
from melanoma.export import export
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.export import graph, huggingface
from melanoma.scoring.export.export_catalog import find_export
from melanoma.scoring.export.export_options import ExportOptions
from melanoma.scoring.export.huggingface import export_huggingface
from melanoma.scoring.export.openvino import export_openvino
from melanoma.scoring.export.timm_folder import ARCHITECTURES
from melanoma.scoring.scorer import Scorer

pytestmark = pytest.mark.slow  # together they take many seconds

# Imports of ours are no longer to be had: what runs after it knows nothing of this library.
APART = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("melanoma", "api", "torch"):
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
sys.argv = sys.argv[1:]
import runpy
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture(scope="session")
def trained(resnet18_run: TinyRun) -> TinyRun:
    """Of a network that timm has too."""
    return resnet18_run


@pytest.fixture(scope="session")
def bundle_folder(trained: TinyRun) -> Path:
    return trained.folder


@pytest.fixture(scope="module")
def bundle(bundle_folder: Path) -> Bundle:
    return load_bundle(bundle_folder)


@pytest.fixture(scope="module")
def of_classes(folder_run: Any) -> Bundle:
    """Three classes, none of them melanoma."""
    return load_bundle(folder_run.weights)


@pytest.fixture(scope="module")
def onnx_folder(bundle_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "onnx"
    export(folder, "onnx", weights=bundle_folder)
    return folder


@pytest.fixture(scope="module")
def hub_folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported") / "hub"
    export_huggingface(bundle, folder, ExportOptions())
    return folder


def run_apart(script: Path, *files: Path) -> list[Any]:
    """What the folder's own script prints, where neither melanoma nor torch can be imported."""
    done = subprocess.run(
        [sys.executable, "-c", APART, str(script), *map(str, files)],
        capture_output=True,
        text=True,
        cwd=script.parent,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


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


def test_the_calibration_the_prior_shift_and_the_views_are_in_the_graph(bundle: Bundle) -> None:
    assert any(np.any(np.asarray(member.prior_shift)) for member in bundle.members)
    squares = torch.from_numpy(graph.check_squares(bundle.size))
    found = {}
    for views in (1, 6):
        with torch.inference_mode():
            found[views] = graph.make_graph(bundle, views)(squares)[1].numpy()
        expected = Scorer(bundle, views=views).member_probabilities(squares.numpy())
        assert np.abs(found[views] - expected).max() < 1e-6
    assert np.abs(found[6] - found[1]).max() > 1e-5


def test_several_classes_are_a_softmax(of_classes: Bundle) -> None:
    squares = torch.from_numpy(graph.check_squares(of_classes.size))
    with torch.inference_mode():
        mean, by_member = graph.make_graph(of_classes, 2)(squares)
    expected = Scorer(of_classes, views=2).member_probabilities(squares.numpy())
    assert np.abs(by_member.numpy() - expected).max() < 1e-6
    assert np.abs(mean.numpy() - expected.mean(axis=1)).max() < 1e-6


def test_openvino_alone_scores_as_the_bundle_does_with_the_views_that_were_asked_for(
    bundle: Bundle, photograph: bytes, tmp_path: Path
) -> None:
    exported = export_openvino(bundle, tmp_path / "ir", ExportOptions(views=2))
    assert exported.largest <= 1e-4
    (tmp_path / "photograph.jpg").write_bytes(photograph)
    [answer] = run_apart(tmp_path / "ir" / "score.py", tmp_path / "photograph.jpg")
    ours = Scorer(bundle, views=2).score(photograph)
    assert answer["melanoma_probability"] == pytest.approx(ours.melanoma_probability, abs=1e-4)
    page = (tmp_path / "ir/README.md").read_text()
    assert f"the evaluation had {bundle.views}" in page


def test_what_differs_from_the_bundle_is_refused(bundle: Bundle) -> None:
    squares = graph.check_squares(bundle.size)
    found = Scorer(bundle, views=1).member_probabilities(squares)
    same = graph.require_equal(found + 5e-5, bundle, squares, views=1, what="the file")
    assert same == pytest.approx(5e-5)
    with pytest.raises(MelanomaError, match=r"the file differs from the bundle by 0\.0002"):
        graph.require_equal(found + 2e-4, bundle, squares, views=1, what="the file")
    with pytest.raises(MelanomaError, match="by nan"):
        graph.require_equal(found * np.nan, bundle, squares, views=1, what="the file")


# Hugging Face ----------------------------------------------------------------------------------


def test_timm_alone_loads_every_member_and_their_mean_is_the_bundle_s(
    hub_folder: Path, bundle: Bundle, trained: Any
) -> None:
    timm = pytest.importorskip("timm")
    from PIL import Image
    from timm.data import create_transform, resolve_model_data_config

    members = [
        timm.create_model(f"local-dir:{hub_folder / f'fold_{n}'}", pretrained=True).eval()
        for n in (0, 1)
    ]
    transform = create_transform(**resolve_model_data_config(members[0]))
    squares = trained.array.rows(list(range(6)))
    # Squares of the size that is asked for: the transform has nothing left to resize.
    images = torch.stack([transform(Image.fromarray(square)) for square in squares])
    with torch.inference_mode():
        found = torch.stack([member(images).sigmoid() for member in members]).mean(0)[:, 0]
    scorer = Scorer(bundle_of(hub_folder), views=1)
    expected = melanoma_of(scorer, squares)
    assert np.abs(found.numpy() - expected).max() < 1e-4
    first = timm.create_model(f"local-dir:{hub_folder}", pretrained=True).eval()
    with torch.inference_mode():
        assert torch.equal(first(images), members[0](images))
    assert first.pretrained_cfg["label_names"] == ["melanoma"]
    # Half as many digits, as `ship` writes them: no more is lost than that.
    assert np.abs(expected - melanoma_of(Scorer(bundle, views=1), squares)).max() < 1e-2


def melanoma_of(scorer: Scorer, squares: Any) -> Any:
    return scorer.member_probabilities(squares).mean(axis=1)[:, 1]


def bundle_of(folder: Path) -> Bundle:
    return load_bundle(folder / "bundle")


def test_the_hub_reads_the_card_s_task_license_and_results(
    hub_folder: Path, bundle: Bundle
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(hub_folder / "README.md")
    data = card.data
    assert data.pipeline_tag == "image-classification"
    assert data.library_name == "timm"
    assert data.license == "unknown"
    values = {(r.metric_type, r.metric_value) for r in data.eval_results}
    assert ("roc_auc", bundle.report.metrics["auroc"].value) in values
    assert "not a medical device" in card.text


def test_melanoma_load_opens_the_folder_and_the_bundle_alike(
    hub_folder: Path, bundle_folder: Path, photograph: bytes, tmp_path: Path
) -> None:
    ours = melanoma.load(hub_folder, backend="torch").score(photograph)
    assert ours.model.digest == bundle_of(hub_folder).digest
    plain = melanoma.load(str(bundle_folder), backend="torch").score(photograph)
    assert plain.melanoma_probability == pytest.approx(ours.melanoma_probability, abs=1e-2)
    with pytest.raises(WeightsError, match="no bundle in"):
        melanoma.load(tmp_path)


def test_no_patient_and_no_name_is_published(hub_folder: Path, bundle_folder: Path) -> None:
    assert (bundle_folder / "oof.csv").is_file()
    names = {path.name for path in hub_folder.rglob("*") if path.is_file()}
    assert not {"oof.csv", "training_images.csv"} & names
    assert json.loads((hub_folder / "bundle/report.json").read_text())["largest_errors"] == []


def test_a_shipped_bundle_goes_along_byte_by_byte_with_its_license(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = SHIPPED
    # Not compared here: five networks, twice. benchmarks/exports.py does.
    monkeypatch.setattr(huggingface, "_timm_members", lambda bundle: {})
    exported = export_huggingface(load_bundle(source), tmp_path / "hub", ExportOptions())
    copied = tmp_path / "hub/bundle"
    named = [*json.loads((source / "manifest.json").read_text())["sha256"], "manifest.json"]
    for name in named:
        assert (copied / name).read_bytes() == (source / name).read_bytes(), name
    assert exported.license_id == "cc-by-nc-4.0"
    assert (tmp_path / "hub/LICENSE.md").is_file()
    # As no timm model was made: the card says so, and to whoever exports.
    _, meta, text = (tmp_path / "hub/README.md").read_text().split("---\n", 2)
    assert yaml.safe_load(meta)["library_name"] == "melanoma"
    assert "only the library melanoma reads it" in text and "create_model" not in text
    assert "melanoma.load alone" in exported.notes[0]
    elsewhere = load_bundle(source).report.external_results
    assert elsewhere and len(yaml.safe_load(meta)["model-index"][0]["results"]) == 1 + len(
        elsewhere
    )


def test_a_network_that_timm_has_not_becomes_no_timm_folder(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    from melanoma.scoring.backends.torch_members import load_members
    from melanoma.scoring.export import timm_folder

    network = load_members(bundle, torch.device("cpu")).networks[0]
    member = bundle.members[0]
    assert timm_folder.make_timm_member(bundle, member, network) is not None
    # Another network of the same shapes: what it says decides, not its name.
    monkeypatch.setitem(ARCHITECTURES, "resnet18", "resnet34")
    assert timm_folder.make_timm_member(bundle, member, network) is None
    monkeypatch.setitem(ARCHITECTURES, "resnet18", "resnet18")
    monkeypatch.setattr(timm_folder, "_LARGEST", -1.0)
    assert timm_folder.make_timm_member(bundle, member, network) is None


# The command -----------------------------------------------------------------------------------


def test_what_no_export_knows_is_refused() -> None:
    with pytest.raises(RecipeError, match="did you mean onnx"):
        find_export("onx")
    with pytest.raises(RecipeError, match="1 to 8"):
        ExportOptions(views=9)


def test_the_command_refuses_a_folder_that_is_there_and_a_format_that_is_not(
    call_door: Callable[..., Any], onnx_folder: Path, bundle_folder: Path
) -> None:
    # The fixture is the command's own work.
    options = ["--weights", bundle_folder]
    again = call_door("export", onnx_folder, "--to", "onnx", *options)
    assert again.code == StorageError.exit_code
    assert f"{onnx_folder} exists" in again.err
    unknown = call_door("export", "new", "--to", "onx", *options)
    assert unknown.code == 2 and "did you mean onnx" in unknown.err
    assert call_door("export", "new", "--to", "onnx", "--views", "9", *options).code == 2


@pytest.mark.parametrize("to", ["onnx", "openvino", "huggingface"])
def test_without_its_package_a_format_is_one_line(
    to: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    extra = {"huggingface": "timm"}.get(to, to)
    with pytest.raises(RecipeError, match=rf"melanoma\[{extra}\]"):
        find_export(to)(bundle, tmp_path / to, ExportOptions())
    assert not (tmp_path / to).exists()
