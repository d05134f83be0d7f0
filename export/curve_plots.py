"""The curves of a measurement: ROC, precision, net benefit, waiting times."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from export.calibration import Sample, join_studies
from export.metrics import NEVER, precision_curve, roc_band, roc_curve
from export.plot_style import (
    FAINT,
    INK,
    MARKERS,
    QUIET,
    SIDE,
    arms,
    label,
    new_figure,
    shorten,
)
from export.probability import decision_curve
from export.waiting import Site, flags, waiting

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from export.figures import Measured

BAND_ROUNDS = 200
ZOOM, WORTH_ENLARGING = 0.2, 0.93


def draw_roc(measured: Measured, found: Mapping[str, Any]) -> Figure:
    """ROC, end to end, with its band and the operating points; a good one's corner is enlarged."""
    figure = new_figure()
    axes = figure.add_subplot()
    groups = [image.group for image in measured.images]
    curve = roc_curve(measured.ranked, measured.positive)
    reached = _reached(measured, curve.x, curve.y)
    grid = np.unique(np.concatenate([np.linspace(0, 1, 201), np.linspace(0, 0.1, 51)]))
    band = roc_band(measured.ranked, measured.positive, groups, grid, BAND_ROUNDS)
    area = found["auc_end_to_end"]["value"]
    shown = [axes]
    if area >= WORTH_ENLARGING:
        shown.append(_corner(axes))
    for each in shown:
        if band is not None:
            each.fill_between(grid, *band, color=FAINT, linewidth=0, label="95 % band, by groups")
        each.plot(
            curve.x[reached], curve.y[reached], color=INK, label=f"end to end, AUC {area:.3f}"
        )
        _draw_unreached(each, curve.x, curve.y, reached)
        _draw_points(each, found["operating_points"])
    axes.plot((0, 1), (0, 1), color=QUIET, linestyle=(0, (1, 3)), linewidth=1, label="chance")
    label(axes, "ROC", "1 - specificity", "sensitivity")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.legend(loc="lower right")
    return figure


def _corner(axes: Axes) -> Axes:
    corner = axes.inset_axes((0.42, 0.38, 0.55, 0.42))
    corner.set(xlim=(0, ZOOM), ylim=(1 - ZOOM, 1.004))
    corner.tick_params(labelsize=7)
    corner.set_title("the corner, enlarged", fontsize=8, fontweight="normal", pad=3)
    return corner


def _reached(
    sample: Sample | Measured, x: NDArray[np.float64], y: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """The points of a ROC curve that a threshold can reach: not those of what has no score."""
    scored = sample.score > NEVER
    most_x = (scored & ~sample.positive).sum() / (~sample.positive).sum()
    most_y = (scored & sample.positive).sum() / sample.positive.sum()
    within: NDArray[np.bool_] = (x <= most_x + 1e-9) & (y <= most_y + 1e-9)
    return within


def _draw_unreached(
    axes: Axes, x: NDArray[np.float64], y: NDArray[np.float64], reached: NDArray[np.bool_]
) -> None:
    if reached.all():
        return
    begin = max(int(np.flatnonzero(reached).max(initial=0)), 0)
    axes.plot(
        x[begin:],
        y[begin:],
        color=INK,
        linewidth=1,
        linestyle=(0, (4, 3)),
        label="turned away: no threshold flags them",
    )


def _draw_points(axes: Axes, points: Sequence[Mapping[str, Any]]) -> None:
    """Each operating point with both its intervals."""
    for point, marker in zip(points, MARKERS * len(points), strict=False):
        sensitivity, specificity = point["sensitivity"], point["specificity"]
        if not sensitivity or not specificity:
            continue
        _mark_point(
            axes,
            point,
            marker,
            (1 - specificity["value"], arms(specificity, mirrored=True)),
            (sensitivity["value"], arms(sensitivity)),
        )


def _mark_point(
    axes: Axes,
    point: Mapping[str, Any],
    marker: str,
    x: tuple[float, NDArray[np.float64]],
    y: tuple[float, NDArray[np.float64]],
) -> None:
    """An operating point at the values of `x` and `y`, each with the arms of its interval."""
    axes.errorbar(
        x[0],
        y[0],
        xerr=x[1],
        yerr=y[1],
        fmt=marker,
        color="black",
        markersize=6,
        markerfacecolor="white",
        elinewidth=0.9,
        label=f"{shorten(point['name'])} ({point['threshold']:.4f})",
        zorder=4,
    )


def draw_precision(measured: Measured, found: Mapping[str, Any]) -> Figure:
    """Positive predictive value against sensitivity, as far as a threshold reaches."""
    figure = new_figure()
    axes = figure.add_subplot()
    curve = precision_curve(measured.ranked, measured.positive)
    most = (measured.scored & measured.positive).sum() / measured.positive.sum()
    here = curve.x <= most + 1e-9
    average = found["average_precision"]
    axes.step(
        curve.x[here],
        curve.y[here],
        where="post",
        color=INK,
        label=f"end to end, average precision {average:.3f}",
    )
    prevalence = float(measured.positive.mean())
    axes.axhline(
        prevalence,
        color=QUIET,
        linestyle=(0, (1, 3)),
        linewidth=1,
        label=f"prevalence of this sample, {prevalence:.3f}",
    )
    for point, marker in zip(found["operating_points"], MARKERS * 9, strict=False):
        value = point["positive_predictive_value"]
        if value and point["sensitivity"]:
            _mark_point(
                axes,
                point,
                marker,
                (point["sensitivity"]["value"], arms(point["sensitivity"])),
                (value["value"], arms(value)),
            )
    label(axes, "Precision and sensitivity", "sensitivity", "positive predictive value")
    axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.02))
    axes.legend(loc="lower left")
    return figure


