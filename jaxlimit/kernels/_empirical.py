"""The kernel of a network of finite width at given parameters, on the device, and its smallest eigenvalue."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.lax import Precision
from jaxtyping import Array, Float

from jaxlimit._arguments import instance, items, real_array, require
from jaxlimit._typing import ArrayLike
from jaxlimit.kernels._weights import roots
from jaxlimit.networks import AbstractNetwork, Neurons, Shallow

STREAMED = 2**20
"""Numbers in a chunk of features: beyond it they leave the caches, and the features of all neurons the memory."""

LEAST = 128
"""Neurons in a chunk at least: shorter products are slow."""


def empirical_gram(
    network: AbstractNetwork, parameters: Neurons, x: ArrayLike, x2: ArrayLike | None = None
) -> Float[Array, "*batch points points2"]:
    """B_N(x, x') = N^{−1} Σ_i [σ(w_i·x)σ(w_i·x') + c_i² σ'(w_i·x)σ'(w_i·x') x·x'].

    Leading axes of the parameters (replicas, times, …) are batched over: c [*batch, neurons],
    w [*batch, neurons, inputs]. Precision is that of the parameters, products at the highest setting;
    in float32 an entry is off by about 1e-6 of its size. Works inside `jax.jit` and as an observable
    of `simulate`. Neurons are taken in chunks, so that memory holds the matrix and 2^20 features or so,
    at any width. At initialisation B_N − B is of order N^{−1/2}. Raises ``ValueError`` for parameters and
    points that do not fit together, and for an activation that calls NumPy on arrays of JAX.
    Source: references `xavier`.

        >>> import jax, numpy as np, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> parameters = network.init(width=4096, inputs=2, key=jax.random.key(0))
        >>> B = jl.empirical_gram(network, parameters, np.eye(2))
        >>> bool(abs(float(B[0, 0]) - 0.654) < 0.03)
        True
    """
    shallow, (c, w) = instance("network", network, Shallow), _neurons(parameters)
    shallow.activation.require_traceable()
    first = _points("x", x, w)
    second = None if x2 is None else _points("x2", x2, w)
    neurons, points = w.shape[-2], max(len(first), 0 if second is None else len(second))
    chunk = max(LEAST, STREAMED // (points * math.prod(w.shape[:-2])))
    if neurons <= chunk:
        return _sum(shallow, c, w, first, second) / neurons

    def add(total: Array, start: Array) -> tuple[Array, None]:
        these = lax.dynamic_slice_in_dim(c, start, chunk, -1), lax.dynamic_slice_in_dim(w, start, chunk, -2)
        return total + _sum(shallow, *these, first, second), None

    # The neurons that are left over start the sum; padding would count σ(0).
    rest = neurons % chunk
    if rest:
        total = _sum(shallow, c[..., -rest:], w[..., -rest:, :], first, second)
    else:
        columns = first if second is None else second
        total = jnp.zeros((*w.shape[:-2], len(first), len(columns)), w.dtype)
    starts = jnp.arange(neurons // chunk, dtype=jnp.int32) * jnp.int32(chunk)
    return lax.scan(add, total, starts)[0] / neurons


class EmpiricalLambdaMin(NamedTuple):
    """The smallest eigenvalue of a computed kernel, and the rounding that it may owe: below `error` it is noise."""

    value: Float[Array, "*batch"]
    error: Float[Array, "*batch"]


def empirical_lambda_min(
    network: AbstractNetwork, parameters: Neurons, x: ArrayLike, weights: ArrayLike | None = None
) -> EmpiricalLambdaMin:
    """λ_min of Π^{1/2} B_N Π^{1/2} at these parameters, one for every leading axis, on the device.

    `error` = M·eps·‖Π^{1/2} B_N Π^{1/2}‖ for M points, with eps of the parameters' precision: the usual size
    of rounding, not a proved bound. A float32 value below it, of either sign, is noise and says nothing of
    the kernel. Without weights Π is the identity. Works inside `jax.jit` and as an observable of
    `simulate`, where it follows each replica in time.

        >>> import jax, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> parameters = network.init(width=512, inputs=3, key=jax.random.key(0))
        >>> found = jl.kernels.empirical_lambda_min(network, parameters, jl.data.sphere(points=4, inputs=3).x)
        >>> bool(found.value > found.error)
        True
    """
    kernel = empirical_gram(network, parameters, x)
    root = jnp.asarray(roots(weights, kernel.shape[-1]), kernel.dtype)
    kernel = kernel * (root[:, None] * root[None, :])
    eigenvalues = jnp.linalg.eigvalsh(kernel)
    size = jnp.maximum(jnp.abs(eigenvalues[..., 0]), jnp.abs(eigenvalues[..., -1]))
    return EmpiricalLambdaMin(eigenvalues[..., 0], kernel.shape[-1] * jnp.finfo(kernel.dtype).eps * size)


def _neurons(parameters: Neurons) -> tuple[Array, Array]:
    """c and w, of one precision and of shapes that fit; all of it is known under `jax.jit` too."""
    found, must = items("parameters", parameters, "arrays"), "be a pair of arrays (c, w)"
    arrays = all(isinstance(one, jax.Array | np.ndarray) for one in found)
    kinds = ", ".join(type(one).__name__ for one in found[:4])
    require(len(found) == 2 and arrays, "parameters", must, f"it holds {len(found)} members: {kinds}")
    for one in found:
        floats = jnp.issubdtype(one.dtype, jnp.floating)
        require(floats, "parameters", "hold floating-point numbers", f"a dtype is {one.dtype}")
    c, w = (jnp.asarray(one) for one in found)
    require(c.dtype == w.dtype, "parameters", "have one precision", f"c is {c.dtype} and w is {w.dtype}")
    shapes = w.ndim >= 2 and c.shape == w.shape[:-1] and w.size > 0
    must = "be c [*batch, neurons] and w [*batch, neurons, inputs]"
    require(shapes, "parameters", must, f"their shapes are {c.shape} and {w.shape}")
    return c, w


def _points(name: str, x: ArrayLike, w: Array) -> Array:
    """Points with the inputs of w, in its precision; of those on the device only shape and kind are looked at."""
    if not isinstance(x, jax.Array):
        x = real_array(name, x, 2)
    real = jnp.issubdtype(x.dtype, jnp.floating) or jnp.issubdtype(x.dtype, jnp.integer)
    require(real, name, "hold real numbers", f"its dtype is {x.dtype}")
    fits = x.ndim == 2 and x.shape[0] > 0 and x.shape[1] == w.shape[-1]
    require(fits, name, f"have shape [points, {w.shape[-1]}] like w", f"it is {x.shape}")
    return jnp.asarray(x, w.dtype)


def _sum(network: Shallow, c: Array, w: Array, x: Array, x2: Array | None) -> Array:
    """The sum over these neurons."""
    features, slopes = _features(network, c, w, x)
    features2, slopes2 = (features, slopes) if x2 is None else _features(network, c, w, x2)
    inner = jnp.matmul(x, (x if x2 is None else x2).T, precision=Precision.HIGHEST)
    kernel = _product(slopes, slopes2) * inner
    return kernel + _product(features, features2) if network.train_output else kernel


def _features(network: Shallow, c: Array, w: Array, x: Array) -> tuple[Array, Array]:
    u = jnp.einsum("pd,...nd->...pn", x, w, precision=Precision.HIGHEST)
    # An activation may promote to float64 where x64 is on; the kernel keeps the precision of the parameters.
    return network.activation(u).astype(u.dtype), network.activation.derivative(u).astype(u.dtype) * c[..., None, :]


def _product(left: Array, right: Array) -> Array:
    return jnp.einsum("...pn,...qn->...pq", left, right, precision=Precision.HIGHEST)
