"""Blocks that save times cut short: what rounding takes is kept, and the first save knows its error."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from tests import systems
from tests.cases import ACTIVATIONS
from tests.systems import LANES

NATIVE = [pytest.param(False, id="XLA", marks=pytest.mark.slow), pytest.param(True, id="native")]


def errors(method, gamma, alpha, width, ts, dtype):
    """Worst point at each time [replicas, times], and what is stated of it."""
    data = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
    problem = systems.problem(ACTIVATIONS["tanh"], data, gamma=gamma, alpha=alpha)
    settings = {"width": width, "ts": ts, "replicas": 2}
    chain = systems.run(problem, method=jl.Stepwise(lanes=LANES, native=True), **settings)
    samples = systems.run(problem, method=method, dtype=dtype, **settings)
    return np.max(np.abs(samples.values - chain.values), axis=2), samples.error


@pytest.mark.slow
@pytest.mark.parametrize("native", NATIVE)
def test_many_short_blocks_lose_nothing_to_rounding(native):
    """256 blocks whose moves of w are about a rounding unit of it: without what is kept they lose 5e-5."""
    method = jl.SStep(4096, lanes=LANES, native=native)
    error, stated = errors(method, 0.5, 1.0, 4096, np.linspace(1 / 256, 1, 256), jnp.float32)
    assert np.max(error) < 2e-6
    assert np.all(error <= stated)


@pytest.mark.parametrize("order", [1, 2])
@pytest.mark.parametrize("native", NATIVE)
def test_the_error_is_known_at_the_first_save(native, order):
    """However long the block: a run of one block would have nothing to measure its error by."""
    method = jl.SStep(10**6, order, lanes=LANES, native=native)
    error, stated = errors(method, 1.0, 5.0, 1024, (1.0,), jnp.float64)
    assert np.max(error) > 1e-4
    assert np.all(error <= 2 * stated)


@pytest.mark.parametrize("tolerance", [1e-40, 1e39])
def test_tolerances_beyond_arithmetic_are_refused(tolerance):
    with pytest.raises(ValueError, match="Argument `tolerance` must lie between"):
        jl.SStep(tolerance=tolerance)
