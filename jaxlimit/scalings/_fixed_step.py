"""Gradient descent as it is written: a step η, counted step by step."""

import equinox as eqx

from jaxlimit._arguments import plain, positive_integer, positive_number, require
from jaxlimit.scalings._base import AbstractScaling, whole_steps


class FixedStep(AbstractScaling):
    """Output factor N^{−γ} and steps of size η in the raw parameters, at every width; t counts steps.

    With the problem's loss L = E_π ℓ(g, y) and learning rate α, which is 1 unless set, a step is
    θ ← θ − αη ∇_θ L(θ): η belongs to the MEAN loss. A paper whose loss is a sum over n points and whose step is η_sum
    has η = n η_sum here. No limit in the width is claimed; `PowerScaling(γ)` is η = α N^{−2(1−γ)} on the clock
    t = k/N. Raises ``ValueError`` for η ≤ 0 and γ outside [0, 1]. Source: references `min_norm`, `mild`.

        >>> import jaxlimit as jl
        >>> scaling = jl.FixedStep(0.01)
        >>> scaling.output(16), scaling.learning_rate(16), scaling.steps(100, 16)
        (0.25, 0.01, 100)
    """

    eta: float = eqx.field(static=True, converter=plain)
    gamma: float = eqx.field(static=True, converter=plain, default=0.5)

    def __check_init__(self) -> None:
        """η is positive, γ lies in [0, 1]."""
        positive_number("eta", self.eta)
        gamma = positive_number("gamma", self.gamma, zero=True)
        require(gamma <= 1.0, "gamma", "lie in [0, 1]", f"it is {gamma:g}")

    def output(self, width: int) -> float:
        """N^{−γ}."""
        return float(positive_integer("width", width)) ** -self.gamma

    def learning_rate(self, width: int) -> float:
        """η."""
        positive_integer("width", width)
        return float(self.eta)

    def steps(self, t: float, width: int) -> int:
        """⌊t⌋. Raises ``ValueError`` when the count would not fit a 32-bit step counter."""
        positive_integer("width", width)
        return whole_steps(float(t), f"t = {t:g}")
