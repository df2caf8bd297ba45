"""Pictures of explanations: the photograph, the explanation over it, a legend, a caption. PNG.

Drawn on a figure of its own, without a display and without matplotlib's global state, so that a
service may draw in a thread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from melanoma.data.images import Pixels, scored_part
from melanoma.evaluation.number_format import threshold, told_apart
from melanoma.scoring.explain.explainer_catalog import EXPLAINERS
from melanoma.scoring.explain.explainers import Explanation, GradcamExplanation, LimeExplanation
from melanoma.types import Floats

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from matplotlib.text import Text

_INK, _MUTED = "#1f2933", "#52606d"
# Okabe and Ito's blue and vermilion: told apart by every kind of color vision, on any skin.
_BLUE, _ORANGE = (0, 114, 178), (213, 94, 0)
_LIGHT, _DARK = (255, 255, 255), (0, 0, 0)  # an edge of two lines is seen on pale and dark alike
_TINT = 0.42  # of the colour over a superpixel; the skin stays visible
_WIDTH, _DPI, _PANEL = 10.0, 110, 0.46  # inches, their dots, and a panel's share of the width
# Rows above and below the panels, for their titles and for what is said of them. The page cuts the
# panels out by these numbers (api/page/explained_picture.js).
_ABOVE, _BELOW = 63, 130
_WIDE = 0.96  # of the figure's width, for a line below both panels
_GRID = 0.45  # of white, in the lines between a map's cells
_SMALLEST = 7.0  # points of a line that had to be set smaller
# Viridis's own: lighter step by step, so that it is read without colors too.
_HEAT_COLORS = ("#440154", "#31688e", "#35b779", "#fde725")


def import_drawing() -> None:
    """Import what the first picture would: half a second in which Python runs nothing else."""
    import matplotlib.backends.backend_agg
    import matplotlib.figure
    import matplotlib.patheffects  # noqa: F401
    from skimage.segmentation import find_boundaries, quickshift  # noqa: F401


@dataclass(frozen=True)
class Panel:
    """Where a picture lies on the figure: its left and lower side, width and height in pixels.

    `below` holds what is shown, for every panel of the figure: it is laid under the figure, which
    has no axes. Making those, and images in them, takes longer than all else that is drawn.
    """

    figure: Figure
    left: int
    bottom: int
    width: int
    height: int
    below: Pixels

    def show(self, pixels: Pixels) -> None:
        """Lay (H, W, 3) uint8 RGB of the panel's own size below the figure."""
        top = len(self.below) - self.bottom - self.height
        self.below[top : top + self.height, self.left : self.left + self.width] = pixels

    def place(self, right: float, down: float) -> tuple[float, float]:
        """A point, in shares of the panel from its upper left corner, in shares of the figure."""
        wide, high = self.figure.bbox.size
        x, y = self.left + right * self.width, self.bottom + (1 - down) * self.height
        return float(x / wide), float(y / high)

    def title(self, text: str) -> None:
        """Write a line above it."""
        x, y = self.place(0, 0)
        above = 6 / 72 / self.figure.get_size_inches()[1]  # six points
        written = self.figure.text(
            *(x, y + above, _literal(text)), color=_INK, fontsize=11, weight="bold"
        )
        _fit(written, self.width / self.figure.bbox.width)


def draw_explanation(explanation: Explanation, pixels: Pixels) -> bytes:
    """PNG: the scored part of the photograph `pixels` (H, W, 3), and the explanation over it."""
    drawing = lay_out_explanation(explanation, pixels)
    canvas: Any = drawing.figure.canvas  # has no types
    canvas.draw()
    drawn = np.asarray(canvas.buffer_rgba())
    over = drawn[..., 3] > 0
    part = drawn[over].astype(np.float32)
    share = part[:, 3:] / 255
    picture = drawing.below
    picture[over] = (picture[over] * (1 - share) + part[:, :3] * share).round()
    # Packing harder takes longer than all of the drawing.
    how = (cv2.IMWRITE_PNG_COMPRESSION, 1, cv2.IMWRITE_PNG_STRATEGY, cv2.IMWRITE_PNG_STRATEGY_RLE)
    return cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), how)[1].tobytes()


class Drawing(NamedTuple):
    """What is written, on nothing, and the pictures below it, (H, W, 3) uint8 RGB on white."""

    figure: Figure
    below: Pixels


