"""Waiting times against the published model's figures and a queue that is simulated by hand."""

from __future__ import annotations

import heapq

import numpy as np
import pytest

from export.waiting import Site, flags, waiting
from screener.errors import UsageError


@pytest.mark.parametrize(
    ("sensitivity", "specificity", "saved_share"),
    # At QuCAD's defaults, where a flag interrupts.
    [
        (0.919, 0.956, 0.88),
        (0.972, 0.886, 0.92),
        (0.97, 0.97, 0.94),
        (1, 1, 0.98),
        (0.8, 0.8, 0.68),
    ],
)
def test_interrupting_as_in_qucad(
    sensitivity: float, specificity: float, saved_share: float
) -> None:
    found = waiting(Site(), sensitivity, specificity)
    assert found.in_order == pytest.approx(40)
    assert found.interrupting_share == pytest.approx(saved_share, abs=0.005)


def test_without_interrupting() -> None:
    found = waiting(Site(), 0.97, 0.97)
    assert found.saved_share == pytest.approx(0.75, abs=0.005)
    assert found.with_finding == pytest.approx(40 - found.saved)
    assert found.lost > 0
    assert found.lost_unflagged > found.lost


def test_work_is_only_moved_never_made() -> None:
    # Whoever is first, the mean over all studies stays what it was.
    for sensitivity, specificity in ((0.9, 0.6), (1.0, 1.0), (0.0, 1.0), (1.0, 0.0)):
        site = Site(7, 0.6, 0.25)
        found = waiting(site, sensitivity, specificity)
        mean = site.prevalence * found.with_finding + 0.75 * found.without_finding
        assert mean == pytest.approx(found.in_order)


def test_flagging_no_one_or_everyone_changes_nothing() -> None:
    for sensitivity, specificity in ((0.0, 1.0), (1.0, 0.0)):
        found = waiting(Site(), sensitivity, specificity)
        assert found.saved == pytest.approx(0)
        assert found.lost == pytest.approx(0)


def simulate(site: Site, sensitivity: float, specificity: float, n: int) -> tuple[float, float]:
    """Mean minutes until reading begins, of studies with the finding and of the others."""
    generator = np.random.default_rng(3)
    arrival = np.cumsum(generator.exponential(site.reading_minutes / site.load, n))
    reading = generator.exponential(site.reading_minutes, n)
    positive = generator.random(n) < site.prevalence
    flagged = generator.random(n) < np.where(positive, sensitivity, 1 - specificity)
    waits, queue = np.zeros(n), list[tuple[bool, int]]()
    now, come = 0.0, 0
    for _ in range(n):
        if not queue and come < n:
            now = max(now, arrival[come])
        while come < n and arrival[come] <= now:
            heapq.heappush(queue, (not flagged[come], come))
            come += 1
        _, chosen = heapq.heappop(queue)
        waits[chosen] = now - arrival[chosen]
        now += reading[chosen]
    return float(waits[positive].mean()), float(waits[~positive].mean())


def test_agrees_with_a_simulated_queue() -> None:
    site = Site(10, 0.6, 0.2)
    found = waiting(site, 0.9, 0.8)
    simulated = simulate(site, 0.9, 0.8, 200_000)
    assert (found.with_finding, found.without_finding) == pytest.approx(simulated, rel=0.05)


def test_flags_by_hand() -> None:
    found = flags(Site(prevalence=0.1), 0.9, 0.8)
    assert found.flagged == pytest.approx(0.09 + 0.18)
    assert found.positive_predictive_value == pytest.approx(0.09 / 0.27)
    assert found.negative_predictive_value == pytest.approx(0.72 / 0.73)
    assert flags(Site(), 0.0, 1.0).positive_predictive_value is None
    assert flags(Site(), 1.0, 0.0).negative_predictive_value is None


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ((0.0, 0.8, 0.1), "reading time of 0.0"),
        ((10.0, 1.0, 0.1), "grows without end"),
        ((10.0, 0.8, 0.0), "prevalence of 0.0"),
        ((10.0, float("nan"), 0.1), "a load of nan"),
    ],
)
def test_no_such_reading_room(numbers: tuple[float, float, float], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        Site(*numbers)
