"""Compare: false alarms at the stated level, power at `detectable`, confidence bounds that cover, and refusals.

Repetitions are save times: one comparison of [replicas, repetitions, points] reads each time on its own.
"""

import time

import equinox as eqx
import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.paths import GaussianPath, Samples
from jaxlimit.statistics import (
    AbstractMarginalStatistic,
    AbstractStatistic,
    KolmogorovSmirnov,
    MeanShift,
    VarianceRatio,
    compare,
)
from tests import cases, laws
from tests.cases import each
from tests.statistics.alterations import COVARIANCE, DEVIATION, MEAN

MARGINAL = {
    name: case for name, case in cases.STATISTICS.items() if isinstance(case.statistic, AbstractMarginalStatistic)
}
REPETITIONS = 1000
LEVEL = 0.1


def samples_of(values, ts=None, diverged_at=None):
    replicas, times, _ = values.shape
    ts = np.arange(times, dtype=np.float64) if ts is None else ts
    diverged_at = np.full(replicas, -1) if diverged_at is None else diverged_at
    return Samples(ts, values, None, np.arange(times) * 10, diverged_at, "Stepwise", 10, 1)


def law_of(times, mean=MEAN, covariance=COVARIANCE):
    points = mean.size
    mean, covariance = np.broadcast_to(mean, (times, points)), np.broadcast_to(covariance, (times, points, points))
    return GaussianPath(np.arange(times, dtype=np.float64), mean, covariance)


def gaussian(seed, replicas, times, mean=MEAN, covariance=COVARIANCE):
    noise = np.random.default_rng(seed).standard_normal((replicas, times, mean.size))
    return mean + noise @ np.linalg.cholesky(covariance).T


def altered(values, case, size):
    """The same samples with the first point at a true distance `size` from the law."""
    shift, factor = case.altered(size)
    values = values.copy()
    values[..., 0] = MEAN[0] + shift * DEVIATION[0] + factor * (values[..., 0] - MEAN[0])
    return values


@pytest.mark.parametrize("case", each(MARGINAL))
@pytest.mark.parametrize("replicas", [20, 300])
def test_false_alarms_at_the_stated_level(case, replicas):
    statistic = case.statistic
    # Gaussian samples of the law itself: the null laws are exact, so few replicas must work as well.
    comparison = compare(samples_of(gaussian(1, replicas, REPETITIONS)), law_of(REPETITIONS), statistic)
    alarms = int(np.sum(comparison.p_value <= LEVEL))
    laws.assert_rate_at_most(alarms, REPETITIONS, LEVEL, detectable=0.18)
    # Bonferroni over points that are strongly correlated loses level, but not most of it.
    laws.assert_rate_at_least(alarms, REPETITIONS, 0.6 * LEVEL, detectable=0.015)


@pytest.mark.parametrize("case", each(MARGINAL))
def test_single_point_p_values_are_exact(case):
    statistic = case.statistic
    values = gaussian(2, 50, REPETITIONS)[..., :1]
    comparison = compare(samples_of(values), law_of(REPETITIONS, MEAN[:1], COVARIANCE[:1, :1]), statistic)
    laws.assert_law(comparison.p_value, lambda u: np.clip(u, 0.0, 1.0), detectable=0.14)


@pytest.mark.parametrize("case", each(MARGINAL))
def test_detectable_is_detected_and_is_not_far_too_large(case):
    statistic = case.statistic
    replicas, power = 400, 0.95
    detectable = statistic.detectable(replicas, tests=3, level=LEVEL, power=power)
    values = gaussian(3, replicas, REPETITIONS)
    law = law_of(REPETITIONS)
    found = compare(samples_of(altered(values, case, detectable)), law, statistic)
    laws.assert_rate_at_least(int(np.sum(found.p_value <= LEVEL)), REPETITIONS, power, detectable=0.88)
    half = compare(samples_of(altered(values, case, 0.5 * detectable)), law, statistic)
    laws.assert_rate_at_most(int(np.sum(half.p_value <= LEVEL)), REPETITIONS, 0.7, detectable=0.82)


def test_a_variance_that_is_too_small_is_detected_too():
    replicas = 400
    size = VarianceRatio().detectable(replicas, tests=3, level=LEVEL, power=0.95)
    values = altered(gaussian(4, replicas, REPETITIONS), MARGINAL["variance ratio"], -size)
    found = compare(samples_of(values), law_of(REPETITIONS), VarianceRatio())
    laws.assert_rate_at_least(int(np.sum(found.p_value <= LEVEL)), REPETITIONS, 0.95, detectable=0.88)


