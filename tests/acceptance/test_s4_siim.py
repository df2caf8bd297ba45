"""S4, Melanoma_Classifier: SIIM-ISIC 2020, SE-ResNeXt50, five folds."""

from __future__ import annotations

import io
import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
from fold_tables import held, lesions
from interrupted import leaving_after_an_epoch
from PIL import Image
from refusals import require_refusal
from sklearn.metrics import average_precision_score, roc_auc_score
from sklearn.model_selection import StratifiedKFold

from api.app import create_app
from api.settings import Settings
from melanoma.data.array_build import adopt_array
from melanoma.data.arrays import check_array
from melanoma.data.batches import draw_order
from melanoma.data.folds import load_folds, make_folds
from melanoma.data.images import decode_image, make_square
from melanoma.data.readers.labels import read_targets
from melanoma.devices import resolve_precision
from melanoma.errors import DataError, FoldError, RecipeError
from melanoma.models.classifier import make_classifier
from melanoma.models.losses import positive_weight
from melanoma.models.pretrained import load_pretrained
from melanoma.recipe.sections import Sampler, Schedule
from melanoma.scoring.files.submission import write_submission
from melanoma.training.schedule import EarlyStopping, RateSchedule

ROOT = Path(__file__).resolve().parents[2]


def test_s4_1_folds_are_grouped_by_patient_balanced_seeded_and_printed(
    call_door: Any, given: Any, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    patient = [f"p{n}" for n in rng.integers(0, 900, 6000)]
    table = lesions((rng.random(6000) < 0.05).astype(int), patient)
    folds = make_folds(table, held(k=5))
    assert folds.frame.groupby("patient_id")["fold"].nunique().max() == 1
    positives = folds.counts()["positives"]
    assert np.ptp(positives) <= 0.02 * positives.sum()
    assert make_folds(table, held(k=5)).digest == folds.digest
    assert make_folds(table, held(k=5, seed=1)).digest != folds.digest
    plain = make_folds(table, held(k=5, group_by="none")).frame["fold"].to_numpy()
    theirs = StratifiedKFold(5, shuffle=True, random_state=0)
    for number, (_, rows) in enumerate(theirs.split(plain, table.frame["target"])):
        assert set(np.flatnonzero(plain == number)) == set(rows)
    options = [given[0], given[1], *given[4:], "--folds", tmp_path / "folds.csv"]
    answer = call_door("split", *options, "--arrays", tmp_path)
    assert answer.code == 0, answer.err
    assert f"digest {load_folds(tmp_path / 'folds.csv').digest[:12]}" in answer.out
    assert "positives" in answer.out


def test_s4_2_what_is_wrong_with_an_array_or_a_table_is_one_line_and_exit_3(
    tmp_path: Path,
) -> None:
    def problem(values: np.ndarray, rows: int = 4) -> str:
        np.save(tmp_path / "x.npy", values)
        with pytest.raises(DataError) as refused:
            check_array(tmp_path / "x.npy", size=32, rows=rows)
        assert refused.value.exit_code == 3 and "\n" not in str(refused.value)
        return str(refused.value)

    assert "4 images, the table has 5 rows" in problem(np.zeros((4, 32, 32, 3), "u1"), rows=5)
    assert "uint8 N x S x S x 3 is needed" in problem(np.zeros((4, 32, 32, 3), "f4"))
    assert "uint8 N x S x S x 3 is needed" in problem(np.zeros((4, 32, 32), "u1"))
    assert "images of 48 px, the recipe says 32" in problem(np.zeros((4, 48, 48, 3), "u1"))
    targets = pd.Series(["0", "1", "2"], name="target")
    _, problems = read_targets(targets, ("benign", "melanoma"))
    assert len(problems) == 1 and "row 3 (line 4): '2'" in problems[0]
    with pytest.raises(FoldError, match="need 5 images of each class") as refused:
        make_folds(lesions([0] * 50 + [1] * 3), held(k=5))
    assert refused.value.exit_code == 3


def test_s4_3_arrays_are_built_in_csv_order_or_adopted(trained: Any, tmp_path: Path) -> None:
    array = trained.array
    assert list(array.names) == trained.table.names
    for row in (0, 17, 60):
        pixels = decode_image(trained.photograph(row)).pixels
        square = make_square(pixels, size=32, fit=trained.recipe.image.fit)
        assert np.array_equal(array.rows([row])[0], square)
    kaggle = tmp_path / "x_train_32.npy"
    np.save(kaggle, array.rows(range(len(array))))
    adopted = adopt_array(
        kaggle, trained.table, tmp_path / "own", trained.recipe.image, channels="rgb"
    )
    assert adopted.names == array.names and adopted.path == kaggle
    assert np.array_equal(adopted.rows([5]), array.rows([5]))


def test_s4_4_a_fold_alone_is_the_fold_among_all_and_a_bad_one_lists_them(
    fit: Any, recipe_of: Any, call_door: Any, given: Any, trained: Any
) -> None:
    recipe = recipe_of()
    alone = fit(recipe, "alone", fold=1)
    fit(recipe, "all", fold=0)
    assert fit(recipe, "all", fold=1).facts.files == alone.facts.files
    base = trained.folder.parent
    there = ["--arrays", base / "arrays", "--folds", base / "folds.csv"]
    for wrong in (9, "two"):
        answer = call_door("train", *given, *there, "--fold", wrong)
        require_refusal(answer, 2, "0, 1")


def test_s4_5_the_architecture_and_its_weights_from_a_local_file(
    tmp_path: Path, config: Any
) -> None:
    assert config("siim_seresnext50").model.backbone == "se_resnext50_32x4d"
    network = make_classifier("se_resnext50_32x4d", outputs=1)
    assert (network.last_layer.in_features, network.last_layer.out_features) == (2048, 1)
    state = dict(network.backbone.state_dict())
    state |= {"last_linear.weight": torch.zeros(1000, 1), "last_linear.bias": torch.zeros(1000)}
    first = next(iter(state))
    state[first] = torch.full_like(state[first], 0.5)
    path = tmp_path / "se_resnext50_32x4d-a260b3a4.pth"
    torch.save(state, path)
    said = load_pretrained(
        network.backbone, "se_resnext50_32x4d", source=str(path), folder=tmp_path
    )
    assert path.name in said
    assert (network.backbone.state_dict()[first] == 0.5).all()
    for name in ("resnet18", "resnet50"):
        assert config("siim_seresnext50", f"model.backbone={name}").model.backbone == name
    same = network.backbone
    assert load_pretrained(same, "se_resnext50_32x4d", source="none", folder=tmp_path) == "none"


def test_s4_6_positives_weigh_negatives_over_positives_and_nothing_keeps_it(
    trained: Any, config: Any
) -> None:
    assert positive_weight(32_542, 584, rule="ratio", cap=None) == 32_542 / 584
    assert positive_weight(32_542, 584, rule="ratio", cap=20.0) == 20.0
    assert config("siim_seresnext50").loss.positive_weight == "ratio"
    part = trained.parts[0]
    weight = (len(part.training) - part.positives) / part.positives
    facts = json.loads((trained.folder / "fold_0/run.json").read_text())
    assert facts["prior_shift"] == pytest.approx(np.log(weight))
    names = make_classifier("resnet18", outputs=1).state_dict()
    assert not [name for name in names if "pos_weight" in name]
    rows, targets = np.arange(1000), (np.arange(1000) < 20).astype(np.int64)
    drawn = draw_order(
        rows, targets, sampler=Sampler(name="balanced", positive_share=0.3), seed=(0, 0)
    )
    assert targets[drawn].mean() == pytest.approx(0.3)


def test_s4_7_a_scripted_auroc_stops_at_the_right_epoch_with_the_right_weights(
    config: Any, recipe_of: Any, fit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = config("siim_seresnext50")
    assert (recipe.schedule.name, recipe.schedule.patience) == ("plateau", 3)
    assert recipe.selection.patience == 5
    stopping = EarlyStopping.by(recipe.selection)
    # .80005 is no gain: less than 1e-4 above .8. Five epochs without one end it.
    script = [0.7, 0.8, 0.80005, 0.79, 0.80009, 0.75, 0.8, 0.9]
    seen = []
    for epoch, auroc in enumerate(script):
        stopping.observe(epoch, auroc)
        seen.append(epoch)
        if stopping.stopped:
            break
    assert (seen[-1], stopping.best_epoch, stopping.best) == (6, 1, 0.8)
    rates = RateSchedule(Schedule(name="plateau", factor=0.1, patience=3, threshold=1e-3), 25)
    factors = []
    for epoch in range(6):
        rates.observe(0.8)
        factors.append(rates.factor(epoch + 1))
    assert factors[:4] == [1.0] * 4 and factors[4:] == pytest.approx([0.1, 0.1])
    # The same in a run: seven epochs are trained, and the second one's weights are kept.
    two = fit(recipe_of(training={"epochs": 2, "batch_size": 16}), "two")
    aurocs = iter(script)
    monkeypatch.setattr("melanoma.training.loop.judge", lambda *_: next(aurocs))
    rules = {"training": {"epochs": 9, "batch_size": 16}}
    rules |= {"selection": {"keep": "best", "patience": 5}}
    run = fit(recipe_of(**rules), "scripted")
    assert (run.facts.best_epoch, run.facts.last_epoch, run.facts.kept) == (2, 7, "best")
    weights = "model.safetensors"
    assert run.facts.files[weights] == two.facts.files[weights]


def test_s4_8_oof_csv_gives_sklearn_s_auroc_and_the_report_its_interval(
    trained: Any, report: Any
) -> None:
    oof = pd.read_csv(trained.folder / "oof.csv")
    assert {"image_name", "target", "fold", "logit", "prob"} <= set(oof)
    assert len(oof) == 80 and oof["image_name"].is_unique
    found = report["metrics"]
    auroc = roc_auc_score(oof["target"], oof["prob"])
    assert found["auroc"]["value"] == pytest.approx(auroc, abs=1e-9)
    assert found["auroc"]["low"] < found["auroc"]["value"] <= found["auroc"]["high"]
    area = average_precision_score(oof["target"], oof["prob"])
    assert found["pr_auc"]["value"] == pytest.approx(area, abs=1e-9)
    assert any(name.startswith("sensitivity_at") for name in found)
    assert report["calibration"]["slope"] > 0
    assert "bootstrap resamples of groups" in report["intervals"]
    assert oof.groupby("patient_id")["group"].nunique().max() == 1  # what is resampled is whole


def test_s4_9_memory_does_not_grow_with_the_array_and_a_broken_run_ends_as_the_unbroken(
    tmp_path: Path, trained: Any, recipe_of: Any, fit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracemalloc.start()
    trained.array.rows([3, 5])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < trained.array.path.stat().st_size / 4
    assert resolve_precision("bfloat16", torch.device("cpu")) == torch.bfloat16
    recipe = recipe_of(training={"epochs": 2, "batch_size": 16})
    whole = fit(recipe, "whole")
    with leaving_after_an_epoch(monkeypatch):
        fit(recipe, "broken")
    assert fit(recipe, "broken").facts.files["oof.csv"] == whole.facts.files["oof.csv"]


def test_s4_10_a_submission_is_the_mean_of_the_folds_in_the_sample_s_order(
    tmp_path: Path, call_door: Any, given: Any, trained: Any, scorer: Any
) -> None:
    (tmp_path / "images").mkdir()
    for row in (7, 3, 12):
        (tmp_path / f"images/ISIC_{row}.jpg").write_bytes(trained.photograph(row))
    asked = tmp_path / "sample.csv"
    asked.write_text("image_name,target\nISIC_12,0\nISIC_3,0\nISIC_7,0\n")
    options = [tmp_path / "images", *given[:4], "--submission", asked, "--out", tmp_path / "s.csv"]
    assert call_door("predict", *options).code == 0
    table = pd.read_csv(tmp_path / "s.csv")
    assert list(table) == ["image_name", "target"]
    assert table["image_name"].tolist() == ["ISIC_12", "ISIC_3", "ISIC_7"]
    means = [np.mean(scorer.score(trained.photograph(row)).by_fold) for row in (12, 3, 7)]
    assert table["target"].tolist() == pytest.approx(means, abs=1e-6)
    assert table["target"].between(0, 1).all()
    sample = tmp_path / "sample_submission.csv"
    sample.write_text("image_name,target\nISIC_2,0\nISIC_1,0\n")
    write_submission(sample, {"ISIC_1": 0.25, "ISIC_2": 0.125}, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "image_name,target\nISIC_2,0.125\nISIC_1,0.25\n"


def test_s4_11_a_post_gives_predict_s_probability_per_fold_and_says_whose(
    client: Any, scorer: Any, photograph: bytes
) -> None:
    answer = client.post("/predict", files={"file": photograph}).json()
    own = scorer.score(photograph)
    assert answer["melanoma_probability"] == pytest.approx(own.melanoma_probability, abs=1e-5)
    assert answer["by_fold"] == pytest.approx(own.by_fold, abs=1e-5) and len(own.by_fold) == 2
    assert np.mean(own.by_fold) == pytest.approx(own.melanoma_probability)
    assert (answer["model"]["name"], answer["model"]["version"]) == ("tiny", 1)
    swapped = io.BytesIO()
    pixels = np.asarray(Image.open(io.BytesIO(photograph)).convert("RGB"))
    Image.fromarray(pixels[..., ::-1]).save(swapped, "PNG")
    other = client.post("/predict", files={"file": swapped.getvalue()}).json()
    assert abs(other["melanoma_probability"] - answer["melanoma_probability"]) > 1e-3
    assert "fewer_folds: 1 of 2" in scorer.of_fold(1).score(photograph).warnings
    with pytest.raises(RecipeError):
        create_app([], Settings())


def test_s4_12_the_page_predicts_on_asking_and_uploads_are_not_stored(
    client: Any, photograph: bytes, page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    body = client.get("/").text
    for name in ("file", "drop", "predict", "result"):
        assert f'id="{name}"' in body
    assert re.search(r'<[^>]*id="result"[^>]*hidden', body)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    reply = client.post("/predict", files={"file": photograph})
    assert reply.status_code == 200 and reply.headers["cache-control"] == "no-store"
    assert list(tmp_path.iterdir()) == []
    assert "%" in page and 'fetch("' not in page.replace('fetch("static', "")


def test_s4_13_the_notebooks_are_whole_and_stored_without_outputs() -> None:
    """CI runs them top to bottom; here each cell is read."""
    assert re.search(r"pytest --nbmake .* notebooks\n", (ROOT / ".ci/run").read_text())
    sources = {}
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        code = [cell for cell in cells if cell.cell_type == "code"]
        assert code and not any(cell.outputs for cell in code), path
        sources[path.stem] = "\n".join(cell.source for cell in code)
        compile(re.sub(r"(?m)^\s*[%!].*$", "", sources[path.stem]), str(path), "exec")
    whole = "\n".join(sources.values())
    for name in (
        "make_folds",
        "train_fold",
        "roc_auc_score",
        "evaluate_folds",
        "Scorer",
        "Augmentation",
    ):
        assert name in whole, name
