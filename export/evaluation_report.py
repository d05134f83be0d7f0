"""The report that an ethics board gets: one HTML file, outlined by CLAIM and TRIPOD+AI.

Everything in it comes from `metrics.json` and the plots; nothing is loaded from elsewhere.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DASH = "\N{EN DASH}"
TEMPLATE = "evaluation_report.html.jinja"
MIME = {".png": "image/png", ".jpg": "image/jpeg"}
CAPTIONS = {
    "roc": "ROC curve, end to end",
    "precision": "Positive predictive value against sensitivity, end to end",
    "reliability": "Reliability: the calibrated score against what was found",
    "confusion": "Confusion matrix at the first operating point",
    "decision_curve": "Decision curve (Vickers 2006)",
    "scores": "Scores of positives and negatives",
    "worst_errors": "The worst errors, each beside its class activation map (a hint, no "
    "localisation); the number is the row in predictions.csv",
}
SEED = {"auc": "0.983 (0.979 to 0.988)", "sensitivity": "0.919", "specificity": "0.956"}
"""The project's forerunner, recomputed from its printed test probabilities."""


def write_report(path: Path, found: Mapping[str, Any], plots: Mapping[str, Path]) -> None:
    """Write the report.

    Args:
        path: The HTML file.
        found: What `metrics.json` holds.
        plots: PNG and JPEG files, by name; they are put into the page.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"estimate": show_estimate, "figure": show_figure, "share": show_share}
    pictures = {
        name: f"data:{MIME[plot.suffix]};base64," + base64.b64encode(plot.read_bytes()).decode()
        for name, plot in plots.items()
    }
    text = environment.get_template(TEMPLATE).render(
        m=found, pictures=pictures, captions=CAPTIONS, seed=SEED
    )
    path.write_text(text, encoding="utf-8")


def show_figure(value: float | None) -> str:
    """Three decimals, or a dash."""
    return DASH if value is None else f"{value:.3f}"


def show_share(value: float | None) -> str:
    """Per cent, or a dash."""
    return DASH if value is None else f"{value:.1%}"


def show_estimate(value: Mapping[str, float] | None) -> str:
    """A figure with its 95 % interval."""
    if value is None:
        return DASH
    return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
