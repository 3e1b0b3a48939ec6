"""Running moments: those of the whole sample in any order of merging, with errors that are the spread they state."""

import dataclasses
import time

import jax
import numpy as np
import pytest

from jaxlimit.statistics import Moments
from tests import laws
from tests.statistics.test_compare import samples_of


def moments_of(values, cuts=()):
    total = Moments()
    for part in np.split(values, cuts):
        total = total.add(samples_of(part))
    return total


def skewed(seed, shape, offset=0.0):
    """Correlated points with skewness and tails: third moments that vanish would hide their bugs."""
    rng = np.random.default_rng(seed)
    return offset + rng.exponential(size=shape) + 0.5 * rng.standard_normal((*shape[:2], 1))


def assert_same(moments, values, rtol=1e-10):
    """Everything against plain NumPy on the whole sample."""
    replicas, times, _ = values.shape
    deviations = values - values.mean(0)
    assert moments.replicas == replicas
    np.testing.assert_allclose(moments.mean, values.mean(0), rtol=rtol)
    covariance = [np.cov(values[:, t], rowvar=False) for t in range(times)]
    np.testing.assert_allclose(moments.covariance, covariance, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(moments.variance, values.var(0, ddof=1), rtol=rtol)
    np.testing.assert_allclose(moments.third, np.mean(deviations**3, axis=0), rtol=rtol, atol=rtol)
    np.testing.assert_allclose(moments.fourth, np.mean(deviations**4, axis=0), rtol=rtol)


@pytest.mark.parametrize("cuts", [(), (500,), (1, 2, 3), (17, 400, 401, 900), tuple(range(1, 1000))])
def test_batches_of_any_size_give_the_moments_of_the_whole_sample(cuts):
    values = skewed(0, (1000, 2, 3))
    assert_same(moments_of(values, cuts), values)


def test_the_order_of_merging_changes_rounding_only():
    values = skewed(1, (600, 2, 3))
    parts = [moments_of(part) for part in np.split(values, (10, 200, 250))]
    forwards = parts[0].merge(parts[1]).merge(parts[2]).merge(parts[3])
    backwards = parts[3].merge(parts[2].merge(parts[1].merge(parts[0])))
    halves = parts[2].merge(parts[0]).merge(parts[3].merge(parts[1]))
    for total in (forwards, backwards, halves):
        assert_same(total, values, rtol=1e-12)


def test_a_distant_mean_costs_only_the_digits_that_the_values_lack():
    values = skewed(2, (2000, 1, 2), offset=2.0**20)
    # Each value is rounded by 2^{-33}, its deviation by as much relative to 1.
    assert_same(moments_of(values, (7, 1000)), values, rtol=1e-8)
    # Sums of powers about the origin lose everything: the fourth power alone is rounded by 2^{80 − 53}.
    raw = np.mean(values**4, axis=0) - 4 * np.mean(values**3, axis=0) * np.mean(values, axis=0)
    raw += 6 * np.mean(values**2, axis=0) * np.mean(values, axis=0) ** 2 - 3 * np.mean(values, axis=0) ** 4
    assert np.all(np.abs(raw - moments_of(values).fourth) > 100)


def test_float32_values_are_summed_in_float64():
    values = skewed(3, (1000, 1, 2)).astype(np.float32)
    assert_same(moments_of(values, (300,)), values.astype(np.float64))
    assert_same(Moments().add(samples_of(jax.numpy.asarray(values))), values.astype(np.float64))


def test_diverged_and_infinite_replicas_are_left_out_and_counted():
    values = skewed(4, (50, 2, 3))
    broken = values.copy()
    broken[3, 1, 2], broken[4, 0, 0] = np.nan, np.inf
    diverged_at = np.full(50, -1)
    diverged_at[[3, 7]] = 12
    moments = Moments().add(samples_of(broken, diverged_at=diverged_at))
    assert moments.diverged == 3
    assert_same(moments, np.delete(values, [3, 4, 7], axis=0))
    # A batch of which nothing is left changes the count alone, first or last.
    lost = Moments().add(samples_of(values[:2], diverged_at=np.array([5, 5])))
    assert (lost.replicas, lost.diverged) == (0, 2)
    for total in (lost.merge(moments), moments.merge(lost)):
        assert total.diverged == 5
        np.testing.assert_array_equal(total.products, moments.products)
    none = moments.add(samples_of(values[:0]))
    assert (none.replicas, none.diverged) == (47, 3)


def test_empty_moments_are_neutral():
    moments = moments_of(skewed(5, (20, 1, 2)))
    for total in (Moments().merge(moments), moments.merge(Moments()), Moments().merge(Moments()).merge(moments)):
        np.testing.assert_array_equal(total.products, moments.products)
        assert total.replicas == 20
    assert Moments().merge(Moments()).replicas == 0


def test_errors_are_the_plain_formulas():
    values = skewed(11, (6, 2, 3))
    moments = moments_of(values, (2,))
    variance, fourth = values.var(0, ddof=1), np.mean((values - values.mean(0)) ** 4, axis=0)
    np.testing.assert_allclose(moments.standard_error, np.sqrt(variance / 6), rtol=1e-12)
    np.testing.assert_allclose(moments.variance_error, np.sqrt((fourth - 0.6 * variance**2) / 6), rtol=1e-12)


def test_errors_are_the_spread_that_they_state():
    # Repetitions are times, 400 replicas each; exponential values have μ₄ = 9, where a Gaussian has 3.
    repetitions, replicas = 4000, 400
    values = np.random.default_rng(6).exponential(size=(replicas, repetitions, 1))
    moments = moments_of(values)
    laws.assert_mean(moments.standard_error**2, 1 / replicas, detectable=0.02 / replicas)
    exact = (9 - (replicas - 3) / (replicas - 1)) / replicas
    laws.assert_mean(moments.variance_error**2, exact, detectable=0.12 * exact)
    # The relative error of an empirical variance of s² (whose kurtosis is about 3.6) is √(2.6/4000) = 2.5%; z = 4.9.
    assert abs(np.var(moments.variance) / exact - 1) < 4.9 * 0.026
    # Planted: the error of a Gaussian variance, √(2/n), is wrong by a factor of two.
    assert abs(np.var(moments.variance) / (2 / replicas) - 1) > 2


def test_covariance_error_is_right_on_the_diagonal_and_a_bound_elsewhere():
    repetitions, replicas = 2000, 300
    rng = np.random.default_rng(7)
    common = rng.standard_normal((replicas, repetitions, 1))
    values = 0.8 * common + 0.6 * rng.standard_normal((replicas, repetitions, 2))
    moments = moments_of(values)
    spread, stated = np.std(moments.covariance, axis=0), np.sqrt(np.mean(moments.covariance_error**2, axis=0))
    # Relative error of a standard deviation from 2000 draws: 1/√4000 = 1.6%, z = 4.9.
    np.testing.assert_allclose(np.diagonal(spread), np.diagonal(stated), rtol=4.9 * 0.016)
    # Gaussian: Var s_12 = (1 + ρ²)/n, and the bound says (3 − ρ²)/n, ρ = 0.64.
    assert abs(spread[0, 1] / np.sqrt(1.4096 / replicas) - 1) < 4.9 * 0.016
    assert abs(stated[0, 1] / np.sqrt(2.5904 / replicas) - 1) < 0.02
    np.testing.assert_allclose(moments.variance_error, np.diagonal(moments.covariance_error, axis1=1, axis2=2))


def test_memory_does_not_grow_with_the_replicas():
    values = skewed(8, (256, 2, 3))
    few, many = moments_of(values), Moments()
    for _ in range(40):
        many = many.add(samples_of(values))
    assert many.replicas == 40 * 256
    assert [leaf.nbytes for leaf in jax.tree.leaves(many)] == [leaf.nbytes for leaf in jax.tree.leaves(few)]


def test_a_batch_of_8192_replicas_takes_a_fraction_of_a_second():
    samples = samples_of(np.random.default_rng(9).standard_normal((8192, 9, 20), dtype=np.float32))
    moments, seconds = Moments(), []
    for _ in range(4):
        start = time.perf_counter()
        moments = moments.add(samples)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3  # 0.02 s where nothing else runs


def test_refusals():
    values = skewed(10, (5, 2, 3))
    moments = moments_of(values)
    with pytest.raises(ValueError, match="Argument `samples` must be a Samples, but it is a ndarray"):
        moments.add(values)
    with pytest.raises(ValueError, match=r"`samples` must have the save times \[0.0, 1.0\] of what it is added to"):
        moments.add(samples_of(values, ts=np.array([0.0, 2.0])))
    with pytest.raises(ValueError, match="`samples` must have the save times"):
        moments.add(samples_of(values[:, :1]))
    with pytest.raises(ValueError, match="`samples` must have 3 points like what it is added to, but it has 2"):
        moments.add(samples_of(values[:, :, :2]))
    with pytest.raises(ValueError, match="must have the width 10 of what it is added to, but its width is 20"):
        moments.add(dataclasses.replace(samples_of(values), width=20))
    with pytest.raises(ValueError, match="Argument `other` must have 3 points"):
        moments.merge(moments_of(values[:, :, :2]))
    with pytest.raises(ValueError, match="Argument `other` must be a Moments"):
        moments.merge(values)
    with pytest.raises(ValueError, match="Argument `samples` must have save times and diverged_at that fit"):
        moments.add(samples_of(values, diverged_at=np.array([-1])))
    with pytest.raises(ValueError, match=r"`moments` must hold at least 2 finite replica\(s\), but they hold 0"):
        _ = Moments().standard_error
    with pytest.raises(ValueError, match="but they hold 1 "):
        _ = moments_of(values[:1]).covariance
