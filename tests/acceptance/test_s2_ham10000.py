"""S2, MLBIO skin disease classification: HAM10000, seven classes, ResNet18/34 and LIME."""

from __future__ import annotations

import base64
import io
import socket
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from fold_tables import held, lesions
from PIL import Image
from refusals import require_refusal
from toy_scorer import Box, make_scorer, read_boxes

from api.app import load_app
from api.settings import Settings, read_settings
from melanoma.data.folds import FoldTable, make_folds
from melanoma.data.leaks import audit_folds
from melanoma.data.readers.labels import HAM10000_CLASSES, read_targets
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.errors import DataError, RecipeError
from melanoma.models.backbones import find_backbone
from melanoma.models.classifier import make_classifier
from melanoma.scoring.explain import lime
from melanoma.scoring.explain.explain_options import PRECISIONS
from melanoma.scoring.explain.explainers import explain_lime
from melanoma.scoring.explain.pictures import tint_segments

ROOT = Path(__file__).resolve().parents[2]


def test_s2_1_it_trains_on_the_original_s_tree_and_names_what_is_wrong(
    tmp_path: Path, config: Any, photograph: bytes, call_door: Any
) -> None:
    rows = [
        (f"HAM_{n}", f"ISIC_{n}", code, "histo", 50, "male", "back")
        for n, code in enumerate([*HAM10000_CLASSES, "nv"])
    ]
    columns = ["lesion_id", "image_id", "dx", "dx_type", "age", "sex", "localization"]
    pd.DataFrame(rows, columns=columns).to_csv(tmp_path / "HAM10000_metadata.csv", index=False)
    for number in range(8):
        part = "test" if number == 7 else "train"
        folder = tmp_path / f"HAM10000_images_{part}"
        folder.mkdir(exist_ok=True)
        (folder / f"ISIC_{number}.jpg").write_bytes(photograph)
    recipe = config("ham10000_resnet34")
    table = read_lesions(tmp_path, recipe.data, classes=recipe.classes).require_sound()
    assert table.frame["part"].tolist() == ["train"] * 7 + ["test"]
    (tmp_path / "HAM10000_images_train/ISIC_3.jpg").unlink()
    assert "ISIC_3" in table.frame["image_name"][3]
    again = read_lesions(tmp_path, recipe.data, classes=recipe.classes)
    assert again.frame["source"][3] == ""
    named = ["--config", "ham10000_resnet34", "--data", tmp_path]
    require_refusal(call_door("check", *named), 3, "ISIC_3")
    wrong = ["--fold", 0, "--set", "model.backbone=resnet19"]
    require_refusal(call_door("train", *named, *wrong), 2, "resnet18", "resnet34")
    for name in ("resnet18", "resnet34"):
        find_backbone(config("ham10000_resnet34", f"model.backbone={name}").model.backbone)
    with pytest.raises(RecipeError, match="unknown backbone 'resnet19'") as refused:
        find_backbone("resnet19")
    assert refused.value.exit_code == 2
    assert config("ham10000_resnet34", "model.freeze_backbone=true").model.freeze_backbone
    with pytest.raises(DataError, match="HAM10000_metadata"):
        read_lesions(tmp_path / "none", recipe.data, classes=recipe.classes)


def test_s2_2_seven_codes_are_seven_names_and_an_unknown_one_is_named_with_its_row() -> None:
    assert len(HAM10000_CLASSES) == len(set(HAM10000_CLASSES.values())) == 7
    assert HAM10000_CLASSES["mel"] == "melanoma" and HAM10000_CLASSES["df"] == "dermatofibroma"
    cells = pd.Series(["mel", "nv", "scc", *HAM10000_CLASSES], name="dx")
    classes = tuple(HAM10000_CLASSES.values())
    numbers, problems = read_targets(cells, classes, labels=HAM10000_CLASSES)
    assert classes[numbers[0]] == "melanoma"
    assert len(problems) == 1 and "1 rows whose dx" in problems[0]
    assert "row 3 (line 4): 'scc'" in problems[0] and "data.labels" in problems[0]


