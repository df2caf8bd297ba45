"""Bundle: everything that a score depends on, in one folder, under one sha256 manifest."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml
from scipy.special import expit, logit

from melanoma.errors import RecipeError, WeightsError
from melanoma.evaluation.calibration import Calibration
from melanoma.evaluation.operating_points import Threshold
from melanoma.evaluation.prevalence import retarget_calibration
from melanoma.recipe import Head, Recipe, differences, make_recipe
from melanoma.scoring.staging import MANIFEST, finish_sealing
from melanoma.storage import copy_file, digest_of, new_folder, sha256_of, write_json

FORMAT = "melanoma-bundle/2"
GOLDEN = "golden.json"  # what melanoma.scoring.golden makes
LICENSE = "LICENSE.md"  # melanoma.scoring.shipping puts it there, by --note


@dataclass(frozen=True)
class Member:
    """One fold's weights and the shift of its logits: a number, or one a class."""

    fold: int
    file: Path
    prior_shift: float | tuple[float, ...]


@dataclass(frozen=True)
class Bundle:
    """K members, the preprocessing that they saw, calibration and thresholds.

    `melanoma` names the classes that count towards the melanoma probability. Where it names none,
    there are no thresholds either. `digest` is the sha256 of the manifest, and so of everything.
    `golden` is the score of the golden image, which a service gives again before it is ready.
    `license` is the text of LICENSE.md, where one came along.
    """

    folder: Path
    name: str
    version: int
    digest: str
    backbone: str
    classes: tuple[str, ...]
    melanoma: tuple[str, ...]
    outputs: int
    size: int
    fit: str
    normalize: str
    views: int
    folds_expected: int
    members: tuple[Member, ...]
    calibration: Calibration
    thresholds: tuple[Threshold, ...]
    report: dict[str, Any]
    head: Head | None = None
    golden: dict[str, Any] | None = None
    license: str | None = None

    @property
    def threshold(self) -> Threshold | None:
        """The operating point that flags."""
        return self.thresholds[0] if self.thresholds else None


def make_statement(recipe: Recipe, report: dict[str, Any]) -> dict[str, Any]:
    """What the manifest repeats of recipe.yaml and report.json, as JSON has it."""
    statement = {
        "format": FORMAT,
        "name": recipe.name,
        "version": recipe.version,
        "backbone": recipe.model.backbone,
        # Left out where there is none: bundles from before there was one stay as they are.
        **({"head": recipe.model.head.model_dump()} if recipe.model.head else {}),
        "classes": recipe.classes,
        "melanoma": recipe.melanoma,
        "outputs": recipe.outputs,
        "preprocessing": {
            "size": recipe.image.size,
            "fit": recipe.image.fit,
            "normalize": recipe.image.normalize,
            "views": recipe.evaluation.views,
        },
        "folds_expected": report["folds_expected"],
        **served_numbers(report, recipe),
    }
    plain: dict[str, Any] = json.loads(json.dumps(statement))
    return plain


def served_numbers(report: dict[str, Any], recipe: Recipe) -> dict[str, Any]:
    """Calibration and thresholds: the report's, or moved to the prevalence that it was asked for.

    The thresholds move with the probabilities, so the same images are flagged.
    """
    fields = ("slope", "intercept", "prevalence", "method")
    stated = {key: report["calibration"][key] for key in fields}
    shares = tuple(report["calibration"]["class_prevalence"].values())
    calibration = Calibration(**stated, class_prevalence=shares)
    points = [Threshold(point["value"], point["at"]) for point in report["thresholds"]]
    elsewhere, fit = report["retargeted"], report["recalibrated"]
    if elsewhere:
        numbers = [recipe.classes.index(name) for name in recipe.melanoma]
        calibration = retarget_calibration(calibration, numbers, wanted=elsewhere["prevalence"])
        points = [Threshold(point["value"], point["at"]) for point in elsewhere["thresholds"]]
    if fit:
        calibration, points = recalibrate(
            calibration,
            points,
            slope=fit["slope"],
            intercept=fit["intercept"],
            prevalence=fit["prevalence"],
        )
    return {
        "calibration": asdict(calibration),
        "thresholds": [asdict(point) for point in points],
    }


def recalibrate(
    calibration: Calibration,
    points: Sequence[Threshold],
    *,
    slope: float,
    intercept: float,
    prevalence: float,
) -> tuple[Calibration, list[Threshold]]:
    """Both followed by p -> sigmoid(slope * logit(p) + intercept). Raises RecipeError where there
    are more than two classes."""
    if isinstance(calibration.intercept, tuple):
        raise RecipeError("recalibration on an external set is for bundles of two classes")
    moved = replace(
        calibration,
        slope=slope * calibration.slope,
        intercept=slope * calibration.intercept + intercept,
        prevalence=prevalence,
        class_prevalence=(1 - prevalence, prevalence),
    )
    return moved, [
        Threshold(float(expit(slope * logit(point.value) + intercept)), point.at)
        for point in points
    ]


