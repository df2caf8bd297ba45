"""A head trained on cached embeddings is served as a whole classifier that answers the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from melanoma.data.images import decode_image
from melanoma.data.transforms import to_tensor
from melanoma.errors import WeightsError
from melanoma.models.classifier import make_classifier
from melanoma.recipe.overrides import make_recipe
from melanoma.recipe.recipe import Recipe
from melanoma.scoring.bundle.bundle import load_bundle
from melanoma.scoring.scorer import Scorer
from melanoma.storage import sha256_of
from melanoma.training.embeddings import Embeddings, embeddings_file
from melanoma.training.fit import fit_fold
from melanoma.training.run.run_folder import fold_folder
from melanoma.workflows.evaluate import evaluate_folds

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs


class Frozen(NamedTuple):
    recipe: Recipe
    folder: Path
    embeddings: Path


@pytest.fixture(scope="module")
def frozen(trained: Any, tmp_path_factory: pytest.TempPathFactory) -> Frozen:
    """Two members with heads of two layers over one frozen backbone, on the bundle's phantoms."""
    base = tmp_path_factory.mktemp("frozen")
    torch.manual_seed(4)
    backbone = make_classifier("tiny_resnet", outputs=1).backbone
    save_file(backbone.state_dict(), base / "backbone.safetensors")
    values = trained.recipe.model_dump(mode="json")
    values["model"] = {
        "backbone": "tiny_resnet",
        "pretrained": str(base / "backbone.safetensors"),
        "freeze_backbone": True,
        "head": {"hidden": [20, 10], "dropout": 0.5, "activation": "silu"},
    }
    values["training"] |= {"epochs": 10}
    values["optimizer"] |= {"rate": 0.01}
    values["evaluation"] |= {"views": 1}
    recipe = make_recipe({**values, "name": "frozen"})
    for part in trained.parts:
        fit_fold(
            recipe,
            part,
            fold_folder(base / "weights", part.fold),
            device=torch.device("cpu"),
            imagenet=base,
            embeddings=base / "arrays",
        )
    evaluate_folds(recipe, base / "weights", trained.folder.parent / "folds.csv")
    (path,) = (base / "arrays").glob("embeddings_*.npy")
    return Frozen(recipe, base / "weights", path)


def test_a_served_embedding_is_the_one_that_the_head_was_trained_on(
    trained: Any, frozen: Frozen
) -> None:
    scorer = Scorer(load_bundle(frozen.folder))
    id_ = json.loads(frozen.embeddings.with_suffix(".json").read_text())["id"]
    assert embeddings_file(frozen.embeddings.parent, id_) == frozen.embeddings
    stored = Embeddings(frozen.embeddings, id_, np.arange(80))
    for row in range(0, 80, 8):
        pixels = decode_image(trained.photograph(row)).pixels
        image = to_tensor(scorer.square(pixels)[None], normalize=scorer.bundle.normalize)
        for member in scorer.classifiers.values():
            with torch.inference_mode():
                served = member.embed(image.contiguous(memory_format=torch.channels_last))
            assert np.abs(served.numpy() - stored.rows(np.array([row]))).max() < 1e-5


def test_a_served_logit_is_the_one_that_was_held_out(trained: Any, frozen: Frozen) -> None:
    scorer = Scorer(load_bundle(frozen.folder))
    oof = pd.read_csv(frozen.folder / "oof.csv").set_index("image_name")
    assert oof["logit"].std() > 1e-2, "every answer is the same; the test proves nothing"
    for name, image in oof.iloc[::7].iterrows():
        row = trained.array.row_of[name]
        answer = scorer.score(trained.photograph(row))
        assert answer.by_fold[int(image["fold"])] == pytest.approx(image["prob"], abs=1e-5)
        squares = trained.array.rows([row])
        logit = scorer.member_logits(squares)[0, int(image["fold"]), 0]
        shift = scorer.bundle.members[int(image["fold"])].prior_shift
        assert logit - shift == pytest.approx(image["logit"], abs=1e-5)


def test_members_share_the_backbone_and_not_the_head(frozen: Frozen) -> None:
    networks = Scorer(load_bundle(frozen.folder)).classifiers
    first, second = (network.state_dict() for network in networks.values())
    for key in first:
        assert torch.equal(first[key], second[key]) == key.startswith("backbone."), key


def test_the_bundle_states_its_head_and_a_plain_one_states_none(
    trained: Any, frozen: Frozen
) -> None:
    assert load_bundle(frozen.folder).head == frozen.recipe.model.head
    assert load_bundle(trained.folder).head is None
    assert "head" not in json.loads((trained.folder / "manifest.json").read_text())


def test_a_bundle_whose_head_was_changed_is_refused(frozen: Frozen) -> None:
    path = frozen.folder / "manifest.json"
    whole = path.read_text()
    manifest = json.loads(whole)
    assert manifest["sha256"]["recipe.yaml"] == sha256_of(frozen.folder / "recipe.yaml")
    try:
        for change in ({**manifest["head"], "activation": "relu"}, None):
            changed = {k: v for k, v in manifest.items() if k != "head"}
            path.write_text(json.dumps(changed | ({"head": change} if change else {})))
            with pytest.raises(WeightsError, match=r"manifest\.json is damaged"):
                load_bundle(frozen.folder)
    finally:
        path.write_text(whole)
