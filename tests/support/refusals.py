"""How a door refuses: one line that begins with error:, and the right exit code."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

Door = Callable[..., Any]
Recipes = Callable[..., Path]


def require_refusal(answer: Any, code: int, *said: str) -> str:
    """The one line of the refusal, which must be the last of stderr and hold what is `said`."""
    code_found = answer.returncode if hasattr(answer, "returncode") else answer.code
    err = answer.stderr if hasattr(answer, "stderr") else answer.err
    lines = err.splitlines()
    assert code_found == code, err
    assert [line for line in lines if line.startswith("error: ")] == lines[-1:], err
    assert "Traceback" not in err
    for words in said:
        assert words in lines[-1]
    return str(lines[-1])


def interrupt_after(epoch: int, number: signal.Signals) -> Callable[[dict[str, Any]], None]:
    """In _say_epoch's place: raises the signal once that epoch is done."""

    def say(record: dict[str, Any]) -> None:
        if record["epoch"] == epoch:
            signal.raise_signal(number)

    return say
