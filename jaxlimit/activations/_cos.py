"""The cosine."""

import math
from typing import Any, ClassVar

import numpy as np

from jaxlimit._numerics import Pairs, namespace
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations import _waves
from jaxlimit.activations._base import AbstractClosedFormActivation, Scalar


class Cos(AbstractClosedFormActivation):
    """σ(u) = cos(u): even, bounded, smooth; closed-form duals.

    E σσ' = e^{−(a+b)/2} cosh r and E σ̇σ̇' = e^{−(a+b)/2} sinh r. Source: references `random_features`.

        >>> import numpy as np, jaxlimit as jl
        >>> round(float(jl.activations.Cos()(np.float64(1.0))), 12)
        0.540302305868
    """

    even: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = True
    bounded: ClassVar[bool | None] = True
    polynomial: ClassVar[bool | None] = False

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """cos(u)."""
        return namespace(u).cos(u)

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """−sin(u)."""
        return -namespace(u).sin(u)

    def dual(self, pair: Pairs) -> Host:
        """e^{−(a+b)/2} cosh r."""
        return _waves.cosine(pair)

    def dual_derivative(self, pair: Pairs) -> Host:
        """e^{−(a+b)/2} sinh r."""
        return _waves.sine(pair)

    def dual_error(self, pair: Pairs) -> Host:
        """See `_waves`."""
        return _waves.cosine_error(pair)

    def dual_derivative_error(self, pair: Pairs) -> Host:
        """See `_waves`."""
        return _waves.sine_error(pair)

    def scalar(self, dtype: np.dtype) -> Scalar | None:
        """cos(u) and −sin(u), in either precision."""
        return _pair


def _pair(u: Any) -> tuple[Any, Any]:
    return math.cos(u), -math.sin(u)
