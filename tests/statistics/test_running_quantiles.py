"""Running quantiles: counts of the whole sample to the last one, brackets that cover for any law, honest distances.

Repetitions are times and points: every time and point is an experiment of its own.
"""

import dataclasses
import time

import jax
import numpy as np
import pytest
import scipy.special
import scipy.stats

from jaxlimit.paths import GaussianPath
from jaxlimit.statistics import Moments, Quantiles
from tests import laws
from tests.statistics.test_compare import samples_of

TIMES, POINTS = 50, 40
REPETITIONS = TIMES * POINTS
REPLICAS = 300


def law_of(mean, variance, times=TIMES, points=POINTS):
    covariance = np.broadcast_to(variance * np.eye(points), (times, points, points))
    return GaussianPath(np.arange(times, dtype=np.float64), np.full((times, points), mean), covariance)


def filled(values, law, bins=256, cuts=()):
    total = Quantiles.around(law, bins)
    for part in np.split(values, cuts):
        total = total.add(samples_of(part))
    return total


def assert_identical(a, b):
    for left, right in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        assert left.tobytes() == right.tobytes()
    assert (a.replicas, a.diverged, a.width) == (b.replicas, b.diverged, b.width)


def test_counts_are_those_of_numpy_on_the_whole_sample():
    values = np.random.default_rng(0).standard_normal((3000, 2, 3)).astype(np.float32)
    quantiles = filled(values, law_of(0.3, 2.0, 2, 3), bins=64, cuts=(1, 700, 701))
    for t in range(2):
        for p in range(3):
            edges = np.concatenate([[-np.inf], quantiles.edges[t, p], [np.inf]])
            np.testing.assert_array_equal(quantiles.counts[t, p], np.histogram(values[:, t, p], edges)[0])
    np.testing.assert_array_equal(quantiles.smallest, values.min(0))
    np.testing.assert_array_equal(quantiles.largest, values.max(0))
    inside = scipy.special.ndtr((quantiles.edges - 0.3) / np.sqrt(2.0))
    np.testing.assert_allclose(np.diff(inside), 1 / 64, rtol=1e-9)
    np.testing.assert_array_equal(quantiles.rank_error, quantiles.counts.max(2) / 3000)


def test_values_on_an_edge_belong_to_the_bin_above():
    quantiles = Quantiles.around(law_of(0.0, 1.0, 1, 1), bins=4)
    quantiles = quantiles.add(samples_of(quantiles.edges.reshape(3, 1, 1)))
    assert quantiles.counts.ravel().tolist() == [0, 1, 1, 1]


def test_the_order_of_adding_and_merging_changes_no_bit():
    values = np.random.default_rng(1).standard_normal((500, 2, 3))
    law = law_of(0.0, 1.0, 2, 3)
    parts = [filled(part, law) for part in np.split(values, (10, 200, 250))]
    whole = filled(values, law)
    assert_identical(whole, filled(values, law, cuts=(3, 499)))
    assert_identical(whole, filled(values[::-1].copy(), law))
    assert_identical(whole, parts[3].merge(parts[2].merge(parts[1].merge(parts[0]))))
    assert_identical(whole, parts[2].merge(parts[0]).merge(parts[3].merge(parts[1])))
    assert_identical(whole, Quantiles.around(law, 256).merge(whole).merge(Quantiles.around(law, 256)))


@pytest.mark.parametrize("q", [0.001, 0.1, 0.5, 0.975])
def test_the_estimate_is_the_sample_quantile_to_one_bin(q):
    values = np.random.default_rng(2).standard_normal((4000, 2, 3))
    quantiles = filled(values, law_of(0.0, 1.0, 2, 3), bins=512)
    estimate, low, high = quantiles.quantile(q)
    exact = np.quantile(values, q, axis=0, method="inverted_cdf")
    assert np.all((low <= exact) & (exact <= high))
    assert np.all((low <= estimate) & (estimate <= high))
    ends = np.concatenate([quantiles.smallest[..., None], quantiles.edges, quantiles.largest[..., None]], axis=2)
    bin_of = np.sum(quantiles.edges <= exact[..., None], axis=2, keepdims=True)
    left, right = np.take_along_axis(ends, bin_of, 2)[..., 0], np.take_along_axis(ends, bin_of + 1, 2)[..., 0]
    assert np.all((left <= estimate) & (estimate <= right))


