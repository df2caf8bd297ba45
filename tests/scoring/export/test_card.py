"""The card of a Hugging Face folder: what the hub reads of it, and what a person must know."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from made_content import external

from melanoma.evaluation.metrics.metric_catalog import METRICS
from melanoma.evaluation.report.external_results import external_result
from melanoma.evaluation.report.schema import ExternalResult
from melanoma.evaluation.report.schema_parts import Measured
from melanoma.recipe.overrides import load_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import Bundle
from melanoma.scoring.export.card import UNKNOWN_LICENSE, find_license, metadata, render_hub_card
from melanoma.scoring.export.export_folder import describe

pytestmark = pytest.mark.slow  # together they take many seconds


def test_the_hub_reads_the_card_s_task_license_and_results(
    hub_folder: Path, bundle: Bundle
) -> None:
    hub = pytest.importorskip("huggingface_hub")
    card = hub.ModelCard.load(hub_folder / "README.md")
    data = card.data
    assert data.pipeline_tag == "image-classification"
    assert data.library_name == "timm"
    assert data.license == "unknown"
    values = {(r.metric_type, r.metric_value) for r in data.eval_results}
    assert ("roc_auc", bundle.report.metrics["auroc"].value) in values
    assert "not a medical device" in card.text


LICENSES = {
    "https://creativecommons.org/licenses/by-nc/4.0/": "cc-by-nc-4.0",
    "https://creativecommons.org/licenses/by-nc-sa/4.0/": "cc-by-nc-sa-4.0",
    "https://creativecommons.org/licenses/by/4.0/": "cc-by-4.0",
    "https://creativecommons.org/publicdomain/zero/1.0/": "cc0-1.0",
    "a letter from the clinic": "other",
}


@pytest.mark.parametrize("text", LICENSES)
def test_the_license_is_what_its_text_names_or_what_was_said(text: str, bundle: Bundle) -> None:
    licensed = replace(bundle, license=f"The weights are under {text} as it stands.")
    assert find_license(licensed, None) == LICENSES[text]
    assert find_license(licensed, "apache-2.0") == "apache-2.0"
    assert find_license(replace(bundle, license=None), None) == UNKNOWN_LICENSE


def recipe_of(bundle: Bundle) -> Recipe:
    return load_recipe(bundle.folder / "recipe.yaml")


def test_the_hub_is_told_of_timm_of_melanoma_and_of_another_license_where_they_are(
    bundle: Bundle, of_classes: Bundle
) -> None:
    plain = metadata(bundle, recipe_of(bundle), timm=True, license_id="cc0-1.0")
    assert (plain["library_name"], plain["license"]) == ("timm", "cc0-1.0")
    assert {"timm", "melanoma", "dermatology"} <= set(plain["tags"])
    assert "license_name" not in plain
    ours = metadata(of_classes, recipe_of(of_classes), timm=False, license_id="other")
    assert ours["library_name"] == "melanoma"
    assert not {"timm", "melanoma"} & set(ours["tags"])
    assert (ours["license"], ours["license_link"]) == ("other", "LICENSE.md")


def test_each_metric_is_under_the_hub_s_name_with_its_value_and_interval(bundle: Bundle) -> None:
    own, *others = metadata(bundle, recipe_of(bundle), timm=True, license_id="x")["model-index"][0][
        "results"
    ]
    assert others == []
    assert own["dataset"]["split"] == "held out by cross-validation"
    by_type = {metric["type"]: metric for metric in own["metrics"]}
    measured = {k: m for k, m in bundle.report.metrics.items() if m.value is not None}
    assert "auroc" not in by_type  # the hub calls it otherwise
    for key, found in measured.items():
        told = by_type[{"auroc": "roc_auc"}.get(key, key)]
        assert told["value"] == found.value
        assert told["name"].startswith(METRICS[key].title)
        interval = f"({95} % interval {found.low:.3f} to {found.high:.3f})"
        assert interval in told["name"]
    assert len(own["metrics"]) == len(measured)


def test_a_metric_without_a_value_or_an_interval_is_told_as_it_is(bundle: Bundle) -> None:
    measured = {"auroc": Measured(value=0.75), "average_precision": Measured(value=None)}
    report = bundle.report.model_copy(update={"metrics": measured})
    index = metadata(replace(bundle, report=report), recipe_of(bundle), timm=True, license_id="x")[
        "model-index"
    ]
    assert index[0]["results"][0]["metrics"] == [
        {"type": "roc_auc", "name": METRICS["auroc"].title, "value": 0.75}
    ]


def test_what_was_reached_elsewhere_stands_beside_under_its_own_name(bundle: Bundle) -> None:
    result = ExternalResult(
        name="clinic",
        source="",
        date="2026-01-02",
        images=50,
        positives=5,
        patients=None,
        auroc=Measured(value=0.8, low=0.7, high=0.9),
        at="sensitivity 0.95",
        threshold=0.3,
        sensitivity=Measured(value=None),
        specificity=Measured(value=0.6),
        warnings=(),
    )
    report = bundle.report.model_copy(update={"external_results": (result,)})
    index = metadata(replace(bundle, report=report), recipe_of(bundle), timm=True, license_id="x")[
        "model-index"
    ]
    _, elsewhere = index[0]["results"]
    assert elsewhere["dataset"] == {
        "name": "clinic",
        "type": "clinic",
        "split": "external, nothing refitted",
    }
    assert [(metric["type"], metric["value"]) for metric in elsewhere["metrics"]] == [
        ("roc_auc", 0.8),
        ("specificity", 0.6),
    ]
    assert elsewhere["metrics"][0]["name"] == "AUROC of melanoma (95 % interval 0.700 to 0.900)"
    assert elsewhere["metrics"][1]["name"] == "Specificity at the sealed threshold"


def test_what_another_model_reached_elsewhere_is_not_called_this_one_s(bundle: Bundle) -> None:
    """As in report and card: a result of the same training without a source, by its threshold."""
    result = external_result(external().content).model_copy(update={"without": "siim2020"})
    moved = replace(bundle, report=bundle.report.model_copy(update={"external_results": (result,)}))
    card = render_hub_card(moved, describe(moved, views=1), architecture=None, license_id="x")
    assert "so another one was measured: of the same training without them" in card
    assert "at the threshold of that model" in card and "the sealed threshold" not in card
    no_melanoma = moved.report.model_copy(update={"melanoma": ()})
    index = metadata(
        replace(moved, report=no_melanoma), recipe_of(bundle), timm=True, license_id="x"
    )["model-index"]
    assert index[0]["results"][1]["metrics"][0]["name"].startswith(METRICS["macro_auroc"].title)


@pytest.mark.parametrize("architecture", [None, "resnet18"])
def test_the_card_is_yaml_before_words_that_say_which_program_reads_it(
    architecture: str | None, bundle: Bundle
) -> None:
    facts = describe(bundle, views=1)
    page = render_hub_card(bundle, facts, architecture=architecture, license_id="cc0-1.0")
    _, meta, text = page.split("---\n", 2)
    assert yaml.safe_load(meta)["library_name"] == ("timm" if architecture else "melanoma")
    assert ("create_model" in text) == bool(architecture)
    assert ("only the library melanoma reads it" in text) == (architecture is None)
    assert bundle.digest in text