@pytest.mark.parametrize("case", each(MARGINAL))
@pytest.mark.parametrize("replicas", [30, 500])
def test_bounds_cover_the_true_distance(case, replicas):
    statistic = case.statistic
    size = 0.3
    values = altered(gaussian(5, replicas, REPETITIONS), case, size)
    comparison = compare(samples_of(values), law_of(REPETITIONS), statistic, level=0.05)
    assert np.all(comparison.lower <= comparison.distances)
    assert np.all(comparison.distances <= comparison.upper)
    laws.assert_rate_at_most(int(np.sum(comparison.upper[:, 0] < size)), REPETITIONS, 0.05, detectable=0.12)
    # The lower bounds hold all at once, over repetitions and points: none may fail, except with probability 0.05 in
    # all; at a level of 1e-6 that is the house's false-alarm rate.
    strict = compare(samples_of(values[:, :200]), law_of(200), statistic, level=1e-6)
    assert np.all(strict.lower[:, 0] <= size)


def test_variance_bounds_cover_heavy_tails_where_a_chi_square_interval_does_not():
    replicas, level = 4096, 0.05
    # A scale mixture with excess kurtosis 3 and unit variance: half the draws with variance 0, half with 2.
    rng = np.random.default_rng(6)
    values = (
        rng.standard_normal((replicas, REPETITIONS, 1)) * np.sqrt(2.0) * rng.integers(0, 2, (replicas, REPETITIONS, 1))
    )
    truth = 0.1
    law = law_of(REPETITIONS, np.zeros(1), np.full((1, 1), 1 / (1 + truth)))
    comparison = compare(samples_of(values.astype(np.float32)), law, VarianceRatio(), level=level)
    below = int(np.sum(comparison.upper[:, 0] < truth))
    laws.assert_rate_at_most(below, REPETITIONS, 1.2 * level, detectable=0.13)  # asymptotic: a fifth is allowed
    # The planted bug, a half-width that takes the samples as Gaussian, fails the same test.
    naive = comparison.distances[:, 0] + (1 + truth) * 1.645 * np.sqrt(2 / replicas)
    with pytest.raises(AssertionError, match="allows"):
        laws.assert_rate_at_most(int(np.sum(naive < truth)), REPETITIONS, 1.2 * level, detectable=0.13)


@pytest.mark.parametrize("case", each(MARGINAL))
def test_null_distance_bounds_the_mean_distance_and_is_near_it_for_independent_points(case):
    statistic = case.statistic
    replicas = 400
    values = gaussian(7, replicas, REPETITIONS, np.zeros(5), np.eye(5))
    comparison = compare(samples_of(values), law_of(REPETITIONS, np.zeros(5), np.eye(5)), statistic)
    mean = float(np.mean(comparison.distance))
    error = float(np.std(comparison.distance)) / np.sqrt(REPETITIONS)
    assert mean - 4.9 * error <= comparison.null_distance <= 1.2 * mean


@pytest.mark.parametrize("case", each(MARGINAL))
def test_the_error_at_a_width_states_the_spread_of_its_distance(case):
    statistic = case.statistic
    # Far above the floor, where one point decides the maximum. Kolmogorov–Smirnov states the spread at the worst
    # place, 1/(2√n), where this one has √(3/4) of it; the spread itself is known to 11% (z = 4.9).
    values = altered(gaussian(14, 400, REPETITIONS), case, 0.5)
    comparison = compare(samples_of(values), law_of(REPETITIONS), statistic)
    error = comparison.at_width
    assert (error.distance, error.floor) == (float(comparison.distance[-1]), comparison.null_distance)
    assert error.above_floor
    assert 0.89 < error.standard_error / float(np.std(comparison.distance)) < 1.4


def test_float32_values_and_correlated_laws_read_like_plain_arrays():
    values = gaussian(8, 200, 2)
    low = compare(samples_of(values.astype(np.float32)), law_of(2), MeanShift())
    np.testing.assert_allclose(low.distances, compare(samples_of(values), law_of(2), MeanShift()).distances, atol=2e-6)
    assert low.distances.shape == low.upper.shape == low.half_widths.shape == (2, 3)
    assert (low.statistic, low.replicas, low.points, low.margin) == ("MeanShift", 200, 3, 0.1)
    np.testing.assert_array_equal(low.distance, low.distances.max(axis=1))
    np.testing.assert_array_equal(low.margin_error, low.half_widths.max(axis=1))


