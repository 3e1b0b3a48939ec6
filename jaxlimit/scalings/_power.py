"""Powers of the width."""

import equinox as eqx

from jaxlimit._arguments import plain, positive_integer, positive_number, require
from jaxlimit.scalings._base import AbstractScaling, whole_steps


class PowerScaling(AbstractScaling):
    """Output factor N^{−γ}, learning rate α N^{−2(1−γ)}, time t = k/N; γ ∈ [1/2, 1].

    Both parameter increments then carry α N^{γ−2}. γ = 1/2 is the Xavier scaling, γ = 1 mean field.
    Raises ``ValueError`` for γ outside [1/2, 1]. Source: references `normalisation`.

        >>> import jaxlimit as jl
        >>> scaling = jl.PowerScaling(0.75)
        >>> scaling.output(16), scaling.learning_rate(16), scaling.steps(0.5, 16)
        (0.125, 0.25, 8)
    """

    gamma: float = eqx.field(static=True, converter=plain)

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
        return whole_steps(float(t) * positive_integer("width", width), f"t = {t:g} at width {width}")


def Xavier() -> PowerScaling:
    """The Xavier scaling 1/√N with learning rate α/N: ``PowerScaling(0.5)`` (references: xavier)."""
    return PowerScaling(0.5)


def MeanField() -> PowerScaling:
    """The mean-field scaling 1/N with learning rate α: ``PowerScaling(1.0)`` (references: mean_field)."""
    return PowerScaling(1.0)
