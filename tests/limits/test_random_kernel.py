"""Limits of a kernel that is a Monte Carlo estimate: standard errors that are right, and verdicts that count them."""

import jax
import numpy as np
import pytest
import scipy.stats

import jaxlimit as jl
from jaxlimit.kernels import MonteCarlo
from jaxlimit.paths import GaussianPath, Samples
from jaxlimit.statistics import compare, compare_samples, equivalence
from tests import laws, systems
from tests.cases import ACTIVATIONS, each, most_slow
from tests.oracle import assert_same

CASE = ACTIVATIONS["erf"]
DATA = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
TS = [0.0, 0.5, 3.0]
AT = systems.FULL_AT
PROBLEM = systems.problem(CASE, DATA, alpha=2.0)
EXACT = jl.SpectralLimit(PROBLEM)
STATISTICS = {
    "mean shift": jl.statistics.MeanShift(),
    "variance ratio": jl.statistics.VarianceRatio(),
    "Kolmogorov-Smirnov": jl.statistics.KolmogorovSmirnov(),
}


def sampled(neurons, seed=0, limit=jl.SpectralLimit, **settings):
    return limit(PROBLEM, rule=MonteCarlo(neurons, seed), **settings)


@pytest.fixture(scope="module")
def studentised():
    """(mean, covariance) minus the exact ones, in standard errors: 200 seeds, 2000 draws, at t = 3, data and extra."""
    exact = EXACT.law([3.0], AT)
    found = []
    for seed in range(200):
        law = sampled(2000, 1000 + seed).law([3.0], AT)
        mean = (law.mean - exact.mean)[0] / law.mean_standard_error[0]
        covariance = (law.covariance - exact.covariance)[0] / law.covariance_standard_error[0]
        found.append(np.concatenate([mean, np.diag(covariance), covariance[0, 1:]]))
    return np.array(found)


@pytest.mark.slow
def test_errors_of_mean_and_covariance_follow_students_law(studentised):
    """15 degrees of freedom, each component on its own; a standard error off by a quarter would be noticed."""
    law = scipy.stats.t(15)
    for component in studentised.T:
        laws.assert_law(component, law.cdf, detectable=0.36)
    # All components together: their mean square is 15/13, and the seeds are independent.
    squares = np.mean(np.square(studentised), axis=1)
    laws.assert_mean(squares, 15 / 13, detectable=0.7)
    with pytest.raises(AssertionError, match="standard errors"):
        laws.assert_mean(4 * squares, 15 / 13, detectable=3.0)


def test_errors_fall_with_the_root_of_the_number_of_draws():
    few, many = (sampled(n).law(TS, AT).mean_standard_error[1:].mean() for n in (250, 16_000))
    assert 4 < few / many < 16


def test_krylov_and_spectral_limits_carry_the_same_errors():
    spectral, krylov = sampled(500).law(TS, AT), sampled(500, limit=jl.KrylovLimit).law(TS, [4, 0], AT)
    which = [4, 0, 5, 6]
    assert_same(krylov.mean_standard_error, spectral.mean_standard_error[:, which], 1e-9)
    assert_same(krylov.covariance_standard_error, spectral.covariance_standard_error[:, which][:, :, which], 1e-9)
    assert krylov.mean_standard_error[1:].min() > 0