def test_brackets_hold_the_order_statistics_and_end_at_the_next_edge():
    values = np.random.default_rng(3).standard_normal((1000, 1, 1))
    quantiles = filled(values, law_of(0.0, 1.0, 1, 1), bins=32)
    _, low, high = quantiles.quantile(0.3, level=0.9)
    ordered, edges = np.sort(values.ravel()), quantiles.edges.ravel()
    # The ranks by their definition: P(Bin(1000, 0.3) < l) ≤ 5% and P(Bin ≥ u) ≤ 5%.
    cdf = scipy.stats.binom.cdf(np.arange(1001), 1000, 0.3)
    first = max(rank for rank in range(1, 1001) if cdf[rank - 1] <= 0.05)
    last = min(rank for rank in range(1, 1001) if 1 - cdf[rank - 1] <= 0.05)
    assert low.item() == edges[edges <= ordered[first - 1]].max()
    assert high.item() == edges[edges > ordered[last - 1]].min()


@pytest.mark.parametrize("q", [0.05, 0.5, 0.9])
@pytest.mark.parametrize("bins", [16, 2048])
def test_brackets_cover_the_true_quantile_of_any_law(q, bins):
    # Exponential values in bins made for a Gaussian law that is off in mean, scale and shape.
    values = np.random.default_rng(4).exponential(size=(REPLICAS, TIMES, POINTS))
    quantiles = filled(values, law_of(0.5, 2.0), bins)
    truth = -np.log1p(-q)
    _, low, high = quantiles.quantile(q)
    missed = int(np.sum((truth < low) | (truth > high)))
    laws.assert_rate_at_most(missed, REPETITIONS, 0.05, detectable=0.09)
    # Planted: ranks for a lower level. Coarse bins hide it, for they widen every bracket; fine ones do not.
    _, low, high = quantiles.quantile(q, level=0.85)
    missed = int(np.sum((truth < low) | (truth > high)))
    if bins == 2048:
        with pytest.raises(AssertionError, match="trials, where a rate of"):
            laws.assert_rate_at_most(missed, REPETITIONS, 0.05, detectable=0.09)


def test_brackets_that_are_not_widened_to_edges_are_caught():
    values = np.random.default_rng(5).standard_normal((REPLICAS, TIMES, POINTS))
    quantiles = filled(values, law_of(0.0, 1.0), bins=32)
    edges, truth = quantiles.edges[0, 0], scipy.special.ndtri(0.3)
    _, low, high = quantiles.quantile(0.3)
    # Planted: the inner edges of the bins of both order statistics.
    low, high = edges[np.searchsorted(edges, low) + 1], edges[np.searchsorted(edges, high) - 1]
    missed = int(np.sum((low > truth) | (high < truth)))
    with pytest.raises(AssertionError, match="trials, where a rate of"):
        laws.assert_rate_at_most(missed, REPETITIONS, 0.05, detectable=0.09)


def test_too_few_replicas_for_a_bracket_leave_it_open():
    quantiles = filled(np.random.default_rng(6).standard_normal((20, 1, 1)), law_of(0.0, 1.0, 1, 1))
    assert quantiles.quantile(0.01).low == -np.inf
    assert quantiles.quantile(0.99).high == np.inf
    estimate, low, high = quantiles.quantile(0.5)
    assert np.isfinite([estimate, low, high]).all()
    # Where an order statistic bounds the quantile, its bracket ends no farther out than the values do.
    far = filled(5.0 + 0.01 * np.random.default_rng(6).standard_normal((200, 1, 1)), law_of(0.0, 1.0, 1, 1))
    _, low, high = far.quantile(0.5)
    assert (low, high) == (far.smallest, far.largest)
    assert far.rank_error == 1.0


