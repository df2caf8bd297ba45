"""Loss and learning rate against the epoch, a line a fold: how the training went."""

from __future__ import annotations

from collections.abc import Sequence

from melanoma.evaluation.render.chart_words import ENGLISH, Words
from melanoma.evaluation.render.svg import Axis, Panel, legend, ticks_between
from melanoma.evaluation.report.schema import FoldHistory


def draw_training(histories: Sequence[FoldHistory], words: Words = ENGLISH) -> dict[str, str]:
    """`losses` and `rates`, each an <svg>; nothing where no epoch was recorded."""
    begun = [history for history in histories if history.epochs]
    if not begun:
        return {}
    return {"losses": draw_losses(begun, words), "rates": draw_rates(begun, words)}


def draw_losses(histories: Sequence[FoldHistory], words: Words) -> str:
    """Loss in training, and on the held-out images, of every fold."""
    values = [
        loss
        for history in histories
        for loss in (*history.loss, *history.held_out_loss)
        if loss is not None
    ]
    panel = Panel("losses", _epochs(histories, words), _axis("loss", values, words), top=28)
    lines = (("curve", "training"), ("all", "held-out images"))
    panel.marks += legend(0, 14, [(kind, words(name)) for kind, name in lines])
    for history in histories:
        for kind, losses in (("curve thin", history.loss), ("all", history.held_out_loss)):
            points = [(e, v) for e, v in zip(history.epochs, losses, strict=True) if v is not None]
            _trace(panel, points, kind, words("fold {fold}", fold=str(history.fold)))
    desc = words(
        "Loss against the epoch in training and on the held-out images, {folds} folds. Training's "
        "has the recipe's weights, smoothing and augmentation; the other has none.",
        folds=str(len(histories)),
    )
    return panel.svg(words("Loss by epoch"), desc)


def draw_rates(histories: Sequence[FoldHistory], words: Words) -> str:
    """The highest learning rate of every epoch's end, of every fold."""
    values = [rate for history in histories for rate in history.rate]
    panel = Panel("rates", _epochs(histories, words), _axis("learning rate", values, words))
    for history in histories:
        points = list(zip(history.epochs, history.rate, strict=True))
        _trace(panel, points, "curve thin", words("fold {fold}", fold=str(history.fold)))
    desc = words(
        "The head's learning rate at the end of each epoch; highest {most}.",
        most=f"{max(values, default=0):.3g}",
    )
    return panel.svg(words("Learning rate by epoch"), desc)


def _trace(panel: Panel, points: Sequence[tuple[float, float]], kind: str, tip: str) -> None:
    if not points:
        return
    panel.line([x for x, _ in points], [y for _, y in points], kind)
    for x, y in points[-1:]:  # one epoch alone is a point, and no line
        panel.dot(x, y, "mark" if kind == "curve thin" else "mark hollow", tip=tip, radius=3.0)


def _epochs(histories: Sequence[FoldHistory], words: Words) -> Axis:
    last = max(max(history.epochs) for history in histories)
    ticks = sorted({round(tick) for tick in ticks_between(1, max(last, 2)) if tick >= 1} | {1})
    return Axis(words("epoch"), 0.8, last + 0.2, tuple(map(float, ticks)), lambda t: f"{t:.0f}")


def _axis(label: str, values: Sequence[float], words: Words) -> Axis:
    top = max(values, default=1.0) * 1.05 or 1.0
    return Axis(
        words(label), 0.0, top, ticks_between(0.0, top), lambda tick: words.number(f"{tick:.3g}")
    )
