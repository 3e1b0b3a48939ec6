"""Losses ℓ(g, y) of a scalar prediction g and a target y, with the derivative in g that SGD follows."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

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

    def scalar(self) -> Callable[[Any, Any], Any] | None:
        """(g, y) ↦ ∂ℓ/∂g for ONE pair of numbers in plain arithmetic, for compilers of native code.

        None, the default: this loss is left to XLA.
        """
        return None


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

    def scalar(self) -> Callable[[Any, Any], Any] | None:
        """g − y."""
        return _residual


def _residual(prediction: Any, target: Any) -> Any:
    return prediction - target
