"""The study section: what is known of where the images are from, and no number of a run."""

from __future__ import annotations

from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.study import Study


def test_only_what_is_known_is_stated_in_the_order_of_the_fields() -> None:
    assert Study().stated() == {}
    study = Study(ethics="waived", source="a clinic's", context="")
    assert list(study.stated().items()) == [("source", "a clinic's"), ("ethics", "waived")]


def test_it_decides_no_number() -> None:
    values = {
        "name": "r",
        "data": {"reader": "siim"},
        "folds": {"name": "f"},
        "model": {"backbone": "resnet18"},
    }
    plain, told = (make_recipe({**values, **more}) for more in ({}, {"study": {"source": "x"}}))
    assert told.study.stated() == {"source": "x"}
    assert told.digest() == plain.digest()
