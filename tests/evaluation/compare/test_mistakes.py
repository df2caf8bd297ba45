"""Which rows are picked, counted by hand; and the pictures' inputs from both formats of oof.csv."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.metrics import log_loss

from melanoma.data.arrays import ImageArray
from melanoma.errors import DataError
from melanoma.evaluation.compare.evaluated_run import EvaluatedRun
from melanoma.evaluation.compare.mistake_figures import (
    Answers,
    mistake_tiles,
    read_answers,
    save_confusion,
    save_mistakes,
)
from melanoma.evaluation.compare.mistakes import (
    calls,
    cross_entropies,
    find_mistakes,
)

pytestmark = pytest.mark.slow  # together they take many seconds

# Row:                 0               1               2               3               4
THREE = np.array(
    [[0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.4, 0.25, 0.35], [0.45, 0.1, 0.45], [0.9, 0.05, 0.05]]
)
# called:              0 (right)       1 (wrong)       0 (wrong)       0 of a tie      0 (wrong)
TARGET = np.array([0, 2, 1, 2, 1])


def test_confident_unsure_and_lost_rows_are_those_counted_by_hand() -> None:
    found = find_mistakes(THREE, TARGET, count=9)
    assert found.confident.tolist() == [4, 1, 3, 2]  # 0.9, 0.8, 0.45, 0.4
    assert found.unsure.tolist() == [2, 3, 1, 4]


def test_no_more_than_count_are_given_and_no_right_answer_is_a_mistake() -> None:
    found = find_mistakes(THREE, TARGET, count=2)
    assert [rows.tolist() for rows in found] == [[4, 1], [2, 3]]
    right = find_mistakes(THREE, THREE.argmax(axis=1), count=3)
    assert not len(right.confident) and not len(right.unsure)


def test_equal_images_stay_in_their_order() -> None:
    found = find_mistakes(np.tile([0.7, 0.3], (4, 1)), np.ones(4, np.int64), count=4)
    assert [rows.tolist() for rows in found] == [[0, 1, 2, 3]] * 2


def test_losses_are_scikit_learn_s() -> None:
    rng = np.random.default_rng(1)
    probabilities, target = rng.dirichlet(np.ones(4), 300), rng.integers(0, 4, 300)
    _, sure = calls(probabilities, target)
    assert np.array_equal(sure, probabilities.max(axis=1))
    assert cross_entropies(probabilities, target).mean() == pytest.approx(
        log_loss(target, probabilities)
    )


def test_a_certain_mistake_has_a_finite_loss() -> None:
    assert np.isfinite(cross_entropies(np.array([[1.0, 0.0]]), np.array([1]))).all()


def test_arrays_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="do not fit"):
        find_mistakes(THREE, TARGET[:3], count=1)


# The pictures


def _run(frame: dict[str, Any]) -> EvaluatedRun:
    table = pd.DataFrame({"image_name": [f"i{n}" for n in range(5)], "target": TARGET, **frame})
    return EvaluatedRun(Path("somewhere"), "made", "digest", table)


def test_a_column_a_class_is_read_in_the_recipe_s_order() -> None:
    columns = {f"prob_{name}": THREE[:, n] for n, name in enumerate(("b a", "c", "mel"))}
    crossfit = {f"prob_crossfit_{name}": 0.0 for name in ("b a", "c", "mel")}
    run = _run({**dict(reversed(columns.items())), "prob": THREE[:, 2], **crossfit})
    answers = read_answers(run, ("b a", "c", "mel"))
    assert np.array_equal(answers.probabilities, THREE)


def test_one_probability_is_the_second_class_s() -> None:
    run = _run({"prob": [0.1, 0.2, 0.3, 0.4, 0.5], "target": [0, 1, 0, 1, 1]})
    answers = read_answers(run, ("benign", "melanoma"))
    assert np.allclose(answers.probabilities[:, 1], [0.1, 0.2, 0.3, 0.4, 0.5])
    assert np.allclose(answers.probabilities.sum(axis=1), 1)


def test_other_classes_than_the_table_s_are_refused() -> None:
    with pytest.raises(DataError, match="no column prob_nevus"):
        read_answers(_run({"prob_mel": THREE[:, 0]}), ("mel", "nevus", "bcc"))
    with pytest.raises(DataError, match="none of 2"):
        read_answers(_run({"prob": 0.5}), ("benign", "melanoma"))


@pytest.fixture
def array(tmp_path: Path) -> ImageArray:
    """Five squares of 32 px, row n all n * 40, the names in another order than the scores."""
    values = np.arange(5, dtype=np.uint8)[:, None, None, None] * 40
    np.save(tmp_path / "x.npy", np.broadcast_to(values, (5, 32, 32, 3)).copy())
    return ImageArray(tmp_path / "x.npy", 32, ("i4", "i3", "i2", "i1", "i0"), ("",) * 5)


def test_a_tile_shows_its_own_photograph_and_what_it_was_called(array: ImageArray) -> None:
    answers = Answers(tuple(f"i{n}" for n in range(5)), ("a", "b", "c"), THREE, TARGET)
    first, second = mistake_tiles(answers, np.array([4, 1]), array)
    assert (first.pixels == 0).all() and (second.pixels == 120).all()
    assert first.lines == ("is b (0.05)", "called a (0.90)", "i4, loss 3.00")


def test_four_pictures_are_written_and_sheets_without_a_mistake_are_left_out(
    array: ImageArray, tmp_path: Path
) -> None:
    columns = {f"prob_{name}": THREE[:, n] for n, name in enumerate("abc")}
    written = save_mistakes(_run(columns), ("a", "b", "c"), array, tmp_path / "out")
    assert {path.name for path in written} == {
        "confusion.png",
        "wrong_confidence.png",
        "mistakes_confident.png",
        "mistakes_unsure.png",
    }
    for path in written:
        with Image.open(path) as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 2
    right = _run({**columns, "target": THREE.argmax(axis=1)})
    names = [p.name for p in save_mistakes(right, ("a", "b", "c"), array, tmp_path / "right")]
    assert names == ["confusion.png", "wrong_confidence.png"]


def test_another_set_s_array_is_refused_before_anything_is_written(
    array: ImageArray, tmp_path: Path
) -> None:
    run = _run({"prob": 0.5, "target": 0})
    run.frame.loc[2, "image_name"] = "elsewhere"
    with pytest.raises(DataError, match="such as elsewhere"):
        save_mistakes(run, ("a", "b"), array, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("classes", [2, 7, 23])
def test_a_confusion_matrix_is_drawn_with_room_for_its_classes(
    classes: int, tmp_path: Path
) -> None:
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(classes), 400)
    names = tuple(f"a long name of class {n}" for n in range(classes))
    answers = Answers(("",) * 400, names, probabilities, rng.integers(0, classes, 400))
    save_confusion(answers, tmp_path / "c.png", title="made")
    with Image.open(tmp_path / "c.png") as picture:
        # A cell of at least 50 px holds its count.
        assert picture.height > 50 * classes and picture.width > 50 * classes