def test_the_error_of_any_answer_is_the_spread_of_other_seeds():
    """An oracle that draws for itself: 2000 seeds of 50 independent neurons each, through NumPy alone."""
    limit, start = sampled(50), np.full(5, 0.3)
    rng = np.random.default_rng(0)
    slope, x = 2 / np.sqrt(np.pi), DATA.x
    seen = []
    for _ in range(2000):
        u = rng.standard_normal((50, 3)) @ x.T
        value, derivative = scipy.special.erf(u), slope * np.exp(-u * u)
        kernel = (value.T @ value + derivative.T @ derivative * (x @ x.T) / 3) / 50
        rate, basis = np.linalg.eigh(2.0 * np.sqrt(np.outer(DATA.weights, DATA.weights)) * kernel)
        root = np.sqrt(DATA.weights)
        flow = basis * np.exp(-rate) @ basis.T
        seen.append(DATA.y + flow @ (root * (start - DATA.y)) / root)
    expected = np.std(seen, axis=0, ddof=1)
    for found in (
        limit.standard_error(lambda other: other.path(start, [1.0])[0]),
        sampled(50, limit=jl.OdeLimit, dtype="float64").standard_error(lambda other: other.path(start, [1.0])[0]),
    ):
        # χ with 15 degrees of freedom, five dependent components: false alarms 1e-6 each side.
        tails = scipy.stats.chi2([15]).ppf([1e-7, 1 - 1e-7])
        assert np.all(np.square(found / expected) > 0.9 * tails[0] / 15)
        assert np.all(np.square(found / expected) < 1.1 * tails[1] / 15)
        assert found.shape == (5,)


def test_known_kernels_have_no_error_and_no_repeats():
    law = EXACT.law(TS)
    assert law.repeats == ()
    assert not law.mean_standard_error.any()
    assert not law.covariance_standard_error.any()
    assert not EXACT.standard_error(lambda limit: limit.loss(TS)).any()
    assert EXACT.repeats() == []


def test_repeats_have_no_repeats_of_their_own():
    repeats = sampled(100).repeats()
    assert len(repeats) == 16
    assert all(limit.repeats() == [] for limit in repeats)
    assert len({float(limit.matrix[0, 1]) for limit in [sampled(100), *repeats]}) == 17
    assert sampled(100).standard_error(lambda limit: limit.law(TS).mean).shape == (3, 5)


def test_moments_and_laws_at_finite_width_carry_the_error_too():
    limit = jl.SpectralLimit(systems.problem(CASE, DATA, gamma=0.6), rule=MonteCarlo(500))
    moments = limit.moments(TS, 64, AT)
    whole = limit.finite_width(TS, 64, key=jax.random.key(0), neurons=50, at=AT)
    assert moments.mean_standard_error[1:].min() > 0
    assert_same(whole.mean_standard_error, moments.mean_standard_error, 1e-15)
    assert_same(whole.covariance_standard_error, moments.covariance_standard_error, 1e-12)


class Unrepeatable(jl.kernels.AbstractRule):
    """Random entries whose draws nobody else can make."""

    def prepare(self, activation, law, x, x2):
        return MonteCarlo(100).prepare(activation, law, x, x2)


def test_random_rules_that_cannot_be_repeated_are_refused_where_an_error_is_asked_for():
    limit = jl.SpectralLimit(PROBLEM, rule=Unrepeatable())
    limit.path(np.zeros(5), TS)
    with pytest.raises(ValueError, match="Argument `rule` must be MonteCarlo where the kernel is random"):
        limit.law(TS)


def draws(law, replicas, seed):
    """Samples of a law."""
    rng = np.random.default_rng(seed)
    root = np.linalg.cholesky(law.covariance)
    values = law.mean + np.einsum("tpq,rtq->rtp", root, rng.standard_normal((replicas, *law.mean.shape)))
    zero = np.zeros(law.ts.size, int)
    return Samples(law.ts, values, None, zero, np.full(replicas, -1), "exact", 1, 1)


@pytest.fixture(scope="module")
def uncertain():
    """100 laws of 300 draws: their error is as large as the noise of 4096 replicas."""
    return [sampled(300, 5000 + seed).law([2.0]) for seed in range(100)]


