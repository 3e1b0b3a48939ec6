"""Losses ℓ(g, y) of a scalar prediction g and a target y, with the derivative in g that SGD follows."""

from abc import abstractmethod

import equinox as eqx
from jaxtyping import Array, Float


class AbstractLoss(eqx.Module):
    """A loss is given by its value and by its derivative in the prediction, elementwise."""

    @abstractmethod
    def value(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """ℓ(g, y), elementwise."""

    @abstractmethod
    def derivative(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """∂ℓ/∂g, elementwise."""


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
