"""Readiness: nothing before every bundle gives its golden score, nothing after SIGTERM."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Literal, TypeAlias

from api.refusals import Refusal
from melanoma.scoring.golden import check_golden
from melanoma.scoring.scorer import Scorer

log = logging.getLogger("melanoma.api")

State: TypeAlias = Literal["starting", "ready", "failed", "leaving"]


class Readiness:
    """Whether traffic may come. `bundles` says of each bundle what its golden image gave.

    That the weights' hashes hold is seen when a bundle is loaded: without it there is no Scorer.
    """

    def __init__(self) -> None:
        self.state: State = "starting"
        self.bundles: dict[str, str] = {}
        self._failed: set[str] = set()
        self._differing: set[str] = set()

    @property
    def ready(self) -> bool:
        """Whether every bundle gave its golden score, and no end is near."""
        return self.state == "ready"

    def check(self, scorers: Mapping[str, Scorer]) -> None:
        """Ask every scorer for its golden score. What fails is logged, and the state says so."""
        for name, scorer in scorers.items():
            self._check_one(name, scorer)
        if self.state == "starting":
            self.state = "failed" if self._failed else "ready"

    def require(self, scorer: Scorer) -> None:
        """Raise Refusal when this scorer's golden score was another: so are all of its scores."""
        if scorer.bundle.digest in self._differing:
            raise Refusal(
                "not_ready", "this model does not give the scores that it was sealed with"
            )

    def _check_one(self, name: str, scorer: Scorer) -> None:
        try:
            found = check_golden(scorer)
        except Exception:
            # Kept up for /healthz and the log: /readyz keeps the traffic away.
            log.exception("%s: the golden image could not be scored; /readyz stays at 503", name)
            self._failed.add(name)
            self.bundles[name] = "the golden image could not be scored"
            return
        self.bundles[name] = found.says
        if not found.holds:
            log.error("%s: %s; /readyz stays at 503", name, found.says)
            self._failed.add(name)
            self._differing.add(scorer.bundle.digest)

    def leave(self) -> None:
        """No new traffic from here on; what is in flight is answered."""
        self.state = "leaving"

    @contextmanager
    def leaving_at_sigterm(self) -> Iterator[None]:
        """Leave when SIGTERM comes, before the server's own handler, which ends the process."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals; there is no server around then
            return
        before = signal.getsignal(signal.SIGTERM)

        def handle(number: int, frame: FrameType | None) -> None:
            self.leave()
            if callable(before):
                before(number, frame)
            elif before == signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        signal.signal(signal.SIGTERM, handle)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)