def draw_decision_curve(measured: Measured, found: Mapping[str, Any]) -> Figure:
    """Net benefit (Vickers 2006) beside that of flagging everyone and no one."""
    figure = new_figure()
    axes = figure.add_subplot()
    curve = decision_curve(measured.score, measured.positive)
    axes.plot(curve.threshold, curve.model, color=INK, label="flag by the score")
    axes.plot(
        curve.threshold,
        curve.everyone,
        color=QUIET,
        linestyle="--",
        linewidth=1.2,
        label="flag everyone",
    )
    axes.axhline(0, color=QUIET, linestyle=(0, (1, 3)), linewidth=1.2, label="flag no one")
    top = float(measured.positive.mean())
    axes.set_ylim(-0.15 * top, 1.12 * top)
    axes.set_xlim(0, 1)
    for point, marker in zip(found["operating_points"], MARKERS * 9, strict=False):
        at = point["threshold"]
        axes.plot(
            at,
            np.interp(at, curve.threshold, curve.model),
            marker,
            color="black",
            markerfacecolor="white",
            markersize=6,
            label=f"{shorten(point['name'])} ({at:.4f})",
        )
    label(axes, "Decision curve", "threshold probability", "net benefit per film")
    axes.legend(loc="best")
    return figure


def draw_waiting(measured: Measured, found: Mapping[str, Any]) -> Figure | None:
    """Minutes saved and lost for every threshold, with the operating points on the curves."""
    points = [point for point in found["operating_points"] if point["waiting"]]
    site = Site(**found["site"])
    groups = [image.group for image in measured.images]
    studies = join_studies(Sample(measured.positive, measured.score), groups)
    curve = roc_curve(studies.score, studies.positive)
    reached = _reached(studies, curve.x, curve.y)
    shares, saved, lost = [], [], []
    for false_rate, sensitivity in zip(curve.x[reached], curve.y[reached], strict=True):
        times = waiting(site, float(sensitivity), 1 - float(false_rate))
        shares.append(100 * flags(site, float(sensitivity), 1 - float(false_rate)).flagged)
        saved.append(times.saved)
        lost.append(times.lost)
    figure = new_figure(SIDE * 1.15, SIDE * 0.95)
    axes = figure.add_subplot()
    axes.plot(shares, saved, color=INK, label="saved for a study with the finding")
    axes.plot(shares, lost, color=QUIET, linestyle="--", label="lost by a study without it")
    for point, marker in zip(points, MARKERS * 9, strict=False):
        at = 100 * point["flags"]["flagged"]
        look: dict[str, Any] = {"color": "black", "markerfacecolor": "white", "markersize": 6}
        name = f"{shorten(point['name'])} ({point['threshold']:.4f})"
        axes.plot(at, point["waiting"]["saved"], marker, label=name, **look)
        axes.plot(at, point["waiting"]["lost"], marker, **look)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    top = max(1.0, *saved)
    label(axes, "Waiting times", "% of all studies that are flagged", "minutes")
    axes.set(xlim=(0, 100), ylim=(-0.55 * top, 1.08 * top))
    axes.legend(loc="lower left")
    return figure
