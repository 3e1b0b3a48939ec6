"""Bootstrap intervals of rates: coverage measured beside that of the weighted fit, and refusals."""

import math

import jax
import numpy as np
import pytest

from jaxlimit.statistics import ErrorAtWidth, bootstrap_rate, pathwise, rate
from tests import laws

WIDTHS = [64, 128, 256, 512, 1024]


@pytest.mark.slow
def test_the_interval_covers_at_its_level_and_is_narrower_than_that_of_the_weighted_fit():
    # Squared errors of one normal variable: kurtosis 15.
    rng, trials, replicas = np.random.default_rng(0), 1000, 96
    covered = fitted = width = other = 0
    for _ in range(trials):
        squares = [rng.chisquare(1, replicas) / n for n in WIDTHS]
        found = bootstrap_rate(WIDTHS, squares, resamples=399)
        covered += found.low <= -0.5 <= found.high
        width += found.high - found.low
        means = [float(np.mean(s)) for s in squares]
        errors = [
            ErrorAtWidth(math.sqrt(m), float(np.std(s, ddof=1)) / (2 * math.sqrt(replicas * m)))
            for s, m in zip(squares, means, strict=True)
        ]
        line = rate(WIDTHS, errors)
        fitted += line.low <= -0.5 <= line.high
        other += line.high - line.low
    # 93 to 97% but for the noise of 1000 trials.
    laws.assert_rate_at_least(covered, trials, 0.93, detectable=0.86)
    laws.assert_rate_at_most(covered, trials, 0.97, detectable=0.998)
    laws.assert_rate_at_least(fitted, trials, 0.93, detectable=0.86)
    assert width < 0.85 * other


def test_exact_power_laws_keys_and_scale():
    rng = np.random.default_rng(1)
    shape = rng.chisquare(5, 64)
    squares = [9.0 * shape / np.mean(shape) * n**-1.5 for n in WIDTHS]
    found = bootstrap_rate(WIDTHS, squares)
    np.testing.assert_allclose([found.exponent, found.coefficient], [-0.75, 3.0], rtol=1e-10)
    assert found.low < -0.75 < found.high
    assert found == bootstrap_rate(WIDTHS, squares, key=jax.random.key(0))
    other = bootstrap_rate(WIDTHS, squares, key=jax.random.key(1))
    assert other.low != found.low
    assert abs(other.low - found.low) < 0.2 * (found.high - found.low)


def test_it_takes_the_path_errors_that_rate_takes():
    rng = np.random.default_rng(3)
    found = [pathwise(rng.standard_normal((32, 4, 3)) / math.sqrt(n), np.zeros((4, 3))) for n in WIDTHS]
    line = bootstrap_rate(WIDTHS, found)
    assert line == bootstrap_rate(WIDTHS, [error.squares.mean(axis=1) for error in found])
    assert line.low < -0.5 < line.high
    np.testing.assert_allclose(line.exponent, rate(WIDTHS, found).exponent, atol=0.05)
    with pytest.raises(ValueError, match="Argument `errors` must hold PathError objects or arrays"):
        bootstrap_rate(WIDTHS, [error.at_width for error in found])


def test_below_the_floor_and_nonsense_are_refused():
    squares = [np.random.default_rng(2).chisquare(5, 32) / n for n in WIDTHS]
    few = bootstrap_rate(WIDTHS, squares, floors=np.full(5, 0.09))
    assert math.isnan(few.exponent)
    assert "refused: " in few.reason
    assert "use more replicas" in few.reason
    assert "give at least 3 widths" in bootstrap_rate(WIDTHS[:2], squares[:2]).reason
    with pytest.raises(ValueError, match=r"Argument `errors\[0\]` must not be negative"):
        bootstrap_rate(WIDTHS, [-s for s in squares])
    for nonsense in (np.ones(8), np.append(np.full(8, 1e308), 0.0)):
        with pytest.raises(ValueError, match=r"Argument `errors\[0\]` must vary between replicas"):
            bootstrap_rate(WIDTHS, [nonsense, *squares[1:]])
    with pytest.raises(ValueError, match=r"Argument `errors\[0\]` must hold at least 8 replicas"):
        bootstrap_rate(WIDTHS, [s[:7] for s in squares])
    with pytest.raises(ValueError, match="Argument `errors` must hold one entry per width"):
        bootstrap_rate(WIDTHS, squares[:3])
    with pytest.raises(ValueError, match="Argument `floors`"):
        bootstrap_rate(WIDTHS, squares, floors=[0.1])
    with pytest.raises(ValueError, match="Argument `resamples` must be at least 199"):
        bootstrap_rate(WIDTHS, squares, resamples=20)
