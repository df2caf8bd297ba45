"""A bundle is whole and its own, or it is refused with the file and the reason."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from melanoma.data.images import DECODER_VERSION
from melanoma.errors import WeightsError
from melanoma.models.classifier import make_classifier
from melanoma.scoring.bundle import manifest as checks
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.storage import sha256_of

pytestmark = pytest.mark.slow  # together they take many seconds

FILES = (
    "recipe.yaml",
    "report.json",
    "oof.csv",
    "fold_0/model.safetensors",
    "fold_1/model.safetensors",
    "golden.json",
)


def _replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def _edit_manifest(folder: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    edit(manifest)
    _replace(path, json.dumps(manifest).encode())


def _refusal(folder: Path) -> str:
    with pytest.raises(WeightsError) as refusal:
        Scorer(load_bundle(folder))
    assert refusal.value.exit_code == 5
    line = str(refusal.value)
    assert "\n" not in line
    return line


def test_a_bundle_says_what_its_recipe_and_report_say(trained: Any) -> None:
    bundle, recipe = load_bundle(trained.folder), trained.recipe
    assert (bundle.name, bundle.backbone, bundle.classes) == (
        recipe.name,
        recipe.model.backbone,
        recipe.classes,
    )
    assert (bundle.size, bundle.fit, bundle.normalize, bundle.views) == (
        recipe.image.size,
        recipe.image.fit,
        recipe.image.normalize,
        recipe.evaluation.views,
    )
    report = json.loads((trained.folder / "report.json").read_text())
    assert bundle.calibration.slope == report["calibration"]["slope"]
    assert bundle.threshold.value == report["thresholds"][0]["value"]
    shifts = report["calibration"]["prior_shift"]
    assert {str(m.fold): m.prior_shift for m in bundle.members} == shifts
    assert all(shift > 1 for shift in shifts.values())  # 15 % of positives: ln(N0/N1) is 1.7


def test_the_manifest_vouches_for_every_file_but_itself(trained: Any) -> None:
    manifest = json.loads((trained.folder / "manifest.json").read_text())
    assert set(manifest["sha256"]) == set(FILES)
    for file, digest in manifest["sha256"].items():
        assert sha256_of(trained.folder / file) == digest


def test_the_decoder_of_the_training_is_stated(trained: Any, copied: Path) -> None:
    manifest = json.loads((trained.folder / "manifest.json").read_text())
    assert manifest["decoder"] == load_bundle(trained.folder).decoder == DECODER_VERSION
    _edit_manifest(copied, lambda m: m.pop("decoder"))
    assert load_bundle(copied).decoder == 1  # sealed before there were versions


def test_a_bundle_of_two_views_that_were_a_mirror_image_is_refused(copied: Path) -> None:
    def scored_otherwise(manifest: dict[str, Any]) -> None:
        manifest["preprocessing"]["views"] = 2
        del manifest["view_order"]

    _edit_manifest(copied, scored_otherwise)
    assert "2 views were mirror images" in _refusal(copied)


@pytest.mark.parametrize(
    "edit", [lambda m: m.update(decoder=DECODER_VERSION + 1), lambda m: m.update(decodes=2)]
)
def test_a_newer_decoder_and_an_unknown_key_are_refused(edit: Any, copied: Path) -> None:
    _edit_manifest(copied, edit)
    assert "decode" in _refusal(copied)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9999])
@pytest.mark.parametrize("file", FILES)
def test_a_flipped_byte_is_refused_with_the_file_and_both_digests(
    file: str, share: float, copied: Path
) -> None:
    path = copied / file
    expected, data = sha256_of(path), bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 1
    _replace(path, bytes(data))
    line = _refusal(copied)
    assert str(path) in line
    assert expected in line
    assert sha256_of(path) in line


def test_no_flipped_byte_of_the_manifest_goes_unnoticed(
    copied: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No other file changes, so each is read once.
    monkeypatch.setattr(checks, "sha256_of", cache(sha256_of))
    path = copied / "manifest.json"
    whole = path.read_bytes()
    bundle = load_bundle(copied)
    # Numbers and names alike; blank space between them says nothing.
    places = [match.start() for match in re.finditer(rb"[^\s]", whole)][::15]
    refused = 0
    for place in places:
        data = bytearray(whole)
        data[place] ^= 1
        _replace(path, bytes(data))
        try:
            found = load_bundle(copied)
        except WeightsError:
            refused += 1
        else:
            # The seventeenth digit of a number may change nothing.
            assert replace(found, manifest_sha256=bundle.manifest_sha256) == bundle
    assert refused > 0.95 * len(places)


@pytest.mark.parametrize("file", FILES)
def test_a_missing_file_is_named(file: str, copied: Path) -> None:
    (copied / file).unlink()
    assert _refusal(copied) == f"{copied / file} is missing; it belongs to the bundle"


def test_a_folder_without_a_manifest_says_what_makes_one(copied: Path) -> None:
    (copied / "manifest.json").unlink()
    line = _refusal(copied)
    assert "no bundle in" in line
    assert line.endswith("python -m melanoma.evaluate seals it")


def test_the_bundles_beside_an_absent_one_are_named(copied: Path) -> None:
    line = _refusal(copied.parent / "siim_seresnext50")
    assert line.endswith(f"; or --weights with one that is there: {copied}")


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '"text"', "{}", '{"format": 3}'])
def test_a_manifest_that_is_none_is_refused(text: str, copied: Path) -> None:
    _replace(copied / "manifest.json", text.encode())
    assert "manifest.json" in _refusal(copied)


def test_a_manifest_of_another_format_is_refused(copied: Path) -> None:
    _edit_manifest(copied, lambda m: m.update(format="melanoma-bundle/9"))
    assert "format melanoma-bundle/9, this version reads melanoma-bundle/2" in _refusal(copied)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m.update(sha256=[]),
        lambda m: m.update(sha256={**m["sha256"], "oof.csv": 3}),
        lambda m: m.update(members=[{"fold": 0}]),
        lambda m: m.update(members=[]),
        lambda m: m.pop("calibration"),
        lambda m: m["preprocessing"].update(blur=1),
    ],
)
def test_a_manifest_of_another_shape_is_refused(edit: Any, copied: Path) -> None:
    _edit_manifest(copied, edit)
    _refusal(copied)


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda m: m["calibration"].update(slope=9.0), "calibration.slope"),
        (lambda m: m["thresholds"][0].update(value=0.5), "thresholds"),
        (
            lambda m: m["threshold_intervals"][0]["sensitivity"].update(low=0.0),
            "threshold_intervals",
        ),
        (lambda m: m.update(melanoma=["benign"]), "melanoma"),
        (lambda m: m.update(outputs=2), "outputs"),
        (lambda m: m["preprocessing"].update(normalize="half"), "preprocessing.normalize"),
        (lambda m: m["members"][0].update(prior_shift=0.0), "prior_shift.0"),
        (lambda m: m.update(members=m["members"][:1]), "prior_shift.1"),
        (lambda m: m.update(classes=["melanoma", "benign"]), "classes"),
    ],
)
def test_a_number_that_only_the_manifest_has_is_refused(
    edit: Any, field: str, copied: Path
) -> None:
    _edit_manifest(copied, edit)
    line = _refusal(copied)
    assert field in line
    assert "differs from recipe.yaml and report.json" in line


def test_a_path_out_of_the_folder_is_refused_whoever_names_it(copied: Path) -> None:
    outside = copied.parent / "outside.safetensors"
    shutil.copy(copied / "fold_0/model.safetensors", outside)
    name = "../outside.safetensors"
    _edit_manifest(copied, lambda m: m["members"][0].update(file=name))
    assert "states no sha256 of ../outside.safetensors" in _refusal(copied)
    _edit_manifest(copied, lambda m: m["sha256"].update({name: sha256_of(outside)}))
    assert "names a file outside its folder" in _refusal(copied)
    _edit_manifest(copied, lambda m: m["sha256"].pop(name))
    _edit_manifest(copied, lambda m: m["sha256"].update({str(outside): sha256_of(outside)}))
    assert "names a file outside its folder" in _refusal(copied)


def test_a_file_that_nothing_vouches_for_is_not_loaded(copied: Path) -> None:
    for file in ("fold_1/model.safetensors", "report.json", "recipe.yaml"):
        manifest = (copied / "manifest.json").read_bytes()
        _edit_manifest(copied, lambda m, file=file: m["sha256"].pop(file))
        assert f"states no sha256 of {file}" in _refusal(copied)
        _replace(copied / "manifest.json", manifest)


def _reseal(folder: Path, weights: dict[str, torch.Tensor]) -> None:
    """Other weights for fold 1, and a manifest that vouches for them."""
    path = folder / "fold_1/model.safetensors"
    path.unlink()
    save_file(weights, path)
    _edit_manifest(
        folder, lambda m: m["sha256"].update({"fold_1/model.safetensors": sha256_of(path)})
    )


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_weights_that_are_not_finite_are_refused_although_vouched_for(
    value: float, copied: Path
) -> None:
    weights = load_file(copied / "fold_1/model.safetensors")
    weights["backbone.layer3.0.bn1.running_var"][7] = value
    _reseal(copied, weights)
    assert "fold_1/model.safetensors holds weights that are not finite" in _refusal(copied)


def test_another_network_s_weights_are_refused_although_vouched_for(copied: Path) -> None:
    _reseal(copied, make_classifier("mobilenet_v2", outputs=1).state_dict())
    assert "fold_1/model.safetensors does not hold a tiny_resnet" in _refusal(copied)


@pytest.mark.parametrize("backbone", ["resnet999", "timm:nosuch"])
def test_a_bundle_of_a_backbone_that_is_not_known_here_is_refused_by_its_folder(
    backbone: str, trained: Any
) -> None:
    """Of several that are served, the line must say which."""
    file = trained.folder / "fold_0/model.safetensors"
    bundle = replace(load_bundle(trained.folder), backbone=backbone)
    with pytest.raises(WeightsError) as refusal:
        Scorer(bundle)
    assert str(refusal.value).startswith(f"{file} holds a {backbone}, which is not known here (")


def test_the_digest_is_the_manifest_s_and_changes_with_any_file(copied: Path) -> None:
    before = load_bundle(copied).digest
    weights = load_file(copied / "fold_1/model.safetensors")
    weights["head.bias"] += 1e-3
    _reseal(copied, weights)
    assert load_bundle(copied).digest != before


def test_the_manifest_holds_each_threshold_s_interval(trained: Any) -> None:
    manifest = json.loads((trained.folder / "manifest.json").read_text())
    report = json.loads((trained.folder / "report.json").read_text())
    assert [point["at"] for point in manifest["threshold_intervals"]] == [
        point["at"] for point in manifest["thresholds"]
    ]
    for found, stated in zip(manifest["threshold_intervals"], report["thresholds"], strict=True):
        assert found["sensitivity"] == stated["sensitivity"]
        assert found["specificity"] == stated["specificity"]
        assert found["specificity"]["low"] < found["specificity"]["high"]
    assert load_bundle(trained.folder).manifest_sha256 == sha256_of(
        trained.folder / "manifest.json"
    )


def test_a_bundle_from_before_intervals_and_curve_is_loaded(copied: Path) -> None:
    report = json.loads((copied / "report.json").read_text())
    del report["operating_curve"]
    (copied / "report.json").unlink()
    (copied / "report.json").write_text(json.dumps(report))

    def older(manifest: dict[str, Any]) -> None:
        del manifest["threshold_intervals"]
        manifest["sha256"]["report.json"] = sha256_of(copied / "report.json")

    _edit_manifest(copied, older)
    bundle = load_bundle(copied)
    assert bundle.curve is None
    # Its report has the intervals all the same.
    assert asdict(bundle.points[0])["sensitivity"] == report["thresholds"][0]["sensitivity"]
