"""One hidden layer."""

from typing import NamedTuple

import equinox as eqx
import jax
from jaxtyping import Array, Float

from jaxlimit._arguments import instance
from jaxlimit._typing import RandomKey
from jaxlimit.activations import AbstractActivation
from jaxlimit.initial import Initial
from jaxlimit.networks._base import AbstractNetwork


class Neurons(NamedTuple):
    """Parameters of a one-hidden-layer network: output weights c [neurons], input weights w [neurons, inputs]."""

    c: Float[Array, " neurons"]
    w: Float[Array, "neurons inputs"]


class Shallow(AbstractNetwork):
    """Σ_i c_i σ(w_i·x) over the neurons i; the scaling multiplies it by N^{−γ}.

    No bias: append a coordinate 1 to the inputs (`Data.with_bias`). With `train_output=False` only
    the w_i learn. Source: references `xavier`.

        >>> import jax, numpy as np, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> parameters = network.init(width=8, inputs=3, key=jax.random.key(0))
        >>> network.apply(parameters, np.zeros((2, 3), np.float32)).shape
        (2,)
    """

    activation: AbstractActivation
    initial: Initial = Initial()
    train_output: bool = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        """σ and the initial law are objects of their kinds (an instance, not the class); training is yes or no."""
        instance("activation", self.activation, AbstractActivation)
        instance("initial", self.initial, Initial)
        instance("train_output", self.train_output, bool)

    def init(self, width: int, inputs: int, key: RandomKey) -> Neurons:
        """Independent draws from `initial`, float32; a wider network begins with a narrower one's neurons."""
        return Neurons(*self.initial.sample(key, width, inputs))

    def apply(self, parameters: Neurons, x: Float[Array, "points inputs"]) -> Float[Array, " points"]:
        """Σ_i c_i σ(w_i·x) for each row of x, at full precision on every device."""
        with jax.default_matmul_precision("highest"):  # arrays of NumPy stay what they are
            return self.activation(x @ parameters.w.T) @ parameters.c
