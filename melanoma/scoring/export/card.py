"""README.md of a Hugging Face folder: metadata that the hub reads, and what a person must know."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from melanoma.evaluation.disclaimer import PICTURES_ONLY
from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.number_format import percent, threshold
from melanoma.evaluation.report.schema import ExternalResult, ReportContent
from melanoma.evaluation.report.schema_parts import Measured
from melanoma.evaluation.report.source_words import whose_results
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import LICENSE, Bundle
from melanoma.scoring.export.export_folder import template
from melanoma.training.run.run_folder import read_recipe

# The hub's identifiers of licenses, by what LICENSE.md must name.
_LICENSES = {
    "creativecommons.org/licenses/by-nc/4.0": "cc-by-nc-4.0",
    "creativecommons.org/licenses/by-nc-sa/4.0": "cc-by-nc-sa-4.0",
    "creativecommons.org/licenses/by/4.0": "cc-by-4.0",
    "creativecommons.org/publicdomain/zero/1.0": "cc0-1.0",
}
# The hub's names of metrics, where it has one.
_TYPES = {"auroc": "roc_auc", "macro_auroc": "roc_auc", "macro_f1": "f1"}
UNKNOWN_LICENSE, _OTHER = "unknown", "other"


def render_hub_card(
    bundle: Bundle,
    facts: Mapping[str, Any],
    *,
    architecture: str | None,
    license_id: str,
) -> str:
    """The card: YAML between lines of dashes, then Markdown.

    `architecture` is timm's name of the members' network, None where timm has none. `facts` are
    what `describe` gives.
    """
    recipe = read_recipe(bundle.folder)
    meta = yaml.safe_dump(
        metadata(bundle, recipe, timm=architecture is not None, license_id=license_id),
        sort_keys=False,
        allow_unicode=True,
        width=1000,
    )
    body = template("hub_card.md.j2").render(
        b=bundle,
        c=bundle.report,
        m=facts,
        architecture=architecture,
        folds=[member.fold for member in bundle.members],
        metrics=_rows(bundle.report),
        whose=whose_results(bundle.report),
        percent=percent,
        threshold=threshold,
        pictures=PICTURES_ONLY.get(bundle.image_type),
    )
    return f"---\n{meta}---\n\n{body}"


def metadata(bundle: Bundle, recipe: Recipe, *, timm: bool, license_id: str) -> dict[str, Any]:
    """What the hub reads: task, license, library and evaluation results."""
    return {
        "pipeline_tag": "image-classification",
        "library_name": "timm" if timm else "melanoma",
        **_license(license_id),
        "tags": [
            "image-classification",
            *(["timm"] if timm else []),
            "medical",
            "dermatology",
            "skin-lesion",
            *(["melanoma"] if bundle.melanoma else []),
        ],
        "model-index": [{"name": bundle.name, "results": _results(bundle.report, recipe)}],
    }


def find_license(bundle: Bundle, named: str | None) -> str:
    """The hub's identifier: the one that was named, or what LICENSE.md names; "other" where it has
    another, and "unknown" where there is none."""
    text = bundle.license or ""
    license_id = named or next((name for url, name in _LICENSES.items() if url in text), None)
    return license_id or (_OTHER if text else UNKNOWN_LICENSE)


def _license(license_id: str) -> dict[str, str]:
    if license_id != _OTHER:
        return {"license": license_id}
    return {"license": _OTHER, "license_name": "as-in-license-md", "license_link": LICENSE}


def _results(report: ReportContent, recipe: Recipe) -> list[dict[str, Any]]:
    """The held-out figures, and those on other sets, as the hub's model-index has them."""
    own = {
        "task": {"type": "image-classification", "name": "Image classification"},
        "dataset": {
            "name": recipe.study.source or recipe.data.card,
            "type": recipe.data.reader,
            "split": "held out by cross-validation",
        },
        "metrics": [
            {"type": _TYPES.get(key, key), "name": title, "value": value}
            for key, title, value in _rows(report)
        ],
    }
    others = [
        {
            "task": own["task"],
            "dataset": {
                "name": line.source or line.name,
                "type": line.name,
                "split": "external, nothing refitted",
            },
            "metrics": [
                {"type": _TYPES.get(key, key), "name": _named(title, measured), "value": value}
                for key, title, measured in _elsewhere(line, counted=bool(report.melanoma))
                if (value := measured.value) is not None
            ],
        }
        for line in report.external_results
    ]
    return [own, *others]


def _elsewhere(line: ExternalResult, *, counted: bool) -> list[tuple[str, str, Measured]]:
    whose = "the sealed threshold" if line.without is None else "the threshold of that model"
    return [
        ("auroc", "AUROC of melanoma" if counted else METRICS["macro_auroc"].title, line.auroc),
        ("sensitivity", f"Sensitivity at {whose}", line.sensitivity),
        ("specificity", f"Specificity at {whose}", line.specificity),
    ]


def _rows(report: ReportContent) -> list[tuple[str, str, float]]:
    """Key, name with its interval, and value of each metric of the report that has one."""
    return [
        (key, _named(METRICS[key].title, measured), measured.value)
        for key, measured in report.metrics.items()
        if key in METRICS and measured.value is not None
    ]


def _named(title: str, measured: Any) -> str:
    if measured.low is None or measured.high is None:
        return title
    return f"{title} (95 % interval {measured.low:.3f} to {measured.high:.3f})"
