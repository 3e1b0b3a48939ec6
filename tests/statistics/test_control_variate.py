"""Control variates: the formulas against refitted lines, coverage at the stated level, planted bugs that are caught.

Repetitions are components: one call on [replicas, repetitions] makes every repetition an experiment of its own.
"""

import numpy as np
import pytest

from jaxlimit.statistics import control_variate
from tests import laws

REPETITIONS = 4000


def pairs(seed, replicas, rho, repetitions=REPETITIONS):
    """Gaussian values of mean 1 and variance 4, and a control of mean −2 and variance 9, of correlation rho."""
    control, own = np.random.default_rng(seed).standard_normal((2, replicas, repetitions))
    return 1.0 + 2.0 * (rho * control + np.sqrt(1.0 - rho**2) * own), -2.0 + 3.0 * control


def misses(interval, truth):
    low, high = interval
    return int(np.sum((truth < low) | (truth > high)))


def assert_covers(count):
    """Misses of a 95% interval: no more than 5% (8% would be caught), and no fewer than 4% (2% would be)."""
    laws.assert_rate_at_most(count, REPETITIONS, 0.05, detectable=0.08)
    laws.assert_rate_at_least(count, REPETITIONS, 0.04, detectable=0.02)


def test_mean_is_the_regression_line_at_the_known_mean():
    values, control = pairs(0, 12, 0.8, repetitions=3)
    result = control_variate(values, control, np.full(3, -2.0))
    for k in range(3):
        slope, intercept = np.polyfit(control[:, k], values[:, k], 1)
        np.testing.assert_allclose(result.coefficient[k], slope, rtol=1e-12)
        np.testing.assert_allclose(result.mean[k], intercept - 2.0 * slope, rtol=1e-12)
    assert result.freedom.tolist() == [10.0, 10.0, 10.0]
    assert result.replicas == 12


def test_standard_error_comes_from_lines_fitted_without_the_replica():
    values, control = pairs(1, 12, 0.8, repetitions=1)
    v, c = values[:, 0], control[:, 0]
    spread = np.sum((c - c.mean()) ** 2)
    terms = []
    for r in range(12):
        others = np.arange(12) != r
        slope, intercept = np.polyfit(c[others], v[others], 1)
        weight = 1 / 12 - (c[r] - c.mean()) * (c.mean() + 2.0) / spread
        terms.append(weight * (v[r] - intercept - slope * c[r]))
    result = control_variate(v, c, -2.0)
    np.testing.assert_allclose(result.standard_error, np.sqrt(np.sum(np.square(terms))), rtol=1e-10)
    # … and what was estimated about the control is added in quadrature.
    uncertain = control_variate(v, c, -2.0, control_error=0.3)
    expected = np.hypot(result.standard_error, result.coefficient * 0.3)
    np.testing.assert_allclose(uncertain.standard_error, expected, rtol=1e-12)
    np.testing.assert_allclose(result.reduction, np.var(v, ddof=1) / 12 / result.standard_error**2, rtol=1e-12)
    own = np.hypot(np.std(c, ddof=1) / np.sqrt(12), 0.3)
    np.testing.assert_allclose(uncertain.control_shift, (c.mean() + 2.0) / own, rtol=1e-12)


def test_an_exact_linear_relation_leaves_no_error():
    _, control = pairs(2, 30, 0.0, repetitions=5)
    result = control_variate(7.0 - 0.5 * control, control, np.full(5, -2.0))
    np.testing.assert_allclose(result.mean, 8.0, rtol=1e-14)
    assert np.all(result.standard_error < 1e-14)
    assert np.all(result.reduction > 1e20)
    # In whole numbers nothing is rounded, and the reduction is infinite.
    whole = control_variate([0.0, 2.0, 4.0, 6.0], [0.0, 1.0, 2.0, 3.0], 1.0)
    assert (whole.mean, whole.standard_error, whole.reduction) == (2.0, 0.0, np.inf)


