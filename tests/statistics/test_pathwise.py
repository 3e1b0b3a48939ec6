"""Pathwise errors against plain NumPy, and their standard errors against a known χ² law."""

import numpy as np
import pytest

from jaxlimit.statistics import pathwise
from tests import laws


def test_rms_and_its_standard_error_are_the_plain_formulas():
    rng = np.random.default_rng(0)
    values, reference = rng.standard_normal((30, 4, 3)), rng.standard_normal((30, 4, 3))
    error = pathwise(values, reference)
    squares = np.array([[np.mean((values[r, t] - reference[r, t]) ** 2) for t in range(4)] for r in range(30)])
    np.testing.assert_allclose(error.distance, np.sqrt(squares.mean(0)), rtol=1e-12)
    expected = squares.std(0, ddof=1) / np.sqrt(30) / (2 * np.sqrt(squares.mean(0)))
    np.testing.assert_allclose(error.standard_error, expected, rtol=1e-12)
    assert error.replicas == 30
    whole = squares.mean(1)
    np.testing.assert_allclose(error.pooled.distance, np.sqrt(whole.mean()), rtol=1e-12)
    pooled = whole.std(ddof=1) / np.sqrt(30) / (2 * np.sqrt(whole.mean()))
    np.testing.assert_allclose(error.pooled.standard_error, pooled, rtol=1e-12)
    assert error.pooled.floor == 0.0


def test_one_reference_path_serves_all_replicas():
    rng = np.random.default_rng(1)
    values, reference = rng.standard_normal((5, 4, 3)), rng.standard_normal((4, 3))
    one, many = pathwise(values, reference), pathwise(values, np.broadcast_to(reference, (5, 4, 3)))
    np.testing.assert_array_equal(one.squares, many.squares)


def test_standard_error_of_independent_gaussian_differences_is_the_chi_square_one():
    # q_r = χ²_P/P has variance 2/P, so the standard error of the RMS is close to √(2/P)/(2√R).
    replicas, points, repetitions = 200, 8, 1000
    values = np.random.default_rng(2).standard_normal((replicas, repetitions, points))
    error = pathwise(values, np.zeros((repetitions, points)))
    stated = np.sqrt(2 / points) / (2 * np.sqrt(replicas))
    laws.assert_mean(error.standard_error, stated, detectable=0.02 * stated)
    # … and it is the spread that the RMS really has over repetitions (relative error 1/√(2·1000) = 2.2%, z = 4.9).
    assert abs(np.std(error.distance, ddof=1) / stated - 1) < 4.9 * 0.0224


def test_pooled_standard_error_knows_that_the_times_of_a_replica_are_correlated():
    # The same difference at every time: pooling times adds nothing, and must not pretend to.
    values = np.repeat(np.random.default_rng(3).standard_normal((300, 1, 4)), 50, axis=1)
    error = pathwise(values, np.zeros((50, 4)))
    np.testing.assert_allclose(error.pooled.standard_error, error.standard_error[0], rtol=1e-9)


def test_equal_paths_have_no_error():
    values = np.ones((3, 2, 2))
    error = pathwise(values, values)
    assert error.distance.tolist() == [0.0, 0.0]
    assert error.standard_error.tolist() == [0.0, 0.0]


def test_refusals():
    values = np.zeros((3, 2, 2))
    with pytest.raises(ValueError, match="Argument `reference` must have shape"):
        pathwise(values, np.zeros((3, 2, 1)))
    with pytest.raises(ValueError, match="Argument `reference` must be an array, but its rows have different lengths"):
        pathwise(values, [[0.0, 0.0], [0.0]])
    with pytest.raises(ValueError, match="Argument `reference` must have shape"):
        pathwise(values, np.zeros(2))
    with pytest.raises(ValueError, match="Argument `values` must be finite"):
        pathwise(np.where(np.arange(2) == 1, np.nan, values), values)
    with pytest.raises(ValueError, match="at least 2 replicas"):
        pathwise(values[:1], values[:1])
