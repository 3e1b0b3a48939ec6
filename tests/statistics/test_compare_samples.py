"""Two samples: false alarms, power at `detectable`, bounds, and every statistic in every unit.

Repetitions are save times: one comparison of [replicas, repetitions, points] reads each time on its own.
"""

import functools
import math
from dataclasses import replace

import jax
import numpy as np
import pytest
import scipy.optimize
import scipy.stats

import jaxlimit as jl
from jaxlimit.paths import Draws
from jaxlimit.statistics import (
    AbstractTwoSampleStatistic,
    EnergyDistance,
    KolmogorovSmirnov,
    MeanShift,
    Sliced,
    VarianceRatio,
    WhitenedMoments,
    compare_samples,
)
from tests import cases, laws
from tests.cases import each
from tests.statistics.alterations import MEAN, ROOT
from tests.statistics.test_compare import samples_of

REPETITIONS, POINTS, LEVEL = 1000, 3, 0.1
FIRST, SECOND = 150, 120
PAIRED = {
    name: case for name, case in cases.STATISTICS.items() if isinstance(case.statistic, AbstractTwoSampleStatistic)
}
JOINT = {name: case for name, case in PAIRED.items() if not isinstance(case.statistic, KolmogorovSmirnov)}


def standard(seed, replicas, times, points=POINTS):
    return np.random.default_rng(seed).standard_normal((replicas, times, points))


def law(z):
    return MEAN + z @ ROOT.T


def compared(first, second, statistic, **settings):
    return compare_samples(samples_of(first), samples_of(second), statistic, **settings)


def alarms(comparison):
    return int(np.sum(comparison.p_value <= LEVEL))


# Error rates.


@pytest.mark.slow
@pytest.mark.parametrize("case", each(PAIRED))
def test_false_alarms_and_power_over_1000_keys(case):
    first, second = law(standard(5, FIRST, REPETITIONS)), law(standard(6, SECOND, REPETITIONS))
    null = compared(first, second, case.statistic)
    laws.assert_rate_at_most(alarms(null), REPETITIONS, 1.2 * LEVEL, detectable=0.22)  # asymptotic: a fifth is allowed
    laws.assert_rate_at_least(alarms(null), REPETITIONS, 0.4 * LEVEL, detectable=0.006)
    assert float(np.mean(null.distance)) <= 1.05 * null.null_distance
    lone = compared(first[:, :1], second[:, :1], case.statistic, level=LEVEL)
    size = 1.1 * float(lone.detectable[0])  # `detectable` of one pair of samples is itself an estimate
    found = compared(first, second + case.altered(size)[0] * ROOT[:, 0], case.statistic)
    laws.assert_rate_at_least(alarms(found), REPETITIONS, 0.95, detectable=0.88)


@pytest.mark.parametrize("case", each(PAIRED))
def test_two_samples_of_one_law_agree_and_of_two_laws_differ(case):
    first, second = law(standard(7, 400, 1)), law(standard(8, 300, 1))
    same = compared(first, second, case.statistic)
    assert same.p_value[0] > 1e-6
    assert same.lower[0, 0] == 0.0 or same.lower[0, 0] < same.null_distance
    other = compared(first, second + 2.0 * ROOT[:, 0], case.statistic)
    assert other.p_value[0] < 1e-6
    assert other.lower[0, 0] > same.upper[0, 0]
    swapped = compared(second, first, case.statistic)
    # The permutations of Sliced differ; the distance does not.
    np.testing.assert_allclose(swapped.distance, same.distance, rtol=1e-6)
    assert same.replicas == 300


def test_two_sample_kolmogorov_smirnov_is_scipys():
    first, second = standard(9, 100, 3, 1), standard(10, 80, 3, 1)
    found = compared(first, second, KolmogorovSmirnov())
    for t in range(3):
        reference = scipy.stats.ks_2samp(first[:, t, 0], second[:, t, 0], method="asymp")
        np.testing.assert_allclose([found.distance[t], found.p_value[t]], [reference.statistic, reference.pvalue])
    assert np.all(found.lower == 0.0)


# Mean, scale and shape.


def scatter(values):
    centred = values - values.mean(axis=0)
    return centred.T @ centred / (len(values) - 1)


def skewed(rng, shape):
    """Mean 0 and variance 1, kurtosis 3 + 6/16."""
    return math.sqrt(0.75) * rng.standard_normal(shape) + 0.5 * (rng.exponential(size=shape) - 1.0)


