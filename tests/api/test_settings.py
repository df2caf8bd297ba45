"""Settings come from the environment or from the command line, and bad ones end the start."""

from __future__ import annotations

from pathlib import Path

import pytest
from tiny_service import run_command

from api.settings import Settings, read_settings
from melanoma.errors import RecipeError
from melanoma.scoring.backends.backend_catalog import Engine

ENVIRONMENT = {
    "WEIGHTS": "a:b/c",
    "DEVICE": "cpu",
    "BACKEND": "torch",
    "PRECISION": "bfloat16",
    "QUEUE": "5",
    "TOKEN": "secret",
    "BATCH": "4",
    "BATCH_WAIT_MS": "2.5",
    "LIME_SECONDS": "20",
    "BODY_MB": "100",
    "BODY_SECONDS": "30",
    "ROOT_PATH": "/skin/",
}
ENGINE = Engine("torch", "bfloat16")
FOLDERS = (Path("a"), Path("b/c"))
READ = Settings(FOLDERS, "cpu", 5, "secret", 4, 2.5, 20.0, 100, 30.0, "/skin", ENGINE)


def test_every_setting_is_read_from_the_environment():
    named = {f"MELANOMA_{name}": text for name, text in ENVIRONMENT.items()}
    assert read_settings({**named, "MELANOMA_OTHER": "x", "PATH": "y"}) == READ
    assert read_settings(dict.fromkeys(named, "")) == Settings() == read_settings({})


BAD = {
    "WEIGHTS": [":", "::"],
    "DEVICE": ["tpu", "CPU"],
    "BACKEND": ["tpu", "OpenVINO"],
    "PRECISION": ["Medium", "float16"],
    "QUEUE": ["-1", "x", "1.5", "10001", "9" * 5000, "\u0661"],
    "BATCH": ["0", "1025", "x", "-8"],
    "BATCH_WAIT_MS": ["-1", "nan", "inf", "1001", "x"],
    "LIME_SECONDS": ["0", "-60", "nan", "1e9", "x"],
    "BODY_MB": ["86", "-1", "1.5", "x"],
    "BODY_SECONDS": ["0", "-1", "nan", "x"],
    "ROOT_PATH": ["skin", "/", "/a b", "https://a", "/a//b", "/a?b"],
    "TOKEN": ["with a space", "tab\t", "naïve", "line\n"],
}


@pytest.mark.parametrize("name", BAD)
def test_a_setting_that_cannot_be_meant_is_refused_by_name(name):
    for text in BAD[name]:
        with pytest.raises(RecipeError, match=f"MELANOMA_{name} ") as refused:
            read_settings({f"MELANOMA_{name}": text})
        assert f"--{name.lower().replace('_', '-')}" in str(refused.value)
        assert name != "TOKEN" or text not in str(refused.value)


@pytest.mark.parametrize("door", ["environment", "option", "uvicorn"])
def test_a_bad_setting_is_one_line_and_exit_2(door):
    if door == "option":
        ended = run_command("melanoma.serve", "--weights", "nowhere", "--lime-seconds", "0")
    elif door == "environment":
        ended = run_command("melanoma.serve", "--weights", "nowhere", MELANOMA_LIME_SECONDS="0")
    else:
        ended = run_command("uvicorn", "api.app:app", "--port", "0", MELANOMA_LIME_SECONDS="0")
    assert ended.returncode == 2, ended.stderr
    (line,) = [line for line in ended.stderr.splitlines() if not line.startswith("INFO:")]
    assert "MELANOMA_LIME_SECONDS (--lime-seconds) '0': a number from 1 to 3600" in line


def test_an_option_counts_before_the_environment(tmp_path):
    there = run_command("melanoma.serve", "--port", "0", MELANOMA_WEIGHTS=str(tmp_path / "there"))
    assert (there.returncode, there.stderr.count("\n")) == (5, 1)
    assert "there" in there.stderr
    here = run_command(
        "melanoma.serve", "--port", "0", "--weights", str(tmp_path / "here"), "--queue", "3",
        MELANOMA_WEIGHTS=str(tmp_path / "there"), MELANOMA_QUEUE="x",
    )  # fmt: skip
    assert here.returncode == 5, here.stderr
    assert "here" in here.stderr
