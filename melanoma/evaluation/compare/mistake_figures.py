"""Pictures of what a run gets wrong: two charts, and two sheets of photographs.

The sheets show the data set's own photographs, so they are for whoever may hold them, and are
drawn on request only.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import ceil, sqrt
from pathlib import Path
from typing import NamedTuple

import numpy as np

from melanoma.data.arrays import ImageArray
from melanoma.data.duplicates.contact_sheet import Tile, save_contact_sheet
from melanoma.errors import DataError
from melanoma.evaluation.compare.evaluated_run import EvaluatedRun
from melanoma.evaluation.compare.mistakes import (
    calls,
    cross_entropies,
    find_mistakes,
)
from melanoma.evaluation.metrics.decisions import confusion_matrix
from melanoma.evaluation.render.figure_style import ACCENT, ALARM, INK, figure_at
from melanoma.types import Floats, Integers

_SHEET = 24  # photographs on a sheet
_ACROSS = 6


class Answers(NamedTuple):
    """What was asked and answered: names of images (N), (N, C) probabilities, (N,) targets."""

    names: tuple[str, ...]
    classes: tuple[str, ...]
    probabilities: Floats
    target: Integers


def read_answers(run: EvaluatedRun, classes: Sequence[str]) -> Answers:
    """The run's out-of-fold probabilities as (N, C), from either format of oof.csv.

    Raises DataError when they are not probabilities of these classes.
    """
    columns = [f"prob_{name}" for name in classes]
    if all(column in run.frame for column in columns):
        probabilities = run.frame[columns].to_numpy(np.float64)
    elif len(classes) == 2 and "prob" in run.frame:
        second = run.column("prob")
        probabilities = np.column_stack([1 - second, second])
    else:
        absent = next(column for column in columns if column not in run.frame)
        raise DataError(f"{run.folder / 'oof.csv'} has no column {absent} of a class in the recipe")
    if not ((run.target >= 0) & (run.target < len(classes))).all():
        raise DataError(f"{run.folder / 'oof.csv'} has a target that is none of {len(classes)}")
    names = tuple(map(str, run.frame["image_name"]))
    return Answers(names, tuple(classes), probabilities, run.target)


def save_mistakes(
    run: EvaluatedRun, classes: Sequence[str], array: ImageArray, folder: Path
) -> list[Path]:
    """Write all four PNGs into `folder`; those without a mistake to show are left out.

    Raises DataError, before anything is written, when the array lacks a scored image.
    """
    answers = read_answers(run, classes)
    absent = [name for name in answers.names if name not in array.row_of]
    if absent:
        raise DataError(
            f"{array.path} lacks {len(absent)} of the run's {len(answers.names)} images, such as "
            f"{absent[0]}; name the folder that the run was trained from with --arrays"
        )
    folder.mkdir(parents=True, exist_ok=True)
    save_confusion(answers, folder / "confusion.png", title=run.name)
    save_confidence(answers, folder / "wrong_confidence.png", title=run.name)
    written = [folder / "confusion.png", folder / "wrong_confidence.png"]
    mistakes = find_mistakes(answers.probabilities, answers.target, count=_SHEET)
    sheets = {
        "mistakes_confident": (mistakes.confident, "mistakes, the surest first"),
        "mistakes_unsure": (mistakes.unsure, "mistakes, the least sure first"),
    }
    for name, (rows, title) in sheets.items():
        if len(rows):
            written.append(folder / f"{name}.png")
            tiles = list(mistake_tiles(answers, rows, array))
            grid = [tiles[at : at + _ACROSS] for at in range(0, len(tiles), _ACROSS)]
            save_contact_sheet(written[-1], grid, title=f"{run.name}: {title}")
    return written


def mistake_tiles(answers: Answers, rows: Integers, array: ImageArray) -> Iterator[Tile]:
    """Each row's photograph with its true class, the called one, and what they were given."""
    called, sure = calls(answers.probabilities, answers.target)
    lost = cross_entropies(answers.probabilities, answers.target)
    pixels = array.rows([array.row_of[answers.names[row]] for row in rows])
    for image, row in zip(pixels, rows, strict=True):
        true = int(answers.target[row])
        lines = (
            f"is {answers.classes[true]} ({answers.probabilities[row, true]:.2f})",
            f"called {answers.classes[called[row]]} ({sure[row]:.2f})",
            f"{answers.names[row]}, loss {lost[row]:.2f}",
        )
        yield Tile(image, lines)


def save_confusion(answers: Answers, path: Path, *, title: str) -> None:
    """Write the confusion matrix: counts, shaded by their share of the true class (row)."""
    classes = answers.classes
    called, _ = calls(answers.probabilities, answers.target)
    counts = confusion_matrix(answers.target, called, classes=len(classes))
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    # A cell must hold its count: room for the digits, and for names to the left.
    cell = 1.1 if len(classes) <= 4 else 0.72 if len(classes) <= 10 else 0.5
    margin = 0.075 * min(max(map(len, classes)), 28) + 0.6
    side = cell * len(classes)
    names = [name if len(name) <= 28 else name[:27] + "\N{HORIZONTAL ELLIPSIS}" for name in classes]
    with figure_at(path, width=max(side + margin + 0.4, 4.2), height=side + margin + 0.5) as axes:
        axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        size = 10 if cell > 1 else 8 if cell > 0.6 else 7.5
        for i, j in np.ndindex(*counts.shape):
            if counts[i, j] or len(classes) <= 10:
                text = f"{counts[i, j]:,}"
                if len(classes) <= 10 and totals[i, 0]:
                    text += f"\n{shares[i, j]:.0%}"
                color = "white" if shares[i, j] > 0.55 else INK
                axes.text(j, i, text, ha="center", va="center", fontsize=size, color=color)
        places = range(len(classes))
        slanted = max(map(len, names)) * 0.075 > cell
        axes.set_xticks(
            places,
            names,
            rotation=45 if slanted else 0,
            ha="right" if slanted else "center",
            rotation_mode="anchor",
            fontsize=8 if slanted else 10,
        )
        axes.set_yticks(places, names, fontsize=8 if slanted else 10)
        axes.tick_params(length=0)
        axes.spines[:].set_visible(False)
        right = float(np.trace(counts)) / max(int(counts.sum()), 1)
        axes.set(xlabel="called (likeliest class)", ylabel="is")
        axes.set_title(f"{title}: {right:.1%} of {counts.sum():,} right", wrap=True)


def save_confidence(answers: Answers, path: Path, *, title: str) -> None:
    """Write a histogram of the called class's probability, wrong answers against right ones."""
    called, sure = calls(answers.probabilities, answers.target)
    wrong = called != answers.target
    # The likeliest of C classes has at least 1 / C.
    low = 1 / len(answers.classes)
    edges = np.linspace(low, 1, min(26, max(11, ceil(sqrt(len(sure))))))
    with figure_at(path, width=6.4, height=4.0) as axes:
        for rows, color, what in ((~wrong, ACCENT, "right"), (wrong, ALARM, "wrong")):
            if rows.any():
                heights = np.histogram(sure[rows], edges)[0] / rows.sum()
                label = f"{what}: {rows.sum():,}, median {np.median(sure[rows]):.2f}"
                axes.stairs(heights, edges, color=color, fill=True, alpha=0.3)
                axes.stairs(heights, edges, color=color, linewidth=2, label=label)
        axes.set(
            xlabel="probability of the called (likeliest) class",
            ylabel="share of the right, and of the wrong answers",
            xlim=(low, 1),
            title=f"{title}: how sure, right and wrong",
        )
        axes.legend(loc="best", frameon=False)