def test_s2_3_a_frozen_backbone_is_bit_equal_after_training() -> None:
    torch.manual_seed(0)
    network = make_classifier("resnet18", outputs=7)
    network.freeze_backbone(True)
    before = {key: value.clone() for key, value in network.backbone.state_dict().items()}
    network.train()
    step = torch.optim.SGD([p for p in network.parameters() if p.requires_grad], 0.1)
    network(torch.randn(4, 3, 32, 32)).square().mean().backward()
    step.step()
    after = network.backbone.state_dict()
    assert any("running_mean" in key for key in before)
    assert all(torch.equal(after[key], value) for key, value in before.items())
    assert network.last_layer.weight.grad is not None


def test_s2_4_no_lesion_is_in_two_parts_and_a_leaking_split_is_reported() -> None:
    rng = np.random.default_rng(0)
    lesion = [f"l{n}" for n in rng.integers(0, 120, 400)]
    table = lesions(rng.integers(0, 2, 400), lesion=lesion)
    folds = make_folds(table, held(k=5, holdout=0.2))
    assert folds.whole.groupby("lesion_id")["fold"].nunique().max() == 1
    frame = folds.whole.assign(fold=np.arange(400) % 5, group="g0")
    assert any("lesion" in line for line in audit_folds(FoldTable(frame)).findings)


def test_s2_5_the_recipe_has_the_original_s_values(config: Any) -> None:
    recipe = config("ham10000_resnet34")
    assert (recipe.optimizer.name, recipe.optimizer.rate) == ("adam", 1e-3)
    assert (recipe.schedule.name, recipe.schedule.every, recipe.schedule.factor) == ("step", 4, 0.1)
    assert (recipe.training.batch_size, recipe.training.epochs) == (64, 15)
    steps = {name: arguments for step in recipe.augment for name, arguments in step.items()}
    assert steps["gaussian_blur"]["blur"] == steps["gaussian_blur"]["least"] == 5
    assert steps["perspective"] == {"distortion": 0.5, "p": 0.5}
    assert steps["shift_scale_rotate"]["rotate"] == 180
    assert recipe.loss.name == "cross_entropy" and len(recipe.classes) == 7


def test_s2_6_a_json_post_answers_with_the_lime_picture(client: Any, encoded: str) -> None:
    body = {"image": encoded, "explain": True, "precision": "Low"}
    answer = client.post("/predict", json=body).json()
    assert answer["success"] is True
    assert answer["prediction"] in answer["by_class"]
    assert answer["probability"] == answer["by_class"][answer["prediction"]]
    explanation = answer["explanation"]
    assert (explanation["method"], explanation["evaluations"]) == ("lime", 50)
    picture = Image.open(io.BytesIO(base64.b64decode(explanation["picture"])))
    assert picture.format == "PNG"
    found = {tuple(pixel) for pixel in np.asarray(picture.convert("RGB")).reshape(-1, 3).tolist()}
    # Blue for, orange against, black the outline: the legend has them whatever the picture has.
    assert {(0, 114, 178), (213, 94, 0), (0, 0, 0)} <= found


def test_s2_7_bad_requests_are_4xx_json(client: Any, encoded: str) -> None:
    bodies: dict[str, Any] = {
        "missing": {},
        "base64": {"image": "%%%"},
        "no image": {"image": base64.b64encode(b"hello, no image").decode()},
        "explain": {"image": encoded, "explain": "yes"},
        "precision": {"image": encoded, "precision": "Enormous"},
    }
    replies = [client.post("/predict", json=body) for body in bodies.values()]
    replies.append(client.post("/predict", content=b"{", headers={"content-type": "text/json"}))
    replies.append(
        client.post("/predict", content=b"{", headers={"content-type": "application/json"})
    )
    for reply in replies:
        assert 400 <= reply.status_code < 500
        assert reply.json()["success"] is False
        assert reply.json()["error"]["message"] == reply.json()["detail"]


