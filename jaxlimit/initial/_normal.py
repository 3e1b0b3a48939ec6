"""The normal law."""

from typing import ClassVar

import equinox as eqx
import jax
from jaxtyping import Array, Float

from jaxlimit._arguments import finite_number, plain, positive_number, require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.initial._base import AbstractLaw, Coordinates, flat


class Normal(AbstractLaw):
    """Gaussian law N(mean, std²). Full support, not compact.

    >>> import jaxlimit as jl
    >>> jl.initial.Normal(0.0, 2.0).second_moment
    4.0
    """

    mean: float = eqx.field(static=True, converter=plain, default=0.0)
    std: float = eqx.field(static=True, converter=plain, default=1.0)
    full_support: ClassVar[bool] = True
    atomless: ClassVar[bool] = True

    def __check_init__(self) -> None:
        """A Gaussian needs a finite mean and a positive standard deviation, whose square is a number too."""
        finite_number("mean", self.mean)
        std = positive_number("std", self.std)
        require(1e-100 <= std <= 1e100, "std", "lie between 1e-100 and 1e100", f"it is {std:g}")

    def sample(self, key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """mean + std · N(0, 1)."""
        return self.mean + self.std * flat(jax.random.normal, key, shape)

    @property
    def second_moment(self) -> float:
        """mean² + std²."""
        return self.mean**2 + self.std**2

    @property
    def gaussian(self) -> bool:
        """Where the mean is zero."""
        return self.mean == 0.0

    def coordinates(self, x: Float[Host, "points inputs"]) -> Coordinates:
        """The points themselves, with s = std."""
        return Coordinates(x, self.std, 0.0) if self.gaussian else super().coordinates(x)
