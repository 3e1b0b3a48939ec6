"""Distances of several points at once: closed forms, false alarms, power at `detectable`, bounds that cover."""

import math

import jax
import mpmath
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from jaxlimit.paths import GaussianPath
from jaxlimit.statistics import (
    AbstractMarginalStatistic,
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
from tests import cases, laws
from tests.cases import each
from tests.statistics.alterations import COVARIANCE, MEAN, ROOT
from tests.statistics.test_compare import law_of, samples_of

REPETITIONS, REPLICAS, POINTS, LEVEL = 1000, 300, 3, 0.1
JOINT = {
    name: case for name, case in cases.STATISTICS.items() if not isinstance(case.statistic, AbstractMarginalStatistic)
}
INVARIANT = {name: JOINT[name] for name in ("whitened moments", "Bures-Wasserstein")}


def standard(seed, replicas=REPLICAS, times=REPETITIONS, points=POINTS):
    return np.random.default_rng(seed).standard_normal((replicas, times, points))


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
@pytest.mark.parametrize("case", each({name: JOINT[name] for name in JOINT if name != "sliced"}))
def test_the_null_law_has_the_mean_and_variance_of_simulations(case):
    statistic = case.statistic
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
@pytest.mark.parametrize("case", each(JOINT))
def test_false_alarms_power_and_bounds_over_1000_keys(case):
    statistic = case.statistic
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
    shift = case.altered(size)[0]
    found = compare(samples_of(moved(z, shift)), law, statistic, level=0.05)
    laws.assert_rate_at_least(int(np.sum(found.p_value <= LEVEL)), REPETITIONS, 0.95, detectable=0.88)
    laws.assert_rate_at_most(int(np.sum(found.upper[:, 0] < size)), REPETITIONS, 0.055, detectable=0.12)
    assert np.all(found.lower <= found.distances)
    assert np.all(found.distances <= found.upper)
    # Lower bounds hold for all 1000 repetitions at once, but with probability 0.05.
    assert np.all(found.lower[:, 0] <= size)
    half = compare(samples_of(moved(z, 0.5 * shift)), law, statistic)
    laws.assert_rate_at_most(int(np.sum(half.p_value <= LEVEL)), REPETITIONS, 0.75, detectable=0.87)


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
@pytest.mark.parametrize("case", each(JOINT))
def test_bounds_cover_the_distance_of_laws_that_are_not_gaussian(case):
    statistic = case.statistic
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


@pytest.mark.parametrize("case", each(JOINT))
def test_the_order_of_replicas_and_the_dtype_do_not_matter(case):
    statistic = case.statistic
    values = moved(standard(13, 5000, 1), 0.1)
    law = law_of(1)
    first = compare(samples_of(values), law, statistic)
    np.testing.assert_allclose(compare(samples_of(values[::-1]), law, statistic).distances, first.distances, rtol=1e-4)
    single = compare(samples_of(values.astype(np.float32)), law, statistic)
    np.testing.assert_allclose(single.distances, first.distances, rtol=1e-3)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", each(cases.STATISTICS))
def test_values_far_from_the_law_are_told_apart_from_it_or_refused(case):
    values = standard(19, 400, 1)
    for far in (1e10, 1e55):
        found = compare(samples_of(far * values), law_of(1), case.statistic)
        assert found.p_value[0] < 1e-100
        assert np.isfinite(found.upper).all()
    for far in (1e200, -1e307):
        with pytest.raises(ValueError, match=r"Argument `samples` must stay within 1e\+60 standard deviations"):
            compare(samples_of(far * values), law_of(1), case.statistic)


@pytest.mark.parametrize("case", each(JOINT))
def test_a_law_with_equal_eigenvalues_and_one_a_rounding_away_are_at_the_same_distance(case):
    # Eigenvectors of 0.9·I + 0.1 turn freely in two dimensions; whitening with them answered differently each time.
    rng = np.random.default_rng(20)
    values, covariance = rng.standard_normal((5000, 1, 3)) ** 2, 0.9 * np.eye(3) + 0.1
    noise = rng.uniform(-1e-14, 1e-14, (16, 3, 3))
    laws_ = [law_of(1, np.ones(3), covariance + e + e.T) for e in noise]
    known = compare(samples_of(values), law_of(1, np.ones(3), covariance), case.statistic)
    law = GaussianPath(
        *(getattr(law_of(1, np.ones(3), covariance), n) for n in ("ts", "mean", "covariance")), tuple(laws_)
    )
    found = compare(samples_of(values), law, case.statistic)
    assert np.max(found.law_error) < 1e-5 * known.distance[0]


@pytest.mark.parametrize("case", each(JOINT))
def test_two_samples_in_another_order_or_dtype_are_at_the_same_distance(case):
    # Nearly white samples: eigenvectors of what lies within both have no direction of their own.
    x, y = standard(21, 400, 1), standard(22, 300, 1) ** 2
    first = compare_samples(samples_of(x), samples_of(y), case.statistic)
    turned = compare_samples(samples_of(x[::-1]), samples_of(y[::-1]), case.statistic)
    np.testing.assert_allclose(turned.distances, first.distances, rtol=1e-6)
    single = compare_samples(samples_of(x.astype(np.float32)), samples_of(y.astype(np.float32)), case.statistic)
    np.testing.assert_allclose(single.distances, first.distances, rtol=1e-5)
    swapped = compare_samples(samples_of(y), samples_of(x), case.statistic)
    np.testing.assert_allclose(swapped.distances, first.distances, rtol=1e-6)


@pytest.mark.parametrize("case", each(INVARIANT))
def test_whitened_moments_do_not_change_under_affine_maps(case):
    statistic = case.statistic
    z = standard(14, 300, 1) + 0.2
    matrix = np.random.default_rng(15).standard_normal((POINTS, POINTS))
    law = law_of(1, np.zeros(POINTS), np.eye(POINTS))
    plain = compare(samples_of(z), law, statistic)
    mapped = compare(samples_of(3.0 + z @ matrix.T), law_of(1, np.full(3, 3.0), matrix @ matrix.T), statistic)
    np.testing.assert_allclose(mapped.distances, plain.distances, rtol=1e-8)
    np.testing.assert_allclose(mapped.upper, plain.upper, rtol=1e-8)


@pytest.mark.parametrize("case", each(JOINT))
def test_a_repeated_point_changes_nothing_and_leaving_the_laws_support_is_refused(case):
    statistic = case.statistic
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


def test_samples_that_do_not_fill_the_laws_dimensions_are_refused_where_logarithms_of_them_are_taken():
    values = moved(standard(18, 300, 1), 0.0)
    repeated, outlier = values[..., [0, 0, 2]], values.copy()
    outlier[5, 0, 1] = 1e20
    for degenerate in (repeated, np.zeros_like(values), outlier):
        with pytest.raises(ValueError, match="Argument `samples` must vary in all 3 dimensions in which the law does"):
            compare(samples_of(degenerate), law_of(1), WhitenedMoments())
