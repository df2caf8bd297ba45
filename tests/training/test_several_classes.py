"""Three classes, from a plain table of phantoms to out-of-fold scores."""

from __future__ import annotations

import json
import math
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from melanoma.errors import DivergedError, FoldError, InterruptedRun, RecipeError, WeightsError
from melanoma.evaluation.score_table import concat_scores
from melanoma.models.losses import LOSSES, cross_entropy
from melanoma.training import epoch_metrics, loop
from melanoma.training.class_balance import (
    fold_prior_shift,
    loss_weights,
    make_loss,
    shown_shares,
)
from melanoma.training.fold_data import select_fold
from melanoma.training.run.run_folder import FoldRun, load_run
from melanoma.training.watchers import Watchers

Fit = Callable[..., FoldRun]
CPU = torch.device("cpu")


def _lines(run: FoldRun) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def _interrupt_after(steps: int) -> Watchers:
    left = iter(range(steps - 1, -1, -1))

    def advance() -> None:
        if next(left) == 0:
            signal.raise_signal(signal.SIGINT)

    return Watchers(bar=lambda *_: advance)


def test_two_epochs_give_each_held_out_image_a_logit_a_class(
    fit: Fit, three: Any, three_of: Any, tmp_path: Path
) -> None:
    recipe = three_of()
    runs = [fit(recipe, tmp_path / f"fold_{n}", fold=n, at=three) for n in (0, 1)]
    names = three.folds.frame["image_name"].tolist()
    scores = concat_scores([run.scores for run in runs], names)
    assert scores.classes == recipe.classes
    assert scores.logits().shape == scores.logits("logit_best").shape == (96, 3)
    assert scores.frame["label"].tolist() == three.folds.frame["label"].tolist()
    assert scores.target.tolist() == three.folds.frame["target"].tolist()
    # Each image by the run that held it out.
    held_out = three.folds.frame["fold"].to_numpy() == 1
    assert (scores.logits()[held_out] == runs[1].scores.logits()).all()
    for run in runs:
        last = _lines(run)[-1]
        found = epoch_metrics.validate(
            recipe,
            run.scores.logits("logit_last"),
            run.scores.target,
            shift=run.facts.prior_shift,
        )
        for key in ("valid_loss", "auroc", "macro_auroc", "balanced_accuracy", "macro_f1"):
            assert last[key] == pytest.approx(found[key], abs=1e-6)
        counts = run.facts.training_classes
        assert run.facts.training_positives == counts["melanoma"]
        assert run.facts.training_images == sum(counts.values())
        weights = load_file(run.folder / "model.safetensors")
        assert weights["head.weight"].shape == (3, 16)


def test_a_finished_fold_is_read_again_with_its_classes(
    fit: Fit, three: Any, three_of: Any, tmp_path: Path
) -> None:
    run = fit(three_of(), tmp_path / "run", at=three)
    again = load_run(run.folder)
    assert again.facts == run.facts
    assert np.allclose(again.scores.logits(), run.scores.logits(), rtol=1e-8)
    said: list[str] = []
    fit(three_of(), tmp_path / "run", at=three, watchers=Watchers(say=said.append))
    assert said == ["fold 0 is finished already; nothing to do"]
    with pytest.raises(WeightsError, match=r"classes: .*melanoma"):
        fit(three_of(classes=["melanoma", "nevus", "some other lesion"]), run.folder, at=three)


@pytest.mark.parametrize(("sampler", "workers"), [("shuffle", 0), ("balanced", 2)])
def test_a_run_interrupted_at_every_step_gives_the_unbroken_run(
    sampler: str, workers: int, fit: Fit, three: Any, three_of: Any, tmp_path: Path
) -> None:
    changes: dict[str, Any] = {
        "sampler": {"name": sampler},
        "training": {"batch_size": 16, "ema_decay": 0.8},
        "selection": {"keep": "best", "metric": "balanced_accuracy"},
    }
    unbroken = fit(three_of(**changes), tmp_path / "unbroken", at=three)
    changes["training"] = {**changes["training"], "workers": workers}
    recipe, folder = three_of(**changes), tmp_path / "broken"
    for _ in range(6):
        with pytest.raises(InterruptedRun):
            fit(recipe, folder, at=three, watchers=_interrupt_after(1))
    resumed = fit(recipe, folder, at=three)
    for column in ("logit", "logit_best", "logit_last"):
        assert (resumed.scores.logits(column) == unbroken.scores.logits(column)).all()
    assert [line["macro_f1"] for line in _lines(resumed)] == [
        line["macro_f1"] for line in _lines(unbroken)
    ]


