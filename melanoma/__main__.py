"""python -m melanoma, or the console script melanoma: the commands, a line each."""

from __future__ import annotations

import ast
import difflib
import importlib
import sys
from pathlib import Path

COMMANDS = (
    "prepare",
    "check",
    "split",
    "audit",
    "train",
    "lr_range",
    "sweep",
    "evaluate",
    "compare",
    "distill",
    "blend",
    "runs",
    "predict",
    "explain",
    "serve",
    "ship",
    "export",
)


def main() -> None:
    """`melanoma VERB ...` is `python -m melanoma.VERB ...`; without a verb the list of them."""
    verb = sys.argv[1] if len(sys.argv) > 1 else "--help"
    if verb in ("--help", "-h", "help"):
        print("\n".join(overview()))
        return
    if verb == "--version":
        from importlib.metadata import version

        print(f"melanoma {version('melanoma')}")
        return
    name = verb.replace("-", "_")
    if name not in COMMANDS:
        close = difflib.get_close_matches(name, COMMANDS, n=1)
        hint = f"did you mean {close[0]}?" if close else f"known: {', '.join(COMMANDS)}"
        sys.exit(_fail(f"no command {verb!r}; {hint}"))
    from melanoma import terminal

    sys.argv[:2] = [f"melanoma {name}"]
    terminal.run(importlib.import_module(f"melanoma.{name}").app)


def overview() -> list[str]:
    """A line a command: its name and what it does, from the first line of its module."""
    lines = ["melanoma VERB --help, or python -m melanoma.VERB --help, says more.", ""]
    for verb in COMMANDS:
        # Read, not imported: the list must not wait for torch.
        source = Path(__file__).with_name(f"{verb}.py").read_text(encoding="utf-8")
        first = (ast.get_docstring(ast.parse(source)) or "").partition("\n")[0]
        lines.append(f"  {verb:<9} {first.partition(': ')[2]}")
    return [*lines, "", "Research software, not a medical device: a score is no diagnosis."]


def _fail(message: str) -> int:
    print(f"error: {message}", file=sys.stderr)
    return 2


if __name__ == "__main__":
    main()
