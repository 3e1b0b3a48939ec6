"""Multilevel estimates: unbiased, covering, priced as stated, and allocated so that no other choice is cheaper."""

import math

import numpy as np
import pytest

from jaxlimit.statistics import allocation, multilevel
from tests import laws

REPETITIONS = 4000
COSTS, FINEST = [1.0, 4.0, 16.0], 8.0
TRUTH = 1.75


def levels(seed, replicas, repetitions=REPETITIONS):
    """Gaussian levels: a mean of 1, then corrections of means 0.5 and 0.25 and deviations 0.4 and 0.1."""
    rng = np.random.default_rng(seed)
    narrow = 1.0 + rng.standard_normal((replicas[0], repetitions))
    found = [narrow]
    for count, mean, deviation in zip(replicas[1:], (0.5, 0.25), (0.4, 0.1), strict=True):
        coarse = rng.standard_normal((count, repetitions))
        found.append((coarse + mean + deviation * rng.standard_normal((count, repetitions)), coarse))
    return found


def misses(interval, truth=TRUTH):
    low, high = interval
    return int(np.sum((truth < low) | (truth > high)))


def test_estimate_error_and_price_are_the_plain_formulas():
    first, second, third = given = levels(0, (7, 5, 3), repetitions=2)
    result = multilevel(given, COSTS, FINEST)
    draws = [first, second[0] - second[1], third[0] - third[1]]
    np.testing.assert_allclose(result.mean, sum(d.mean(0) for d in draws), rtol=1e-13)
    np.testing.assert_allclose(result.means, [d.mean(0) for d in draws], rtol=1e-13)
    np.testing.assert_allclose(result.variances, [d.var(0, ddof=1) for d in draws], rtol=1e-13)
    squared = sum(d.var(0, ddof=1) / len(d) for d in draws)
    np.testing.assert_allclose(result.standard_error, np.sqrt(squared), rtol=1e-13)
    assert result.cost == 7 * 1 + 5 * 4 + 3 * 16
    assert result.replicas == (7, 5, 3)
    plain = third[0].var(0, ddof=1)
    np.testing.assert_allclose(result.plain_variance, plain, rtol=1e-13)
    np.testing.assert_allclose(result.reduction, plain / squared * FINEST / 75, rtol=1e-13)


def test_one_level_is_plain_monte_carlo():
    values = np.random.default_rng(1).standard_normal(30)
    result = multilevel([values], [3.0], 3.0)
    np.testing.assert_allclose(result.mean, values.mean(), rtol=1e-13)
    np.testing.assert_allclose(result.standard_error, values.std(ddof=1) / np.sqrt(30), rtol=1e-13)
    np.testing.assert_allclose([result.freedom, result.reduction], [29.0, 1.0], rtol=1e-12)


def test_estimate_has_the_mean_of_the_last_width_and_the_stated_error():
    result = multilevel(levels(2, (200, 50, 20)), COSTS, FINEST)
    exact = math.sqrt(1.0 / 200 + 0.16 / 50 + 0.01 / 20)
    laws.assert_mean(result.mean, TRUTH, detectable=0.12 * exact)
    laws.assert_mean(result.standard_error**2, exact**2, detectable=0.02 * exact**2)
    # The plain variance is that of the fine values, 1 + 0.1².
    laws.assert_mean(result.plain_variance, 1.01, detectable=0.05)


@pytest.mark.parametrize("replicas", [(200, 50, 20), (5, 5, 5)])
def test_interval_covers_at_its_level(replicas):
    result = multilevel(levels(3, replicas), COSTS, FINEST)
    laws.assert_rate_at_most(misses(result.interval()), REPETITIONS, 0.05, detectable=0.08)


def test_planted_bugs_are_caught_by_the_coverage():
    given = levels(4, (5, 5, 5))
    result = multilevel(given, COSTS, FINEST)
    # The normal quantile where a level has 5 replicas.
    reach = 1.96 * result.standard_error
    count = misses((result.mean - reach, result.mean + reach))
    with pytest.raises(AssertionError, match="trials, where a rate of"):
        laws.assert_rate_at_most(count, REPETITIONS, 0.05, detectable=0.08)
    # A correction of the wrong sign.
    swapped = [given[0], given[1][::-1], given[2]]
    count = misses(multilevel(swapped, COSTS, FINEST).interval())
    with pytest.raises(AssertionError, match="trials, where a rate of"):
        laws.assert_rate_at_most(count, REPETITIONS, 0.05, detectable=0.08)


