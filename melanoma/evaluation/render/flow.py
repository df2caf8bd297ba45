"""The flow of images in the order of STARD: read, left out, scored, called, and what they are."""

from __future__ import annotations

from collections.abc import Sequence

from melanoma.evaluation.render.chart_words import Words
from melanoma.evaluation.render.svg import WIDTH, line, picture, text
from melanoma.evaluation.report.schema import ReportContent
from melanoma.evaluation.report.schema_parts import Flow

_LINE, _PAD, _GAP = 17.0, 9.0, 20.0  # a line of text, around it, between boxes
_MAIN, _SIDE = 176.0, 192.0  # the width of what goes on; where what is left out begins
_MIDDLE = _MAIN / 2


def draw_flow(content: ReportContent, words: Words) -> str:
    """Boxes from top to bottom; what the record does not tell is "not known"."""
    flow = content.flow or Flow()
    marks: list[str] = []
    y = _box(marks, 0, 0, _MAIN, [_counted(words, "images read", flow.read)])
    left_out = [_counted(words, "not readable", flow.unreadable), *_excluded(flow, words)]
    below = _box(marks, _SIDE, y + _GAP / 2, WIDTH - _SIDE, left_out, strong=False)
    branch = (y + _GAP / 2 + below) / 2
    marks += [line(_MIDDLE, y, _MIDDLE, below + _GAP / 2, "axis")]
    marks += [line(_MIDDLE, branch, _SIDE, branch, "axis")]
    y = _box(marks, 0, below + _GAP / 2, _MAIN, [_counted(words, "scored", content.data.images)])
    marks.append(line(_MIDDLE, y, _MIDDLE, y + _GAP, "axis"))
    y = _box(marks, 0, y + _GAP, WIDTH, _standards(content, words))
    calls, half = _calls(content, words), (WIDTH - 16) / 2
    bottom = y
    for x, lines in zip((0.0, half + 16), calls, strict=True):
        marks.append(line(x + half / 2, y, x + half / 2, y + _GAP, "axis"))
        bottom = _box(marks, x, y + _GAP, half, lines)
    desc = words("From {read} images read to {scored} scored.", **_ends(content, flow, words))
    return picture("flow", bottom + 2, marks, title=words("Flow of images"), desc=desc)


def _box(
    marks: list[str], x: float, y: float, width: float, lines: Sequence[str], *, strong: bool = True
) -> float:
    """A box of lines, the first one `strong`; where it ends."""
    height = 2 * _PAD + _LINE * len(lines) - 4
    marks.append(
        f'<rect x="{x + 0.5:.1f}" y="{y + 0.5:.1f}" width="{width - 1:.1f}" '
        f'height="{height:.1f}" rx="4" class="box"/>'
    )
    for row, entry in enumerate(lines):
        kind = "letter" if row == 0 and strong else "soft"
        marks.append(text(x + _PAD, y + _PAD + 10 + _LINE * row, entry, kind))
    return y + height + 1


def _counted(words: Words, what: str, count: int | None) -> str:
    """`10,015 scored`; `images read: not known`."""
    return f"{words(what)}: {_number(words, count)}"


def _number(words: Words, count: int | None) -> str:
    return words("not known") if count is None else words.number(f"{count:,}")


def _ends(content: ReportContent, flow: Flow, words: Words) -> dict[str, str]:
    read, scored = _number(words, flow.read), _number(words, content.data.images)
    return {"read": read, "scored": scored}


def _excluded(flow: Flow, words: Words) -> list[str]:
    """Why readable images have no score; one line where none was left out."""
    reasons = {
        "never held out": flow.never_held_out,
        "test part": flow.in_test_part,
        "fold not trained": flow.untrained,
        "known from training": flow.trained_on,
    }
    known = [count for count in reasons.values() if count is not None]
    lines = [_counted(words, "excluded", sum(known) if known else None)]
    return lines + [_counted(words, name, count) for name, count in reasons.items() if count]


def _standards(content: ReportContent, words: Words) -> list[str]:
    """How the labels of the scored images were established."""
    rows = [row for row in content.subgroups if row.column == "reference_standard"]
    if not rows:
        return [words("reference standard"), words("not recorded")]
    return [
        words("reference standard"),
        *(_counted(words, words.name(row.value.replace("_", "-")), row.images) for row in rows),
    ]


def _calls(content: ReportContent, words: Words) -> tuple[list[str], list[str]]:
    """What the threshold in use (else the likeliest class) called them, and what they are."""
    if not content.thresholds:
        right = sum(row[i] for i, row in enumerate(content.confusion.counts))
        wrong = content.data.images - right
        return [_counted(words, "called right", right)], [_counted(words, "called wrong", wrong)]
    point = content.thresholds[0]
    flagged = [
        _counted(words, "flagged", point.flagged),
        _counted(words, "melanomas", point.true_positives),
        _counted(words, "others", point.false_positives),
    ]
    not_flagged = [
        _counted(words, "not flagged", point.false_negatives + point.true_negatives),
        _counted(words, "melanomas, missed", point.false_negatives),
        _counted(words, "others", point.true_negatives),
    ]
    return flagged, not_flagged