@pytest.mark.slow
@pytest.mark.parametrize("statistic", most_slow(each(STATISTICS)))
def test_a_law_of_few_draws_is_never_a_verdict_of_its_own(statistic, uncertain):
    """False alarms at the level, where bounds that take the law as known fail far too often."""
    samples, level = draws(EXACT.law([2.0]), 4096, 0), 0.05
    found = [compare(samples, law, statistic, level=level) for law in uncertain]
    alarms = sum(int(comparison.p_value[0] <= level) for comparison in found)
    laws.assert_rate_at_most(alarms, 100, level, detectable=0.35)
    assert not any(equivalence(comparison).verdict.value == "VIOLATED" for comparison in found)
    known = (GaussianPath(law.ts, law.mean, law.covariance) for law in uncertain)
    naive = sum(int(compare(samples, law, statistic, level=level).p_value[0] <= level) for law in known)
    with pytest.raises(AssertionError, match="allows"):
        laws.assert_rate_at_most(naive, 100, level, detectable=0.35)


@pytest.mark.slow
def test_bounds_count_the_error_of_the_law_where_it_differs_from_the_samples(uncertain):
    """True distance 0.3: mean shift of samples against uncertain laws, one-sided coverage at 95%."""
    exact, size, missed, naive = EXACT.law([2.0]), 0.3, 0, 0
    samples = draws(exact, 4096, 2)
    samples.values[..., 0] += size * exact.standard_deviation[0, 0]
    for law in uncertain:
        found = compare(samples, law, jl.statistics.MeanShift(), level=0.05)
        missed += int(found.upper[0, 0] < size) + int(found.lower[0, 0] > size)
        bare = compare(samples, GaussianPath(law.ts, law.mean, law.covariance), jl.statistics.MeanShift(), level=0.05)
        naive += int(bare.upper[0, 0] < size) + int(bare.lower[0, 0] > size)
    laws.assert_rate_at_most(missed, 100, 0.10, detectable=0.42)
    with pytest.raises(AssertionError, match="allows"):
        laws.assert_rate_at_most(naive, 100, 0.10, detectable=0.42)


@pytest.mark.parametrize("statistic", most_slow(each(STATISTICS)))
def test_a_wrong_law_is_still_violated_and_a_right_one_with_many_draws_holds(statistic):
    samples = draws(EXACT.law([2.0]), 20_000, 1)
    right = compare(samples, sampled(100_000).law([2.0]), statistic)
    assert equivalence(right).verdict.value == "HOLDS"
    assert right.law_error.shape == (1, 5)
    plain = compare(samples, EXACT.law([2.0]), statistic)
    assert plain.law_error is None
    assert np.all(right.half_widths > plain.half_widths)
    assert np.all(right.detectable > plain.detectable)
    halved = systems.problem(CASE, DATA, alpha=0.5)
    wrong = compare(samples, jl.SpectralLimit(halved, rule=MonteCarlo(20_000)).law([2.0]), statistic)
    assert equivalence(wrong).verdict.value == "VIOLATED"
    assert wrong.p_value[0] < 1e-6
    few = equivalence(compare(samples, sampled(300).law([2.0]), statistic))
    assert few.verdict.value == "UNDECIDED"
    assert "other draws of the limit's kernel" in few.reason


def test_streamed_distances_count_the_error_of_the_law(uncertain):
    """The true distance is zero: `low` above it is a miss, at 95%."""
    samples, missed, naive = draws(EXACT.law([2.0]), 20_000, 4), 0, 0
    counts = jl.statistics.Quantiles.around(EXACT.law([2.0])).add(samples)
    for law in uncertain:
        missed += int(counts.distance(law).low[0, 0] > 0)
        naive += int(counts.distance(GaussianPath(law.ts, law.mean, law.covariance)).low[0, 0] > 0)
    laws.assert_rate_at_most(missed, 100, 0.05, detectable=0.35)
    with pytest.raises(AssertionError, match="allows"):
        laws.assert_rate_at_most(naive, 100, 0.05, detectable=0.35)


