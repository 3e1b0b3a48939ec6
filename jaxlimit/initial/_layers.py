"""Laws of the initial weights of networks with several hidden layers."""

from abc import abstractmethod
from functools import partial

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlimit._arguments import (
    finite_number,
    instance,
    items,
    natural_number,
    plain,
    positive_integer,
    positive_number,
    require,
)
from jaxlimit._typing import RandomKey
from jaxlimit.initial._base import AbstractLaw
from jaxlimit.initial._normal import Normal

Arrays = tuple[Float[Array, "..."], ...]

WEIGHTS, BIASES, INCOMING, OUTGOING = 0, 1, 2, 3
"""Streams of the key."""


class AbstractEmbedding(eqx.Module):
    """Law of all initial weights, drawn neuron by neuron: a wider network begins with a narrower one's neurons.

    That is a neuronal embedding: neurons (C_1, …, C_{L−1}) are independent, and w_i(c_{i−1}, c_i) is one function of
    them at every width.
    """

    @property
    @abstractmethod
    def biases(self) -> tuple[AbstractLaw, ...]:
        """A law per layer, the last for the output; empty where there are no biases."""

    @abstractmethod
    def weights_of(self, key: RandomKey, widths: tuple[int, ...], inputs: int) -> Arrays:
        """w_1 [n_1, inputs], w_i [n_{i−1}, n_i] and w_L [n_{L−1}], float32."""

    @abstractmethod
    def require_layers(self, layers: int) -> None:
        """Raise ``ValueError`` where this law is made for another number L of layers."""

    @abstractmethod
    def means(self, layers: int) -> tuple[float, ...]:
        """E w_1, …, E w_L."""

    def sample(self, key: RandomKey, widths: tuple[int, ...], inputs: int) -> tuple[Arrays, Arrays]:
        """Weights, and biases b_i [n_i], b_L [] (none where there are no laws of them), all float32."""
        weights = self.weights_of(jax.random.fold_in(key, WEIGHTS), widths, inputs)
        streams = partial(jax.random.fold_in, jax.random.fold_in(key, BIASES))
        sizes = [(n,) for n in widths] + [()]
        biases = (law.sample(streams(i), size) for i, (law, size) in enumerate(zip(self.biases, sizes, strict=False)))
        return weights, tuple(biases)


class IndependentLayers(AbstractEmbedding):
    """All weights independent, those of layer i with law `weights[i − 1]`.

    Zero-mean middle and last weights give gradients that vanish with the width in the mean-field scaling: give them a
    mean. Without biases, or with constant ones, H_2, …, H_{L−2} do not depend on the neuron in the limit, at any time,
    and H_{L−1} does not at the start; `CorrelatedLayers` keeps their neurons different. `biases` has a law per layer,
    the last for the output; empty for none. Raises ``ValueError`` for what are not laws, and for a law of all of w
    anywhere but in the first layer. Source: references `multilayer`.

        >>> import jax, jaxlimit as jl
        >>> normal = jl.initial.Normal
        >>> law = jl.initial.IndependentLayers((normal(0, 1), normal(1, 1), normal(1, 1)))
        >>> weights, biases = law.sample(jax.random.key(0), widths=(4, 5), inputs=3)
        >>> [w.shape for w in weights], biases
        ([(4, 3), (4, 5), (5,)], ())
    """

    weights: tuple[AbstractLaw, ...] = eqx.field(converter=lambda given: items("weights", given, "laws"))
    biases: tuple[AbstractLaw, ...] = eqx.field(default=(), converter=lambda given: items("biases", given, "laws"))

    def __check_init__(self) -> None:
        """Laws, two at least, with a bias for every layer or none."""
        require(len(self.weights) >= 2, "weights", "have a law for two layers or more", f"it has {len(self.weights)}")
        for i, law in enumerate(self.weights):
            own = instance("weights", law, AbstractLaw, "be laws of one coordinate").inputs
            require(i == 0 or own is None, "weights", "be laws of one coordinate after the first", f"one is {law}")
        _require_biases(self.biases, len(self.weights))

    def require_layers(self, layers: int) -> None:
        """One law per layer."""
        found = len(self.weights)
        require(found == layers, "initial", f"have a law for each of {layers} layers", f"it has {found}")

    def means(self, layers: int) -> tuple[float, ...]:
        """Those of the laws."""
        return tuple(law.mean for law in self.weights)

    def weights_of(self, key: RandomKey, widths: tuple[int, ...], inputs: int) -> Arrays:
        """Middle layers row by row, each row from its neuron's own stream."""
        first, *middle, last = self.weights
        _require_inputs(first, inputs)
        found = [first.sample(jax.random.fold_in(key, 0), (widths[0], inputs))]
        for i, law in enumerate(middle):
            stream, size = jax.random.fold_in(key, i + 1), (widths[i + 1],)
            rows = jax.vmap(partial(jax.random.fold_in, stream))(jnp.arange(widths[i], dtype=jnp.uint32))
            found.append(jax.vmap(partial(law.sample, shape=size))(rows))
        return *found, last.sample(jax.random.fold_in(key, len(widths)), (widths[-1],))


