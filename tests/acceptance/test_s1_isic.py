"""S1, Skin Lesion Classifier: benign or malignant, DenseNet161, a web app."""

from __future__ import annotations

import json
import pickle
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from melanoma.errors import WeightsError
from melanoma.evaluation.metrics.decisions import accuracy_at, sensitivity_at, specificity_at
from melanoma.models.classifier import make_classifier, parameter_groups
from melanoma.models.pretrained import read_weights
from melanoma.scoring.files.score_files import likeliest_classes
from melanoma.training.learning_rate_figure import save_sweep
from melanoma.training.learning_rate_range import sweep_rates
from melanoma.training.schedule import RateSchedule

ROOT = Path(__file__).resolve().parents[2]


def test_s1_1_the_data_check_finds_each_fault_and_exits_3(
    call_door: Any, trained: Any, tmp_path: Path
) -> None:
    data, folder = trained.folder.parent / "data", tmp_path / "data"
    table = (data / "train.csv").read_text().splitlines()
    folder.mkdir()
    (folder / "train.csv").write_text("\n".join(table[:9]) + "\n")
    shutil.copytree(data / "jpeg", folder / "jpeg")
    names = [row.split(",")[0] for row in table[1:9]]
    recipe = tmp_path / "r.yaml"
    recipe.write_text(
        "data: {reader: siim}\nfolds: {name: f}\nimage: {size: 32}\nmodel: {backbone: resnet18}\n"
    )
    images = folder / "jpeg/train"
    for path in list(images.iterdir()):
        if path.stem not in names:
            path.unlink()
    sound = call_door("check", "--config", recipe, "--data", folder)
    assert sound.code == 0 and "8 rows" in sound.out, sound.err
    shutil.copy(images / f"{names[0]}.jpg", images / f"{names[1]}.jpg")
    (images / f"{names[2]}.jpg").unlink()
    shutil.copy(images / f"{names[3]}.jpg", images / "nobody.jpg")
    faulty = call_door("check", "--config", recipe, "--data", folder)
    assert faulty.code == 3
    for said in (names[2], f"{names[0]} = {names[1]}", "nobody"):
        assert said in faulty.err


def test_s1_2_the_recipe_has_densenet161_at_224_with_a_fifth_held_out(config: Any) -> None:
    recipe = config("isic_densenet161")
    assert (recipe.model.backbone, recipe.image.size) == ("densenet161", 224)
    assert 1 / recipe.folds.k == 0.2
    single = config("isic_densenet161", "folds.k=1", "model.backbone=resnet34")
    assert (single.folds.validation, single.model.backbone) == (0.2, "resnet34")


def test_s1_3_the_range_of_rates_has_losses_a_plot_and_a_suggestion(
    trained: Any, recipe_of: Any, tmp_path: Path
) -> None:
    sweep = sweep_rates(
        recipe_of(training={"batch_size": 8}),
        trained.parts[0],
        device=torch.device("cpu"),
        imagenet=tmp_path,
        low=1e-5,
        high=1.0,
        steps=40,
    )
    assert len(sweep.rates) == len(sweep.losses) > 10
    assert (np.diff(sweep.rates) > 0).all()
    assert sweep.suggestion is None or 1e-5 < sweep.suggestion < 1.0
    save_sweep(sweep, tmp_path / "sweep.png", title="sweep")
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")


