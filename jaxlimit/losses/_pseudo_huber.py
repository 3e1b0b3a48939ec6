"""A smooth relative of Huber's loss."""

import math
from functools import lru_cache
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from jaxlimit._arguments import positive_number
from jaxlimit._numerics import namespace
from jaxlimit.losses._base import AbstractLoss, Derivative


class PseudoHuber(AbstractLoss):
    """ℓ(g, y) = δ²(√(1 + (r/δ)²) − 1), with r = g − y.

    Like Huber's loss ½ r² near the target and of slope ±δ far from it, but analytic. `delta` = δ > 0 is in
    the units of the targets. Source: references `pseudo_huber`.

        >>> import jaxlimit as jl
        >>> round(float(jl.PseudoHuber().value(5.0, 3.0)), 6), round(float(jl.PseudoHuber().derivative(5.0, 3.0)), 6)
        (1.236068, 0.894427)
    """

    delta: float = eqx.field(static=True, default=1.0)

    def __check_init__(self) -> None:
        """δ must be positive."""
        positive_number("delta", self.delta)

    def value(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """r·s/(1 + √(1 + s²)) with s = r/δ, times δ: nothing cancels near the target or overflows far from it."""
        residual = prediction - target
        share = residual / self.delta
        return self.delta * residual * (share / (1.0 + _hypotenuse(share)))

    def derivative(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """r/√(1 + (r/δ)²)."""
        residual = prediction - target
        return residual / _hypotenuse(residual / self.delta)

    @property
    def curvature(self) -> float | None:
        """1, at the target."""
        return 1.0

    def scalar(self) -> Derivative | None:
        """r/√(1 + (r/δ)²)."""
        return _slope(float(self.delta))


def _hypotenuse(share: Any) -> Any:
    """√(1 + s²) without the square of a large s."""
    xp = namespace(share)
    return xp.hypot(xp.ones_like(share), share)


@lru_cache(maxsize=32)
def _slope(delta: float) -> Derivative:
    def derivative(prediction: Any, target: Any) -> Any:
        kind = type(target)
        residual = prediction - target
        return residual / kind(math.hypot(kind(1), residual / kind(delta)))

    return derivative