@pytest.mark.parametrize("rho", [0.0, 0.9])
def test_interval_covers_the_mean_at_its_level(rho):
    values, control = pairs(3, 200, rho)
    result = control_variate(values, control, np.full(REPETITIONS, -2.0))
    assert_covers(misses(result.interval(), 1.0))
    # Planted: a known mean of the control that is wrong by a third of the control's own standard error …
    wrong = control_variate(values, control, np.full(REPETITIONS, -2.0 + 0.33 * 3.0 / np.sqrt(200)))
    if rho > 0:
        with pytest.raises(AssertionError, match="trials, where a rate of"):
            assert_covers(misses(wrong.interval(), 1.0))
        # … or the variance of the values in place of that of the residuals.
        reach = 1.97 * np.std(values, axis=0, ddof=1) / np.sqrt(200)
        with pytest.raises(AssertionError, match="trials, where a rate of"):
            assert_covers(misses((result.mean - reach, result.mean + reach), 1.0))


def test_interval_covers_with_eight_replicas_where_counting_all_of_them_as_free_does_not():
    values, control = pairs(4, 8, 0.9)
    result = control_variate(values, control, np.full(REPETITIONS, -2.0))
    laws.assert_rate_at_most(misses(result.interval(), 1.0), REPETITIONS, 0.05, detectable=0.08)
    residuals = values - values.mean(0) - result.coefficient * (control - control.mean(0))
    reach = 1.96 * np.sqrt(np.mean(residuals**2, axis=0) / 8)
    naive = misses((result.mean - reach, result.mean + reach), 1.0)
    with pytest.raises(AssertionError, match="trials, where a rate of"):
        laws.assert_rate_at_most(naive, REPETITIONS, 0.05, detectable=0.08)


def test_interval_covers_where_the_relation_is_not_linear():
    # v = c + (c² − 1)/2 + ε: the residuals are larger where |c| is, which the textbook formula does not know.
    control, own = np.random.default_rng(5).standard_normal((2, 400, REPETITIONS))
    result = control_variate(control + 0.5 * (control**2 - 1.0) + 0.2 * own, control, np.zeros(REPETITIONS))
    assert_covers(misses(result.interval(), 0.0))


def test_interval_covers_where_the_control_mean_was_estimated():
    values, control = pairs(6, 200, 0.9)
    error = 3.0 / np.sqrt(400)
    known = -2.0 + error * np.random.default_rng(7).standard_normal(REPETITIONS)
    result = control_variate(values, control, known, np.full(REPETITIONS, error))
    assert_covers(misses(result.interval(), 1.0))
    with pytest.raises(AssertionError, match="trials, where a rate of"):
        assert_covers(misses(control_variate(values, control, known).interval(), 1.0))


def test_standard_error_is_the_spread_of_the_estimate():
    values, control = pairs(8, 200, 0.9)
    result = control_variate(values, control, np.full(REPETITIONS, -2.0))
    # With ε Gaussian the variance of the estimate is σ²_ε/R·(R − 2)/(R − 3), for 0.5% above σ²_ε/R.
    stated = 2.0 * np.sqrt((1 - 0.81) / 200 * 198 / 197)
    laws.assert_mean(result.standard_error, stated, detectable=0.01 * stated)
    # Relative error of a standard deviation from 4000 draws: 1/√8000 = 1.1%, z = 4.9.
    assert abs(np.std(result.mean) / stated - 1.0) < 4.9 * 0.0112


@pytest.mark.parametrize("rho", [0.0, 0.6, 0.9, 0.99])
def test_reduction_is_one_over_one_minus_rho_squared(rho):
    values, control = pairs(9, 5000, rho, repetitions=200)
    result = control_variate(values, control, np.full(200, -2.0))
    # One ratio of two variances has a relative error below 2·√(2/5000) = 4%, their mean 0.3%; z = 4.9.
    assert abs(np.mean(result.reduction) * (1.0 - rho**2) - 1.0) < 4.9 * 0.003


