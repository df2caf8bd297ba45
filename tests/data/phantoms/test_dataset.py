from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import roc_auc_score

from melanoma.data.phantoms.dataset import MIN_SIZE, make_phantoms
from melanoma.data.phantoms.drawing import draw_phantom
from melanoma.errors import RecipeError

Pixels = npt.NDArray[np.uint8]

SIIM_COLUMNS = [
    "image_name",
    "patient_id",
    "sex",
    "age_approx",
    "anatom_site_general_challenge",
    "diagnosis",
    "benign_malignant",
    "target",
]
SIIM_SITES = {
    "torso",
    "lower extremity",
    "upper extremity",
    "head/neck",
    "palms/soles",
    "oral/genital",
}


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As many as there are by default, each as small as it may be. Read only."""
    folder = tmp_path_factory.mktemp("phantoms")
    make_phantoms(folder, size=MIN_SIZE)
    return folder


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Those of `small` as they come. Read only."""
    return small(tmp_path_factory.mktemp("few"))


@pytest.fixture(scope="module")
def table(phantoms: Path) -> pd.DataFrame:
    return pd.read_csv(phantoms / "train.csv")


@pytest.fixture(scope="module")
def lesions() -> tuple[list[Pixels], list[int]]:
    """100 nevi and 100 melanomas, each of a patient of its own."""
    targets = [0, 1] * 100
    drawn = [
        draw_phantom(melanoma=bool(target), rng=np.random.default_rng((2020, index)), size=48)
        for index, target in enumerate(targets)
    ]
    return drawn, targets


def small(folder: Path, **changes: Any) -> Path:
    make_phantoms(folder, **{"images": 40, "patients": 12, "size": 48, "seed": 7, **changes})
    return folder


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def from_center(size: int) -> npt.NDArray[np.float64]:
    axis = (np.arange(size) + 0.5) * (2 / size) - 1
    return np.asarray(np.hypot(*np.meshgrid(axis, axis)))


def corner_darkness(image: Pixels) -> float:
    return -float(image[from_center(len(image)) > 1.2].mean())


def corner_roughness(image: Pixels) -> float:
    grey = image.mean(axis=2)
    steps = abs(np.diff(grey, axis=0))[:, :-1] + abs(np.diff(grey, axis=1))[:-1]
    return float(steps[from_center(len(image))[:-1, :-1] > 1.05].std())


def central_darkness(image: Pixels) -> float:
    return -float(image[from_center(len(image)) < 0.5].mean())


def color_spread(image: Pixels) -> float:
    center = image[from_center(len(image)) < 0.6].astype(float)
    return float((center[:, 2] - center[:, 0]).std())


def asymmetry(image: Pixels) -> float:
    inside = from_center(len(image)) < 0.8
    return float(abs(image.astype(float) - image[:, ::-1])[inside].mean())


def test_the_same_seed_gives_the_same_bytes_and_another_seed_does_not(
    few: Path, tmp_path: Path
) -> None:
    first = digests(few)
    assert first == digests(small(tmp_path / "again"))
    other = digests(small(tmp_path / "other", seed=8))
    assert first.keys() == other.keys()
    pictures = [name for name in first if name.endswith(".jpg")]
    assert all(first[name] != other[name] for name in pictures)


def test_a_photograph_does_not_depend_on_those_drawn_before_it(few: Path, tmp_path: Path) -> None:
    def backwards(drawings: Iterable[Any]) -> Iterable[Any]:
        return list(drawings)[::-1]

    in_order = digests(few)
    assert in_order == digests(small(tmp_path / "backwards", progress=backwards))
    assert len(set(in_order.values())) == len(in_order)


def test_the_table_has_exactly_the_columns_of_siim(phantoms: Path, table: pd.DataFrame) -> None:
    assert list(table.columns) == SIIM_COLUMNS
    test = pd.read_csv(phantoms / "test.csv")
    assert list(test.columns) == SIIM_COLUMNS[:5]
    submission = pd.read_csv(phantoms / "sample_submission.csv")
    assert list(submission.columns) == ["image_name", "target"]
    assert submission["image_name"].tolist() == test["image_name"].tolist()
    assert submission["target"].tolist() == [0] * 32


def test_a_seventh_of_the_lesions_are_melanomas_of_many_patients(table: pd.DataFrame) -> None:
    assert len(table) == 440
    assert table["target"].sum() == round(0.15 * 440)
    by_patient = table.groupby("patient_id")["target"].agg(["size", "sum"])
    assert len(by_patient) >= 60
    assert by_patient["size"].max() >= 3 * by_patient["size"].median()
    assert by_patient["size"].max() <= 25
    # Grouped folds need melanomas in many patients; leakage needs patients with both classes.
    assert (by_patient["sum"] > 0).sum() >= 25
    assert ((by_patient["sum"] > 0) & (by_patient["sum"] < by_patient["size"])).sum() >= 15


def test_diagnosis_benign_malignant_and_target_say_the_same(table: pd.DataFrame) -> None:
    melanoma = table["target"] == 1
    assert set(table.loc[melanoma, "diagnosis"]) == {"melanoma"}
    assert set(table.loc[~melanoma, "diagnosis"]) == {"nevus", "unknown"}
    assert ((table["benign_malignant"] == "malignant") == melanoma).all()


