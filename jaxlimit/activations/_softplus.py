"""The smooth rectifier."""

from typing import ClassVar

from jaxlimit._numerics import expit, namespace
from jaxlimit._typing import ArrayLike
from jaxlimit.activations._base import AbstractActivation


class Softplus(AbstractActivation):
    """σ(u) = log(1 + e^u): unbounded, smooth; use `Quadrature` for its duals.

    Unbounded, so outside the theorem of the Xavier limit; simulated and solved all the same.

        >>> import numpy as np, jaxlimit as jl
        >>> round(float(jl.activations.Softplus()(np.float64(0.0))), 12)
        0.69314718056
    """

    linear_odd_part: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = True
    bounded: ClassVar[bool | None] = False
    polynomial: ClassVar[bool | None] = False

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """log(1 + e^u), without overflow."""
        return namespace(u).logaddexp(u, 0.0)

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """1/(1 + e^{−u})."""
        return expit(u)