class CorrelatedLayers(AbstractEmbedding):
    """Middle layers with random weight functions in both directions, R modes of each; full support as R → ∞.

    Neuron c_i has independent coefficients f(c_i), g(c_i) ~ N(0, I_R) and a signature s: s(c_1) = w_1(c_1),
    s(c_i) = the first q coefficients of f(c_i). With s_r = `size`·r^{−decay} and random features

        w_i(c_{i−1}, c_i) = mean + Σ_r s_r f_r(c_i) e_r(s(c_{i−1})) + Σ_r s_r g_r(c_{i−1}) e'_r(s(c_i)),
        e_r(s) = √2 cos(ω_r·s/√dim s + β_r),      ω_r ~ N(0, I), β_r ~ U[0, 2π],

    where ω, β are drawn once, from the number `maps`, and belong to the law: they are the same for all networks. Each
    neuron of a middle layer then has random incoming and outgoing weight functions, and neurons stay different at any
    depth. w_1 and w_L are independent draws from `first` and `last`. A narrower network is part of a wider one up to
    rounding. Raises ``ValueError`` for modes or signature < 1, a signature above the modes, a negative decay, a mean
    that is not finite, and what are no laws. Source: references `multilayer`.

        >>> import jax, jaxlimit as jl
        >>> law = jl.initial.CorrelatedLayers(modes=8)
        >>> weights, _ = law.sample(jax.random.key(0), widths=(4, 5, 6), inputs=3)
        >>> [w.shape for w in weights]
        [(4, 3), (4, 5), (5, 6), (6,)]
    """

    modes: int = eqx.field(static=True, default=16)
    signature: int = eqx.field(static=True, default=2)
    size: float = eqx.field(static=True, converter=plain, default=1.0)
    decay: float = eqx.field(static=True, default=1.0)
    mean: float = eqx.field(static=True, default=0.0)
    first: AbstractLaw = Normal()
    last: AbstractLaw = Normal(1.0, 1.0)
    biases: tuple[AbstractLaw, ...] = eqx.field(default=(), converter=lambda given: items("biases", given, "laws"))
    maps: int = eqx.field(static=True, default=0)

    def __check_init__(self) -> None:
        """Counts are positive, laws are laws."""
        positive_integer("modes", self.modes)
        q = positive_integer("signature", self.signature)
        require(q <= self.modes, "signature", f"be at most the {self.modes} modes", f"it is {q}")
        positive_number("size", self.size)
        positive_number("decay", self.decay, zero=True)
        finite_number("mean", self.mean)
        natural_number("maps", self.maps)
        instance("first", self.first, AbstractLaw)
        last = instance("last", self.last, AbstractLaw)
        require(last.inputs is None, "last", "be a law of one coordinate", f"it is {last}")
        if self.biases:
            _require_biases(self.biases, len(self.biases))

    def require_layers(self, layers: int) -> None:
        """Any number, with a bias for each or none."""
        _require_biases(self.biases, layers)

    def means(self, layers: int) -> tuple[float, ...]:
        """`mean` in the middle."""
        return self.first.mean, *(self.mean,) * (layers - 2), self.last.mean

    def weights_of(self, key: RandomKey, widths: tuple[int, ...], inputs: int) -> Arrays:
        """Coefficients are drawn neuron by neuron; their products are the weights."""
        _require_inputs(self.first, inputs)
        w1 = self.first.sample(jax.random.fold_in(key, 0), (widths[0], inputs))
        draw = lambda stream, i: jax.random.normal(  # noqa: E731
            jax.random.fold_in(jax.random.fold_in(key, stream), i), (widths[i] * self.modes,), jnp.float32
        ).reshape(-1, self.modes)
        sizes = self.size * jnp.arange(1, self.modes + 1, dtype=jnp.float32) ** -self.decay
        found, signature = [w1], w1
        for i in range(1, len(widths)):
            f, g = draw(INCOMING, i), draw(OUTGOING, i - 1)
            own = f[:, : self.signature]
            # e_r and e'_r of this pair of layers are different maps.
            below, above = self._features(2 * i, signature), self._features(2 * i + 1, own)
            left, right = jnp.concatenate([below * sizes, g * sizes], 1), jnp.concatenate([f, above], 1)
            found.append(self.mean + jnp.matmul(left, right.T, precision=jax.lax.Precision.HIGHEST))
            signature = own
        return *found, self.last.sample(jax.random.fold_in(key, len(widths)), (widths[-1],))

    def _features(self, number: int, signature: Float[Array, "neurons q"]) -> Float[Array, "neurons modes"]:
        """√2 cos(ω_r·s/√dim s + β_r)."""
        of_omega, of_beta = jax.random.split(jax.random.fold_in(jax.random.key(self.maps), number))
        size = signature.shape[1]
        omega = jax.random.normal(of_omega, (size, self.modes), jnp.float32)
        beta = jax.random.uniform(of_beta, (self.modes,), jnp.float32, 0.0, 2.0 * jnp.pi)
        phase = jnp.matmul(signature, omega, precision=jax.lax.Precision.HIGHEST) / size**0.5 + beta
        return 2.0**0.5 * jnp.cos(phase)


def _require_inputs(first: AbstractLaw, inputs: int) -> None:
    own = first.inputs
    fits = own is None or own == inputs
    require(fits, "network", f"draw w_1 with {inputs} coordinates like the points", f"its law has {own}")


def _require_biases(biases: tuple[AbstractLaw, ...], layers: int) -> None:
    require(len(biases) in (0, layers), "biases", f"have a law for each of {layers} layers", f"it has {len(biases)}")
    for law in biases:
        own = instance("biases", law, AbstractLaw, "be laws of one coordinate").inputs
        require(own is None, "biases", "be laws of one coordinate", f"one is {law}")
