"""Recipes for published tables: a few rows with their true headers are read as they come."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from file_trees import tree

from melanoma.data.readers.reader_catalog import read_lesions
from melanoma.data.readers.table import LesionTable
from melanoma.recipe.overrides import load_recipe

CONFIGS = Path(__file__).resolve().parents[3] / "configs"
PAD = (
    "patient_id,lesion_id,smoke,drink,background_father,background_mother,age,pesticide,gender,"
    "skin_cancer_history,cancer_history,has_piped_water,has_sewage_system,fitspatrick,region,"
    "diameter_1,diameter_2,diagnostic,itch,grew,hurt,changed,bleed,elevation,img_id,biopsed"
)
ISIC2019 = "image,MEL,NV,BCC,AK,BKL,DF,VASC,SCC,UNK"
ISIC2024 = (
    "isic_id,target,patient_id,age_approx,sex,anatom_site_general,clin_size_long_diam_mm,"
    "image_type,attribution,copyright_license,lesion_id,iddx_full,iddx_1,mel_thick_mm"
)


def read(name: str, folder: Path, **tables: list[str]) -> LesionTable:
    for file, lines in tables.items():
        (folder / f"{file.replace('__', '-')}.csv").write_text("\n".join(lines) + "\n")
    recipe = load_recipe(CONFIGS / f"{name}.yaml")
    return read_lesions(folder, recipe.data, classes=recipe.classes).require_sound()


def test_isic_2019_with_its_two_tables(tmp_path: Path) -> None:
    rows = [
        f"ISIC_{n}," + ",".join("1.0" if n == column else "0.0" for column in range(9))
        for n in range(8)
    ]
    table = read(
        "isic2019",
        tree(tmp_path, *(f"ISIC_2019_Training_Input/ISIC_{n}.jpg" for n in range(8))),
        ISIC_2019_Training_GroundTruth=[ISIC2019, *rows],
        ISIC_2019_Training_Metadata=[
            "image,age_approx,anatom_site_general,lesion_id,sex",
            "ISIC_0,55.0,anterior torso,BCN_1,female",
            *(f"ISIC_{n},,,," for n in range(1, 7)),
            "ISIC_7,30.0,,BCN_1,male",
        ],
    )
    assert table.frame["target"].tolist() == list(range(8))
    assert table.frame["lesion_id"].tolist() == ["BCN_1", *[""] * 6, "BCN_1"]
    assert table.frame["age"].tolist()[0] == 55
    assert table.frame["source"].tolist()[7] == "ISIC_2019_Training_Input/ISIC_7.jpg"
    assert (table.warnings, table.unlabeled) == ((), ())


def test_isic_2024_with_its_photographs(tmp_path: Path) -> None:
    table = read(
        "isic2024",
        tree(tmp_path, "train-image/image/ISIC_1.jpg", "train-image/image/ISIC_2.jpg"),
        train__metadata=[
            ISIC2024,
            "ISIC_1,0,IP_1,60.0,male,lower extremity,3.04,TBP tile,A,CC-BY,,Benign,Benign,",
            "ISIC_2,1,IP_2,NA,,head/neck,3.04,TBP tile,A,CC-BY,IL_1,Malignant,Malignant,1",
        ],
        test__metadata=["isic_id,patient_id", "ISIC_3,IP_3"],
        sample_submission=["isic_id,target", "ISIC_3,0.3"],
    )
    assert table.frame["label"].tolist() == ["benign", "malignant"]
    assert table.frame["patient_id"].tolist() == ["IP_1", "IP_2"]
    assert table.frame["lesion_id"].tolist() == ["", "IL_1"]
    assert np.array_equal(table.frame["age"], [60, np.nan], equal_nan=True)
    assert table.frame["source"].tolist()[0] == "train-image/image/ISIC_1.jpg"


def test_pad_ufes_20_with_its_images_in_parts(tmp_path: Path) -> None:
    codes = {"ACK": 0, "BCC": 1, "MEL": 2, "NEV": 3, "SCC": 4, "SEK": 5}
    rows = [
        f"PAT_{n // 2},{n},False,False,,,{50 + n},False,FEMALE,,,,,{n}.0,ARM,6.0,5.0,{code},"
        f"True,False,False,False,False,UNK,PAT_{n // 2}_{n}_1.png,True"
        for n, code in enumerate(codes)
    ]
    folder = tree(tmp_path, *(f"imgs_part_{n % 3 + 1}/PAT_{n // 2}_{n}_1.png" for n in range(6)))
    table = read("pad_ufes20", folder, metadata=[PAD, *rows])
    frame = table.frame
    assert frame["target"].tolist() == list(codes.values())
    assert frame["patient_id"].tolist() == [f"PAT_{n // 2}" for n in range(6)]
    assert frame["sex"].tolist() == ["female"] * 6
    assert frame["fitspatrick"].tolist()[1] == "1.0"
    assert frame["source"].tolist()[1] == "imgs_part_2/PAT_0_1_1.png"


def test_the_smartphone_sample_is_read_whole(real_data: Path) -> None:
    recipe = load_recipe(CONFIGS / "pad_ufes20.yaml")
    table = read_lesions(real_data / "smartphone_pad", recipe.data, classes=recipe.classes)
    assert len(table) == 79
    assert (table.frame["source"] != "").all()
    assert table.unlabeled == ()
    # The sample has no melanoma, and that is said.
    assert table.problems == ("no row's diagnostic means 'melanoma'",)
