"""The rectifier."""

from typing import Any, ClassVar

import numpy as np

from jaxlimit._numerics import UNIT, Pairs, namespace
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations._base import AbstractClosedFormActivation, Scalar


class Relu(AbstractClosedFormActivation):
    """σ(u) = max(u, 0), with σ'(0) = 0: homogeneous, unbounded, kinked; closed-form duals.

    E σσ' = (√(ab) sin θ + r(π − θ))/2π and E σ̇σ̇' = (π − θ)/2π. The theorem of the Xavier limit asks
    for a smooth bounded σ, so ReLU lies outside it; it is simulated and solved all the same.
    Source: references `duals`.

        >>> import numpy as np, jaxlimit as jl
        >>> jl.activations.Relu()(np.array([-1.0, 2.0])).tolist()
        [0.0, 2.0]
    """

    linear_odd_part: ClassVar[bool] = True
    homogeneous: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = False
    bounded: ClassVar[bool | None] = False
    polynomial: ClassVar[bool | None] = False

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """max(u, 0)."""
        return namespace(u).maximum(u, 0.0)

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """1 where u > 0, else 0."""
        return (u > 0).astype(u.dtype)

    def dual(self, pair: Pairs) -> Host:
        """(√(ab) sin θ + r(π − θ))/2π."""
        return (pair.scale * pair.sine + pair.r * (np.pi - pair.theta)) / (2.0 * np.pi)

    def dual_derivative(self, pair: Pairs) -> Host:
        """(π − θ)/2π."""
        return (np.pi - pair.theta) / (2.0 * np.pi)

    def dual_error(self, pair: Pairs) -> Host:
        """Every term is at most √(ab)π, with the errors of a, b, r and θ entering linearly."""
        relative = (np.pi + 1.0) * pair.relative + 16 * UNIT
        return 1.01 * pair.scale * (relative + 2.0 * pair.angular) / (2.0 * np.pi)

    def dual_derivative_error(self, pair: Pairs) -> Host:
        """The error of θ over 2π, and the rounding of π − θ."""
        return 1.01 * np.broadcast_to((pair.angular + 8 * UNIT) / (2.0 * np.pi), pair.theta.shape)

    def scalar(self, dtype: np.dtype) -> Scalar | None:
        """max(u, 0) and 1 where u > 0, in either precision."""
        return _single if dtype == np.float32 else _double


# Written so that NaN stays NaN: max(0, NaN) would be 0.
def _double(u: Any) -> tuple[Any, Any]:
    return 0.0 if u <= 0.0 else u, 1.0 if u > 0.0 else 0.0  # noqa: FURB136


ZERO, ONE = np.float32(0.0), np.float32(1.0)


def _single(u: Any) -> tuple[Any, Any]:
    return ZERO if u <= ZERO else u, ONE if u > ZERO else ZERO  # noqa: FURB136
