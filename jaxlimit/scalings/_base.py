"""What a scaling must offer, and how limit time becomes whole steps."""

import math
from abc import abstractmethod
from typing import Any

import equinox as eqx

from jaxlimit._arguments import STEP_LIMIT, require


class AbstractScaling(eqx.Module):
    """A sequence of factors in the width N: what makes a family of networks converge.

    The width is a whole number; of networks with several hidden layers it is a tuple, and so are the factors
    (`AbstractLayerwiseScaling`).
    """

    @abstractmethod
    def output(self, width: Any) -> Any:
        """Factor in front of Σ_i c_i σ(w_i·x)."""

    @abstractmethod
    def learning_rate(self, width: Any) -> Any:
        """Factor on α for the gradient step at this width."""

    @abstractmethod
    def steps(self, t: float, width: Any) -> int:
        """Number of SGD steps at limit time t."""


def whole_steps(product: float, where: str) -> int:
    """⌊product⌋, where a product within rounding of an integer counts as that integer.

    Raises ``ValueError`` when the count would not fit a 32-bit step counter; `where` says of which time and width.
    """
    require(math.isfinite(product), "ts", "stay below 2³¹ steps", f"{where} overflows")
    nearest = round(product)
    # Rounding of t and of the product moves it by at most two units in the last place.
    count = nearest if abs(product - nearest) <= 2.0**-51 * max(1.0, abs(product)) else math.floor(product)
    require(count < STEP_LIMIT, "ts", "stay below 2³¹ steps", f"{where} means {count} steps")
    return count