def test_a_key_is_accepted_and_each_time_gets_its_own():
    class Recorder(AbstractStatistic):
        margin: float = 0.1

        def read(self, values, mean, covariance, level, tests, key=None):
            drawn.append(jax.random.key_data(key).tolist())
            return MeanShift().read(values, mean, covariance, level, tests)

        def detectable(self, replicas, tests, level, power):
            return 1.0

        def null_distance(self, replicas, points):
            return 0.0

    drawn = []
    compare(samples_of(gaussian(9, 50, 3)), law_of(3), Recorder(), key=jax.random.key(0))
    assert len(drawn) == 3
    assert len({tuple(key) for key in drawn}) == 3


def test_diverged_and_infinite_replicas_are_refused_with_their_number_and_first_step():
    values = gaussian(10, 50, 3)
    diverged = np.full(50, -1)
    diverged[[4, 9]] = [70, 30]
    with pytest.raises(ValueError, match="2 of 50 diverged, the first at step 30"):
        compare(samples_of(values, diverged_at=diverged), law_of(3), MeanShift())
    values[3, 1, 0], values[4, 2, 1] = np.nan, np.inf
    with pytest.raises(ValueError, match="2 of 50 replicas hold NaN or infinite values, first at save time 1, step 10"):
        compare(samples_of(values), law_of(3), MeanShift())


def test_answers_that_do_not_fit_together_are_refused():
    samples = samples_of(gaussian(11, 50, 3))
    with pytest.raises(ValueError, match="Argument `law` must have the save times"):
        compare(samples, law_of(2), MeanShift())
    with pytest.raises(ValueError, match="Argument `law` must have the save times"):
        compare(samples_of(gaussian(11, 50, 3), ts=np.array([0.0, 1.0, 2.001])), law_of(3), MeanShift())
    with pytest.raises(ValueError, match="Argument `law` must have 3 points"):
        compare(samples, law_of(3, MEAN[:2], COVARIANCE[:2, :2]), MeanShift())
    with pytest.raises(ValueError, match="at least 2 replicas"):
        compare(samples_of(gaussian(11, 1, 3)), law_of(3), MeanShift())
    with pytest.raises(ValueError, match="Argument `level`"):
        compare(samples, law_of(3), MeanShift(), level=0.5)
    with pytest.raises(ValueError, match="Argument `power`"):
        compare(samples, law_of(3), MeanShift(), power=1.0)


def test_what_is_not_samples_a_law_and_a_statistic_is_refused():
    samples, law = samples_of(gaussian(11, 50, 3)), law_of(3)
    limit = jl.SpectralLimit(jl.Problem(jl.data.sphere(3, 2), jl.networks.Shallow(jl.activations.Erf())))
    with pytest.raises(
        ValueError, match=r"Argument `statistic` must be a statistic, .*, but it is the class Kolmogorov"
    ):
        compare(samples, law, KolmogorovSmirnov)
    with pytest.raises(ValueError, match=r"Argument `law` must be a GaussianPath, .*, but it is a SpectralLimit"):
        compare(samples, limit, MeanShift())
    with pytest.raises(ValueError, match="Argument `samples` must be a Samples, but it is a ndarray"):
        compare(samples.values, law, MeanShift())
    with pytest.raises(ValueError, match=r"Argument `samples` must hold values \[replicas, times, points\]"):
        compare(eqx.tree_at(lambda s: s.values, samples, samples.values[0]), law, MeanShift())


@pytest.mark.parametrize("case", each(MARGINAL))
def test_a_deterministic_law_names_pathwise(case):
    statistic = case.statistic
    law = law_of(3, covariance=np.diag([1.0, 0.0, 1.0]))
    with pytest.raises(ValueError, match=r"1 of 3 variances are zero.*statistics\.pathwise"):
        compare(samples_of(gaussian(12, 50, 3)), law, statistic)


@pytest.mark.parametrize("case", each(MARGINAL))
def test_margins_are_positive(case):
    statistic = case.statistic
    with pytest.raises(ValueError, match="Argument `margin`"):
        type(statistic)(margin=0.0)


def test_cost_of_a_large_comparison():
    # 1e5 replicas × 5 times × 20 points take about half a second on one core; ten times that is a defect.
    values = np.random.default_rng(13).standard_normal((100_000, 5, 20), dtype=np.float32)
    start = time.perf_counter()
    compare(samples_of(values), law_of(5, np.zeros(20), np.eye(20)), KolmogorovSmirnov())
    assert time.perf_counter() - start < 10.0
