"""explain, and predict --explain: a picture with its legend, or one clear line."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer

pytestmark = pytest.mark.usefixtures("few_superpixels")

CHECKOUT = Path(__file__).resolve().parents[2]
RECIPE = ("--config", CHECKOUT / "configs/demo.yaml")
COLORS = {"blue": (0, 114, 178), "orange": (213, 94, 0)}


@pytest.fixture
def scorer(trained: Any) -> Scorer:
    return Scorer(load_bundle(trained.folder))


@pytest.fixture
def photograph(trained: Any, tmp_path: Path) -> Path:
    path = tmp_path / "mole.jpg"
    path.write_bytes(trained.photograph(3))
    return path


def _pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        assert image.format == "PNG"
        return np.asarray(image.convert("RGB")).astype(int)


def _has_color(pixels: np.ndarray, color: tuple[int, int, int]) -> bool:
    return bool((np.abs(pixels - color).max(axis=2) < 8).any())


def test_lime_draws_its_legend_and_says_the_prediction(
    trained: Any, scorer: Any, photograph: Path, tmp_path: Path, call_door: Callable[..., Any]
) -> None:
    out = tmp_path / "why.png"
    answer = call_door(
        "explain", photograph, *RECIPE, "--weights", trained.folder, "--out", out,
        "--method", "lime", "--precision", "Low",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    expected = scorer.score(photograph.read_bytes())
    said = f"prediction: {expected.prediction} - {expected.probability:.1%}\n"
    assert answer.out.startswith(said + expected.verdict.text + "\n")
    assert answer.out.endswith(f" of the images are melanomas\n{expected.disclaimer}\n")
    assert str(out) in answer.err
    pixels = _pixels(out)
    assert all(_has_color(pixels, color) for color in COLORS.values())


def test_a_folder_of_photographs_gives_a_picture_and_raw_values_each(
    trained: Any, photograph: Path, tmp_path: Path, call_door: Callable[..., Any]
) -> None:
    for kind in ("rgba", "grey"):
        with Image.open(photograph) as image:
            image.convert("RGBA" if kind == "rgba" else "L").save(tmp_path / f"{kind}.png")
    turned = Image.open(photograph)
    exif = turned.getexif()
    exif[0x0112] = 6
    turned.save(tmp_path / "turned.jpg", exif=exif)
    inputs = [tmp_path / name for name in ("rgba.png", "grey.png", "turned.jpg")]
    answer = call_door(
        "explain", *inputs, *RECIPE, "--weights", trained.folder, "--out", tmp_path / "why",
        "--json", "--fold", "1", "--class", "melanoma",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    rows = json.loads(answer.out)
    assert [row["image_name"] for row in rows] == ["rgba", "grey", "turned"]
    for row in rows:
        assert (row["method"], row["class"], row["folds"]) == ("gradcam", "melanoma", [1])
        assert len(_pixels(tmp_path / "why" / f"{row['image_name']}_gradcam.png"))
        beside = json.loads((tmp_path / "why" / f"{row['image_name']}_gradcam.json").read_text())
        assert beside == row


def test_a_row_of_an_array_is_explained_in_the_colors_that_were_trained(
    trained: Any, tmp_path: Path, call_door: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As predict scores it: an adopted array may hold blue first."""
    side = load_bundle(trained.folder).size
    square = np.full((1, side, side, 3), (190, 140, 120), np.uint8)
    square[:, side // 3 : side // 2, side // 3 :] = (110, 60, 50)
    np.save(tmp_path / "x_test.npy", square[..., ::-1])
    Image.fromarray(square[0]).save(tmp_path / "as_png.png")
    monkeypatch.setattr("melanoma.scoring.files.array_rows.trained_channels", lambda _: "bgr")
    answer = call_door(
        "explain", tmp_path / "x_test.npy", tmp_path / "as_png.png", *RECIPE,
        "--weights", trained.folder, "--out", tmp_path / "why", "--json",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    row, picture = json.loads(answer.out)
    assert row["heat"] == picture["heat"]
    assert row["prediction"]["by_class"] == picture["prediction"]["by_class"]


def test_lime_s_raw_values_follow_the_seed(
    trained: Any, photograph: Path, call_door: Callable[..., Any]
) -> None:
    def weights(seed: int) -> list[float]:
        answer = call_door(
            "explain", photograph, *RECIPE, "--weights", trained.folder,
            "--method", "lime", "--precision", "Low", "--seed", seed, "--json",
        )  # fmt: skip
        (row,) = json.loads(answer.out)
        assert row["evaluations"] == 50
        return [segment["weight"] for segment in row["segments"]]

    first = weights(0)
    assert first == weights(0)
    assert first != weights(1)


def test_predict_saves_a_picture_beside_its_table(
    trained: Any, scorer: Any, photograph: Path, tmp_path: Path, call_door: Callable[..., Any]
) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    answer = call_door(
        "predict", photograph, tmp_path / "broken.png", *RECIPE, "--weights", trained.folder,
        "--out", tmp_path / "out/scores.csv", "--explain", "--precision", "Low", "--allow-errors",
    )  # fmt: skip
    assert answer.code == 0, answer.err
    expected = scorer.score(photograph.read_bytes())
    said = f"mole: prediction: {expected.prediction} - {expected.probability:.1%}"
    assert said in answer.out
    table = pd.read_csv(tmp_path / "out/scores.csv")
    assert table["picture"].tolist()[0] == str(tmp_path / "out/mole_lime.png")
    assert table["picture"].isna().tolist() == [False, True]
    assert table["probability"][0] == pytest.approx(expected.probability)
    assert len(_pixels(tmp_path / "out/mole_lime.png"))


@pytest.mark.parametrize(
    ("options", "code", "line"),
    [
        (["--method", "shap"], 2, "--method shap: known: gradcam, lime"),
        (["--precision", "Low", "--precision", "High"], 2, "--precision Low and High: one of them"),
        (["--backend", "tpu"], 2, "--backend tpu: auto, torch or openvino"),
        (["--precision", "lo"], 2, "--precision lo: Low, Medium or High"),
        (["--fold", "7"], 2, "--fold 7: the bundle's folds are 0, 1"),
        (["--class", "nevus"], 2, "unknown class 'nevus'; the bundle's are benign, melanoma"),
        (["--out", "why.jpg"], 2, "--out why.jpg: a file that ends in .png, or a folder"),
        (["--seed", "-1"], 2, "--seed"),
    ],
)
def test_what_does_not_exist_is_one_line_and_leaves_no_picture(
    options: list[str],
    code: int,
    line: str,
    trained: Any,
    photograph: Path,
    tmp_path: Path,
    call_door: Callable[..., Any],
) -> None:
    into = () if "--out" in options else ("--out", "new/folder")
    given = ("--weights", trained.folder, *options, *into)
    answer = call_door("explain", photograph, *RECIPE, *given)
    assert answer.code == code
    assert line in answer.err
    assert answer.err.count("\n") == 1
    assert not list(tmp_path.glob("*.png"))
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("option", [("--precision", "high"), ("--seed", "3")])
def test_what_lime_alone_reads_is_refused_with_grad_cam(
    option: tuple[str, str], photograph: Path, call_door: Callable[..., Any]
) -> None:
    """As the service does. Grad-CAM is the default, and would be drawn without a word."""
    answer = call_door("explain", photograph, *option)
    assert answer.code == 2 and "means nothing with --method gradcam" in answer.err
    assert "Traceback" not in answer.err and option[0] in answer.err


def test_predict_refuses_a_precision_before_it_scores(
    photograph: Path, call_door: Callable[..., Any]
) -> None:
    answer = call_door("predict", photograph, *RECIPE, "--explain", "--precision", "Highest")
    assert (answer.code, answer.out) == (2, "")
    assert answer.err == "error: --precision Highest: Low, Medium or High\n"


def test_a_file_that_is_no_photograph_is_named(
    trained: Any, tmp_path: Path, call_door: Callable[..., Any]
) -> None:
    (tmp_path / "note.png").write_bytes(b"no image")
    answer = call_door("explain", tmp_path / "note.png", *RECIPE, "--weights", trained.folder)
    assert answer.code == 3
    assert answer.err.startswith(f"error: {tmp_path / 'note.png'}: not a JPEG, PNG or WEBP")


def test_one_png_for_two_photographs_is_refused(
    trained: Any, photograph: Path, tmp_path: Path, call_door: Callable[..., Any]
) -> None:
    shutil.copy(photograph, tmp_path / "second.jpg")
    answer = call_door(
        "explain", photograph, tmp_path / "second.jpg", *RECIPE, "--weights", trained.folder,
        "--out", "why.png",
    )  # fmt: skip
    assert answer.code == 2
    assert "--out why.png: one picture for 2 images; name a folder" in answer.err


def test_a_photograph_is_never_replaced_by_its_explanation(
    trained: Any, photograph: Path, tmp_path: Path, call_door: Callable[..., Any]
) -> None:
    original = tmp_path / "mole.png"
    with Image.open(photograph) as image:
        image.save(original)
    before = original.read_bytes()
    options = (*RECIPE, "--weights", trained.folder)
    answer = call_door("explain", original, *options, "--out", original)
    assert answer.code == 2 and "is read here" in answer.err
    assert original.read_bytes() == before
    # A second time in the photographs' own folder: the first picture is a photograph there.
    assert call_door("explain", photograph, *options, "--out", tmp_path).code == 0
    picture = tmp_path / "mole_gradcam.png"
    drawn = picture.read_bytes()
    answer = call_door("explain", photograph, picture, *options, "--out", tmp_path)
    assert answer.code == 2 and picture.read_bytes() == drawn
