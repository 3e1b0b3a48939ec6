"""What the suite would catch: each bug is planted in the oracle, and the comparison of the tests must fail for it.

A comparison that passes with a wrong formula proves nothing. Every bug here differs by at least a million
times the tolerance of the tests that compare with the right formula, so none hides near the threshold.
"""

import math
from dataclasses import replace
from fractions import Fraction

import jax
import numpy as np
import pytest

import jaxlimit as jl
from tests import systems
from tests.cases import ACTIVATIONS
from tests.oracle import CHAIN, assert_same, chain, drawn, largest_difference, replay
from tests.systems import TS, WIDTH, dependence, exponential_law, parameters, run, textbook_kernels

TOLERANCE = 1e-12
MARGIN = 1e6

CASE = ACTIVATIONS["erf"]
PROBLEM = systems.problem(CASE, jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5)))

BUGS = {
    "1/√N missing in the output": replace(CHAIN, output=lambda width, gamma: 1.0),
    "1/√N missing in the gradient": replace(CHAIN, increment=lambda alpha, width, gamma: alpha * width**-1.0),
    "1/N missing in the learning rate": replace(CHAIN, increment=lambda alpha, width, gamma: alpha * width**-gamma),
    "α twice": replace(CHAIN, increment=lambda alpha, width, gamma: alpha**2 * width ** (gamma - 2)),
    "the new c on the right-hand side": replace(CHAIN, factor_of_w=lambda old, new: new),
    "one step too many": replace(CHAIN, steps=lambda t, width: math.floor(Fraction(str(t)) * width) + 1),
    "one step too few": replace(CHAIN, steps=lambda t, width: max(0, math.floor(Fraction(str(t)) * width) - 1)),
    "indices shifted": replace(CHAIN, sample=lambda k: k + 1),
    "the first index for ever": replace(CHAIN, sample=lambda k: 0),
    "the factor 2 of the square kept": replace(
        CHAIN, increment=lambda alpha, width, gamma: 2 * alpha * width ** (gamma - 2)
    ),
}


@pytest.fixture(scope="module")
def problem():
    # α ≠ 1, so that α twice is not α once.
    return systems.problem(CASE, PROBLEM.data, alpha=0.8)


@pytest.fixture(scope="module")
def samples(problem):
    return run(problem, at=systems.FULL_AT, observe=parameters, replicas=2)


def test_without_a_bug_the_comparison_passes(problem, samples):
    path = replay(problem, CASE, WIDTH, jax.random.key(0), 1, TS, systems.FULL_AT)
    assert_same(samples.values[1], path.values, TOLERANCE)
    assert_same(samples.observed["w"][1], path.w, TOLERANCE)


@pytest.mark.parametrize("bug", BUGS)
def test_a_wrong_formula_in_the_chain_is_caught(problem, samples, bug):
    path = replay(problem, CASE, WIDTH, jax.random.key(0), 1, TS, systems.FULL_AT, BUGS[bug])
    with pytest.raises(AssertionError, match="differs by"):
        assert_same(samples.values[1], path.values, TOLERANCE)
    assert largest_difference(samples.values[1], path.values) > MARGIN * TOLERANCE
    # On the outputs after learning alone, since some bugs show at t = 0 already.
    assert largest_difference(samples.values[1, 1:], path.values[1:]) > MARGIN * TOLERANCE


def test_the_wrong_derivative_is_caught(problem, samples):
    wrong = replace(CASE, slope=lambda u: np.exp(-(u**2)))
    path = replay(problem, wrong, WIDTH, jax.random.key(0), 1, TS, systems.FULL_AT)
    assert largest_difference(samples.values[1], path.values) > MARGIN * TOLERANCE


def test_another_replica_is_caught(problem, samples):
    path = replay(problem, CASE, WIDTH, jax.random.key(0), 0, TS, systems.FULL_AT)
    assert largest_difference(samples.values[1], path.values) > MARGIN * TOLERANCE


def test_uniform_samples_in_place_of_weighted_ones_are_caught(problem, samples):
    uniform = systems.problem(CASE, jl.Data(systems.FULL_X, systems.FULL_Y), alpha=0.8)
    path = replay(uniform, CASE, WIDTH, jax.random.key(0), 1, TS, systems.FULL_AT)
    assert largest_difference(samples.values[1, 1:], path.values[1:]) > MARGIN * TOLERANCE


def test_one_key_for_both_layers_is_caught(problem, samples):
    """By the comparison of paths, and by the test of independence, which needs no oracle."""
    _, w, indices = drawn(problem, WIDTH, jax.random.key(0), 1, 60)
    initial = jl.Initial(c=jl.initial.Uniform(), w=jl.initial.Uniform())
    key = jax.random.key(9)
    c = initial.c.sample(key, (WIDTH,))
    stops = [math.floor(Fraction(str(t)) * WIDTH) for t in TS]
    path = chain(problem, CASE, c, w, indices, stops, systems.FULL_AT)
    assert largest_difference(samples.values[1], path.values) > MARGIN * TOLERANCE
    bound = 5.2 / np.sqrt(4000)  # as in test_draws.py
    assert dependence(initial.c.sample(key, (4000,)), initial.w.sample(key, (4000, 3))) > 10 * bound


def law_of(problem, t, weights=None, variance=1 / 3, kernel_variance=1 / 3):
    """The law by a matrix exponential of textbook kernels; wrong arguments are the planted bugs."""
    x = problem.data.x
    weights = problem.data.weights if weights is None else weights
    kernel, _ = textbook_kernels("erf", x, x, kernel_variance)
    _, start = textbook_kernels("erf", x, x, variance)
    return exponential_law(kernel, start, problem.data.y, weights, problem.learning_rate, t)


LAW_BUGS = {
    "A without π": {"weights": np.ones(5)},
    "A with uniform π": {"weights": np.full(5, 0.2)},
    "Σ with E c² = 1": {"variance": 1.0},
    "Σ with the width of c's interval": {"variance": 2 / 3},
    "B with E c² = 1": {"kernel_variance": 1.0},
}


@pytest.mark.parametrize("bug", LAW_BUGS)
def test_a_wrong_law_is_caught(problem, bug):
    limit = jl.SpectralLimit(problem).law([2.0])
    right, wrong = law_of(problem, 2.0), law_of(problem, 2.0, **LAW_BUGS[bug])
    assert_same(limit.mean[0], right.mean, TOLERANCE)
    assert_same(limit.covariance[0], right.covariance, TOLERANCE)
    differences = [
        largest_difference(limit.mean[0], wrong.mean),
        largest_difference(limit.covariance[0], wrong.covariance),
    ]
    assert max(differences) > MARGIN * TOLERANCE