def test_s1_4_stages_are_frozen_one_cycle_then_unfrozen_with_rates_by_depth(config: Any) -> None:
    first, second = config("isic_densenet161").stage_plans
    assert (first.epochs, first.frozen, first.optimizer.rate) == (5, True, 5e-4)
    assert (second.epochs, second.frozen, second.optimizer.weight_decay) == (10, False, 1.0)
    assert first.schedule.name == second.schedule.name == "one_cycle"
    curve = [RateSchedule(first.schedule, 5).factor(epoch / 10) for epoch in range(51)]
    assert curve[0] < 0.1 and max(curve) == pytest.approx(1.0) and curve[-1] < 0.1
    rules = second.optimizer
    network = make_classifier("resnet18", outputs=1)
    groups = parameter_groups(
        network,
        "resnet18",
        rate=rules.rate,
        weight_decay=rules.weight_decay,
        depth_decay=rules.depth_decay,
        backbone_ratio=rules.backbone_ratio,
    )
    rates = sorted({round(group["lr"], 9) for group in groups})
    assert rates[-1] == 1e-4 and rates[0] == pytest.approx(1e-5, rel=0.01)
    assert len(rates) == 6


def test_s1_5_the_published_counts_give_the_published_shares(report: Any) -> None:
    target = np.repeat([1, 1, 0, 0], [347, 76, 550, 44])
    score = np.repeat([0.9, 0.1, 0.1, 0.9], [347, 76, 550, 44])
    found = [
        metric(0.5, target, score)(np.ones((1, len(target)))).item()
        for metric in (sensitivity_at, specificity_at, accuracy_at)
    ]
    assert [round(100 * value, 1) for value in found] == [82.0, 92.6, 88.2]
    assert report["thresholds"][0]["at"] == "sensitivity 0.95"
    assert np.sum(report["confusion"]["counts"]) == report["data"]["images"]
    assert report["largest_errors"] and report["curves"]


def test_s1_6_classes_are_named_and_ranked_by_their_unrounded_probabilities(
    client: Any, photograph: bytes
) -> None:
    names = [entry["name"] for entry in client.get("/classes").json()["classes"]]
    assert names == ["benign", "melanoma"]
    answer = client.post("/predict", files={"file": photograph}).json()
    assert sum(answer["by_class"].values()) == pytest.approx(1)
    close = {"a": 0.2000001, "b": 0.3, "c": 0.2000002, "d": 0.2999997}
    assert [name for name, _ in likeliest_classes(close, 3)] == ["b", "d", "c"]


def test_s1_7_the_service_fetches_no_address(client: Any) -> None:
    for body in ({"url": "http://127.0.0.1/x.jpg"}, {"image": "http://127.0.0.1/x.jpg"}):
        reply = client.post("/predict", json=body)
        assert reply.status_code == 422 and reply.json()["success"] is False
    assert client.get("/predict?url=http://127.0.0.1/x.jpg").status_code == 405


def test_s1_8_the_page_has_its_samples_buttons_and_disclaimer_and_asks_nobody_else(
    client: Any, page: str, scorer: Any
) -> None:
    samples = client.get("/static/samples/samples.json").json()
    assert len(samples) == 8 and {s["actual"] for s in samples} == {"melanoma", "benign"}
    for sample in samples:
        data = client.get(f"/static/samples/{sample['file']}").content
        assert scorer.score(data).melanoma_probability is not None
    reply = client.get("/")
    for name in ("predict", "clear", "file", "error", "samples"):
        assert f'id="{name}"' in reply.text
    assert "default-src 'self'" in reply.headers["content-security-policy"]
    assert "//fonts." not in page and "cdn" not in page.lower()
    assert "width=device-width" in reply.text and "Actual" in page
    assert "not a medical device" in page.lower()


def test_s1_9_the_port_is_a_setting_and_a_pickle_with_code_is_refused(tmp_path: Path) -> None:
    assert "--port" in (ROOT / "Dockerfile").read_text().split("CMD")[-1]

    class Evil:
        def __reduce__(self) -> Any:
            return (Path.touch, (tmp_path / "owned",))

    path = tmp_path / "model.pth"
    path.write_bytes(pickle.dumps(Evil()))
    with pytest.raises(WeightsError) as refused:
        read_weights(path)
    assert not (tmp_path / "owned").exists() and refused.value.exit_code == 5
    assert json.loads((ROOT / "api/page/samples/samples.json").read_text())