def test_what_does_not_vary_has_no_error():
    result = multilevel([np.ones((4, 1)), (np.full((3, 1), 5.0), np.full((3, 1), 4.0))], [1.0, 2.0], 1.0)
    assert (result.mean, result.standard_error, result.reduction) == (2.0, 0.0, 1.0)
    low, high = result.interval()
    assert (low, high) == (2.0, 2.0)


def test_allocation_reaches_the_error_and_no_other_is_cheaper():
    variances, costs, target = np.array([1.0, 0.15, 0.013]), np.array(COSTS), 1e-3
    replicas = np.array(allocation(variances, costs, target))
    assert np.sum(variances / replicas) <= target**2
    cost = replicas @ costs
    # By Cauchy–Schwarz no real numbers of replicas cost less than this; rounding up costs one replica a level.
    least = np.sum(np.sqrt(variances * costs)) ** 2 / target**2
    assert least <= cost <= least + costs.sum()
    for level in range(3):
        for other in range(3):
            moved = replicas.astype(float)
            moved[level] *= 1.02
            # The cheapest number at another level that still reaches the error.
            left = target**2 - np.sum(np.delete(variances / moved, other))
            moved[other] = variances[other] / left
            assert other == level or moved @ costs > cost
    fewer = replicas - np.eye(3, dtype=int) * np.ceil(0.01 * replicas).astype(int)
    assert np.all(np.sum(variances / fewer, axis=1) > target**2)


def test_allocation_is_what_the_estimate_then_shows():
    replicas = allocation([1.0, 0.16, 0.01], COSTS, 0.05)
    result = multilevel(levels(5, replicas), COSTS, FINEST)
    laws.assert_mean(result.standard_error**2, 0.05**2, detectable=0.03 * 0.05**2)
    assert allocation(result.variances, COSTS, 0.05) >= replicas  # the most demanding of 4000 pilots


def test_every_component_reaches_its_own_error():
    variances, errors = np.array([[1.0, 4.0], [0.5, 0.01]]), np.array([0.01, 0.02])
    replicas = np.array(allocation(variances, [1.0, 4.0], errors))
    assert np.all(np.sum(variances / replicas[:, None], axis=0) <= errors**2 * (1 + 1e-9))
    alone = [allocation(variances[:, k], [1.0, 4.0], errors[k]) for k in range(2)]
    assert replicas.tolist() == np.max(alone, axis=0).tolist()
    assert allocation([1.0, 0.0], [1.0, 1.0], 0.1) == (100, 2)


def test_refusals():
    values, pair = np.zeros((4, 2)), (np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="Argument `levels` must hold at least one level"):
        multilevel([], [], 1.0)
    with pytest.raises(ValueError, match="Argument `levels` must be a sequence of values and pairs"):
        multilevel(3.0, [1.0], 1.0)
    with pytest.raises(ValueError, match=r"Argument `levels\[0\]` must hold at least 2 replicas, but it holds 1"):
        multilevel([values[:1], pair], [1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match=r"Argument `levels\[1\]` must be a pair \(fine, coarse\), but it has 3"):
        multilevel([values, (*pair, pair[0])], [1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match=r"Argument `levels\[1\]` must hold as many fine as coarse replicas"):
        multilevel([values, (pair[0], pair[1][:2])], [1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match=r"Argument `levels\[1\]` must have the shape \(2,\) of a replica"):
        multilevel([values, (pair[0][:, :1], pair[1])], [1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match=r"Argument `costs` must hold one entry per level \(2\), but it holds 1"):
        multilevel([values, pair], [1.0], 1.0)
    with pytest.raises(ValueError, match="Argument `costs` must be positive"):
        multilevel([values, pair], [1.0, 0.0], 1.0)
    with pytest.raises(ValueError, match="Argument `finest_cost` must be a finite number > 0"):
        multilevel([values, pair], [1.0, 2.0], 0.0)
    with pytest.raises(ValueError, match=r"Argument `levels\[1\]` must be finite"):
        multilevel([values, (pair[0] + np.nan, pair[1])], [1.0, 2.0], 1.0)
    with pytest.raises(ValueError, match="Argument `variances` must not be negative"):
        allocation([-1.0], [1.0], 0.1)
    with pytest.raises(ValueError, match="Argument `standard_error` must be positive"):
        allocation([1.0], [1.0], 0.0)
    with pytest.raises(ValueError, match=r"Argument `standard_error` must be a number or have shape \(\)"):
        allocation([1.0], [1.0], [0.1])


def test_an_allocation_that_nobody_could_count_is_refused():
    with pytest.raises(ValueError, match="Argument `standard_error` must be within reach"):
        allocation([1e300, 1.0], [1.0, 1.0], standard_error=1e-300)
