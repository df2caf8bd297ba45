"""Readiness: nothing before every bundle gives its golden score, nothing after SIGTERM."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import Literal, TypeAlias

from api.error_answers import Refusal
from melanoma.scoring.bundle.golden import check_golden
from melanoma.scoring.rounding import precision_note
from melanoma.scoring.scorer import Scorer

log = logging.getLogger("melanoma.api")

State: TypeAlias = Literal["starting", "ready", "failed", "leaving"]


class Readiness:
    """Whether traffic may come. `bundles` says of each bundle what its golden image gave.

    That the weights' hashes hold is seen when a bundle is loaded: without it there is no Scorer.
    """

    def __init__(self, *, on_leave: Callable[[], None] = lambda: None) -> None:
        self._on_leave = on_leave
        self.state: State = "starting"
        self.bundles: dict[str, str] = {}
        self._passed: set[int] = set()  # scorers, which live as long as the service

    @property
    def ready(self) -> bool:
        """Whether every bundle gave its golden score, and no end is near."""
        return self.state == "ready"

    def check(self, scorers: Mapping[str, Scorer]) -> None:
        """Ask every scorer for its golden score. What fails is logged, and the state says so."""
        for name, scorer in scorers.items():
            self._check_one(name, scorer)
        if self.state == "starting":
            passed = all(id(scorer) in self._passed for scorer in scorers.values())
            self.state = "ready" if passed else "failed"

    def require(self, scorer: Scorer) -> None:
        """Raise Refusal unless this scorer gave its golden score: without it no score counts."""
        if id(scorer) in self._passed:
            return
        reason = (
            "does not give the scores that it was sealed with"
            if self.state != "starting"
            else "has not given its golden score yet"
        )
        raise Refusal("not_ready", f"this model {reason}")

    def _check_one(self, name: str, scorer: Scorer) -> None:
        try:
            check = check_golden(scorer)
        except Exception:
            # Kept up for /healthz and the log: /readyz keeps the traffic away.
            log.exception("%s: the golden image could not be scored; /readyz stays at 503", name)
            self.bundles[name] = "the golden image could not be scored"
            return
        self.bundles[name] = check.says
        if check.holds:
            self._passed.add(id(scorer))
            if note := precision_note(scorer):
                log.warning("%s: %s", name, note)
        else:
            log.error("%s: %s; /readyz stays at 503", name, check.says)

    def leave(self) -> None:
        """No new traffic from here on; what is in flight is answered."""
        self.state = "leaving"
        self._on_leave()

    @contextmanager
    def leaving_at_signals(self) -> Iterator[None]:
        """Leave when SIGTERM or SIGINT comes, before the server's own handler, which ends the
        process."""
        if threading.current_thread() is not threading.main_thread():
            yield  # only the main thread may handle signals; there is no server around then
            return
        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}

        def handle(number: int, frame: FrameType | None) -> None:
            self.leave()
            theirs = before[signal.Signals(number)]
            if callable(theirs):
                theirs(number, frame)
            elif theirs == signal.SIG_DFL:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

        for number in before:
            signal.signal(number, handle)
        try:
            yield
        finally:
            for number, theirs in before.items():
                signal.signal(number, theirs)
