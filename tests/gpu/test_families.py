"""Optimisers, tangents and networks of several layers are what NumPy makes of the same draws."""

import jax.numpy as jnp
import optax
import pytest

import jaxlimit as jl
from tests.gpu import paths
from tests.gpu.sizes import BOTH_SLOW, REAL, TINY, TOLERANCE, TS, assert_close, data, problem, run, sizes
from tests.oracle import assert_same, largest_difference

ADAM = optax.adam(paths.RATE, paths.B1, paths.B2, paths.EPS)


def everything(now, start):
    return now


def assert_is(samples, path, replica, points, dtype):
    assert_close(samples.values[replica, :, :points], path.values, samples.steps, "outputs", dtype)
    assert_close(samples.observed["c"][replica], path.c, samples.steps, "parameters", dtype)
    assert_close(samples.observed["w"][replica], path.w, samples.steps, "parameters", dtype)
    assert largest_difference(path.values[-1], path.values[0]) > 0.01


@pytest.mark.parametrize("size", BOTH_SLOW)
def test_adam_is_adam(size):
    """In float64: it divides by roots of sums of squares, which amplifies rounding where gradients are small."""
    size = size._replace(width=min(256, size.width), inputs=size.inputs // 2)
    question = problem(size)
    samples = run(question, size, jl.Stepwise(lanes=size.lanes), optimiser=ADAM, dtype=jnp.float64, replicas=2)
    assert samples.method == "Stepwise(native=False, optimiser=…)"
    for replica in range(2):
        assert_is(samples, paths.adam(question, size.width, replica, TS), replica, size.points, jnp.float64)


@pytest.mark.parametrize("size", BOTH_SLOW)
def test_tangents_keep_the_features_of_their_start(size):
    question = problem(size)
    linear = jl.Problem(question.data, jl.networks.Linearised(question.network))
    samples = run(linear, size, jl.Stepwise(lanes=size.lanes), replicas=2)
    for replica in range(2):
        assert_is(samples, paths.tangent(question, size.width, replica, TS), replica, size.points, jnp.float32)


@pytest.mark.parametrize(("size", "width"), sizes((TINY, (6, 5)), (REAL, (256, 128)), pytest.mark.slow))
def test_layers_follow_their_own_clock(size, width):
    """Three samples a step: products of matrices in every layer, which TF32 would not leave alone."""
    laws = jl.initial.Normal(0, 1), jl.initial.Normal(0.5, 1), jl.initial.Normal(0.5, 1)
    functions, scaling = (jl.activations.Tanh(), jl.activations.Sin()), jl.scalings.LayerwiseMeanField(paths.EPSILON)
    network = jl.networks.Multilayer(functions, jl.initial.IndependentLayers(laws))
    question, ts = jl.Problem(data(size), network, scaling), (0.0, 0.5, 2.5)
    method, given = jl.Stepwise(lanes=size.lanes), {"observe": everything, "batch": 3, "ts": ts}
    samples = run(question, size._replace(width=width), method, replicas=2, **given)
    for replica in range(2):
        path = paths.layers(question, width, replica, ts, 3)
        assert_same(samples.values[replica, :, : size.points], path.values, TOLERANCE[jnp.float32])
        for found, expected in zip(samples.observed.weights, path.weights, strict=True):
            assert_same(found[replica, -1], expected, TOLERANCE[jnp.float32])
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 0.01