def test_s2_8_lime_has_the_original_s_parameters_and_is_the_same_twice(
    scorer: Any, photograph: bytes
) -> None:
    assert (lime.KERNEL_SIZE, lime.MAX_DIST, lime.RATIO, lime.RIDGE) == (4, 200, 0.2, 1)
    assert PRECISIONS == {"Low": 50, "Medium": 200, "High": 1000}
    square = np.full((1, 8, 8, 3), 200, np.uint8)[0]
    switches = np.array([[True, False]])
    coverage = lime.measure_coverage(np.repeat([[0, 1]], 8, 0).repeat(4, 1), size=8)
    hidden = lime.hide_segments(square, switches, coverage)[0]
    assert hidden[:, :4].min() == 200 and hidden[:, 4:].max() == 0
    pixels = np.asarray(Image.open(io.BytesIO(photograph)).convert("RGB"))
    first, again = (explain_lime(scorer, pixels, precision="Low", seed=4) for _ in range(2))
    assert np.array_equal(first.weights, again.weights)
    assert np.array_equal(first.segments, again.segments)
    assert len(first.largest()) == 5


def test_s2_9_the_square_that_a_toy_reads_is_green_at_medium() -> None:
    box = Box(0.25, 0.5, 0.5, 0.75)
    scorer = make_scorer([read_boxes([box])])
    rng = np.random.default_rng(2)
    coarse = rng.integers(60, 200, (8, 8, 3)).astype(np.uint8)
    pixels = np.kron(coarse, np.ones((16, 16, 1), np.uint8))
    found = explain_lime(scorer, pixels, target="melanoma", precision="Medium", seed=1)
    inside = box.mask(*found.segments.shape)
    best = int(np.argmax(found.weights))
    assert found.weights[best] > 0
    assert inside[found.segments == best].mean() > 0.5
    # What speaks for it is drawn in the color of the legend's "for": bluer, and less red.
    part = np.full((*found.segments.shape, 3), 128, np.uint8)
    color = tint_segments(part, found)[found.segments == best]
    red, green, blue = np.median(color, axis=0)
    assert red < green < 128 < blue


def test_s2_10_predict_works_with_a_server_and_without_and_prints_its_line(
    call_door: Any, given: Any, photograph: bytes, address: str, tmp_path: Path
) -> None:
    file = tmp_path / "mole.jpg"
    file.write_bytes(photograph)
    local = call_door("predict", file, *given[:4], "--out", tmp_path / "a.csv")
    remote = call_door("predict", file, "--url", address, "--out", tmp_path / "b.csv")
    assert (local.code, remote.code) == (0, 0), local.err + remote.err
    first = local.out.splitlines()[0]
    name, _, share = first.removeprefix("prediction: ").rpartition(" - ")
    assert first.startswith("prediction: ") and name and share.endswith("%")
    assert remote.out.splitlines()[0] == first
    ours, theirs = (pd.read_csv(tmp_path / f"{n}.csv") for n in "ab")
    assert ours["melanoma_probability"][0] == pytest.approx(theirs["melanoma_probability"][0])
    why = tmp_path / "why.png"
    options = ["--explain", "--precision", "low", "--out", why]
    assert call_door("predict", file, "--url", address, *options).code == 0
    assert Image.open(why).format == "PNG"  # without one: tests/commands/test_explain.py


def test_s2_11_the_page_offers_precisions_with_their_time_and_shows_errors(
    client: Any, page: str
) -> None:
    costs = client.get("/info").json()["models"][0]["explanations"]["precision"]
    assert set(costs) <= set(PRECISIONS) and costs
    assert all(cost["expected_seconds"] is None or cost["expected_seconds"] > 0
               for cost in costs.values())  # fmt: skip
    assert 'id: "explain-error"' in page and "precision" in page
    assert "error.message" in page


def test_s2_12_the_bundle_is_a_setting_and_a_start_needs_no_network(
    bundle_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = read_settings({"MELANOMA_WEIGHTS": str(bundle_folder)})
    assert settings.weights == (bundle_folder,)

    def no_network(*_: Any, **__: Any) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket, "create_connection", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    assert load_app(Settings(weights=(bundle_folder,), device="cpu")).title == "melanoma"
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert '--host 0.0.0.0 --port \\"$PORT\\"' in dockerfile
