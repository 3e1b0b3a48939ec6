"""Verdicts: HOLDS is reached when true, rarely when false, planted bugs are VIOLATED, few replicas are UNDECIDED."""

import math

import equinox as eqx
import numpy as np
import pytest

from jaxlimit.claims import Verdict
from jaxlimit.statistics import (
    KolmogorovSmirnov,
    MeanShift,
    Rate,
    VarianceRatio,
    compare,
    curve_equivalence,
    equivalence,
    rate_verdict,
)
from tests import laws
from tests.cases import each
from tests.statistics.test_compare import MARGINAL, law_of, samples_of

POINTS = 20
COVARIANCE = 0.6 * np.ones((POINTS, POINTS)) + 0.4 * np.eye(POINTS)
LAW = law_of(1, np.zeros(POINTS), COVARIANCE)


def draw(rng, replicas):
    """Float32 outputs [replicas, 1, points] of the law: correlation 0.6 between any two points."""
    common, own = rng.standard_normal((replicas, 1, 1)), rng.standard_normal((replicas, 1, POINTS))
    return (np.sqrt(0.6) * common + np.sqrt(0.4) * own).astype(np.float32)


def verdict(values, statistic, law=LAW):
    return equivalence(compare(samples_of(values), law, statistic)).verdict


@pytest.mark.parametrize("case", each(MARGINAL))
def test_holds_under_the_law_at_8192_replicas(case):
    statistic = case.statistic
    rng = np.random.default_rng(0)
    outcomes = [verdict(draw(rng, 8192), statistic) for _ in range(40)]
    laws.assert_rate_at_least(outcomes.count(Verdict.HOLDS), 40, 0.95, detectable=0.4)
    assert Verdict.VIOLATED not in outcomes


@pytest.mark.parametrize("case", each(MARGINAL))
def test_undecided_at_500_replicas(case):
    statistic = case.statistic
    result = equivalence(compare(samples_of(draw(np.random.default_rng(1), 500)), LAW, statistic))
    assert result.verdict is Verdict.UNDECIDED
    assert "settle it" in result.reason
    # With a margin so wide that the bounds are inside, few replicas are still too few.
    wide = type(statistic)(margin=0.9)
    result = equivalence(compare(samples_of(draw(np.random.default_rng(1), 500)), LAW, wide))
    assert result.verdict is Verdict.UNDECIDED
    assert "500 replicas are fewer than the 4096 needed" in result.reason
    comparison = compare(samples_of(draw(np.random.default_rng(1), 500)), LAW, wide)
    assert equivalence(comparison, replicas=500).verdict is Verdict.HOLDS


@pytest.mark.parametrize("case", each(MARGINAL))
def test_a_distance_equal_to_the_margin_rarely_holds_and_is_rarely_violated(case):
    statistic = case.statistic
    # One point, repetitions as save times; each is judged alone, as a comparison of a single time would be.
    replicas, repetitions, level = 4096, 1000, 0.01
    shift, factor = case.altered(statistic.margin)
    rng = np.random.default_rng(2)
    values = shift + factor * rng.standard_normal((replicas, repetitions, 1), dtype=np.float32)
    comparison = compare(samples_of(values), law_of(repetitions, np.zeros(1), np.eye(1)), statistic, level=level)
    holds = int(np.sum(comparison.upper[:, 0] <= statistic.margin))
    laws.assert_rate_at_most(holds, repetitions, level, detectable=0.05)
    # Lower bounds are simultaneous over all 1000 repetitions: together they may fail once in a hundred keys.
    lone = compare(samples_of(values[:, :1]), law_of(1, np.zeros(1), np.eye(1)), statistic, level=level)
    assert lone.lower[0, 0] >= comparison.lower[0, 0]
    single = comparison.distances[:, 0] - (lone.distances[0, 0] - lone.lower[0, 0])  # the half-width of one test alone
    laws.assert_rate_at_most(int(np.sum(single > statistic.margin)), repetitions, level, detectable=0.05)


def test_planted_wrong_variance_is_violated():
    values = draw(np.random.default_rng(3), 32_768)  # the bounds clear the margin by 6 standard errors
    for factor in (0.8, 1.2):
        law = law_of(1, np.zeros(POINTS), factor * COVARIANCE)
        assert verdict(values, VarianceRatio(), law) is Verdict.VIOLATED
        assert verdict(values, MeanShift(), law) is Verdict.HOLDS


