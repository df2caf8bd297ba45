"""predict on a bundle of several classes: names, columns, the likeliest classes in print."""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image
from predict_stub import BytesScorer, score_of, write_photographs
from toy_scorer import Box, draw_marked_photograph, make_scorer, read_boxes

from melanoma.data.folds import load_folds
from melanoma.errors import ServiceError
from melanoma.evaluation.disclaimer import DISCLAIMER
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.files.find import ImageFile
from melanoma.scoring.files.score_files import LocalScorer, likeliest_classes, score_files
from melanoma.scoring.files.score_rows import as_columns
from melanoma.scoring.files.service_client import RemoteScorer
from melanoma.scoring.scorer import Scorer

Door = Callable[..., Any]


@pytest.fixture
def options(folder_run: Any, tmp_path: Path) -> list[str | Path]:
    (tmp_path / "recipe.yaml").write_text(folder_run.recipe.to_yaml())
    return ["--config", "recipe.yaml", "--weights", folder_run.weights, "--device", "cpu"]


def test_the_likeliest_classes_are_sorted_before_they_are_rounded() -> None:
    by_class = {"a": 0.33331, "b": 0.33334, "c": 0.33335, "d": 0.0, "e": 0.0}
    assert [name for name, _ in likeliest_classes(by_class, 3)] == ["c", "b", "a"]
    assert [name for name, _ in likeliest_classes(by_class, 9)] == ["c", "b", "a", "d", "e"]


def test_a_table_of_scores_has_a_column_a_class_of_more_than_two() -> None:
    row = {"image_name": "x", "error": ""}
    bad = {"image_name": "y", "by_class": None, "error": "corrupt_image"}
    three = [{**row, "by_class": {"a": 0.2, "b, c": 0.3, "d": 0.5}}, bad]
    assert as_columns(three) == [
        {**row, "prob_a": 0.2, "prob_b, c": 0.3, "prob_d": 0.5},
        {"image_name": "y", "error": "corrupt_image"}
        | dict.fromkeys(("prob_a", "prob_b, c", "prob_d")),
    ]
    assert as_columns([{**row, "by_class": {"benign": 0.4, "melanoma": 0.6}}]) == [row]


def test_a_tree_of_class_folders_is_scored_into_a_table(
    folder_run: Any, options: list[str | Path], call_door: Door
) -> None:
    answer = call_door("predict", folder_run.tree, *options, "--out", "scores.csv")
    assert answer.code == 0, answer.err
    table = pd.read_csv("scores.csv")
    folds = load_folds(folder_run.folds)
    # The names of the fold file, so that the two can be joined.
    assert sorted(table["image_name"]) == sorted(folds.whole["image_name"])
    columns = [f"prob_{name}" for name in folder_run.recipe.classes]
    assert table[columns].sum(axis=1).to_numpy() == pytest.approx(1)
    assert table["melanoma_probability"].isna().all()
    likeliest = table[columns].idxmax(axis=1).str.removeprefix("prob_")
    assert likeliest.tolist() == table["prediction"].tolist()


def test_top_prints_the_classes_with_two_decimals(
    folder_run: Any, options: list[str | Path], call_door: Door
) -> None:
    file = next(folder_run.tree.rglob("*.jpg"))
    expected = Scorer(load_bundle(folder_run.weights)).score(file.read_bytes())
    answer = call_door("predict", file, *options, "--top", "2", "--json")
    assert answer.code == 0
    assert json.loads(answer.out)[0]["by_class"] == pytest.approx(expected.by_class)
    answer = call_door("predict", file, *options, "--top", "2")
    first, possible, *ranked, refers, disclaimer, unchecked = answer.out.splitlines()
    assert "no novelty score" in unchecked
    assert expected.set is not None
    assert possible == f"it may be: {', '.join(expected.set.classes)}"
    name, share = expected.prediction, expected.probability
    assert first == f"prediction: {name} - {share:.1%}"
    found = sorted(expected.by_class.items(), key=lambda item: item[1])[:0:-1]
    assert ranked == [f"{name} {100 * share:.2f} %" for name, share in found]
    assert (refers, disclaimer) == ("probabilities are calibrated", DISCLAIMER)
    assert len(call_door("predict", file, *options, "--top", "9").out.splitlines()) == 2 + 3 + 3
    table = pd.read_csv("scores.csv")
    assert table["calibrated"].tolist() == [True]
    assert table["disclaimer"].tolist() == [DISCLAIMER]
    assert call_door("predict", file, *options, "--top", "0").code == 2


def test_a_submission_needs_a_melanoma_class(
    folder_run: Any, options: list[str | Path], call_door: Door
) -> None:
    file = next(folder_run.tree.rglob("*.jpg"))
    shutil.copy(file, "one.jpg")
    Path("sample.csv").write_text("image_name,target\none,0\n")
    answer = call_door("predict", "one.jpg", *options, "--submission", "sample.csv")
    assert answer.code == 2
    assert "--submission: the bundle's recipe names no melanoma class" in answer.err
    Path("sample.csv").write_text("image_name,a,NO_CLASS\none,0,0\n")
    answer = call_door("predict", "one.jpg", *options, "--submission", "sample.csv")
    assert (
        answer.code == 3 and "NO_CLASS" in answer.err and "no classes of the bundle" in answer.err
    )
    assert not Path("submission.csv.journal").exists(), "refused before the work"


