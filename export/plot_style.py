"""How the plots look: quiet, for print, and readable without colour. Matplotlib without a screen.

Positives are dark, negatives light; what must be told apart differs in line, marker or hatch too.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

DPI = 144
SIDE = 4.8
POSITIVE, NEGATIVE = "#8c2d04", "#7fb3d5"
INK, QUIET, FAINT = "#1d3a4f", "#6b6b6b", "#d9d9d9"
MARKERS = "osD^vPX*"
STYLE = {
    "axes.axisbelow": True,
    "axes.edgecolor": QUIET,
    "axes.grid": True,
    "axes.labelcolor": "#222222",
    "axes.labelsize": 9,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 8,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "figure.facecolor": "white",
    "font.family": "DejaVu Sans",
    "font.size": 9,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "hatch.linewidth": 0.6,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
    # A name from outside is no formula.
    "text.parse_math": False,
    "xtick.color": QUIET,
    "xtick.labelsize": 8,
    "ytick.color": QUIET,
    "ytick.labelsize": 8,
}


@contextmanager
def drawing() -> Iterator[None]:
    """Draw and save within: matplotlib's own defaults with `STYLE`, whatever the user's are."""
    with style.context(STYLE, after_reset=True), warnings.catch_warnings():
        # A name in a script that the font has not is drawn as boxes; the report has it in full.
        warnings.filterwarnings("ignore", "Glyph .* missing from", UserWarning)
        yield


def new_figure(width: float = SIDE, height: float = SIDE) -> Figure:
    """A figure in inches, made within `drawing`."""
    return Figure((width, height), layout="constrained")


def save(figure: Figure, path: Path) -> Path:
    """Write a figure; the same figures give the same bytes."""
    FigureCanvasAgg(figure)
    if path.suffix == ".jpg":
        # Films as PNG are ten times as large.
        figure.savefig(path, dpi=DPI, pil_kwargs={"quality": 85})
    else:
        # Without matplotlib's version in it.
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


def label(axes: Axes, title: str, x: str, y: str) -> None:
    """Title and axes' names."""
    axes.set(title=title, xlabel=x, ylabel=y)


def arms(estimate: Mapping[str, float], *, mirrored: bool = False) -> NDArray[np.float64]:
    """An interval as matplotlib takes it: the lengths of both arms, (2, 1)."""
    low = max(0.0, estimate["value"] - estimate["low"])
    high = max(0.0, estimate["high"] - estimate["value"])
    return np.array([[high], [low]] if mirrored else [[low], [high]])


def shorten(text: str, most: int = 28) -> str:
    """A name from outside in the room that there is, control characters shown as such."""
    printable = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return (
        printable if len(printable) <= most else printable[: most - 1] + "\N{HORIZONTAL ELLIPSIS}"
    )
