"""Each line of the five systems' list of features has a test here that is named after it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

LINES = {"s4": 13, "s2": 12, "s1": 9, "s3": 18, "s0": 9, "x": 8, "b": 10}
NAMES = [
    f"{system}{'_' if system[0] == 's' else ''}{number}"
    for system, count in LINES.items()
    for number in range(1, count + 1)
]
HERE = Path(__file__).parent


def test_there_are_seventy_nine_lines_and_each_has_one_test() -> None:
    texts = [path.read_text() for path in sorted(HERE.glob("test_*.py"))]
    found = re.findall(r"^def test_((?:s\d_|x|b)\d+)_\w+\(", "\n".join(texts), re.M)
    assert len(NAMES) == 79
    assert sorted(found) == sorted(NAMES)


def test_the_list_beside_the_checkout_has_these_lines() -> None:
    path = HERE.parents[2].parent / "shared/features.md"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    found = re.findall(r"(?:^- |\. )(S\d-\d+|[XB]\d+) ", path.read_text(), re.M)
    assert [name.lower().replace("-", "_") for name in found] == NAMES
