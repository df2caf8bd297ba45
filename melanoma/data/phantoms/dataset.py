"""A stand-in for Kaggle SIIM-ISIC 2020 that can be made anywhere: table, photographs, test set.

Everything follows from the seed, and each photograph has a generator of its own, so that neither
the order nor the number of workers changes a byte. The table is written last: a folder that has a
train.csv is complete.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd
from PIL import Image

from melanoma.data.phantoms.drawing import Look, draw_look, draw_phantom
from melanoma.errors import RecipeError
from melanoma.storage import ensure_writable, write_text, writing

PREVALENCE = 0.15
TEST_IMAGES = 32
TEST_PATIENTS = 8
MIN_SIZE = 32

_SITES = {
    "torso": 0.517,
    "lower extremity": 0.258,
    "upper extremity": 0.153,
    "head/neck": 0.057,
    "palms/soles": 0.011,
    "oral/genital": 0.004,
}
_TEST_COLUMNS = ["image_name", "patient_id", "sex", "age_approx", "anatom_site_general_challenge"]
_TRAIN_COLUMNS = [*_TEST_COLUMNS, "diagnosis", "benign_malignant", "target"]
_JPEG_QUALITY = 92
# SeedSequence((seed, index)) belongs to the photographs; a third word keeps the others apart.
_PATIENT_STREAM, _TABLE_STREAM, _TEST_TABLE_STREAM = 1, 2, 3


class _Drawing(NamedTuple):
    """One photograph to make: where, with which generator, of whom, and of which class."""

    path: Path
    image: int
    patient: int
    melanoma: bool


def make_phantoms(
    folder: Path,
    *,
    images: int = 440,
    patients: int = 72,
    size: int = 96,
    seed: int = 0,
    progress: Callable[[Iterable[Any]], Iterable[Any]] = iter,
) -> None:
    """Nothing; fills `folder` with a complete phantom data set in the layout of Kaggle SIIM.

    train.csv and jpeg/train hold `images` photographs of `size` pixels a side, 15 % of them
    melanomas; test.csv and jpeg/test hold others of further patients, without diagnoses, and
    sample_submission.csv their names. `progress` wraps the iteration over all photographs.
    Raises RecipeError for numbers that cannot be met, StorageError when the disk refuses.
    """
    _check(images=images, patients=patients, size=size, seed=seed)
    train = _table(images, patients, rng=_generator(seed, 0, _TABLE_STREAM))
    test = _table(TEST_IMAGES, TEST_PATIENTS, rng=_generator(seed, 0, _TEST_TABLE_STREAM))
    test["image"] += images
    test["patient"] += patients
    drawings = [*_drawings(train, folder / "jpeg/train"), *_drawings(test, folder / "jpeg/test")]
    # About half a byte per pixel, and never less than a block of the disk.
    ensure_writable(folder, needed=len(drawings) * max(size * size // 2, 4096))
    # An older table would name photographs that are being replaced.
    (folder / "train.csv").unlink(missing_ok=True)
    _draw_all(drawings, size=size, seed=seed, progress=progress)
    named = _named(test)
    submission = named[["image_name"]].assign(target=0)
    write_text(folder / "sample_submission.csv", submission.to_csv(index=False))
    write_text(folder / "test.csv", named[_TEST_COLUMNS].to_csv(index=False))
    write_text(folder / "train.csv", _named(train)[_TRAIN_COLUMNS].to_csv(index=False))


def _check(*, images: int, patients: int, size: int, seed: int) -> None:
    if patients < 2 or images < patients:
        raise RecipeError(
            f"{images} images of {patients} patients: at least 2 patients, each with an image"
        )
    if round(PREVALENCE * images) < 1:
        raise RecipeError(f"{images} images: below 4, none of them would be a melanoma")
    if size < MIN_SIZE:
        raise RecipeError(f"size {size}: a phantom has at least {MIN_SIZE} pixels a side")
    if seed < 0:
        raise RecipeError(f"seed {seed}: a seed is 0 or more")


def _generator(*words: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(words))


def _draw_all(
    drawings: list[_Drawing],
    *,
    size: int,
    seed: int,
    progress: Callable[[Iterable[Any]], Iterable[Any]],
) -> None:
    looks: dict[int, Look] = {
        patient: draw_look(_generator(seed, patient, _PATIENT_STREAM))
        for patient in {drawing.patient for drawing in drawings}
    }
    for parent in {drawing.path.parent for drawing in drawings}:
        parent.mkdir(parents=True, exist_ok=True)
    for drawing in progress(drawings):
        pixels = draw_phantom(
            melanoma=drawing.melanoma,
            rng=_generator(seed, drawing.image),
            size=size,
            look=looks[drawing.patient],
        )
        encoded = io.BytesIO()
        Image.fromarray(pixels).save(encoded, "JPEG", quality=_JPEG_QUALITY)
        with writing(drawing.path, needed=len(encoded.getvalue())):
            drawing.path.write_bytes(encoded.getvalue())


def _drawings(table: pd.DataFrame, folder: Path) -> list[_Drawing]:
    return [
        _Drawing(folder / f"{_image_name(image)}.jpg", image, patient, bool(target))
        for image, patient, target in zip(
            table["image"].tolist(),
            table["patient"].tolist(),
            table["target"].tolist(),
            strict=True,
        )
    ]


def _image_name(image: int) -> str:
    return f"PH_{image:07d}"


def _named(table: pd.DataFrame) -> pd.DataFrame:
    return table.assign(
        image_name=[_image_name(image) for image in table["image"].tolist()],
        patient_id=[f"PP_{patient:07d}" for patient in table["patient"].tolist()],
    )


def _table(images: int, patients: int, *, rng: np.random.Generator) -> pd.DataFrame:
    """One row an image, patients shuffled; `image` and `patient` count from 0."""
    patient = _patients_of_images(images, patients, rng)
    risk = rng.lognormal(0, 0.8, patients)
    chance = risk[patient] / risk[patient].sum()
    target = np.zeros(images, np.int64)
    target[rng.choice(images, round(PREVALENCE * images), replace=False, p=chance)] = 1
    # Melanoma patients are older in SIIM too (58 years against 49).
    age = rng.normal(49, 13, patients) + 7 * np.log(risk)
    age_approx = (np.clip(np.rint(age / 5), 3, 18) * 5)[patient]
    sex = rng.choice(["male", "female"], patients, p=[0.52, 0.48])[patient].astype(object)
    site = rng.choice(list(_SITES), images, p=list(_SITES.values())).astype(object)
    # In SIIM a patient lacks age and sex together; the site is missing photograph by photograph.
    unknown = patient == rng.choice(patients)
    age_approx[unknown], sex[unknown] = np.nan, None
    site[rng.choice(images, max(1, images // 60), replace=False)] = None
    benign = np.where(rng.random(images) < 0.2, "nevus", "unknown")
    return pd.DataFrame(
        {
            "image": np.arange(images),
            "patient": patient,
            "sex": sex,
            "age_approx": age_approx,
            "anatom_site_general_challenge": site,
            "diagnosis": np.where(target == 1, "melanoma", benign),
            "benign_malignant": np.where(target == 1, "malignant", "benign"),
            "target": target,
        }
    )


def _patients_of_images(
    images: int, patients: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """The patient of each image: everyone has one at least, few have many, as in SIIM."""
    weights = np.clip(rng.lognormal(0, 0.9, patients), 0, 3)
    counts = 1 + rng.multinomial(images - patients, weights / weights.sum())
    return rng.permutation(np.repeat(np.arange(patients), counts))
