"""Several seeds a fold: the mean of their logits, from out-of-fold scores to what is served."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from melanoma.errors import FoldError, RecipeError, StorageError, WeightsError
from melanoma.evaluation.score_table import load_scores
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.explain.explainers import explain_gradcam
from melanoma.scoring.scorer import Scorer
from melanoma.storage import sha256_of
from melanoma.training.run.facts import RunFacts, read_facts, write_facts
from melanoma.training.run.run_folder import hold
from melanoma.training.seeds import clear_seeds, fit_seeds
from melanoma.workflows.evaluate import evaluate_folds

CPU = torch.device("cpu")
SEEDS = {"seeds": [5, 6, 9], "evaluation": {"resamples": 100}, "training": {"epochs": 1}}


def train(recipe: Any, place: Any, weights: Path, fold: int, **options: Any) -> Any:
    return fit_seeds(
        recipe, place.data(fold), weights / f"fold_{fold}", device=CPU, imagenet=weights, **options
    )


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("seeds")


def test_the_bundle_gives_the_mean_of_its_seeds_as_it_was_evaluated(
    recipe_of: Any, place: Any, weights: Path
) -> None:
    recipe = recipe_of(**SEEDS)
    runs = [train(recipe, place, weights, fold) for fold in (0, 1)]
    for run in runs:
        seeds = [
            load_scores(run.folder / f"seed_{seed}/oof.csv", recipe.classes) for seed in (5, 6, 9)
        ]
        logits = np.stack([table.logits() for table in seeds])
        assert np.allclose(run.scores.logits(), logits.mean(axis=0), atol=1e-6)
        assert not np.allclose(logits[0], logits[1])
    evaluate_folds(recipe, weights, place.folder / "folds.csv")
    bundle = load_bundle(weights)
    assert bundle.seeds == 3 and len(bundle.members) == 2
    scorer = Scorer(bundle)
    rows = place.data(0).validation
    served = scorer.member_logits(place.array.rows(rows))[:, 0]
    assert np.allclose(served, runs[0].scores.logits(), atol=1e-5)
    oof = pd.read_csv(weights / "oof.csv").set_index("image_name")
    names = [place.array.names[row] for row in rows]
    found = scorer.member_probabilities(place.array.rows(rows))[:, 0, 1]
    assert np.allclose(found, oof.loc[names, "prob"], atol=1e-6)
    faster = scorer.on(scorer.members.faster()).member_logits(place.array.rows(rows[:4]))
    assert faster.shape == (4, 2, 1) and np.isfinite(faster).all()
    heat = explain_gradcam(scorer, place.array.rows(rows[:1])[0], target="melanoma").heat
    assert np.isfinite(heat).all()


def test_a_seed_s_run_is_the_run_of_that_seed_alone_and_a_finished_fold_stays(
    recipe_of: Any, place: Any, weights: Path, fit: Any, tmp_path: Path
) -> None:
    recipe = recipe_of(**SEEDS)
    alone = fit(recipe_of(**{**SEEDS, "seeds": [], "seed": 6}), tmp_path / "alone")
    first = train(recipe, place, weights, 0)
    other = weights / "fold_0/seed_6/model.safetensors"
    assert other.read_bytes() == (alone.folder / "model.safetensors").read_bytes()
    again = train(recipe, place, weights, 0)
    assert again.facts.files == first.facts.files
    with pytest.raises(WeightsError, match=r"holds another run \(seeds: "):
        train(recipe_of(**{**SEEDS, "seeds": [5, 6]}), place, weights, 0)
    with pytest.raises(WeightsError, match="holds another run"):
        train(recipe_of(**{**SEEDS, "seeds": []}), place, weights, 0)


def test_a_finished_fold_of_seeds_is_left_as_it_lies_and_a_resumed_one_is_the_same(
    recipe_of: Any, place: Any, tmp_path: Path
) -> None:
    recipe = recipe_of(**SEEDS)
    unbroken = train(recipe, place, tmp_path / "unbroken", 0).folder
    files = [path for path in unbroken.iterdir() if path.is_file() and path.name != ".lock"]
    before = {path: (path.stat().st_ino, path.read_bytes()) for path in files}
    train(recipe, place, tmp_path / "unbroken", 0)
    for path, (number, content) in before.items():
        assert (path.stat().st_ino, path.read_bytes()) == (number, content), path.name
    # One that was ended after its first seed reads that one's scores from the disk.
    shutil.copytree(unbroken / "seed_5", tmp_path / "resumed/fold_0/seed_5")
    resumed = train(recipe, place, tmp_path / "resumed", 0).folder
    scores = before[unbroken / "oof.csv"][1]
    assert (resumed / "oof.csv").read_bytes() == scores
    # A fold that was made of other runs than lie there now is made anew.
    other = (resumed / "seed_5/oof.csv").read_bytes()
    (resumed / "oof.csv").write_bytes(other)
    facts = read_facts(resumed)
    assert isinstance(facts, RunFacts)
    digests = {**facts.files, "oof.csv": sha256_of(resumed / "oof.csv")}
    write_facts(resumed, facts.model_copy(update={"files": digests}))
    train(recipe, place, tmp_path / "resumed", 0)
    assert (resumed / "oof.csv").read_bytes() == scores
    # So is one of which a file was lost or broken: the seeds' networks lie there.
    for damage in (Path.unlink, lambda path: path.write_bytes(b"cut off")):
        damage(resumed / "model.safetensors")
        train(recipe, place, tmp_path / "resumed", 0)
        network = (resumed / "model.safetensors").read_bytes()
        assert network == before[unbroken / "model.safetensors"][1]


def test_clearing_a_fold_s_seeds_leaves_alone_what_is_being_trained(tmp_path: Path) -> None:
    for seed in (5, 6):
        (tmp_path / f"seed_{seed}").mkdir()
        (tmp_path / f"seed_{seed}/run.json").write_text("{}")
    with hold(tmp_path / "seed_6", needed=0), pytest.raises(StorageError, match="in use"):
        clear_seeds(tmp_path)
    assert not (tmp_path / "seed_5/run.json").exists()
    assert (tmp_path / "seed_6/run.json").exists()


def test_weights_of_a_seed_that_saw_the_held_out_images_are_refused(
    recipe_of: Any, place: Any, weights: Path, fit: Any, tmp_path: Path
) -> None:
    train(recipe_of(**SEEDS), place, weights, 1)
    start = weights / "fold_1/seed_9/model.safetensors"
    leaking = recipe_of(model={"pretrained": str(start)})
    with pytest.raises(FoldError, match="leaks"):
        fit(leaking, tmp_path / "leak", fold=0)


def test_seeds_are_two_or_more_and_different(recipe_of: Any) -> None:
    for seeds, said in (([3], "two or more"), ([3, 3], "stands twice")):
        with pytest.raises(RecipeError, match=said):
            recipe_of(seeds=seeds)
    assert recipe_of(seeds=[]).digest() == recipe_of().digest()
    assert recipe_of(seeds=[1, 2]).digest() != recipe_of().digest()
