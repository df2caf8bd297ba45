"""data.sources of a recipe: what is refused in a line, and what decides a run's identity."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from melanoma.errors import RecipeError
from melanoma.recipe.overrides import load_recipe, make_recipe
from melanoma.recipe.recipe import Recipe

CLASSES = ["nevus", "melanoma", "other"]
TABLE = {"reader": "csv_folder", "target_col": "truth"}
LABELED: dict[str, Any] = {
    "name": "year",
    "data": TABLE,
    "means": {"benign": ["nevus", "other"]},
}
TAUGHT: dict[str, Any] = {
    "name": "taught",
    "data": {"reader": "csv_folder", "target_col": None},
    "soft_target": {"column": "p"},
}


def recipe_of(*sources: dict[str, Any], **sections: Any) -> Recipe:
    values: dict[str, Any] = {
        "name": "several",
        "classes": CLASSES,
        "data": {"reader": "csv_folder", "sources": list(sources)},
        "folds": {"name": "several"},
        "loss": {"name": "cross_entropy"},
    }
    return make_recipe({**values, **sections})


def refusal_of(*sources: dict[str, Any], **sections: Any) -> str:
    with pytest.raises(RecipeError) as refused:
        recipe_of(*sources, **sections)
    return str(refused.value)


def test_classes_of_a_source_mean_the_recipes_own_or_several() -> None:
    source = recipe_of(LABELED).data.sources[0]
    assert source.meaning(CLASSES) == {"melanoma": ("melanoma",), "benign": ("nevus", "other")}
    assert source.place == "../year"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ({**LABELED, "means": {}}, "year.means: it does not say what 'benign' is"),
        ({**LABELED, "means": {"benign": "mole"}}, "'mole', which is not among the classes"),
        ({**LABELED, "means": {"benign": CLASSES}}, "benign may be any class"),
        ({**LABELED, "means": {"benign": "nevus", "x": "other"}}, "'x' is none of its classes"),
        ({**TAUGHT, "soft_target": None}, "taught: without labels it needs a soft_target"),
        ({**LABELED, "data": {"reader": "siim"}, "soft_target": {}}, "reader siim reads no such"),
        ({**LABELED, "data": {**TABLE, "sources": [LABELED]}}, "a source has none of its own"),
        ({**LABELED, "data": {"reader": "phantoms"}}, "drawings are no source"),
        ({**LABELED, "wieght": 2}, "data.sources.0.wieght: unknown key; did you mean weight?"),
        ({**TAUGHT, "soft_target": {"scales": 1}}, "did you mean scale?"),
        ({**LABELED, "data": {**TABLE, "tabel": "x"}}, "did you mean table?"),
        ({**LABELED, "data": {**TABLE, "positive": "1", "labels": {"1": "melanoma"}}}, "year.data"),
        ({**TAUGHT, "held_out": True}, "taught.held_out: without labels nothing could be measured"),
        (
            {**LABELED, "held_out": True, "means": {"benign": ["nevus", "melanoma"]}},
            "year.held_out: 'benign' may be melanoma or not",
        ),
        ({**TAUGHT, "label_shift": 1}, "taught.label_shift: it is of labels"),
        ({**LABELED, "weight": True}, "data.sources.0.weight"),
    ],
)
def test_a_source_that_cannot_be_meant_is_refused(source: dict[str, Any], said: str) -> None:
    assert said in refusal_of(source)


def test_a_source_stands_once_and_needs_a_likelihood() -> None:
    assert "'year' stands twice" in refusal_of(LABELED, LABELED)
    assert "need loss.name bce or cross_entropy" in refusal_of(LABELED, loss={"name": "focal"})
    assert "it is of melanoma" in refusal_of(TAUGHT, melanoma=[])


def test_a_source_is_held_out_by_several_folds_or_not_at_all() -> None:
    held_out = {**LABELED, "held_out": True}
    said = refusal_of(LABELED | {"name": "other"}, held_out, folds={"name": "x", "k": 1})
    assert "data.sources.year.held_out: each of several folds leaves a part out" in said
    assert recipe_of(held_out, folds={"name": "x", "k": 2}).data.sources[0].held_out
    assert recipe_of(LABELED, folds={"name": "x", "k": 1}).folds.k == 1


def test_rows_without_labels_are_a_sources_alone() -> None:
    data = {"reader": "csv_folder", "target_col": None}
    assert "data.target_col: null is for a source" in refusal_of(data=data)


def test_no_sources_change_no_identity_and_where_one_lies_decides_nothing() -> None:
    assert "sources" not in recipe_of().identity()["data"]
    here, there = (recipe_of({**TAUGHT, "folder": folder}) for folder in ("a", "b"))
    assert here.digest() == there.digest() != recipe_of().digest()
    assert make_recipe(yaml.safe_load(here.to_yaml())).digest() == here.digest()
    heavier = recipe_of({**TAUGHT, "weight": 2.0})
    assert heavier.digest() != here.digest()
    # A field that came later leaves the digests of before.
    apart = recipe_of({**LABELED, "held_out": True})
    assert not {"held_out", "label_shift"} & {*recipe_of(LABELED).identity()["data"]["sources"][0]}
    shifted = recipe_of({**LABELED, "label_shift": 0.5})
    assert len({one.digest() for one in (apart, shifted, recipe_of(LABELED))}) == 3
    assert "melanoma names no class" in refusal_of({**LABELED, "held_out": True}, melanoma=[])


def test_cells_and_classes_of_a_source_stay_text(tmp_path: Path) -> None:
    (tmp_path / "r.yaml").write_text(
        "classes: [nevus, melanoma, other]\nfolds: {name: r}\nloss: {name: cross_entropy}\n"
        "data:\n  reader: csv_folder\n  sources:\n    - name: year\n      classes: [0, 1]\n"
        "      data: {reader: csv_folder, labels: {1.0: 1, no: 0}}\n"
        "      means: {0: [nevus, other], 1: melanoma}\n"
    )
    source = load_recipe(tmp_path / "r.yaml").data.sources[0]
    assert source.classes == ("0", "1")
    assert source.means == {"0": ("nevus", "other"), "1": ("melanoma",)}
    assert source.data.labels == {"1.0": "1", "no": "0"}  # type: ignore[attr-defined]
