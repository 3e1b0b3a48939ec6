"""The sum of sine and cosine."""

import math
from typing import Any, ClassVar

import numpy as np

from jaxlimit._numerics import Pairs, namespace
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations._base import AbstractClosedFormActivation, Scalar
from jaxlimit.activations._waves import TINY, gaussian_error


class SinCos(AbstractClosedFormActivation):
    """σ(u) = sin(u) + cos(u): bounded, smooth; its duals are the Gaussian kernel.

    E σσ' = E σ̇σ̇' = e^{−Var(u − u')/2}, from the difference of the points, not of a, b and r.
    Source: references `random_features`.

        >>> import numpy as np, jaxlimit as jl
        >>> float(jl.activations.SinCos()(np.float64(0.0)))
        1.0
    """

    smooth: ClassVar[bool | None] = True
    bounded: ClassVar[bool | None] = True
    polynomial: ClassVar[bool | None] = False

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """sin(u) + cos(u)."""
        xp = namespace(u)
        return xp.sin(u) + xp.cos(u)

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """cos(u) − sin(u)."""
        xp = namespace(u)
        return xp.cos(u) - xp.sin(u)

    def dual(self, pair: Pairs) -> Host:
        """e^{−Var(u − u')/2}."""
        return np.exp(-0.5 * pair.apart**2)

    def dual_derivative(self, pair: Pairs) -> Host:
        """The same, since σ'(u) = σ(u + π/2)."""
        return self.dual(pair)

    def dual_error(self, pair: Pairs) -> Host:
        """That of the distance, and of exp."""
        return 1.01 * gaussian_error(pair.apart**2, pair.apart_square_error) + TINY

    def dual_derivative_error(self, pair: Pairs) -> Host:
        """The same."""
        return self.dual_error(pair)

    def scalar(self, dtype: np.dtype) -> Scalar | None:
        """sin(u) + cos(u) and cos(u) − sin(u), in either precision."""
        return _pair


def _pair(u: Any) -> tuple[Any, Any]:
    sine, cosine = math.sin(u), math.cos(u)
    return sine + cosine, cosine - sine
