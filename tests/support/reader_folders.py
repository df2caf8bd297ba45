"""Folders as readers take them, small, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from melanoma.data.readers.labels import HAM10000_CLASSES
from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.errors import DataError
from melanoma.recipe.data_sections import CsvFolderData, Data, HamData, SiimData

SIIM = SiimData(reader="siim")


def siim_folder(folder: Path, csv: str | bytes, images: tuple[str, ...] = ()) -> Path:
    (folder / "jpeg/train").mkdir(parents=True)
    data = csv if isinstance(csv, bytes) else csv.encode()
    (folder / "train.csv").write_bytes(data)
    for name in images:
        (folder / "jpeg/train" / name).write_bytes(b"not decoded here")
    return folder


def rows(*targets: object) -> str:
    lines = [f"i{n},p{n},{target}" for n, target in enumerate(targets)]
    return "image_name,patient_id,target\n" + "\n".join(lines) + "\n"


def refused(folder: Path, data: Data = SIIM) -> str:
    with pytest.raises(DataError) as caught:
        read_lesions(folder, data).require_sound()
    return str(caught.value)


def csv_data(**options: Any) -> CsvFolderData:
    return CsvFolderData(reader="csv_folder", **options)


def picture(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (20, 20)).save(path)


def any_folder(folder: Path) -> Path:
    for name in ("deep/er/a.png", "b.JPG", "c.jpeg", "d.webp", "e.e.jpg"):
        picture(folder / name)
    (folder / "labels.csv").write_text(
        "file,dx,who,years,gender,where\n"
        "a,mel,p1,50,male,back\n"
        "b.JPG,nv,p1,,female,\n"
        "c,nv,p2,61.5,,arm\n"
        "deep/er/d,mel,p2,old,male,arm\n"
        "e.e,nv,p3,30,male,arm\n"
    )
    return folder


def coded_folder(folder: Path, *codes: str) -> Path:
    lines = [f"i{n},{code},l{n // 2}" for n, code in enumerate(codes)]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "any.csv").write_text("image_name,target,lesion\n" + "\n".join(lines) + "\n")
    return folder


HAM = HamData(reader="ham10000")


SEVEN = tuple(HAM10000_CLASSES.values())


HEADER = "lesion_id,image_id,dx,dx_type,age,sex,localization\n"


def ham_folder(folder: Path, *rows: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "HAM10000_metadata.csv").write_text(HEADER + "".join(f"{row}\n" for row in rows))
    return folder


def all_codes() -> list[str]:
    return [f"L{n},I{n},{code},histo,40.0,male,back" for n, code in enumerate(HAM10000_CLASSES)]


def s2_tree(folder: Path, train: tuple[int, ...], test: tuple[int, ...]) -> Path:
    """The seven rows with their images in the two folders of S2."""
    ham_folder(folder, *all_codes())
    for part, rows in (("train", train), ("test", test)):
        for row in rows:
            picture(folder / f"HAM10000_images_{part}/I{row}.jpg")
    return folder
