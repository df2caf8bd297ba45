"""Training on several sources: what is drawn, what it is to be, and nothing changed without any."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from melanoma.data.batches import plan_epoch
from melanoma.data.readers.table import LesionTable
from melanoma.data.sources import source_rows
from melanoma.recipe.source_section import Source
from melanoma.training.batch_targets import batch_targets
from melanoma.training.fold_data import FoldData
from melanoma.training.run.facts import read_facts
from melanoma.training.source_rows import (
    SourceRows,
    describe_source,
    plan_fold,
    row_source,
    training_rows,
)
from melanoma.training.weights_origin import read_seen, seen_before


def source_of(name: str, **changes: Any) -> dict[str, Any]:
    return {"name": name, "data": {"reader": "csv_folder", "target_col": "target"}, **changes}


TAUGHT = source_of(
    "taught",
    data={"reader": "csv_folder", "target_col": None},
    soft_target={"column": "p", "weight": 0.7},
    weight=0.5,
)


@pytest.fixture(scope="module")
def fold(place: Any, recipe_of: Any, tmp_path_factory: pytest.TempPathFactory) -> FoldData:
    """Fold 0 of the phantoms with a labeled and a taught source: 20 and 12 squares of its own."""
    folder = tmp_path_factory.mktemp("sources")
    tables = []
    for start, count, values in ((0, 20, source_of("year", label_shift=0.5)), (20, 12, TAUGHT)):
        names = place.array.names[start : start + count]
        frame = pd.DataFrame(
            {
                "image_name": [f"s{name}" for name in names],
                "patient_id": "",
                "lesion_id": "",
                "label": ["melanoma" if n % 3 == 0 else "benign" for n in range(count)],
                "p": [f"{0.1 + n / 40:.3f}" for n in range(count)],
            }
        )
        array = replace(
            place.array,
            path=folder / f"{start}.npy",
            names=tuple(frame["image_name"]),
            row_digests=tuple(f"{start}_{n}" for n in range(count)),
            file_facts=(),
            files=(),
        )
        np.save(array.path, place.array.rows(range(start, start + count)))
        source = Source.model_validate(values)
        if not source.labeled:
            frame["label"] = ""
        tables.append(source_rows(source, LesionTable(frame, folder), array))
    parts = (SourceRows(tables[0], np.arange(2, 20)), SourceRows(tables[1], np.arange(12)))
    return replace(place.data(0), sources=parts)


def test_without_sources_an_epoch_is_planned_as_before(place: Any, recipe_of: Any) -> None:
    data, recipe = place.data(0), recipe_of(training={"batch_size": 5, "accumulate": 2})
    ours = plan_fold(recipe, data, seed=(5, 0, 1))
    theirs = plan_epoch(
        data.training,
        data.targets[data.training],
        sampler=recipe.sampler,
        batch_size=5,
        accumulate=2,
        seed=(5, 0, 1),
    )
    assert [plan.rows.tolist() for plan in ours] == [plan.rows.tolist() for plan in theirs]
    assert row_source(data) is data.array
    assert batch_targets(recipe, data) is data.targets
    assert training_rows(data).tolist() == data.training.tolist()


def test_each_source_is_drawn_as_often_as_its_weight_says(fold: FoldData, recipe_of: Any) -> None:
    plans = plan_fold(recipe_of(), fold, seed=(1, 0, 0))
    order = np.concatenate([plan.rows for plan in plans])
    own = len(fold.array)
    assert sorted(order[order < own]) == sorted(fold.training)
    counts = Counter(order[order >= own].tolist())
    year = {own + 2 + n: 1 for n in range(18)}  # the first two rows show what is held out
    assert {row: n for row, n in counts.items() if row < own + 20} == year
    taught = [n for row, n in counts.items() if row >= own + 20]
    assert taught == [1] * 6
    assert any(order[:8] >= own)
    assert any(order[:8] < own)
    again = np.concatenate([p.rows for p in plan_fold(recipe_of(), fold, seed=(1, 0, 1))])
    assert again.tolist() != order.tolist()


def test_rows_of_all_arrays_are_read_in_the_order_asked_for(fold: FoldData) -> None:
    own = len(fold.array)
    rows = np.array([own + 21, 3, own + 1, own - 1, own + 20])
    found = row_source(fold).rows(rows)
    # The sources' squares are copies of the array's, so that one can tell them.
    assert np.array_equal(found, fold.array.rows([21, 3, 1, own - 1, 20]))
    assert [fold.name_of(int(row)) for row in rows[:3]] == [
        fold.sources[1].table.array.names[1],
        fold.array.names[3],
        fold.sources[0].table.array.names[1],
    ]


def test_targets_say_classes_and_teachers_probabilities(fold: FoldData, recipe_of: Any) -> None:
    found = batch_targets(recipe_of(), fold)
    own = len(fold.array)
    assert found.shape == (own + 32, 5)
    assert found[:own, :2].tolist() == np.eye(2)[fold.targets].tolist()
    assert found[own : own + 3].tolist() == [
        [0, 1, 0, 0, 0.5],
        [1, 0, 0, 0, 0.5],
        [1, 0, 0, 0, 0.5],
    ]
    assert found[own + 20].tolist() == pytest.approx([0, 0, 0.1, 0.7, 0])
    assert not found[:own, 2:].any()


def test_a_fold_on_sources_resumes_says_what_they_brought_and_remembers_their_images(
    fit: Any, fold: FoldData, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(training={"epochs": 1})

    class At:
        def data(self, _: int) -> FoldData:
            return fold

    run = fit(recipe, tmp_path / "fold_0", at=At())
    assert run.scores.frame["image_name"].tolist() == [
        fold.array.names[row] for row in fold.validation
    ]
    facts = read_facts(tmp_path / "fold_0")
    assert facts is not None
    assert facts.sources is not None
    year, taught = facts.sources
    assert (year.images, year.left_out, year.classes) == (18, 2, {"benign": 13, "melanoma": 7})
    assert (taught.soft, taught.unlabeled, taught.weight) == (12, 12, 0.5)
    assert facts.training_images == len(fold.training)
    names = set(read_seen(tmp_path / "fold_0"))
    assert names >= {"s" + name for name in fold.array.names[2:32]}
    assert set(seen_before(tmp_path)) == {"s" + name for name in fold.array.names[2:32]}
    plain = fit(recipe, tmp_path / "plain")
    assert not np.allclose(plain.scores.logits(), run.scores.logits())


def test_another_version_of_a_source_is_another_run(
    fit: Any, fold: FoldData, recipe_of: Any, tmp_path: Path
) -> None:
    from melanoma.errors import WeightsError

    class At:
        parts = fold

        def data(self, _: int) -> FoldData:
            return self.parts

    at, recipe = At(), recipe_of(training={"epochs": 1})
    fit(recipe, tmp_path / "run", at=at)
    frame = fold.sources[0].table.frame.assign(label="benign")
    table = replace(fold.sources[0].table, frame=frame)
    at.parts = replace(fold, sources=(replace(fold.sources[0], table=table), fold.sources[1]))
    with pytest.raises(WeightsError, match=r"data.sources: year \w+, taught \w+ -> year"):
        fit(recipe, tmp_path / "run", at=at)


def test_what_a_source_brings_is_counted_by_class(fold: FoldData, recipe_of: Any) -> None:
    facts = describe_source(fold.sources[0], recipe_of())
    assert facts.digest == fold.sources[0].table.digest
    assert sum(facts.classes.values()) == 20
