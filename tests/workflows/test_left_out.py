"""Results of the same training without a source, taken into the report as what they are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from made_content import NO_LEAK
from tiny_bundle import TinyRun

from benchmarks.shipped import ROOT
from melanoma.errors import RecipeError, WeightsError
from melanoma.evaluation.report.external_results import with_external
from melanoma.evaluation.report.schema import ReportContent
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.training.run.facts import RunStart, write_facts
from melanoma.workflows import evaluate
from melanoma.workflows.left_out import left_out_results

# Of a run that knows no other tables.
REPORT = ROOT / "results" / "ham10000_mobilenet" / "report.json"


def recipe_of(*sources: str, **changes: Any) -> Recipe:
    listed = [{"name": name, "data": {"reader": "csv_folder"}} for name in sources]
    values = {
        "name": f"with_{len(sources)}",
        "data": {"reader": "csv_folder", "sources": listed},
        "folds": {"name": "x"},
        **changes,
    }
    return make_recipe(values)


def run_of(folder: Path, recipe: Recipe, *, results: bool = True) -> Path:
    (folder / "fold_0").mkdir(parents=True)
    (folder / "fold_0" / "recipe.yaml").write_text(recipe.to_yaml())
    report = json.loads(REPORT.read_text())
    report["external_results"] = report["external_results"][:1] if results else []
    (folder / "report.json").write_text(json.dumps(report))
    return folder


def test_a_result_says_what_its_training_left_out(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", recipe_of("a"))
    (found,) = left_out_results(recipe_of("a", "b"), [folder])
    assert found.without == "b"
    assert found.source.endswith(", by the same training without b")
    assert left_out_results(recipe_of("a", "b"), []) == ()
    (found_without_two,) = left_out_results(recipe_of("a", "b", "c"), [folder])
    assert found_without_two.without == "b and c"
    report = ReportContent.model_validate_json(REPORT.read_bytes())
    own = report.external_results[0]
    both = with_external(report.model_copy(update={"external_results": (found, own)}), own)
    assert [result.without for result in both.external_results] == ["b", None]


@pytest.mark.parametrize(
    ("theirs", "said"),
    [
        (recipe_of("a", "b"), "it has all of them"),
        (recipe_of("a", "c"), "source c differs"),
        (recipe_of("a", seed=9), "seed: 9 -> 0"),
    ],
)
def test_another_training_is_no_estimate(theirs: Recipe, said: str, tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", theirs)
    with pytest.raises(RecipeError, match=said):
        left_out_results(recipe_of("a", "b"), [folder])


def test_rounding_afterwards_makes_no_other_training(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", recipe_of("a"))
    rounded = recipe_of("a", "b", training={"bfloat16_weights": True})
    (found,) = left_out_results(rounded, [folder])
    assert found.without == "b"


def test_a_run_that_was_scored_nowhere_else_is_refused(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", recipe_of("a"), results=False)
    with pytest.raises(WeightsError, match="has no result elsewhere"):
        left_out_results(recipe_of("a", "b"), [folder])
    with pytest.raises(WeightsError, match="holds no run"):
        left_out_results(recipe_of("a", "b"), [tmp_path])


def test_what_a_run_repeats_of_another_training_is_not_repeated_as_its_own(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", recipe_of("a"))
    report = json.loads((folder / "report.json").read_text())
    (own,) = report["external_results"]
    report["external_results"].append({**own, "without": "a"})
    (folder / "report.json").write_text(json.dumps(report))
    (found,) = left_out_results(recipe_of("a", "b"), [folder])
    assert found.without == "b"
    report["external_results"] = report["external_results"][1:]
    (folder / "report.json").write_text(json.dumps(report))
    with pytest.raises(WeightsError, match="has no result elsewhere"):
        left_out_results(recipe_of("a", "b"), [folder])


def test_a_run_on_other_images_or_folds_is_not_the_same_training(tmp_path: Path) -> None:
    folder = run_of(tmp_path / "run", recipe_of("a"))
    facts = {"fold": 0, "recipe_digest": "r", "folds_digest": "f", "array_digest": "a"}
    theirs = RunStart.model_validate({**facts, "audit": NO_LEAK})
    write_facts(folder / "fold_0", theirs)
    assert left_out_results(recipe_of("a", "b"), [folder], ours=theirs)
    for name in ("folds_digest", "array_digest"):
        ours = theirs.model_copy(update={name: "other"})
        with pytest.raises(RecipeError, match=f"trained on other data .{name}"):
            left_out_results(recipe_of("a", "b"), [folder], ours=ours)
    # A source that both have, in another state under the same name.
    source = {"name": "a", "digest": "then", "images": 1, "left_out": 0, "weight": 1.0}
    sourced = [
        RunStart.model_validate(
            {**facts, "audit": NO_LEAK, "sources": [{**source, "digest": digest}]}
        )
        for digest in ("then", "now")
    ]
    write_facts(folder / "fold_0", sourced[0])
    assert left_out_results(recipe_of("a", "b"), [folder], ours=sourced[0])
    with pytest.raises(RecipeError, match=r"on other data \(source a: then, here now\)"):
        left_out_results(recipe_of("a", "b"), [folder], ours=sourced[1])


def test_a_run_that_cannot_be_named_is_refused_before_anything_is_scored(
    trained: TinyRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "build_report", lambda *_, **__: pytest.fail("it was computed"))
    with pytest.raises(WeightsError, match="holds no run"):
        evaluate.evaluate_folds(
            trained.recipe,
            trained.folder,
            trained.folder.parent / "folds.csv",
            data=trained.table.folder,
            arrays=trained.folder.parent / "arrays",
            left_out=[tmp_path],
        )
