"""melanoma.split: the file that it writes is the one whose counts, leaks and digest it prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from melanoma.data.folds import load_folds

Door = Callable[..., Any]


@pytest.fixture(scope="module")
def arrays(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first test's array is found by the others."""
    return tmp_path_factory.mktemp("arrays")


@pytest.fixture
def split(
    call_door: Door, tiny_recipe: Callable[..., Path], phantom_set: Path, arrays: Path
) -> Door:
    recipe = tiny_recipe()

    def call(*options: str | Path) -> Any:
        given = ("--config", recipe, "--data", phantom_set, "--arrays", arrays)
        done = call_door("split", *given, *options)
        assert done.code == 0, done.err
        return done

    return call


def test_what_is_printed_is_what_the_file_holds(split: Door, tmp_path: Path) -> None:
    done = split("--out", "f.csv")
    table = load_folds(tmp_path / "f.csv")
    printed = done.out.splitlines()
    assert printed[-1] == (
        f"f.csv: 60 images in 3 folds, seed {load_seed(tmp_path)}, digest {table.digest[:12]}"
    )
    counts = table.counts()
    assert counts.to_string() in done.out
    assert int(counts["images"].sum()) == 60


def load_seed(folder: Path) -> int:
    from melanoma.recipe.overrides import load_recipe

    return load_recipe(folder / "tiny.yaml").folds.seed


def test_as_json_the_counts_add_up_and_every_kind_of_leak_is_listed(
    split: Door, tmp_path: Path
) -> None:
    answer = json.loads(split("--out", "f.csv", "--json").out)
    table = load_folds(tmp_path / "f.csv")
    assert (answer["folds"], answer["digest"]) == ("f.csv", table.digest)
    assert [row["fold"] for row in answer["counts"]] == table.counts().index.tolist()
    assert sum(row["images"] for row in answer["counts"]) == 60
    # Of lesions the table says nothing: that none is in two folds would be a guess.
    assert answer["leaks"] == {"patients": [], "lesions": None, "groups": []}
    leaking = ("--set", "folds.group_by=none", "--out", "leaking.csv", "--json")
    found = json.loads(split(*leaking).out)
    assert found["leaks"]["patients"]
    assert any("LEAK" in line for line in found["audit"])


def test_the_seed_is_that_of_the_folds_and_out_another_word_for_folds(
    split: Door, tmp_path: Path
) -> None:
    split("--seed", "7", "--out", "seed.csv")
    split("--set", "folds.seed=7", "--folds", "set.csv")
    split("--seed", "8", "--folds", "passed over.csv", "--out", "other.csv")
    digests = {name: load_folds(tmp_path / f"{name}.csv").digest for name in ("seed", "set")}
    assert digests["seed"] == digests["set"]
    assert load_folds(tmp_path / "other.csv").digest != digests["seed"]
    assert not (tmp_path / "passed over.csv").exists()


def test_a_test_part_and_a_single_split_are_called_so(split: Door, tmp_path: Path) -> None:
    said = split("--set", "folds.holdout=0.3", "--out", "held.csv").out.splitlines()[-1]
    table = load_folds(tmp_path / "held.csv")
    assert f"in 3 folds and a test part of {len(table.test)}, seed" in said
    assert len(table.test) > 0
