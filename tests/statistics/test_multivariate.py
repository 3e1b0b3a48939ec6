"""Distances of several points at once: closed forms, false alarms, power at `detectable`, bounds that cover."""

import functools
import math

import jax
import mpmath
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from jaxlimit.statistics import (
    BuresWasserstein,
    ChiSquares,
    EnergyDistance,
    KernelDiscrepancy,
    KolmogorovSmirnov,
    Sliced,
    WhitenedMoments,
    compare,
    compare_samples,
)
from tests import laws
from tests.statistics.test_compare import COVARIANCE, MEAN, law_of, named, samples_of

REPETITIONS, REPLICAS, POINTS, LEVEL = 1000, 300, 3, 0.1
ROOT = np.linalg.cholesky(COVARIANCE)
# Few features and directions: what the numbers of them change is the noise of the distance, not its law.
CHEAP = [EnergyDistance(features=24), KernelDiscrepancy(features=24), WhitenedMoments(), BuresWasserstein()]
CHEAP.append(Sliced(directions=12, permutations=99))
PAIRED = [statistic for statistic in CHEAP if hasattr(statistic, "read_pair")]
INVARIANT = [WhitenedMoments(), BuresWasserstein()]


def standard(seed, replicas=REPLICAS, times=REPETITIONS, points=POINTS):
    return np.random.default_rng(seed).standard_normal((replicas, times, points))


def true_distance(statistic, shift):
    """Of N(MEAN + ROOT·shift·e_1, COVARIANCE) and N(MEAN, COVARIANCE): its Mahalanobis distance is `shift`."""
    if isinstance(statistic, Sliced):
        deviation = np.sqrt(np.diagonal(COVARIANCE))
        axes = statistic.axes(POINTS) / deviation
        along = axes @ ROOT[:, 0] / np.linalg.norm(axes @ ROOT, axis=1)
        return shift * math.sqrt(np.mean(along**2))
    if isinstance(statistic, EnergyDistance | KernelDiscrepancy):
        at, weight = statistic.frequencies(POINTS)
        values, axes = np.linalg.eigh(COVARIANCE / np.outer(np.sqrt(np.diag(COVARIANCE)), np.sqrt(np.diag(COVARIANCE))))
        moved = (axes / np.sqrt(values)).T @ (ROOT[:, 0] / np.sqrt(np.diag(COVARIANCE))) * shift
        difference = np.exp(-0.5 * np.sum(at**2, axis=1)) * np.abs(np.exp(1j * at @ moved) - 1.0)
        return math.sqrt(np.sum(weight * difference**2))
    return shift


def shift_at(statistic, distance):
    return scipy.optimize.brentq(lambda s: true_distance(statistic, s) - distance, 0.0, 20.0 * distance)


def moved(z, shift):
    return MEAN + (z + shift * np.eye(POINTS)[0]) @ ROOT.T


# Closed forms.


@pytest.mark.parametrize("degrees", [1, 3, 12])
def test_tails_of_one_chi_square_are_right_to_the_stated_accuracy(degrees):
    law = ChiSquares(np.array([0.3]), np.array([float(degrees)]), 1.0)
    allowed = {1: 0.05, 3: 0.013, 12: 0.002}[degrees]
    for tail in (0.9, 0.5, 0.1, 1e-2, 1e-4):
        assert abs(law.tail(1.0 + 0.3 * scipy.stats.chi2.isf(tail, degrees)) / tail - 1.0) < allowed
        assert abs(law.tail(law.quantile(tail)) / tail - 1.0) < 1e-6
    np.testing.assert_allclose([law.mean, law.variance], [1.0 + 0.3 * degrees, 2 * 0.09 * degrees])


def test_tails_of_a_mixture_are_those_of_its_samples():
    weights = 1.0 / np.arange(1.0, 30.0) ** 2
    law = ChiSquares.of(weights)
    draws = np.random.default_rng(0).chisquare(1, (100_000, 29)) @ weights
    for tail in (0.5, 0.05, 0.005):
        events = int(np.sum(draws >= law.quantile(tail)))
        laws.assert_rate_at_most(events, 100_000, 1.05 * tail, detectable=1.5 * tail)
        laws.assert_rate_at_least(events, 100_000, 0.95 * tail, detectable=0.6 * tail)


def norm_of_normal(d, mu, variance):
    """E|N(μ, variance·I_d)|."""
    ratio = mpmath.gamma((d + 1) / 2) / mpmath.gamma(d / 2)
    return float(mpmath.sqrt(2 * variance) * ratio * mpmath.hyp1f1(-0.5, d / 2, -(mu**2) / (2 * variance)))