def heavy(rng, shape):
    """A scale mixture of normal vectors, all points with one random scale: kurtosis 3.75."""
    return rng.standard_normal(shape) * np.sqrt(0.5 + 0.5 * rng.exponential(size=(*shape[:-1], 1)))


def test_the_entries_are_hotellings_distance_and_the_parts_of_boxs_criterion():
    x, y = law(standard(21, 300, 1))[:, 0], 1.3 * law(standard(22, 200, 1))[:, 0]
    found = compared(x[:, None], y[:, None], WhitenedMoments())
    (n, m), d = (299, 199), POINTS
    s, t = scatter(x), scatter(y)
    pooled = (n * s + m * t) / (n + m)
    difference = x.mean(axis=0) - y.mean(axis=0)
    mean = math.sqrt(difference @ np.linalg.solve(pooled, difference))
    traces = [np.trace(np.linalg.solve(pooled, part)) / d for part in (s, t)]
    box = (n + m) * np.linalg.slogdet(pooled)[1] - n * np.linalg.slogdet(s)[1] - m * np.linalg.slogdet(t)[1]
    shape = box + d * (n * math.log(traces[0]) + m * math.log(traces[1]))
    expected = [mean, abs(traces[0] - traces[1]), math.sqrt(2.0 * (n + m) * shape / (d * n * m))]
    np.testing.assert_allclose(found.distances[0], expected, rtol=1e-9)


def test_one_point_of_light_tails_is_judged_by_students_and_snedecors_tests():
    # Uniform samples: the spread of their squares is below the Gaussian one, which is then kept.
    rng = np.random.default_rng(23)
    x, y = rng.uniform(size=(130, 5, 1)), 0.1 + 1.2 * rng.uniform(size=(110, 5, 1))
    found = compared(x, y, WhitenedMoments())
    student = scipy.stats.ttest_ind(x[..., 0], y[..., 0]).pvalue
    ratio = np.var(x[..., 0], axis=0, ddof=1) / np.var(y[..., 0], axis=0, ddof=1)
    snedecor = 2.0 * np.minimum(scipy.stats.f.cdf(ratio, 129, 109), scipy.stats.f.sf(ratio, 129, 109))
    np.testing.assert_allclose(found.p_value, np.minimum(3.0 * np.minimum(student, snedecor), 1.0), rtol=1e-9)
    assert np.all(found.distances[:, 2] == 0.0)


@pytest.mark.slow
def test_covariances_of_laws_that_are_not_gaussian_raise_no_more_alarms_where_boxs_own_test_does():
    rng = np.random.default_rng(24)
    first, second = heavy(rng, (300, REPETITIONS, POINTS)), heavy(rng, (200, REPETITIONS, POINTS))
    found = compared(first, second, WhitenedMoments())
    laws.assert_rate_at_most(alarms(found), REPETITIONS, 1.2 * LEVEL, detectable=0.22)
    naive = 0
    for t in range(REPETITIONS):
        s, u = scatter(first[:, t]), scatter(second[:, t])
        logs = [np.linalg.slogdet(part)[1] for part in ((299 * s + 199 * u) / 498, s, u)]
        naive += 498 * logs[0] - 299 * logs[1] - 199 * logs[2] >= scipy.stats.chi2.isf(LEVEL, 6)
    with pytest.raises(AssertionError, match="allows"):
        laws.assert_rate_at_most(int(naive), REPETITIONS, 1.2 * LEVEL, detectable=0.22)


def exponential(rng, shape):
    """Mean 0, variance 1, kurtosis 9."""
    return rng.exponential(size=shape) - 1.0


@pytest.mark.slow
def test_few_replicas_beside_many_of_a_heavy_tailed_law_raise_no_more_alarms_and_differences_are_still_found():
    # Fourth moments weighted by the other sample's share gave 46 alarms, 19 of them below 0.001.
    rng, level = np.random.default_rng(37), 0.01
    few, many = exponential(rng, (100, REPETITIONS, POINTS)), exponential(rng, (1000, REPETITIONS, POINTS))
    for pair in ((few, many), (many, few)):
        found = compared(*pair, WhitenedMoments(), level=level)
        laws.assert_rate_at_most(int(np.sum(found.p_value <= level)), REPETITIONS, 1.5 * level, detectable=0.06)
        laws.assert_rate_at_most(int(np.sum(found.p_value <= 0.1 * level)), REPETITIONS, 0.003, detectable=0.03)
        # All lower bounds hold together, but with probability 0.01.
        assert np.sum(found.lower[:, 1] > 0) <= 1
    altered = compared(1.6 * few[:, :300], many[:, :300], WhitenedMoments(), level=level)
    laws.assert_rate_at_least(int(np.sum(altered.p_value <= level)), 300, 0.95, detectable=0.8)


