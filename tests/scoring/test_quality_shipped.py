"""The shipped bundle judges photographs by what its benchmark measured."""

import json
from pathlib import Path

from melanoma.scoring.bundle.bundle import load_bundle

ROOT = Path(__file__).resolve().parents[2]


def test_the_shipped_bundle_has_the_limits_of_the_benchmark():
    measured = json.loads((ROOT / "results" / "benchmarks" / "quality.json").read_text())
    bundle = load_bundle(ROOT / "weights" / "ham10000_mobilenet")
    assert bundle.quality is not None
    assert bundle.quality.model_dump() == measured["limits"]
    assert bundle.report.quality.stopped <= 0.02
    caught = {line.name: (line.caught, line.fell) for line in bundle.report.quality.spoiled}
    stopped, fell = caught["Gaussian blur of 16 px"]
    assert stopped >= 0.9 * fell > 50


def test_the_shipped_bundle_is_for_dermatoscope_pictures_only():
    folder = ROOT / "weights" / "ham10000_mobilenet"
    assert load_bundle(folder).image_type == "dermatoscope"
    assert "Dermatoscope pictures only" in (folder / "MODEL_CARD.md").read_text()