@pytest.mark.parametrize(
    ("metric", "values", "best"),
    [
        ("macro_auroc", (0.5, 0.8, 0.7), 2),
        ("loss", (0.9, 0.5, 0.7), 2),
        ("balanced_accuracy", (0.6, 0.3, 0.5), 1),
    ],
)
def test_the_recipe_s_metric_picks_the_epoch(
    metric: str,
    values: tuple[float, ...],
    best: int,
    fit: Fit,
    three: Any,
    three_of: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Only the metric that the recipe names has its best where it has; all others fall or rise."""
    scripted = iter(values)
    original = epoch_metrics._of_classes

    def found(*arguments: Any) -> Any:
        key = "valid_loss" if metric == "loss" else metric
        return {**original(*arguments), key: next(scripted)}

    monkeypatch.setattr(epoch_metrics, "_of_classes", found)
    selection = {"keep": "best", "metric": metric, "patience": 2}
    run = fit(three_of(training={"epochs": 3}, selection=selection), tmp_path / "run", at=three)
    assert run.facts.best_epoch == best


def test_one_class_s_logit_that_is_not_finite_is_enough_to_name_the_image(
    fit: Fit, three: Any, three_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = loop.predict_rows

    def predict(*arguments: Any, **options: Any) -> Any:
        logits = original(*arguments, **options)
        logits[3, 1] = math.nan
        return logits

    monkeypatch.setattr(loop, "predict_rows", predict)
    name = three.array.names[three.data(0).validation[3]]
    with pytest.raises(DivergedError, match=rf"1 held-out images .*{name}"):
        fit(three_of(), tmp_path / "run", at=three)


# Weights, sampler and prior


@pytest.mark.parametrize("rule", ["none", "balanced", "sqrt"])
@pytest.mark.parametrize("sampler", ["shuffle", "balanced"])
def test_the_shift_of_the_prior_is_what_weights_and_sampler_add_to_the_logits(
    rule: str, sampler: str, three: Any, three_of: Any
) -> None:
    recipe = three_of(
        loss={"name": "cross_entropy", "class_weight": rule}, sampler={"name": sampler}
    )
    data = three.data(0)
    counts = data.class_counts
    share = counts / counts.sum()
    weight = {
        "none": np.ones(3),
        "balanced": counts.sum() / (3 * counts),
        "sqrt": counts**-0.5 * counts.sum() / (counts**0.5).sum(),
    }[rule]
    sampled = np.full(3, 1 / 3) if sampler == "balanced" else share
    shift = fold_prior_shift(recipe, data)
    assert shift == pytest.approx((np.log(weight) + np.log(sampled / share)).tolist())
    # The head starts where a loss that sees these shares would take a blind model.
    shown = shown_shares(recipe, data)
    assert sum(shown) == pytest.approx(1)
    assert np.diff(np.log(shown)) == pytest.approx(np.diff(np.log(share) + shift))


def test_the_shift_is_a_list_in_run_json_and_the_logits_on_disk_have_it(
    fit: Fit, three: Any, three_of: Any, tmp_path: Path
) -> None:
    recipe = three_of(training={"epochs": 1}, optimizer={"rate": 1e-9}, model={"dropout": 0})
    run = fit(recipe, tmp_path / "run", at=three)
    stored = json.loads((run.folder / "run.json").read_text())["prior_shift"]
    assert stored == list(fold_prior_shift(recipe, three.data(0)))
    assert len(stored) == 3
    # A head that has not learned says the shares that the loss sees, alike under balanced weights.
    bias = load_file(run.folder / "model.safetensors")["head.bias"]
    assert bias.tolist() == pytest.approx([math.log(1 / 3)] * 3, abs=1e-5)


def test_a_cap_bounds_what_a_rare_image_counts(three: Any, three_of: Any) -> None:
    data = three.data(0)
    free = loss_weights(three_of(), data)
    capped = loss_weights(three_of(loss={"cap": 1.2}), data)
    assert max(free) > 1.2
    assert capped == tuple(min(weight, 1.2) for weight in free)


@pytest.mark.parametrize(
    ("name", "parameters"), [("cross_entropy", {}), ("focal", {}), ("focal", {"gamma": 0.5})]
)
def test_the_loop_s_loss_has_the_recipe_s_weights_smoothing_and_parameters(
    name: str, parameters: dict[str, float], three: Any, three_of: Any
) -> None:
    loss = {"name": name, "label_smoothing": 0.1, "parameters": parameters}
    recipe = three_of(loss=loss)
    data = three.data(0)
    logits = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    targets = torch.tensor([0, 1, 2, 2, 2, 1, 0, 2]).float()
    weights = torch.tensor(loss_weights(recipe, data))
    function: Any = LOSSES[name].several
    expected = function(logits, targets, class_weights=weights, label_smoothing=0.1, **parameters)
    assert torch.equal(make_loss(recipe, data, device=CPU)(logits, targets), expected)


def test_without_a_rule_no_class_counts_more(three: Any, three_of: Any) -> None:
    recipe = three_of(loss={"class_weight": "none"})
    assert fold_prior_shift(recipe, three.data(0)) == (0.0,) * 3
    logits, targets = torch.randn(4, 3), torch.tensor([0.0, 1.0, 2.0, 2.0])
    plain = cross_entropy(logits, targets, class_weights=None, label_smoothing=0.0)
    assert torch.equal(make_loss(recipe, three.data(0), device=CPU)(logits, targets), plain)


# Refusals


def test_a_loss_of_one_output_is_refused_before_anything_trains(
    fit: Fit, three: Any, three_of: Any, tmp_path: Path
) -> None:
    watchers = Watchers(bar=lambda *_: pytest.fail("it trains"))
    with pytest.raises(RecipeError, match=r"loss\.name: 'bce' does not fit 3 outputs; fitting"):
        fit(three_of(loss={"name": "bce"}), tmp_path / "run", at=three, watchers=watchers)
    assert not (tmp_path / "run" / "state.json").exists()


def test_folds_of_other_classes_are_refused(place: Any, three: Any) -> None:
    with pytest.raises(FoldError, match="of a class that the recipe has not"):
        select_fold(three.array, three.folds, 0)
    with pytest.raises(FoldError, match="label is not what target means"):
        select_fold(place.array, place.folds, 0, classes=three.classes)
    with pytest.raises(FoldError, match="label is not what target means"):
        select_fold(three.array, three.folds, 0, classes=three.classes[::-1])


def test_a_fold_that_lacks_a_class_is_refused_by_its_name(three: Any) -> None:
    frame = three.folds.frame.copy()
    rare = (frame["label"] == "nevus") & (frame["fold"] == 0)
    frame.loc[rare, ["label", "target"]] = "some other lesion", 2
    with pytest.raises(FoldError, match="validation part holds no nevus"):
        select_fold(three.array, type(three.folds)(frame), 0, classes=three.classes)
