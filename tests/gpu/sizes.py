"""Two sizes of every test, the problem that most of them ask, and how it is run.

Programs are shared: on an accelerator their compilation is most of the time that these tests take. The laws of the
start are therefore arrays, which a symmetry changes without another program, and most runs have the same shapes.
"""

from types import SimpleNamespace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from tests.oracle import assert_same
from tests.transformed import Transformed

TANH = SimpleNamespace(sigma=np.tanh, slope=lambda u: 1 / np.cosh(u) ** 2)
"""σ and σ' for the oracle."""

TOLERANCE = {jnp.float64: 1e-11, jnp.float32: 2e-5}
"""Of what is computed once, and of short runs: TF32 products, 1e-3 of their size off, would fail the second."""

LOST = {"parameters": 1.0, "outputs": 0.25}
"""Rounding units that a step may add: half a one of each parameter may be lost at every step, always on the same side
where moves are smaller, and of that outputs are averages."""

KEY = jax.random.key(0)
TS = (0.0, 0.4, 1.5)


class Size(NamedTuple):
    """Points and inputs of the data, width, replicas of a lane and of a run, steps of a block."""

    points: int
    inputs: int
    width: int
    lanes: int
    replicas: int
    block: int


TINY, REAL = Size(4, 6, 16, 2, 3, 6), Size(20, 64, 1024, 64, 130, 64)
"""The rank of the data is the number of points; the last lane is mostly padding."""


def sizes(tiny, real, marks=()):
    """One for any platform, one for accelerators alone; marks are those of the tiny one. A tuple is several values."""
    tiny, real = (given if type(given) is tuple else (given,) for given in (tiny, real))
    return [pytest.param(*tiny, id="tiny", marks=marks), pytest.param(*real, id="accelerator", marks=pytest.mark.gpu)]


def named(names, quick):
    """Each name in both sizes; tiny ones that are not quick go with the slow tests."""
    marks = {name: () if name in quick else pytest.mark.slow for name in names}
    each = [(name, one) for name in names for one in sizes((name, TINY), (name, REAL), marks[name])]
    return [pytest.param(*one.values, id=f"{name}-{one.id}", marks=one.marks) for name, one in each]


BOTH, BOTH_SLOW = sizes(TINY, REAL), sizes(TINY, REAL, pytest.mark.slow)


def initial(size, sign_c=1, sign_w=1, order=None, turn=None):
    """The default law after a symmetry."""
    order = np.arange(size.width) if order is None else order
    turn = np.eye(size.inputs) if turn is None else turn
    rest = order.astype(np.int32), turn.astype(np.float32)
    c, w = (np.float32(sign) for sign in (sign_c, sign_w))
    return jl.Initial(Transformed(jl.initial.Uniform(), c, *rest), Transformed(jl.initial.Normal(), w, *rest))


def data(size, sign=1.0, turn=None):
    """Points of a sphere with uneven weights; with `sign` the labels change, with `turn` the points are rotated."""
    made = jl.data.sphere(size.points, size.inputs)
    x = made.x if turn is None else made.x @ turn.T
    return jl.Data(x, sign * made.y, np.arange(1.0, size.points + 1))


def elsewhere(size):
    """Two more points: one in the span of the data, one outside of it."""
    x = data(size).x
    return np.stack([0.5 * x[0] - 0.25 * x[1], np.linspace(-0.5, 0.5, size.inputs)])


def problem(size, law=None, points=None, activation=None, **settings):
    """The default problem of this size."""
    law, points = initial(size) if law is None else law, data(size) if points is None else points
    network = jl.networks.Shallow(jl.activations.Tanh() if activation is None else activation, law)
    return jl.Problem(points, network, **settings)


METHODS = {
    "stepwise": lambda size: jl.Stepwise(lanes=size.lanes),
    "blocks": lambda size: jl.SStep(size.block, lanes=size.lanes),
}


def parameters(now, start):
    """One observable for all runs: another one would be another program."""
    return {"c": now.c, "w": now.w}


def run(question, size, method, **settings):
    """`simulate` on the first device of the default platform, with all that is to be seen."""
    given = {"ts": TS, "replicas": size.replicas, "key": KEY, "at": elsewhere(size), "observe": parameters}
    return jl.simulate(question, size.width, **{"method": method, "devices": jax.devices()[:1], **given, **settings})


def assert_close(found, expected, steps, what, dtype=jnp.float32):
    """What a replica recorded [times, …], to the tolerance and what so many steps lose: nothing at the start."""
    unit = float(jnp.finfo(dtype).eps)
    for here, there, k in zip(found, expected, steps, strict=True):
        assert_same(here, there, TOLERANCE[dtype] + LOST[what] * unit * int(k))


def same_bits(first, second, replicas):
    """Whether two runs agree bit by bit in their first replicas, in outputs and in observables."""
    ones, others = (jax.tree.leaves((samples.values, samples.observed)) for samples in (first, second))
    return all(np.array_equal(a[:replicas], b[:replicas]) for a, b in zip(ones, others, strict=True))
