"""Mean, scale and shape between two samples: Hotelling's T², and Box's M in its two parts."""

import math
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float

from jaxlimit._arguments import require
from jaxlimit._typing import Host
from jaxlimit.statistics._base import Reading
from jaxlimit.statistics._chi_squares import ChiSquares
from jaxlimit.statistics._compare_samples import PairReading
from jaxlimit.statistics._multivariate import above_noise, detected, normal_quantile
from jaxlimit.statistics._paired_covariances import Sample, centred_sample, shape_law, share_law, trace_excess

ENTRIES = 3
"""Mean, scale and shape."""


class Entry(NamedTuple):
    """What one of the three says, and its mean square where the two laws are the same."""

    distance: float
    lower: float
    upper: float
    p_value: float
    detectable: float
    square: float


class Levels(NamedTuple):
    """Probabilities that one bound, one of all lower bounds, and one test may fail with."""

    level: float
    tail: float
    miss: float

    def reach(self, error: float) -> tuple[float, float]:
        """Half-widths of the lower and of the upper bound from the standard error."""
        return normal_quantile(0.5 * self.tail) * error, normal_quantile(self.level) * error


def read_whitened(
    x: Float[Host, "replicas dimensions"],
    y: Float[Host, "others dimensions"],
    level: float,
    power: float,
    times: int,
) -> PairReading:
    """The three entries from samples in the coordinates that whiten them together; see `WhitenedMoments`."""
    n, m, d = x.shape[0], y.shape[0], x.shape[1]
    wanted = f"hold at least {d + 2} replicas each, 2 more than dimensions"
    require(min(n, m) >= d + 2, "first, second", wanted, f"they hold {n} and {m}")
    shift = np.mean(x, axis=0) - np.mean(y, axis=0)
    samples = centred_sample("first", x, m - 1), centred_sample("second", y, n - 1)
    levels = Levels(level, level / (ENTRIES * times), 1.0 - power)
    heavy = max(1.0, trace_excess(*samples))
    found = [_mean(shift, *samples, levels), _scale(*samples, heavy, levels), _shape(*samples, heavy, levels)]
    distances, lower, upper = (np.array([entry[k] for entry in found]) for k in range(3))
    p_value = min(1.0, ENTRIES * min(entry.p_value for entry in found))
    floor = math.sqrt(sum(entry.square for entry in found))
    return PairReading(Reading(distances, lower, upper, p_value), max(entry.detectable for entry in found), floor)


def _mean(shift: Host, a: Sample, b: Sample, levels: Levels) -> Entry:
    """Hotelling's T²: F with d and ν + 1 − d degrees of freedom for Gaussian samples."""
    d, total = shift.size, a.dof + b.dof
    n, m = a.dof + 1, b.dof + 1
    distance, count = float(np.linalg.norm(shift)), n * m / (n + m)
    along = shift / max(distance, 1e-300)
    # One sample moves the mean, and the covariance that the distance is measured with.
    moved = [z @ along for z in (a.z, b.z)]
    error = math.sqrt(
        sum(
            float(np.var(sign * side - 0.5 * distance * (side.size / total) * np.square(side), ddof=1)) / side.size
            for sign, side in zip((1.0, -1.0), moved, strict=True)
        )
    )
    noise = np.linalg.eigvalsh(a.covariance / n + b.covariance / m)
    # A quantile above the mean: where that is not exceeded, the lower bound is 0 whatever it is.
    floor = float(np.sum(noise))
    floor = ChiSquares.of(noise).quantile(0.5 * levels.tail) if distance**2 > floor else floor
    down, up = levels.reach(error)
    rest = total + 1 - d
    p_value = float(scipy.special.fdtrc(d, rest, count * distance**2 * rest / (total * d)))
    share = float(scipy.special.betaincinv(0.5 * rest, 0.5 * d, levels.tail))
    critical = rest * (1.0 - share) / (d * share)
    detectable = math.sqrt(float(scipy.special.ncfdtrinc(d, rest, levels.miss, critical)) / count)
    square = total * d / (max(rest - 2, 1) * count)
    return Entry(distance, above_noise(distance, floor, down), distance + up, p_value, detectable, square)


def _scale(a: Sample, b: Sample, heavy: float, levels: Levels) -> Entry:
    """A Beta law for the first sample's share of all squares, in which the distance is linear."""
    total, d = a.dof + b.dof, a.z.shape[1]
    unit = total**2 / (a.dof * b.dof)
    alpha, beta = share_law(a, b, heavy)
    mean, share = a.dof / total, a.dof * a.scale / total
    below = float(scipy.special.betainc(alpha, beta, share))
    above = float(scipy.special.betainc(beta, alpha, 1.0 - share))
    difference = a.covariance - b.covariance
    forms = [sign * np.eye(d) - (part.dof / total) * difference for sign, part in ((1.0, a), (-1.0, b))]
    variance = sum(part.variance(form / d) / part.dof for part, form in zip((a, b), forms, strict=True))
    distance = abs(a.scale - b.scale)
    far = max(mean - _beta_quantile(alpha, beta, levels.tail), 1.0 - mean - _beta_quantile(beta, alpha, levels.tail))
    deviation = unit * math.sqrt(mean * (1.0 - mean) / (alpha + beta + 1.0))
    # Few replicas with small squares show a small spread of them: a difference is not shown by that.
    (down, _), (_, up) = (levels.reach(error) for error in (max(math.sqrt(variance), deviation), math.sqrt(variance)))
    # Where the scales differ by D the deviation is that times t₁t₂ ≤ 1 + |n₁ − n₂|D/ν.
    slack = normal_quantile(levels.miss) * deviation
    growth = slack * abs(a.dof - b.dof) / total
    detectable = (unit * far + slack) / (1.0 - growth) if growth < 1.0 else math.inf
    p_value = 2.0 * min(below, above, 0.5)
    return Entry(distance, max(distance - down, 0.0), distance + up, p_value, detectable, deviation**2)


def _beta_quantile(alpha: float, beta: float, tail: float) -> float:
    """What a Beta variable stays below with half this probability."""
    return float(scipy.special.betaincinv(alpha, beta, 0.5 * tail))


def _shape(a: Sample, b: Sample, heavy: float, levels: Levels) -> Entry:
    """The part of Box's M that no common factor explains, d(n₁ℓ₁ + n₂ℓ₂)."""
    d, total = a.z.shape[1], a.dof + b.dof
    if d == 1:
        return Entry(0.0, 0.0, 0.0, 1.0, 0.0, 0.0)
    count = 0.5 * d * a.dof * b.dof / total
    box = d * (a.dof * a.log_ratio + b.dof * b.log_ratio)
    distance = math.sqrt(box / count)
    law = shape_law(a, b)
    common = np.eye(d) - (a.dof / a.scale * a.covariance + b.dof / b.scale * b.covariance) / total
    variance = sum(part.dof * part.variance(np.eye(d) / part.scale - part.inverse + common) for part in (a, b))
    error = 0.5 * math.sqrt(variance) / (max(distance, 1e-300) * count)
    down, up = levels.reach(error)
    floor = law.quantile(0.5 * levels.tail) / count
    detectable = detected(law, count, levels.tail, 1.0 - levels.miss)
    return Entry(
        distance, above_noise(distance, floor, down), distance + up, law.tail(box), detectable, law.mean / count
    )