@pytest.mark.slow
def test_sampled_paths_with_a_random_kernel_widen_the_comparison_of_samples():
    paths = sampled(300, limit=jl.OdeLimit).sample([2.0], 150, jax.random.key(0))
    assert len(paths.repeats) == 16
    assert {other.values.shape for other in paths.repeats} == {(150, 1, 5)}
    samples, statistic = draws(EXACT.law([2.0]), 150, 3), jl.statistics.EnergyDistance()
    found = compare_samples(samples, paths, statistic)
    bare = Samples(paths.ts, paths.values, None, paths.steps, paths.diverged_at, "OdeLimit", 0, 1)
    plain = compare_samples(samples, bare, statistic)
    assert found.law_error.min() > 0
    assert np.all(found.half_widths > plain.half_widths)
    other = sampled(300, limit=jl.OdeLimit).sample([2.0], 150, jax.random.key(1))
    both = compare_samples(paths, other, statistic)
    assert both.law_error.max() < 0.5 * found.law_error.max()  # the same draws of the kernel on both sides


@pytest.mark.slow
def test_repeats_of_sampled_paths_start_from_the_same_normals():
    """Orthonormal points: all eigenvalues of Σ are near each other, and eigenvectors of an estimate point anywhere."""
    data = jl.Data(np.eye(5), np.ones(5))
    problem = jl.Problem(data, jl.networks.Shallow(CASE.activation, jl.Initial()))
    paths = jl.OdeLimit(problem, rule=MonteCarlo(40_000)).sample(TS, 3, jax.random.key(0))
    start = paths.values[:, 0]
    for other in paths.repeats:
        assert np.sqrt(np.mean((other.values[:, 0] - start) ** 2)) < 0.01 * np.std(start)


@pytest.fixture(scope="module")
def paths():
    return sampled(100, limit=jl.OdeLimit).sample(TS, 3, jax.random.key(0))


def test_the_repeats_of_an_answer_are_one_line_of_what_it_prints(paths):
    law = sampled(100).law(TS)
    for answer in (law, paths):
        assert "repeats=<16 repeats>" in repr(answer)
        assert repr(answer).count("\n") < 20
    assert "repeats" not in repr(EXACT.law(TS))


def test_part_of_times_and_points_is_that_of_all(paths):
    part = paths.during(slice(1, None)).marginal([4, 0])
    assert np.array_equal(part.values, paths.values[:, 1:, [4, 0]])
    assert np.array_equal(part.repeats[3].values, paths.repeats[3].values[:, 1:, [4, 0]])
    assert np.array_equal(part.error, paths.error[:, 1:])
    assert part.ts.tolist() == TS[1:]
    assert part.draws == paths.draws
    assert paths.marginal(np.arange(5) > 3).values.shape == (3, 3, 1)
    law = sampled(100).law(TS)
    which = [4, 0]
    assert np.array_equal(law.marginal(which).covariance, law.covariance[:, which][:, :, which])
    assert np.array_equal(law.marginal(which).repeats[2].mean, law.repeats[2].mean[:, which])
    with pytest.raises(ValueError, match="Argument `points` must be a slice or a list of indices"):
        law.marginal(1.5)


def test_a_single_repeat_and_repeats_of_other_points_are_refused():
    law = EXACT.law(TS)
    with pytest.raises(ValueError, match="Argument `repeats` must be at least 2 or none"):
        GaussianPath(law.ts, law.mean, law.covariance, (law,))
    other = EXACT.law(TS, AT)
    with pytest.raises(ValueError, match="Argument `repeats` must have 3 times and 5 points"):
        GaussianPath(law.ts, law.mean, law.covariance, (other, other))


def test_part_of_the_times_keeps_its_repeats():
    law = sampled(100).law(TS)
    part = law.during(slice(1, None))
    assert_same(part.mean_standard_error, law.mean_standard_error[1:], 0)
    assert_same(part.standard_deviation_standard_error, law.standard_deviation_standard_error[1:], 0)
