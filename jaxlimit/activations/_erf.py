"""The error function."""

import math
from typing import Any, ClassVar

import numpy as np

from jaxlimit._numerics import UNIT, Pairs, erf, namespace
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations._base import AbstractClosedFormActivation, Scalar
from jaxlimit.activations._determinant import angle_error, determinant, determinant_with_error


class Erf(AbstractClosedFormActivation):
    """σ(u) = erf(u): odd, bounded, smooth; closed-form duals.

    E σσ' = (2/π) atan2(2r, √D) and E σ̇σ̇' = (4/π)/√D with D = (1+2a)(1+2b) − 4r². D is computed as
    1 + 2a + 2b + 4ab sin²θ, a sum of positive terms, so nothing cancels for nearly parallel points.
    Source: references `duals`.

        >>> import numpy as np, jaxlimit as jl
        >>> round(float(jl.activations.Erf()(np.float64(0.5))), 12)
        0.520499877813
    """

    odd: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = True
    bounded: ClassVar[bool | None] = True
    polynomial: ClassVar[bool | None] = False

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """erf(u)."""
        return erf(u)

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """(2/√π) e^{−u²}."""
        return 2.0 / np.sqrt(np.pi).item() * namespace(u).exp(-u * u)

    def dual(self, pair: Pairs) -> Host:
        """(2/π) atan2(2r, √D)."""
        return 2.0 / np.pi * np.arctan2(2.0 * pair.r, np.sqrt(determinant(pair, 2.0)))

    def dual_derivative(self, pair: Pairs) -> Host:
        """(4/π)/√D."""
        return 4.0 / np.pi / np.sqrt(determinant(pair, 2.0))

    def dual_error(self, pair: Pairs) -> Host:
        """The error of the angle; it rounds by a few units of itself, and is at most (π/2)·2|r|/√((1+2a)(1+2b))."""
        size = np.abs(pair.r) / np.sqrt((1.0 + 2.0 * pair.a) * (1.0 + 2.0 * pair.b))
        return 1.01 * (2.0 / np.pi * angle_error(pair, 2.0) + 16 * UNIT * size)

    def dual_derivative_error(self, pair: Pairs) -> Host:
        """That of D^{−1/2}, and a few roundings."""
        det = determinant_with_error(pair, 2.0)
        return 1.01 * 4.0 / np.pi * (det.power_error(1) + 8 * UNIT / np.sqrt(det.value))

    def scalar(self, dtype: np.dtype) -> Scalar | None:
        """erf(u) and (2/√π) e^{−u²}; in single precision within 4 units of rounding of 1."""
        return _single if dtype == np.float32 else _double


SLOPE = 2.0 / math.sqrt(math.pi)


def _double(u: Any) -> tuple[Any, Any]:
    return math.erf(u), SLOPE * math.exp(-u * u)


# erf(u) ≈ u P(u²)/Q(u²) for |u| ≤ 4, beyond which float32 rounds to ±1: coefficients of Eigen's `perf_float`.
CUT = np.float32(4.0)
P1, P3, P5, P7, P9, P11, P13 = (
    np.float32(v)
    for v in (
        -1.60960333262415e-02,
        -2.95459980854025e-03,
        -7.34990630326855e-04,
        -5.69250639462346e-05,
        -2.10102402082508e-06,
        2.77068142495902e-08,
        -2.72614225801306e-10,
    )
)
Q0, Q2, Q4, Q6, Q8 = (
    np.float32(v)
    for v in (
        -1.42647390514189e-02,
        -7.37332916720468e-03,
        -1.68282697438203e-03,
        -2.13374055278905e-04,
        -1.45660718464996e-05,
    )
)
# e^{−s} = 2^{−n} 2^{f}, |f| ≤ 1/2: n goes into the exponent's bits, 2^f is its Taylor polynomial (error 6e-9).
LARGEST, PER_LOG, HALF, SLOPE_SINGLE = (np.float32(v) for v in (86.0, -1.4426950408889634, 0.5, SLOPE))
E0, E1, E2, E3, E4, E5, E6, E7 = (np.float32(math.log(2.0) ** k / math.factorial(k)) for k in range(8))
BIAS, SHIFT = np.int32(127), np.int32(23)


def _single(u: Any) -> tuple[Any, Any]:
    x = min(max(u, -CUT), CUT)
    s = x * x
    above = x * (P1 + s * (P3 + s * (P5 + s * (P7 + s * (P9 + s * (P11 + s * P13))))))
    value = above / (Q0 + s * (Q2 + s * (Q4 + s * (Q6 + s * Q8))))
    t = PER_LOG * min(u * u, LARGEST)
    n = np.int32(t - HALF)
    f = t - np.float32(n)
    power = E0 + f * (E1 + f * (E2 + f * (E3 + f * (E4 + f * (E5 + f * (E6 + f * E7))))))
    return value, SLOPE_SINGLE * power * np.int32((n + BIAS) << SHIFT).view(np.float32)
