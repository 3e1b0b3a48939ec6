"""Every path of an accelerator is the chain of a NumPy loop on the same draws, step by step and in blocks."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from tests.gpu.sizes import (
    BOTH,
    BOTH_SLOW,
    KEY,
    METHODS,
    TANH,
    TOLERANCE,
    TS,
    Size,
    assert_close,
    elsewhere,
    problem,
    run,
    sizes,
)
from tests.oracle import assert_same, largest_difference, replay

BY_STEPS = {"stepwise": METHODS["stepwise"], "blocks of one step": lambda size: jl.SStep(1, lanes=size.lanes)}


def assert_follows(samples, question, size, dtype, batch=1):
    """Outputs at the data and at other points, c and w: of the first replica, of another lane's first, and the last."""
    assert samples.values.dtype == dtype
    for replica in sorted({0, size.lanes, samples.replicas - 1}):
        path = replay(question, TANH, size.width, KEY, replica, samples.ts, elsewhere(size), batch=batch)
        assert_close(samples.values[replica], path.values, samples.steps, "outputs", dtype)
        assert_close(samples.observed["c"][replica], path.c, samples.steps, "parameters", dtype)
        assert_close(samples.observed["w"][replica], path.w, samples.steps, "parameters", dtype)
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 0.01


CASES = [(name, jnp.float32) for name in BY_STEPS] + [pytest.param("stepwise", jnp.float64, marks=pytest.mark.slow)]


@pytest.mark.parametrize("size", BOTH)
@pytest.mark.parametrize(("method", "dtype"), CASES)
def test_paths_are_those_of_the_oracle(method, dtype, size):
    question = problem(size)
    samples = run(question, size, BY_STEPS[method](size), dtype=dtype)
    assert_follows(samples, question, size, dtype)


@pytest.mark.parametrize("size", BOTH_SLOW)
@pytest.mark.parametrize("batch", [3, None])
def test_steps_on_several_samples_and_on_all_points_are_those_of_the_oracle(batch, size):
    question = problem(size)
    samples = run(question, size, METHODS["stepwise"](size), batch=batch)
    assert_follows(samples, question, size, jnp.float32, batch)


@pytest.mark.parametrize("size", BOTH_SLOW)
@pytest.mark.parametrize("order", [1, 2])
def test_blocks_of_several_steps_follow_the_oracle_within_their_own_error(order, size):
    size = size._replace(width=max(64, size.width), block=max(8, size.block // 4))
    question, method = problem(size), jl.SStep(size.block, order, lanes=size.lanes)
    samples = run(question, size, method, dtype=jnp.float64, replicas=1, observe=None)
    path = replay(question, TANH, size.width, KEY, 0, TS)
    difference = np.max(np.abs(samples.values[0, :, : size.points] - path.values), axis=1)
    assert np.all(difference <= 4 * samples.error[0] + 1e-12)
    assert np.max(difference) > 1e-12  # blocks were taken


WIDE, NARROW = Size(20, 64, 4096, 16, 1, 0), Size(4, 6, 256, 2, 1, 0)


@pytest.mark.parametrize(("size", "tolerance"), sizes((NARROW, 1e-2), (WIDE, 1e-4), pytest.mark.slow))
def test_a_tolerance_is_kept_in_float32(size, tolerance):
    """What users of wide networks run."""
    question, ts = problem(size), (0.0, 0.25, 0.5)
    samples = run(question, size, jl.SStep(tolerance=tolerance, lanes=size.lanes), ts=ts, observe=None)
    path = replay(question, TANH, size.width, KEY, 0, ts, elsewhere(size))
    assert np.max(samples.error) <= tolerance
    assert_same(samples.values[0], path.values, tolerance + TOLERANCE[jnp.float32])
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 0.01
