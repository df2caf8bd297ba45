"""A run's fold folders again, from what results/ and weights/ keep of it, and scored anew.

    python -m benchmarks.kept_run --config configs/dermoscopy_mobilenet.yaml --data DIR \\
        --arrays ARRAYS --folds FOLDS --start 'DIR/fold_{fold}.safetensors' --out WEIGHTS

Whoever has no longer the folders that a run was trained in can evaluate it again, with another
number of views say: the members' weights are the shipped bundle's (of half precision, as they are
served), the epochs and the time of training are the report's, and the held-out scores are made
here, by the recipe's views. Scores of the best epoch, whose weights nothing kept, stay those of
oof.csv.gz. Beside WEIGHTS, without_SOURCE holds what `evaluate --left-out` reads of a run without
that source: its results elsewhere, as they were measured.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from benchmarks.shipped import RESULTS, WEIGHTS
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.score_table import find_out_of_fold, load_scores
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.recipe.overrides import load_recipe, make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.storage import write_json, write_text
from melanoma.training.epoch import predict_rows
from melanoma.training.fit import describe_run
from melanoma.training.fold_data import FoldData, score_table
from melanoma.training.run.facts import RunFacts
from melanoma.training.run.run_folder import (
    finish_run,
    fold_folder,
    start_run,
    write_metrics,
)
from melanoma.training.starting_weights import load_start, with_start
from melanoma.types import Floats
from melanoma.workflows.places import IMAGENET
from melanoma.workflows.train import select_folds


def revive(recipe: Recipe, part: FoldData, folder: Path, bundle: Bundle, results: Path) -> float:
    """Write the fold's run into `folder`; returns the mean change of a melanoma logit."""
    content = ReportContent.model_validate_json((results / "report.json").read_bytes())
    (member,) = (one for one in bundle.members if one.fold == part.fold)
    classifier = _classifier(recipe)
    folder.mkdir(parents=True, exist_ok=True)
    start = describe_run(recipe, part, torch.device("cpu"))
    origin = load_start(classifier.backbone, recipe, part, imagenet=IMAGENET, folder=folder)
    facts = _facts(with_start(start, part, *origin).model_dump(), content, member.prior_shift)
    start_run(folder, recipe, facts.model_copy(update={"finished": False}))
    write_metrics(folder, _epochs(content, part.fold))
    classifier.load_state_dict(load_file(member.file))
    logits = predict_rows(
        classifier,
        part.array,
        part.validation,
        normalize=recipe.image.normalize,
        views=recipe.evaluation.views,
        batch_size=recipe.training.batch_size,
    )
    earlier, best = _earlier(results, part, recipe)
    scores = score_table(part, selected=logits, best=best, last=logits)
    finish_run(folder, classifier.state_dict(), scores, facts)
    melanoma = recipe.melanoma_columns
    return float(abs(logits - earlier)[:, melanoma].mean())


def keep_left_out(recipe: Recipe, source: str, folder: Path, results: Path) -> None:
    """Write `folder` as a run without `source` whose results elsewhere are those of the report."""
    content = ReportContent.model_validate_json((results / "report.json").read_bytes())
    told = f", by the same training without {source}"
    kept = [
        one.model_copy(update={"source": (one.source or "").removesuffix(told), "without": None})
        for one in content.external_results
        if one.without == source
    ]
    values = recipe.model_dump(mode="json")
    values["data"]["sources"] = [one for one in values["data"]["sources"] if one["name"] != source]
    write_text(folder / "fold_0" / "recipe.yaml", make_recipe(values).to_yaml())
    found = content.model_copy(update={"external_results": tuple(kept)})
    write_json(folder / "report.json", found.model_dump(mode="json"))


def _classifier(recipe: Recipe) -> Classifier:
    made = make_classifier(
        recipe.model.backbone,
        outputs=recipe.outputs,
        dropout=recipe.model.dropout,
        head=recipe.model.head,
    )
    return made.to(memory_format=torch.channels_last)


def _facts(start: dict[str, Any], content: ReportContent, shift: Any) -> RunFacts:
    """What is known before training, as of now, and what the report says came of it."""
    (line,) = (one for one in content.folds if one.fold == start["fold"])
    assert content.selection is not None, "a report of folds"
    # "file sha256:... from fold_0.safetensors, of unknown origin; 30% of them averaged in ...".
    words = str(content.pretrained).split("; ")
    averaged = [one for one in words if "averaged in" in one]
    stated = {
        "pretrained": "; ".join([start["pretrained"], *averaged]),
        "versions": content.versions,
        "device": content.device,
        "precision": content.precision,
        "kept": content.selection.kept,
        "best_epoch": line.best_epoch,
        "last_epoch": line.last_epoch,
        "seconds": line.seconds,
        "prior_shift": shift,
        "finished": True,
    }
    return RunFacts.model_validate({**start, **stated})


def _epochs(content: ReportContent, fold: int) -> list[dict[str, Any]]:
    (history,) = (one for one in content.history if one.fold == fold)
    columns = (history.epochs, history.loss, history.held_out_loss, history.rate)
    return [
        {"fold": fold, "epoch": epoch, "loss": loss, "valid_loss": held_out, "rates": [rate]}
        for epoch, loss, held_out, rate in zip(*columns, strict=True)
    ]


def _earlier(results: Path, part: FoldData, recipe: Recipe) -> tuple[Floats, Floats]:
    """The kept and the best epoch's logits of the held-out images, as the table has them."""
    table = load_scores(find_out_of_fold(results), recipe.classes)
    row_of = {name: row for row, name in enumerate(table.frame["image_name"])}
    rows = [row_of[part.array.names[row]] for row in part.validation]
    return table.logits("logit")[rows], table.logits("logit_best")[rows]


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, required=True, help="the recipe, with its views")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--arrays", type=Path, required=True)
    parser.add_argument("--folds", type=Path, required=True)
    parser.add_argument("--start", required=True, help="the file that each fold began with")
    parser.add_argument("--out", type=Path, required=True, help="where the fold folders go")
    given = parser.parse_args()
    recipe = load_recipe(given.config, (f"model.pretrained={given.start}",))
    bundle = load_bundle(WEIGHTS)
    for source in recipe.data.sources:
        folder = given.out.with_name(f"without_{source.name}")
        (folder / "fold_0").mkdir(parents=True, exist_ok=True)
        keep_left_out(recipe, source.name, folder, RESULTS)
    parts = select_folds(recipe, data=given.data, arrays=given.arrays, folds=given.folds)
    for part in parts:
        folder = fold_folder(given.out, part.fold)
        if (folder / "oof.csv").is_file():
            continue
        change = revive(recipe, part, folder, bundle, RESULTS)
        print(json.dumps({"fold": part.fold, "mean_change_of_a_logit": round(change, 4)}))


if __name__ == "__main__":
    main()
