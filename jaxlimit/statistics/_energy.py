"""Energy distance to a Gaussian law of several points at once."""

import math

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import positive_integer, positive_number
from jaxlimit._typing import Host
from jaxlimit.statistics._characteristic import AbstractCharacteristicDistance


class EnergyDistance(AbstractCharacteristicDistance):
    """√((2E|z − Y| − E|z − z'| − E|Y − Y'|)/κ) in whitened coordinates, where the law is Y ~ N(0, I_d).

    With κ = Γ((d+1)/2)/(d Γ(d/2)) a small shift of the mean by δ standard deviations of the law has distance δ.
    The energy distance is a distance of characteristic functions,

        D² = (1/κ c_d) ∫ |E e^{iw·z} − e^{−|w|²/2}|² |w|^{−d−1} dw,   c_d = π^{(d+1)/2}/Γ((d+1)/2),

    and this integral is estimated without bias by `features` random frequencies: half-Cauchy radii,
    stratified, along the axes of random rotations. What is tested and bounded is the distance at the
    frequencies drawn; it is zero where the laws are equal, and its mean square over keys is that of the
    formula. Invariant under affine maps of the points, up to the directions drawn. All laws that
    differ are at a positive distance, and heavy tails count: it sees every kind of difference, the
    mean best. Cost: linear in the number of replicas. Bounds, power: see `AbstractMultivariateStatistic`.

    Good values: margin 0.1; the noise floor is √(40/n) with 20 points. `features` 256: the distance
    varies by 5 to 10% with the key. `tolerance`: directions whose share of the law's largest variance is
    smaller are no part of it; samples that leave the others are refused.
    Source: references `energy`, `baringhaus2004`.

        >>> from jaxlimit.statistics import EnergyDistance
        >>> round(EnergyDistance().detectable(replicas=8192, tests=5, level=0.01, power=0.95, points=20), 3)
        0.078
    """

    margin: float = eqx.field(static=True, default=0.1)
    features: int = eqx.field(static=True, default=256)
    tolerance: float = eqx.field(static=True, default=1e-10)

    def __check_init__(self) -> None:
        """Features are counted, a tolerance is positive."""
        positive_integer("features", self.features)
        positive_number("tolerance", self.tolerance)

    def radii(self, uniform: Float[Host, " frames"], dimensions: int) -> tuple[Host, Host]:
        """Half-Cauchy radii r; weight 1/(r² density) times the constants of the integral in polar coordinates."""
        r = np.tan(0.5 * math.pi * uniform)
        # The integral over directions and radii has the factor (2/√π) Γ((d+1)/2)/Γ(d/2); κ divides it.
        constant = 2.0 * dimensions / math.sqrt(math.pi)
        return r, constant * 0.5 * math.pi * (1.0 + r * r) / (r * r)
