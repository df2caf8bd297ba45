"""Curves of loss and rate: every epoch of every fold, in the report, in files, in French too."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_content import binary, changed

from melanoma.errors import DataError
from melanoma.evaluation.render import chart_words
from melanoma.evaluation.render.chart_words import FRENCH, Words
from melanoma.evaluation.render.figures import save_figures
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.training_curves import draw_training
from melanoma.evaluation.report.schema import FoldHistory
from melanoma.training.run.history import read_run

FOLDS = [
    {
        "fold": fold,
        "epochs": [1, 2, 3],
        "loss": [0.9, None, 0.3],
        "held_out_loss": [0.8, 0.5, 0.6],
        "rate": [1e-3, 5e-4, 1e-5],
    }
    for fold in (0, 1)
]
HISTORIES = tuple(FoldHistory.model_validate(fold) for fold in FOLDS)


def lines(svg: str) -> list[tuple[str, list[tuple[float, float]]]]:
    """(kind, points) of each line of the chart."""
    found = re.findall(r'<polyline points="([^"]+)" class="([^"]+)"', svg)
    return [
        (kind, [(float(x), float(y)) for x, y in (p.split(",") for p in points.split())])
        for points, kind in found
    ]


def test_every_fold_has_its_losses_and_its_rate() -> None:
    charts = draw_training(HISTORIES)
    assert list(charts) == ["losses", "rates"]
    drawn = lines(charts["losses"])
    assert [kind for kind, _ in drawn] == ["curve thin", "all"] * 2
    (_, training), (_, held_out) = drawn[:2]
    assert len(training) == 2, "an epoch without a finite step has no loss"
    assert len(held_out) == 3
    # Down is less: .5 lies below .8 and .6.
    assert held_out[1][1] > held_out[2][1] > held_out[0][1]
    assert held_out[0][0] < held_out[1][0] < held_out[2][0]
    rates = lines(charts["rates"])
    assert [len(points) for _, points in rates] == [3, 3]
    assert rates[0][1][0][1] < rates[0][1][1][1] < rates[0][1][2][1]


def test_one_epoch_is_a_point_and_none_is_no_chart() -> None:
    one = HISTORIES[0].model_copy(
        update={"epochs": (1,), "loss": (0.5,), "held_out_loss": (0.4,), "rate": (1e-3,)}
    )
    assert draw_training([one])["losses"].count("<circle") == 2
    assert draw_training([]) == {}


def test_the_report_and_its_files_show_them(tmp_path: Path) -> None:
    content = changed(binary().content, history=FOLDS)
    page = render_html(content)
    files = {path.name: path.read_text() for path in save_figures(content, tmp_path)}
    for name, chart in draw_training(HISTORIES).items():
        assert chart in page
        assert chart.split(" ", 1)[1] in files[f"{name}.svg"]
    assert "Loss by epoch" not in render_html(binary().content)


def test_they_speak_french(monkeypatch: pytest.MonkeyPatch) -> None:
    class Strict(dict[str, str]):
        def get(self, phrase: str, default: Any = None) -> Any:
            return self[phrase]

    monkeypatch.setitem(chart_words.LANGUAGES, "fr", Strict(FRENCH))
    assert "Perte par époque" in draw_training(HISTORIES, Words("fr"))["losses"]


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run that trains still: two folds' epochs, nothing finished."""
    for fold in FOLDS:
        folder = tmp_path / "weights" / "mine" / f"fold_{fold['fold']}"
        folder.mkdir(parents=True)
        (folder / "recipe.yaml").write_text("name: mine\n")
        keys = ("epochs", "loss", "held_out_loss", "rate")
        rows = [
            {"fold": fold["fold"], "epoch": e, "loss": a, "valid_loss": b, "rates": [c / 10, c]}
            for e, a, b, c in zip(*(fold[key] for key in keys), strict=True)
        ]
        (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return tmp_path / "weights" / "mine"


def test_a_run_s_history_is_read_while_it_trains(run: Path) -> None:
    assert read_run(run) == HISTORIES
    (run / "fold_1/metrics.jsonl").write_text('{"fold": 1}\n')
    with pytest.raises(DataError, match=r"fold_1/metrics\.jsonl is damaged"):
        read_run(run)


def test_runs_draws_the_curves_of_every_run(run: Path, call_door: Callable[..., Any]) -> None:
    other = run.parent / "bare"
    (other / "fold_0").mkdir(parents=True)
    (other / "fold_0/recipe.yaml").write_text("name: bare\n")
    answer = call_door("runs", "weights", "--curves", "drawn")
    assert answer.code == 0, answer.err
    assert answer.out.splitlines() == ["drawn/weights_mine.svg"]
    assert "weights/bare: no epoch is recorded" in answer.err
    svg = Path("drawn/weights_mine.svg").read_text()
    for chart in draw_training(HISTORIES).values():
        assert chart.split(" ", 1)[1] in svg
    refused = call_door("runs", "weights/bare", "--curves", "drawn")
    assert refused.code == 3
    assert "no run has an epoch to draw" in refused.err


def test_of_a_run_without_its_folds_the_report_says_it(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text(json.dumps({"history": FOLDS}))
    assert read_run(tmp_path) == HISTORIES
    (tmp_path / "report.json").write_text("{}")
    assert read_run(tmp_path) == ()
