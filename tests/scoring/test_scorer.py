"""What is served is what was evaluated: the same tensor, the same logit, the same probability."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from scipy.special import expit
from torch import nn
from torch.nn.modules.module import register_module_forward_pre_hook

from melanoma.data.images import decode_image
from melanoma.errors import ImageError, RecipeError, ScoreError
from melanoma.models.classifier import Classifier
from melanoma.scoring.backends import torch_members
from melanoma.scoring.bundle.bundle import Bundle, load_bundle
from melanoma.scoring.bundle.operating import Reached, ServedPoint
from melanoma.scoring.scorer import Scorer
from melanoma.training.epoch import predict_rows
from melanoma.training.fit import fit_fold
from melanoma.workflows.evaluate import evaluate_folds

pytestmark = pytest.mark.slow  # it trains, serves or reads photographs


@pytest.fixture(scope="module")
def oof(trained: Any) -> pd.DataFrame:
    """oof.csv with the array's row of each image."""
    frame = pd.read_csv(trained.folder / "oof.csv")
    return frame.assign(row=[trained.array.row_of[name] for name in frame["image_name"]])


@pytest.fixture(scope="module")
def bundle(trained: Any) -> Bundle:
    return load_bundle(trained.folder)


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def _logits(scorer: Scorer, probability: Any) -> Any:
    """Back from a probability to the corrected logit that it was made of."""
    calibration = scorer.bundle.calibration
    odds = np.log(probability) - np.log1p(-np.asarray(probability))
    return (odds - calibration.intercept) / calibration.slope


def _trained_tensors(recipe: Any, part: Any, folder: Path) -> set[bytes]:
    """Every image as the network sees it in an epoch of training."""
    seen: list[torch.Tensor] = []

    def catch(module: nn.Module, arguments: tuple[torch.Tensor]) -> None:
        if isinstance(module, Classifier) and module.training:
            seen.extend(arguments[0].detach())

    hook = register_module_forward_pre_hook(catch)
    try:
        fit_fold(recipe, part, folder, device=torch.device("cpu"), imagenet=folder)
    finally:
        hook.remove()
    return {image.contiguous().numpy().tobytes() for image in seen}