def test_a_control_that_does_not_vary_leaves_plain_monte_carlo():
    values, control = pairs(10, 50, 0.9, repetitions=3)
    control[:, 1] = 0.1
    control[:, 2] = 1.0 + 2.0**-52 * (np.arange(50) % 2)  # what a product of matrices may do to a constant
    result = control_variate(values, control, np.array([-2.0, 0.1, 0.7]))
    assert result.reduction[0] > 2.0
    assert result.reduction[1:].tolist() == [1.0, 1.0]
    assert result.coefficient[1:].tolist() == [0.0, 0.0]
    assert result.freedom.tolist() == [48.0, 49.0, 49.0]
    np.testing.assert_array_equal(result.mean[1:], values.mean(0)[1:])
    np.testing.assert_allclose(result.standard_error[1:], values.std(0, ddof=1)[1:] / np.sqrt(50), rtol=1e-14)
    np.testing.assert_array_equal(control_variate(np.ones(5), np.ones(5), 1.0).reduction, 1.0)


def test_the_shift_of_the_control_tells_a_wrong_mean():
    values, control = pairs(11, 1000, 0.9)
    right = control_variate(values, control, np.full(REPETITIONS, -2.0))
    wrong = control_variate(values, control, np.full(REPETITIONS, -1.0))  # a third of the control's deviation off
    assert np.max(np.abs(right.control_shift)) < 6.0  # P(|z| > 6) = 2e-9, 4000 times
    assert np.min(np.abs(wrong.control_shift)) > 4.5  # 10.5 ± 1, 4000 times


def test_where_one_replica_decides_the_coefficient_the_error_is_unknown():
    result = control_variate([1.0, 2.0, 4.0, 9.0], [0.0, 0.0, 0.0, 1.0], 0.3)
    assert result.standard_error == np.inf
    assert result.reduction == 0.0


def test_every_shape_is_component_by_component():
    values, control = (array.reshape(40, 2, 3) for array in pairs(12, 40, 0.7, repetitions=6))
    whole = control_variate(values, control, np.full((2, 3), -2.0))
    one = control_variate(values[:, 1, 2], control[:, 1, 2], -2.0)
    assert whole.mean.shape == whole.interval(0.9)[0].shape == (2, 3)
    np.testing.assert_allclose(whole.standard_error[1, 2], one.standard_error, rtol=1e-12)
    assert one.mean.shape == ()


def test_refusals():
    values, control = pairs(13, 5, 0.5, repetitions=2)
    mean = np.zeros(2)
    with pytest.raises(ValueError, match=r"Argument `values` must hold at least 3 replicas, but it holds 2"):
        control_variate(values[:2], control[:2], mean)
    with pytest.raises(ValueError, match=r"Argument `values` must have shape \[replicas, …\], but its shape is \(\)"):
        control_variate(1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match=r"Argument `control` must have the shape \(5, 2\) of `values`"):
        control_variate(values, control[:4], mean)
    with pytest.raises(ValueError, match=r"Argument `control_mean` must have the shape \(2,\) of one replica"):
        control_variate(values, control, 0.0)
    with pytest.raises(ValueError, match="Argument `control_error` must have the shape"):
        control_variate(values, control, mean, 0.1)
    with pytest.raises(ValueError, match="Argument `control_error` must not be negative"):
        control_variate(values, control, mean, [0.1, -0.1])
    with pytest.raises(ValueError, match="Argument `values` must be finite"):
        control_variate(np.where(values > 0, np.nan, values), control, mean)
    with pytest.raises(ValueError, match="Argument `level` must be smaller than 1"):
        control_variate(values, control, mean).interval(1.0)


def test_a_constant_control_with_another_mean_is_told():
    values = np.random.default_rng(0).standard_normal(100)
    assert control_variate(values, np.full(100, 0.1), 5.0).control_shift == np.inf
    assert control_variate(values, np.full(100, 0.1), 0.1).control_shift == 0.0
