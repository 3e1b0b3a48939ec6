"""Rates: the plain weighted fit, the coverage of its interval, and refusals below the noise floor."""

import math

import numpy as np
import pytest

from jaxlimit.statistics import ErrorAtWidth, MeanShift, Rate, compare, pathwise, rate
from tests import laws
from tests.statistics.test_compare import gaussian, law_of, samples_of

WIDTHS = [64, 128, 256, 512, 1024]
REPETITIONS = 2000


def power_law(exponent=-0.5, relative=0.05, widths=WIDTHS, floor=0.0):
    return [ErrorAtWidth(3.0 * n**exponent, relative * 3.0 * n**exponent, floor) for n in widths]


def test_exact_power_laws_are_recovered():
    fit = rate(WIDTHS, power_law(-0.75))
    np.testing.assert_allclose([fit.exponent, fit.coefficient], [-0.75, 3.0], rtol=1e-12)
    x = np.log(WIDTHS)
    half = 1.959964 * 0.05 / np.sqrt(np.sum((x - x.mean()) ** 2))
    np.testing.assert_allclose([fit.low, fit.high], [-0.75 - half, -0.75 + half], rtol=1e-6)
    assert fit.widths_used == tuple(WIDTHS)
    assert fit.level == 0.95
    assert "5 of 5 widths" in fit.reason
    assert "standard errors" in fit.reason


def test_the_fit_is_the_weighted_one():
    rng = np.random.default_rng(0)
    relative = np.array([0.01, 0.2, 0.05, 0.1, 0.02])
    distance = np.array(WIDTHS) ** -0.5 * np.exp(relative * rng.standard_normal(5))
    fit = rate(WIDTHS, [ErrorAtWidth(float(d), float(s * d)) for d, s in zip(distance, relative, strict=True)])
    slope, intercept = np.polyfit(np.log(WIDTHS), np.log(distance), 1, w=1 / relative)
    np.testing.assert_allclose([fit.exponent, fit.coefficient], [slope, np.exp(intercept)], rtol=1e-9)


def test_scatter_beyond_the_standard_errors_widens_the_interval_by_student():
    rng = np.random.default_rng(1)
    distance = np.array(WIDTHS) ** -0.5 * np.exp(0.3 * rng.standard_normal(5))
    errors = [ErrorAtWidth(float(d), 1e-6 * float(d)) for d in distance]
    fit = rate(WIDTHS, errors)
    (slope, _), covariance = np.polyfit(np.log(WIDTHS), np.log(distance), 1, cov=True)
    np.testing.assert_allclose(fit.high - slope, 3.182446 * np.sqrt(covariance[0, 0]), rtol=1e-5)
    assert "scatter" in fit.reason
    # Standard errors of zero: the scatter alone decides, and decides the same.
    bare = rate(WIDTHS, [ErrorAtWidth(float(d), 0.0) for d in distance])
    np.testing.assert_allclose([bare.low, bare.high], [fit.low, fit.high], rtol=1e-9)


@pytest.mark.parametrize("count", [3, 5])
def test_interval_covers_at_its_level_with_honest_standard_errors(count):
    covered = _covered(count, understated=1.0, seed=count)
    laws.assert_rate_at_least(covered, REPETITIONS, 0.95, detectable=0.91)
    laws.assert_rate_at_most(covered, REPETITIONS, 0.98, detectable=0.998)  # and it is not wider than it need be


@pytest.mark.parametrize(("count", "coverage"), [(3, 0.85), (5, 0.92)])
def test_what_understated_standard_errors_cost_is_as_documented(count, coverage):
    covered = _covered(count, understated=2.0, seed=10 + count)
    laws.assert_rate_at_least(covered, REPETITIONS, coverage, detectable=coverage - 0.07)


def _covered(count, understated, seed):
    """How many 95% intervals contain the true exponent, over independent repetitions."""
    relative = 0.05
    noise = np.exp(understated * relative * np.random.default_rng(seed).standard_normal((REPETITIONS, count)))
    distance = np.array(WIDTHS[:count]) ** -0.5 * noise
    fits = [rate(WIDTHS[:count], [ErrorAtWidth(d, relative * d) for d in row]) for row in distance.tolist()]
    return sum(fit.low <= -0.5 <= fit.high for fit in fits)


def test_widths_below_twice_the_floor_are_left_out():
    errors = power_law(floor=0.06)  # 3/√N exceeds 0.12 up to N = 625
    assert rate(WIDTHS, errors).widths_used == (64, 128, 256, 512)


def test_below_the_floor_the_fit_is_refused():
    fit = rate(WIDTHS, power_law(floor=0.11))
    assert fit.widths_used == (64, 128)
    assert math.isnan(fit.exponent)
    assert math.isnan(fit.coefficient)
    assert (fit.low, fit.high) == (-math.inf, math.inf)
    assert "refused: 2 of 5 widths" in fit.reason
    assert isinstance(fit, Rate)


def test_an_error_of_zero_is_never_used():
    assert rate(WIDTHS, [ErrorAtWidth(0.0, 0.0) for _ in WIDTHS]).widths_used == ()


def test_comparisons_and_path_errors_are_taken_as_they_are():
    # A bias that falls like 1/√N, seen by MeanShift at its last time.
    base = gaussian(2, 4000, 2)
    deviation = np.sqrt(np.diagonal(law_of(1).covariance[0]))
    comparisons = [compare(samples_of(base + 80 * n**-0.5 * deviation), law_of(2), MeanShift()) for n in WIDTHS]
    fit = rate(WIDTHS, comparisons)
    assert fit.widths_used == tuple(WIDTHS)
    assert abs(fit.exponent + 0.5) < 0.02  # noise of 4.9/√4000 at the widest moves it by less
    # Where the law is right the comparison shows noise only, and there is no rate.
    assert math.isnan(rate(WIDTHS, [compare(samples_of(base), law_of(2), MeanShift()) for _ in WIDTHS]).exponent)
    noise = np.random.default_rng(3).standard_normal((5, 500, 2, 3))
    paths = [pathwise(noise[i] * n**-0.5, np.zeros((2, 3))) for i, n in enumerate(WIDTHS)]
    fit = rate(WIDTHS, paths)
    # Relative errors √(2/6)/(2√500) = 1.3% over ln 16: the exponent has standard error 0.006, times 4.9.
    assert abs(fit.exponent + 0.5) < 0.029
    assert fit.high - fit.low < 0.1


def test_refusals():
    with pytest.raises(ValueError, match="Argument `errors` must hold one entry per width"):
        rate(WIDTHS, power_law()[:3])
    for errors in ([0.1] * 5, np.full(5, 0.1), [ErrorAtWidth] * 5):
        with pytest.raises(
            ValueError, match="Argument `errors` must hold ErrorAtWidth, PathError or Comparison objects"
        ):
            rate(WIDTHS, errors)
    with pytest.raises(ValueError, match="Argument `errors` must be a sequence of ErrorAtWidth"):
        rate(WIDTHS, ErrorAtWidth(1.0, 0.1))
    with pytest.raises(ValueError, match="Argument `widths` must be strictly increasing"):
        rate(WIDTHS[::-1], power_law())
    with pytest.raises(ValueError, match="Argument `level`"):
        rate(WIDTHS, power_law(), level=1.0)
    with pytest.raises(ValueError, match="Argument `distance`"):
        ErrorAtWidth(math.nan, 0.1)
    with pytest.raises(ValueError, match="Argument `floor`"):
        ErrorAtWidth(1.0, 0.1, -1.0)
