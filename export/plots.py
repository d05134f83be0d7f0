"""The plots of a measurement: PNG, and JPEG for films. Matplotlib without a screen or state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from export.metrics import NEVER, precision_curve, roc_curve
from export.probability import decision_curve

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from numpy.typing import NDArray

    from export.figures import Measured

SIDE = 4.6
DPI = 110
POSITIVE, NEGATIVE, QUIET = "#b2182b", "#2166ac", "#777777"


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
        what = f"{measured.score[number]:.3f}" if rejection is None else str(rejection.code)
        return cls(number, positive, f"{number}: {kind}, {what}", pixels, measured.cam[number])


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


def draw_plots(
    out: Path, measured: Measured, found: dict[str, Any], cases: Sequence[Case]
) -> dict[str, Path]:
    """Draw every plot to `out`; those for which there is nothing to draw are left out."""
    drawn: dict[str, Callable[[Axes], None]] = {
        "roc": lambda axes: _roc(axes, measured, found),
        "precision": lambda axes: _precision(axes, measured),
        "decision_curve": lambda axes: _decision(axes, measured),
        "scores": lambda axes: _scores(axes, measured, found),
    }
    if found["calibration"]:
        drawn["reliability"] = lambda axes: _reliability(axes, found["calibration"])
    if found["operating_points"]:
        drawn["confusion"] = lambda axes: _confusion(axes, found["operating_points"][0])
    plots = {}
    for name, draw in drawn.items():
        figure = Figure((SIDE, SIDE), layout="constrained")
        draw(figure.add_subplot())
        plots[name] = _save(figure, out / f"{name}.png")
    if cases:
        plots["worst_errors"] = _save(_montage(cases), out / "worst_errors.jpg")
    return plots


def _save(figure: Figure, path: Path) -> Path:
    FigureCanvasAgg(figure)
    if path.suffix == ".jpg":
        # Films as PNG are ten times as large.
        figure.savefig(path, dpi=DPI, pil_kwargs={"quality": 85})
    else:
        # Without the version in it, the same figures give the same bytes.
        figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return path


def _label(axes: Axes, title: str, x: str, y: str) -> None:
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.grid(alpha=0.25)


def _roc(axes: Axes, measured: Measured, found: dict[str, Any]) -> None:
    curve = roc_curve(measured.score, measured.positive)
    area = found["auc_end_to_end"]["value"]
    axes.plot(curve.x, curve.y, color=POSITIVE, label=f"end to end, AUC {area:.3f}")
    axes.plot((0, 1), (0, 1), color=QUIET, linestyle=":")
    for point in found["operating_points"]:
        if point["sensitivity"] and point["specificity"]:
            at = (1 - point["specificity"]["value"], point["sensitivity"]["value"])
            axes.plot(*at, "o", markersize=5, label=f"{point['name']} ({point['threshold']:.3f})")
    _label(axes, "ROC", "1 - specificity", "sensitivity")
    axes.legend(loc="lower right", fontsize=8)


def _precision(axes: Axes, measured: Measured) -> None:
    curve = precision_curve(measured.score, measured.positive)
    prevalence = float(measured.positive.mean())
    axes.step(curve.x, curve.y, where="post", color=POSITIVE)
    axes.axhline(prevalence, color=QUIET, linestyle=":", label=f"prevalence {prevalence:.3f}")
    _label(axes, "Precision and sensitivity", "sensitivity", "positive predictive value")
    axes.set_ylim(0, 1.02)
    axes.legend(loc="lower left", fontsize=8)


def _reliability(axes: Axes, calibration: dict[str, Any]) -> None:
    bins = calibration["reliability"]
    size = [8 + 160 * b["images"] / calibration["images"] for b in bins]
    axes.plot((0, 1), (0, 1), color=QUIET, linestyle=":")
    x, y = [b["probability"] for b in bins], [b["observed"] for b in bins]
    axes.plot(x, y, color=NEGATIVE, linewidth=1)
    axes.scatter(x, y, s=size, color=NEGATIVE)
    title = f"Reliability, ECE15 {calibration['ece15']:.3f}, Brier {calibration['brier']:.3f}"
    _label(axes, title, "calibrated score (dot: number of images)", "share positive")


def _confusion(axes: Axes, point: dict[str, Any]) -> None:
    counts = point["confusion"]
    rows = (("true_positive", "false_negative"), ("false_positive", "true_negative"))
    matrix = np.array([[counts[name] for name in row] for row in rows], float)
    axes.imshow(matrix / matrix.sum(1, keepdims=True), cmap="Blues", vmin=0, vmax=1.4)
    for (row, column), count in np.ndenumerate(matrix):
        share = count / matrix[row].sum()
        axes.text(column, row, f"{count:.0f}\n{share:.1%}", ha="center", va="center")
    axes.set_xticks((0, 1), ("flagged", "not flagged"))
    axes.set_yticks((0, 1), ("positive", "negative"), rotation=90, va="center")
    axes.set_title(f"At {point['name']}, threshold {point['threshold']:.4f}")


def _decision(axes: Axes, measured: Measured) -> None:
    curve = decision_curve(measured.score, measured.positive)
    axes.plot(curve.threshold, curve.model, color=POSITIVE, label="model")
    axes.plot(curve.threshold, curve.everyone, color=NEGATIVE, linewidth=1, label="flag everyone")
    axes.axhline(0, color=QUIET, linestyle=":", label="flag no one")
    top = float(measured.positive.mean())
    axes.set_ylim(-0.15 * top, 1.1 * top)
    _label(axes, "Decision curve", "threshold probability", "net benefit")
    axes.legend(loc="lower left", fontsize=8)


def _scores(axes: Axes, measured: Measured, found: dict[str, Any]) -> None:
    scored = measured.score > NEVER
    for chosen, name, colour in (
        (~measured.positive, "negative", NEGATIVE),
        (measured.positive, "positive", POSITIVE),
    ):
        away = int((chosen & ~scored).sum())
        label = f"{name} ({int(chosen.sum())}, {away} turned away)"
        values = measured.score[chosen & scored]
        axes.hist(values, bins=50, range=(0, 1), color=colour, alpha=0.6, label=label)
    for point in found["operating_points"]:
        axes.axvline(point["threshold"], color=QUIET, linestyle="--", linewidth=1)
    axes.set_yscale("symlog", linthresh=1)
    axes.set_ylim(0, 5 * axes.get_ylim()[1])
    _label(axes, "Scores (dashed: thresholds)", "calibrated score", "images")
    axes.legend(loc="upper center", fontsize=8)


def _montage(cases: Sequence[Case]) -> Figure:
    """Each film beside itself with the positive part of its map over it."""
    across = min(3, len(cases))
    down = -(-len(cases) // across)
    figure = Figure((across * 4.4, down * 2.45), layout="constrained")
    grid = figure.subplots(down, across * 2, squeeze=False)
    for axes in grid.flat:
        axes.set_axis_off()
    highest = max(float(case.cam.max()) for case in cases)
    for case, (left, right) in zip(cases, grid.reshape(-1, 2), strict=False):
        rows, columns = case.pixels.shape
        for axes in (left, right):
            axes.imshow(case.pixels, cmap="gray", vmin=0, vmax=1)
        heat = np.maximum(case.cam, 0)
        right.imshow(
            heat,
            cmap="inferno",
            alpha=0.45,
            extent=(-0.5, columns - 0.5, rows - 0.5, -0.5),
            interpolation="bilinear",
            vmin=0,
            vmax=max(highest, 1e-6),
        )
        left.set_title(
            case.caption, fontsize=8, loc="left", color=POSITIVE if case.positive else NEGATIVE
        )
    return figure
