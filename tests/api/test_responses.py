"""No field of an answer is dropped on its way out."""

from __future__ import annotations

from dataclasses import dataclass, fields

import pytest
from fastapi.testclient import TestClient

from api.app import create_app
from api.responses import PredictAnswer, PredictionAnswer
from api.settings import Settings
from melanoma.scoring.prediction import Prediction
from melanoma.scoring.scorer import Scorer


@pytest.mark.parametrize("answer", [PredictAnswer, PredictionAnswer])
def test_every_field_of_a_prediction_is_in_the_answers(answer):
    assert {field.name for field in fields(Prediction)} <= set(answer.model_fields)


@dataclass(frozen=True)
class _Longer(Prediction):
    forgotten: float = 0.5


def test_a_field_that_the_answers_forget_fails_in_the_tests(scorer, photograph, monkeypatch):
    answer = Scorer.answer

    def longer(self, *given, **more):
        return _Longer(**vars(answer(self, *given, **more)))

    files = {"file": photograph}
    batch = {"files": photograph}
    with TestClient(create_app([scorer], Settings()), raise_server_exceptions=False) as client:
        assert client.post("/predict", files=files).status_code == 200
        monkeypatch.setattr(Scorer, "answer", longer)
        for path, sent in (("/predict", files), ("/predict/batch", batch), ("/explain", files)):
            assert client.post(path, files=sent).status_code == 500, path