@pytest.mark.parametrize("d", [1, 20])
def test_the_mean_square_over_keys_is_the_energy_distance(d):
    mu = 1.0
    exact = 2 * norm_of_normal(d, mu, 2) - 2 * norm_of_normal(d, 0.0, 2)
    # Per squared shift for small ones, from the same closed form.
    small = 2 * (norm_of_normal(d, 1e-3, 2) - norm_of_normal(d, 0.0, 2)) / 1e-6
    found = []
    for seed in range(150):
        at, weight = EnergyDistance(features=60).frequencies(d, jax.random.key(seed))
        amplitude = np.exp(-0.5 * np.sum(at**2, axis=1)) * np.abs(np.exp(1j * mu * at[:, 0]) - 1.0)
        found.append(np.sum(weight * amplitude**2))
    laws.assert_mean(np.array(found), exact / small, detectable=0.1)


def test_the_mean_square_over_keys_is_the_kernels_discrepancy():
    d, mu, square = 4, 1.0, 4.0
    exact = (1 + 2 / square) ** (-d / 2) * (2 - 2 * math.exp(-(mu**2) / (2 * (square + 2))))
    small = (1 + 2 / square) ** (-d / 2) / (square + 2)
    found = []
    for seed in range(100):
        at, weight = KernelDiscrepancy(features=60).frequencies(d, jax.random.key(seed))
        amplitude = np.exp(-0.5 * np.sum(at**2, axis=1)) * np.abs(np.exp(1j * mu * at[:, 0]) - 1.0)
        found.append(np.sum(weight * amplitude**2))
    laws.assert_mean(np.array(found), exact / small, detectable=0.05)


@pytest.mark.slow
@pytest.mark.parametrize("statistic", CHEAP[:4], ids=named)
def test_the_null_law_has_the_mean_and_variance_of_simulations(statistic):
    comparison = compare(samples_of(moved(standard(1), 0.0)), law_of(REPETITIONS), statistic)
    if isinstance(statistic, WhitenedMoments):  # exact: uniform p-values, at very few replicas too
        laws.assert_law(comparison.p_value, lambda u: np.clip(u, 0.0, 1.0), detectable=0.14)
        few = compare(samples_of(moved(standard(2, 8), 0.0)), law_of(REPETITIONS), statistic)
        laws.assert_law(few.p_value, lambda u: np.clip(u, 0.0, 1.0), detectable=0.14)
        return
    law = statistic.null_law(POINTS, REPLICAS)
    scaled = REPLICAS * comparison.distance**2
    laws.assert_mean(scaled, law.mean, detectable=0.15 * law.mean)
    laws.assert_mean((scaled - law.mean) ** 2, law.variance, detectable=0.6 * law.variance)


@pytest.mark.parametrize("n", [50, pytest.param(2000, marks=pytest.mark.slow)])
def test_the_mean_transport_cost_of_normal_samples(n):
    statistic = Sliced(directions=1)
    law = statistic.null_law(1, n)
    ts = compare(samples_of(standard(3, n, 500, 1)), law_of(500, np.zeros(1), np.eye(1)), statistic)
    laws.assert_mean(n * ts.distance**2, law.mean, detectable=0.6)


# Error rates.


@pytest.mark.slow
@pytest.mark.parametrize("statistic", CHEAP, ids=named)
def test_false_alarms_power_and_bounds_over_1000_keys(statistic):
    z, law = standard(4), law_of(REPETITIONS)
    null = compare(samples_of(moved(z, 0.0)), law, statistic)
    alarms = int(np.sum(null.p_value <= LEVEL))
    laws.assert_rate_at_most(alarms, REPETITIONS, 1.1 * LEVEL, detectable=0.2)  # asymptotic: a tenth is allowed
    laws.assert_rate_at_least(alarms, REPETITIONS, 0.7 * LEVEL, detectable=0.02)
    assert float(np.mean(null.distance)) <= 1.02 * null.null_distance

    size = statistic.detectable(REPLICAS, statistic.entries(POINTS), LEVEL, 0.95, POINTS)
    if isinstance(statistic, Sliced):
        # For these correlated points, where fewer directions count, not for independent ones.
        size *= 1.5
    shift = shift_at(statistic, size)
    found = compare(samples_of(moved(z, shift)), law, statistic, level=0.05)
    laws.assert_rate_at_least(int(np.sum(found.p_value <= LEVEL)), REPETITIONS, 0.95, detectable=0.88)
    laws.assert_rate_at_most(int(np.sum(found.upper[:, 0] < size)), REPETITIONS, 0.055, detectable=0.12)
    assert np.all(found.lower <= found.distances)
    assert np.all(found.distances <= found.upper)
    # Lower bounds hold for all 1000 repetitions at once, but with probability 0.05.
    assert np.all(found.lower[:, 0] <= size)
    half = compare(samples_of(moved(z, 0.5 * shift)), law, statistic)
    laws.assert_rate_at_most(int(np.sum(half.p_value <= LEVEL)), REPETITIONS, 0.75, detectable=0.87)


