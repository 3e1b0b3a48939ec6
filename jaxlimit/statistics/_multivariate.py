"""What distances of all points at once share: whitening, their null law, their bounds and their power."""

import math
from abc import abstractmethod
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float

from jaxlimit._arguments import require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.statistics._base import AbstractStatistic, Reading
from jaxlimit.statistics._chi_squares import ChiSquares
from jaxlimit.statistics._compare_samples import AbstractTwoSampleStatistic, PairReading

FEWEST = 100
"""Replicas of each of two samples: with fewer, null laws for large numbers raise too many false alarms."""


class Estimate(NamedTuple):
    """A distance of n samples, and the noise of it.

    `spread` is √n times the standard deviation of the distance where it is far above the noise, `inflation`
    the size of the noise |ε|² under the samples' own law beside that under the Gaussian law.
    """

    distance: float
    spread: float
    inflation: float


class AbstractMultivariateStatistic(AbstractStatistic, AbstractTwoSampleStatistic):
    """D = |δ|, δ the difference of two laws' mean features in a Hilbert space: one entry for all points.

    With n samples D̂ = |δ + ε|, ε the noise of the mean features. State how to measure D̂ and the law of
    n|ε|² where the Gaussian law is right, Σ λ_k χ²_k for large n; with e = δ/D the base offers

    - p-value: P(Σ λ_k χ²_k ≥ n D̂²).
    - upper bound: D̂ ≥ e·(δ + ε) = D + e·ε, so D̂ + z(level)·s/√n with s² the variance of the samples'
      features along the direction found: no price for the number of dimensions.
    - lower bound: D̂² = D² + 2D e·ε + |ε|², so √(D̂² − q + b²) − b with b = z(tail/2)·s/√n and q the
      quantile of |ε|² at tail/2, with what the samples' own noise is larger than the law's.
    - detectable: the smallest D at which n D² + E Σλχ² − z(power)·√(4n D² max λ + Var Σλχ²) passes the
      critical value; laws so near the Gaussian one that their features have its covariance.
    - null_distance: √(E Σλχ²/n).

    All are asymptotic in n. Whitened distances are scaled so that a small shift of the mean by δ standard
    deviations of the law, along any combination of the points, has distance δ: margins mean the same for all.

    For two samples with n₁ and n₂ replicas the same holds with n = n₁n₂/(n₁ + n₂), in coordinates that whiten
    the two together; state the distance and how n D² is distributed where both have one law.
    """

    @abstractmethod
    def estimate(
        self,
        values: Float[Host, "replicas points"],
        mean: Float[Host, " points"],
        covariance: Float[Host, "points points"],
        key: RandomKey | None,
    ) -> tuple[Estimate, ChiSquares]:
        """The distance to the law, and the law of replicas · distance² where the samples follow it."""

    @abstractmethod
    def estimate_pair(
        self, first: Float[Host, "replicas points"], second: Float[Host, "others points"], key: RandomKey | None
    ) -> tuple[Estimate, ChiSquares]:
        """The distance of two samples, and the law of n₁n₂/(n₁ + n₂) · distance² where they have one law."""

    @abstractmethod
    def null_law(self, points: int, replicas: int) -> ChiSquares:
        """The law of replicas · distance² for independent points, with the default key; for planning."""

    def read(
        self,
        values: Float[Host, "replicas points"],
        mean: Float[Host, " points"],
        covariance: Float[Host, "points points"],
        level: float,
        tests: int,
        key: RandomKey | None = None,
    ) -> Reading:
        """One distance for all points; raises ``ValueError`` where the law has no variance."""
        found, null = self.estimate(values, mean, covariance, key)
        return bounded(found, null, values.shape[0], level, level / tests)

    def read_pair(
        self,
        first: Float[Host, "replicas points"],
        second: Float[Host, "others points"],
        level: float,
        power: float,
        times: int,
        key: RandomKey | None = None,
    ) -> PairReading:
        """One distance for all points; raises ``ValueError`` for fewer than FEWEST replicas of either."""
        require_pair(first, second)
        count = first.shape[0] * second.shape[0] / (first.shape[0] + second.shape[0])
        found, null = self.estimate_pair(first, second, key)
        reading = bounded(found, null, count, level, level / times)
        return PairReading(reading, detected(null, count, level / times, power), math.sqrt(null.mean / count))

    def entries(self, points: int) -> int:
        """One, whatever the number of points."""
        return 1

    def detectable(self, replicas: int, tests: int, level: float, power: float, points: int = 1) -> float:
        """The distance that a test at `level` over all `tests` detects, for this number of `points`."""
        return detected(self.null_law(points, replicas), replicas, level / tests, power)

    def detectable_among(self, points: int, replicas: int, times: int, level: float, power: float) -> float:
        """`detectable` at all times, for this number of points."""
        return self.detectable(replicas, times, level, power, points)

    def null_distance(self, replicas: int, points: int) -> float:
        """√(E Σλχ²/n), above the mean distance by Jensen's inequality."""
        return math.sqrt(self.null_law(points, replicas).mean / replicas)


def require_pair(first: Float[Host, "replicas points"], second: Float[Host, "others points"]) -> None:
    """Enough of both, and something to measure differences by at every point."""
    n, m = first.shape[0], second.shape[0]
    require(min(n, m) >= FEWEST, "first, second", f"hold at least {FEWEST} replicas each", f"they hold {n} and {m}")
    constant = int(np.sum(np.ptp(first, axis=0) + np.ptp(second, axis=0) == 0))
    require(constant == 0, "first, second", "vary at every point", f"{constant} points are constant in both")


def bounded(found: Estimate, null: ChiSquares, count: float, level: float, tail: float) -> Reading:
    """Distance, bounds and p-value from the law of count · distance² where the two laws are the same."""
    distance = found.distance
    upper = distance + normal_quantile(level) * found.spread / math.sqrt(count)
    noise = max(1.0, found.inflation) * null.quantile(0.5 * tail) / count
    lower = above_noise(distance, noise, normal_quantile(0.5 * tail) * found.spread / math.sqrt(count))
    return Reading(np.array([distance]), np.array([lower]), np.array([upper]), null.tail(count * distance**2))


def detected(null: ChiSquares, count: float, tail: float, power: float) -> float:
    """The smallest D with count·D² + mean − z·√(4·count·D²·top + variance) ≥ the critical value."""
    gap, z = null.quantile(tail) - null.mean, normal_quantile(1.0 - power)
    # With y = count·D²: (y − gap)² = z²(4·top·y + variance), the larger root.
    half = gap + 2.0 * null.top * z * z
    root = half**2 - gap**2 + z * z * null.variance
    return math.sqrt(max(half + math.sqrt(max(root, 0.0)), 0.0) / count)


def above_noise(distance: float, noise: float, half: float) -> float:
    """A lower bound of D from D̂² = D² + 2D e·ε + |ε|²: √(D̂² − noise + half²) − half, or 0."""
    return math.sqrt(distance**2 - noise + half * half) - half if distance**2 > noise else 0.0


def normal_quantile(tail: float) -> float:
    """The normal quantile exceeded with probability `tail`."""
    return float(-scipy.special.ndtri(tail))
