"""The squared error."""

from typing import Any

from jaxtyping import Array, Float

from jaxlimit.losses._base import AbstractLoss, Derivative


class SquaredError(AbstractLoss):
    """ℓ(g, y) = ½ (y − g)².

    The only loss whose Xavier limit is a linear equation, and so the one `SpectralLimit` solves exactly
    (references: xavier).

        >>> import jaxlimit as jl
        >>> float(jl.SquaredError().value(1.0, 3.0)), float(jl.SquaredError().derivative(1.0, 3.0))
        (2.0, -2.0)
    """

    def value(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """½ (y − g)²."""
        return 0.5 * (target - prediction) ** 2

    def derivative(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """g − y."""
        return prediction - target

    @property
    def curvature(self) -> float | None:
        """1."""
        return 1.0

    def scalar(self) -> Derivative | None:
        """g − y."""
        return _residual


def _residual(prediction: Any, target: Any) -> Any:
    return prediction - target