def shape_of(covariance, n, m):
    """The shape between N(0, I) and N(0, covariance)."""
    pooled = (n * np.eye(POINTS) + m * covariance) / (n + m)
    ratios = [np.linalg.eigvals(np.linalg.solve(pooled, part)).real for part in (np.eye(POINTS), covariance)]
    first, second = (math.log(np.mean(r)) - np.mean(np.log(r)) for r in ratios)
    return math.sqrt(2.0 * (n + m) * (n * first + m * second) / (n * m))


@pytest.mark.slow
@pytest.mark.parametrize("entry", ["mean", "scale", "shape"])
def test_each_entry_is_detected_at_detectable_and_covered_by_its_bounds(entry):
    n, m, times, level = FIRST, SECOND, REPETITIONS, 0.05
    first, second = standard(25, n, times), standard(26, m, times)
    size = float(compared(first[:, :1], second[:, :1], WhitenedMoments(), level=LEVEL).detectable[0]) * 1.05
    if entry == "mean":
        second[..., 0] += size
    elif entry == "scale":
        # (k − 1)/((n + m k)/(n + m)) = size
        second *= math.sqrt((n + m + size * (n - 1)) / (n + m - size * (m - 1)))
    else:
        stretch = scipy.optimize.brentq(
            lambda e: shape_of(np.diag([math.exp(e), 1.0, math.exp(-e)]), n - 1, m - 1) - size, 1e-3, 5.0
        )
        second *= np.exp(0.5 * stretch * np.array([1.0, 0.0, -1.0]))
    found = compared(first, second, WhitenedMoments(), level=level)
    laws.assert_rate_at_least(alarms(found), times, 0.95, detectable=0.88)
    k = ["mean", "scale", "shape"].index(entry)
    laws.assert_rate_at_most(int(np.sum(found.upper[:, k] < size)), times, 1.4 * level, detectable=0.14)
    # Lower bounds hold for all 1000 repetitions at once, but with probability 0.05.
    assert np.all(found.lower[:, k] <= size)


@pytest.mark.slow
def test_bounds_cover_the_distances_of_laws_that_are_not_gaussian():
    rng, times, level = np.random.default_rng(27), 400, 0.05
    turn = np.array([1.3, 1.0, 0.8])
    # The true distances are those of 2·10⁵ samples, whose own noise is 4% of that of 300.
    many = [skewed(rng, (200_000, 1, POINTS)) for _ in range(2)]
    truth = compared(many[0], 0.3 + turn * many[1], WhitenedMoments()).distances[0]
    first, second = skewed(rng, (300, times, POINTS)), 0.3 + turn * skewed(rng, (300, times, POINTS))
    found = compared(first, second, WhitenedMoments(), level=level)
    for k in range(3):
        missed = int(np.sum(found.upper[:, k] < truth[k]))
        laws.assert_rate_at_most(missed, times, 1.3 * level, detectable=0.18)
        assert np.all(found.lower[:, k] <= truth[k])


def test_whitened_moments_of_two_samples_do_not_change_under_affine_maps():
    x, y = standard(28, 300, 1), 1.1 * standard(29, 200, 1) + 0.2
    matrix = np.random.default_rng(30).standard_normal((POINTS, POINTS))
    plain, mapped = (compared(*pair, WhitenedMoments()) for pair in ((x, y), (3.0 + x @ matrix, 3.0 + y @ matrix)))
    for name in ("distances", "lower", "upper", "p_value", "detectable"):
        np.testing.assert_allclose(getattr(mapped, name), getattr(plain, name), rtol=1e-7, atol=1e-12)


# Units and refusals.


@pytest.mark.parametrize("case", each(PAIRED))
@pytest.mark.parametrize("exponent", [660, -660, np.array([1020, 0, -900])], ids=["large", "small", "mixed"])
def test_units_do_not_matter_where_squares_overflow(case, exponent):
    x, y = standard(31, 200, 1) / 8.0, standard(32, 150, 1) / 8.0 + 0.1
    plain, scaled = (
        compared(x, y, case.statistic),
        compared(np.ldexp(x, exponent), np.ldexp(y, exponent), case.statistic),
    )
    for name in ("distances", "lower", "upper", "p_value", "detectable"):
        np.testing.assert_allclose(getattr(scaled, name), getattr(plain, name), rtol=1e-9, atol=1e-12)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("case", each(PAIRED))
