"""Controlled means and variances: formulas, coverage of both intervals, planted bugs, and the plain fallback.

Repetitions are points: one call on [replicas, 1, repetitions] makes every repetition an experiment of its own.
"""

import equinox as eqx
import numpy as np
import pytest

from jaxlimit.paths import GaussianPath
from jaxlimit.statistics import control_variate, controlled_moments
from tests import laws

REPETITIONS = 3000
REPLICAS = 400


def law_of(mean, variance):
    """A law with these means and variances [times, points] and no correlation between points."""
    covariance = np.stack([np.diag(row) for row in np.atleast_2d(variance)])
    return GaussianPath(np.arange(len(covariance), dtype=np.float64), np.atleast_2d(mean), covariance)


def flat_law(variance=1.0, mean=0.0, points=REPETITIONS):
    return law_of(np.full(points, mean), np.full(points, variance))


def gaussian(rng, shape):
    return rng.standard_normal(shape)


def uniform(rng, shape):
    """Uniform with variance 1: the control need not be Gaussian."""
    return np.sqrt(3.0) * rng.uniform(-1.0, 1.0, shape)


def pairs(seed, draw=gaussian, replicas=REPLICAS, points=REPETITIONS):
    """Values of mean 1 and variance 1.3², a control of mean 0 and variance 1; correlation √0.9."""
    rng = np.random.default_rng(seed)
    control, own = draw(rng, (replicas, 1, points)), rng.standard_normal((replicas, 1, points))
    return 1.0 + 1.3 * (np.sqrt(0.9) * control + np.sqrt(0.1) * own), control


def misses(interval, truth):
    low, high = interval
    return int(np.sum((truth < low) | (truth > high)))


def assert_covers(count):
    """Misses of a 95% interval: no more than 5% (8.5% would be caught), and no fewer than 4% (1.5% would be)."""
    laws.assert_rate_at_most(count, REPETITIONS, 0.05, detectable=0.085)
    laws.assert_rate_at_least(count, REPETITIONS, 0.04, detectable=0.015)


def test_both_are_regressions_with_the_moments_of_the_law():
    values, control = pairs(0, replicas=25, points=2)
    law = law_of([0.1, -0.2], [1.1, 0.9])
    moments = controlled_moments(values, control, law)
    np.testing.assert_array_equal(moments.mean, control_variate(values, control, law.mean).mean)
    for p in range(2):
        v, c = values[:, 0, p], control[:, 0, p]
        slope = np.polyfit((c - c.mean()) ** 2, (v - v.mean()) ** 2, 1)[0]
        expected = v.var(ddof=1) - slope * (c.var(ddof=1) - law.covariance[0, p, p])
        np.testing.assert_allclose(moments.variance[0, p], expected, rtol=1e-12)
    assert moments.variance.shape == moments.variance_error.shape == moments.variance_reduction.shape == (1, 2)
    low, high = moments.interval(0.9)
    np.testing.assert_allclose(0.5 * (low + high), moments.mean, rtol=1e-12)
    low, high = moments.variance_interval(0.9)
    np.testing.assert_allclose(np.sqrt(low * high), moments.variance, rtol=1e-12)


@pytest.mark.parametrize("draw", [gaussian, uniform])
def test_intervals_of_mean_and_variance_cover_at_their_level(draw):
    values, control = pairs(1, draw)
    moments = controlled_moments(values, control, flat_law())
    assert_covers(misses(moments.interval(), 1.0))
    assert_covers(misses(moments.variance_interval(), 1.69))
    # Gaussian pairs: (v − v̄)² and (c − c̄)² have correlation ρ² = 0.9, so the variance gains 1/(1 − ρ⁴).
    if draw is gaussian:
        assert abs(np.mean(moments.reduction) * 0.1 - 1.0) < 0.03
        assert abs(np.mean(moments.variance_reduction) * 0.19 - 1.0) < 0.05


@pytest.mark.parametrize(("mean", "variance"), [(0.02, 1.0), (0.0, 1.04)])
def test_a_wrong_law_of_the_control_is_caught(mean, variance):
    values, control = pairs(2)
    wrong = controlled_moments(values, control, flat_law(variance, mean))
    count = misses(wrong.interval(), 1.0) if mean else misses(wrong.variance_interval(), 1.69)
    with pytest.raises(AssertionError, match="trials, where a rate of"):
        assert_covers(count)