def lay_out_explanation(explanation: Explanation, pixels: Pixels) -> Drawing:
    """What draw_explanation draws."""
    # Matplotlib takes a second to import, and an explanation may be wanted without its picture.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    part = _to_panel(scored_part(pixels, fit=explanation.fit))
    height, width = part.shape[:2]
    high = _ABOVE + height + _BELOW
    inches = high / _DPI
    figure = Figure(figsize=(_WIDTH, inches), dpi=_DPI, facecolor="none")
    FigureCanvasAgg(figure)  # which measures texts, and remembers what it measured
    below = np.full((high, round(_WIDTH * _DPI), 3), 255, np.uint8)
    left, right = (
        Panel(figure, round(share * _WIDTH * _DPI), _BELOW, width, height, below)
        for share in (0.02, 0.52)
    )
    left.show(part)
    left.title("Photograph, as far as it is scored")
    EXPLAINERS[explanation.method].draw(right, part, explanation)
    caption, details = _caption(explanation), _details(explanation)
    details = f"{details}  {explanation.prediction.disclaimer}"
    for place, text, color, size in ((0.42, caption, _INK, 9.5), (0.16, details, _MUTED, 8.0)):
        y = place / inches
        _fit(figure.text(0.02, y, _literal(text), color=color, fontsize=size), _WIDE)
    return Drawing(figure, below)


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


def draw_lime(panel: Panel, part: Pixels, explanation: LimeExplanation) -> None:
    """The largest superpixels tinted, each with its weight, and what the colors mean."""
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.patheffects import withStroke
    from matplotlib.text import Text

    figure = panel.figure
    panel.show(tint_segments(part, explanation))
    panel.title(f"{EXPLAINERS[explanation.method].title}: for and against {explanation.target}")
    labels = _grow(explanation.segments, part)
    for number in explanation.largest():
        row, column = _inner_point(labels == number)
        x, y = panel.place((column + 0.5) / panel.width, (row + 0.5) / panel.height)
        text = f"{100 * explanation.weights[number]:+.1f}".replace("-", "\N{MINUS SIGN}")
        written = Text(
            *(x, y, text), color="white", fontsize=9, weight="bold", ha="center", va="center"
        )
        written.set_path_effects([withStroke(linewidth=2.5, foreground="black")])
        written.set_transform(figure.transSubfigure)
        figure.add_artist(written)
    figure.legend(
        handles=[
            Patch(facecolor=_share(_BLUE), label="for"),
            Patch(facecolor=_share(_ORANGE), label="against"),
            Line2D([], [], color=_share(_DARK), linewidth=2, label="largest superpixels"),
        ],
        title="Numbers: percentage points of probability that showing the area adds",
        **_legend_place(panel),
        ncols=3,
    )


def draw_gradcam(panel: Panel, part: Pixels, explanation: GradcamExplanation) -> None:
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
    shown = part * grown[..., 3:] + grown[..., :3]
    lines = np.zeros((height, width), bool)
    lines[np.arange(1, rows) * height // rows] = True
    lines[:, np.arange(1, columns) * width // columns] = True
    shown[lines] += _GRID * (255 - shown[lines])
    panel.show(shown.round().astype(np.uint8))
    panel.title(f"{EXPLAINERS[explanation.method].title}: what speaks for {explanation.target}")
    _draw_scale(panel, colors(np.linspace(0, 1, 256))[None, :, :3])


def _draw_scale(panel: Panel, colors: Floats) -> None:
    """The colors (1, n, 3) from low to high below the panel."""
    width, height, below = round(0.8 * panel.width), round(0.14 * _DPI), round(0.24 * _DPI)
    left, bottom = panel.left + round(0.1 * panel.width), panel.bottom - below
    bar = cv2.resize((colors * 255).astype(np.uint8), (width, height)).astype(np.uint8, copy=False)
    scale = Panel(panel.figure, left, bottom, width, height, panel.below)
    scale.show(bar)
    for share, text in ((0, "low"), (0.5, "evidence for the class"), (1, "high")):
        x, y = scale.place(share, 1.4)
        panel.figure.text(x, y, text, color=_INK, fontsize=8.5, ha="center", va="top")


def _caption(explanation: Explanation) -> str:
    answer = explanation.prediction
    caption = f"prediction: {answer.prediction} - {answer.probability:.1%}"
    if (probability := answer.melanoma_probability) is not None:
        told, _ = told_apart(probability, answer.threshold.value if answer.threshold else 0.5)
        # Beside it may stand the answer for another place.
        at = (
            ""
            if answer.prevalence is None
            else f", where {threshold(answer.prevalence)} are melanomas"
        )
        caption += f"    melanoma probability {told}{at}".replace(" %", "%")
    return f"{caption}    explained: {explanation.target}"


def _details(explanation: Explanation) -> str:
    model = explanation.prediction.model
    folds = explanation.folds
    who = f"fold {folds[0]}" if len(folds) == 1 else f"{len(folds)} folds"
    return f"{model.name} {model.digest[:8]}, {who}; {explanation.details}."


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


def _legend_place(panel: Panel) -> dict[str, Any]:
    return {
        "loc": "upper center",
        "bbox_to_anchor": panel.place(0.5, 1),
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
