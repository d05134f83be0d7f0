"""Plots and report of measurements at their ends: nothing scored, a class unread, all alike."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from export.audit import VARIANTS, audit
from export.dataset import LabelledImage
from export.evaluate import plain
from export.evaluation_report import write_report
from export.figures import Measured, figures
from export.film_plots import Case, worst_errors
from export.plots import draw_plots
from export.waiting import Site
from screener.domain import OperatingPoint, Rejection
from screener.outcomes import ReasonCode

POINTS = tuple(
    OperatingPoint(name, "covid", threshold)
    for name, threshold in (("default", 0.5), ("all", 0.0), ("x" * 200, 1.0))
)


def measured(scores: list[float], codes: dict[int, ReasonCode]) -> Measured:
    """The first half positive; what has a code other than novelty could not be read."""
    n, score = len(scores), np.array(scores)
    unread = [at for at, code in codes.items() if code is not ReasonCode.NOVEL]
    logit = np.log(score / (1 - score))
    probability = score.copy()
    logit[unread] = probability[unread] = np.nan
    score[list(codes)] = -1
    rejections = [Rejection(codes[i]) if i in codes else None for i in range(n)]
    return Measured(
        [
            LabelledImage(Path(f"{i}.png"), "covid" if i < n // 2 else "normal", str(i))
            for i in range(n)
        ],
        np.arange(n) < n // 2,
        score,
        probability,
        logit,
        np.ones(n),
        np.random.default_rng(1).normal(0, 1, (n, 7, 7)).astype(np.float32),
        rejections,
        {name: logit.copy() for name in VARIANTS},
        np.zeros((2, 224, 224)),
    )


MEASURED = {
    "all turned away": measured([0.4] * 12, dict.fromkeys(range(12), ReasonCode.NOVEL)),
    "no positive read": measured([0.7] * 12, dict.fromkeys(range(6), ReasonCode.TRUNCATED)),
    "perfect": measured([0.9] * 6 + [0.1] * 6, {}),
}


@pytest.mark.parametrize("name", MEASURED)
def test_ends(name: str, tmp_path: Path) -> None:
    one = MEASURED[name]
    read = one.read
    found = plain(
        {
            "finding": "covid",
            "measured_at": "",
            "software_version": "",
            "films": True,
            "statements": {},
            "model": {
                **dict.fromkeys(("name", "sha256", "provider", "precision", "intended_use"), ""),
                **dict.fromkeys(("site", "acceptance", "novelty", "age_range_years")),
                "kind": "checkpoint",
                "preprocessing": {},
                "training": {},
                "limits": (),
                "training_data_sha256": "0" * 64,
                "split_seed": 1,
            },
            "data": {"part": "all", "reason": "all", "sha256": "0", "part_sha256": "0"},
            **figures(one, POINTS, POINTS, (), Site()),
            "audit": audit(
                one.logit[read],
                {key: values[read] for key, values in one.variants.items()},
                one.cam[read],
                one.positive[read],
            ),
        }
    )
    film = np.zeros((224, 224), np.float32)
    cases = [Case.of(one, at, film) for at in worst_errors(one, 0.5, 2)]
    plots = draw_plots(tmp_path, one, found, cases)
    assert set(plots) >= {"roc", "precision", "scores", "confusion", "waiting", "audit"}
    assert ("reliability" in plots) == (name != "all turned away")
    write_report(tmp_path / "report.html", found, plots)
    text = (tmp_path / "report.html").read_text()
    assert text.count("data:image/") == len(plots)
    if name == "all turned away":
        assert "Nothing was scored" in text
        assert found["calibration"] is None
