"""Maximum mean discrepancy to a Gaussian law of several points at once."""

import math

import equinox as eqx
import numpy as np
import scipy.stats
from jaxtyping import Float

from jaxlimit._arguments import positive_integer, positive_number
from jaxlimit._typing import Host
from jaxlimit.statistics._characteristic import AbstractCharacteristicDistance


class KernelDiscrepancy(AbstractCharacteristicDistance):
    """Maximum mean discrepancy (MMD) of the kernel k(z, z') = e^{−|z − z'|²/2ℓ²} in whitened coordinates.

    D² = (E k(z, z') − 2 E k(z, Y) + E k(Y, Y'))/κ,   Y ~ N(0, I_d),   ℓ = scale·√d.

    k is the mean of cos w·(z − z') over w ~ N(0, I/ℓ²), so D² = (1/κ) E_w |E e^{iw·z} − e^{−|w|²/2}|², and
    the mean over w is taken, without bias, over `features` random frequencies: stratified radii along the
    axes of random rotations. What is tested and bounded is the discrepancy of the kernel they define.
    κ = (1 + 2/ℓ²)^{−d/2−1}/ℓ² makes a small shift of the mean by δ standard deviations have distance δ.
    Invariant under affine maps of the points, up to the directions drawn. Large `scale`: mostly mean and
    variance; small: fine structure, at the price of noise. Cost: linear in the number of replicas.
    Bounds, power: see `AbstractMultivariateStatistic`.

    Good values: margin 0.1, scale 1, features 256. Source: references `mmd`, `random_features`.

        >>> from jaxlimit.statistics import KernelDiscrepancy
        >>> round(KernelDiscrepancy().detectable(replicas=8192, tests=5, level=0.01, power=0.95, points=20), 3)
        0.078
    """

    margin: float = eqx.field(static=True, default=0.1)
    scale: float = eqx.field(static=True, default=1.0)
    features: int = eqx.field(static=True, default=256)
    tolerance: float = eqx.field(static=True, default=1e-10)

    def __check_init__(self) -> None:
        """Features are counted, scale and tolerance are positive."""
        positive_integer("features", self.features)
        positive_number("scale", self.scale)
        positive_number("tolerance", self.tolerance)

    def radii(self, uniform: Float[Host, " frames"], dimensions: int) -> tuple[Host, Host]:
        """|w| of w ~ N(0, I/ℓ²); every frequency weighs 1/κ."""
        rate = 1.0 / (self.scale**2 * dimensions)  # 1/ℓ²
        kappa = rate * (1.0 + 2.0 * rate) ** (-0.5 * dimensions - 1.0)
        return math.sqrt(rate) * scipy.stats.chi.ppf(uniform, dimensions), np.full(uniform.shape, 1.0 / kappa)
