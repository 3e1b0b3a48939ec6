"""The logistic loss."""

import math
from typing import Any

from jaxtyping import Array, Float

from jaxlimit._numerics import namespace
from jaxlimit._typing import Host
from jaxlimit.losses._base import AbstractLoss, Derivative, require_signs


class Logistic(AbstractLoss):
    """ℓ(g, y) = log(1 + e^{−yg}) for labels y = ±1: the negative log-likelihood of P(y | g) = 1/(1 + e^{−yg}).

    A `Problem` with other targets raises ``ValueError``. Source: references `mild`.

        >>> import jaxlimit as jl
        >>> round(float(jl.Logistic().value(0.0, 1.0)), 6), float(jl.Logistic().derivative(0.0, 1.0))
        (0.693147, -0.5)
    """

    def value(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """log(1 + e^{−yg}), without overflow."""
        margin = target * prediction
        return namespace(margin).logaddexp(-margin, 0.0)

    def derivative(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """−y/(1 + e^{yg}), with a small relative error on either side."""
        margin = target * prediction
        xp = namespace(margin)
        return -target * xp.exp(-xp.logaddexp(margin, 0.0))

    @property
    def curvature(self) -> float | None:
        """1/4, at g = 0."""
        return 0.25

    def require_targets(self, y: Float[Host, " points"]) -> None:
        """Labels are ±1."""
        require_signs("Logistic", y)

    def scalar(self) -> Derivative | None:
        """−y/(1 + e^{yg})."""
        return _slope


def _slope(prediction: Any, target: Any) -> Any:
    margin = target * prediction
    small = math.exp(-abs(margin))
    one = type(target)(1)
    return -target * (small if margin > 0 else one) / (one + small)
