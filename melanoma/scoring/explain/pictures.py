"""Pictures of explanations: the photograph, the explanation over it, a legend, a caption. PNG.

Drawn on a figure of its own, without a display and without matplotlib's global state, so that a
service may draw in a thread.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import numpy.typing as npt

from melanoma.data.images import Pixels, scored_part
from melanoma.scoring.explain.explainer_catalog import EXPLAINERS
from melanoma.scoring.explain.explainers import Explanation, GradcamExplanation, LimeExplanation
from melanoma.types import Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Text

_INK, _MUTED = "#1f2933", "#52606d"
# Okabe and Ito's blue and vermilion: told apart by every kind of color vision, on any skin.
_BLUE, _ORANGE = (0, 114, 178), (213, 94, 0)
_LIGHT, _DARK = (255, 255, 255), (0, 0, 0)  # an edge of two lines is seen on pale and dark alike
_TINT = 0.42  # of the colour over a superpixel; the skin stays visible
_WIDTH, _DPI, _PANEL = 10.0, 110, 0.46  # inches, their dots, and a panel's share of the width
_WIDE = 0.96  # of the figure's width, for a line below both panels
_SMALLEST = 7.0  # points of a line that had to be set smaller
# Viridis's own: lighter step by step, so that it is read without colors too.
_HEAT_COLORS = ("#440154", "#31688e", "#35b779", "#fde725")


def import_drawing() -> None:
    """Import what the first picture would: half a second in which Python runs nothing else."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import matplotlib.patheffects  # noqa: F401
    from skimage.segmentation import find_boundaries, quickshift  # noqa: F401


def draw_explanation(explanation: Explanation, pixels: Pixels) -> bytes:
    """PNG: the scored part of the photograph `pixels` (H, W, 3), and the explanation over it."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas: Any = FigureCanvasAgg(lay_out_explanation(explanation, pixels))  # has no types
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())
    # Packing harder takes longer than all of the drawing.
    how = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
    return cv2.imencode(".png", cv2.cvtColor(drawn, cv2.COLOR_RGBA2BGR), how)[1].tobytes()


def lay_out_explanation(explanation: Explanation, pixels: Pixels) -> Figure:
    """What draw_explanation draws."""
    # Matplotlib takes a second to import, and an explanation may be wanted without its picture.
    from matplotlib.figure import Figure

    part = _to_panel(scored_part(pixels, fit=explanation.fit))
    height, width = part.shape[:2]
    panel = _WIDTH * _PANEL * height / width
    figure = Figure(figsize=(_WIDTH, panel + 1.75), dpi=_DPI, facecolor="white")
    # Margins in shares of the figure: the panels keep the photograph's proportions.
    low, high = 1.15 / (panel + 1.75), 1 - 0.55 / (panel + 1.75)
    left, right = (_bare(figure, (x, low, _PANEL, high - low)) for x in (0.02, 0.52))
    _show(left, part)
    _title(left, "Photograph, as far as it is scored")
    EXPLAINERS[explanation.method].draw(figure, right, part, explanation)
    caption, details = _caption(explanation), _details(explanation)
    details = f"{details}  {explanation.prediction.disclaimer}"
    for place, text, color, size in ((0.42, caption, _INK, 9.5), (0.16, details, _MUTED, 8.0)):
        y = place / (panel + 1.75)
        _fit(figure.text(0.02, y, _literal(text), color=color, fontsize=size), _WIDE)
    return figure


def tint_segments(part: Pixels, explanation: LimeExplanation) -> Pixels:
    """`part` with the largest superpixels blue (for) or orange (against), their edges a dark line
    inside a light one."""
    from skimage.segmentation import find_boundaries

    labels = _grow(explanation.segments, part)
    tinted = part.astype(np.float32)
    chosen = np.full(labels.shape, -1)
    for number in explanation.largest():
        here = labels == number
        color = _BLUE if explanation.weights[number] > 0 else _ORANGE
        tinted[here] = (1 - _TINT) * tinted[here] + _TINT * np.array(color, np.float32)
        chosen[here] = number
    tinted[find_boundaries(chosen, mode="thick")] = _LIGHT
    tinted[find_boundaries(chosen, mode="inner", background=-1)] = _DARK
    return tinted.astype(np.uint8)


def draw_lime(figure: Figure, axes: Axes, part: Pixels, explanation: LimeExplanation) -> None:
    """The largest superpixels tinted, each with its weight, and what the colors mean."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke

    _show(axes, tint_segments(part, explanation))
    _title(axes, f"{EXPLAINERS[explanation.method].title}: for and against {explanation.target}")
    labels = _grow(explanation.segments, part)
    for number in explanation.largest():
        row, column = _inner_point(labels == number)
        text = f"{100 * explanation.weights[number]:+.1f}".replace("-", "\N{MINUS SIGN}")
        outline: Any = withStroke(linewidth=2.5, foreground="black")
        axes.text(
            column, row, text, color="white", fontsize=9, weight="bold", ha="center", va="center"
        ).set_path_effects([outline])
    figure.legend(
        handles=[
            Patch(facecolor=_share(_BLUE), label="for"),
            Patch(facecolor=_share(_ORANGE), label="against"),
            Line2D([], [], color=_share(_DARK), linewidth=2, label="largest superpixels"),
        ],
        title="Numbers: percentage points of probability that showing the area adds",
        **_legend_place(axes),
        ncols=3,
    )


