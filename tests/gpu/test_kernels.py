"""Kernels of networks on a device, and their smallest eigenvalue."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.kernels import _empirical
from tests.gpu.sizes import KEY, TANH, TOLERANCE, sizes


@pytest.mark.parametrize(("width", "points"), sizes((300, 4), (10**6, 20)))
@pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)
def test_the_kernel_of_a_network_is_its_average_over_neurons(dtype, width, points, monkeypatch):
    """In chunks of neurons, the last of them short. In float32 to a few rounding units: TF32 is off by a thousand."""
    if width < 1000:
        monkeypatch.setattr(_empirical, "STREAMED", 1)
    network, x = jl.networks.Shallow(jl.activations.Tanh()), jl.data.sphere(points, 3).x
    p = jax.tree.map(lambda one: one.astype(dtype), network.init(width, 3, KEY))
    found = jax.jit(lambda p: jl.empirical_gram(network, p, x))(p)
    assert found.dtype == dtype
    c, w = (np.asarray(one, np.float64) for one in p)
    u = x @ w.T
    slopes = c * TANH.slope(u)
    expected = (slopes @ slopes.T * (x @ x.T) + TANH.sigma(u) @ TANH.sigma(u).T) / width
    allowed = 64 * float(jnp.finfo(dtype).eps) * np.max(expected)
    assert np.max(np.abs(np.asarray(found, np.float64) - expected)) <= allowed
    least = jax.jit(lambda p: jl.kernels.empirical_lambda_min(network, p, x))(p)
    assert abs(float(least.value) - np.linalg.eigvalsh(expected)[0]) <= float(least.error) + allowed
