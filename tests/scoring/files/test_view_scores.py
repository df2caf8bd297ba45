"""Single views' scores: what a Prediction averages, a row a view."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.files.view_scores import VIEWS, score_views
from melanoma.scoring.scorer import Scorer

pytestmark = pytest.mark.slow  # together they take many seconds


@pytest.mark.parametrize("views", [1, 4, 8])
def test_the_views_logits_average_to_the_prediction_s(trained: Any, views: int) -> None:
    scorer = Scorer(load_bundle(trained.folder), views=views)
    square = trained.array.rows([6])[0]
    rows = score_views(scorer, square)
    assert [row["view"] for row in rows] == list(VIEWS[:views])
    # The calibration is one line in the logits, so each member's mean logit is that of its views.
    members = logit(np.array([row["by_fold"] for row in rows])).mean(axis=0)
    whole = scorer.score_squares(square[None])[0]
    assert whole.by_fold == pytest.approx(expit(members), abs=1e-6)
    assert len({row["melanoma_probability"] for row in rows}) == views


def test_a_view_s_name_says_what_was_done_to_the_square(trained: Any) -> None:
    scorer = Scorer(load_bundle(trained.folder), views=8)
    square = trained.array.rows([6])[0]
    by_name = {row["view"]: row["melanoma_probability"] for row in score_views(scorer, square)}
    one = Scorer(load_bundle(trained.folder), views=1)
    for name, turned in (
        ("mirrored", square[:, ::-1]),
        ("upside_down", square[::-1]),
        ("half_turn", square[::-1, ::-1]),
        ("upright_transposed", square.transpose(1, 0, 2)),
        ("mirrored_transposed", square[:, ::-1].transpose(1, 0, 2)),
    ):
        alone = one.score_squares(np.ascontiguousarray(turned)[None])[0]
        assert by_name[name] == pytest.approx(alone.melanoma_probability, abs=1e-6)


def test_predict_writes_them_beside_its_table(
    call_door: Callable[..., Any], trained: Any, tmp_path: Path
) -> None:
    for row in (3, 9):
        (tmp_path / f"mole{row}.jpg").write_bytes(trained.photograph(row))
    (tmp_path / "broken.jpg").write_bytes(b"no photograph")
    files = sorted(tmp_path.glob("*.jpg"))
    options = ("--weights", trained.folder, "--views", 4, "--allow-errors")
    out = ("--out", tmp_path / "a.csv", "--view-scores", tmp_path / "views.csv")
    answer = call_door("predict", *files, *options, *out)
    assert answer.code == 0 and "wrote 8 views" in answer.err, answer.err
    views = pd.read_csv(tmp_path / "views.csv")
    assert views["image_name"].value_counts().to_dict() == {"mole3": 4, "mole9": 4}
    assert list(views["view"][:4]) == list(VIEWS[:4])
    table = pd.read_csv(tmp_path / "a.csv")
    assert len(table) == 3
    beside = ["calibrated", "prevalence", "disclaimer"]
    assert len(views[beside].drop_duplicates()) == 1
    assert views[beside].iloc[0].equals(table[beside].dropna().iloc[0])
    refused = call_door("predict", files[1], "--url", "http://127.0.0.1:9", *out[2:])
    assert refused.code == 2 and "--view-scores means nothing with --url" in refused.err
