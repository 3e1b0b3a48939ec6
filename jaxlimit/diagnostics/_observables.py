"""What is looked at during training, by names that sweeps can write down: functions of (parameters, start)."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlimit._typing import Host
from jaxlimit.kernels import empirical_gram
from jaxlimit.networks import Neurons, Shallow


def movement(parameters: Any, start: Any) -> Float[Array, ""]:
    """Mean square movement of a neuron: the mean over i of (c_i − c_i0)² + |w_i − w_i0|².

    For networks of several layers it is the mean over all weights of (w − w_0)². To be handed to `simulate` as
    `observe`, and to sweeps by its name.

        >>> import jax, jaxlimit as jl
        >>> problem = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> settings = {"replicas": 3, "key": jax.random.key(0), "observe": jl.diagnostics.movement}
        >>> seen = jl.simulate(problem, 64, [0.0, 1.0], **settings)
        >>> seen.observed.shape, bool((seen.observed[:, 0] == 0).all())
        ((3, 2), True)
    """
    if isinstance(parameters, Neurons):
        return jnp.mean((parameters.c - start.c) ** 2 + jnp.sum((parameters.w - start.w) ** 2, axis=1))
    moved = jax.tree.leaves(jax.tree.map(lambda now, then: jnp.sum((now - then) ** 2), parameters, start))
    count = sum(leaf.size for leaf in jax.tree.leaves(parameters))
    return jnp.sum(jnp.stack(moved)) / count


class EmpiricalKernel(eqx.Module):
    """B^N_t [points, points], the kernel of the network as it is: `empirical_gram` at the data, at every save time.

    A module and no closure: equal ones share one compilation, and sweeps know it by its name.

        >>> import jax, jaxlimit as jl
        >>> problem = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> kernel = jl.diagnostics.EmpiricalKernel(problem.network, problem.data.x)
        >>> jl.simulate(problem, 64, [0.0, 1.0], replicas=3, key=jax.random.key(0), observe=kernel).observed.shape
        (3, 2, 4, 4)
    """

    network: Shallow
    x: Float[Host, "points inputs"]

    def __call__(self, parameters: Neurons, start: Neurons) -> Float[Array, "points points"]:
        """The matrix at these parameters."""
        return empirical_gram(self.network, parameters, self.x)
