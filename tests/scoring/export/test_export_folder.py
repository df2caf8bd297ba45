"""What lies beside an exported graph: its example, its description, its license."""

from __future__ import annotations

import json
import runpy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from melanoma.data.images import decode_image
from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.evaluation.prevalence import Move
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.export.export_folder import copy_license, describe, folder_bytes, write_folder
from melanoma.scoring.scorer import Scorer

pytestmark = pytest.mark.slow  # together they take many seconds


@pytest.fixture(scope="module")
def folder(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What lies beside a graph, without one."""
    stage = tmp_path_factory.mktemp("beside")
    licensed = stage.parent / "licensed"
    licensed.mkdir()
    (licensed / "LICENSE.md").write_bytes(b"Mine.\r\n")
    write_folder(
        stage,
        replace(bundle, folder=licensed, license="Mine."),
        views=1,
        runtime="onnxruntime",
        file="model.onnx",
        largest=2.5e-7,
    )
    return stage


def test_the_example_s_answer_is_the_bundle_s_own(folder: Path, bundle: Bundle) -> None:
    example = json.loads((folder / "model.json").read_text())["example"]
    picture = (folder / example["file"]).read_bytes()
    ours = Scorer(bundle, views=1).score(picture).by_class
    assert example["probabilities"] == pytest.approx([ours[name] for name in bundle.classes])
    other = Scorer(bundle, views=8).score(picture).by_class
    assert example["probabilities"] != pytest.approx([other[name] for name in bundle.classes])


def test_the_folder_says_how_it_was_made_and_holds_all_that_it_names(
    folder: Path, bundle: Bundle
) -> None:
    described = json.loads((folder / "model.json").read_text())
    assert (described["runtime"], described["file"]) == ("onnxruntime", "model.onnx")
    assert described["largest_difference"] == 2.5e-7
    page = (folder / "README.md").read_text()
    for part in (bundle.digest, "not a medical device", "model.onnx", "to 2e-07", "LICENSE.md"):
        assert part in page
    compile((folder / "score.py").read_text(), "score.py", "exec")
    assert (folder / "LICENSE.md").read_bytes() == b"Mine.\r\n"
    assert folder_bytes(folder) == sum(path.stat().st_size for path in folder.iterdir())


@pytest.mark.parametrize("kind", ["grey of 16 bits", "grey", "color", "turned", "see-through"])
def test_score_py_makes_the_square_that_the_bundle_sees(
    kind: str, folder: Path, bundle: Bundle, tmp_path: Path
) -> None:
    own = runpy.run_path(str(folder / "score.py"))["make_square"]
    pixels = draw_phantom(melanoma=True, rng=np.random.default_rng(1), size=90)[:, :70]
    image = Image.fromarray(pixels)
    options: dict[str, Any] = {}
    if kind == "grey of 16 bits":
        image = Image.fromarray(np.asarray(image.convert("L")).astype(np.uint16) * 257)
    elif kind == "grey":
        image = image.convert("L")
    elif kind == "turned":
        options["exif"] = Image.Exif()
        options["exif"][0x0112] = 6
    elif kind == "see-through":
        image.putalpha(120)
    image.save(tmp_path / "a.png", **options)
    data = (tmp_path / "a.png").read_bytes()
    expected = Scorer(bundle).square(decode_image(data).pixels)
    assert np.array_equal(own(tmp_path / "a.png"), expected)


def test_a_moved_bundle_s_example_and_share_are_of_where_it_was_moved_to(
    bundle: Bundle, tmp_path: Path
) -> None:
    moved = replace(bundle, move=Move(1.0, -2.0, 0.02))
    write_folder(tmp_path, moved, views=1, runtime="onnxruntime", file="model.onnx", largest=0.0)
    described = json.loads((tmp_path / "model.json").read_text())
    assert described["prevalence"] == 0.02
    ours = Scorer(moved, views=1).score((tmp_path / described["example"]["file"]).read_bytes())
    assert described["example"]["probabilities"] == pytest.approx([*ours.by_class.values()])


def test_a_bundle_without_a_license_brings_none(bundle: Bundle, tmp_path: Path) -> None:
    copy_license(replace(bundle, license=None), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_graph_is_described_by_what_its_caller_must_know(
    bundle: Bundle, of_classes: Bundle
) -> None:
    for one in (bundle, of_classes):
        facts = describe(one, views=3)
        assert json.loads(json.dumps(facts)) == facts
        assert facts["input"]["shape"] == ["batch", one.size, one.size, 3]
        assert facts["outputs"] == {
            "probabilities": ["batch", len(one.classes)],
            "by_member": ["batch", len(one.members), len(one.classes)],
        }
        assert facts["classes"] == list(one.classes)
        assert facts["melanoma"] == list(one.melanoma)
        assert (facts["views"], facts["views_evaluated"]) == (3, one.views)
        assert facts["digest"] == one.digest
        assert facts["thresholds"] == [asdict(point) for point in one.points]
        assert facts["calibrated"] == one.is_calibrated


def test_the_bytes_of_a_folder_are_those_of_all_files_in_it(tmp_path: Path) -> None:
    (tmp_path / "a/b").mkdir(parents=True)
    for name, size in (("one", 5), ("a/two", 70), ("a/b/three", 900)):
        (tmp_path / name).write_bytes(bytes(size))
    assert folder_bytes(tmp_path) == 975
