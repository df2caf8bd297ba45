"""Age, sex and site as numbers for a stacking: what a caller can send, never what a file gives
away."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pandas as pd

from melanoma.errors import DataError, RecipeError, suggest
from melanoma.types import Floats

CONTEXT = ("age", "sex", "site")
_MIDDLE, _SPREAD = 50.0, 20.0  # years


def require_context(columns: Sequence[str]) -> None:
    """Raise RecipeError for a column that is no input: size, bytes and images a patient predict the
    label by how a set was put together."""
    for name in columns:
        if name not in CONTEXT:
            raise RecipeError(
                f"--with {name}: {suggest(name, CONTEXT)}; facts of the file and identities are "
                "never inputs"
            )


def context_features(frame: pd.DataFrame, columns: Sequence[str]) -> tuple[Floats, list[str]]:
    """(N, F) numbers of the fold file's rows, and their names; no label is looked at.

    Age is (years - 50) / 20, with 1 in a column of its own where it is not known; sex and site are
    a column a value, and nothing where they are not known. Raises DataError for a column that has
    no value at all.
    """
    features: dict[str, Floats] = {}
    for name in dict.fromkeys(columns):
        if name == "age":
            years = pd.to_numeric(frame["age"], errors="coerce").to_numpy(np.float64)
            known: npt.NDArray[np.bool_] = np.isfinite(years)
            features["age"] = np.where(known, (np.nan_to_num(years) - _MIDDLE) / _SPREAD, 0.0)
            features["age not known"] = (~known).astype(np.float64)
        else:
            cells = frame[name].fillna("").astype(str)
            for value in sorted(set(cells) - {""}):
                features[f"{name} {value}"] = np.asarray(cells == value, np.float64)
            known = np.asarray(cells != "", np.bool_)
        if not known.any():
            raise DataError(f"--with {name}: the fold file knows it of no image")
    return np.column_stack(list(features.values())), list(features)
