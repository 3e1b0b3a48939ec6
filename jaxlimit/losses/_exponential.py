"""The exponential loss."""

import math
from typing import Any

from jaxtyping import Array, Float

from jaxlimit._numerics import namespace
from jaxlimit._typing import Host
from jaxlimit.losses._base import AbstractLoss, Derivative, require_signs


class Exponential(AbstractLoss):
    """ℓ(g, y) = e^{−yg} for labels y = ±1.

    Its curvature is not bounded, so that the stability of a step cannot be checked beforehand. A `Problem`
    with other targets raises ``ValueError``. Source: references `mild`.

        >>> import jaxlimit as jl
        >>> float(jl.Exponential().value(0.0, 1.0)), float(jl.Exponential().derivative(0.0, 1.0))
        (1.0, -1.0)
    """

    def value(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """e^{−yg}."""
        margin = target * prediction
        return namespace(margin).exp(-margin)

    def derivative(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """−y e^{−yg}."""
        return -target * self.value(prediction, target)

    def require_targets(self, y: Float[Host, " points"]) -> None:
        """Labels are ±1."""
        require_signs("Exponential", y)

    def scalar(self) -> Derivative | None:
        """−y e^{−yg}."""
        return _slope


def _slope(prediction: Any, target: Any) -> Any:
    return -target * math.exp(-target * prediction)