def test_the_largest_and_the_smallest_of_float32_are_compared_without_a_warning(case):
    x, y = (standard(seed, 200, 1).astype(np.float32) / 8 for seed in (31, 32))
    plain = compared(x, y, case.statistic)
    for unit in (2.0**126, 2.0**-100):
        scaled = compared(x * np.float32(unit), y * np.float32(unit), case.statistic)
        np.testing.assert_allclose(scaled.distances, plain.distances, rtol=1e-6)


def test_samples_that_share_draws_are_refused_at_any_width_and_independent_ones_are_not():
    key, statistic = jax.random.key(0), KolmogorovSmirnov()
    samples = replace(samples_of(standard(38, 8, 1)), draws=Draws.of("simulate", key, range(8)))

    def others(source, key, replicas):
        """Other numbers, of another width, say."""
        return replace(samples, values=samples.values + 1.0, draws=Draws.of(source, key, replicas))

    for replicas in (range(8), range(5, 13), range(100)):
        count = min(8, replicas.stop) - replicas.start
        wanted = rf"Argument `second` must be independent of `first`.*{count} of its replicas use the same draws"
        with pytest.raises(ValueError, match=wanted):
            compare_samples(samples, others("simulate", key, replicas), statistic)
    for source, other, first in (("simulate", jax.random.key(1), 0), ("simulate", key, 8), ("OdeLimit.sample", key, 0)):
        compare_samples(samples, others(source, other, range(first, first + 8)), statistic)
    with pytest.raises(ValueError, match=r"Argument `second` must be independent of `first`.*its values are those"):
        compared(samples.values, samples.values, statistic)


@pytest.mark.slow
def test_halves_of_a_network_share_draws_with_the_whole_and_not_with_each_other():
    problem = jl.Problem(jl.data.sphere(3, 2), jl.networks.Shallow(jl.activations.Erf()), scaling=jl.MeanField())
    pair = jl.simulation.antithetic(problem, 8, [0.5], replicas=8, key=jax.random.key(0))
    compare_samples(pair.first, pair.second, KolmogorovSmirnov())
    for half in (pair.first, pair.second):
        with pytest.raises(ValueError, match="8 of its replicas use the same draws"):
            compare_samples(pair.fine, half, KolmogorovSmirnov())


@pytest.mark.parametrize("case", each(JOINT))
def test_too_few_replicas_are_refused(case):
    few, enough = standard(19, 99, 1, 8), standard(19, 150, 1, 8)
    with pytest.raises(ValueError, match="Argument `first, second` must hold at least 100 replicas each"):
        compared(few, enough, case.statistic)
    still = np.concatenate([standard(20, 150, 1, 7), np.ones((150, 1, 1))], axis=2)
    with pytest.raises(ValueError, match="Argument `first, second` must vary at every point"):
        compared(still, still[::-1], case.statistic)
    if not isinstance(case.statistic, Sliced):
        with pytest.raises(ValueError, match="must hold at least 40 replicas per point together"):
            compared(enough, enough[::-1], case.statistic)


def test_a_sample_without_volume_is_refused_where_logarithms_of_it_are_taken():
    x, y = standard(33, 300, 1), standard(34, 200, 1)
    with pytest.raises(ValueError, match="Argument `second` must vary in all 3 dimensions in which the two together"):
        compared(x, y[..., [0, 0, 2]], WhitenedMoments())
    wide = standard(35, 100, 1, 110), standard(36, 5000, 1, 110)
    with pytest.raises(ValueError, match="Argument `first, second` must hold at least 112 replicas each"):
        compared(*wide, WhitenedMoments())


def test_refusals():
    values = standard(17, 4, 1)
    with pytest.raises(ValueError, match="Argument `statistic` must be a statistic of two samples"):
        compared(values, values, functools.partial)
    for marginal in (MeanShift(), VarianceRatio()):
        with pytest.raises(
            ValueError, match=r"must be a statistic of two samples, .*WhitenedMoments\(\) for means and"
        ):
            compared(values, values, marginal)
    with pytest.raises(ValueError, match="Argument `second` must have times and points"):
        compared(values, standard(18, 4, 2), EnergyDistance())
    broken = standard(19, 4, 1)
    broken[1, 0, 0] = np.nan
    with pytest.raises(ValueError, match="Argument `second` must be finite, but 1 of 4 replicas"):
        compared(values, broken, EnergyDistance())
