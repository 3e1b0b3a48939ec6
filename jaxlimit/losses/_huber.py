"""Huber's loss."""

from functools import lru_cache
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from jaxlimit._arguments import plain, positive_number
from jaxlimit._numerics import namespace
from jaxlimit.losses._base import AbstractLoss, Derivative


class Huber(AbstractLoss):
    """ℓ(g, y) = ½ r² where |r| ≤ δ and δ(|r| − ½ δ) beyond, with r = g − y.

    Quadratic near the target and linear far from it: the derivative is bounded by δ, as the theorems on
    mean-field limits ask. `delta` = δ > 0 is in the units of the targets. Source: references `huber1964`.

        >>> import jaxlimit as jl
        >>> float(jl.Huber().value(5.0, 3.0)), float(jl.Huber().derivative(5.0, 3.0))
        (1.5, 1.0)
    """

    delta: float = eqx.field(static=True, converter=plain, default=1.0)

    def __check_init__(self) -> None:
        """δ must be positive."""
        positive_number("delta", self.delta)

    def value(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """With s = min(|r|, δ): s(|r| − ½ s)."""
        size = abs(prediction - target)
        inside = namespace(size).minimum(size, self.delta)
        return inside * (size - 0.5 * inside)

    def derivative(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """r, cut off at ±δ."""
        residual = prediction - target
        return namespace(residual).clip(residual, -self.delta, self.delta)

    @property
    def curvature(self) -> float | None:
        """1."""
        return 1.0

    def scalar(self) -> Derivative | None:
        """r, cut off at ±δ."""
        return _cut(float(self.delta))


@lru_cache(maxsize=32)
def _cut(delta: float) -> Derivative:
    def derivative(prediction: Any, target: Any) -> Any:
        end = type(target)(delta)
        return min(max(prediction - target, -end), end)

    return derivative
