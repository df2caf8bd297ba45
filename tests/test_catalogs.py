"""A new entry in a literal dict is found wherever people would look for it."""

from __future__ import annotations

import importlib
import json
import re
import sys
import typing
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest
from made_content import binary
from PIL import Image
from toy_explanation import TOY, find_toy
from typer.testing import CliRunner

from melanoma.data.augmentation import TRANSFORMS, Augmentation
from melanoma.data.readers import reader_catalog as readers
from melanoma.data.readers.siim import read_siim
from melanoma.errors import RecipeError
from melanoma.evaluation.render.model_card import render_card
from melanoma.models.backbones import BACKBONES
from melanoma.models.losses import LOSSES, LossEntry, binary_cross_entropy
from melanoma.recipe import data_sections
from melanoma.recipe.json_schema import recipe_schema
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.backends.backend_catalog import BACKENDS, Backend, Engine, choose_backend
from melanoma.scoring.backends.torch_members import load_members
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.scoring.explain.explainer_catalog import EXPLAINERS
from melanoma.scoring.members import WatchedMembers
from melanoma.training.tracking.tracker_catalog import (
    TRACKERS,
    TrackingSystem,
    tracking_places,
)
from melanoma.workflows.train import check_recipe

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs

CHECKOUT = Path(__file__).parents[1]


def recipe_of(**sections: Any) -> Recipe:
    base = {"name": "r", "data": {"reader": "siim"}, "folds": {"name": "f"}}
    small = {"model": {"backbone": "resnet18"}}
    return make_recipe({**base, **small, **sections})


def refusal_of(**sections: Any) -> str:
    with pytest.raises(RecipeError) as caught:
        check_recipe(recipe_of(**sections))
    return str(caught.value)


def test_a_backbone_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BACKBONES, "toynet", BACKBONES["resnet18"])
    check_recipe(recipe_of(model={"backbone": "toynet"}))
    said = refusal_of(model={"backbone": "toynett"})
    assert "unknown backbone 'toynett'; did you mean toynet? (known: " in said


def test_an_augmentation_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRANSFORMS, "toy_flip", TRANSFORMS["flip_horizontal"])
    Augmentation(({"toy_flip": {"p": 0.5}},))
    said = refusal_of(augment=[{"toy_flop": {}}])
    assert "augment.0.toy_flop: unknown step; did you mean toy_flip? (known: " in said


def toy_loss(*given: Any, width: float = 1.0, **options: Any) -> Any:
    return width * binary_cross_entropy(*given, **options)


def test_a_loss_and_its_parameter_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = LossEntry(binary=toy_loss, parameters={"width": (0.5, 3.0)})
    monkeypatch.setitem(LOSSES, "toy_loss", entry)
    found = recipe_of(loss={"name": "toy_loss", "parameters": {"width": 2}})
    check_recipe(found)
    card = render_card(binary().content, found)
    assert "loss toy_loss (width 2);" in card
    said = refusal_of(loss={"name": "toy_los"})
    assert "unknown 'toy_los'; did you mean toy_loss? (known: " in said
    said = refusal_of(loss={"name": "toy_loss", "parameters": {"widht": 2}})
    assert "loss.parameters.widht: unknown parameter; did you mean width?" in said


class ToyData(data_sections.DataSection):
    """A layout that nobody has."""

    card = "Toys that lay about (reader toy)"
    reader: Literal["toy"]
    """Toys."""
    toys: int = 3
    """How many."""


