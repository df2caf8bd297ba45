"""S3, Skin Disease Recognition: 22 clinical classes, EfficientNet-B3, reports and a page."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import torch
from one_epoch import weights_after_an_epoch
from safetensors.torch import load_file

from melanoma.data.batches import draw_order, load_batches, plan_epoch
from melanoma.data.images import MAX_BYTES
from melanoma.data.transforms import to_tensor
from melanoma.errors import RecipeError, WeightsError
from melanoma.models.backbones import find_backbone
from melanoma.models.classifier import make_classifier, parameter_groups
from melanoma.recipe.sections import Sampler
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.training.run.survey import numeric_order, summarize_run

ROOT = Path(__file__).resolve().parents[2]
CPU = torch.device("cpu")


def test_s3_1_class_folders_with_overrides_and_the_resolved_recipe_is_saved(
    config: Any, folder_run: Any
) -> None:
    for name in ("efficientnet_b0", "efficientnet_b1", "efficientnet_b3", "resnet18", "resnet50"):
        recipe = config("skin22_efficientnet_b3", f"model.backbone={name}", "training.epochs=3")
        assert recipe.training.epochs == 3
        with torch.device("meta"):
            network = make_classifier(name, outputs=recipe.outputs)
        assert network.last_layer.weight.shape == (22, find_backbone(name).features)
    with pytest.raises(RecipeError, match="did you mean epochs"):
        config("skin22_efficientnet_b3", "training.epoch=3")
    saved = (folder_run.weights / "fold_0/recipe.yaml").read_text()
    assert "label_smoothing: 0.0" in saved and "class_folders" in saved


def test_s3_2_the_augmentation_is_the_original_s_and_of_training_only(
    config: Any, trained: Any, recipe_of: Any, fit: Any
) -> None:
    steps = config("skin22_efficientnet_b3").augment
    assert [next(iter(step)) for step in steps] == [
        "flip_horizontal", "flip_vertical", "shift_scale_rotate", "color_jitter",
        "shift_scale_rotate",
    ]  # fmt: skip
    assert steps[2]["shift_scale_rotate"] == {"shift": 0, "scale": 0, "rotate": 30, "p": 0.7}
    assert [steps[0]["flip_horizontal"], steps[4]["shift_scale_rotate"]] == [
        {"p": 0.5}, {"shift": 0.1, "scale": 0.1, "rotate": 0, "p": 0.5},
    ]  # fmt: skip
    jitter = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "hue": 0.05, "p": 0.3}
    assert steps[3]["color_jitter"] == jitter
    turned = fit(recipe_of(augment=[{"flip_horizontal": {"p": 1.0}}]), "turned")
    weights = "model.safetensors"
    assert turned.facts.files[weights] != fit(recipe_of(augment=[]), "plain").facts.files[weights]
    network = make_classifier("tiny", outputs=1).eval()
    network.load_state_dict(load_file(turned.folder / weights))
    squares = trained.array.rows(trained.parts[0].validation)
    with torch.inference_mode():
        logits = network(to_tensor(squares, normalize="imagenet"))
    held_out = turned.scores.logits("logit")
    assert np.allclose(held_out, logits.numpy(), atol=1e-5)  # of the squares as they are


def plan_one(rows: Any) -> Any:
    sampler = Sampler()
    zeros = np.zeros(len(rows), np.int64)
    return plan_epoch(rows, zeros, sampler=sampler, batch_size=99, accumulate=1, seed=(0,))[0]


def test_s3_3_the_weighted_sampler_is_uniform_within_five_per_cent_and_seeded(
    trained: Any,
) -> None:
    rows = np.arange(1100)
    targets = (rows >= 1000).astype(np.int64) + (rows % 2) * 2 * (rows >= 1000)
    draw = partial(draw_order, rows, targets, sampler=Sampler(name="balanced"))
    counts = np.bincount(targets[draw(seed=(1, 2))])
    shares = counts[counts > 0] / len(rows)
    assert np.ptp(shares) < 0.05
    assert np.array_equal(draw(seed=(1, 2)), draw(seed=(1, 2)))
    assert not np.array_equal(draw(seed=(1, 2)), draw(seed=(1, 3)))
    plans = [plan_one(np.arange(8)), plan_one(np.arange(8, 16))]
    alone, workers = (
        [b.pixels.numpy().copy() for b in load_batches(trained.array, plans, workers=n)]
        for n in (0, 2)
    )
    assert all(np.array_equal(a, b) for a, b in zip(alone, workers, strict=True))


def test_s3_4_accumulated_batches_step_as_the_large_one_with_a_ragged_last_group(
    trained: Any, recipe_of: Any
) -> None:
    found = []
    data = trained.parts[0]
    for training in ({"batch_size": 15, "accumulate": 1}, {"batch_size": 5, "accumulate": 3}):
        recipe = recipe_of(
            training=training, optimizer={"name": "sgd", "rate": 0.05}, model={"dropout": 0.0}
        )
        torch.manual_seed(0)
        network = make_classifier("tiny", outputs=1)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.eval()
                module.train = lambda mode=True, m=module: m  # statistics are of a batch
        found.append(weights_after_an_epoch(network, recipe, data, trained.array, smoothing=0.1))
    assert len(data.training) % 15
    assert torch.allclose(*found, atol=1e-5)


def test_s3_5_rates_smoothing_plateau_stopping_and_the_best_macro_f1(config: Any) -> None:
    recipe = config("skin22_efficientnet_b3")
    assert recipe.optimizer.backbone_ratio == 0.1 and recipe.loss.label_smoothing == 0.1
    rules = recipe.optimizer
    groups = parameter_groups(
        make_classifier("resnet18", outputs=22), "resnet18", rate=rules.rate,
        weight_decay=rules.weight_decay, depth_decay=1.0, backbone_ratio=rules.backbone_ratio,
    )  # fmt: skip
    assert {round(group["lr"], 9) for group in groups} == {1e-3, 1e-4}
    schedule = recipe.schedule
    assert (schedule.name, schedule.metric, schedule.factor, schedule.patience) == (
        "plateau", "loss", 0.5, 3,
    )  # fmt: skip
    assert recipe.selection.patience and recipe.selection.keep == "best"
    assert recipe.selection_metric == "macro_f1"


def test_s3_6_the_test_part_is_apart_and_scored_once_by_evaluate(folder_run: Any) -> None:
    table = pd.read_csv(folder_run.folds)
    from melanoma.data.arrays import load_array

    array = load_array(folder_run.arrays, folder_run.recipe.image)
    assert array is not None
    test = {array.row_of[n] for n in table["image_name"][table["fold"].astype(str) == "test"]}
    assert test and not test & folder_run.asked
    training = pd.read_csv(folder_run.weights / "fold_0/oof.csv")
    assert not {array.row_of[n] for n in training["image_name"]} & test


def test_s3_7_one_seed_gives_the_same_metrics_on_a_cpu(recipe_of: Any, fit: Any) -> None:
    first, again = fit(recipe_of(), "a"), fit(recipe_of(), "b")
    assert first.facts.files == again.facts.files
    assert fit(recipe_of(seed=7), "c").facts.files != first.facts.files


def test_s3_8_the_run_folder_holds_everything_and_runs_compares(
    folder_run: Any, call_door: Any, bundle_folder: Path, tmp_path: Path
) -> None:
    weights = folder_run.weights
    lines = (weights / "fold_0/metrics.jsonl").read_text().splitlines()
    assert all({"loss", "rates", "macro_f1"} <= set(json.loads(line)) for line in lines)
    report = json.loads((weights / "report.json").read_text())
    assert report["classes"] == list(folder_run.recipe.classes)
    assert report["per_class"] and report["confusion"]["counts"] and report["largest_errors"]
    assert list((weights / "figures").iterdir())
    html = (weights / "report.html").read_text()
    assert "Confusion" in html and "ikeliest" in html
    listed = call_door("runs", bundle_folder, weights)
    assert listed.code == 0 and len(listed.out.splitlines()) == 3  # the heading and two runs
    assert summarize_run(bundle_folder).value("auroc")
    assert summarize_run(weights).finished == 2


def test_s3_9_versions_are_in_numeric_order_and_a_missing_bundle_is_clear(
    tmp_path: Path, scorer: Any
) -> None:
    assert sorted(["v10", "v2", "v9"], key=numeric_order) == ["v2", "v9", "v10"]
    with pytest.raises(WeightsError, match="no bundle in") as refused:
        load_bundle(tmp_path)
    assert refused.value.exit_code == 5
    assert scorer.info().version == 1


def test_s3_10_names_with_spaces_survive_and_wrong_files_are_refused(
    folder_run: Any, client: Any
) -> None:
    bundle = load_bundle(folder_run.weights)
    assert bundle.classes == folder_run.recipe.classes
    assert any(" " in name and "," in name for name in bundle.classes)
    assert client.post("/predict", files={"file": b"GIF89a" + b"\0" * 99}).status_code == 415
    assert client.post("/predict", files={"file": b"\0" * (MAX_BYTES + 1)}).status_code == 413


def test_s3_11_info_and_report_equal_the_bundle_s(client: Any, bundle_folder: Path) -> None:
    bundle = load_bundle(bundle_folder)
    (model,) = client.get("/info").json()["models"]
    assert (model["name"], model["version"], model["digest"]) == (bundle.name, 1, bundle.digest)
    assert client.get("/report").content == (bundle_folder / "report.json").read_bytes()
    assert client.get("/api/report").content == client.get("/report").content


def test_s3_12_twenty_predicts_at_once_and_the_health_beside_them(
    address: str, photograph: bytes
) -> None:
    def predict(_: int) -> int:
        files = {"file": ("a.jpg", photograph)}
        return httpx.post(f"{address}/predict", files=files, timeout=60).status_code

    with ThreadPoolExecutor(21) as pool:
        asked = pool.map(predict, range(20))
        health = pool.submit(httpx.get, f"{address}/healthz", timeout=60)
        assert set(asked) == {200}
        assert health.result().status_code == 200


def test_s3_13_the_page_analyzes_files_drops_and_camera_shots(client: Any, page: str) -> None:
    body = client.get("/").text
    for name in ("file", "drop", "camera", "video", "capture", "retake", "use", "result"):
        assert f'id="{name}"' in body, name
    for word in ("getUserMedia", "NotAllowedError", '"drop"', "dataTransfer"):
        assert word in page, word


def test_s3_14_the_export_has_all_classes_the_model_and_the_disclaimer(page: str) -> None:
    export = (ROOT / "api/page/export.js").read_text()
    for word in ("by_class", "model", "disclaimer"):
        assert word in export or word in page
    assert "JSON.stringify" in export and "sort" in export + page


def test_s3_15_the_performance_page_has_cards_a_table_search_sort_and_retry(client: Any) -> None:
    text = client.get("/static/performance.js").text + client.get("/static/table.js").text
    for word in ("report", "search", "sort", "retry"):
        assert word in text.lower(), word
    assert "@media" in client.get("/static/style.css").text


def test_s3_16_the_theme_is_the_system_s_until_one_is_chosen_and_kept(client: Any) -> None:
    theme = client.get("/static/theme.js").text + client.get("/static/early.js").text
    assert "localStorage" in theme
    assert "prefers-color-scheme" in theme + client.get("/static/style.css").text
    assert 'id="theme"' in client.get("/").text


def test_s3_17_containers_are_nobody_s_root_and_ci_lints_and_tests() -> None:
    dockerfile = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER \d{3,}$", dockerfile, re.M)
    compose = (ROOT / "docker-compose.yaml").read_text()
    assert 'user: "101:101"' in compose and "cap_drop: [ALL]" in compose
    script = (ROOT / ".ci/run").read_text() + (ROOT / "Makefile").read_text()
    assert "ruff" in script and "pytest" in script and "mypy" in script


def test_s3_18_its_wishes_calibration_gradcam_and_batches(
    client: Any, photograph: bytes, report: Any
) -> None:
    files = [("files", ("a.jpg", photograph)), ("files", ("b.jpg", photograph))]
    batch = client.post("/predict/batch", files=files).json()["results"]
    assert len(batch) == 2 and all(one["calibrated"] for one in batch)
    asked = {"files": {"file": photograph}, "data": {"class": "melanoma"}}
    heat = client.post("/explain", **asked).json()["explanation"]
    assert heat["method"] == "gradcam" and np.max(heat["heat"]) == pytest.approx(1)
    assert report["calibration"]["slope"] > 0
