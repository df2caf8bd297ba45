"""What may be exported, and what is said of what cannot be."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from melanoma.errors import RecipeError
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.export.export_catalog import find_export
from melanoma.scoring.export.export_options import ExportOptions

pytestmark = pytest.mark.slow  # together they take many seconds


def test_what_no_export_knows_is_refused() -> None:
    with pytest.raises(RecipeError, match="did you mean onnx"):
        find_export("onx")
    with pytest.raises(RecipeError, match="1 to 8"):
        ExportOptions(views=9)


@pytest.mark.parametrize("to", ["onnx", "openvino", "huggingface"])
def test_without_its_package_a_format_is_one_line(
    to: str, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    extra = {"huggingface": "timm"}.get(to, to)
    with pytest.raises(RecipeError, match=rf"melanoma\[{extra}\]"):
        find_export(to)(bundle, tmp_path / to, ExportOptions())
    assert not (tmp_path / to).exists()
