"""The first layers of a network whose convolutions soon go channel by channel, marked to stay in
float32 where the rest is scored in bfloat16.

A filter of nine weights on one channel of an even picture gives a small difference of large
numbers: bfloat16, of 8 bits, keeps little of it, and everything behind is built on it. The exact
stem costs such a network a tenth of its time. OpenVINO has a mark for this, which Python cannot set
but which its files may have.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from melanoma.scoring.backends.core import import_openvino, the_core

# The first convolution by channel stands in the first block; others are too late to be a stem's.
_LAST = 3
_CONVOLUTIONS = ("Convolution", "GroupConvolution")
_NOT_COMPUTED = ("Parameter", "Constant")
_MARK = {"name": "precise", "version": "0"}


def keep_stem_exact(model: Any) -> Any:
    """The model of squares with the mark on its stem; the same model where it has none."""
    stem = set(_stem(model))
    if not stem:
        return model
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        path = Path(folder) / "model.xml"
        import_openvino().save_model(model, path, compress_to_fp16=False)
        tree = ElementTree.parse(path)
        for layer in tree.iter("layer"):
            if layer.get("name") in stem:
                _mark(layer)
        tree.write(path)
        # From bytes: a model that is read from files keeps them open, and these are removed.
        return the_core().read_model(path.read_bytes(), path.with_suffix(".bin").read_bytes())


def _stem(model: Any) -> Iterator[str]:
    """Names of what is computed up to the first convolution by channel, and of the one behind it
    that mixes the channels again."""
    operations = model.get_ordered_ops()
    layers = [one for one in operations if one.get_type_name() in _CONVOLUTIONS]
    first = next((n for n, one in enumerate(layers[:_LAST]) if _is_by_channel(one)), None)
    if first is None:
        return
    end = [*layers, *operations[-1:]][first + 2].get_name()
    for one in itertools.takewhile(lambda one: one.get_name() != end, operations):
        if one.get_type_name() not in _NOT_COMPUTED:
            yield one.get_friendly_name()


def _is_by_channel(layer: Any) -> bool:
    # (groups, outputs a group, inputs a group, height, width)
    return bool(layer.get_type_name() != _CONVOLUTIONS[0] and layer.get_input_shape(1)[2] == 1)


def _mark(layer: ElementTree.Element) -> None:
    notes = layer.find("rt_info")
    if notes is None:
        notes = ElementTree.Element("rt_info")
        layer.insert(0 if layer.find("data") is None else 1, notes)
    ElementTree.SubElement(notes, "attribute", _MARK)