@pytest.mark.parametrize("fit", ["squash", "center"])
def test_a_batch_of_files_keeps_their_squares_and_not_the_photographs(
    fit: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    box = Box(0.2, 0.3, 0.5, 0.6)
    scorer = make_scorer([read_boxes([box])], fit=fit)
    files = []
    for number, width in enumerate((320, 200)):
        path = tmp_path / f"{number}.png"
        Image.fromarray(draw_marked_photograph(box, width=width)).save(path)
        files.append(ImageFile(path.stem, path))
    kept: list[Any] = []
    score = scorer.score_photographs

    def watched(photographs: Any) -> Any:
        kept.extend(photographs)
        return score(photographs)

    monkeypatch.setattr(scorer, "score_photographs", watched)
    local = LocalScorer(scorer)
    answers = local.answer([local.prepare(file.path.read_bytes()) for file in files])
    assert [one.pixels.nbytes for one in kept] == [3 * scorer.bundle.size**2] * 2
    for answer, file in zip(answers, files, strict=True):
        assert answer == scorer.score(file.path.read_bytes()).as_dict()


class Overlapping(BytesScorer):
    """Its first batch is answered once later files are prepared, and no sooner."""

    def __init__(self) -> None:
        super().__init__()
        self.prepared = 0
        self.most_ahead = 0
        self._later = threading.Event()
        self._counting = threading.Lock()

    def prepare(self, data: bytes) -> bytes:
        with self._counting:
            self.prepared += 1
            self.most_ahead = max(self.most_ahead, self.prepared - len(self.asked))
            if self.prepared > 16:
                self._later.set()
        return data

    def answer(self, photographs: Sequence[bytes]) -> list[Mapping[str, Any] | str]:
        assert self._later.wait(timeout=30), "nothing was decoded meanwhile"
        return super().answer(photographs)


def test_files_are_decoded_while_others_are_scored_and_a_bounded_number_ahead(
    tmp_path: Path,
) -> None:
    folder = write_photographs(tmp_path, *(b"%d" % number for number in range(300)))
    files = [ImageFile(path.stem, path) for path in sorted(folder.iterdir())]
    scorer = Overlapping()
    rows = score_files(scorer, files, progress=lambda items, **_: items)
    assert [row["image_name"] for row in rows] == [file.name for file in files]
    scores = [score_of(file.path.read_bytes()) for file in files]
    assert [row["melanoma_probability"] for row in rows] == scores
    assert scorer.asked == [file.path.read_bytes() for file in files]
    # A batch that is being scored, those ahead of it, and the one that is taken next.
    assert scorer.most_ahead <= 16 + 32 + 1


def test_what_is_not_scored_yet_is_not_decoded_once_the_scorer_has_died(tmp_path: Path) -> None:
    folder = write_photographs(tmp_path, *(b"%d" % number for number in range(300)))
    files = [ImageFile(path.stem, path) for path in sorted(folder.iterdir())]
    scorer = Overlapping()
    scorer.healthy = 20
    with pytest.raises(ServiceError):
        score_files(scorer, files, progress=lambda items, **_: items)
    assert scorer.prepared < 100


class TwoAtOnce(BytesScorer):
    """The first of its two batches is answered once the second is asked for, and after it."""

    batches_at_once = 2

    def __init__(self) -> None:
        super().__init__()
        self._calls = 0
        self._second = threading.Event()

    def answer(self, photographs: Sequence[bytes]) -> list[Mapping[str, Any] | str]:
        self._calls += 1
        if self._calls == 1:
            assert self._second.wait(timeout=30), "no other batch was being scored"
            return super().answer(photographs)
        answers = super().answer(photographs)
        self._second.set()
        return answers


def test_two_batches_are_scored_at_once_and_a_photograph_in_both_once(tmp_path: Path) -> None:
    first = [b"bad", b"copied", *(b"%d" % number for number in range(14))]
    second = [b"copied", b"bad", *(b"%d" % number for number in range(20, 34))]
    folder = write_photographs(tmp_path, *first, *second, b"last", b"copied", b"bad")
    files = [ImageFile(path.stem, path) for path in sorted(folder.iterdir())]
    scorer = TwoAtOnce()
    rows = score_files(scorer, files, progress=lambda items, **_: items)
    assert [row["image_name"] for row in rows] == [file.name for file in files]
    for row, file in zip(rows, files, strict=True):
        data = file.path.read_bytes()
        if data == b"bad":
            assert (row["melanoma_probability"], row["error"][:13]) == (None, "corrupt_image")
        else:
            assert (row["melanoma_probability"], row["error"]) == (score_of(data), "")
    assert sorted(scorer.asked) == sorted({file.path.read_bytes() for file in files})


def test_a_scorer_in_this_process_scores_two_batches_at_once_and_a_service_one() -> None:
    # A service makes batches of its own, and refuses what is too much.
    assert (LocalScorer.batches_at_once, RemoteScorer.batches_at_once) == (2, 1)


@pytest.mark.parametrize("backend", ["torch", "openvino"])
def test_freed_memory_is_kept_for_torch_and_given_back_else(
    backend: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    for name in ("keep_freed_memory", "give_freed_memory_back"):
        monkeypatch.setattr(
            f"melanoma.scoring.files.score_files.{name}", partial(told.append, name)
        )
    scorer = make_scorer([read_boxes([Box(0.2, 0.3, 0.5, 0.6)])])
    monkeypatch.setattr(scorer.members, "backend", backend)
    LocalScorer(scorer)
    assert told == ["keep_freed_memory" if backend == "torch" else "give_freed_memory_back"]
