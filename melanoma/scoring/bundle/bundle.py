"""Bundle: everything that a score depends on, in one folder, under one sha256 manifest."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from melanoma.data.symmetries import require_view_order
from melanoma.errors import RecipeError, WeightsError
from melanoma.evaluation.calibration import Calibration
from melanoma.evaluation.measure.operating_points import Threshold
from melanoma.evaluation.measure.other_cancer import OtherCancer
from melanoma.evaluation.measure.prediction_sets import SetRule
from melanoma.evaluation.prevalence import Move
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_patients import ContextStack
from melanoma.evaluation.report.schema_points import NearScores, OperatingCurve
from melanoma.evaluation.report.schema_quality import QualityLimits
from melanoma.evaluation.score_spread import require_slope
from melanoma.recipe.recipe import Recipe
from melanoma.recipe.sections import Head, ImageType, Risk
from melanoma.scoring.bundle.context import served_context
from melanoma.scoring.bundle.manifest import (
    GOLDEN,
    GoldenScore,
    read_golden,
    require_members,
    verify_digests,
)
from melanoma.scoring.bundle.novelty_file import NOVELTY, load_novelty
from melanoma.scoring.bundle.operating import (
    SealedInterval,
    ServedPoint,
    sealed_intervals,
    served_curve,
    served_near_scores,
)
from melanoma.scoring.bundle.served_numbers import served_numbers
from melanoma.scoring.bundle.staging import MANIFEST, finish_sealing
from melanoma.scoring.bundle.statement import FORMAT, require_agreement
from melanoma.scoring.novelty import Novelty
from melanoma.storage import digest_of, read_file, sha256_of
from melanoma.types import Floats

if TYPE_CHECKING:
    from melanoma.data.transforms import Normalize

_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)
LICENSE = "LICENSE.md"  # melanoma.scoring.bundle.shipped_copy puts it there, by --note or of a copy


@dataclass(frozen=True)
class Member:
    """One fold's weights, their sha256, and the shift of its logits: a number, or one a class."""

    fold: int
    file: Path
    prior_shift: float | tuple[float, ...]
    sha256: str = ""