@pytest.fixture
def toy_reader(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setitem(data_sections.READERS, "toy", ToyData)
        patched.setitem(readers.READERS, "toy", readers.Reader(read_toys))
        Recipe.model_rebuild(force=True)
        yield
    Recipe.model_rebuild(force=True)


def read_toys(folder: Path, data: data_sections.DataSection, classes: Any) -> Any:
    assert isinstance(data, ToyData)
    return read_siim(folder, data_sections.SiimData(reader="siim"), classes)


@pytest.mark.usefixtures("toy_reader")
def test_a_reader_is_found(tmp_path: Path) -> None:
    found = recipe_of(data={"reader": "toy", "toys": 2})
    assert found.data == ToyData(reader="toy", toys=2)
    assert make_recipe(json.loads(found.model_dump_json())).digest() == found.digest()
    rows = [("a", "p", 0), ("b", "q", 1)]
    pd.DataFrame(rows, columns=["image_name", "patient_id", "target"]).to_csv(
        tmp_path / "train.csv", index=False
    )
    assert readers.read_lesions(tmp_path, found.data).names == ["a", "b"]
    assert readers.read_test_lesions(tmp_path, found.data) is None
    assert "**5 Data.** Toys that lay about (reader toy). " in render_card(binary().content, found)
    assert "unknown 'toyy'; did you mean toy? (known: siim, " in refusal_of(data={"reader": "toyy"})
    assert "data.tois: unknown key; did you mean toys?" in refusal_of(
        data={"reader": "toy", "tois": 2}
    )
    assert recipe_schema()["$defs"]["ToyData"]["properties"]["toys"]["description"] == "How many."


def test_a_toy_leaves_nothing_behind() -> None:
    assert "ToyData" not in recipe_schema()["$defs"]


def test_every_reader_has_its_section_its_function_and_its_sentence() -> None:
    assert list(readers.READERS) == list(data_sections.READERS)
    for name, section in data_sections.READERS.items():
        assert typing.get_args(section.model_fields["reader"].annotation) == (name,)
        assert section.card[0].isupper() and not section.card.endswith("."), name
        assert len(section.card.split()) > 4, name


def test_an_explanation_is_found_by_the_command(
    monkeypatch: pytest.MonkeyPatch, call_door: Callable[..., Any], trained: Any, tmp_path: Path
) -> None:
    from melanoma import explain as command

    monkeypatch.setitem(EXPLAINERS, "toy", TOY)
    said = CliRunner().invoke(command.app, ["--help"], env={"COLUMNS": "200"})
    assert "gradcam or lime or toy." in said.output
    photograph, out = tmp_path / "mole.jpg", tmp_path / "why.png"
    photograph.write_bytes(trained.photograph(3))
    options = ("--config", CHECKOUT / "configs/demo.yaml", "--weights", trained.folder)
    answer = call_door("explain", photograph, *options, "--method", "toyy")
    assert answer.code == 2
    assert "--method toyy: did you mean toy? (known: gradcam, lime, toy)" in answer.err
    answer = call_door("explain", photograph, *options, "--method", "toy", "--out", out, "--json")
    assert answer.code == 0, answer.err
    (values,) = json.loads(answer.out)
    assert (values["method"], values["brightness"]) == ("toy", pytest.approx(100, abs=100))
    with Image.open(out) as picture:
        assert picture.format == "PNG"


@pytest.fixture
def toy_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whoever imports api finds it as it is where TOY is in the file: its models are built then."""
    monkeypatch.setitem(EXPLAINERS, "toy", TOY)
    known = {name: sys.modules.pop(name) for name in _names_of_api()}
    yield
    for name in _names_of_api():
        del sys.modules[name]
    sys.modules.update(known)


def _names_of_api() -> list[str]:
    return [name for name in sys.modules if name.split(".")[0] == "api"]


@pytest.mark.usefixtures("toy_service")
def test_an_explanation_is_found_by_the_service_and_its_page(bundle_folder: Path) -> None:
    found = find_toy(open_scorer(bundle_folder, engine=Engine("torch")))
    # The page draws its select from these, and falls back on the title.
    assert {"method": "toy", "title": "Toy map", "options": []} in found["info"]
    for form in found["forms"]:
        assert "gradcam" in json.dumps(form) and '"toy"' in json.dumps(form)
    assert "ToyAnswer" in found["answers"]
    explanation = found["answer"]["explanation"]
    assert (explanation["method"], explanation["brightness"]) == ("toy", 100)
    assert explanation["picture"].startswith("iVBOR")
    assert found["wrong"] == "method: gradcam or lime or toy"
    assert found["foreign"] == "method: precision and seed belong to lime, not to toy"


def open_toy(bundle: Any, device: Any, precision: str) -> Any:
    assert precision == "float32"
    members = WatchedMembers(load_members(bundle, device), lambda: None)
    members.backend = "toy"
    return members


def test_a_scoring_backend_is_found(
    monkeypatch: pytest.MonkeyPatch, call_door: Callable[..., Any], trained: Any, tmp_path: Path
) -> None:
    from api.settings import read_settings
    from melanoma import serve

    monkeypatch.setitem(BACKENDS, "toy", Backend(open_toy, package="json"))
    said = CliRunner().invoke(serve.app, ["--help"], env={"COLUMNS": "200"})
    assert "auto, torch, openvino or toy" in said.output
    with pytest.raises(RecipeError, match="--backend toyy: auto, torch, openvino or toy"):
        Engine("toyy")
    with pytest.raises(RecipeError, match=r"MELANOMA_BACKEND .*auto, torch, openvino, toy"):
        read_settings({"MELANOMA_BACKEND": "toyy"})
    assert read_settings({"MELANOMA_BACKEND": "toy"}).engine == Engine("toy")
    assert choose_backend("auto", "cpu") == choose_backend("auto", "cuda") == "toy"
    assert open_scorer(trained.folder, engine=Engine("toy")).info().backend == "toy"
    photograph = tmp_path / "mole.jpg"
    photograph.write_bytes(trained.photograph(3))
    asked = ("predict", photograph, "--weights", trained.folder, "--json")
    by_toy, by_torch = (call_door(*asked, "--backend", name) for name in ("toy", "torch"))
    assert by_toy.code == by_torch.code == 0, by_toy.err
    assert by_toy.out == by_torch.out
    monkeypatch.setitem(BACKENDS, "toy", Backend(open_toy, package="no_such_toy", extra="toys"))
    with pytest.raises(RecipeError, match=r"not installed; pip install melanoma\[toys\]"):
        choose_backend("toy", "cpu")


def test_an_export_is_found(
    monkeypatch: pytest.MonkeyPatch, call_door: Callable[..., Any], trained: Any, tmp_path: Path
) -> None:
    from melanoma import export as command
    from melanoma.scoring.export.export_catalog import EXPORTS
    from melanoma.scoring.export.export_folder import Exported

    def write_toy(bundle: Any, folder: Path, options: Any) -> Exported:
        folder.mkdir()
        (folder / "views.txt").write_text(f"{options.views} of {bundle.name}")
        return Exported(folder, "toy", file_bytes=3, largest=0.0)

    monkeypatch.setitem(EXPORTS, "toy", write_toy)
    said = CliRunner().invoke(command.app, ["--help"], env={"COLUMNS": "200"})
    assert "onnx, openvino, huggingface, toy." in said.output
    asked = ("export", tmp_path / "out", "--weights", trained.folder)
    answer = call_door(*asked, "--to", "toyy")
    assert answer.code == 2 and "--to toyy: did you mean toy? (known: onnx, " in answer.err
    answer = call_door(*asked, "--to", "toy", "--views", "2", "--json")
    assert answer.code == 0, answer.err
    assert json.loads(answer.out)["to"] == "toy"
    assert (tmp_path / "out" / "views.txt").read_text() == "2 of tiny"


class ToyTracker:
    """Writes down what it is told of."""

    name = "toy"

    def __init__(self, place: str) -> None:
        self.file = Path(place)

    def start(self, facts: Any, recipe: Recipe, history: Any) -> None:
        self.file.write_text(f"start {recipe.name}\n")

    def epoch(self, record: Any) -> None:
        self.file.write_text(f"{self.file.read_text()}epoch {record['epoch']}\n")

    def finish(self, facts: Any, *, status: str) -> None:
        self.file.write_text(f"{self.file.read_text()}{status}\n")


def test_a_tracker_is_found(
    monkeypatch: pytest.MonkeyPatch, call_door: Callable[..., Any], trained: Any, tmp_path: Path
) -> None:
    from melanoma import train as command

    monkeypatch.setitem(TRACKERS, "toy", TrackingSystem(ToyTracker, "FILE", "toy.txt"))
    said = CliRunner().invoke(command.app, ["--help"], env={"COLUMNS": "200"})
    assert "wandb[:PROJECT], toy[:FILE], repeatable; or none" in " ".join(said.output.split())
    assert tracking_places(["toy"]) == ("toy:toy.txt",)
    with pytest.raises(
        RecipeError, match=r"--track toyy: none, or mlflow\[:URI\], .*, toy\[:FILE\]"
    ):
        tracking_places(["toyy"])
    recipe = tmp_path / "tiny.yaml"
    recipe.write_text(trained.recipe.to_yaml())
    base, told = trained.folder.parent, tmp_path / "told.txt"
    answer = call_door(
        *("train", "--config", recipe, "--data", base / "data", "--arrays", base / "arrays"),
        *("--folds", base / "folds.csv", "--weights", tmp_path / "weights", "--fold", "0"),
        *("--device", "cpu", "--track", f"toy:{told}"),
    )
    assert answer.code == 0, answer.err
    assert told.read_text().splitlines() == ["start tiny", "epoch 1", "FINISHED"]


def test_the_how_to_names_dicts_that_exist() -> None:
    page = (CHECKOUT / "docs/how-to/extend.md").read_text()
    rows = re.findall(r"^\|[^|]*\| `(\w+)` \| `([\w/]+)\.py`", page, re.M)
    kinds = [row for row in rows if row[0] != "METRICS"]  # metrics have a test of their own
    assert len(kinds) == 9
    for name, path in kinds:
        assert isinstance(vars(importlib.import_module(path.replace("/", ".")))[name], dict), path
