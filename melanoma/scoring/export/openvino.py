"""A bundle as OpenVINO's intermediate representation: squares to calibrated probabilities."""

from __future__ import annotations

import importlib.util
import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from melanoma.errors import RecipeError
from melanoma.scoring.backends.core import import_openvino, the_core
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.bundle.new_folder import new_folder
from melanoma.scoring.export.export_folder import Exported, describe, folder_bytes, write_folder
from melanoma.scoring.export.export_options import ExportOptions
from melanoma.scoring.export.graph import (
    INPUT,
    OUTPUTS,
    check_squares,
    make_graph,
    require_equal,
)
from melanoma.storage import storage_error
from melanoma.types import Floats

FILE = "model.xml"


def export_openvino(bundle: Bundle, folder: Path, options: ExportOptions) -> Exported:
    """DIR with model.xml and model.bin, and how to ask them; compared with the bundle.

    Raises RecipeError without the extra, StorageError for a folder that holds something,
    MelanomaError where the files say something else.
    """
    if importlib.util.find_spec("openvino") is None:
        raise RecipeError("--to openvino: it is not installed; pip install 'melanoma[openvino]'")
    views = options.views or bundle.views
    with new_folder(folder) as stage:
        model = _convert(bundle, views)
        for key, value in describe(bundle, views=views).items():
            text = value if isinstance(value, str) else json.dumps(value)
            model.set_rt_info(text, ["melanoma", key])
        _save(model, stage / FILE)
        squares = check_squares(bundle.size)
        probabilities = _run(stage / FILE, squares)
        largest = require_equal(
            probabilities, bundle, squares, views=views, what="the OpenVINO model"
        )
        write_folder(stage, bundle, views=views, runtime="openvino", file=FILE, largest=largest)
    return Exported(folder, "openvino", folder_bytes(folder), largest)


def _save(model: Any, path: Path) -> None:
    try:
        # In full precision: half of it would not keep to the tolerance.
        import_openvino().save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:  # "iostream error" is all that it says of a full disk
        weights = (one.data for one in model.get_ops() if one.get_type_name() == "Constant")
        raise storage_error(error, path, needed=sum(each.nbytes for each in weights)) from error


def _convert(bundle: Bundle, views: int) -> Any:
    openvino = import_openvino()
    squares = torch.zeros((2, bundle.size, bundle.size, 3), dtype=torch.uint8)
    shape = openvino.PartialShape([-1, bundle.size, bundle.size, 3])
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        traced = torch.jit.trace(  # type: ignore[no-untyped-call]
            make_graph(bundle, views), squares, check_trace=False
        )
        model = openvino.convert_model(traced, example_input=squares, input=[shape])
    model.inputs[0].get_tensor().set_names({INPUT})
    for output, name in zip(model.outputs, OUTPUTS, strict=True):
        output.get_tensor().set_names({name})
    return model


def _run(path: Path, squares: Any) -> Floats:
    options = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = the_core().compile_model(str(path), "CPU", options)
    probabilities: Floats = np.asarray(compiled(squares)[OUTPUTS[1]], np.float64)
    return probabilities
