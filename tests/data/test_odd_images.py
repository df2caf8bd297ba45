"""What the decoder warns of is counted over a data set, a sentence a warning."""

from __future__ import annotations

import re
from pathlib import Path

from melanoma.data import odd_images
from melanoma.data.odd_images import OddImages

CHECKOUT = Path(__file__).resolve().parents[2]


def test_each_warning_is_counted_with_its_meaning_and_first_names() -> None:
    odd = OddImages()
    for number in range(1200):
        odd.add(f"i{number:04d}", ("low_information",) if number % 2 else ())
    odd.add("two", ("multi_frame", "low_information"))
    multi, low = sorted(odd.lines(), key=lambda line: "low_information" in line)
    assert multi == (
        "1 images have the warning multi_frame (the first of several frames was taken): two"
    )
    assert low.startswith("601 images have the warning low_information (there is little to see, ")
    assert "i0001, i0003" in low and "i0000" not in low
    assert OddImages().lines() == []


def test_every_warning_of_a_file_that_the_page_knows_has_a_meaning() -> None:
    """One without sends to the how-to. What a model warns of is no matter of a data set."""
    of_models = {"trained_on_drawings", "fewer_folds", "views"}
    known = re.findall(r'"warning\.(\w+)"', (CHECKOUT / "api/page/en.js").read_text())
    assert {*known} - of_models == {*odd_images._MEANINGS}
