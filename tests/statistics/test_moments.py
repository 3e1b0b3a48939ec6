"""Mean shift and variance ratio against plain formulas and SciPy's tests."""

import numpy as np
import pytest
import scipy.stats

from jaxlimit.statistics import MeanShift, VarianceRatio

MEAN, DEVIATION = np.array([0.3, -1.0]), np.array([1.7, 0.2])


def values(replicas=60):
    return 0.1 + MEAN + 1.1 * DEVIATION * np.random.default_rng(0).standard_normal((replicas, 2))


def test_mean_shift_is_a_z_test_with_student_bounds():
    x, level, tests = values(), 0.02, 10
    reading = MeanShift().read(x, MEAN, np.diag(DEVIATION**2), level, tests)
    np.testing.assert_allclose(reading.distances, np.abs(x.mean(0) - MEAN) / DEVIATION, rtol=1e-12)
    z = np.sqrt(60) * reading.distances
    np.testing.assert_allclose(reading.p_value, min(1.0, 2 * np.min(2 * scipy.stats.norm.sf(z))), rtol=1e-9)
    for p in range(2):
        # |centre| plus the one-sided Student half-width, from SciPy's own interval.
        interval = scipy.stats.ttest_1samp((x[:, p] - MEAN[p]) / DEVIATION[p], 0.0).confidence_interval(1 - 2 * level)
        np.testing.assert_allclose(reading.upper[p], max(abs(interval.low), abs(interval.high)), rtol=1e-9)
        wide = scipy.stats.ttest_1samp((x[:, p] - MEAN[p]) / DEVIATION[p], 0.0).confidence_interval(1 - level / tests)
        np.testing.assert_allclose(reading.lower[p], max(wide.low, -wide.high, 0.0), atol=1e-12)


def test_variance_ratio_is_a_chi_square_test():
    x = values()
    reading = VarianceRatio().read(x, MEAN, np.diag(DEVIATION**2), 0.01, 2)
    ratio = x.var(0, ddof=1) / DEVIATION**2
    np.testing.assert_allclose(reading.distances, np.abs(ratio - 1), rtol=1e-12)
    worst = np.max(np.abs(ratio - 1))
    chi2 = scipy.stats.chi2(59)
    np.testing.assert_allclose(
        reading.p_value, min(1.0, 2 * (chi2.sf(59 * (1 + worst)) + chi2.cdf(59 * (1 - worst)))), rtol=1e-9
    )


def test_variance_bounds_follow_the_kurtosis_and_never_fall_below_chi_square():
    rng, n = np.random.default_rng(1), 4000
    heavy, light = rng.standard_t(6, n) / np.sqrt(1.5), rng.uniform(-np.sqrt(3), np.sqrt(3), n)
    x = np.stack([heavy, light], axis=1)
    reading = VarianceRatio().read(x, np.zeros(2), np.eye(2), 0.01, 2)
    ratio = x.var(0, ddof=1)
    kurtosis = np.mean((x - x.mean(0)) ** 4, axis=0) / ratio**2
    assert kurtosis[0] > 4
    assert kurtosis[1] < 2
    reach = scipy.stats.norm.isf(0.01) * np.sqrt((kurtosis[0] - 1) / n)
    np.testing.assert_allclose(
        reading.upper[0], max(ratio[0] * np.exp(reach) - 1, 1 - ratio[0] * np.exp(-reach)), rtol=1e-9
    )
    chi2 = scipy.stats.chi2(n - 1)
    exact = max(ratio[1] * (n - 1) / chi2.ppf(0.01) - 1, 1 - ratio[1] * (n - 1) / chi2.isf(0.01))
    np.testing.assert_allclose(reading.upper[1], exact, rtol=1e-9)


def test_constant_samples_are_as_far_as_a_variance_can_be():
    reading = VarianceRatio().read(np.zeros((10, 1)), np.zeros(1), np.eye(1), 0.01, 1)
    assert reading.distances.tolist() == reading.lower.tolist() == reading.upper.tolist() == [1.0]


@pytest.mark.parametrize("statistic", [MeanShift(), VarianceRatio()], ids=["MeanShift", "VarianceRatio"])
@pytest.mark.parametrize("tail", [0.3, 0.01, 1e-5])
@pytest.mark.parametrize("replicas", [5, 100, 10_000])
def test_critical_is_the_inverse_of_tail_or_on_the_safe_side(statistic, tail, replicas):
    found = statistic.tail(statistic.critical(tail, replicas), replicas)
    assert 0.49 * tail < found <= tail * (1 + 1e-6)  # the χ² law is not symmetric: at worst one of its two halves
