"""YAML in which values of a table stay the text they are written as: True, yes, 2, 1.0, 007.

YAML reads a bare `True` or `1.0` as something else than text, and cells, columns and classes are
text. What is quoted is the same either way.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

# Paths of fields, without the items of their lists and maps.
_DATA = r"data(\.sources\.data)?"
_TEXT = re.compile(
    rf"classes|melanoma|{_DATA}\.(positive|labels|labels\..+|table|\w+_cols?)"
    r"|data\.sources\.(classes|means|means\..+|name)"
)
_NOTHING = ("", "~", "null", "Null", "NULL")
_STRING = "tag:yaml.org,2002:str"


def read_yaml(text: str, *, below: str = "") -> Any:
    """Plain values of a recipe's YAML; `below` is the path of the field that `text` is given to.

    A field of text that is null as a whole stays null. Raises yaml.YAMLError.
    """
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _keep_text(node, below)
        return loader.construct_document(node)
    finally:
        loader.dispose()


def _keep_text(node: yaml.Node, path: str) -> None:
    """Mark every scalar in a field of text as text, in place."""
    if _TEXT.fullmatch(path):
        if isinstance(node, yaml.ScalarNode) and node.style is None and node.value in _NOTHING:
            return
        _mark(node)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _keep_text(value, f"{path}.{key.value}".lstrip("."))
    elif isinstance(node, yaml.SequenceNode) and path == "data.sources":
        for item in node.value:
            _keep_text(item, path)


def _mark(node: yaml.Node) -> None:
    if isinstance(node, yaml.ScalarNode):
        node.tag = _STRING
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _mark(item)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _mark(key)
            _mark(value)


def as_text(value: Any) -> Any:
    """A scalar as the text that it stands for, in lists and maps too: for values that no YAML
    brought, such as a notebook's."""
    if isinstance(value, bool | int | float):
        return str(value)
    if isinstance(value, dict):
        return {as_text(key): as_text(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_text(item) for item in value]
    return value
