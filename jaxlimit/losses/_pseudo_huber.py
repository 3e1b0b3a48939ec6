"""A smooth relative of Huber's loss."""

import math
from functools import lru_cache
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from jaxlimit._arguments import plain, positive_number, require
from jaxlimit._numerics import namespace
from jaxlimit.losses._base import AbstractLoss, Derivative


class PseudoHuber(AbstractLoss):
    """ℓ(g, y) = δ²(√(1 + (r/δ)²) − 1), with r = g − y.

    Like Huber's loss ½ r² near the target and of slope ±δ far from it, but analytic. `delta` = δ > 0 is in
    the units of the targets. Raises ``ValueError`` for δ that float32 does not hold as a normal number, about
    1.2e-38 to 3.4e38. Source: references `pseudo_huber`.

        >>> import jaxlimit as jl
        >>> round(float(jl.PseudoHuber().value(5.0, 3.0)), 6), round(float(jl.PseudoHuber().derivative(5.0, 3.0)), 6)
        (1.236068, 0.894427)
    """

    delta: float = eqx.field(static=True, converter=plain, default=1.0)

    def __check_init__(self) -> None:
        """δ must be positive, and neither 0 nor infinite in float32: 0/0 and ∞/∞ would follow."""
        delta, single = positive_number("delta", self.delta), np.finfo(np.float32)
        least, most = float(single.tiny), float(single.max)
        require(
            least <= delta <= most, "delta", f"lie between {least:.2g} and {most:.2g}, as float32", f"it is {delta:g}"
        )

    def value(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """min(|r|, δ)·|r|/(p + √(1 + q²)) with p = δ/max(|r|, δ) ≤ 1 and q as below: nothing cancels or overflows."""
        size = abs(prediction - target)
        xp = namespace(size)
        return xp.minimum(size, self.delta) * (size / (self.delta / xp.maximum(size, self.delta) + self._root(size)))

    def derivative(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """r/√(1 + (r/δ)²): r, cut off at ±δ, over √(1 + q²), q ≤ 1 the smaller of |r|/δ and δ/|r|."""
        residual = prediction - target
        return namespace(residual).clip(residual, -self.delta, self.delta) / self._root(abs(residual))

    def _root(self, size: Any) -> Any:
        """√(1 + q²)."""
        xp = namespace(size)
        share = xp.minimum(size, self.delta) / xp.maximum(size, self.delta)
        return xp.sqrt(1.0 + share * share)

    @property
    def curvature(self) -> float | None:
        """1, at the target."""
        return 1.0

    def scalar(self) -> Derivative | None:
        """r/√(1 + (r/δ)²)."""
        return _slope(float(self.delta))


@lru_cache(maxsize=32)
def _slope(delta: float) -> Derivative:
    def derivative(prediction: Any, target: Any) -> Any:
        kind = type(target)
        end, residual = kind(delta), prediction - target
        size = abs(residual)
        share = min(size, end) / max(size, end)
        return min(max(residual, -end), end) / kind(math.sqrt(kind(1) + share * share))

    return derivative
