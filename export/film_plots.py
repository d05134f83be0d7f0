"""Plots that show films: the worst errors with their maps, and what the audit blanked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.patches import Rectangle
from PIL import Image

from export.audit import CENTRE, VARIANTS
from export.plot_style import INK, QUIET, arms, new_figure
from screener.preprocess import SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.gridspec import GridSpec
    from numpy.typing import NDArray

    from export.figures import Measured

ACROSS = 3
LEVELS = (0.5, 0.75)
FAINTEST = 0.1
WORDS = {
    "whole": "as it is",
    "centre_blanked": "centre blanked",
    "border_only": "only the border",
    "border_blanked": "border blanked",
}


@dataclass(frozen=True, slots=True)
class Case:
    """One image of the montage. `number` is its row in `predictions.csv`; no name is drawn."""

    number: int
    positive: bool
    caption: str
    pixels: NDArray[np.float32]
    cam: NDArray[np.float32]

    @classmethod
    def of(cls, measured: Measured, number: int, pixels: NDArray[np.float32]) -> Case:
        """The case of a measured image."""
        rejection = measured.rejections[number]
        positive = bool(measured.positive[number])
        kind = "missed" if positive else "false flag"
        what = (
            f"score {measured.score[number]:.4f}"
            if rejection is None
            else f"turned away, {rejection.code}"
        )
        return cls(number, positive, f"row {number}: {kind}, {what}", pixels, measured.cam[number])


def worst_errors(measured: Measured, threshold: float, most: int) -> list[int]:
    """The positives that were missed by most and the negatives that were flagged highest.

    Half of `most` each where there are as many; images without pixels cannot be shown.
    """
    flagged = measured.score >= threshold
    order = np.argsort(np.nan_to_num(measured.logit), kind="stable")
    missed = [int(i) for i in order if measured.positive[i] and not flagged[i]]
    false = [int(i) for i in order[::-1] if not measured.positive[i] and flagged[i]]
    missed = [i for i in missed if measured.read[i]]
    room = max(most // 2, most - len(false))
    return missed[:room] + false[: most - min(len(missed), room)]


def draw_montage(cases: Sequence[Case]) -> Figure | None:
    """Each film beside itself with the positive part of its map over it."""
    if not cases:
        return None
    across = min(ACROSS, len(cases))
    down = -(-len(cases) // across)
    figure = new_figure(across * 4.3, down * 2.42)
    grid = figure.subplots(down, across * 2, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    highest = max(float(case.cam.max()) for case in cases)
    for case, (left, right) in zip(cases, grid.reshape(-1, 2), strict=False):
        for axes in (left, right):
            axes.imshow(case.pixels, cmap="gray", vmin=0, vmax=1)
        draw_map(right, case.cam, case.pixels.shape, max(highest, 1e-6))
        left.set_title(case.caption, fontsize=8, fontweight="normal", pad=3)
    return figure


def draw_map(axes: Axes, cam: NDArray[np.float32], shape: tuple[int, ...], highest: float) -> None:
    """The positive part of a map over a film: colour, and lines at half and three quarters."""
    rows, columns = shape
    heat = np.maximum(cam, 0)
    extent = (-0.5, columns - 0.5, rows - 0.5, -0.5)
    axes.imshow(
        heat,
        cmap="inferno",
        alpha=0.42,
        extent=extent,
        interpolation="bilinear",
        vmin=0,
        vmax=highest,
    )
    if heat.max() > FAINTEST * highest:
        # Lines through 7 x 7 cells would be polygons.
        fine = np.asarray(Image.fromarray(heat).resize((columns, rows), Image.Resampling.BICUBIC))
        axes.contour(
            fine,
            levels=[level * float(fine.max()) for level in LEVELS],
            colors="white",
            linewidths=(0.8, 1.3),
            linestyles=("dotted", "solid"),
        )
    axes.set(xlim=extent[:2], ylim=extent[2:])


def draw_audit(measured: Measured, audit: Mapping[str, Any]) -> Figure:
    """The areas that are left, and where the maps lie; where films are shown, what was blanked."""
    films = measured.mean_films
    figure = new_figure(8.4, 3.0 if films is None else 5.2)
    if films is None:
        grid = figure.add_gridspec(1, 4)
    else:
        grid = figure.add_gridspec(2, 4, height_ratios=(1, 1.25))
        _blanked(figure, grid, films[1].astype(np.float32))
    _areas(figure.add_subplot(grid[-1, :2]), audit["auc"])
    share = audit["positive_cam_inside_lung_box"]
    cams = {
        positive: np.maximum(measured.cam[measured.read & (measured.positive == positive)], 0)
        for positive in (True, False)
    }
    means = {positive: cam.mean(0) for positive, cam in cams.items() if len(cam)}
    highest = max(float(cam.max()) for cam in means.values())
    for at, (positive, name) in enumerate(((True, "positives"), (False, "negatives"))):
        axes = figure.add_subplot(grid[-1, 2 + at])
        behind = np.zeros((SIZE, SIZE)) if films is None else films[int(positive)]
        axes.imshow(behind, cmap="gray")
        if positive in means:
            draw_map(axes, means[positive], (SIZE, SIZE), max(highest, 1e-6))
        low, side = CENTRE[0] * SIZE - 0.5, (CENTRE[1] - CENTRE[0]) * SIZE
        axes.add_patch(Rectangle((low, low), side, side, fill=False, edgecolor="white", ls="--"))
        _bare(axes)
        inside = ""
        if positive and share["mean"] is not None:
            inside = f"\n{share['mean']:.0%} inside the lung box"
        axes.set_title(f"mean map, {name}{inside}", fontsize=8.5, fontweight="normal", pad=3)
    return figure


def _blanked(figure: Figure, grid: GridSpec, mean: NDArray[np.float32]) -> None:
    """The mean film of the positives, whole and blanked as the audit does."""
    shown = {"whole": mean, **{name: blank(mean[None])[0] for name, blank in VARIANTS.items()}}
    for at, (name, film) in enumerate(shown.items()):
        axes = figure.add_subplot(grid[0, at])
        axes.imshow(film, cmap="gray", vmin=float(mean.min()), vmax=float(mean.max()))
        _bare(axes)
        axes.set_title(WORDS[name], fontsize=8.5, fontweight="normal", pad=3)


def _bare(axes: Axes) -> None:
    axes.set_xticks(())
    axes.set_yticks(())
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _areas(axes: Axes, areas: Mapping[str, Mapping[str, float] | None]) -> None:
    for at, name in enumerate(WORDS):
        area = areas[name]
        if area is None:
            continue
        axes.errorbar(area["value"], at, xerr=arms(area), fmt="D" if at == 0 else "o", color=INK)
        axes.annotate(
            f"{area['value']:.3f}",
            (area["value"], at),
            (0, 7),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    axes.axvline(0.5, color=QUIET, linestyle="--", linewidth=0.9)
    axes.text(0.505, -0.75, "chance", color=QUIET, fontsize=8, va="center")
    axes.set_yticks(range(len(WORDS)), list(WORDS.values()))
    axes.set_ylim(len(WORDS) - 0.5, -1)
    axes.set_xlim(min([0.4, *(area["low"] for area in areas.values() if area)]) - 0.02, 1.02)
    axes.tick_params(axis="y", length=0, labelcolor="#222222")
    axes.grid(axis="y", visible=False)
    axes.set_title("AUC, 95 % interval")
