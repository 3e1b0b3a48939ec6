"""Powers of the widths, layer by layer."""

import equinox as eqx

from jaxlimit._arguments import items, positive_number, require
from jaxlimit.scalings._layerwise import AbstractLayerwiseScaling, Widths, checked


class DeepPowerScaling(AbstractLayerwiseScaling):
    """Output factor N_i^{−γ_i} in hidden layer i, at most three of them; time t = k/N_last; γ_i ∈ [1/2, 1].

    With a_i = N_i^{−(1−2γ_i)}, b_i = N_i^{−(2−2γ_i)} and d_i = N_i^{−(3−2γ_i)} the multipliers of α for the gradient
    steps in (w_1, …, w_L) are

        one hidden layer:    b_1, b_1
        two:                 a_1 d_2, a_1 b_2, b_2
        three:               a_1 b_2 d_3, a_1 a_2 d_3, a_2 b_3, b_3 .

    With one hidden layer it is `PowerScaling`. The papers have no biases, and no multiplier for them is known.
    Raises ``ValueError`` for a γ outside [1/2, 1] and for more than three. Source: references
    `deep_normalisation`.

        >>> import jaxlimit as jl
        >>> scaling = jl.scalings.DeepPowerScaling((0.5, 1.0))
        >>> scaling.output((16, 4)), scaling.learning_rate((16, 4)), scaling.steps(0.5, (16, 4))
        ((0.25, 0.25), (0.25, 1.0, 1.0), 2)
    """

    gammas: tuple[float, ...] = eqx.field(static=True, converter=lambda given: items("gammas", given, "exponents"))

    def __check_init__(self) -> None:
        """One to three exponents, where the limits are known."""
        require(1 <= len(self.gammas) <= 3, "gammas", "have one to three members", f"it has {len(self.gammas)}")
        for gamma in self.gammas:
            positive_number("gammas", gamma)
            require(0.5 <= gamma <= 1.0, "gammas", "lie in [1/2, 1]", f"one is {gamma:g}")

    def output(self, width: Widths) -> tuple[float, ...]:
        """N_i^{−γ_i}."""
        return tuple(n**-gamma for n, gamma in zip(self._widths(width), self.gammas, strict=True))

    def learning_rate(self, width: Widths) -> tuple[float, ...]:
        """The multipliers of the table above."""
        pairs = list(zip(map(float, self._widths(width)), self.gammas, strict=True))
        a, b, d = ([n ** -(p - 2.0 * gamma) for n, gamma in pairs] for p in (1.0, 2.0, 3.0))
        if len(pairs) == 1:
            return b[0], b[0]
        if len(pairs) == 2:
            return a[0] * d[1], a[0] * b[1], b[1]
        return a[0] * b[1] * d[2], a[0] * a[1] * d[2], a[1] * b[2], b[2]

    def step_time(self, width: Widths) -> float:
        """1/N_last."""
        return 1.0 / self._widths(width)[-1]

    def _widths(self, width: Widths) -> Widths:
        found = checked(width)
        wanted = f"have {len(self.gammas)} members, one per γ of the scaling"
        require(len(found) == len(self.gammas), "width", wanted, f"it is {found}")
        return found
