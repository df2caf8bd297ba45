"""A sealed bundle with another report: its page and card then say it as well."""

from __future__ import annotations

import json

from melanoma.evaluation.render.html import render_html
from melanoma.evaluation.render.model_card import render_card
from melanoma.evaluation.report.schema import ReportContent
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.bundle.staging import MANIFEST, commit, staging
from melanoma.scoring.bundle.statement import restated
from melanoma.storage import sha256_of, write_json, write_text
from melanoma.training.run.run_folder import hold, read_recipe


def reseal(bundle: Bundle, report: ReportContent) -> Bundle:
    """The same bundle in the same folder with the report in it: the weights, the calibration and
    the thresholds stay, its digest is another. Raises StorageError where the folder is in use."""
    folder, recipe = bundle.folder, read_recipe(bundle.folder)
    manifest = json.loads((folder / MANIFEST).read_text())
    with hold(folder, needed=0), staging(folder) as stage:
        write_json(stage / "report.json", report.model_dump(mode="json"))
        write_text(stage / "report.html", render_html(report))
        write_text(stage / "MODEL_CARD.md", render_card(report, recipe))
        digests = {
            name: sha256_of(stage / name if (stage / name).is_file() else folder / name)
            for name in manifest["sha256"]
        }
        commit(folder, stage, restated({**manifest, "sha256": digests}, recipe, report))
    return load_bundle(folder)