def seal_recalibrated(
    bundle: Bundle, folder: Path, recipe: Recipe, external: dict[str, Any]
) -> Bundle:
    """A copy of the bundle in `folder`, its probabilities moved by the external set's fit.

    Raises RecipeError where there is no fit, or more than two classes; StorageError in use.
    """
    fit = external["recalibration"]
    if fit is None or bundle.outputs != 1:
        raise RecipeError("--recalibrate: it needs two classes, and images of both in the set")
    report = {
        **bundle.report,
        "recalibrated": {
            "external": external["recipe"],
            **{key: fit[key] for key in ("slope", "intercept", "prevalence")},
        },
    }
    manifest = json.loads((bundle.folder / MANIFEST).read_text())
    with new_folder(folder) as stage:
        for file in manifest["sha256"]:
            copy_file(bundle.folder / file, stage / file)
        write_json(stage / "report.json", report)
        digests = {**manifest["sha256"], "report.json": sha256_of(stage / "report.json")}
        stated = make_statement(recipe, report)
        write_json(stage / MANIFEST, {**manifest, **stated, "sha256": digests})
    return load_bundle(folder)


def load_bundle(folder: Path) -> Bundle:
    """The bundle in `folder`, every file's sha256 verified.

    Raises WeightsError naming the file and both digests when one differs, and saying what to do
    when there is no bundle.
    """
    finish_sealing(folder)
    path = folder / MANIFEST
    if not path.is_file():
        beside = sorted(str(p.parent) for p in folder.parent.glob(f"*/{MANIFEST}"))
        raise WeightsError(
            f"no bundle in {folder} ({MANIFEST} is missing); train all folds, then "
            "python -m melanoma.evaluate seals it"
            + (f"; or --weights with one that is there: {', '.join(beside)}" if beside else "")
        )
    try:
        manifest = json.loads(path.read_bytes())
        if manifest["format"] != FORMAT:
            raise WeightsError(f"{path}: format {manifest['format']}, this version reads {FORMAT}")
        _verify(folder, manifest["sha256"])
        report = json.loads((folder / "report.json").read_text())
        _require_agreement(folder, manifest, report)
        return read_manifest(folder, manifest, report)
    except (
        ValueError,
        KeyError,
        TypeError,
        AttributeError,
        RecipeError,
        yaml.YAMLError,
    ) as error:
        raise WeightsError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def _verify(folder: Path, expected: dict[str, str]) -> None:
    for file, digest in expected.items():
        path = folder / file
        if not path.resolve().is_relative_to(folder.resolve()):
            raise WeightsError(f"{folder / MANIFEST} names a file outside its folder")
        if not path.is_file():
            raise WeightsError(f"{path} is missing; it belongs to the bundle")
        found = sha256_of(path)
        if found != digest:
            raise WeightsError(f"{path}: sha256 mismatch (manifest {digest}, file {found})")


def _require_agreement(folder: Path, manifest: dict[str, Any], report: dict[str, Any]) -> None:
    """Nothing vouches for the manifest itself; the files that it vouches for repeat its numbers."""
    path = folder / MANIFEST
    if not manifest["members"]:
        raise WeightsError(f"{path} has no members")
    for file in ("recipe.yaml", "report.json", *(m["file"] for m in manifest["members"])):
        if file not in manifest["sha256"]:
            raise WeightsError(f"{path} states no sha256 of {file}")
    if GOLDEN not in manifest["sha256"]:
        raise WeightsError(
            f"{path} has no golden score, by which a service knows that it scores as was "
            "evaluated; seal the bundle again with python -m melanoma.evaluate"
        )
    recipe = make_recipe(yaml.safe_load((folder / "recipe.yaml").read_text()))
    stated = make_statement(recipe, report)
    found = differences({key: manifest[key] for key in stated}, stated)
    shifts = {str(m["fold"]): m["prior_shift"] for m in manifest["members"]}
    found += differences(shifts, report["calibration"]["prior_shift"], "prior_shift.")
    if found:
        raise WeightsError(
            f"{path} is damaged: it differs from recipe.yaml and report.json ({'; '.join(found)})"
        )


def read_manifest(folder: Path, manifest: dict[str, Any], report: dict[str, Any]) -> Bundle:
    members = tuple(
        Member(m["fold"], folder / m["file"], _shift(m["prior_shift"])) for m in manifest["members"]
    )
    return Bundle(
        folder,
        manifest["name"],
        manifest["version"],
        digest_of(manifest),
        manifest["backbone"],
        tuple(manifest["classes"]),
        tuple(manifest["melanoma"]),
        manifest["outputs"],
        **manifest["preprocessing"],
        folds_expected=manifest["folds_expected"],
        members=members,
        calibration=Calibration(**manifest["calibration"]),
        thresholds=tuple(Threshold(**point) for point in manifest["thresholds"]),
        report=report,
        head=Head(**manifest["head"]) if "head" in manifest else None,
        golden=json.loads((folder / GOLDEN).read_text()) if GOLDEN in manifest["sha256"] else None,
        license=(folder / LICENSE).read_text("utf-8") if LICENSE in manifest["sha256"] else None,
    )


def _shift(value: float | list[float]) -> float | tuple[float, ...]:
    return tuple(value) if isinstance(value, list) else value