def test_a_pilot_gives_bins_as_fine_as_its_law_does():
    pilot = 7.0 + 0.1 * np.random.default_rng(7).standard_normal((2000, 1, 2))
    quantiles = Quantiles.around(samples_of(pilot), bins=128)
    assert (quantiles.replicas, quantiles.width) == (0, 10)
    moments = Moments().add(samples_of(pilot))
    np.testing.assert_allclose(quantiles.edges[:, :, 63], moments.mean, rtol=1e-12)
    # 1/128 = 0.8% per bin; the fullest of 128 lies within 6 standard deviations of that.
    assert np.all(quantiles.add(samples_of(pilot)).rank_error < 1 / 128 + 6 * np.sqrt(1 / 128 / 2000))


def test_a_value_that_never_changes_is_known_exactly():
    constant = np.full((30, 1, 1), 0.3)
    quantiles = Quantiles.around(samples_of(constant)).add(samples_of(constant))
    assert [bound.item() for bound in quantiles.quantile(0.5)] == [0.3, 0.3, 0.3]


@pytest.mark.parametrize("bins", [16, 512])
@pytest.mark.parametrize("mean", [0.2, -0.2])
def test_distances_lie_between_their_bounds(mean, bins):
    values = np.random.default_rng(8).standard_normal((1000, 3, 4))
    law = law_of(mean, 1.3, 3, 4)
    quantiles = filled(values, law_of(-0.5, 0.8, 3, 4), bins)
    sample_low, sample_high, low, high = quantiles.distance(law)
    cdf = scipy.stats.norm(mean, np.sqrt(1.3)).cdf
    exact = np.array([[scipy.stats.kstest(values[:, t, p], cdf).statistic for p in range(4)] for t in range(3)])
    assert np.all((sample_low <= exact) & (exact <= sample_high))
    assert np.all((low < sample_low) & (sample_high < high))
    # Both bounds are tight: they close as the bins do, and with bins made for these values they close soon.
    assert np.all(sample_high - sample_low <= quantiles.rank_error + 1e-12)
    sample_low, sample_high, _, _ = filled(values, law, bins).distance(law)
    assert np.all(sample_high - sample_low <= 1 / bins + 1e-12)


def test_distance_of_the_law_is_covered_and_only_at_its_level():
    # The true distance of N(0.3, 1) to N(0, 1) is 2Φ(0.15) − 1.
    values = 0.3 + np.random.default_rng(9).standard_normal((REPLICAS, TIMES, POINTS))
    law, truth = law_of(0.0, 1.0), 2 * scipy.special.ndtr(0.15) - 1
    sample_low, sample_high, low, high = filled(values, law).distance(law)
    missed = int(np.sum((truth < low) | (truth > high)))
    laws.assert_rate_at_most(missed, REPETITIONS, 0.05, detectable=0.09)
    # The bounds of the samples' own distance are not those of the law.
    outside = int(np.sum((truth < sample_low) | (truth > sample_high)))
    with pytest.raises(AssertionError, match="trials, where a rate of"):
        laws.assert_rate_at_most(outside, REPETITIONS, 0.05, detectable=0.09)


def test_diverged_and_infinite_replicas_are_left_out_and_counted():
    values = np.random.default_rng(10).standard_normal((50, 2, 3))
    broken, diverged_at = values.copy(), np.full(50, -1)
    broken[3, 1, 2], diverged_at[7] = np.inf, 4
    law = law_of(0.0, 1.0, 2, 3)
    quantiles = Quantiles.around(law, 256).add(samples_of(broken, diverged_at=diverged_at))
    expected = filled(np.delete(values, [3, 7], axis=0), law)
    assert (quantiles.replicas, quantiles.diverged) == (48, 2)
    np.testing.assert_array_equal(quantiles.counts, expected.counts)
    np.testing.assert_array_equal(quantiles.largest, expected.largest)
    lost = Quantiles.around(law, 256).add(samples_of(broken[:2], diverged_at=np.array([4, 4])))
    assert (lost.replicas, lost.diverged) == (0, 2)
    np.testing.assert_array_equal(lost.merge(quantiles).counts, expected.counts)


