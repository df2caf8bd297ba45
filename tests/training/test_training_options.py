"""A second target, smaller squares in early stages, mixed batches: what they do to a whole fold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from melanoma.data.folds import FoldTable
from melanoma.errors import DataError, RecipeError, WeightsError
from melanoma.models.backbones import find_backbone
from melanoma.models.classifier import Classifier, make_classifier
from melanoma.scoring.backends.torch_members import load_network
from melanoma.training.auxiliary import AuxiliaryLoss, auxiliary_targets, auxiliary_values
from melanoma.training.batch_targets import batch_targets
from melanoma.training.fit import fit_fold
from melanoma.training.starting_weights import describe_random_features
from melanoma.training.training_network import shrink

OTHER = {"auxiliary": {"column": "sex", "weight": 0.5}}


def test_a_second_target_is_a_columns_value_and_none_where_it_is_not_known(
    place: Any, recipe_of: Any
) -> None:
    data, recipe = place.data(0), recipe_of(loss=OTHER)
    values = auxiliary_values(recipe, data)
    assert values == tuple(sorted(values)) and set(values) == {"female", "male"}
    found = auxiliary_targets(recipe, data, len(data.array) + 3)
    for row, name in enumerate(data.array.names):
        cell = data.folds.frame.set_index("image_name").loc[name, "sex"]
        assert found[row] == (values.index(cell) if cell else -1)
    assert found[-3:].tolist() == [-1, -1, -1]
    assert batch_targets(recipe, data)[:, 0].tolist() == data.targets.tolist()
    with pytest.raises(DataError, match="no column 'histology'"):
        auxiliary_values(recipe_of(loss={"auxiliary": {"column": "histology"}}), data)


def test_a_run_is_another_where_the_second_target_says_something_else(
    place: Any, recipe_of: Any, fit: Any, tmp_path: Path
) -> None:
    recipe, data = recipe_of(loss=OTHER), place.data(0)
    fit(recipe, tmp_path)
    sexes = {"male": "female", "female": "male"}
    frame = place.folds.frame.assign(sex=place.folds.frame["sex"].replace(sexes))
    other = replace(data, folds=FoldTable(frame))
    assert other.folds.digest == data.folds.digest  # nobody's fold is another
    with pytest.raises(WeightsError, match=r"holds another run .*loss\.auxiliary: what its column"):
        fit_fold(recipe, other, tmp_path, device=torch.device("cpu"), imagenet=tmp_path)
    facts = json.loads((tmp_path / "run.json").read_text())
    del facts["auxiliary"]  # as an earlier version wrote it
    (tmp_path / "run.json").write_text(json.dumps(facts))
    fit_fold(recipe, other, tmp_path, device=torch.device("cpu"), imagenet=tmp_path)
    # A recipe without one says nothing of it.
    assert "auxiliary" not in fit(recipe_of(), tmp_path / "plain").facts.to_json()


def test_rows_without_a_second_target_cost_the_first_alone() -> None:
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))

    def first(own: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (own[:, 0] - target).square().mean()

    loss = AuxiliaryLoss(first, outputs=1, weight=0.5)
    wanted = torch.tensor([[1.0, -1], [0, -1], [1, -1], [0, -1]])
    alone = first(logits[:, :1], wanted[:, 0])
    assert torch.equal(loss(logits, wanted), alone)
    wanted[2, 1] = 1
    more = -logits[2, 1:].log_softmax(0)[1] * 0.5 / 4
    assert loss(logits, wanted).item() == pytest.approx((alone + more).item())


def test_smaller_squares_show_the_same_picture() -> None:
    picture = torch.arange(64.0).reshape(1, 1, 8, 8).expand(1, 3, 8, 8)
    assert shrink(picture, None) is picture
    small = shrink(picture, 4)
    assert small.shape == (1, 3, 4, 4)
    assert small.mean().item() == pytest.approx(picture.mean().item(), rel=1e-4)
    assert (small[0, 0].diff(dim=1) > 0).all()


CASES: dict[str, dict[str, Any]] = {
    "auxiliary": {"loss": OTHER},
    "mix": {"training": {"mix": {"mixup": 0.4, "cutmix": 1.0}}},
    "both": {"loss": OTHER, "training": {"mix": {"mixup": 0.4}}},
    "gem": {"model": {"pooling": "gem", "dropout_samples": 3}},
    "checkpointing": {"training": {"checkpointing": True}},
}


@pytest.mark.parametrize("case", CASES)
def test_a_fold_trains_with_it_and_keeps_what_scores_alone(
    case: str, fit: Any, recipe_of: Any, tmp_path: Path
) -> None:
    changes = CASES[case]
    training = {"epochs": 1, **changes.get("training", {})}
    recipe = recipe_of(**{**changes, "training": training})
    run = fit(recipe, tmp_path / "run")
    plain = recipe_of(training={"epochs": 1})
    assert recipe.digest() != plain.digest()
    assert not any("auxiliary" in name for name in load_file(run.folder / "model.safetensors"))
    served = load_network(run.folder / "model.safetensors", "tiny", outputs=1)
    assert isinstance(served, Classifier)
    assert (served.gem is not None) == (case == "gem")
    other = fit(plain, tmp_path / "plain")
    same = np.allclose(run.scores.logits(), other.scores.logits(), atol=1e-6)
    assert same == (case == "checkpointing")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": {"dropout": 0.0, "dropout_samples": 2}}, "every draw is the same"),
        ({"model": {"pooling": "gem", "freeze_backbone": True}}, "which stays frozen"),
        ({"training": {"mix": {"p": 0.5}}}, "one of mixup and cutmix is above 0"),
        ({"stages": [{"epochs": 2, "size": 32}]}, "32 is not below image.size"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    changes: dict[str, Any], said: str, recipe_of: Any
) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe_of(**changes)


def test_options_that_are_not_used_change_no_identity(recipe_of: Any) -> None:
    identity = recipe_of().identity()
    assert not {"mix", "checkpointing"} & identity["training"].keys()
    assert not {"pooling", "dropout_samples"} & identity["model"].keys()
    staged = recipe_of(stages=[{"epochs": 2}]).identity()
    assert "size" not in staged["stages"][0]


def test_the_stages_of_a_fold_see_the_sizes_that_they_say(
    fit: Any, place: Any, recipe_of: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[bool, int]] = []
    embed = Classifier.embed

    def watched(self: Classifier, images: torch.Tensor) -> torch.Tensor:
        seen.append((self.training, images.shape[-1]))
        return embed(self, images)

    monkeypatch.setattr(Classifier, "embed", watched)
    recipe = recipe_of(stages=[{"epochs": 1}, {"epochs": 1}])
    # The phantoms' array is of 32 px, the smallest that a recipe may name.
    first = recipe.stages[0].model_copy(update={"size": 16})
    fit(recipe.model_copy(update={"stages": (first, recipe.stages[1])}), tmp_path / "run")
    trained = [size for training, size in seen if training]
    half = len(trained) // 2
    assert trained == [16] * half + [32] * half
    assert {size for training, size in seen if not training} == {32}


def test_frozen_stages_keep_their_weights_and_their_statistics(
    fit: Any, recipe_of: Any, tmp_path: Path
) -> None:
    networks = []
    for epochs in (1, 2):
        training = {"epochs": epochs, "ema_decay": 0.9, "precise_bn": 10}
        recipe = recipe_of(model={"frozen_stages": 1}, training=training)
        run = fit(recipe, tmp_path / f"epochs_{epochs}")
        networks.append(load_file(run.folder / "model.safetensors"))
    stage = find_backbone("tiny").stage
    moved = {name for name, value in networks[0].items() if not value.equal(networks[1][name])}
    inside = {name for name in networks[0] if name.startswith("backbone.")}
    kept = {name for name in inside if stage(name.removeprefix("backbone.")) < 1}
    assert kept and not kept & moved
    assert {name for name in inside - kept if name.endswith("running_mean")} <= moved


def test_every_stage_frozen_is_another_option(recipe_of: Any) -> None:
    stages = find_backbone("tiny").stages
    with pytest.raises(RecipeError, match="freeze_backbone: true"):
        make_classifier("tiny", outputs=1, frozen_stages=stages)
    with pytest.raises(RecipeError, match="the whole backbone stays frozen"):
        recipe_of(model={"frozen_stages": 1, "freeze_backbone": True})
    recipe = recipe_of(model={"frozen_stages": 1, "pretrained": "none"})
    assert "first 1 stages start from random weights" in (describe_random_features(recipe) or "")
