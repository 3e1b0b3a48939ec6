"""The hyperbolic tangent."""

import math
from typing import Any, ClassVar

import numpy as np

from jaxlimit._numerics import namespace
from jaxlimit._typing import ArrayLike
from jaxlimit.activations._base import AbstractActivation, Scalar


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

    def scalar(self, dtype: np.dtype) -> Scalar | None:
        """tanh(u) and 1 − tanh²(u); in single precision by a rational function, within 4 units of rounding."""
        return _single if dtype == np.float32 else _double


def _double(u: Any) -> tuple[Any, Any]:
    value = math.tanh(u)
    return value, 1.0 - value * value


# tanh(u) ≈ u P(u²)/Q(u²) for |u| ≤ 7.905, beyond which float32 rounds to ±1: coefficients of Eigen's `ptanh_float`.
ONE, CUT = np.float32(1.0), np.float32(7.90531110763549805)
P1, P3, P5, P7, P9, P11, P13 = (
    np.float32(v)
    for v in (
        4.89352455891786e-03,
        6.37261928875436e-04,
        1.48572235717979e-05,
        5.12229709037114e-08,
        -8.60467152213735e-11,
        2.00018790482477e-13,
        -2.76076847742355e-16,
    )
)
Q0, Q2, Q4, Q6 = (
    np.float32(v) for v in (4.89352518554385e-03, 2.26843463243900e-03, 1.18534705686654e-04, 1.19825839466702e-06)
)


def _single(u: Any) -> tuple[Any, Any]:
    x = min(max(u, -CUT), CUT)
    s = x * x
    above = x * (P1 + s * (P3 + s * (P5 + s * (P7 + s * (P9 + s * (P11 + s * P13))))))
    value = above / (Q0 + s * (Q2 + s * (Q4 + s * Q6)))
    return value, ONE - value * value
