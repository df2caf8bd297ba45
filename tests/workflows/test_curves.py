"""OUT/RUN.svg of every run that recorded an epoch."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from melanoma.errors import DataError
from melanoma.evaluation.render.training_curves import draw_training
from melanoma.training.run.history import read_run
from melanoma.workflows.curves import save_curves


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def run_at(folder: Path, *losses: float) -> Path:
    fold = folder / "fold_0"
    fold.mkdir(parents=True)
    (fold / "recipe.yaml").write_text("name: mine\n")
    rows = [
        {"fold": 0, "epoch": epoch, "loss": loss, "valid_loss": loss, "rates": [1e-3]}
        for epoch, loss in enumerate(losses, start=1)
    ]
    if rows:
        (fold / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def test_each_run_has_a_file_of_its_own_curves() -> None:
    runs = [run_at(Path("weights/a"), 0.9, 0.5), run_at(Path("weights/b"), 0.8, 0.7)]
    written = save_curves(runs, Path("drawn"))
    assert written == [Path("drawn/weights_a.svg"), Path("drawn/weights_b.svg")]
    for run, path in zip(runs, written, strict=True):
        for chart in draw_training(read_run(run)).values():
            assert chart.split(" ", 1)[1] in path.read_text()
        assert f">{run}<" in path.read_text(), "the run's own name above them"


@pytest.mark.parametrize(
    ("named", "file"), [("weights/a", "weights_a"), ("./../made/weights/a", "made_weights_a")]
)
def test_a_file_is_named_after_where_its_run_was_said_to_be(
    named: str, file: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "made").mkdir()
    monkeypatch.chdir(tmp_path / "made")
    run_at(Path("weights/a"), 0.9)
    assert [path.stem for path in save_curves([Path(named)], Path("drawn"))] == [file]


def test_a_run_that_is_the_folder_itself_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_at(Path("mine"), 0.9)
    monkeypatch.chdir(tmp_path / "mine")
    assert save_curves([Path()], Path("drawn")) == [Path("drawn/mine.svg")]


def test_a_run_without_an_epoch_is_said_and_refused_where_it_is_alone() -> None:
    said: list[str] = []
    bare, other = run_at(Path("bare")), run_at(Path("other"), 0.5)
    assert save_curves([bare, other], Path("drawn"), say=said.append) == [Path("drawn/other.svg")]
    assert len(said) == 1 and said[0].startswith("note: bare: no epoch is recorded")
    with pytest.raises(DataError, match="no run has an epoch to draw"):
        save_curves([bare], Path("none"))
    assert not Path("none").exists()
