"""Kernels of finite networks, and the draws that other kernels take from a device, lower for CUDA and TPU."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.kernels import empirical_gram, empirical_lambda_min
from jaxlimit.networks import Neurons, Shallow
from tests import systems
from tests.cases import ACTIVATIONS, LAWS, VECTOR_LAWS, each, most_slow
from tests.layer_cases import EMBEDDINGS
from tests.lowering import exported, foreign

X, AT, WEIGHTS = systems.FULL_X, systems.FULL_AT, systems.uneven(5)
ERF = Shallow(jl.activations.Erf())
FEW, MANY = 64, 1_000_000
DTYPES = [np.float32, np.float64]


def neurons(dtype, *shape):
    """Only shapes count: nothing is computed."""
    return Neurons(jax.ShapeDtypeStruct(shape, dtype), jax.ShapeDtypeStruct((*shape, X.shape[1]), dtype))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(FEW,), (MANY,), (3, 2, FEW)])
def test_the_kernel_of_a_network_lowers(shape, dtype):
    """All neurons at once, in chunks, and of replicas at several times."""
    given = neurons(dtype, *shape)
    assert foreign(lambda p: empirical_gram(ERF, p, X), dtype, given) == []
    assert foreign(lambda p: empirical_gram(ERF, p, X, AT), dtype, given) == []


def test_a_million_neurons_are_taken_in_chunks():
    for text in exported(lambda p: empirical_gram(ERF, p, X), neurons(np.float32, MANY)).values():
        assert "stablehlo.while" in text
        assert f"tensor<5x{MANY}xf32>" not in text


@pytest.mark.parametrize("points", [X, jax.ShapeDtypeStruct(X.shape, np.float32)])
def test_points_may_be_on_the_device_or_on_the_host(points):
    given = neurons(np.float32, FEW)
    if isinstance(points, np.ndarray):
        assert foreign(lambda p: empirical_gram(ERF, p, points), np.float32, given) == []
    else:
        assert foreign(lambda p, x: empirical_gram(ERF, p, x), np.float32, given, points) == []


@pytest.mark.parametrize("case", most_slow(each(ACTIVATIONS)))
def test_kernels_of_every_activation_lower(case):
    network = Shallow(case.activation, train_output=False)
    assert foreign(lambda p: empirical_gram(network, p, X), np.float32, neurons(np.float32, FEW)) == []


CALLS = {"cuda": "custom_call @cusolver_syevd_ffi", "tpu": "custom_call @Eigh"}


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("shape", [(FEW,), (3, FEW)])
def test_its_smallest_eigenvalue_is_found_on_the_device(shape, weights, dtype):
    function, given = lambda p: empirical_lambda_min(ERF, p, X, weights), neurons(dtype, *shape)
    assert foreign(function, dtype, given) == []
    for platform, text in exported(function, given).items():
        assert text.count(CALLS[platform]) == 1


def test_outputs_of_networks_lower():
    tangent = jl.networks.Linearised(ERF)
    given = neurons(np.float32, FEW)
    x = jax.ShapeDtypeStruct(X.shape, np.float32)
    assert foreign(ERF.apply, np.float32, given, x) == []
    assert foreign(tangent.apply, np.float32, jl.networks.Tangent(given, given), x) == []


def short(p, x):
    return ERF.activation(x @ p.w.T) @ p.c


def test_outputs_at_the_precision_that_devices_like_are_found():
    found = foreign(short, np.float32, neurons(np.float32, FEW), jax.ShapeDtypeStruct(X.shape, np.float32))
    assert sum(": short products: " in one for one in found) == len(found) == 4


ALL = {name: case.law for name, case in LAWS.items()} | VECTOR_LAWS
"""What `MonteCarlo` and `lambda_min_replicates` draw from, in chunks; their products are those of NumPy."""


@pytest.mark.parametrize("law", most_slow(each(ALL)))
def test_draws_of_every_law_lower(law):
    draw = lambda key, chunk: law.sample(jax.random.fold_in(key, chunk), (2048, 3))  # noqa: E731
    assert foreign(draw, np.float32, jax.random.key(0), jnp.uint32(1)) == []


@pytest.mark.parametrize("embedding", most_slow(each(EMBEDDINGS)))
def test_draws_of_every_embedding_lower(embedding):
    network = jl.networks.Multilayer((jl.activations.Tanh(),) * 3, embedding)
    x = jnp.asarray(X, jnp.float32)
    assert foreign(lambda key: network.apply(network.init((8, 6, 7), 3, key), x), np.float32, jax.random.key(0)) == []