@pytest.mark.slow
@pytest.mark.parametrize("statistic", PAIRED, ids=named)
def test_two_samples_false_alarms_and_power(statistic):
    times = 300
    first, second = moved(standard(5, 300, times), 0.0), moved(standard(6, 200, times), 0.0)
    null = compare_samples(samples_of(first), samples_of(second), statistic)
    alarms = int(np.sum(null.p_value <= LEVEL))
    laws.assert_rate_at_most(alarms, times, 1.2 * LEVEL, detectable=0.3)
    lone = compare_samples(samples_of(first[:, :1]), samples_of(second[:, :1]), statistic, level=LEVEL)
    size = 1.1 * float(lone.detectable[0])  # `detectable` of one pair of samples is itself an estimate
    other = second + shift_at(statistic, size) * ROOT[:, 0]
    found = compare_samples(samples_of(first), samples_of(other), statistic)
    laws.assert_rate_at_least(int(np.sum(found.p_value <= LEVEL)), times, 0.95, detectable=0.82)


@pytest.mark.parametrize("statistic", PAIRED, ids=named)
def test_two_samples_of_one_law_agree_and_of_two_laws_differ(statistic):
    first, second = moved(standard(7, 400, 1), 0.0), moved(standard(8, 300, 1), 0.0)
    same = compare_samples(samples_of(first), samples_of(second), statistic)
    assert same.p_value[0] > 1e-6
    assert same.lower[0, 0] == 0.0 or same.lower[0, 0] < same.null_distance
    other = compare_samples(samples_of(first), samples_of(second + 2.0 * ROOT[:, 0]), statistic)
    assert other.p_value[0] < 1e-6
    assert other.lower[0, 0] > same.upper[0, 0]
    swapped = compare_samples(samples_of(second), samples_of(first), statistic)
    # The permutations of Sliced differ; the distance does not.
    np.testing.assert_allclose(swapped.distance, same.distance, rtol=2e-4)
    assert same.replicas == 300


def test_two_sample_kolmogorov_smirnov_is_scipys_and_keeps_its_level():
    first, second = standard(9, 100, 300, 1), standard(10, 80, 300, 1)
    found = compare_samples(samples_of(first), samples_of(second), KolmogorovSmirnov())
    for t in range(3):
        reference = scipy.stats.ks_2samp(first[:, t, 0], second[:, t, 0], method="asymp")
        np.testing.assert_allclose([found.distance[t], found.p_value[t]], [reference.statistic, reference.pvalue])
    laws.assert_rate_at_most(int(np.sum(found.p_value <= LEVEL)), 300, LEVEL, detectable=0.27)
    assert np.all(found.lower == 0.0)


def test_a_scale_error_of_five_percent_in_ten_dimensions_is_seen_by_moments_of_all_points_and_missed_by_each_alone():
    replicas, points, keys = 2000, 10, 100
    law = law_of(keys, np.zeros(points), np.eye(points))
    values = samples_of(1.05 * standard(11, replicas, keys, points))
    level = 0.01
    for statistic in (WhitenedMoments(), BuresWasserstein()):
        seen = int(np.sum(compare(values, law, statistic).p_value <= level))
        laws.assert_rate_at_least(seen, keys, 0.99, detectable=0.8)
    missed = int(np.sum(compare(values, law, KolmogorovSmirnov()).p_value > level))
    laws.assert_rate_at_least(missed, keys, 0.9, detectable=0.6)


@pytest.mark.slow
@pytest.mark.parametrize("statistic", CHEAP, ids=named)
def test_bounds_cover_the_distance_of_laws_that_are_not_gaussian(statistic):
    # The true distance is that of 2·10⁵ samples, whose own noise is 4% of that of 300.
    times, level = 400, 0.05
    law = law_of(times, np.zeros(POINTS), np.eye(POINTS))
    rng = np.random.default_rng(12)

    # Some way from the Gaussian law: sums of a normal and an exponential part, both of variance 1 in all.
    def draw(shape):
        return math.sqrt(0.75) * rng.standard_normal(shape) + 0.5 * (rng.exponential(size=shape) - 1.0) + 0.3

    truth = compare(samples_of(draw((200_000, 1, POINTS))), law_of(1, np.zeros(3), np.eye(3)), statistic).distances[0]
    found = compare(samples_of(draw((REPLICAS, times, POINTS))), law, statistic, level=level)
    laws.assert_rate_at_most(int(np.sum(found.upper[:, 0] < truth[0])), times, 1.2 * level, detectable=0.17)
    assert np.mean(found.lower[:, 0] > truth[0]) == 0.0


