"""What every reader's section of a recipe is."""

from __future__ import annotations

from melanoma.data.images import FileFacts
from melanoma.data.readers.table import COLUMNS as LESION_COLUMNS
from melanoma.evaluation.score_table import COLUMNS as SCORE_COLUMNS
from melanoma.recipe.container_sections import Isic2024Data, TfrecordData
from melanoma.recipe.data_section import labels_problem, two_classes_problem
from melanoma.recipe.data_sections import RESERVED


def test_every_column_of_ours_is_reserved() -> None:
    ours = {*LESION_COLUMNS, *FileFacts._fields, *SCORE_COLUMNS}
    assert ours <= set(RESERVED)


def test_a_label_must_mean_one_of_the_classes() -> None:
    classes = ("nevus", "melanoma")
    assert labels_problem(None, classes) is None
    assert labels_problem({"nv": "nevus", "mel": "melanoma", "m2": "melanoma"}, classes) is None
    said = labels_problem({"nv": "nevus", "bcc": "carcinoma", "x": "y"}, classes)
    assert said == (
        "data.labels: bcc means 'carcinoma', which is not among the classes (nevus, melanoma)"
    )


def test_a_reader_of_two_classes_says_which_readers_take_more() -> None:
    data = Isic2024Data(reader="isic2024")
    assert data.problem(("benign", "melanoma"), binary=True) is None
    said = data.problem(("a", "b", "c"), binary=False)
    assert said is not None and said == two_classes_problem(data, binary=False)
    assert said.startswith("classes: reader isic2024 knows two") and "csv_folder" in said
    # Records may hold any class numbers.
    assert TfrecordData(reader="tfrecord").problem(("a", "b", "c"), binary=False) is None
