"""Plots of scores and counts: reliability, distributions, confusion matrices, subgroups."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import PercentFormatter

from export.metrics import wilson
from export.plot_style import (
    FAINT,
    INK,
    MARKERS,
    NEGATIVE,
    POSITIVE,
    QUIET,
    SIDE,
    arms,
    label,
    new_figure,
    shorten,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from export.figures import Measured

FINEST = 1e-4
MOST_ROWS = 40
TICKS = (0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999)


def draw_reliability(measured: Measured, calibration: Mapping[str, Any] | None) -> Figure | None:
    """The share of positives in each bin of the score, over how many images the bins hold."""
    if not calibration:
        return None
    figure = new_figure()
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
    axes.plot((0, 1), (0, 1), color=QUIET, linestyle=(0, (1, 3)), linewidth=1, label="perfect")
    bins = calibration["reliability"]
    for number, one in enumerate(bins):
        share = wilson(round(one["observed"] * one["images"]), one["images"])
        if share is None:
            continue
        axes.errorbar(
            one["probability"],
            one["observed"],
            yerr=arms({"value": share.value, "low": share.low, "high": share.high}),
            fmt="o",
            color=INK,
            markersize=4.5,
            elinewidth=0.9,
            label="one of 15 bins, 95 % interval" if number == 0 else None,
        )
    title = f"Reliability (ECE {calibration['ece15']:.3f}, Brier {calibration['brier']:.3f})"
    label(axes, title, "", "share positive")
    axes.set(xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
    axes.legend(loc="upper left")
    edges = np.linspace(0, 1, 16)
    score, positive = measured.score[measured.scored], measured.positive[measured.scored]
    below.hist(
        [score[positive], score[~positive]],
        bins=edges,
        stacked=True,
        color=[POSITIVE, NEGATIVE],
        label=["positive", "negative"],
    )
    below.set_yscale("symlog", linthresh=1)
    below.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    below.set(xlabel="calibrated score", ylabel="images")
    below.legend(loc="upper center", ncols=2, fontsize=7)
    below.set_ylim(0, 20 * max(10.0, below.get_ylim()[1]))
    return figure


def draw_scores(measured: Measured, found: Mapping[str, Any]) -> Figure:
    """Back to back, on the scale of log odds: where thresholds are low they can be seen."""
    figure = new_figure(SIDE * 1.5, SIDE * 0.85)
    axes = figure.add_subplot()
    x = np.clip(_log_odds(measured.score), _log_odds(FINEST), -_log_odds(FINEST))
    bins = np.linspace(float(_log_odds(FINEST)), -float(_log_odds(FINEST)), 47)
    away_at = bins[0] - 1.6
    for chosen, name, sign, colour, hatch in (
        (measured.positive, "positive", 1, POSITIVE, None),
        (~measured.positive, "negative", -1, NEGATIVE, "////"),
    ):
        total, away = int(chosen.sum()), int((chosen & ~measured.scored).sum())
        counts, _ = np.histogram(x[chosen & measured.scored], bins)
        look: dict[str, Any] = {"color": colour, "hatch": hatch, "edgecolor": "white"}
        axes.bar(
            (bins[1:] + bins[:-1]) / 2,
            sign * 100 * counts / total,
            width=np.diff(bins),
            linewidth=0.3,
            label=f"{name}: {total}, {away} of them turned away",
            **look,
        )
        axes.bar([away_at], [sign * 100 * away / total], width=0.9, linewidth=0.3, **look)
    axes.axhline(0, color=QUIET, linewidth=0.8)
    axes.axvline(bins[0] - 0.6, color=FAINT, linewidth=1)
    height = max(abs(value) for value in axes.get_ylim())
    axes.set_ylim(-height, height * 1.6)
    for point, marker in zip(found["operating_points"], MARKERS * 9, strict=False):
        at = float(np.clip(_log_odds(point["threshold"]), bins[0], bins[-1]))
        axes.plot((at, at), (-height, height), color="black", linestyle="--", linewidth=0.9)
        name = f"{shorten(point['name'])} ({point['threshold']:.4f})"
        axes.plot(
            at, height, marker, color="black", markerfacecolor="white", markersize=6, label=name
        )
    axes.set_xticks(
        [away_at, *(float(_log_odds(tick)) for tick in TICKS)],
        ["turned\naway", *(f"{tick:g}" for tick in TICKS)],
    )
    axes.yaxis.set_major_formatter(lambda value, _: f"{abs(value):g}")
    label(axes, "Scores", "calibrated score (scale of log odds)", "% of the class")
    axes.legend(loc="upper center", ncols=2)
    return figure


def _log_odds(share: float | NDArray[np.float64]) -> NDArray[np.float64]:
    inside = np.clip(share, FINEST / 2, 1 - FINEST / 2)
    odds: NDArray[np.float64] = np.log(inside / (1 - inside))
    return odds


def draw_confusion(points: Sequence[Mapping[str, Any]]) -> Figure | None:
    """A confusion matrix for each operating point; what is wrong says so."""
    shown = [point for point in points if point["confusion"]]
    if not shown:
        return None
    across = min(3, len(shown))
    down = math.ceil(len(shown) / across)
    figure = new_figure(2.7 * across + 0.4, 2.8 * down)
    grid = figure.subplots(down, across, squeeze=False)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    for axes, point in zip(grid.flat, shown, strict=False):
        _one_confusion(axes, point)
    return figure


def _one_confusion(axes: Axes, point: Mapping[str, Any]) -> None:
    counts = point["confusion"]
    rows = (("true_positive", "false_negative"), ("false_positive", "true_negative"))
    matrix = np.array([[counts[name] for name in row] for row in rows], float)
    share = matrix / np.maximum(matrix.sum(1, keepdims=True), 1)
    axes.imshow(share, cmap="Greys", vmin=0, vmax=1.6)
    for (row, column), count in np.ndenumerate(matrix):
        wrong = row != column
        axes.text(
            column,
            row,
            f"{count:.0f}\n{share[row, column]:.1%}" + ("\nwrong" if wrong else ""),
            ha="center",
            va="center",
            fontsize=9,
            fontweight="bold" if wrong else "normal",
        )
    away = point["missed_turned_away"]
    if away:
        axes.text(1, 0.4, f"{away} without a score", ha="center", va="center", fontsize=7)
    axes.set_xticks((0, 1), ("flagged", "not flagged"))
    axes.set_yticks((0, 1), ("positive", "negative"), rotation=90, va="center")
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    axes.set_title(f"{shorten(point['name'])} ({point['threshold']:.4f})", fontsize=9)


def draw_subgroups(found: Mapping[str, Any]) -> Figure | None:
    """Sensitivity and specificity of each subgroup with its interval, beside the whole."""
    rows = [
        (column, value, figures)
        for column, values in found["subgroups"].items()
        for value, figures in values.items()
    ][:MOST_ROWS]
    if not rows or not found["operating_points"]:
        return None
    whole = found["operating_points"][0]
    lines: list[tuple[str, Mapping[str, Any] | None]] = [("all images", whole)]
    former = None
    for column, value, figures in rows:
        if column != former:
            lines.append((shorten(column), None))
            former = column
        name = shorten(value or "(not stated)", 24)
        lines.append((f"   {name} ({figures['positive']} of {figures['images']})", figures))
    figure = new_figure(SIDE * 1.75, 1.1 + 0.23 * len(lines))
    left, right = figure.subplots(1, 2, sharey=True)
    for axes, name in ((left, "sensitivity"), (right, "specificity")):
        for at, (_, figures) in enumerate(lines):
            estimate = figures[name] if figures else None
            if estimate:
                axes.errorbar(
                    estimate["value"],
                    at,
                    xerr=arms(estimate),
                    fmt="D" if at == 0 else "o",
                    color=INK,
                    markersize=5 if at == 0 else 4,
                    elinewidth=1,
                )
        if whole[name]:
            axes.axvline(whole[name]["value"], color=QUIET, linestyle="--", linewidth=0.9)
        axes.set_title(name)
        axes.set_xlim(-0.02, 1.02)
        axes.xaxis.set_major_formatter(PercentFormatter(1.0))
        axes.grid(axis="y", visible=False)
    left.set_yticks(range(len(lines)), [name for name, _ in lines])
    for tick, (_, figures) in zip(left.get_yticklabels(), lines, strict=True):
        tick.set_color("#222222")
        if figures is None:
            tick.set_fontweight("bold")
    left.set_ylim(len(lines) - 0.5, -0.5)
    left.tick_params(axis="y", length=0)
    right.tick_params(axis="y", length=0)
    return figure