@dataclass(frozen=True)
class Bundle:
    """K members, the preprocessing that they saw, calibration and thresholds.

    `melanoma` names the classes that count towards the melanoma probability. Where it names none,
    there are no thresholds either. `digest` is the sha256 of the manifest, and so of everything.
    `golden` is the score of the golden image, which a service gives again before it is ready.
    `seeds` counts the networks of a member, whose logits are averaged.
    `risk` is how grave each class is, empty where the recipe does not say; `other_cancer` tells of
    the malignant ones that are no melanoma. `license` is LICENSE.md's text. `intervals` say what
    each threshold reaches, `curve` what any other does, `sets` which classes an image may be and
    `near_scores` what lesions of about a score were (None or empty of a bundle from before).
    `manifest_sha256` is of the manifest's file as sha256sum gives it; `digest` is of its content,
    whatever its spaces. `decoder` is the version that read the training's images, None where that
    was another program. `phantoms` says that it was trained on drawings, on no photograph.
    `quality` is what a photograph must reach to be scored, None of a bundle that judges none.
    `novelty` scores how unlike the training's photographs a picture is; None
    of a bundle that was sealed without.
    `context` is the stack of a patient's other lesions, None where none was shown to help.
    `move` brings the members' mean to another prevalence, or to a fit on another set; the
    thresholds, the curve and what lesions of about a score were are moved already.
    `recipe` is recipe.yaml as it was verified, None of a bundle that is of no folder.
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
    normalize: Normalize
    views: int
    folds_expected: int
    members: tuple[Member, ...]
    calibration: Calibration
    thresholds: tuple[Threshold, ...]
    report: ReportContent
    head: Head | None = None
    seeds: int = 1
    golden: GoldenScore | None = None
    license: str | None = None
    other_cancer: OtherCancer | None = None
    risk: Mapping[str, Risk] = field(default_factory=dict)
    decoder: int | None = 1  # bundles that do not say it are older than the second version
    intervals: tuple[SealedInterval, ...] = ()
    curve: OperatingCurve | None = None
    sets: SetRule | None = None
    near_scores: tuple[NearScores, ...] = ()
    manifest_sha256: str = ""
    phantoms: bool = False
    quality: QualityLimits | None = None
    image_type: ImageType = "any"
    novelty: Novelty | None = None
    context: ContextStack | None = None
    move: Move | None = None
    recipe: Recipe | None = field(default=None, repr=False)

    @property
    def melanoma_columns(self) -> list[int]:
        """The numbers of the classes that count as melanoma."""
        return [self.classes.index(name) for name in self.melanoma]

    @property
    def prevalence(self) -> float | None:
        """The share of melanomas that an answer's probabilities refer to; None without melanoma."""
        return self.move.prevalence if self.move else self.calibration.prevalence

    @property
    def class_prevalence(self) -> tuple[float, ...]:
        """The same of every class."""
        shares = self.calibration.class_prevalence
        return self.move.priors(shares, self.melanoma_columns) if self.move else shares

    def served(self, by_class: Floats) -> Floats:
        """(..., C) calibrated probabilities as an answer has them: moved, where the bundle is."""
        return self.move.shares(by_class, self.melanoma_columns) if self.move else by_class

    @property
    def threshold(self) -> Threshold | None:
        """The operating point that flags."""
        return self.thresholds[0] if self.thresholds else None

    @property
    def is_calibrated(self) -> bool:
        """Whether its calibration was seen to help, out of fold or on the set it was moved to."""
        return self.report.recalibrated is not None or self.report.calibration.helps

    @property
    def points(self) -> list[ServedPoint]:
        """The operating points as an answer has them."""
        reached = {one.at: (one.sensitivity, one.specificity) for one in self.intervals}
        return [ServedPoint(p.value, p.at, *reached.get(p.at, ())) for p in self.thresholds]


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
        manifest = json.loads(read_file(path))
        if manifest["format"] != FORMAT:
            raise WeightsError(f"{path}: format {manifest['format']}, this version reads {FORMAT}")
        verify_digests(path, manifest["sha256"])
        require_members(path, manifest)
        order, views = manifest.get("view_order", 1), manifest["preprocessing"]["views"]
        require_view_order(order, views, str(folder))
        report = ReportContent.model_validate_json((folder / "report.json").read_bytes())
        recipe = require_agreement(folder, manifest, report)
        require_slope(manifest["calibration"]["slope"], what=str(path))
        return make_bundle(folder, manifest, recipe, report)
    except (*_UNREADABLE, RecipeError, yaml.YAMLError) as error:
        raise WeightsError(f"{path} is damaged ({type(error).__name__}: {error})") from error


def make_bundle(
    folder: Path, manifest: dict[str, Any], recipe: Recipe, report: ReportContent
) -> Bundle:
    """The files and digests that the manifest states; all else is the recipe's and the report's,
    which the manifest repeats."""
    members = tuple(
        Member(
            m["fold"], folder / m["file"], _shift(m["prior_shift"]), manifest["sha256"][m["file"]]
        )
        for m in manifest["members"]
    )
    sealed, stated = manifest["sha256"], folder / MANIFEST
    return Bundle(
        folder,
        recipe.name,
        recipe.version,
        digest_of(manifest),
        recipe.model.backbone,
        recipe.classes,
        recipe.melanoma,
        recipe.outputs,
        size=recipe.image.size,
        fit=recipe.image.fit,
        normalize=recipe.image.normalize,
        views=recipe.evaluation.views,
        folds_expected=report.folds_expected,
        members=members,
        report=report,
        risk=recipe.risk,
        image_type=recipe.image_type,
        quality=report.quality.limits if report.quality else None,
        near_scores=served_near_scores(report),
        head=recipe.model.head,
        seeds=len(recipe.seeds) or 1,
        decoder=manifest.get("decoder", 1),
        intervals=sealed_intervals(report),
        curve=served_curve(report),
        context=served_context(report),
        manifest_sha256=sha256_of(stated) if stated.is_file() else "",
        golden=read_golden(folder / GOLDEN) if GOLDEN in sealed else None,
        novelty=load_novelty(folder / NOVELTY, [member.fold for member in members])
        if NOVELTY in sealed
        else None,
        license=(folder / LICENSE).read_text("utf-8") if LICENSE in sealed else None,
        phantoms=recipe.data.phantoms,
        recipe=recipe,
        **vars(served_numbers(report)),
    )


def _shift(value: float | list[float]) -> float | tuple[float, ...]:
    return tuple(value) if isinstance(value, list) else value
