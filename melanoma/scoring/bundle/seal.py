"""Sealing a run: recipe, report, scores and golden score beside the weights, one manifest."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from melanoma.data.symmetries import VIEW_ORDER
from melanoma.evaluation.report.build import Report
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import Bundle, load_bundle, make_bundle
from melanoma.scoring.bundle.golden import golden_score
from melanoma.scoring.bundle.manifest import GOLDEN
from melanoma.scoring.bundle.novelty_file import NOVELTY, save_novelty
from melanoma.scoring.bundle.staging import commit
from melanoma.scoring.bundle.statement import make_statement
from melanoma.scoring.novelty import Novelty
from melanoma.storage import sha256_of, write_json, write_text, writing
from melanoma.training.run.run_folder import MODEL, FoldRun


def seal_bundle(
    folder: Path,
    stage: Path,
    recipe: Recipe,
    runs: Sequence[FoldRun],
    report: Report,
    novelty: Novelty | None = None,
) -> Bundle:
    """The bundle of the folds in `folder`, sealed with what is staged, and read again.

    `stage` holds oof.csv already, and whatever else goes along without a digest. `novelty` is the
    score that was fitted on the held-out images, if one was.
    """
    write_text(stage / "recipe.yaml", recipe.to_yaml())
    write_json(stage / "report.json", report.content.model_dump(mode="json"))
    digests = {name: sha256_of(stage / name) for name in ("recipe.yaml", "report.json", "oof.csv")}
    members = []
    for run in runs:
        file = f"{run.folder.name}/{MODEL}"
        digests[file] = sha256_of(folder / file)
        members.append({"fold": run.fold, "file": file, "prior_shift": run.facts.prior_shift})
    manifest = {
        **make_statement(recipe, report.content),
        "members": members,
        "decoder": runs[0].facts.decoder,
        "view_order": VIEW_ORDER,
        "sha256": digests,
    }
    add_golden(stage, manifest, make_bundle(folder, manifest, recipe, report.content))
    if novelty is not None:
        save_novelty(novelty, stage / NOVELTY)
        digests[NOVELTY] = sha256_of(stage / NOVELTY)
    commit(folder, stage, manifest)
    return load_bundle(folder)


def lay_report(folder: Path, stage: Path, recipe: Recipe, report: Report) -> None:
    """What is staged, the recipe and report.json into `folder`, without a bundle: no network of
    its own scores photographs."""
    write_text(stage / "recipe.yaml", recipe.to_yaml())
    write_json(stage / "report.json", report.content.model_dump(mode="json"))
    with writing(folder):
        for path in sorted(path for path in stage.rglob("*") if path.is_file()):
            target = folder / path.relative_to(stage)
            target.parent.mkdir(parents=True, exist_ok=True)
            path.replace(target)


def add_golden(stage: Path, manifest: dict[str, Any], draft: Bundle) -> None:
    """Write the golden score of a bundle that is not sealed yet, and name it in its manifest."""
    write_json(stage / GOLDEN, golden_score(draft).to_json())
    manifest["sha256"][GOLDEN] = sha256_of(stage / GOLDEN)