def draw_gradcam(figure: Figure, axes: Axes, part: Pixels, explanation: GradcamExplanation) -> None:
    """The map over the photograph, each of its cells as large as it is, and its scale."""
    from matplotlib.colors import LinearSegmentedColormap

    height, width = part.shape[:2]
    rows, columns = explanation.heat.shape
    colors = LinearSegmentedColormap.from_list("heat", _HEAT_COLORS)
    # Where nothing speaks for the class, the photograph itself is seen.
    shares = (0.1 + 0.45 * explanation.heat)[..., None]
    layer = np.concatenate([colors(explanation.heat)[..., :3] * 255 * shares, 1 - shares], axis=2)
    # Not smoothed: a map of 4 x 4 cells must not look as if it knew the lesion's edge.
    grown = cv2.resize(layer.astype(np.float32), (width, height), interpolation=cv2.INTER_NEAREST)
    _show(axes, (part * grown[..., 3:] + grown[..., :3]).round().astype(np.uint8))
    grid: dict[str, Any] = {"color": "white", "alpha": 0.45, "linewidth": 0.6}
    axes.hlines(np.arange(1, rows) * height / rows - 0.5, -0.5, width - 0.5, **grid)
    axes.vlines(np.arange(1, columns) * width / columns - 0.5, -0.5, height - 0.5, **grid)
    _title(axes, f"{EXPLAINERS[explanation.method].title}: what speaks for {explanation.target}")
    _draw_scale(figure, axes, colors(np.linspace(0, 1, 256))[None, :, :3])


def _draw_scale(figure: Figure, axes: Axes, colors: Floats) -> None:
    """The colors (1, n, 3) from low to high below the axes."""
    box = axes.get_position()
    x, width, y = box.x0 + 0.1 * box.width, 0.8 * box.width, box.y0 - 0.035
    scale = _bare(figure, (x, y, width, 0.022))
    scale.imshow((colors * 255).astype(np.uint8), interpolation="nearest", aspect="auto")
    for share, text in ((0, "low"), (0.5, "evidence for the class"), (1, "high")):
        figure.text(
            *(x + share * width, y - 0.008, text), color=_INK, fontsize=8.5, ha="center", va="top"
        )


def _caption(explanation: Explanation) -> str:
    answer = explanation.prediction
    caption = f"prediction: {answer.prediction} - {answer.probability:.1%}"
    if answer.melanoma_probability is not None:
        caption += f"    melanoma probability {answer.melanoma_probability:.1%}"
    return f"{caption}    explained: {explanation.target}"


def _details(explanation: Explanation) -> str:
    model = explanation.prediction.model
    folds = explanation.folds
    who = f"fold {folds[0]}" if len(folds) == 1 else f"{len(folds)} folds"
    return f"{model.name} {model.digest[:8]}, {who}; {explanation.details}."


def _bare(figure: Figure, place: tuple[float, float, float, float]) -> Axes:
    """Axes without ticks, whose making and measuring takes longer than a photograph's drawing."""
    axes = figure.add_axes(place, xticks=[], yticks=[])
    axes.set_axis_off()
    return axes


def _show(axes: Axes, pixels: Pixels) -> None:
    # As large as it is drawn, to a pixel: matplotlib's resampling costs much and would add nothing.
    axes.imshow(pixels, interpolation="nearest")


def _title(axes: Axes, text: str) -> None:
    box, figure = axes.get_position(), axes.get_figure(root=True)
    assert figure is not None
    above = 6 / 72 / figure.get_size_inches()[1]  # six points, as axes leave below their title
    written = figure.text(
        *(box.x0, box.y1 + above, _literal(text)), color=_INK, fontsize=11, weight="bold"
    )
    _fit(written, box.width)


def _fit(text: Text, share: float) -> None:
    """Set the text smaller, then cut it at its end, until it is no wider than this share of the
    figure: a class may have a name as long as a sentence."""
    figure = text.get_figure(root=True)
    assert figure is not None
    most, width = share * figure.bbox.width, text.get_window_extent().width
    if width > most:
        text.set_fontsize(max(_SMALLEST, float(text.get_fontsize()) * most / width))
    content = text.get_text()
    while text.get_window_extent().width > most and len(content) > 1:
        content = content[:-1].rstrip(" \\")
        text.set_text(f"{content}\N{HORIZONTAL ELLIPSIS}")


def _literal(text: str) -> str:
    """Matplotlib reads what stands between two dollars as a formula."""
    return text.replace("$", r"\$")


def _legend_place(axes: Axes) -> dict[str, Any]:
    box = axes.get_position()
    return {
        "loc": "upper center",
        "bbox_to_anchor": (box.x0 + box.width / 2, box.y0),
        "frameon": False,
        "fontsize": 9,
        "title_fontsize": 8,
    }


def _share(color: tuple[int, int, int]) -> tuple[float, float, float]:
    red, green, blue = color
    return red / 255, green / 255, blue / 255


def _to_panel(part: Pixels) -> Pixels:
    """As wide as a panel, in its proportions."""
    height, width = part.shape[:2]
    wide = round(_WIDTH * _PANEL * _DPI)
    method = cv2.INTER_AREA if wide < width else cv2.INTER_CUBIC
    size = (wide, max(1, round(height * wide / width)))
    return cv2.resize(part, size, interpolation=method).astype(np.uint8, copy=False)


def _grow(segments: npt.NDArray[np.int64], part: Pixels) -> npt.NDArray[np.int32]:
    height, width = part.shape[:2]
    labels = segments.astype(np.int32)
    return cv2.resize(labels, (width, height), interpolation=cv2.INTER_NEAREST).astype(np.int32)


def _inner_point(mask: npt.NDArray[np.bool_]) -> tuple[int, int]:
    """The row and column that lie deepest inside: a centroid may lie outside a crescent."""
    framed = np.pad(mask, 1).astype(np.uint8)
    depth = cv2.distanceTransform(framed, cv2.DIST_L2, 3)[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    return int(row), int(column)
