"""How the output and the learning rate shrink with the width, and how steps become limit time."""

import math
from abc import abstractmethod

import equinox as eqx

from jaxlimit._arguments import STEP_LIMIT, positive_integer, positive_number, require


class AbstractScaling(eqx.Module):
    """A sequence of factors in the width N: what makes a family of networks converge."""

    @abstractmethod
    def output(self, width: int) -> float:
        """Factor in front of Σ_i c_i σ(w_i·x)."""

    @abstractmethod
    def learning_rate(self, width: int) -> float:
        """Factor on α for the gradient step at this width."""

    @abstractmethod
    def steps(self, t: float, width: int) -> int:
        """Number of SGD steps at limit time t."""


class PowerScaling(AbstractScaling):
    """Output factor N^{−γ}, learning rate α N^{−2(1−γ)}, time t = k/N; γ ∈ [1/2, 1].

    Both parameter increments then carry α N^{γ−2}. γ = 1/2 is the Xavier scaling, γ = 1 mean field.
    Raises ``ValueError`` for γ outside [1/2, 1]. Source: references `normalisation`.

        >>> import jaxlimit as jl
        >>> scaling = jl.PowerScaling(0.75)
        >>> scaling.output(16), scaling.learning_rate(16), scaling.steps(0.5, 16)
        (0.125, 0.25, 8)
    """

    gamma: float = eqx.field(static=True)

    def __check_init__(self) -> None:
        """γ must lie where the limits are known."""
        gamma = positive_number("gamma", self.gamma)
        require(0.5 <= gamma <= 1.0, "gamma", "lie in [1/2, 1]", f"it is {gamma:g}")

    def output(self, width: int) -> float:
        """N^{−γ}."""
        return float(positive_integer("width", width)) ** -self.gamma

    def learning_rate(self, width: int) -> float:
        """N^{−2(1−γ)}."""
        return float(positive_integer("width", width)) ** (-2.0 * (1.0 - self.gamma))

    def steps(self, t: float, width: int) -> int:
        """⌊N t⌋, where a product within rounding of an integer counts as that integer.

        0.29 · 100 is 28.999999999999996 in floating point and means 29 steps. Raises ``ValueError``
        when the count would not fit a 32-bit step counter.
        """
        product = float(t) * positive_integer("width", width)
        require(math.isfinite(product), "ts", "stay below 2³¹ steps", f"t = {t:g} at width {width} overflows")
        nearest = round(product)
        # Rounding of t and of the product moves it by at most two units in the last place.
        count = nearest if abs(product - nearest) <= 2.0**-51 * max(1.0, abs(product)) else math.floor(product)
        require(count < STEP_LIMIT, "ts", "stay below 2³¹ steps", f"t = {t:g} at width {width} means {count} steps")
        return count


def Xavier() -> PowerScaling:
    """The Xavier scaling 1/√N with learning rate α/N: ``PowerScaling(0.5)`` (references: xavier)."""
    return PowerScaling(0.5)


def MeanField() -> PowerScaling:
    """The mean-field scaling 1/N with learning rate α: ``PowerScaling(1.0)`` (references: mean_field)."""
    return PowerScaling(1.0)