def test_planted_shift_is_violated():
    values = draw(np.random.default_rng(4), 32_768)  # the bounds clear the margin by 6 standard errors
    law = law_of(1, np.full(POINTS, 0.2), COVARIANCE)
    assert verdict(values, MeanShift(), law) is Verdict.VIOLATED
    assert verdict(values, KolmogorovSmirnov(), law) is Verdict.VIOLATED
    assert verdict(values, VarianceRatio(), law) is Verdict.HOLDS


def test_one_bad_point_at_one_time_is_enough():
    rng = np.random.default_rng(5)
    values = np.concatenate([draw(rng, 8192) for _ in range(3)], axis=1)
    values[:, 1, 7] += 0.3
    result = equivalence(compare(samples_of(values), law_of(3, np.zeros(POINTS), COVARIANCE), MeanShift()))
    assert result.verdict is Verdict.VIOLATED
    assert "t = 1, point 7" in result.reason
    assert result.margin == 0.1
    assert 0.2 < result.worst < result.upper


def test_any_upper_bound_beyond_the_margin_prevents_holds():
    comparison = compare(samples_of(draw(np.random.default_rng(6), 8192)), LAW, MeanShift())
    upper = comparison.upper.copy()
    upper[0, 3] = 0.11
    beyond = eqx.tree_at(lambda c: c.upper, comparison, upper)
    assert equivalence(comparison).verdict is Verdict.HOLDS
    assert equivalence(beyond).verdict is Verdict.UNDECIDED


@pytest.mark.parametrize(
    ("distance", "lower", "upper", "advice"),
    [
        (0.06, 0.0, 0.16, "about 51200 replicas would settle it"),  # (0.10/0.04)² = 6.25 times as many show HOLDS
        (0.13, 0.04, 0.2, "about 73728 replicas would settle it"),  # (0.09/0.03)² = 9 times as many show VIOLATED
        (0.1, 0.0, 0.2, "too close to the margin"),
    ],
)
def test_undecided_names_the_replicas_that_would_settle_it(distance, lower, upper, advice):
    comparison = compare(samples_of(draw(np.random.default_rng(8), 8192)), LAW, MeanShift())
    fields = [np.full((1, POINTS), value) for value in (distance, lower, upper)]
    crafted = eqx.tree_at(lambda c: (c.distances, c.lower, c.upper), comparison, tuple(fields))
    result = equivalence(crafted)
    assert result.verdict is Verdict.UNDECIDED
    assert advice in result.reason


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.59, -0.41, Verdict.HOLDS),
        (-0.61, -0.45, Verdict.UNDECIDED),
        (-0.45, -0.30, Verdict.UNDECIDED),
        (-0.90, -0.10, Verdict.UNDECIDED),
        (-0.39, -0.30, Verdict.VIOLATED),
        (-0.80, -0.61, Verdict.VIOLATED),
    ],
)
def test_rate_verdicts(low, high, expected):
    fit = Rate(0.5 * (low + high), low, high, (1, 2, 3), "", 0.95, 1.0)
    assert rate_verdict(fit, -0.5).verdict is expected


def test_a_refused_rate_is_undecided_for_its_own_reason():
    result = rate_verdict(Rate(math.nan, -math.inf, math.inf, (), "refused: why", 0.95, math.nan), -0.5)
    assert (result.verdict, result.reason) == (Verdict.UNDECIDED, "refused: why")
    with pytest.raises(ValueError, match="Argument `predicted`"):
        rate_verdict(Rate(-0.5, -0.6, -0.4, (), "", 0.95, 1.0), math.nan)


def test_curves():
    predicted = np.array([2.0, 1.0, 0.5])
    good = curve_equivalence(predicted * 1.01, 0.005 * predicted, predicted, margin=0.05)
    assert good.verdict is Verdict.HOLDS
    np.testing.assert_allclose([good.worst, good.upper], [0.01, 0.01 + 2.326348 * 0.005], rtol=1e-6)
    assert curve_equivalence(predicted, 0.05 * predicted, predicted, 0.05).verdict is Verdict.UNDECIDED
    bad = curve_equivalence(predicted * [1.0, 1.2, 1.0], 0.005 * predicted, predicted, margin=0.05)
    assert bad.verdict is Verdict.VIOLATED
    assert "at time 1" in bad.reason
    # Zero is predicted and seen exactly; or it is predicted and something else is seen for certain.
    assert curve_equivalence([0.0, 1.0], [0.0, 0.01], [0.0, 1.0], 0.05).verdict is Verdict.HOLDS
    assert curve_equivalence([0.1, 1.0], [0.01, 0.01], [0.0, 1.0], 0.05).verdict is Verdict.VIOLATED
    assert curve_equivalence([0.01, 1.0], [0.01, 0.01], [0.0, 1.0], 0.05).verdict is Verdict.UNDECIDED


