"""The names that notebooks and README use: there, sorted, imported when asked for, and enough."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

import melanoma

ROOT = Path(melanoma.__file__).resolve().parents[1]


@pytest.mark.parametrize("name", melanoma.__all__)
def test_a_public_name_is_there_and_says_what_it_is(name: str) -> None:
    assert getattr(melanoma, name).__doc__


def test_the_public_names_are_sorted_and_none_is_a_command() -> None:
    assert melanoma.__all__ == sorted(melanoma.__all__)
    # `melanoma.train` is the command's module: a function of that name would be either of the two.
    commands = {path.stem for path in (ROOT / "melanoma").glob("*.py")}
    assert not commands & set(melanoma.__all__)


def test_a_type_checker_sees_the_same_names() -> None:
    tree = ast.parse((ROOT / "melanoma" / "__init__.py").read_text())
    [block] = [node for node in tree.body if isinstance(node, ast.If)]
    seen = {
        alias.name: str(node.module).removeprefix("melanoma.")
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert seen == melanoma._PUBLIC


def test_the_reference_has_every_public_name_where_it_is_defined() -> None:
    page = (ROOT / "docs/reference/python.md").read_text()
    shown = re.findall(r"^::: melanoma\.(\S+)\.(\w+)$", page, re.MULTILINE)
    assert sorted(shown) == sorted((module, name) for name, module in melanoma._PUBLIC.items())


def test_matplotlib_draws_learning_rates_mistakes_and_explanations_alone() -> None:
    """Every other chart is the one SVG of evaluation/render."""
    drawing = re.compile(r"import .*\bfigure_at\b|(?:from|import) matplotlib", re.MULTILINE)
    files = [file for room in ("melanoma", "api") for file in (ROOT / room).rglob("*.py")]
    assert {file.name for file in files if drawing.search(file.read_text())} == {
        "figure_style.py",  # how
        "learning_rate_figure.py",
        "mistake_figures.py",
        "pictures.py",
    }


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, melanoma; melanoma.Recipe; print('torch' in sys.modules)"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert found.stdout == "False\n"


def test_no_two_modules_have_one_name_but_a_command_and_its_workflow() -> None:
    commands = {file.name for file in (ROOT / "melanoma").glob("*.py")}
    files = [
        file.relative_to(ROOT)
        for room in ("melanoma", "api")
        for file in (ROOT / room).rglob("*.py")
        if file.stem != "__init__"
        and not (file.parent.name == "workflows" and file.name in commands)
    ]
    names = [file.name for file in files]
    assert [str(file) for file in files if names.count(file.name) > 1] == []


# They hold types alone: nothing in them could go wrong that mypy does not see.
TYPES_ALONE = {
    "api.responses_patient": "an answer's fields, which test_routes_patient reads",
    "melanoma.data.device_augmentation.step_values": "a dict's type, and a step without values",
    "melanoma.training.function_types": "two signatures",
}


def _named_in_tests() -> set[str]:
    """The modules that tests import, or name in a text such as that of a monkeypatch."""
    named: set[str] = set()
    for file in (ROOT / "tests").rglob("*.py"):
        if file == Path(__file__).resolve():
            continue  # the list above names what no test does
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Import):
                named |= {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                named |= {f"{node.module}.{alias.name}" for alias in node.names}
                named.add(str(node.module))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                for path in re.findall(r"\b(?:melanoma|api)(?:\.\w+)+", node.value):
                    named |= {path.rsplit(".", count)[0] for count in range(path.count("."))}
    return named


def test_every_module_has_tests_of_its_own_or_is_named_in_another_s() -> None:
    tests = {file.stem for file in (ROOT / "tests").rglob("test_*.py")}
    named = _named_in_tests()
    modules = {
        ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for room in ("melanoma", "api")
        for file in (ROOT / room).rglob("*.py")
        if file.stem != "__init__"
    }
    untested = {m for m in modules - named if f"test_{m.rsplit('.', 1)[1]}" not in tests}
    assert untested == TYPES_ALONE.keys()


def test_no_module_has_more_than_three_hundred_lines() -> None:
    files = [file for room in ("melanoma", "api") for file in (ROOT / room).rglob("*.py")]
    lines = {str(file.relative_to(ROOT)): len(file.read_text().splitlines()) for file in files}
    assert {name: count for name, count in lines.items() if count > 300} == {}


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = melanoma.no_such_name


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda p: p.stem)
def test_a_notebook_uses_public_names_alone(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    source = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "code")
    inner = re.findall(r"^\s*(?:from|import) ((?:melanoma|api)\.\S+)", source, re.MULTILINE)
    assert inner == []