def test_the_samples_are_left_as_they_were():
    values = np.random.default_rng(11).standard_normal((100, 1, 1))  # a layout in which no copy would be needed
    before = values.copy()
    filled(values, law_of(0.0, 1.0, 1, 1))
    np.testing.assert_array_equal(values, before)


def test_memory_does_not_grow_with_the_replicas():
    values = np.random.default_rng(12).standard_normal((256, 2, 3))
    law = law_of(0.0, 1.0, 2, 3)
    few, many = filled(values, law), filled(np.tile(values, (40, 1, 1)), law, cuts=tuple(range(256, 10_240, 256)))
    assert many.replicas == 10_240
    assert [leaf.nbytes for leaf in jax.tree.leaves(many)] == [leaf.nbytes for leaf in jax.tree.leaves(few)]


def test_a_batch_of_8192_replicas_takes_a_fraction_of_a_second():
    samples = samples_of(np.random.default_rng(13).standard_normal((8192, 9, 20), dtype=np.float32))
    quantiles, seconds = Quantiles.around(law_of(0.0, 1.0, 9, 20)), []
    for _ in range(4):
        start = time.perf_counter()
        quantiles = quantiles.add(samples)
        seconds.append(time.perf_counter() - start)
    assert min(seconds) < 0.3  # 0.06 s where nothing else runs


def test_refusals():
    values = np.random.default_rng(14).standard_normal((5, 2, 3))
    law = law_of(0.0, 1.0, 2, 3)
    quantiles = filled(values, law)
    with pytest.raises(ValueError, match="Argument `source` must be a GaussianPath or pilot Samples"):
        Quantiles.around(values)
    with pytest.raises(ValueError, match=r"`source` must have positive variance .* give pilot Samples instead"):
        Quantiles.around(law_of(0.0, 0.0, 2, 3))
    with pytest.raises(ValueError, match="Argument `moments` must hold at least 2"):
        Quantiles.around(samples_of(values[:1]))
    with pytest.raises(ValueError, match="Argument `bins` must be at least 2, but it is 1"):
        Quantiles.around(law, bins=1)
    with pytest.raises(ValueError, match="Argument `bins` must be at most 16777216"):
        Quantiles.around(law, bins=10**10)
    with pytest.raises(ValueError, match=r"Argument `samples` must have the save times"):
        quantiles.add(samples_of(values, ts=np.array([0.0, 2.0])))
    with pytest.raises(ValueError, match="`samples` must have 3 points like what it is added to, but it has 2"):
        quantiles.add(samples_of(values[:, :, :2]))
    with pytest.raises(ValueError, match="must have the width 10 of what it is added to, but its width is 20"):
        quantiles.add(dataclasses.replace(samples_of(values), width=20))
    with pytest.raises(ValueError, match="Argument `other` must have the same bins, but its edges differ"):
        quantiles.merge(Quantiles.around(law, 128))
    with pytest.raises(ValueError, match="Argument `q` must be smaller than 1"):
        quantiles.quantile(1.0)
    with pytest.raises(ValueError, match="`quantiles` must hold at least 1 finite replica, but they hold none"):
        Quantiles.around(law).quantile(0.5)
    with pytest.raises(ValueError, match="Argument `quantiles` must hold at least 1 finite replica"):
        Quantiles.around(law).distance(law)
    with pytest.raises(ValueError, match="Argument `law` must have 3 points"):
        quantiles.distance(law_of(0.0, 1.0, 2, 2))
    with pytest.raises(ValueError, match=r"`law` must have positive variance .* statistics.pathwise"):
        quantiles.distance(law_of(0.0, 0.0, 2, 3))
