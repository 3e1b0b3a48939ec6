"""A bounded, non-convex loss."""

import math
from typing import Any

from jaxtyping import Array, Float

from jaxlimit._numerics import namespace
from jaxlimit.losses._base import AbstractLoss, Derivative


class BoundedQuadratic(AbstractLoss):
    """ℓ(g, y) = r²/(1 + r²), with r = y − g: bounded by 1, and not convex where r² > 1/3.

    Its derivative is bounded and Lipschitz, which is what the theorems on multilayer mean-field limits ask
    for where they do not need convexity. Source: references `multilayer`.

        >>> import jaxlimit as jl
        >>> round(float(jl.BoundedQuadratic().value(1.0, 2.0)), 12)
        0.5
    """

    def value(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """(r/√(1 + r²))²: no square of a large residual."""
        share, _ = _share(prediction - target)
        return share * share

    def derivative(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """2(g − y)/(1 + r²)²."""
        share, root = _share(prediction - target)
        return 2.0 * share / root / root / root

    @property
    def curvature(self) -> float | None:
        """2, at the target; elsewhere |2(1 − 3r²)/(1 + r²)³| is smaller."""
        return 2.0

    def scalar(self) -> Derivative | None:
        """2(g − y)/(1 + r²)²."""
        return _slope


def _share(residual: Any) -> tuple[Any, Any]:
    """r/√(1 + r²) and √(1 + r²)."""
    xp = namespace(residual)
    root = xp.hypot(xp.ones_like(residual), residual)
    return residual / root, root


def _slope(prediction: Any, target: Any) -> Any:
    kind = type(target)
    residual = prediction - target
    root = kind(math.hypot(kind(1), residual))
    return kind(2) * (residual / root) / root / root / root
