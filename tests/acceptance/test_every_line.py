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
# What a line says of the page is tried in Chromium, by these tests of tests/browser.
DRIVEN = {
    "s4_12": [
        "a_chosen_photograph_gets_the_services_answer",
        "a_dropped_photograph_is_taken",
    ],
    "s2_11": [
        "lime_offers_three_precisions_with_their_expected_time",
        "gradcam_stands_beside_the_photograph_with_a_legend",
        "a_refused_explanation_is_said_and_the_next_one_works",
    ],
    "s1_8": [
        "the_eight_samples_say_what_they_are_and_are_scored",
        "after_an_error_the_next_photograph_works",
        "the_verdict_has_a_color_and_never_a_color_alone",
        "nothing_scrolls_sideways_at_any_width",
        "with_the_network_blocked_everything_works_and_nothing_leaves",
        "every_control_has_a_name_and_the_disclaimer_is_always_in_view",
    ],
    "s3_13": [
        "a_dropped_photograph_is_taken",
        "a_picture_is_taken_looked_at_retaken_and_used",
        "a_denied_camera_is_said_and_a_file_still_works",
        "only_the_five_likeliest_of_many_classes_are_listed",
    ],
    "s3_14": ["an_answer_is_saved_as_json_with_every_class_sorted"],
    "s3_15": [
        "the_cards_and_tables_hold_the_reports_numbers",
        "a_heading_sorts_and_sorts_back_and_undefined_goes_last",
        "a_search_keeps_the_rows_of_that_name_and_says_how_many",
        "a_higher_share_is_tinted_more",
        "a_failed_report_is_said_and_can_be_tried_again",
    ],
    "s3_16": ["the_theme_follows_the_system_until_it_is_chosen_and_is_remembered"],
    "s0_7": [
        "name_type_and_size_stand_under_the_preview",
        "the_likeliest_classes_are_listed_with_bars",
    ],
    "x8": ["calibration_and_the_disclaimer_stand_beside_the_probability"],
    "b7": ["several_photographs_of_a_patient_become_a_ranked_wall"],
}


def test_there_are_seventy_nine_lines_and_each_has_one_test() -> None:
    texts = [path.read_text() for path in sorted(HERE.glob("test_*.py"))]
    found = re.findall(r"^def test_((?:s\d_|x|b)\d+)_\w+\(", "\n".join(texts), re.M)
    assert len(NAMES) == 79
    assert sorted(found) == sorted(NAMES)


def test_what_a_line_says_of_the_page_is_tried_in_chromium() -> None:
    texts = [path.read_text() for path in (HERE.parent / "browser").glob("test_*.py")]
    found = set(re.findall(r"^def test_(\w+)\(", "\n".join(texts), re.M))
    assert set(DRIVEN) <= set(NAMES)
    assert [name for names in DRIVEN.values() for name in names if name not in found] == []


def test_the_list_beside_the_checkout_has_these_lines() -> None:
    path = HERE.parents[2] / "shared" / "features.md"
    if not path.is_file():
        pytest.skip(f"needs {path}")
    found = re.findall(r"(?:^- |\. )(S\d-\d+|[XB]\d+) ", path.read_text(), re.M)
    assert [name.lower().replace("-", "_") for name in found] == NAMES
