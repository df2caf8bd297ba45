"""LIME is the lime package's method, on the square that the model sees, and always the same."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from lime.lime_image import LimeImageExplainer

from melanoma.data.images import make_square
from melanoma.errors import RecipeError
from melanoma.models.classifier import make_classifier
from melanoma.scoring.explain import lime
from melanoma.scoring.explain.lime import (
    PRECISIONS,
    count_evaluations,
    draw_switches,
    find_segments,
    fit_surrogate,
    hide_segments,
    measure_coverage,
)


class _Drawn:
    """In place of lime's random state: hands out switches that were drawn before."""

    def __init__(self, switches: np.ndarray) -> None:
        self.switches = switches

    def randint(self, *_: object, **__: object) -> np.ndarray:
        return self.switches.astype(int).ravel()


@pytest.fixture(scope="module")
def lesion() -> np.ndarray:
    """A dark blot on skin, 300 x 400, with enough texture for many superpixels."""
    rng = np.random.default_rng(1)
    texture = cv2.GaussianBlur(rng.normal(0, 1, (300, 400, 3)), (0, 0), 6)
    pixels = np.array([205, 165, 140]) + 150 * texture
    y, x = np.mgrid[:300, :400]
    inside = ((y - 140) / 80) ** 2 + ((x - 210) / 110) ** 2 < 1 + 2 * texture[..., 0]
    pixels[inside] -= (90, 95, 80)
    return pixels.clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def segments(lesion: np.ndarray) -> lime.Segments:
    return find_segments(lesion, seed=0)


def _blocks(size: int, count: int) -> np.ndarray:
    """`count` x `count` superpixels, numbered by rows."""
    steps = np.arange(size) * count // size
    return np.add.outer(count * steps, steps).astype(np.int64)


def test_the_evaluations_are_those_of_the_original() -> None:
    assert PRECISIONS == {"Low": 50, "Medium": 200, "High": 1000}
    with pytest.raises(RecipeError, match=r"'low'; known, .*Low \(50\), Medium \(200\)"):
        count_evaluations("low")


@pytest.mark.parametrize("evaluations", [50, 200])
def test_the_lime_package_finds_the_same_weights_in_the_same_images(
    lesion: np.ndarray, evaluations: int
) -> None:
    square, segments = make_square(lesion, size=64, fit="squash"), _blocks(64, 6)
    switches = draw_switches(evaluations, 36, rng=np.random.default_rng(5))
    coefficients = np.random.default_rng(6).normal(0, 1, (64, 64))
    seen: list[np.ndarray] = []

    def probabilities(images: np.ndarray) -> np.ndarray:
        seen.extend(images)
        logits = (images.mean(axis=3) / 255 * coefficients).mean(axis=(1, 2)) * 80
        melanoma = 1 / (1 + np.exp(-logits))
        return np.stack([1 - melanoma, melanoma], axis=1)

    explainer = LimeImageExplainer(random_state=0)
    explainer.random_state = _Drawn(switches)
    theirs = explainer.explain_instance(
        square,
        probabilities,
        labels=(1,),
        top_labels=None,
        hide_color=0,
        num_samples=evaluations,
        segmentation_fn=lambda _: segments,
        random_seed=0,
    )
    ours = hide_segments(square, switches, measure_coverage(segments, size=64))
    assert np.array_equal(ours, np.stack(seen))
    fit = fit_surrogate(switches, probabilities(ours)[:, 1])
    weights = dict(theirs.local_exp[1])
    assert np.allclose(fit.weights, [weights[n] for n in range(36)], atol=1e-9, rtol=0)
    assert fit.intercept == pytest.approx(theirs.intercept[1], abs=1e-9)
    assert fit.r2 == pytest.approx(theirs.score, abs=1e-9)
    assert 0.5 < fit.r2 < 1  # the comparison is of a fit that means something


def test_quickshift_has_the_original_s_parameters(
    lesion: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}

    def catch(image: np.ndarray, **arguments: object) -> np.ndarray:
        given.update(arguments, shape=image.shape)
        return _blocks(192, 4)

    monkeypatch.setattr("skimage.segmentation.quickshift", catch)
    find_segments(lesion, seed=3)
    assert given == {
        "kernel_size": 4,
        "max_dist": 200,
        "ratio": 0.2,
        "rng": 3,
        "shape": (192, 256, 3),
    }


