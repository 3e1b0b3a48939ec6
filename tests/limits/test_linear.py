"""What all limits of the linear kernel do alike."""

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.limits import AbstractKernelLimit
from tests import systems
from tests.cases import ACTIVATIONS, LIMITS, each

LINEAR = {name: limit for name, limit in LIMITS.items() if issubclass(limit, AbstractKernelLimit)}


def made(limit, **settings):
    """The limit of a problem that it is made for."""
    fluctuates = limit is jl.FluctuationLimit
    problem = systems.problem(
        ACTIVATIONS["erf"], jl.Data(systems.FULL_X, systems.FULL_Y), gamma=0.75 if fluctuates else 0.5
    )
    if fluctuates:
        return limit(problem, neurons=16, key=jax.random.key(0))
    return limit(problem) if limit is jl.SpectralLimit else limit(problem, **settings)


@pytest.mark.parametrize("limit", each(LINEAR))
def test_an_empty_batch_of_starts_has_an_empty_batch_of_paths(limit):
    solved = made(limit)
    ts, at = [0.0, 1.0], systems.FULL_AT
    assert solved.path(np.zeros((0, 5)), ts).shape == (0, 2, 5)
    assert solved.path(np.zeros((3, 0, 5)), ts, at, np.zeros((3, 0, 2))).shape == (3, 0, 2, 7)
    if hasattr(solved, "solve"):
        found = solved.solve(np.zeros((0, 5)), ts)
        assert (found.values.shape, found.error.shape) == ((0, 2, 5), (0, 2))


@pytest.mark.parametrize("limit", each(LINEAR))
def test_another_rule_is_another_kernel_and_nothing_else(limit):
    solved = made(limit, tolerance=1e-4)
    rule = jl.kernels.Quadrature()
    other = solved.with_rule(rule)
    assert type(other) is limit
    assert other.kernel.rule == rule
    assert getattr(other, "tolerance", None) == getattr(solved, "tolerance", None)
    start = np.zeros(5)
    assert np.max(np.abs(other.path(start, [1.0]) - solved.path(start, [1.0]))) < 1e-3
