"""Requests of one patient's photographs: what is none is refused by its field."""

from __future__ import annotations

import pytest
from tiny_service import refused

from api.requests import MOST_OF_A_PATIENT

PATH = "/predict/patient"


@pytest.mark.parametrize(
    ("fields", "count", "code", "word"),
    [
        ({}, 1, "missing_file", "2 to 64"),
        ({}, MOST_OF_A_PATIENT + 1, "too_many_files", "2 to 64"),
        ({"site": ["torso"]}, 2, "invalid_field", "site: one for each"),
        ({"lesion_id": ["a"] * 3}, 2, "invalid_field", "lesion_id: one for each"),
        ({"age": "old"}, 2, "invalid_field", "age: years"),
        ({"age": "121"}, 2, "invalid_field", "age: years"),
        ({"sex": "x"}, 2, "invalid_field", "sex: female or male"),
        ({"sex": ["male", "male"]}, 2, "invalid_field", "sex: female or male"),
        ({"name": "Ann"}, 2, "unknown_field", "site"),
    ],
)
def test_what_is_no_patient_is_refused(client, fields, count, code, word):
    files = [("files", ("photo", b"x"))] * count
    reply = client.post(PATH, files=files, data=fields)
    assert word in refused(reply, 422, code)


def test_json_that_is_no_patient_is_refused(client):
    for body, code in (
        ({"images": []}, "missing_file"),
        ({"images": ["eA=="] * (MOST_OF_A_PATIENT + 1)}, "too_many_files"),
        ({"images": ["eA=="] * 2, "site": ["a"]}, "invalid_field"),
        ({"images": ["eA=="] * 2, "n": 2}, "unknown_field"),
    ):
        refused(client.post(PATH, json=body), 422, code)
    refused(
        client.post(PATH, content=b"x", headers={"content-type": "text/plain"}), 422, "missing_file"
    )