def test_a_training_batch_s_tensor_is_the_served_tensor_bit_for_bit(
    trained: Any, scorer: Scorer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    served: list[torch.Tensor] = []
    original = torch_members.predict_logits

    def catch(classifier: Any, images: torch.Tensor, *, views: int) -> torch.Tensor:
        served.append(images)
        return original(classifier, images, views=views)

    part = trained.parts[0]
    seen = _trained_tensors(trained.recipe, part, tmp_path / "run")
    assert len(seen) == len(part.training)
    monkeypatch.setattr(torch_members, "predict_logits", catch)
    for row in part.training[::4]:
        served.clear()
        scorer.score(trained.photograph(int(row)))
        (image,) = served[0]
        assert image.contiguous().numpy().tobytes() in seen


def test_the_out_of_fold_logit_of_an_image_is_its_member_s_logit_of_the_file(
    trained: Any, scorer: Scorer, oof: pd.DataFrame
) -> None:
    for _, image in oof.iloc[::5].iterrows():
        answer = scorer.score(trained.photograph(image["row"]))
        held_out = answer.by_fold[image["fold"]]
        assert held_out == pytest.approx(image["prob"], abs=1e-6)
        assert _logits(scorer, held_out) == pytest.approx(image["logit"], abs=1e-5)
        # The other member trained on it, and answers differently.
        assert answer.by_fold[1 - image["fold"]] != pytest.approx(image["prob"], abs=1e-4)


def test_the_whole_file_of_out_of_fold_scores_is_reproduced_from_the_array(
    trained: Any, scorer: Scorer, oof: pd.DataFrame
) -> None:
    by_fold = scorer.member_probabilities(trained.array.rows(oof["row"].to_numpy()))[:, :, 1]
    held_out = by_fold[np.arange(len(oof)), oof["fold"]]
    assert np.allclose(held_out, oof["prob"], atol=1e-6)
    assert np.allclose(_logits(scorer, held_out), oof["logit"], atol=1e-5)


def test_several_views_are_averaged_as_evaluate_averages_them(trained: Any, bundle: Bundle) -> None:
    scorer = Scorer(replace(bundle, views=8))
    rows = trained.parts[0].validation
    served = scorer.member_logits(trained.array.rows(rows))
    for number, network in enumerate(scorer.classifiers.values()):
        evaluated = predict_rows(
            network, trained.array, rows, normalize="imagenet", views=8, batch_size=16
        )
        np.testing.assert_allclose(served[:, number], evaluated, atol=1e-5)


def test_a_row_of_the_array_scores_as_its_photograph(trained: Any, scorer: Scorer) -> None:
    rows = [0, 13, 40, 63]
    squares = scorer.score_squares(trained.array.rows(rows))
    for row, square in zip(rows, squares, strict=True):
        answer = scorer.score(trained.photograph(row))
        assert square.melanoma_probability == pytest.approx(answer.melanoma_probability, abs=1e-6)


def test_a_batch_of_many_is_each_one_by_itself(trained: Any, scorer: Scorer) -> None:
    files = [trained.photograph(row) for row in range(0, 64, 5)]
    # Sizes that differ, as photographs' do.
    files[3] = _png(np.tile(decode_image(files[3]).pixels, (2, 1, 1)))
    together = scorer.score_photographs([decode_image(file) for file in files])
    for file, answer in zip(files, together, strict=True):
        alone = scorer.score(file)
        assert answer.melanoma_probability == pytest.approx(alone.melanoma_probability, abs=1e-5)
        assert answer.by_fold == pytest.approx(alone.by_fold, abs=1e-5)
    assert len({round(answer.melanoma_probability, 6) for answer in together}) == len(files)


def test_the_answer_is_the_mean_of_its_members_probabilities(trained: Any, scorer: Scorer) -> None:
    for row in range(0, 64, 9):
        answer = scorer.score(trained.photograph(row))
        assert len(answer.by_fold) == 2
        assert answer.melanoma_probability == pytest.approx(np.mean(answer.by_fold), abs=1e-12)
        mean_logit = float(np.mean(_logits(scorer, answer.by_fold)))
        calibration = scorer.bundle.calibration
        other = expit(calibration.slope * mean_logit + calibration.intercept)
        assert list(answer.by_class) == ["benign", "melanoma"]
        assert answer.by_class["melanoma"] == pytest.approx(answer.melanoma_probability, abs=1e-12)
        assert sum(answer.by_class.values()) == pytest.approx(1.0, abs=1e-12)
        assert answer.melanoma_probability == pytest.approx(float(other), abs=0.1)


def test_each_member_s_own_shift_is_taken_out(trained: Any, bundle: Bundle) -> None:
    squares = trained.array.rows([5, 6])
    before = Scorer(bundle).member_probabilities(squares)[:, :, 1]
    first, second = bundle.members
    moved = replace(bundle, members=(first, replace(second, prior_shift=second.prior_shift - 1)))
    after = Scorer(moved).member_probabilities(squares)[:, :, 1]
    assert (after[:, 0] == before[:, 0]).all()
    raised = _logits(Scorer(bundle), after[:, 1]) - _logits(Scorer(bundle), before[:, 1])
    assert raised == pytest.approx([1.0, 1.0], abs=1e-6)


def test_an_image_is_flagged_from_the_threshold_on(trained: Any, bundle: Bundle) -> None:
    rows = trained.array.rows(range(0, 64, 4))
    probabilities = [a.melanoma_probability for a in Scorer(bundle).score_squares(rows)]
    middle = sorted(probabilities)[8]
    first, *others = bundle.thresholds
    at_middle = replace(bundle, thresholds=(replace(first, value=middle), *others))
    answers = Scorer(at_middle).score_squares(rows)
    assert [a.flagged for a in answers] == [p >= middle for p in probabilities]
    assert sum(a.flagged for a in answers) == 8
    stated = bundle.report.thresholds[0]
    reached = (Reached(**dict(one)) for one in (stated.sensitivity, stated.specificity))
    assert answers[0].threshold == ServedPoint(middle, "sensitivity 0.95", *reached)
    for answer in answers:
        asked = [(p.at, p.flagged) for p in answer.thresholds]
        expected = [answer.melanoma_probability >= p.value for p in at_middle.thresholds]
        assert asked == list(zip((p.at for p in bundle.thresholds), expected, strict=True))
    assert {"sensitivity 0.8", "specificity 0.9"} <= {p.at for p in answers[0].thresholds}
    # The threshold stands beside the probability and never in it.
    assert [a.melanoma_probability for a in answers] == probabilities


def test_any_threshold_may_be_asked_for_with_what_it_reaches(trained: Any, bundle: Bundle) -> None:
    oof = pd.read_csv(trained.folder / "oof.csv")
    melanoma = (oof["target"] == 1).to_numpy()
    square = trained.array.rows([0])
    for value in (0.0, *oof["prob"].quantile([0.1, 0.5, 0.9]) + 1e-9, 1.0):
        (answer,) = Scorer(bundle, threshold=value).score_squares(square)
        flagged = (oof["prob"] >= value).to_numpy()
        assert answer.threshold is not None
        found = [answer.threshold.sensitivity.value, answer.threshold.specificity.value]
        assert found == pytest.approx(
            [flagged[melanoma].mean(), 1 - flagged[~melanoma].mean()], abs=1e-6
        )
        assert (answer.threshold.value, answer.threshold.at) == (value, "asked for")
        assert answer.flagged == (answer.melanoma_probability >= value)
        # The bundle's own stay what they are.
        own = Scorer(bundle).score_squares(square)[0]
        assert answer.thresholds == own.thresholds
    scorer = Scorer(bundle, threshold=0.3)
    assert scorer.of_fold(0).threshold == 0.3
    (answer,) = Scorer(replace(bundle, curve=None), threshold=0.3).score_squares(square)
    assert answer.threshold == ServedPoint(0.3, "asked for")
    for value in (-0.1, 1.5):
        with pytest.raises(RecipeError, match="a probability from 0 to 1"):
            Scorer(bundle, threshold=value)
    with pytest.raises(RecipeError, match="names no melanoma class"):
        Scorer(replace(bundle, melanoma=()), threshold=0.5)


def test_the_prediction_is_the_likelier_class(trained: Any, bundle: Bundle) -> None:
    for intercept, name in ((-8.0, "benign"), (8.0, "melanoma")):
        calibration = replace(bundle.calibration, intercept=intercept, slope=1e-3)
        answer = Scorer(replace(bundle, calibration=calibration)).score(trained.photograph(0))
        assert answer.prediction == name
        assert answer.probability == max(answer.by_class.values()) > 0.99


def test_red_and_blue_swapped_changes_the_answer(trained: Any, scorer: Scorer) -> None:
    for row in (0, 20, 50):
        pixels = decode_image(trained.photograph(row)).pixels
        upright, swapped = (scorer.score(_png(p)) for p in (pixels, pixels[..., ::-1].copy()))
        assert abs(upright.melanoma_probability - swapped.melanoma_probability) > 1e-4


def test_a_lossless_copy_scores_the_same_and_the_name_of_nothing_matters(
    trained: Any, scorer: Scorer
) -> None:
    data = trained.photograph(7)
    copy = _png(decode_image(data).pixels)
    assert scorer.score(copy).by_fold == scorer.score(data).by_fold


def test_an_answer_is_plain_json_with_its_model_and_disclaimer(
    trained: Any, scorer: Scorer, bundle: Bundle
) -> None:
    answer = scorer.score(trained.photograph(3)).as_dict()
    named = {"name": "tiny", "version": 1, "digest": bundle.digest, "folds": 2}
    runs = {"image_type": "any", "backend": "torch", "precision": "float32"}
    assert answer["model"] == {**named, **runs}
    assert "not a medical device" in answer["disclaimer"]
    assert answer["warnings"] == []
    assert answer["calibrated"] is True


def test_other_views_than_those_evaluated_are_warned_of_and_change_the_answer(
    trained: Any, bundle: Bundle, scorer: Scorer
) -> None:
    photograph = trained.photograph(3)
    answer = Scorer(bundle, views=4).score(photograph)
    assert answer.warnings == ["views: scored with 4, evaluated with 1"]
    usual = scorer.score(photograph)
    assert answer.melanoma_probability != pytest.approx(usual.melanoma_probability, abs=1e-6)
    assert Scorer(bundle, views=1).score(photograph).warnings == []


def test_fewer_folds_than_the_recipe_are_warned_of_in_every_answer(
    trained: Any, copied: Path
) -> None:
    """Fold 1 was never trained: sealed with what there is, and saying so."""
    for file in (copied / "fold_1").iterdir():
        file.unlink()
    (copied / "fold_1").rmdir()
    for name in ("recipe.yaml", "report.json", "oof.csv", "manifest.json"):
        (copied / name).unlink()
    report = evaluate_folds(
        trained.recipe, copied, trained.folder.parent / "folds.csv", allow_missing=True
    )
    assert any("1 of 2 folds" in warning for warning in report.content.warnings)
    answer = Scorer(load_bundle(copied)).score(trained.photograph(0))
    assert answer.warnings == ["fewer_folds: 1 of 2"]
    assert answer.model.folds == len(answer.by_fold) == 1


def test_the_photograph_s_own_warnings_come_with_the_answer(scorer: Scorer) -> None:
    black = np.zeros((64, 64, 3), np.uint8)
    answer = scorer.score(_png(black))
    assert answer.warnings == ["low_information"]
    assert np.isfinite(answer.melanoma_probability)


@pytest.mark.parametrize("data", [b"", b"text", b"\xff\xd8\xff\xe0 cut off"])
def test_what_is_no_photograph_is_refused(data: bytes, scorer: Scorer) -> None:
    with pytest.raises(ImageError):
        scorer.score(data)


def test_a_member_that_answers_nan_is_an_error_and_no_score(
    trained: Any, bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = Scorer(bundle)
    with torch.no_grad():
        scorer.classifiers[1].head.bias.fill_(torch.nan)
    with pytest.raises(ScoreError, match="not a finite number"):
        scorer.score(trained.photograph(0))
