"""python -m melanoma and the console script: every command is listed, and reached by its name."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path

import pytest

import melanoma
from melanoma.__main__ import COMMANDS, main, overview

FOLDER = Path(melanoma.__file__).parent


def call(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["melanoma", *arguments])
    with pytest.raises(SystemExit) as end:
        main()
    return int(end.value.code or 0)


def test_every_module_with_a_command_is_listed_and_no_other() -> None:
    commands = {path.stem for path in FOLDER.glob("*.py") if "t.run(app)" in path.read_text()}
    assert set(COMMANDS) == commands
    assert len(COMMANDS) == len(commands)


def test_the_overview_says_what_each_command_does() -> None:
    lines = overview()
    for verb in COMMANDS:
        (line,) = [line for line in lines if line.split()[:1] == [verb]]
        assert len(line.split()) > 3, line


@pytest.mark.parametrize("verb", ["lr_range", "lr-range"])
def test_a_verb_is_reached_with_its_own_options(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, verb, "--no-such-option") == 2
    assert "No such option: --no-such-option" in capsys.readouterr().err


def test_an_unknown_verb_is_one_line_with_a_suggestion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert call(monkeypatch, "evalute") == 2
    assert capsys.readouterr().err == "error: no command 'evalute'; did you mean evaluate?\n"


def test_the_package_runs_as_a_module(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["melanoma"])
    monkeypatch.delitem(sys.modules, "melanoma.__main__")
    runpy.run_module("melanoma", run_name="__main__")
    assert "python -m melanoma.VERB" in capsys.readouterr().out
