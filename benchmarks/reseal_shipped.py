"""What benchmarks found of the shipped model, put into its report, card and manifest.

    python -m benchmarks.second_edition --work DIR --publish    # the run's results, and its bundle
    python -m benchmarks.reseal_shipped [--left-out DIR/weights/without_SOURCE ...]

From results/benchmarks: the limits of a photograph's quality, measured on whole photographs
instead of squares, and what they catch (quality.json), the novelty score with what it says of other
pictures (novelty.json), what becomes of phone photographs (smartphone.json), what bfloat16 changes
(bfloat16.json), and what a context stack gave on another set's patients (patient.json); from its
own scores in results/ what of a calibration error is chance. What is warned of in results on other
sets, and in their reports, is said in today's words. With
--left-out what the same training reached elsewhere without a source, of a run that
benchmarks/second_edition.py trained and scored anew. No other number changes, and no weights.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from benchmarks.shipped import RESULTS, WEIGHTS
from benchmarks.shipped_parts import (
    bfloat16,
    calibration,
    novelty,
    patients,
    phones,
    picture_quality,
    sources,
)
from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.report.assemble import with_words
from melanoma.evaluation.report.pseudonyms import without_names
from melanoma.evaluation.report.schema import ReportContent
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.bundle.novelty_file import NOVELTY
from melanoma.scoring.bundle.staging import MANIFEST
from melanoma.scoring.bundle.statement import restated
from melanoma.storage import sha256_of, write_json, write_text
from melanoma.workflows.left_out import left_out_results


def main() -> None:
    """Write both reports and cards, and the bundle's manifest."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--left-out", type=Path, action="append", default=[], help="repeatable")
    given = parser.parse_args()
    recipe = load_recipe(WEIGHTS / "recipe.yaml")
    content = ReportContent.model_validate_json((RESULTS / "report.json").read_bytes())
    # By the set: the run that stood for it may have lacked more sources, or fewer. A set whose
    # labels the teacher had learned is no elsewhere; results/ keeps it by itself.
    elsewhere = {one.name: one for one in content.external_results if one.without}
    elsewhere |= {one.name: one for one in left_out_results(recipe, given.left_out)}
    told = retell(RESULTS / "external")
    found = {
        "quality": picture_quality(content),
        "novelty": novelty(),
        "phones": phones(),
        "bfloat16": bfloat16(),
        "patients": patients(),
        "calibration": calibration(content),
        "sources": sources(content),
        "external_results": tuple(
            one.model_copy(update={"warnings": told.get(one.name, one.warnings)})
            for one in elsewhere.values()
        ),
    }
    content = with_words(content.model_copy(update=found))
    for folder in (RESULTS, WEIGHTS):
        write_json(folder / "report.json", content.model_dump(mode="json"))
        write_text(folder / "report.html", render_html(content))
        write_text(folder / "MODEL_CARD.md", render_card(content, recipe))
    _seal(WEIGHTS, recipe, content)
    print("\n".join(content.warnings))


def retell(folder: Path) -> dict[str, tuple[str, ...]]:
    """The warnings of each report in `folder`, by its set's recipe; the reports have them anew."""
    told = {}
    for path in sorted(folder.glob("*/report.json")):
        content = with_words(ReportContent.model_validate_json(path.read_bytes()))
        assert content.external is not None, path
        write_json(path, content.model_dump(mode="json"))
        write_text(path.with_name("report.html"), render_html(content))
        told[content.external.recipe] = without_names(content).warnings
    return told


def _seal(folder: Path, recipe: Recipe, content: ReportContent) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    names = dict.fromkeys([*manifest["sha256"], NOVELTY])
    digests = {name: sha256_of(folder / name) for name in names}
    write_json(folder / MANIFEST, restated({**manifest, "sha256": digests}, recipe, content))
    load_bundle(folder)


if __name__ == "__main__":
    main()
