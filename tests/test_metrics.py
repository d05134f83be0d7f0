"""Statistics against hand cases, a second implementation, and their own definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from export.metrics import (
    NEVER,
    Confusion,
    Estimate,
    auc_delong,
    average_precision,
    bootstrap_by_group,
    confusion_at,
    draw_groups,
    precision_curve,
    roc_band,
    roc_curve,
    threshold_at_sensitivity,
    threshold_at_specificity,
    wilson,
)
from export.probability import (
    brier,
    calibration_error,
    calibration_in_the_large,
    calibration_line,
    decision_curve,
    reliability,
)


def sample(n: int = 400, separation: float = 1.5, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    positive = generator.random(n) < 0.3
    return generator.normal(0, 1, n) + separation * positive, positive


def test_delong_by_hand() -> None:
    # Pairs won: 3 of (1, 2, 4) wins two, 5 wins three. The variances of both placements are
    # (1/18)/2 and (1/12)/3, which happen to be equal.
    scores = np.array([3.0, 5.0, 1.0, 2.0, 4.0])
    positive = np.array([True, True, False, False, False])
    area = auc_delong(scores, positive)
    assert area is not None
    assert area.value == pytest.approx(5 / 6)
    assert area.low == pytest.approx(5 / 6 - 1.959964 * math.sqrt(1 / 18))
    assert area.high == 1


def test_delong_as_published() -> None:
    # The ratings of 109 CT images by Hanley and McNeil (Radiology 143, 1982, table I); Stata's
    # manual, at roctab, gives their area with DeLong's standard error and interval.
    normal, abnormal = (33, 6, 6, 11, 2), (3, 2, 2, 11, 33)
    scores = np.repeat(np.tile(np.arange(1.0, 6), 2), normal + abnormal)
    area = auc_delong(scores, np.repeat([False, True], [58, 51]))
    assert area is not None
    assert area.value == pytest.approx(0.8932, abs=5e-5)
    assert (area.high - area.low) / (2 * 1.959964) == pytest.approx(0.0307, abs=5e-5)
    assert (area.low, area.high) == pytest.approx((0.83295, 0.95339), abs=5e-6)


def test_delong_counts_ties_half() -> None:
    area = auc_delong(np.array([1.0, 1.0, 0.0]), np.array([True, False, False]))
    assert area is not None
    assert area.value == pytest.approx(0.75)


@pytest.mark.parametrize("other", [1, 1000])
def test_one_image_of_a_class_gives_no_narrow_interval(other: int) -> None:
    scores = np.r_[0.7, np.linspace(0, 1, other)]
    for positive in (np.arange(other + 1) == 0, np.arange(other + 1) > 0):
        area = auc_delong(scores, positive)
        assert area is not None
        assert (area.low, area.high) == (0, 1)


def test_delong_agrees_with_library_and_bootstrap() -> None:
    scores, positive = sample()
    area = auc_delong(scores, positive)
    assert area is not None
    assert area.value == pytest.approx(roc_auc_score(positive, scores))
    drawn = bootstrap_by_group(
        lambda i: float(roc_auc_score(positive[i], scores[i])),
        [str(i) for i in range(len(scores))],
        rounds=300,
    )
    assert drawn is not None
    assert (area.low, area.high) == pytest.approx(drawn, abs=0.012)


@pytest.mark.parametrize("positive", [[True, True], [False, False]])
def test_one_class_has_no_area(positive: list[bool]) -> None:
    scores, labels = np.array([0.1, 0.2]), np.array(positive)
    assert auc_delong(scores, labels) is None
    assert average_precision(scores, labels) is None
    assert calibration_line(scores, labels) is None


@pytest.mark.parametrize(
    ("successes", "trials", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998), table I, method 3.
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_as_published(successes: int, trials: int, low: float, high: float) -> None:
    estimate = wilson(successes, trials)
    assert estimate is not None
    assert (estimate.low, estimate.high) == pytest.approx((low, high), abs=5e-5)


def test_wilson_at_its_ends() -> None:
    assert wilson(0, 0) is None
    assert wilson(29, 29) == Estimate(1.0, pytest.approx(29 / (29 + 1.959964**2)), 1.0)


def test_larger_groups_widen_the_interval() -> None:
    scores, positive = sample(100)
    scores, positive = np.repeat(scores, 4), np.repeat(positive, 4)

    def auc(index: np.ndarray) -> float | None:
        area = auc_delong(scores[index], positive[index])
        return area.value if area else None

    alone = bootstrap_by_group(auc, [str(i) for i in range(400)], rounds=200)
    grouped = bootstrap_by_group(auc, [str(i // 4) for i in range(400)], rounds=200)
    assert alone is not None
    assert grouped is not None
    assert 1.6 < (grouped[1] - grouped[0]) / (alone[1] - alone[0]) < 2.4


def test_bootstrap_that_mostly_fails_gives_nothing() -> None:
    assert bootstrap_by_group(lambda i: None if 0 in i else 1.0, ["a"], rounds=10) is None


SCORES = np.array([0.9, 0.8, 0.4, NEVER, 0.7, 0.3, 0.2, 0.1, NEVER])
POSITIVE = np.array([True, True, True, True, False, False, False, False, False])


def test_turned_away_is_missed_at_any_threshold() -> None:
    assert confusion_at(SCORES, POSITIVE, 0.0) == Confusion(3, 1, 4, 1)
    assert confusion_at(SCORES, POSITIVE, 0.4) == Confusion(3, 1, 1, 4)
    counts = confusion_at(SCORES, POSITIVE, 0.8)
    assert counts == Confusion(2, 2, 0, 5)
    assert counts.sensitivity is not None
    assert counts.sensitivity.value == 0.5
    assert counts.positive_predictive_value is not None
    assert counts.positive_predictive_value.value == 1


@pytest.mark.parametrize(
    ("target", "expected"),
    [(0.25, 0.9), (0.5, 0.8), (0.51, 0.4), (0.75, 0.4), (0.76, None), (0.97, None)],
)
def test_threshold_at_sensitivity(target: float, expected: float | None) -> None:
    assert threshold_at_sensitivity(SCORES, POSITIVE, target) == expected


@pytest.mark.parametrize(
    ("target", "expected"),
    [(1.0, 0.8), (0.81, 0.8), (0.8, 0.4), (0.6, 0.3), (0.2, 0.1), (0.0, 0.1)],
)
def test_threshold_at_specificity(target: float, expected: float) -> None:
    assert threshold_at_specificity(SCORES, POSITIVE, target) == expected


def test_no_score_is_above_the_highest_negative() -> None:
    scores, positive = np.array([0.2, 0.9]), np.array([True, False])
    assert threshold_at_specificity(scores, positive, 1.0) is None


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.tuples(st.integers(-1, 10), st.booleans()), min_size=2, max_size=40),
    st.sampled_from([0.0, 0.5, 0.9, 0.956, 0.97, 1.0]),
)
def test_thresholds_keep_what_they_promise(rows: list[tuple[int, bool]], target: float) -> None:
    scores = np.array([-1.0 if s < 0 else s / 10 for s, _ in rows])
    positive = np.array([p for _, p in rows])
    at = threshold_at_sensitivity(scores, positive, target)
    if at is not None:
        here = confusion_at(scores, positive, at).sensitivity
        above = confusion_at(scores, positive, at + 1e-6).sensitivity
        assert here is not None
        assert above is not None
        assert above.value < target <= here.value
    at = threshold_at_specificity(scores, positive, target)
    if at is not None:
        counts = confusion_at(scores, positive, at).specificity
        assert counts is not None
        assert counts.value >= target
        lower = scores[(scores < at) & (scores > NEVER)]
        if len(lower):
            looser = confusion_at(scores, positive, float(lower.max())).specificity
            assert looser is not None
            assert looser.value < target


def test_calibration_by_hand() -> None:
    probability = np.array([0.1, 0.1, 0.95, 0.95])
    positive = np.array([False, True, True, True])
    bins = reliability(probability, positive)
    assert [(b.images, b.probability, b.observed) for b in bins] == [
        (2, pytest.approx(0.1), 0.5),
        (2, pytest.approx(0.95), 1.0),
    ]
    assert calibration_error(probability, positive) == pytest.approx((2 * 0.4 + 2 * 0.05) / 4)
    assert brier(probability, positive) == pytest.approx((0.01 + 0.81 + 2 * 0.0025) / 4)
    assert reliability(np.array([1.0]), np.array([True]))[0].images == 1


def test_calibration_line_agrees_with_library() -> None:
    logit, positive = sample(separation=2.0)
    line = calibration_line(logit, positive)
    assert line is not None
    fitted = LogisticRegression(C=np.inf, tol=1e-10).fit(logit[:, None], positive)
    assert line[0].value == pytest.approx(fitted.coef_[0, 0], abs=1e-4)
    assert line[1].value == pytest.approx(fitted.intercept_[0], abs=1e-4)


LOGIT = np.array(
    [-3.2, -2.6, -2.1, -1.7, -1.4, -1.0, -0.8, -0.3, 0.0, 0.4, 0.7, 1.1, 1.5, 2.2, 2.9, 3.4]
)
FOUND = np.isin(np.arange(16), (3, 6, 9, 11, 12, 14, 15))


def test_calibration_as_by_another_program() -> None:
    # statsmodels 0.15.0: Logit, and a binomial GLM with the logit as offset.
    line = calibration_line(LOGIT, FOUND)
    assert line is not None
    slope, intercept = line
    assert (slope.value, slope.low, slope.high) == pytest.approx(
        (0.61706819, -0.0770712, 1.31120758), abs=1e-6
    )
    assert (intercept.value, intercept.low, intercept.high) == pytest.approx(
        (-0.27340707, -1.40295545, 0.85614131), abs=1e-6
    )
    large = calibration_in_the_large(LOGIT, FOUND)
    assert large is not None
    assert (large.value, large.low, large.high) == pytest.approx(
        (-0.30945845, -1.59703573, 0.97811884), abs=1e-5
    )


def test_in_the_large_finds_the_shift() -> None:
    generator = np.random.default_rng(8)
    truth = generator.normal(-2, 2, 5000)
    positive = generator.random(5000) < 1 / (1 + np.exp(-truth))
    for shift in (0.0, 1.5, -3.0):
        found = calibration_in_the_large(truth - shift, positive)
        assert found is not None
        assert found.low < shift < found.high
    assert calibration_in_the_large(truth, np.ones(5000, bool)) is None
    far = calibration_in_the_large(np.array([500.0, -500.0, 0.0]), np.array([True, False, True]))
    assert far is not None


def test_calibration_line_finds_the_truth() -> None:
    generator = np.random.default_rng(5)
    truth = generator.normal(-1, 2, 4000)
    positive = generator.random(4000) < 1 / (1 + np.exp(-truth))
    for scale, slope in ((1, 1), (2, 0.5), (0.25, 4)):
        line = calibration_line(truth * scale, positive)
        assert line is not None
        assert line[0].low < slope < line[0].high
        assert line[1].low < 0 < line[1].high


def test_separated_classes_have_no_slope() -> None:
    logit, positive = np.array([-2.0, -1.0, 1.0, 2.0]), np.array([False, False, True, True])
    assert calibration_line(logit, positive) is None
    assert calibration_line(-logit, positive) is None


def test_calibration_line_bears_a_far_start() -> None:
    logit, positive = sample(separation=2.0)
    line = calibration_line(logit * 300, positive)
    assert line is not None
    expected = calibration_line(logit, positive)
    assert expected is not None
    assert line[0].value * 300 == pytest.approx(expected[0].value, rel=1e-3)


def test_decision_curve_by_hand() -> None:
    curve = decision_curve(np.array([0.9, 0.6, 0.2, 0.1]), np.array([True, False, False, False]))
    at = {round(t, 2): i for i, t in enumerate(curve.threshold)}
    # At 0.5: one true and one false flag of four, weighed 1 to 1.
    assert curve.model[at[0.5]] == pytest.approx(0)
    assert curve.model[at[0.75]] == pytest.approx(0.25)
    assert curve.model[at[0.2]] == pytest.approx(0.25 - 2 * 0.25 / 4)
    assert curve.everyone[at[0.2]] == pytest.approx(0.25 - 0.75 / 4)
    assert len(curve.threshold) == 99


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(st.integers(-1, 9), st.booleans()), min_size=2, max_size=40))
def test_curves_are_those_of_the_library(rows: list[tuple[int, bool]]) -> None:
    positive = np.array([p for _, p in rows])
    assume(positive.any() and not positive.all())
    scores = np.array([s / 10 for s, _ in rows])
    roc = roc_curve(scores, positive)
    x, y, _ = metrics.roc_curve(positive, scores, drop_intermediate=False)
    assert (roc.x, roc.y) == (pytest.approx(x), pytest.approx(y))
    value, sensitivity, _ = metrics.precision_recall_curve(positive, scores)
    pr = precision_curve(scores, positive)
    assert (pr.x[::-1], pr.y[::-1]) == (pytest.approx(sensitivity), pytest.approx(value))
    expected = metrics.average_precision_score(positive, scores)
    assert average_precision(scores, positive) == pytest.approx(expected)


def test_curves_begin_and_end_where_they_must() -> None:
    roc = roc_curve(SCORES, POSITIVE)
    assert (roc.x[0], roc.y[0], roc.x[-1], roc.y[-1]) == (0, 0, 1, 1)
    assert (np.diff(roc.x) >= 0).all()
    pr = precision_curve(SCORES, POSITIVE)
    assert (np.diff(pr.x) >= 0).all()
    assert (pr.x[0], pr.y[0]) == (0, 1)


def test_roc_band_holds_the_curve() -> None:
    scores, positive = sample(300)
    x = np.linspace(0, 1, 21)
    groups = [str(i // 2) for i in range(300)]
    band = roc_band(scores, positive, groups, x, 100)
    assert band is not None
    low, high = band
    curve = roc_curve(scores, positive)
    middle = np.interp(x, curve.x, curve.y)
    inside = (low - 1e-9 <= middle) & (middle <= high + 1e-9)
    assert inside.mean() > 0.9
    assert (low[5:15] < high[5:15]).all()
    assert roc_band(scores[:1], positive[:1], groups[:1], x, 10) is None


def test_whole_groups_are_drawn() -> None:
    rounds = list(draw_groups(["a", "b", "a", "c"], 50))
    assert len(rounds) == 50
    for index in rounds:
        assert (index == 0).sum() == (index == 2).sum()
        assert len(index) == 3 + (index == 0).sum()
