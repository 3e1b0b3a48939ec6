"""Laws of the initial parameters (c_i, w_i): independent coordinates, the same law for every neuron.

Draws are made in float32 whatever the precision of the run and cast exactly, so that a float32 and a
float64 simulation follow the same path. Flat draws fill [neurons, inputs] row by row: a wider network
begins with the narrower one's neurons.
"""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import partial
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlimit._arguments import finite_number, instance, positive_number, require
from jaxlimit._typing import RandomKey


class AbstractLaw(eqx.Module):
    """Law of one real coordinate: how to draw it, its first moments and its support."""

    compact_support: ClassVar[bool] = False
    full_support: ClassVar[bool] = False

    @abstractmethod
    def sample(self, key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Independent float32 draws of the given shape."""

    @property
    @abstractmethod
    def mean(self) -> float:
        """E z."""

    @property
    @abstractmethod
    def second_moment(self) -> float:
        """E z²."""


def _flat(draw: Callable[..., Array], key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Drawn along one axis: the same numbers, in half the time of a shape with a short last axis."""
    return draw(key, (math.prod(shape),), dtype=jnp.float32).reshape(shape)


class Normal(AbstractLaw):
    """Gaussian law N(mean, std²). Full support, not compact.

    >>> import jaxlimit as jl
    >>> jl.initial.Normal(0.0, 2.0).second_moment
    4.0
    """

    mean: float = eqx.field(static=True, default=0.0)
    std: float = eqx.field(static=True, default=1.0)
    full_support: ClassVar[bool] = True

    def __check_init__(self) -> None:
        """A Gaussian needs a finite mean and a positive standard deviation, whose square is a number too."""
        finite_number("mean", self.mean)
        std = positive_number("std", self.std)
        require(1e-100 <= std <= 1e100, "std", "lie between 1e-100 and 1e100", f"it is {std:g}")

    def sample(self, key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """mean + std · N(0, 1)."""
        return self.mean + self.std * _flat(jax.random.normal, key, shape)

    @property
    def second_moment(self) -> float:
        """mean² + std²."""
        return self.mean**2 + self.std**2


class Uniform(AbstractLaw):
    """Uniform law on [low, high). Compact support.

    >>> import jaxlimit as jl
    >>> round(jl.initial.Uniform(-1.0, 1.0).second_moment, 12)
    0.333333333333
    """

    low: float = eqx.field(static=True, default=-1.0)
    high: float = eqx.field(static=True, default=1.0)
    compact_support: ClassVar[bool] = True

    def __check_init__(self) -> None:
        """The ends must be finite and ordered."""
        low, high = finite_number("low", self.low), finite_number("high", self.high)
        require(low < high, "low", "be smaller than `high`", f"they are {low:g} and {high:g}")

    def sample(self, key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Uniform draws."""
        return _flat(partial(jax.random.uniform, minval=self.low, maxval=self.high), key, shape)

    @property
    def mean(self) -> float:
        """(low + high)/2."""
        return 0.5 * (self.low + self.high)

    @property
    def second_moment(self) -> float:
        """(low² + low·high + high²)/3."""
        return (self.low**2 + self.low * self.high + self.high**2) / 3.0


class Rademacher(AbstractLaw):
    """±scale with probability one half each. Compact support.

    >>> import jaxlimit as jl
    >>> jl.initial.Rademacher().mean, jl.initial.Rademacher().second_moment
    (0.0, 1.0)
    """

    scale: float = eqx.field(static=True, default=1.0)
    compact_support: ClassVar[bool] = True

    def __check_init__(self) -> None:
        """The scale must be positive."""
        positive_number("scale", self.scale)

    def sample(self, key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Random signs times the scale."""
        return self.scale * _flat(jax.random.rademacher, key, shape)

    @property
    def mean(self) -> float:
        """Zero by symmetry."""
        return 0.0

    @property
    def second_moment(self) -> float:
        """scale²."""
        return self.scale**2


class Initial(eqx.Module):
    """Law μ_0 of a neuron (c, w): c and every coordinate of w independent.

    The theorem asks for E c = 0 with compact support, and for w with finite moments
    (references: xavier).

        >>> import jax, jaxlimit as jl
        >>> law = jl.Initial(c=jl.initial.Uniform(-1, 1), w=jl.initial.Normal(0, 1))
        >>> c, w = law.sample(jax.random.key(0), width=4, inputs=3)
        >>> c.shape, w.shape
        ((4,), (4, 3))
    """

    c: AbstractLaw = Uniform(-1.0, 1.0)
    w: AbstractLaw = Normal(0.0, 1.0)

    def __check_init__(self) -> None:
        """Both are laws (instances, not classes)."""
        instance("c", self.c, AbstractLaw)
        instance("w", self.w, AbstractLaw)

    def sample(
        self, key: RandomKey, width: int, inputs: int
    ) -> tuple[Float[Array, " neurons"], Float[Array, "neurons inputs"]]:
        """Float32 draws of c [neurons] and w [neurons, inputs] from separate streams of the key."""
        c = self.c.sample(jax.random.fold_in(key, 0), (width,))
        w = self.w.sample(jax.random.fold_in(key, 1), (width, inputs))
        return c, w
