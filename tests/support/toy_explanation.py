"""A toy entry for EXPLAINERS, and where it shows up."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from fastapi.testclient import TestClient
from PIL import Image

from melanoma.data.images import Pixels
from melanoma.scoring.explain.answers import ExplanationAnswer
from melanoma.scoring.explain.explain_options import Question
from melanoma.scoring.explain.explainer_catalog import Explainer
from melanoma.scoring.explain.explainers import Explanation
from melanoma.scoring.explain.pictures import Panel
from melanoma.scoring.scorer import Scorer


@dataclass(frozen=True, kw_only=True)
class ToyExplanation(Explanation):
    """The photograph's mean brightness, as if it explained anything."""

    method: ClassVar[str] = "toy"
    brightness: float

    @property
    def details(self) -> str:
        return "made of nothing"

    def _own_values(self) -> dict[str, Any]:
        return {"brightness": self.brightness}


class ToyAnswer(ExplanationAnswer):
    """A toy."""

    method: Literal["toy"]
    brightness: float


def explain_toy(
    scorer: Scorer,
    pixels: Pixels,
    question: Question,
    *,
    square: Pixels | None,
    warnings: Sequence[str] | None,
    deadline: float | None,
    should_stop: Callable[[], bool],
) -> ToyExplanation:
    return ToyExplanation(
        target=question.target or "benign",
        prediction=scorer.score_squares(scorer.square(pixels)[None])[0],
        folds=scorer.members.folds,
        fit=scorer.bundle.fit,
        seconds=0.0,
        brightness=float(pixels.mean()),
    )


def draw_toy(panel: Panel, part: Pixels, explanation: Explanation) -> None:
    assert isinstance(explanation, ToyExplanation)
    panel.show(part // 2)


TOY = Explainer(title="Toy map", explain=explain_toy, draw=draw_toy, answer=ToyAnswer)


def find_toy(scorer: Scorer) -> dict[str, Any]:
    """What the service says of it and answers with it."""
    from api.app import create_app
    from api.settings import Settings

    file = io.BytesIO()
    Image.fromarray(np.full((80, 90, 3), 100, np.uint8)).save(file, "PNG")
    with TestClient(create_app([scorer], Settings())) as client:
        send = {"file": file.getvalue()}
        schema = client.get("/openapi.json").json()
        body = schema["paths"]["/explain"]["post"]["requestBody"]["content"]
        forms = [body[kind]["schema"]["properties"]["method"] for kind in sorted(body)]
        wrong = client.post("/explain", files=send, data={"method": "toyy"}).json()
        foreign = client.post("/explain", files=send, data={"method": "toy", "seed": "1"}).json()
        return {
            "info": client.get("/info").json()["models"][0]["explain"]["choices"],
            "forms": forms,
            "answers": sorted(schema["components"]["schemas"]),
            "answer": client.post("/explain", files=send, data={"method": "toy"}).json(),
            "wrong": wrong["error"]["message"],
            "foreign": foreign["error"]["message"],
        }
