"""What a loss must offer."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Float

from jaxlimit._arguments import require
from jaxlimit._typing import Host

Derivative = Callable[[Any, Any], Any]
"""One prediction and one target ↦ ∂ℓ/∂g."""


class AbstractLoss(eqx.Module):
    """A loss is given by its value and by its derivative in the prediction, elementwise.

    Both receive JAX arrays on the device and float64 NumPy arrays on the host; written with the array's
    own namespace they serve both.
    """

    @abstractmethod
    def value(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """ℓ(g, y), elementwise."""

    @abstractmethod
    def derivative(self, prediction: Float[Array, "..."], target: Float[Array, "..."]) -> Float[Array, "..."]:
        """∂ℓ/∂g, elementwise."""

    @property
    def curvature(self) -> float | None:
        """An upper bound of |∂²ℓ/∂g²| over all predictions and targets; None, the default: none is known.

        A step is stable where α·curvature·B(x, x)/N ≤ 2; without a bound that cannot be checked beforehand.
        """
        return None

    def require_targets(self, y: Float[Host, " points"]) -> None:
        """Raise ``ValueError`` for targets that the loss is not made for; by default every number is one."""

    def scalar(self) -> Derivative | None:
        """(g, y) ↦ ∂ℓ/∂g for ONE pair of numbers in plain arithmetic, for compilers of native code.

        None, the default: this loss is left to XLA. Constants take the precision of the numbers that come
        in, `type(y)(constant)`; equal losses must return the same function, by which compiled loops are found.
        """
        return None


def require_signs(name: str, y: Host) -> None:
    """The targets of a loss of the margin y·g are the labels ±1."""
    wrong = np.abs(y) != 1.0
    first = int(np.argmax(wrong)) if y.size else 0
    require(
        not bool(np.any(wrong)),
        "data",
        f"have targets 1 and −1 for the loss {name}",
        f"target {first} is {y[first]:g}" if y.size else "",
    )
