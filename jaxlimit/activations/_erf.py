"""The error function."""

from typing import ClassVar

import numpy as np

from jaxlimit._numerics import UNIT, Pairs, erf, namespace
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations._base import AbstractClosedFormActivation


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
        return 2.0 / np.pi * np.arctan2(2.0 * pair.r, np.sqrt(_determinant(pair)))

    def dual_derivative(self, pair: Pairs) -> Host:
        """(4/π)/√D."""
        return 4.0 / np.pi / np.sqrt(_determinant(pair))

    def dual_error(self, pair: Pairs) -> Host:
        """atan2(y, x) moves by at most (x δy + y δx)/(x² + y²), and x² + y² = (1+2a)(1+2b) here."""
        det = _determinant(pair)
        root = np.sqrt(det)
        radius2 = (1.0 + 2.0 * pair.a) * (1.0 + 2.0 * pair.b)
        moved = root * 2.0 * pair.relative * pair.scale + np.abs(pair.r) * _determinant_error(pair, det) / root
        return 1.01 * (2.0 / np.pi * moved / radius2 + 8 * UNIT * np.abs(self.dual(pair)))

    def dual_derivative_error(self, pair: Pairs) -> Host:
        """D^{−1/2} moves by δD/(2D) of itself."""
        det = _determinant(pair)
        return 1.01 * self.dual_derivative(pair) * (_determinant_error(pair, det) / (2.0 * det) + 8 * UNIT)


def _determinant(pair: Pairs) -> Host:
    return 1.0 + 2.0 * (pair.a + pair.b) + 4.0 * pair.a * pair.b * pair.sine**2


def _determinant_error(pair: Pairs, det: Host) -> Host:
    product = pair.a * pair.b
    return (
        2.0 * pair.relative * (pair.a + pair.b)
        + 4.0 * product * (2.0 * pair.relative * pair.sine**2 + 2.0 * pair.sine * pair.angular + pair.angular**2)
        + 8 * UNIT * det
    )
