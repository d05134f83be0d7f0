"""All plots of a measurement, drawn into a folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from export.curve_plots import draw_decision_curve, draw_precision, draw_roc, draw_waiting
from export.film_plots import draw_audit, draw_montage
from export.plot_style import drawing, save
from export.score_plots import draw_confusion, draw_reliability, draw_scores, draw_subgroups

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from export.figures import Measured
    from export.film_plots import Case


def draw_plots(
    out: Path, measured: Measured, found: Mapping[str, Any], cases: Sequence[Case]
) -> dict[str, Path]:
    """Draw every plot to `out`; those for which there is nothing to draw are left out."""
    drawn: dict[str, Callable[[], Figure | None]] = {
        "roc": lambda: draw_roc(measured, found),
        "precision": lambda: draw_precision(measured, found),
        "reliability": lambda: draw_reliability(measured, found["calibration"]),
        "scores": lambda: draw_scores(measured, found),
        "confusion": lambda: draw_confusion(found["operating_points"]),
        "decision_curve": lambda: draw_decision_curve(measured, found),
        "waiting": lambda: draw_waiting(measured, found["waiting"]),
        "subgroups": lambda: draw_subgroups(found),
        "audit": lambda: draw_audit(measured, found["audit"]),
        "worst_errors": lambda: draw_montage(cases),
    }
    plots = {}
    with drawing():
        for name, draw in drawn.items():
            figure = draw()
            path = out / f"{name}.{'jpg' if name == 'worst_errors' else 'png'}"
            if figure is None:
                # An earlier measurement's would be taken for this one's.
                path.unlink(missing_ok=True)
            else:
                plots[name] = save(figure, path)
    return plots
