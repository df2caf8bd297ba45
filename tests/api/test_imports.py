"""A service starts without the packages that only training, reports and pictures need."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Each takes from a third of a second to two.
SLOW = (
    *("albumentations", "matplotlib", "scipy.optimize", "scipy.stats", "sklearn", "torchvision"),
    # A quarter of a gigabyte, which OpenVINO does without.
    *("torch", "safetensors.torch"),
)
STARTS = ("api.app", "melanoma.serve", "melanoma.scoring.backends.openvino_members")


def _file(module: str) -> Path | None:
    path = ROOT.joinpath(*module.split("."))
    found = [path.with_suffix(".py"), path / "__init__.py"]
    return next((file for file in found if file.is_file()), None)


def _imports(body: list[ast.stmt]) -> Iterator[str]:
    """What is imported as the module is: not in functions, nor for its types alone."""
    for node in body:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.With | ast.Try):
            yield from _imports(node.body)


def test_nothing_slow_is_imported_at_a_start() -> None:
    waiting, importers = [*STARTS], dict.fromkeys(STARTS, "")
    while waiting:
        module = waiting.pop()
        file = _file(module)
        if file is None:
            continue
        for name in _imports(ast.parse(file.read_text()).body):
            if name not in importers:
                importers[name] = module
                waiting.append(name)
    assert "melanoma.scoring.explain.lime" in importers  # the walk goes as far as that
    slow = {
        name: by
        for name, by in importers.items()
        if f"{name}.".startswith(tuple(f"{s}." for s in SLOW))
    }
    assert not slow
