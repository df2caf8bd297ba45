"""Rows 46 to 48 of shared/faults.md: the table of lesions."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from refusals import require_refusal

Door = Callable[..., Any]
Recipes = Callable[..., Path]


HEADER = "image_name,patient_id,target\n"
TABLES = {
    "absent": (None, "no table at "),
    "empty": ("", "is empty; columns needed: image_name, patient_id, target"),
    "no rows": (HEADER, "has a header and no rows"),
    "no column": ("image_name,patient,target\na,b,1\n", "patient_id (did you mean patient?)"),
    "byte-order mark": ("\ufeff" + HEADER + "a,b,1\n", "byte-order mark"),
    "semicolons": (HEADER.replace(",", ";") + "a;b;1\n", "not separated by commas"),
    "targets": (HEADER + "a,p,x\nb,p,2\nc,p,\nd,p,NaN\ne,p,1\nf,p,0\n", "4 rows whose target"),
    "conflict": (HEADER + "a,p,0\nb,p,1\na,p,1\n", "1 images stand twice with different"),
}


@pytest.mark.parametrize("fault", TABLES)
def test_a_faulty_table_is_refused_alike_by_every_door_that_reads_it(
    fault: str, call_door: Door, tiny_recipe: Recipes
) -> None:
    content, said = TABLES[fault]
    folder = Path("faulty")
    folder.mkdir()
    if content is not None:
        (folder / "train.csv").write_text(content)
    given = ["--config", tiny_recipe(), "--data", folder]
    for door in ("check", "prepare", "split", "train"):
        fold = ["--fold", "all"] if door == "train" else []
        line = require_refusal(call_door(door, *given, *fold), 3, said)
        assert str(folder) in line
        if fault == "targets":
            assert "row 1 (line 2): 'x', row 2 (line 3): '2', row 3 (line 4): ''" in line
    assert not list(Path().glob("folds/*"))
    assert not Path("arrays/x_train_32.npy").exists()


def test_a_row_that_stands_twice_is_dropped_with_a_warning(
    own_set: Path, call_door: Door, tiny_recipe: Recipes
) -> None:
    csv = own_set / "train.csv"
    csv.write_text(csv.read_text() + csv.read_text().splitlines()[4] + "\n")
    given = ["--config", tiny_recipe(), "--data", own_set]
    for door in ("prepare", "split"):
        answer = call_door(door, *given)
        assert answer.code == 0, answer.err
        assert "warning: 1 repeated rows dropped" in answer.err
    assert np.load("arrays/x_train_32.npy").shape[0] == 60
    assert len(pd.read_csv("folds/tiny.csv")) == 60
