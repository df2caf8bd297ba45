"""LitServe's side of benchmarks/service.py; a module of its own, for its workers to import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import litserve

from benchmarks.service_servers import load_scorer
from melanoma.data.images import Photograph, decode_image


class Api(litserve.LitAPI):
    """One worker, micro-batching, over the same Scorer as the others."""

    weights: Path

    def setup(self, device: str) -> None:
        del device
        self.scorer = load_scorer(self.weights)

    def decode_request(self, request) -> Photograph:  # type: ignore[no-untyped-def]
        # Without a type, as LitServe wants the whole form to be handed in.
        return decode_image(request["file"].file.read())

    def batch(self, inputs: list[Photograph]) -> list[Photograph]:
        return inputs

    def predict(self, photographs: Any) -> Any:
        return [found.as_dict() for found in self.scorer.score_photographs(photographs)]

    def unbatch(self, output: list[dict[str, Any]]) -> list[dict[str, Any]]:
        return output

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output
