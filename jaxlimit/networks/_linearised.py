"""The tangent of a network at its start: the same network, linear in its parameters."""

from typing import NamedTuple

import jax
from jaxtyping import Array, Float

from jaxlimit._arguments import instance
from jaxlimit._typing import RandomKey
from jaxlimit.networks._base import AbstractNetwork
from jaxlimit.networks._shallow import Neurons, Shallow


class Tangent(NamedTuple):
    """Parameters of a linearised network: the neurons now, and those at which the tangent is taken."""

    now: Neurons
    start: Neurons


class Linearised(AbstractNetwork):
    """f_0 + Σ_i [(c_i − c_i0) σ(w_i0·x) + c_i0 σ'(w_i0·x) (w_i − w_i0)·x]: a `Shallow` network's tangent at its start.

    With f_0 = Σ_i c_i0 σ(w_i0·x), and the scaling multiplying all of it by N^{−γ}. What `network` does not train the
    tangent does not train either. With the same key `simulate` gives it the start and the samples of its network: the
    two are coupled replica by replica. At γ = 1/2 and for smooth σ their outputs are N^{−1/2} E c³ + N^{−1} apart up
    to factors. Its kernel stays that of the start, `empirical_gram(network, start, x)`; observables get `Neurons`, now
    and at the start, like those of its network. Methods in blocks and optimisers are for `Shallow` itself, and so are
    kernels and limits, which refuse it.
    Raises ``ValueError`` for a network that is not `Shallow`. Source: references `linearised`.

        >>> import jax, numpy as np, jaxlimit as jl
        >>> shallow = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> network = jl.networks.Linearised(shallow)
        >>> parameters, x = network.init(width=8, inputs=3, key=jax.random.key(0)), np.ones((2, 3), np.float32)
        >>> bool(np.all(network.apply(parameters, x) == shallow.apply(parameters.start, x)))
        True
    """

    network: Shallow

    def __check_init__(self) -> None:
        """The tangent is that of one hidden layer."""
        instance("network", self.network, Shallow)

    def init(self, width: int, inputs: int, key: RandomKey) -> Tangent:
        """The draws of the network, now and at the start."""
        start = self.network.init(width, inputs, key)
        return Tangent(start, start)

    def apply(self, parameters: Tangent, x: Float[Array, "points inputs"]) -> Float[Array, " points"]:
        """The tangent plane over each row of x, at full precision on every device."""
        now, start = parameters
        with jax.default_matmul_precision("highest"):  # arrays of NumPy stay what they are
            u, moved = x @ start.w.T, x @ (now.w - start.w).T
            # σ(u)·c is f_0 and the move of c together.
            return self.network.activation(u) @ now.c + (self.network.activation.derivative(u) * moved) @ start.c