def test_patients_are_described_as_in_siim_with_few_gaps(table: pd.DataFrame) -> None:
    assert set(table["sex"].dropna()) == {"male", "female"}
    assert set(table["anatom_site_general_challenge"].dropna()) <= SIIM_SITES
    assert (table["age_approx"].dropna() % 5 == 0).all()
    assert table["age_approx"].dropna().between(15, 90).all()
    for column in ("sex", "age_approx", "anatom_site_general_challenge"):
        assert 0 < table[column].isna().mean() < 0.1
    described = table.dropna(subset=["sex", "age_approx"]).groupby("patient_id")
    assert (described[["sex", "age_approx"]].nunique() == 1).all(axis=None)


def test_every_row_has_its_photograph_at_the_stated_size(few: Path) -> None:
    for part in ("train", "test"):
        names = pd.read_csv(few / f"{part}.csv")["image_name"]
        files = sorted((few / "jpeg" / part).iterdir())
        assert [file.name for file in files] == sorted(f"{name}.jpg" for name in names)
        for file in files:
            with Image.open(file) as image:
                image.load()
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (48, 48))
                assert not image.getexif()
                assert "comment" not in image.info


def test_no_test_patient_and_no_test_image_is_in_train(phantoms: Path, table: pd.DataFrame) -> None:
    test = pd.read_csv(phantoms / "test.csv")
    assert len(test) == 32
    assert set(test["patient_id"]).isdisjoint(table["patient_id"])
    assert set(test["image_name"]).isdisjoint(table["image_name"])


def test_photographs_of_one_patient_resemble_each_other(
    phantoms: Path, table: pd.DataFrame
) -> None:
    """Without this, leaking patients between folds would cost nothing and prove nothing."""
    colors = []
    for name in table["image_name"]:
        with Image.open(phantoms / f"jpeg/train/{name}.jpg") as image:
            pixels = np.asarray(image)
        ring = from_center(len(pixels))
        colors.append(np.median(pixels[(ring > 0.8) & (ring < 1)], axis=0))
    skin = pd.DataFrame(colors)
    within = skin.groupby(table["patient_id"].to_numpy()).transform("mean")
    assert ((skin - within).std() < 0.6 * skin.std()).all()


@pytest.mark.parametrize("artefact", [corner_darkness, corner_roughness])
def test_artefacts_do_not_tell_the_class(
    artefact: Callable[[Pixels], float], lesions: tuple[list[Pixels], list[int]]
) -> None:
    images, targets = lesions
    assert roc_auc_score(targets, [artefact(image) for image in images]) == pytest.approx(
        0.5, abs=0.15
    )


@pytest.mark.parametrize("sign", [color_spread, asymmetry])
def test_melanomas_differ_from_nevi_and_yet_overlap(
    sign: Callable[[Pixels], float], lesions: tuple[list[Pixels], list[int]]
) -> None:
    images, targets = lesions
    assert 0.6 < roc_auc_score(targets, [sign(image) for image in images]) < 0.95


def test_darkness_alone_is_no_diagnosis(lesions: tuple[list[Pixels], list[int]]) -> None:
    images, targets = lesions
    assert 0.3 < roc_auc_score(targets, [central_darkness(image) for image in images]) < 0.8


@pytest.mark.parametrize("seed", range(4))
def test_the_same_generator_draws_the_same_lesion_at_any_size(seed: int) -> None:
    def drawn(size: int) -> npt.NDArray[np.float64]:
        image = draw_phantom(melanoma=True, rng=np.random.default_rng(seed), size=size)
        assert image.shape == (size, size, 3)
        small = Image.fromarray(image).resize((MIN_SIZE, MIN_SIZE), Image.Resampling.BOX)
        return np.asarray(small, float).ravel()

    assert np.corrcoef([drawn(MIN_SIZE), drawn(96), drawn(192)]).min() > 0.9


def test_an_interrupted_build_leaves_no_table(tmp_path: Path) -> None:
    def interrupted(drawings: Iterable[Any]) -> Iterable[Any]:
        yield from list(drawings)[:5]
        raise KeyboardInterrupt

    small(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        small(tmp_path, seed=8, progress=interrupted)
    assert not (tmp_path / "train.csv").exists()
    small(tmp_path, seed=8)
    assert len(pd.read_csv(tmp_path / "train.csv")) == 40


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"images": 11}, "12 patients"),
        ({"patients": 1}, "1 patients"),
        ({"images": 3, "patients": 2}, "3 images"),
        ({"size": MIN_SIZE - 1}, "size 31"),
        ({"seed": -1}, "seed -1"),
    ],
)
def test_numbers_that_cannot_be_met_are_refused_before_anything_is_written(
    changes: dict[str, int], named: str, tmp_path: Path
) -> None:
    with pytest.raises(RecipeError, match=named):
        small(tmp_path / "refused", **changes)
    assert not (tmp_path / "refused").exists()
