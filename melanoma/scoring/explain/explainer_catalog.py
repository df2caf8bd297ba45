"""EXPLAINERS: every way to explain an answer, one entry each.

Command, service, OpenAPI page and page read the entries. The functions import what they need when
they are called, so that --help and a client wait for no torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from melanoma.errors import RecipeError, suggest
from melanoma.scoring.explain.answers import ExplanationAnswer, GradcamAnswer, LimeAnswer
from melanoma.scoring.explain.explain_options import Question

if TYPE_CHECKING:
    from melanoma.data.images import Pixels
    from melanoma.scoring.explain.explainers import Explanation
    from melanoma.scoring.explain.pictures import Panel
    from melanoma.scoring.scorer import Scorer


class Explain(Protocol):
    """An Explanation of the scorer's answer about `square`, or about that of `pixels` where there
    is none; `warnings` are the photograph's. What is slow looks at `deadline`, in seconds, and at
    `should_stop` as it goes, and raises ExplanationError when either ends it."""

    def __call__(
        self,
        scorer: Scorer,
        pixels: Pixels,
        question: Question,
        *,
        square: Pixels | None,
        warnings: Sequence[str] | None,
        deadline: float | None,
        should_stop: Callable[[], bool],
    ) -> Explanation: ...


@dataclass(frozen=True)
class Explainer:
    """A way to explain.

    `title` is its name for people. `options` are the fields of Question that it reads besides
    `target`. Where `slow`, a service makes one at a time, within its deadline; else it goes
    between the scores. `draw` draws it over the photograph (panel, photograph, explanation);
    `answer` is its form in JSON.
    """

    title: str
    explain: Explain
    draw: Callable[[Panel, Pixels, Explanation], None]
    answer: type[ExplanationAnswer]
    options: tuple[str, ...] = ()
    slow: bool = False


def find_explainer(name: str) -> Explainer:
    """The entry of that name. Raises RecipeError listing the known ones."""
    if name not in EXPLAINERS:
        raise RecipeError(f"--method {name}: {suggest(name, EXPLAINERS)}")
    return EXPLAINERS[name]


def explain(
    scorer: Scorer,
    pixels: Pixels,
    question: Question,
    *,
    square: Pixels | None = None,
    warnings: Sequence[str] | None = None,
    deadline: float | None = None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Explanation:
    """What the question's method says of decoded `pixels` (H, W, 3). Raises as its entry does.

    Where `pixels` were made smaller to be kept for long, `square` is the whole photograph's, and so
    are `warnings`, its decoder's.
    """
    entry = find_explainer(question.method)
    return entry.explain(
        scorer,
        pixels,
        question,
        square=square,
        warnings=warnings,
        deadline=deadline,
        should_stop=should_stop,
    )


def _gradcam(
    scorer: Scorer,
    pixels: Pixels,
    question: Question,
    *,
    square: Pixels | None,
    warnings: Sequence[str] | None,
    deadline: float | None,
    should_stop: Callable[[], bool],
) -> Explanation:
    from melanoma.scoring.explain.explainers import explain_gradcam

    return explain_gradcam(scorer, pixels, square=square, warnings=warnings, target=question.target)


def _draw_gradcam(panel: Panel, part: Pixels, explanation: Explanation) -> None:
    from melanoma.scoring.explain.explainers import GradcamExplanation
    from melanoma.scoring.explain.pictures import draw_gradcam

    assert isinstance(explanation, GradcamExplanation)
    draw_gradcam(panel, part, explanation)


def _lime(
    scorer: Scorer,
    pixels: Pixels,
    question: Question,
    *,
    square: Pixels | None,
    warnings: Sequence[str] | None,
    deadline: float | None,
    should_stop: Callable[[], bool],
) -> Explanation:
    from melanoma.scoring.explain.explainers import explain_lime

    return explain_lime(
        scorer,
        pixels,
        square=square,
        warnings=warnings,
        target=question.target,
        precision=question.precision,
        seed=question.seed,
        deadline=deadline,
        should_stop=should_stop,
    )


def _draw_lime(panel: Panel, part: Pixels, explanation: Explanation) -> None:
    from melanoma.scoring.explain.explainers import LimeExplanation
    from melanoma.scoring.explain.pictures import draw_lime

    assert isinstance(explanation, LimeExplanation)
    draw_lime(panel, part, explanation)


# Adding an explanation is its functions and one entry here, the quick ones first.
EXPLAINERS: dict[str, Explainer] = {
    "gradcam": Explainer(
        title="Grad-CAM", explain=_gradcam, draw=_draw_gradcam, answer=GradcamAnswer
    ),
    "lime": Explainer(
        title="LIME",
        explain=_lime,
        draw=_draw_lime,
        answer=LimeAnswer,
        options=("precision", "seed"),
        slow=True,
    ),
}
