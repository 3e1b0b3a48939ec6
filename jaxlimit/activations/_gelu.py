"""The Gaussian error linear unit."""

from typing import ClassVar

import numpy as np

from jaxlimit._numerics import namespace, ndtr
from jaxlimit._typing import ArrayLike
from jaxlimit.activations._base import AbstractActivation


class Gelu(AbstractActivation):
    """σ(u) = uΦ(u), exactly and not by tanh: unbounded, smooth; use `Quadrature` for its duals.

    Unbounded, so outside the theorem of the Xavier limit; simulated and solved all the same.
    Source: references `gelu`.

        >>> import numpy as np, jaxlimit as jl
        >>> round(float(jl.activations.Gelu()(np.float64(1.0))), 12)
        0.841344746069
    """

    linear_odd_part: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = True
    bounded: ClassVar[bool | None] = False
    polynomial: ClassVar[bool | None] = False

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """uΦ(u)."""
        return u * ndtr(u)

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """Φ(u) + u e^{−u²/2}/√(2π)."""
        return ndtr(u) + u * (1.0 / np.sqrt(2.0 * np.pi).item() * namespace(u).exp(-0.5 * u * u))
