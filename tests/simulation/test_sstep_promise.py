"""What blocks are for: float32 blocks are closer to the chain than the float32 chain, and tolerances hold."""

import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from tests import systems
from tests.cases import ACTIVATIONS


@pytest.mark.slow
@pytest.mark.parametrize("width", [4096, 16384])
@pytest.mark.parametrize("name", ["tanh", "erf"])
def test_float32_blocks_are_closer_to_the_chain_than_the_float32_chain(name, width):
    """d = 10, M = 20, α = 5, T = 2, γ = 1/2, blocks of N/4: the worst point of each of two replicas."""
    problem = systems.problem(ACTIVATIONS[name], jl.data.sphere(points=20, inputs=10), alpha=5.0)
    settings = {"width": width, "ts": (2.0,), "replicas": 2}
    exact = systems.run(problem, method=jl.Stepwise(native=True), **settings).values
    chain = systems.run(problem, method=jl.Stepwise(native=True), dtype=jnp.float32, **settings).values
    for native in (True, False):
        method = jl.SStep(width // 4, native=native)
        blocks = systems.run(problem, method=method, dtype=jnp.float32, **settings)
        error, other = (np.max(np.abs(values - exact), axis=2) for values in (blocks.values, chain))
        assert np.all(error <= other)
        assert np.all(error <= blocks.error)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("relu", jl.data.sphere(points=20, inputs=10)),
        ("erf", jl.data.digits(points=20)),
        ("tanh", jl.Data(*(lambda d: (d.x, d.y))(jl.data.sphere(points=20, inputs=10)), systems.uneven(20))),
    ],
    ids=["relu", "digits", "weights 1 to 20"],
)
def test_tolerances_hold_for_kinks_real_data_and_uneven_weights(name, data):
    problem = systems.problem(ACTIVATIONS[name], data, alpha=5.0)
    settings = {"width": 4096, "ts": (1.0, 2.0), "replicas": 4}
    exact = systems.run(problem, method=jl.Stepwise(native=True), **settings).values
    for order in (1, 2):
        method = jl.SStep(order=order, tolerance=1e-4, native=True)
        samples = systems.run(problem, method=method, dtype=jnp.float32, **settings)
        assert np.max(np.abs(samples.values - exact)) <= 1e-4
