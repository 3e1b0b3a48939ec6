"""The uniform law."""

from functools import partial
from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float

from jaxlimit._arguments import finite_number, plain, require
from jaxlimit._typing import RandomKey
from jaxlimit.initial._base import AbstractLaw, flat


class Uniform(AbstractLaw):
    """Uniform law on [low, high). Compact support.

    >>> import jaxlimit as jl
    >>> round(jl.initial.Uniform(-1.0, 1.0).second_moment, 12)
    0.333333333333
    """

    low: float = eqx.field(static=True, converter=plain, default=-1.0)
    high: float = eqx.field(static=True, converter=plain, default=1.0)
    compact_support: ClassVar[bool] = True
    atomless: ClassVar[bool] = True

    def __check_init__(self) -> None:
        """The ends must be finite and ordered."""
        low, high = finite_number("low", self.low), finite_number("high", self.high)
        require(low < high, "low", "be smaller than `high`", f"they are {low:g} and {high:g}")

    def sample(self, key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Uniform draws."""
        return flat(partial(jax.random.uniform, minval=self.low, maxval=self.high), key, shape)

    @property
    def mean(self) -> float:
        """(low + high)/2."""
        return 0.5 * (self.low + self.high)

    @property
    def symmetric(self) -> bool:
        """If low = −high."""
        return self.low == -self.high

    @property
    def second_moment(self) -> float:
        """(low² + low·high + high²)/3."""
        return (self.low**2 + self.low * self.high + self.high**2) / 3.0
