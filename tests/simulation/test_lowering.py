"""What accelerators would run lowers for CUDA on this machine; it has been run on CPUs only."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlimit as jl
from jaxlimit._span import span
from jaxlimit.simulation._draws import replica_key, thresholds
from jaxlimit.simulation._families import family
from jaxlimit.simulation._state import Constants, Run, begin
from tests import systems
from tests.cases import ACTIVATIONS, each, most_slow

WIDTH, LANES = 64, 3


class Accelerator:
    platform, device_kind = "gpu", "NVIDIA H100 80GB HBM3"

    def memory_stats(self):
        return None


def program(case, method, dtype, batch=1, points=systems.FULL_X, optimiser=None):
    """Everything of a lane from the key to its outputs, as one function of the key."""
    data = jl.Data(points, systems.FULL_Y[: len(points)])
    problem = systems.problem(case, data, gamma=0.75)
    reduced = span(data.x, systems.FULL_AT)
    run = Run(problem, problem.network, WIDTH, 3, 2, 128, batch, np.dtype(dtype), (Accelerator(),), 1, optimiser)
    chain = method.chain(run)
    constants = Constants(
        x=jnp.asarray(reduced.x, dtype),
        y=jnp.asarray(data.y, dtype),
        at=jnp.asarray(reduced.at, dtype),
        basis=None,
        remainder=None,
        bounds=jnp.asarray(thresholds(data.weights)),
        weights=jnp.asarray(data.weights, dtype) if batch is None else None,
        output=jnp.asarray(WIDTH**-0.75, dtype),
        increment=jnp.asarray(WIDTH**-1.25, dtype),
        half=None,
        batch=batch,
        inputs=3,
    )
    stops = jnp.asarray([0, 5, 128], jnp.int32)

    def lane(key):
        keys = jax.vmap(replica_key, in_axes=(None, 0))(key, jnp.arange(LANES))
        real = jnp.asarray(LANES, jnp.int32)
        moving, fixed = begin(problem.network, constants, keys, real, WIDTH, True, True)
        observe = lambda now, start: now.c - start.c  # noqa: E731
        found = chain.advance(problem.network, problem.loss, observe, constants, keys, moving, fixed, stops, stops[1:])
        return found[1], found[3]

    return jax.jit(lane)


def lowered(compiled):
    return compiled.trace(jax.random.key(0)).lower(lowering_platforms=("cuda",)).as_text()


METHODS = {
    "stepwise": jl.Stepwise(),
    "blocks": jl.SStep(block=8),
    "blocks, order 2": jl.SStep(block=8, order=2),
    "tolerance": jl.SStep(tolerance=1e-3),
}


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("method", each(METHODS))
def test_a_lane_lowers_for_cuda(method, dtype):
    text = (
        program(ACTIVATIONS["erf"], method, dtype)
        .trace(jax.random.key(0))
        .lower(lowering_platforms=("cuda",))
        .as_text()
    )
    kind = "f32" if dtype == jnp.float32 else "f64"
    assert f"tensor<{LANES}x7x{kind}>" in text or f"tensor<{LANES}x2x7x{kind}>" in text
    # Products at full precision: TF32 would be off by 1e-4 to 1e-3.
    assert "HIGHEST" in text
    assert "DEFAULT, DEFAULT" not in text


@pytest.mark.parametrize("case", most_slow(each(ACTIVATIONS)))
def test_every_activation_and_batches_lower_for_cuda(case):
    text = lowered(program(case, jl.SStep(block=8), jnp.float32, batch=4))
    assert "HIGHEST" in text


@pytest.mark.parametrize(
    ("method", "optimiser"),
    [
        (jl.SStep(block=8), None),
        (jl.Stepwise(), optax.adam(1e-2)),
        pytest.param(jl.Stepwise(), None, marks=pytest.mark.slow),
        pytest.param(jl.SStep(tolerance=1e-3, order=2), None, marks=pytest.mark.slow),
    ],
)
def test_full_batches_and_optimisers_lower_for_cuda(method, optimiser):
    text = lowered(program(ACTIVATIONS["erf"], method, jnp.float32, batch=None, optimiser=optimiser))
    assert "HIGHEST" in text
    assert "DEFAULT, DEFAULT" not in text


@pytest.mark.parametrize("batch", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_several_hidden_layers_lower_for_cuda(batch):
    """Replicas together, products at full precision."""
    widths, data = (8, 6), jl.Data(systems.FULL_X, systems.FULL_Y)
    normal, tanh = jl.initial.Normal, jl.activations.Tanh()
    law = jl.initial.IndependentLayers((normal(), normal(1, 1), normal(1, 1)), (normal(),) * 3)
    network = jl.networks.Multilayer((tanh, tanh), law)
    problem = jl.Problem(data, network, jl.LayerwiseMeanField(0.1), jl.Huber())
    run = Run(problem, network, widths, 3, 2, 128, batch, np.dtype(np.float32), (Accelerator(),))
    chain, kind = jl.Stepwise().chain(run), family(network)
    factors = jax.tree.map(jnp.float32, kind.factors(problem, widths))
    cast = lambda a: jnp.asarray(a, jnp.float32)  # noqa: E731
    weights = cast(data.weights) if batch is None else None
    shared = (cast(data.x), cast(data.y), cast(systems.FULL_AT), None, None, jnp.asarray(thresholds(data.weights)))
    constants = Constants(*shared, weights, *factors, None, batch, 3)
    stops = jnp.asarray([0, 5, 128], jnp.int32)

    def lane(key):
        keys = jax.vmap(replica_key, in_axes=(None, 0))(key, jnp.arange(LANES))
        state = kind.begin(network, constants, keys, jnp.asarray(LANES, jnp.int32), widths, True, True)
        observe = lambda now, start: now.weights[1] - start.weights[1]  # noqa: E731
        return chain.advance(network, problem.loss, observe, constants, keys, *state, stops, stops[1:])[1]

    text = lowered(jax.jit(lane))
    assert f"tensor<{LANES}x2x7xf32>" in text
    assert "HIGHEST" in text
    assert "DEFAULT, DEFAULT" not in text


@pytest.mark.slow
@pytest.mark.parametrize("method", each(METHODS))
def test_the_same_program_runs_here(method):
    """What was lowered is a program that runs, with the outputs of `simulate`."""
    values, observed = program(ACTIVATIONS["erf"], method, jnp.float64)(jax.random.key(0))
    assert values.shape == (LANES, 2, 7)
    assert np.all(np.isfinite(values))
    assert observed.shape == (LANES, 2, WIDTH)
