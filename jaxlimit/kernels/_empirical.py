"""The kernel of a network of finite width at given parameters, on the device."""

import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float

from jaxlimit._arguments import instance
from jaxlimit._typing import ArrayLike
from jaxlimit.networks import AbstractNetwork, Neurons, Shallow


def empirical_gram(
    network: AbstractNetwork, parameters: Neurons, x: ArrayLike, x2: ArrayLike | None = None
) -> Float[Array, "*batch points points2"]:
    """B_N(x, x') = N^{−1} Σ_i [σ(w_i·x)σ(w_i·x') + c_i² σ'(w_i·x)σ'(w_i·x') x·x'].

    Leading axes of the parameters (replicas, times, …) are batched over: c [*batch, neurons],
    w [*batch, neurons, inputs]. Precision is that of the parameters, products at the highest setting;
    in float32 an entry is off by about 1e-6 of its size. Works inside `jax.jit` and as an observable
    of `simulate`. At initialisation B_N − B is of order N^{−1/2}. Source: references `xavier`.

        >>> import jax, numpy as np, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> parameters = network.init(width=4096, inputs=2, key=jax.random.key(0))
        >>> B = jl.empirical_gram(network, parameters, np.eye(2))
        >>> bool(abs(float(B[0, 0]) - 0.654) < 0.03)
        True
    """
    shallow = instance("network", network, Shallow)
    c, w = parameters
    first = jnp.asarray(x, w.dtype)
    second = first if x2 is None else jnp.asarray(x2, w.dtype)
    features, slopes = _features(shallow, c, w, first)
    features2, slopes2 = (features, slopes) if x2 is None else _features(shallow, c, w, second)
    inner = jnp.matmul(first, second.T, precision=Precision.HIGHEST)
    kernel = _product(slopes, slopes2) * inner
    if shallow.train_output:
        kernel = kernel + _product(features, features2)
    return kernel / w.shape[-2]


def _features(network: Shallow, c: Array, w: Array, x: Array) -> tuple[Array, Array]:
    u = jnp.einsum("pd,...nd->...pn", x, w, precision=Precision.HIGHEST)
    # An activation may promote to float64 where x64 is on; the kernel keeps the precision of the parameters.
    return network.activation(u).astype(u.dtype), network.activation.derivative(u).astype(u.dtype) * c[..., None, :]


def _product(left: Array, right: Array) -> Array:
    return jnp.einsum("...pn,...qn->...pq", left, right, precision=Precision.HIGHEST)
