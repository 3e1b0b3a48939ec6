"""The steps of a block in its outputs: all at once, corrected until they agree, they are what they are one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.losses import AbstractLoss
from jaxlimit.simulation._product import FullProduct
from jaxlimit.simulation._recursion import Board, Walk, walked
from tests.cases import LOSSES, each, most_slow
from tests.oracle import assert_same

POINTS, SIZE = 5, 48
TOLERANCE = {np.float64: 1e-13, np.float32: 3e-6}


def given(batch, dtype=np.float64, rate=0.02, seed=0):
    """Outputs, labels ±1, κ K with the share of an error in its rows, the points of each step, and the shares."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((POINTS, 7))
    outputs, y = rng.standard_normal(POINTS), np.sign(rng.standard_normal(POINTS))
    weights = rng.dirichlet(np.ones(POINTS))
    share = weights if batch is None else 1.0 / batch
    kernel = rate * (share[:, None] if batch is None else share) * (root @ root.T)
    indices = None if batch is None else rng.integers(0, POINTS, (8 * SIZE, batch))
    return outputs.astype(dtype), y.astype(dtype), kernel.astype(dtype), indices, share


def ours(loss, problem, chunk):
    """A compiled function of the first step and of the one after the last."""
    outputs, y, kernel, indices, share = (jnp.asarray(a) if isinstance(a, np.ndarray) else a for a in problem)
    board = Board(loss, FullProduct(), outputs, y, kernel)
    share = share.astype(outputs.dtype) if isinstance(share, jax.Array) else share

    def block(b):
        return jax.lax.dynamic_slice_in_dim(indices.astype(jnp.int32), b * SIZE, SIZE)

    @jax.jit
    def walk(first, stop):
        return walked(board, Walk(first, stop, SIZE, None if indices is None else block, share), chunk)

    return lambda first, stop: walk(np.int32(first), np.int32(stop))


def theirs(derivative, problem, first, stop):
    """One step after the other in NumPy."""
    outputs, y, kernel, indices, share = problem
    total, moved, lost = np.zeros(POINTS), np.zeros(POINTS), -1
    with np.errstate(over="ignore", invalid="ignore"):
        for k in range(first, stop):
            i = np.arange(POINTS) if indices is None else indices[k]
            e = -derivative(outputs[i] + moved[i], y[i])
            lost = k if lost < 0 and not np.all(np.isfinite(e)) else lost
            np.add.at(total, i, share * e)
            moved = moved + e @ kernel[i]
    return total, moved, lost


@pytest.mark.parametrize(
    "chunk", [None, pytest.param(1, marks=pytest.mark.slow), pytest.param(16, marks=pytest.mark.slow), 32]
)
@pytest.mark.parametrize("batch", [1, 3, None])
def test_steps_together_are_steps_in_turn(batch, chunk):
    """Blocks that begin and end within streams of indices and within chunks; 32 does not divide a stream of 48."""
    case, problem = LOSSES["squared error"], given(batch)
    walk = ours(case.loss, problem, chunk)
    for first, stop in ((0, 1), (5, 43), (40, 200), (96, 96)):
        found, wanted = walk(first, stop), theirs(case.derivative, problem, first, stop)
        assert_same(np.asarray(found.total), wanted[0], TOLERANCE[np.float64])
        assert_same(np.asarray(found.moved), wanted[1], TOLERANCE[np.float64])
        assert int(found.lost) == -1
    assert np.max(np.abs(theirs(case.derivative, problem, 40, 200)[1])) > 0.1


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("loss", most_slow(each(LOSSES)))
def test_every_loss_is_corrected_to_rounding(loss, dtype):
    """q = 32 steps · 0.02 · 7: a strong coupling, which takes some ten corrections."""
    problem = given(2, dtype)
    found, wanted = ours(loss.loss, problem, 32)(3, 150), theirs(loss.derivative, given(2), 3, 150)
    scale = max(1.0, float(np.max(np.abs(wanted[0]))))
    assert np.max(np.abs(np.asarray(found.total) - wanted[0])) <= TOLERANCE[dtype] * 10 * scale
    assert np.max(np.abs(np.asarray(found.moved) - wanted[1])) <= TOLERANCE[dtype] * 10 * scale


@pytest.mark.parametrize("batch", [1, None])
def test_a_chain_that_explodes_is_lost_at_the_same_step(batch):
    """A step that multiplies its own error by −20: no correction converges before it has become exact."""
    problem = given(batch, rate=8.0)
    case = LOSSES["squared error"]
    wanted = theirs(case.derivative, problem, 0, 8 * SIZE)
    assert 100 < wanted[2] < 8 * SIZE - 1
    assert int(ours(case.loss, problem, None)(0, 8 * SIZE).lost) == wanted[2]
    walk = ours(case.loss, problem, 16)
    assert int(walk(0, 8 * SIZE).lost) == wanted[2]
    short = theirs(case.derivative, problem, 0, 30)
    found = walk(0, 30)
    assert np.max(np.abs(short[0])) > 1e6
    assert_same(np.asarray(found.total) / short[0], np.ones(POINTS), 1e-9)


class Counted(AbstractLoss):
    """The squared error, which counts how often it is asked."""

    asked = 0

    def value(self, prediction, y):
        return 0.5 * (prediction - y) ** 2

    def derivative(self, prediction, y):
        jax.debug.callback(Counted.count)
        return prediction - y

    @staticmethod
    def count():
        Counted.asked += 1


@pytest.mark.parametrize(("rate", "most"), [(1e-4, 5), (0.005, 12)])
def test_a_few_corrections_do(rate, most):
    """k of them leave q^k / k!, q = 32 · 7 · rate = 0.02 and 1; then there is one that changes nothing."""
    problem = given(1, np.float32, rate)
    Counted.asked = 0
    jax.block_until_ready(ours(Counted(), problem, 32)(0, 32))
    jax.effects_barrier()
    assert 2 < Counted.asked <= most + 2


def test_replicas_of_a_lane_do_not_see_each_other():
    """One that explodes beside others: theirs are the bits that they have beside a tame one."""
    outputs, y, kernel, indices, share = given(1)
    block = lambda b: jax.lax.dynamic_slice_in_dim(jnp.asarray(indices, jnp.int32), b * SIZE, SIZE)  # noqa: E731

    def one(factor):
        board = Board(jl.SquaredError(), FullProduct(), jnp.asarray(outputs), jnp.asarray(y), factor * kernel)
        return walked(board, Walk(jnp.int32(0), jnp.int32(90), SIZE, block, share), 32)

    lane = jax.jit(jax.vmap(one))
    wild, tame = lane(jnp.asarray([1.0, 1e6, 0.5])), lane(jnp.asarray([1.0, 0.1, 0.5]))
    for a, b in zip(wild, tame, strict=True):
        assert np.array_equal(np.asarray(a)[[0, 2]], np.asarray(b)[[0, 2]])
    assert wild.lost.tolist()[0] == -1
    assert wild.lost.tolist()[1] >= 0