# Invariances and refusals.


@pytest.mark.parametrize("statistic", CHEAP, ids=named)
def test_the_order_of_replicas_and_the_dtype_do_not_matter(statistic):
    values = moved(standard(13, 5000, 1), 0.1)
    law = law_of(1)
    first = compare(samples_of(values), law, statistic)
    np.testing.assert_allclose(compare(samples_of(values[::-1]), law, statistic).distances, first.distances, rtol=1e-4)
    single = compare(samples_of(values.astype(np.float32)), law, statistic)
    np.testing.assert_allclose(single.distances, first.distances, rtol=1e-3)


@pytest.mark.parametrize("statistic", INVARIANT, ids=named)
def test_whitened_moments_do_not_change_under_affine_maps(statistic):
    z = standard(14, 300, 1) + 0.2
    matrix = np.random.default_rng(15).standard_normal((POINTS, POINTS))
    law = law_of(1, np.zeros(POINTS), np.eye(POINTS))
    plain = compare(samples_of(z), law, statistic)
    mapped = compare(samples_of(3.0 + z @ matrix.T), law_of(1, np.full(3, 3.0), matrix @ matrix.T), statistic)
    np.testing.assert_allclose(mapped.distances, plain.distances, rtol=1e-8)
    np.testing.assert_allclose(mapped.upper, plain.upper, rtol=1e-8)


@pytest.mark.parametrize("statistic", CHEAP, ids=named)
def test_a_repeated_point_changes_nothing_and_leaving_the_laws_support_is_refused(statistic):
    twice = np.array([0, 1, 2, 0])
    values = moved(standard(16, 300, 1), 0.0)
    law = law_of(1, MEAN[twice], COVARIANCE[np.ix_(twice, twice)])
    comparison = compare(samples_of(values[..., twice].astype(np.float32)), law, statistic)
    assert comparison.p_value[0] > 1e-6
    if isinstance(statistic, Sliced):
        return
    apart = values[..., twice].copy()
    apart[7, 0, 3] += 0.1
    with pytest.raises(ValueError, match=r"Argument `samples` must stay in the 3 of 4 dimensions.*statistics\.Sliced"):
        compare(samples_of(apart), law, statistic)


def test_refusals():
    samples, law = samples_of(moved(standard(17, 4, 1), 0.0)), law_of(1)
    with pytest.raises(ValueError, match="Argument `samples` must hold at least 5 replicas"):
        compare(samples, law, WhitenedMoments())
    for make in (EnergyDistance, KernelDiscrepancy):
        with pytest.raises(ValueError, match="Argument `features`"):
            make(features=0)
        with pytest.raises(ValueError, match="Argument `tolerance`"):
            make(tolerance=0.0)
    with pytest.raises(ValueError, match="Argument `scale`"):
        KernelDiscrepancy(scale=-1.0)
    with pytest.raises(ValueError, match="Argument `directions`"):
        Sliced(directions=0)
    with pytest.raises(ValueError, match="Argument `statistic` must be a statistic of two samples"):
        compare_samples(samples, samples, functools.partial)
    with pytest.raises(ValueError, match="Argument `second` must have times and points"):
        compare_samples(samples, samples_of(standard(18, 4, 2)), EnergyDistance())
    broken = standard(19, 4, 1)
    broken[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="Argument `second` must be finite, but 1 of 4 replicas"):
        compare_samples(samples, samples_of(broken), EnergyDistance())


def test_samples_that_do_not_fill_the_laws_dimensions_are_refused_where_logarithms_of_them_are_taken():
    values = moved(standard(18, 300, 1), 0.0)
    repeated, outlier = values[..., [0, 0, 2]], values.copy()
    outlier[5, 0, 1] = 1e20
    for degenerate in (repeated, np.zeros_like(values), outlier):
        with pytest.raises(ValueError, match="Argument `samples` must vary in all 3 dimensions in which the law does"):
            compare(samples_of(degenerate), law_of(1), WhitenedMoments())


@pytest.mark.parametrize("statistic", PAIRED, ids=named)
def test_too_few_replicas_of_two_samples_are_refused(statistic):
    few, enough = (samples_of(standard(19, replicas, 1, 8)) for replicas in (99, 150))
    with pytest.raises(ValueError, match="Argument `first, second` must hold at least 100 replicas each"):
        compare_samples(few, enough, statistic)
    still = samples_of(np.concatenate([standard(20, 150, 1, 7), np.ones((150, 1, 1))], axis=2))
    with pytest.raises(ValueError, match="Argument `first, second` must vary at every point"):
        compare_samples(still, still, statistic)
    if not isinstance(statistic, Sliced):
        with pytest.raises(ValueError, match="must hold at least 40 replicas per point together"):
            compare_samples(enough, enough, statistic)
