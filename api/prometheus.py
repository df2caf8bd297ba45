"""What Prometheus reads: requests, their times, the queue, batches and scores of each bundle."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from melanoma.scoring.scorer import Scorer

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
_SIZES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """One application's figures, in a registry of its own: nothing is shared between two."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        counter = partial(Counter, registry=self._registry)
        gauge = partial(Gauge, registry=self._registry)
        histogram = partial(Histogram, registry=self._registry)
        self._requests = counter(
            "melanoma_requests", "Answers, by route and status", ["route", "code"]
        )
        self._latency = histogram(
            "melanoma_request_seconds",
            "Time from a request's arrival to its answer's end",
            ["route"],
            buckets=_SECONDS,
        )
        self._queue = gauge(
            "melanoma_queue_length", "Photographs that are accepted and not answered yet"
        )
        self._ready = gauge("melanoma_ready", "1 where scores can be given, 0 before")
        self._batches = histogram(
            "melanoma_batch_size", "Photographs scored together", ["model"], buckets=_SIZES
        )
        self._photographs = counter(
            "melanoma_photographs", "Photographs, by what came of them", ["model", "outcome"]
        )
        self._explanations = histogram(
            "melanoma_explanation_seconds",
            "Time that an explanation took, its picture included",
            ["model", "method"],
            buckets=_SECONDS,
        )
        self._bundles = gauge(
            "melanoma_bundle_info",
            "1 for each served bundle",
            ["model", "version", "digest", "folds", "backend", "precision"],
        )

    def watch(
        self,
        scorers: dict[str, Scorer],
        *,
        queue_length: Callable[[], float],
        ready: Callable[[], float],
    ) -> None:
        """Show these bundles, and whatever the two functions give whenever it is asked for."""
        self._queue.set_function(queue_length)
        self._ready.set_function(ready)
        for name, scorer in scorers.items():
            info = scorer.info()
            about = (info.version, info.digest, info.folds, info.backend, info.precision)
            self._bundles.labels(name, *about).set(1)
            # From the start at 0: a rate has no gap before the first.
            self._photographs.labels(name, "scored")
            self._batches.labels(name)

    def count_request(self, route: str, status: int, seconds: float) -> None:
        """One answer more. `route` is one of the application's, never what a caller wrote."""
        self._requests.labels(route, str(status)).inc()
        self._latency.labels(route).observe(seconds)

    def count_batch(self, size: int, model: str) -> None:
        """One batch more, of so many photographs."""
        self._batches.labels(model).observe(size)

    def count_photograph(self, model: str, outcome: str) -> None:
        """One photograph more; `outcome` is scored, or a refusal's code."""
        self._photographs.labels(model, outcome).inc()

    def time_explanation(self, model: str, method: str, seconds: float) -> None:
        """One explanation more."""
        self._explanations.labels(model, method).observe(seconds)

    def text(self) -> bytes:
        """All of it, in Prometheus's text format."""
        return generate_latest(self._registry)
