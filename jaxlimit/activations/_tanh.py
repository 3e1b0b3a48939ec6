"""The hyperbolic tangent."""

from typing import ClassVar

from jaxlimit._numerics import namespace
from jaxlimit._typing import ArrayLike
from jaxlimit.activations._base import AbstractActivation


class Tanh(AbstractActivation):
    """σ(u) = tanh(u): odd, bounded, smooth; its duals have no closed form (use `Quadrature`).

    >>> import numpy as np, jaxlimit as jl
    >>> round(float(jl.activations.Tanh().derivative(np.float64(0.5))), 12)
    0.786447732966
    """

    odd: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = True
    bounded: ClassVar[bool | None] = True
    polynomial: ClassVar[bool | None] = False

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """tanh(u)."""
        return namespace(u).tanh(u)

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """1 − tanh²(u)."""
        return 1.0 - self(u) ** 2
