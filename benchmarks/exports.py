"""The shipped bundle exported to all three formats, and scored by programs that know nothing of it.

    python -m benchmarks.exports IMAGES [--count 8]     # a folder of photographs

Each export is loaded in a process of its own in which neither melanoma nor api can be imported (nor
torch, for ONNX and OpenVINO), and scores photographs: by the folder's own score.py, by timm, and by
transformers where it is installed. timm gets the bundle's own squares, since it would shrink
photographs by another filter. The largest difference from the bundle's probabilities of any class
goes to results/benchmarks/exports.json; the exit code is 1 where it is above 1e-4.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.facts import run_facts
from benchmarks.shipped import WEIGHTS
from melanoma.data.images import decode_image
from melanoma.export import export
from melanoma.scoring.backends.backend_catalog import Engine
from melanoma.scoring.bundle.golden import open_scorer
from melanoma.scoring.scorer import Scorer
from melanoma.storage import write_json

OUT = Path("results/benchmarks/exports.json")
MOST_DIFFERENCE = 1e-4
APART = """
import runpy, sys
absent, script, sys.argv = sys.argv[1].split(","), sys.argv[2], sys.argv[2:]
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in absent:
            raise ImportError(name)
sys.meta_path.insert(0, Absent())
runpy.run_path(script, run_name="__main__")
"""
TIMM = """
import json, sys
import timm, torch
from PIL import Image
from timm.data import create_transform, resolve_model_data_config
folders, files = json.loads(sys.argv[1]), sys.argv[2:]
members = [timm.create_model(f"local-dir:{one}", pretrained=True).eval() for one in folders]
transform = create_transform(**resolve_model_data_config(members[0]))
for file in files:
    squares = transform(Image.open(file))[None]
    with torch.inference_mode():
        found = [one(squares).softmax(-1)[0] for one in members]
    print(json.dumps(torch.stack(found).mean(0).tolist()))
"""
TRANSFORMERS = """
import json, sys
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageClassification
folder, files = sys.argv[1], sys.argv[2:]
model = AutoModelForImageClassification.from_pretrained(folder).eval()
prepare = AutoImageProcessor.from_pretrained(folder)
for file in files:
    with torch.inference_mode():
        logits = model(**prepare(Image.open(file), return_tensors="pt")).logits
    print(json.dumps(logits.softmax(-1)[0].tolist()))
"""


def apart(script: Path, *given: str, absent: str = "melanoma,api") -> list[Any]:
    """What a script prints, a line of JSON each, where `absent` packages cannot be imported."""
    command = [sys.executable, "-c", APART, absent, str(script), *given]
    quiet = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, cwd=script.parent, env=quiet, check=True
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def write_script(folder: Path, name: str, text: str) -> Path:
    (folder / name).write_text(text)
    return folder / name


def largest(answers: Sequence[Sequence[float]], expected: np.ndarray) -> float:
    return float(np.abs(np.asarray(answers) - expected).max())


def as_squares(scorer: Scorer, files: Sequence[Path], folder: Path) -> list[str]:
    """The squares that the bundle scores, as files without loss."""
    found = []
    for file in files:
        square = scorer.square(decode_image(file.read_bytes()).pixels)
        found.append(str(folder / f"{file.stem}.png"))
        Image.fromarray(square).save(found[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("images", type=Path)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--count", type=int, default=8)
    parser.add_argument("--out", type=Path, default=OUT)
    options = parser.parse_args()
    files = sorted(options.images.resolve().rglob("*.jpg"))
    files = files[:: max(1, len(files) // options.count)][: options.count]
    found: dict[str, Any] = {"photographs": len(files)}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        scorer = open_scorer(options.weights, engine=Engine("torch"))
        scores = [scorer.score(file.read_bytes()).by_class for file in files]
        expected = np.array([[one[c] for c in scorer.bundle.classes] for one in scores])
        for to in ("onnx", "openvino"):
            export(folder / to, to, weights=options.weights)
            script, given = folder / to / "score.py", list(map(str, files))
            answers = apart(script, *given, absent="melanoma,api,torch")
            rows = [list(one["by_class"].values()) for one in answers]
            found[f"largest_difference_{to}"] = largest(rows, expected)

        hub = folder / "huggingface"
        export(hub, "huggingface", weights=options.weights)
        squares = as_squares(scorer, files, folder)
        pixels = np.stack([np.asarray(Image.open(one)) for one in squares])
        plain = open_scorer(options.weights, views=1, engine=Engine("torch"))
        by_member = plain.member_probabilities(pixels)
        members = json.dumps([str(hub / f"fold_{n}") for n in plain.members.folds])
        rows = apart(write_script(folder, "by_timm.py", TIMM), members, *squares)
        found["largest_difference_timm"] = largest(rows, by_member.mean(axis=1))
        if importlib.util.find_spec("transformers"):
            script = write_script(folder, "by_transformers.py", TRANSFORMERS)
            rows = apart(script, str(hub), *squares)
            found["largest_difference_transformers_first_member"] = largest(rows, by_member[:, 0])
    write_json(options.out, {**run_facts("exports"), **found})
    print(found)
    return int(max(v for k, v in found.items() if k.startswith("largest")) > MOST_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
