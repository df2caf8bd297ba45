"""How every PNG figure looks, and how one is drawn without a display."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from melanoma.storage import write_atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, ACCENT, MUTED, ALARM = "#1f2933", "#0f6b8c", "#9aa5b1", "#b4442e"
STYLE: Any = {
    "font.size": 10,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "text.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
}


@contextmanager
def figure_at(path: Path, *, width: float, height: float) -> Iterator[Axes]:
    """Axes to draw on, `width` x `height` inches; at the end they are the PNG file at `path`."""
    # Matplotlib takes a second to import.
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    with plt.rc_context(STYLE):
        figure, axes = plt.subplots(figsize=(width, height), layout="constrained")
        try:
            yield axes
            picture = BytesIO()
            figure.savefig(picture, dpi=110, format="png")
        finally:
            plt.close(figure)
    write_atomic(path, lambda file: file.write(picture.getvalue()))