def test_the_error_of_the_plain_variance_is_caught_as_too_wide():
    values, control = pairs(3)
    moments = controlled_moments(values, control, flat_law())
    reach = 1.97 * 1.69 * np.sqrt(2.0 / REPLICAS)
    with pytest.raises(AssertionError, match="trials, where a rate of"):
        assert_covers(misses((moments.variance - reach, moments.variance + reach), 1.69))


@pytest.mark.parametrize(("replicas", "most"), [(20, 0.085), (50, 0.07), (200, 0.06)])
def test_few_replicas_cover_the_variance_as_documented(replicas, most):
    # Chunks of 2000 points: a law of 20,000 points would carry a covariance of 3 GB.
    count = 0
    for chunk in range(10):
        values, control = pairs([4, chunk], replicas=replicas, points=2000)
        count += misses(controlled_moments(values, control, flat_law(points=2000)).variance_interval(), 1.69)
    laws.assert_rate_at_most(count, 20_000, most, detectable=most + 0.015)


def test_a_linear_relation_leaves_no_error_in_either():
    _, control = pairs(5, replicas=30, points=4)
    moments = controlled_moments(3.0 - 2.0 * control, control, flat_law(1.21, 0.3, points=4))
    np.testing.assert_allclose(moments.mean, 2.4, rtol=1e-13)
    np.testing.assert_allclose(moments.variance, 4.84, rtol=1e-13)
    assert np.all(moments.standard_error < 1e-13)
    assert np.all(moments.variance_error < 1e-13)


def test_a_deterministic_limit_leaves_plain_monte_carlo():
    values, _ = pairs(6, replicas=60, points=3)
    control = np.full(values.shape, 0.1) + 2.0**-56 * (np.arange(60) % 2)[:, None, None]  # constant but for rounding
    moments = controlled_moments(values, control, flat_law(0.0, 0.1, points=3))
    np.testing.assert_allclose(moments.mean, values.mean(0), rtol=1e-14)
    np.testing.assert_allclose(moments.variance, values.var(0, ddof=1), rtol=1e-13)
    np.testing.assert_array_equal(moments.reduction, 1.0)
    np.testing.assert_array_equal(moments.variance_reduction, 1.0)
    squares = (values - values.mean(0)) ** 2 * 60 / 59
    np.testing.assert_allclose(moments.variance_error, squares.std(0, ddof=1) / np.sqrt(60), rtol=1e-13)


def test_values_that_do_not_vary_have_no_variance_and_no_error():
    values = np.full((10, 1, 1), 2.0)
    moments = controlled_moments(values, values, flat_law(0.0, 2.0, points=1))
    assert (moments.mean, moments.variance) == (2.0, 0.0)
    assert [bound.item() for bound in moments.variance_interval()] == [0.0, 0.0]


def test_a_variance_that_comes_out_negative_says_nothing():
    moments = controlled_moments(*pairs(7, replicas=20, points=1), flat_law(points=1))
    negative = eqx.tree_at(lambda m: m.second.mean, moments, np.array([[-0.1]]))
    assert [bound.item() for bound in negative.variance_interval()] == [0.0, np.inf]


def test_refusals():
    values, control = pairs(8, replicas=10, points=2)
    law = flat_law(points=2)
    with pytest.raises(ValueError, match=r"Argument `values` must have 3 dimension\(s\)"):
        controlled_moments(values[:, 0], control, law)
    with pytest.raises(ValueError, match="Argument `control` must have the shape"):
        controlled_moments(values, control[:, :, :1], law)
    with pytest.raises(ValueError, match="Argument `law` must be a GaussianPath"):
        controlled_moments(values, control, 0.0)
    with pytest.raises(ValueError, match="Argument `law` must have 1 times and 2 points like `values`"):
        controlled_moments(values, control, flat_law(points=3))
    with pytest.raises(ValueError, match=r"`law` must be the law of the control, but it has no variance at 1 of 2"):
        controlled_moments(values, control, law_of([0.0, 0.0], [1.0, 0.0]))
    with pytest.raises(ValueError, match="at least 3 replicas"):
        controlled_moments(values[:2], control[:2], law)