def test_the_weights_solve_the_normal_equations_of_weighted_ridge() -> None:
    rng = np.random.default_rng(2)
    switches, y = draw_switches(80, 7, rng=rng), rng.uniform(0, 1, 80)
    ones = switches.sum(axis=1)
    distance = 1 - ones / np.sqrt(np.maximum(ones, 1) * 7)
    w = np.exp(-(distance**2) / (2 * 0.25**2))
    x = switches - np.average(switches, axis=0, weights=w)
    centred = y - np.average(y, weights=w)
    expected = np.linalg.solve(x.T @ (w[:, None] * x) + np.eye(7), x.T @ (w * centred))
    fit = fit_surrogate(switches, y)
    assert np.allclose(fit.weights, expected, atol=1e-10)
    residual = centred - x @ expected
    assert fit.r2 == pytest.approx(1 - (w @ residual**2) / (w @ centred**2), abs=1e-10)


def test_a_row_that_hides_everything_is_as_far_as_a_row_can_be() -> None:
    # The cosine with a vector of zeros is undefined; scikit-learn, and so lime, count it as 0.
    switches = np.array([[True, True], [False, False], [True, False], [False, True]])
    with np.errstate(all="raise"):
        fit = fit_surrogate(switches, np.array([0.9, 0.1, 0.5, 0.4]))
    assert np.isfinite(fit.weights).all()


def test_the_first_row_shows_everything_and_the_others_half() -> None:
    switches = draw_switches(1000, 60, rng=np.random.default_rng(0))
    assert switches[0].all()
    assert 0.49 < switches[1:].mean() < 0.51
    assert not switches[1:].all(axis=1).any()


def test_with_everything_shown_the_image_is_the_scored_square_bit_for_bit(
    lesion: np.ndarray,
) -> None:
    segments = _blocks(320, 9)[:240]
    for size in (32, 100, 224, 400):  # smaller and larger than the superpixels' own picture
        square = make_square(lesion, size=size, fit="squash")
        coverage = measure_coverage(segments, size=size)
        shown = hide_segments(square, np.ones((1, coverage.shape[0]), bool), coverage)
        assert np.array_equal(shown[0], square)
        hidden = hide_segments(square, np.zeros((1, coverage.shape[0]), bool), coverage)
        assert not hidden.any()


def test_hiding_in_the_square_equals_resizing_every_hidden_photograph(
    lesion: np.ndarray, segments: lime.Segments
) -> None:
    full = cv2.resize(segments.astype(np.int32), (400, 300), interpolation=cv2.INTER_NEAREST)
    switches = draw_switches(40, int(segments.max()) + 1, rng=np.random.default_rng(0))
    photographs = [np.where(row[full][..., None], lesion, 0).astype(np.uint8) for row in switches]
    theirs = np.stack([make_square(p, size=64, fit="squash") for p in photographs])
    square = make_square(lesion, size=64, fit="squash")
    ours = hide_segments(square, switches, measure_coverage(segments, size=64))
    # Only pixels that a border crosses differ, by what the photograph varies within them.
    assert np.abs(ours.astype(int) - theirs).mean() < 1.5
    torch.manual_seed(0)
    network = make_classifier("tiny_resnet", outputs=1).eval()
    with torch.inference_mode():
        answers = [
            network(torch.from_numpy(images).permute(0, 3, 1, 2) / 127.5 - 1).sigmoid()[:, 0]
            for images in (ours, theirs)
        ]
    mine, other = (fit_surrogate(switches, a.double().numpy()).weights for a in answers)
    assert np.corrcoef(mine, other)[0, 1] > 0.99


def test_the_seed_breaks_ties(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lime, "LONGEST_SIDE", 80)
    flat = np.full((60, 80, 3), 120, np.uint8)
    even = [find_segments(flat, seed=seed) for seed in (0, 0, 1)]
    assert np.array_equal(even[0], even[1])
    assert not np.array_equal(even[0], even[2])


def test_superpixels_are_numbered_without_gaps(segments: lime.Segments) -> None:
    assert segments.shape == (192, 256)
    assert np.array_equal(np.unique(segments), np.arange(segments.max() + 1))
    assert 20 < segments.max() < 150


def test_a_small_photograph_has_superpixels_of_the_same_share_as_a_large_one(
    lesion: np.ndarray, segments: lime.Segments
) -> None:
    small = cv2.resize(lesion, (100, 75), interpolation=cv2.INTER_AREA)
    assert 0.4 < find_segments(small, seed=0).max() / segments.max() < 1.5
