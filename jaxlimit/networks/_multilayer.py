"""Any number of hidden layers."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlimit._arguments import instance, items, positive_integer, require
from jaxlimit._typing import RandomKey
from jaxlimit.activations import AbstractActivation, Identity
from jaxlimit.initial import AbstractEmbedding
from jaxlimit.networks._base import AbstractNetwork


class Layers(NamedTuple):
    """Parameters of a network with several layers: w_1 [n_1, inputs], w_i [n_{i−1}, n_i], w_L [n_{L−1}], and biases.

    `biases` are b_i [n_i] and b_L [], or empty where the network has none. Those of many networks or times have axes of
    their own in front, and `at` takes one.
    """

    weights: tuple[Float[Array, "..."], ...]
    biases: tuple[Float[Array, "..."], ...]

    def at(self, *index: int) -> "Layers":
        """The parameters at this place of the axes in front: `at(t)`, or `at(replica, t)`.

        Raises ``ValueError`` for more indices than there are such axes, and for one outside its axis.

            >>> import numpy as np, jaxlimit as jl
            >>> all_ = jl.networks.Layers((np.zeros((5, 8, 3)), np.ones((5, 8))), ())
            >>> [w.shape for w in all_.at(-1).weights]
            [(8, 3), (8,)]
        """
        front = self.weights[-1].shape[:-1]
        inside = len(index) <= len(front) and all(-n <= i < n for i, n in zip(index, front, strict=False))
        require(inside, "index", f"lie within the axes in front, {front}", f"it is {index}")
        cut = lambda arrays: tuple(a[index] for a in arrays)  # noqa: E731
        return Layers(cut(self.weights), cut(self.biases))


class Multilayer(AbstractNetwork):
    """φ_L(H_L) with H_1 = w_1 x + b_1 and H_i = f_{i−1} Σ w_i φ_{i−1}(H_{i−1}) + b_i; the scaling brings the factors f.

    `apply` takes averages, f_i = 1/n_i, unless told otherwise: the network of the mean-field limit. The width is a
    tuple (n_1, …, n_{L−1}). `activations` are φ_1, …, φ_{L−1}, one per hidden layer, `output` is φ_L, and `initial` the
    law of all weights and biases. `train` says which layers learn (their biases with them): one bool, or a tuple of
    L. Raises ``ValueError`` for pieces that are not of their kind or numbers of them that do not fit.
    Source: references `multilayer`.

        >>> import jax, numpy as np, jaxlimit as jl
        >>> normal, tanh = jl.initial.Normal, jl.activations.Tanh()
        >>> law = jl.initial.IndependentLayers((normal(0, 1), normal(1, 1), normal(1, 1)))
        >>> network = jl.networks.Multilayer((tanh, tanh), law)
        >>> parameters = network.init(width=(8, 4), inputs=3, key=jax.random.key(0))
        >>> network.apply(parameters, np.zeros((2, 3), np.float32)).shape
        (2,)
    """

    activations: tuple[AbstractActivation, ...] = eqx.field(
        converter=lambda given: items("activations", given, "activations")
    )
    initial: AbstractEmbedding
    output: AbstractActivation = Identity()
    train: bool | tuple[bool, ...] = eqx.field(static=True, default=True)

    def __check_init__(self) -> None:
        """One activation per hidden layer; the initial law and `train` have as many layers."""
        require(len(self.activations) > 0, "activations", "have one per hidden layer", "it is empty")
        for activation in (*self.activations, self.output):
            instance("output" if activation is self.output else "activations", activation, AbstractActivation)
        instance("initial", self.initial, AbstractEmbedding).require_layers(self.layers)
        flags = self.trained
        known = all(isinstance(flag, bool) for flag in flags) and len(flags) == self.layers
        require(known, "train", f"be True or False, or a tuple of {self.layers} of them", f"it is {self.train!r}")

    @property
    def layers(self) -> int:
        """L: hidden layers and the output."""
        return len(self.activations) + 1

    @property
    def trained(self) -> tuple[bool, ...]:
        """Whether layer i learns, i = 1, …, L."""
        return self.train if isinstance(self.train, tuple) else (self.train,) * self.layers

    def init(self, width: Any, inputs: int, key: RandomKey) -> Layers:
        """Draws from `initial`, float32; a wider network begins with a narrower one's neurons.

        Raises ``ValueError`` unless the width is a tuple of positive integers, one per hidden layer.
        """
        widths = tuple(positive_integer("width", n) for n in items("width", width, "positive integers"))
        fits, hidden = len(widths) == self.layers - 1, self.layers - 1
        require(fits, "width", f"have {hidden} members, one per hidden layer", f"it has {len(widths)}")
        return Layers(*self.initial.sample(key, widths, inputs))

    def hidden(
        self, parameters: Layers, x: Float[Array, "points inputs"], factors: tuple[Any, ...] | None = None
    ) -> tuple[Float[Array, "..."], ...]:
        """H_1 [points, n_1], …, H_{L−1} [points, n_{L−1}] and H_L [points], at full precision on every device."""
        first, *others = parameters.weights
        found = [_product(x, first.T)]
        if parameters.biases:
            found[0] = found[0] + parameters.biases[0]
        for i, w in enumerate(others):
            factor = 1.0 / w.shape[0] if factors is None else factors[i]
            # An activation may promote to float64 where x64 is on; the network keeps the precision of its input.
            features = jnp.asarray(self.activations[i](found[i])).astype(found[i].dtype)
            above = factor * _product(features, w)
            found.append(above + parameters.biases[i + 1] if parameters.biases else above)
        return tuple(found)

    def apply(
        self, parameters: Layers, x: Float[Array, "points inputs"], factors: tuple[Any, ...] | None = None
    ) -> Float[Array, " points"]:
        """φ_L(H_L) for each row of x, with averages over neurons or the given factors f_1, …, f_{L−1}."""
        last = self.hidden(parameters, x, factors)[-1]
        return jnp.asarray(self.output(last)).astype(last.dtype)


def _product(left: Any, right: Any) -> Any:
    return jnp.matmul(left, right, precision=jax.lax.Precision.HIGHEST)
