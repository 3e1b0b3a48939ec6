"""An independent simulation: the SGD chain as a plain loop in float64 NumPy, fed the draws of a replica.

The formulae of the chain are data (`Formulae`), so that a planted bug is one replaced formula and the
tests can show that they would have caught it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

import jaxlimit as jl


@dataclass(frozen=True)
class Formulae:
    """c ← c + η e σ(w·x), w ← w + η e c σ'(w·x) x with e = y − g(x), η = α N^{γ−2}, at k = ⌊Nt⌋."""

    output: Callable = lambda width, gamma: width**-gamma
    increment: Callable = lambda alpha, width, gamma: alpha * width ** (gamma - 2)
    factor_of_w: Callable = lambda old, new: old
    steps: Callable = lambda t, width: math.floor(Fraction(str(t)) * width)
    sample: Callable = lambda k: k


CHAIN = Formulae()


class Path(NamedTuple):
    """Outputs [times, points + extra] and parameters c [times, neurons], w [times, neurons, inputs]."""

    values: np.ndarray
    c: np.ndarray
    w: np.ndarray


def replay(problem, case, width, key, replica, ts, at=None, formulae=CHAIN, derivative=lambda g, y: g - y, batch=1):
    """What `simulate` must return for this replica; `case` brings σ and σ' in NumPy."""
    stops = [formulae.steps(float(t), width) for t in ts]
    c, w, indices = drawn(problem, width, key, replica, max(stops) + 2, batch)
    return chain(problem, case, c, w, indices, stops, at, formulae, derivative)


def drawn(problem, width, key, replica, steps, batch=1):
    """`draws` with another activation and loss, on which they do not depend: fewer programs to compile."""
    network = jl.networks.Shallow(jl.activations.Erf(), problem.network.initial)
    return jl.simulation.draws(jl.Problem(problem.data, network), width, key, replica, steps, batch)


def chain(problem, case, c, w, indices, stops, at=None, formulae=CHAIN, derivative=lambda g, y: g - y):
    """The loop itself, from the neurons c [neurons], w [neurons, inputs] and the data indices of the steps.

    Indices are [steps], or [steps, batch]: a step then follows the mean gradient of its samples. Where there are
    none, [steps, 0], it follows the mean over all points with their weights.
    """
    c, w = np.asarray(c, np.float64), np.asarray(w, np.float64)
    x, y = problem.data.x, problem.data.y
    seen = x if at is None else np.concatenate([x, np.asarray(at, np.float64)])
    width, gamma = c.size, problem.scaling.gamma
    output = formulae.output(width, gamma)
    increment = formulae.increment(problem.learning_rate, width, gamma)
    saved, k = [], 0
    for stop in stops:
        while k < stop:
            new, moved = c, w
            samples = np.atleast_1d(indices[formulae.sample(k)])
            shares = np.full(samples.size, 1 / max(samples.size, 1))
            if samples.size == 0:
                samples, shares = np.arange(y.size), problem.data.weights
            for i, share in zip(samples, shares, strict=True):
                u = w @ x[i]
                e = -share * derivative(output * np.dot(c, case.sigma(u)), y[i])
                after = c + increment * e * case.sigma(u)
                moved = moved + increment * e * np.outer(formulae.factor_of_w(c, after) * case.slope(u), x[i])
                new = new + increment * e * case.sigma(u)
            c, w, k = new if problem.network.train_output else c, moved, k + 1
        saved.append((output * case.sigma(seen @ w.T) @ c, c, w))
    return Path(*(np.array(part) for part in zip(*saved, strict=True)))


def largest_difference(values, expected):
    """max |values − expected| relative to max(1, |expected|); infinite where something is not finite."""
    difference = np.abs(np.asarray(values, np.float64) - expected) / np.maximum(1.0, np.abs(expected))
    return float(np.max(np.where(np.isfinite(difference), difference, np.inf), initial=0.0))


def assert_same(values, expected, tolerance):
    """The comparison of every test against an oracle; `test_planted_bugs.py` shows what it catches."""
    values, expected = np.asarray(values), np.asarray(expected)
    assert values.shape == expected.shape
    difference = largest_difference(values, expected)
    assert difference <= tolerance, f"differs by {difference:.2e}, allowed are {tolerance:.0e}"
