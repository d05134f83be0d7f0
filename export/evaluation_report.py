"""The report that an ethics board gets: one HTML file, outlined by CLAIM and TRIPOD+AI.

Everything in it comes from `metrics.json` and the plots; nothing is loaded from elsewhere.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from export.answers import SUBJECTS
from export.checklist import CLAIM, TRIPOD_AI, items

DASH = "\N{EN DASH}"
TEMPLATE = "evaluation_report.html.jinja"
MIME = {".png": "image/png", ".jpg": "image/jpeg"}
CAPTIONS = {
    "roc": "ROC curve, end to end, with its 95 % band (whole groups drawn again). Crosses: both "
    "intervals of an operating point.",
    "precision": "Positive predictive value against sensitivity, end to end, at the prevalence of "
    "this sample.",
    "reliability": "Reliability: the share of positives among the images of each score, and how "
    "many images that is.",
    "confusion": "What became of positives and negatives at each operating point.",
    "decision_curve": "Decision curve (Vickers 2006): net benefit of flagging by the score, beside "
    "flagging everyone and no one.",
    "scores": "Scores of positives (up) and negatives (down), on the scale of log odds.",
    "waiting": "Minutes saved and lost for every threshold, as studies, in that reading room.",
    "subgroups": "Subgroups at the first operating point (positives of all). Dashed: all images.",
    "audit": "The AUC that is left, and where the positive part of the maps lies on average "
    "(dashed: the lung box). Above, where films are shown: what is blanked, on the mean film of "
    "the positives.",
    "worst_errors": "The worst errors, each beside its class activation map (a hint, no "
    "localisation; lines at half and three quarters of its height). The number is the row of "
    "predictions.csv, counted from 0.",
}
SEED = {"auc": "0.983 (0.979 to 0.988)", "sensitivity": "0.919", "specificity": "0.956"}
"""The project's forerunner, recomputed from its printed test probabilities."""
AUDITED = {
    "whole": "as it is",
    "centre_blanked": "centre blanked (rows and columns 15 to 85 %)",
    "border_only": "only the border (outer 6 %)",
    "border_blanked": "border blanked (outer 6 %)",
}


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
    environment.filters |= {
        "estimate": show_estimate,
        "figure": show_figure,
        "share": show_share,
        "shares": show_shares,
        "minutes": show_minutes,
        "share_of": lambda value: show_share(value and value["value"]),
        "between": lambda value: show_pair(value and (value["low"], value["high"])),
        "between_shares": lambda value: show_pair(value and (value["low"], value["high"]), ".1%"),
        "pair": show_pair,
    }
    pictures = {
        name: f"data:{MIME[plot.suffix]};base64," + base64.b64encode(plot.read_bytes()).decode()
        for name, plot in plots.items()
    }
    text = environment.get_template(TEMPLATE).render(
        m=found,
        pictures=pictures,
        captions=CAPTIONS,
        seed=SEED,
        audited=AUDITED,
        checklists={
            "CLAIM": items(found, CLAIM),
            "TRIPOD+AI": items(found, TRIPOD_AI),
        },
        say={subject: make(found) for subject, make in SUBJECTS.items()},
    )
    # A label may be a folder's name, whose bytes need not be text.
    path.write_text(text, encoding="utf-8", errors="backslashreplace")


def show_figure(value: float | None) -> str:
    """Three decimals, or a dash."""
    return DASH if value is None else f"{value:.3f}"


def show_share(value: float | None) -> str:
    """Per cent, or a dash."""
    return DASH if value is None else f"{value:.1%}"


def show_minutes(value: float | None) -> str:
    """Minutes to a tenth, or a dash."""
    return DASH if value is None else f"{value:.1f}"


def show_pair(value: Sequence[float] | None, how: str = ".3f") -> str:
    """A 95 % interval alone."""
    return DASH if value is None else f"{value[0]:{how}} to {value[1]:{how}}"


def show_shares(value: Mapping[str, float] | None) -> str:
    """A share with its 95 % interval, in per cent."""
    if value is None:
        return DASH
    return f"{value['value']:.1%} ({value['low']:.1%} to {value['high']:.1%})"


def show_estimate(value: Mapping[str, float] | None) -> str:
    """A figure with its 95 % interval."""
    if value is None:
        return DASH
    return f"{value['value']:.3f} ({value['low']:.3f} to {value['high']:.3f})"
