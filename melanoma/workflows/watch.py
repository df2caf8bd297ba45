"""Watch: how a caller looks on while a workflow runs. The library itself prints nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any


def _pass_on(items: Iterable[Any], **_: Any) -> Iterable[Any]:
    return items


@dataclass(frozen=True)
class Watch:
    """What is told to the caller: lines, bars and epochs; by default nothing.

    `say` gets a line of progress. `progress(items, desc=..., total=..., unit=...)` passes the items
    on, with a bar if the caller draws one. `bar(total, done, what)` returns a function that moves
    a bar by one step. `epoch` gets each epoch's record; `saved` is called when a fold's state is.
    """

    say: Callable[[str], None] = lambda _: None
    progress: Callable[..., Iterable[Any]] = _pass_on
    bar: Callable[[int, int, str], Callable[[], None]] = lambda _total, _done, _what: lambda: None
    epoch: Callable[[dict[str, Any]], None] = lambda _: None
    saved: Callable[[], None] = lambda: None


SILENT = Watch()
