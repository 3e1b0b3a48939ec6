"""The logistic function."""

import math
from typing import Any, ClassVar

import numpy as np

from jaxlimit._numerics import expit
from jaxlimit._typing import ArrayLike
from jaxlimit.activations._base import AbstractActivation, Scalar


class Logistic(AbstractActivation):
    """σ(u) = 1/(1 + e^{−u}) = ½(1 + tanh(u/2)): bounded, smooth; its duals have no closed form (use `Quadrature`).

    >>> import numpy as np, jaxlimit as jl
    >>> round(float(jl.activations.Logistic()(np.float64(1.0))), 12)
    0.73105857863
    """

    constant_even_part: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = True
    bounded: ClassVar[bool | None] = True
    polynomial: ClassVar[bool | None] = False

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """1/(1 + e^{−u})."""
        return expit(u)

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """σ(u)σ(−u)."""
        return expit(u) * expit(-u)

    def scalar(self, dtype: np.dtype) -> Scalar | None:
        """1/(1 + e^{−u}) and σ(u)σ(−u), in either precision."""
        return _single if dtype == np.float32 else _double


def _double(u: Any) -> tuple[Any, Any]:
    small = math.exp(-abs(u))
    low = small / (1.0 + small)
    high = 1.0 / (1.0 + small)
    return low if u < 0.0 else high, low * high


ZERO, ONE = np.float32(0.0), np.float32(1.0)


def _single(u: Any) -> tuple[Any, Any]:
    small = math.exp(-abs(u))
    low = small / (ONE + small)
    high = ONE / (ONE + small)
    return low if u < ZERO else high, low * high
