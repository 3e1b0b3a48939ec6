"""The distribution function of the standard normal law."""

import math
from typing import Any, ClassVar

import numpy as np

from jaxlimit._numerics import UNIT, Pairs, namespace, ndtr
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations._base import AbstractClosedFormActivation, Scalar
from jaxlimit.activations._determinant import angle_error, determinant, determinant_with_error


class Probit(AbstractClosedFormActivation):
    """σ(u) = Φ(u) = P(N(0, 1) ≤ u): bounded, smooth; closed-form duals.

    E σσ' = 1/4 + (1/2π) atan2(r, √D) and E σ̇σ̇' = (1/2π)/√D with D = (1+a)(1+b) − r². Computed as
    (1/2π) atan2(√D, −r), which keeps its relative accuracy where it is small, for long and nearly opposite
    points. Source: references `duals`.

        >>> import numpy as np, jaxlimit as jl
        >>> round(float(jl.activations.Probit()(np.float64(1.0))), 12)
        0.841344746069
    """

    constant_even_part: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = True
    bounded: ClassVar[bool | None] = True
    polynomial: ClassVar[bool | None] = False

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """Φ(u)."""
        return ndtr(u)

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """e^{−u²/2}/√(2π)."""
        return DENSITY * namespace(u).exp(-0.5 * u * u)

    def dual(self, pair: Pairs) -> Host:
        """(1/2π) atan2(√D, −r)."""
        return np.arctan2(np.sqrt(determinant(pair, 1.0)), -pair.r) / (2.0 * np.pi)

    def dual_derivative(self, pair: Pairs) -> Host:
        """(1/2π)/√D."""
        return 1.0 / (2.0 * np.pi) / np.sqrt(determinant(pair, 1.0))

    def dual_error(self, pair: Pairs) -> Host:
        """The error of the angle, and its rounding."""
        return 1.01 * (angle_error(pair, 1.0) / (2.0 * np.pi) + 8 * UNIT * self.dual(pair))

    def dual_derivative_error(self, pair: Pairs) -> Host:
        """That of D^{−1/2}, and a few roundings."""
        det = determinant_with_error(pair, 1.0)
        return 1.01 / (2.0 * np.pi) * (det.power_error(1) + 8 * UNIT / np.sqrt(det.value))

    def scalar(self, dtype: np.dtype) -> Scalar | None:
        """Φ(u) = ½ erfc(−u/√2) and e^{−u²/2}/√(2π)."""
        return _single if dtype == np.float32 else _double


DENSITY, ROOT_HALF = 1.0 / math.sqrt(2.0 * math.pi), math.sqrt(0.5)


def _double(u: Any) -> tuple[Any, Any]:
    return 0.5 * math.erfc(-ROOT_HALF * u), DENSITY * math.exp(-0.5 * u * u)


def _single(u: Any) -> tuple[Any, Any]:
    """In double precision, whose factor 1/√2 costs nothing there, and rounded."""
    return np.float32(0.5 * math.erfc(-ROOT_HALF * u)), np.float32(DENSITY * math.exp(-0.5 * u * u))