def test_curve_at_the_margin_rarely_holds():
    repetitions, times = 2000, 4
    noise = 0.01 * np.random.default_rng(7).standard_normal((repetitions, times))
    predicted, error = np.ones(times), np.full(times, 0.01)
    truth = np.array([1.1, 1.0, 1.0, 1.0])  # the first time lies exactly at the margin
    outcomes = [curve_equivalence(truth + row, error, predicted, margin=0.1).verdict for row in noise]
    laws.assert_rate_at_most(outcomes.count(Verdict.HOLDS), repetitions, 0.01, detectable=0.04)
    laws.assert_rate_at_most(outcomes.count(Verdict.VIOLATED), repetitions, 0.01, detectable=0.04)


def test_curves_of_few_replicas_decide_nothing():
    off, on = ([1.5], [0.0], [1.0], 0.05), ([1.0], [0.001], [1.0], 0.05)
    for replicas, violated, holds in ((2, False, False), (999, False, False), (1000, True, False), (4096, True, True)):
        found = [curve_equivalence(*curve, replicas=replicas).verdict for curve in (off, on)]
        assert found[0] is (Verdict.VIOLATED if violated else Verdict.UNDECIDED)
        assert found[1] is (Verdict.HOLDS if holds else Verdict.UNDECIDED)
    assert "about 0.5, but 2 replicas are fewer than the 1000" in curve_equivalence(*off, replicas=2).reason
    assert "2 replicas are fewer than the 4096" in curve_equivalence(*on, replicas=2).reason
    assert curve_equivalence(*on, replicas=50, needed=50).verdict is Verdict.HOLDS
    assert "about inf" in curve_equivalence([0.1], [0.0], [0.0], 0.05, replicas=2).reason
    for name in ("replicas", "needed"):
        with pytest.raises(ValueError, match=f"Argument `{name}` must be a positive integer"):
            curve_equivalence(*on, **{name: 0})


def test_a_variance_at_the_margin_is_rarely_violated_from_1000_replicas_on():
    """Squares of normals are skew: where they are few, a mean that is too small comes with too small an error."""
    repetitions, replicas = 2000, 1000
    squares = 0.9 * np.random.default_rng(10).chisquare(1, (repetitions, replicas))
    mean, error = squares.mean(axis=1), squares.std(axis=1, ddof=1) / math.sqrt(replicas)
    outcomes = [
        curve_equivalence([m], [e], [1.0], 0.1, replicas=replicas).verdict for m, e in zip(mean, error, strict=True)
    ]
    laws.assert_rate_at_most(outcomes.count(Verdict.VIOLATED), repetitions, 0.015, detectable=0.04)


def test_what_is_not_a_comparison_or_a_rate_is_refused():
    samples = samples_of(draw(np.random.default_rng(9), 4))
    with pytest.raises(ValueError, match="Argument `comparison` must be a Comparison, but it is a Samples"):
        equivalence(samples)
    with pytest.raises(ValueError, match="Argument `rate` must be a Rate, but it is a Comparison"):
        rate_verdict(compare(samples, LAW, MeanShift()), -0.5)
    with pytest.raises(ValueError, match="Argument `predicted` must be a finite number, but it is 'half'"):
        rate_verdict(Rate(-0.5, -0.6, -0.4, (), "", 0.95, 1.0), "half")


def test_curve_refusals():
    with pytest.raises(ValueError, match="Argument `predicted` must hold real numbers"):
        curve_equivalence([1.0], [0.1], LAW, 0.1)
    with pytest.raises(ValueError, match="Argument `mean` must have the shape"):
        curve_equivalence([1.0, 2.0], [0.1], [1.0], 0.1)
    with pytest.raises(ValueError, match="Argument `standard_error` must not be negative"):
        curve_equivalence([1.0], [-0.1], [1.0], 0.1)
