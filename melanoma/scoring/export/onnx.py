"""A bundle as one ONNX file: squares to calibrated probabilities (extra [onnx])."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from melanoma.errors import RecipeError
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
from melanoma.storage import writing
from melanoma.types import Floats

FILE = "model.onnx"
_OPSET = 17  # of ONNX 1.12, 2022: what older runtimes read too
_MOST_BYTES = 2_000_000_000  # protobuf's own limit is 2 GiB a file


def export_onnx(bundle: Bundle, folder: Path, options: ExportOptions) -> Exported:
    """DIR with model.onnx, what it is and how to ask it; compared with the bundle in onnxruntime.

    Raises RecipeError without the extra, for more weights than one file holds or a network that
    ONNX has no words for, StorageError for a folder that holds something, MelanomaError where the
    file says something else.
    """
    onnx, runtime = _import()
    views = options.views or bundle.views
    weights = sum(member.file.stat().st_size for member in bundle.members)
    if weights > _MOST_BYTES:
        raise RecipeError(
            f"--to onnx: {weights / 1e9:.1f} GB of weights, and one ONNX file holds 2; "
            "--to openvino has no such limit"
        )
    with new_folder(folder) as stage:
        with writing(stage / FILE, partial=stage / FILE):
            _write_graph(bundle, stage / FILE, views)
            model = onnx.load(stage / FILE)
            _add_facts(model, bundle, views)
            onnx.checker.check_model(model)
            onnx.save(model, stage / FILE)
        squares = check_squares(bundle.size)
        probabilities = _run(runtime, stage / FILE, squares)
        largest = require_equal(probabilities, bundle, squares, views=views, what="the ONNX file")
        write_folder(stage, bundle, views=views, runtime="onnxruntime", file=FILE, largest=largest)
    return Exported(folder, "onnx", folder_bytes(folder), largest)


def _import() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise RecipeError(
            f"--to onnx: {error.name} is not installed; pip install 'melanoma[onnx]'"
        ) from error
    return onnx, onnxruntime


class _Resampled(TorchFunctionMode):
    """What is resampled of weights alone, such as a ViT's positions for squares of another size: a
    constant of the graph, which ONNX could not compute as torch does.

    Noted in a pass before the graph is traced, and given in its place then.
    """

    def __init__(self) -> None:
        super().__init__()
        self.noted: list[Tensor] = []
        self.given: int | None = None

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        # Of pictures there are two at least.
        if func is not F.interpolate or not args or len(args[0]) > 1:
            return func(*args, **(kwargs or {}))
        if self.given is None:
            self.noted.append(func(*args, **(kwargs or {})))
            return self.noted[-1]
        self.given += 1
        return self.noted[self.given - 1]


def _be_quiet(*_: object) -> None:
    """The exporter turns its log on as it begins, and prints the whole graph, thousands of lines,
    of a network that it cannot write: turned off again where it traces."""
    torch._C._jit_set_onnx_log_enabled(False)


def _write_graph(bundle: Bundle, path: Path, views: int) -> None:
    graph = make_graph(bundle, views)
    graph.register_forward_pre_hook(_be_quiet)
    squares = torch.zeros((2, bundle.size, bundle.size, 3), dtype=torch.uint8)
    # By tracing: the newer way of torch needs one package more and takes several times as long.
    with warnings.catch_warnings(), torch.no_grad(), _Resampled() as resampled:
        warnings.simplefilter("ignore")
        graph(squares)
        resampled.given = 0
        try:
            torch.onnx.export(
                graph,
                (squares,),
                str(path),
                input_names=[INPUT],
                output_names=list(OUTPUTS),
                dynamic_axes={name: {0: "batch"} for name in (INPUT, *OUTPUTS)},
                opset_version=_OPSET,
                dynamo=False,
            )
        except RuntimeError as error:  # OnnxExporterError is one, and so is what folding says
            reason = str(error).strip().partition("\n")[0]
            raise RecipeError(
                f"--to onnx: torch cannot write this backbone as ONNX ({reason}); --to openvino may"
            ) from error


def _add_facts(model: Any, bundle: Bundle, views: int) -> None:
    """Classes, thresholds and the rest inside the file as well: it may travel alone."""
    model.producer_name, model.model_version = "melanoma", bundle.version
    model.doc_string = describe(bundle, views=views)["disclaimer"]
    for key, value in describe(bundle, views=views).items():
        entry = model.metadata_props.add()
        entry.key, entry.value = key, value if isinstance(value, str) else json.dumps(value)


def _run(runtime: Any, path: Path, squares: Any) -> Floats:
    session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (by_member,) = session.run([OUTPUTS[1]], {INPUT: squares})
    probabilities: Floats = np.asarray(by_member, np.float64)
    return probabilities
