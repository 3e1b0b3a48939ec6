"""A Gaussian bump."""

import math
from typing import Any, ClassVar

import numpy as np

from jaxlimit._numerics import UNIT, Pairs, namespace
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations._base import AbstractClosedFormActivation, Scalar
from jaxlimit.activations._determinant import determinant, determinant_with_error


class GaussianBump(AbstractClosedFormActivation):
    """σ(u) = e^{−u²/2}: even, bounded, smooth; closed-form duals.

    E σσ' = D^{−1/2} and E σ̇σ̇' = r D^{−3/2} with D = (1+a)(1+b) − r² = det(I + C), C the covariance of
    (u, u'): a Gaussian integral, and its derivative in r.

        >>> import numpy as np, jaxlimit as jl
        >>> round(float(jl.activations.GaussianBump()(np.float64(1.0))), 12)
        0.606530659713
    """

    even: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = True
    bounded: ClassVar[bool | None] = True
    polynomial: ClassVar[bool | None] = False

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """e^{−u²/2}."""
        return namespace(u).exp(-0.5 * u * u)

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """−u e^{−u²/2}."""
        return -u * self(u)

    def dual(self, pair: Pairs) -> Host:
        """D^{−1/2}."""
        return 1.0 / np.sqrt(determinant(pair, 1.0))

    def dual_derivative(self, pair: Pairs) -> Host:
        """r D^{−3/2}."""
        det = determinant(pair, 1.0)
        return pair.r / det / np.sqrt(det)

    def dual_error(self, pair: Pairs) -> Host:
        """That of D^{−1/2}, and a few roundings."""
        det = determinant_with_error(pair, 1.0)
        return 1.01 * (det.power_error(1) + 8 * UNIT / np.sqrt(det.value))

    def dual_derivative_error(self, pair: Pairs) -> Host:
        """Those of r, relative·√(ab), and of D^{−3/2}, and a few roundings."""
        det = determinant_with_error(pair, 1.0)
        moved = pair.relative * pair.scale
        whole = 1.0 / det.value / np.sqrt(det.value)
        return 1.01 * ((np.abs(pair.r) + moved) * det.power_error(3) + whole * (moved + 12 * UNIT * np.abs(pair.r)))

    def scalar(self, dtype: np.dtype) -> Scalar | None:
        """e^{−u²/2} and −u e^{−u²/2}."""
        return _single if dtype == np.float32 else _double


def _double(u: Any) -> tuple[Any, Any]:
    value = math.exp(-0.5 * u * u)
    return value, -u * value


def _single(u: Any) -> tuple[Any, Any]:
    """In double precision, where the rounding of u² is of no account, and rounded."""
    wide = float(u)
    value = math.exp(-0.5 * wide * wide)
    return np.float32(value), np.float32(-wide * value)
