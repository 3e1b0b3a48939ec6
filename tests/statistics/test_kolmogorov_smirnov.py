"""Kolmogorov–Smirnov against SciPy, and its binomial half-width against exact tails."""

import math

import numpy as np
import pytest
import scipy.stats

from jaxlimit.statistics import KolmogorovSmirnov
from jaxlimit.statistics._kolmogorov_smirnov import _deviation


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_distance_and_p_value_equal_scipy(dtype):
    rng = np.random.default_rng(0)
    values = (0.3 + 1.7 * rng.standard_normal((257, 4))).astype(dtype)
    values[:40] = values[40:80]  # ties
    mean, deviation = np.array([0.3, 0.0, 0.5, 1.0]), np.array([1.7, 1.0, 2.0, 1.5])
    reading = KolmogorovSmirnov().read(values, mean, np.diag(deviation**2), 0.01, 4)
    expected = [
        scipy.stats.kstest(values[:, p].astype(np.float64), "norm", args=(mean[p], deviation[p]), method="exact")
        for p in range(4)
    ]
    np.testing.assert_allclose(reading.distances, [e.statistic for e in expected], rtol=1e-12)
    np.testing.assert_allclose(reading.p_value, min(1.0, 4 * min(e.pvalue for e in expected)), rtol=1e-9)
    assert reading.distance == reading.distances.max()


@pytest.mark.parametrize("n", [1, 2, 7, 50, 500, 4096])
@pytest.mark.parametrize("level", [0.2, 0.05, 0.01, 1e-4])
def test_half_width_is_valid_for_every_p_and_tight(n, level):
    h = _deviation(n, level)

    def worst(width):
        # P(B ≤ n(p − width)) is largest at p = k/n + width for an integer k; every k, by SciPy's binomial law.
        k = np.arange(n + 1)
        p = k / n + width
        inside = p <= 1.0
        return np.max(scipy.stats.binom.cdf(k[inside], n, p[inside]), initial=0.0)

    hoeffding = math.sqrt(math.log(1 / level) / (2 * n))
    assert h <= hoeffding
    assert worst(h) <= level * (1 + 1e-9) or h == hoeffding
    if n >= 50:
        assert worst(0.95 * h) > level  # sandwich: five per cent less is not valid


def test_half_width_of_many_replicas_approaches_the_normal_one():
    normal = 0.5 * scipy.stats.norm.isf(0.01) / math.sqrt(100_000)
    assert normal < _deviation(100_000, 0.01) < 1.04 * normal


def test_detectable_shrinks_like_one_over_root_n_and_grows_with_the_number_of_tests():
    size = [KolmogorovSmirnov().detectable(n, 100, 0.01, 0.95) for n in (2000, 8000)]
    assert 1.9 < size[0] / size[1] < 2.1
    assert KolmogorovSmirnov().detectable(2000, 1, 0.01, 0.95) < size[0]
