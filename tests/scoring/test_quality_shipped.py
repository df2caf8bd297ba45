"""The shipped bundle judges photographs by what its benchmark measured."""

import json

from benchmarks.shipped import ROOT
from benchmarks.shipped import WEIGHTS as SHIPPED
from melanoma.scoring.bundle.bundle import load_bundle


def test_the_shipped_bundle_has_the_limits_of_the_benchmark():
    measured = json.loads((ROOT / "results" / "benchmarks" / "quality.json").read_text())
    bundle = load_bundle(SHIPPED)
    assert bundle.quality is not None
    assert bundle.quality.model_dump() == measured["limits"]
    assert bundle.report.quality.stopped <= 0.02
    caught = {line.name: (line.caught, line.fell) for line in bundle.report.quality.spoiled}
    stopped, fell = caught["Gaussian blur of 16 px"]
    assert fell >= 40 and stopped >= 0.9 * fell


def test_the_shipped_bundle_is_for_dermatoscope_pictures_only():
    assert load_bundle(SHIPPED).image_type == "dermatoscope"
    measured = json.loads((ROOT / "results" / "benchmarks" / "novelty.json").read_text())
    classes = measured["summary"]["by_class"]
    called = [one for one in classes if one["novel"] > 0.05 * one["images"]]
    assert "vascular lesion" in [one["name"] for one in called]
    for name in ("MODEL_CARD.md", "report.html"):
        told = (SHIPPED / name).read_text()
        assert "Dermatoscope pictures only" in told, name
        # Whatever phone photographs were tried, and what the gates stop wholesale, is told.
        assert "79 phone photographs" in told, name
        for one in called:
            assert f"{one['name']} {one['novel']} of {one['images']}" in told, name
        assert "ISIC 2017, whole frames squashed 287 of 2,150" in told, name
        assert "without its own fold" in told or "held out from its own limits" in told, name


def test_the_shipped_report_repeats_the_benchmark_of_phone_photographs():
    measured = json.loads((ROOT / "results" / "benchmarks" / "smartphone.json").read_text())
    told = load_bundle(SHIPPED).report.phones
    assert told is not None
    assert told.model_dump() == {name: measured[name] for name in type(told).model_fields}
    assert 0 <= measured["images"] - told.refused == sum(measured["left"].values())
