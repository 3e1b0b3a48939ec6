"""Mean, scale and shape of all points at once, with exact null laws."""

import functools
import math

import equinox as eqx
import numpy as np
import scipy.optimize
import scipy.special
from jaxtyping import Float

from jaxlimit._arguments import positive_number, require
from jaxlimit._numerics import UNIT
from jaxlimit._typing import Host, RandomKey
from jaxlimit.statistics._base import AbstractStatistic, Reading
from jaxlimit.statistics._chi_squares import ChiSquares
from jaxlimit.statistics._multivariate import above_noise, normal_quantile
from jaxlimit.statistics._whitening import whitened

ENTRIES = 3


class WhitenedMoments(AbstractStatistic):
    """Three distances in whitened coordinates z, where the law is N(0, I_d): mean, scale and shape.

    With z̄ the mean and s_i the eigenvalues of the covariance S of z:

    - mean |z̄|: the Mahalanobis distance of the means, the largest shift of any combination of the points
      in its own standard deviations. n|z̄|² is χ²_d.
    - scale |Σs_i/d − 1|: by how much all variances are off together. (n − 1)Σs_i is χ²_{(n−1)d}.
    - shape √(2 log(arithmetic/geometric mean of the s_i)): for small deviations the standard deviation of the
      s_i, relative; the distance from having the right correlations. The geometric mean is a product of
      independent χ² variables, which makes its law exact (Mauchly).

    Where the law is right the three are independent, so the p-value is 1 − (1 − p_min)³; at every number of
    replicas above d, up to 1% or better of the saddlepoint formula for the shape. `distances`, `lower`
    and `upper` have these three entries, in this order, whatever the number of points.

    Bounds are asymptotic, for any law of the samples: along the mean found, its standard error (lower: with
    the quantile of the whole noise, as in `AbstractMultivariateStatistic`); for the scale, z times the
    standard error of the mean of |z − z̄|²; for the shape, d log-ratio is that of its own average over
    samples, and its noise under the law is taken off the lower bound. `detectable` is the largest of the
    three entries', for Gaussian samples.

    Good values: margin 0.1. Source: references `mauchly1940`, `kuonen1999`.

        >>> from jaxlimit.statistics import WhitenedMoments
        >>> round(WhitenedMoments().detectable(replicas=8192, tests=15, level=0.01, power=0.95, points=20), 3)
        0.078
    """

    margin: float = eqx.field(static=True, default=0.1)
    tolerance: float = eqx.field(static=True, default=1e-10)

    def __check_init__(self) -> None:
        """A tolerance is positive."""
        positive_number("tolerance", self.tolerance)

    def read(
        self,
        values: Float[Host, "replicas points"],
        mean: Float[Host, " points"],
        covariance: Float[Host, "points points"],
        level: float,
        tests: int,
        key: RandomKey | None = None,
    ) -> Reading:
        """Mean, scale and shape; raises ``ValueError`` for fewer replicas than dimensions + 2."""
        z = whitened(values, mean, covariance, self.tolerance)
        n, d = z.shape
        require(n >= d + 2, "samples", f"hold at least {d + 2} replicas, 2 more than dimensions", f"it holds {n}")
        tail = level / tests
        centre = np.mean(z, axis=0)
        z -= centre
        products = z.T @ z / (n - 1)
        spectrum, axes = np.linalg.eigh(products)
        require(
            bool(spectrum[0] > 64 * d * UNIT * spectrum[-1]),
            "samples",
            f"vary in all {d} dimensions in which the law does",
            f"their variances along them, divided by the law's, lie between {spectrum[0]:.2g} and {spectrum[-1]:.2g}",
        )
        shift, scale = float(np.linalg.norm(centre)), float(np.mean(spectrum))
        floor = float(np.finfo(np.float64).tiny)
        log_ratio = math.log(scale) - float(np.mean(np.log(np.maximum(spectrum, floor))))
        shape = math.sqrt(2.0 * max(log_ratio, 0.0))

        root = math.sqrt(n)
        along = math.sqrt(max(float(centre @ products @ centre), 0.0)) / max(shift, 1e-300) / root
        # A quantile above the mean: where that is not exceeded, the lower bound is 0 whatever it is.
        noise = float(np.sum(spectrum)) / n
        noise = ChiSquares.of(np.maximum(spectrum, 0.0)).quantile(0.5 * tail) / n if shift**2 > noise else noise
        squares = np.sum(np.square(z), axis=1) / d
        off, scale_error = abs(scale - 1.0), float(np.std(squares, ddof=1)) / root
        # d(log ratio) of one sample: |z|²/(d·scale) − |S^{−1/2}z|²/d; the distance has twice that over twice itself.
        inverse = (axes / np.maximum(spectrum, floor)) @ axes.T
        influence = squares / scale - np.einsum("ij,jk,ik->i", z, inverse, z, optimize=True) / d
        shape_error = float(np.std(influence, ddof=1)) / max(shape, 1e-300) / root
        # The noise of the shape where there is none, raised by what the fourth moments exceed the Gaussian ones.
        excess = max(1.0, scale_error**2 * n * d / (2.0 * scale * scale))
        shape_noise = excess * shape_quantile(0.5 * tail, n, d)

        z_upper, z_lower = (normal_quantile(p) for p in (level, 0.5 * tail))
        distances = np.array([shift, off, shape])
        upper = distances + z_upper * np.array([along, scale_error, shape_error])
        lower = np.array(
            [
                above_noise(shift, noise, z_lower * along),
                max(off - z_lower * scale_error, 0.0),
                above_noise(shape, shape_noise, z_lower * shape_error),
            ]
        )
        dof = (n - 1) * d
        p_scale = 2.0 * min(
            float(scipy.special.chdtr(dof, dof * scale)), float(scipy.special.chdtrc(dof, dof * scale)), 0.5
        )
        smallest = min(float(scipy.special.chdtrc(d, n * shift**2)), p_scale, shape_tail(log_ratio, n, d))
        return Reading(distances, lower, upper, -math.expm1(ENTRIES * math.log1p(-min(smallest, 1.0 - 1e-16))))

    def entries(self, points: int) -> int:
        """Mean, scale and shape."""
        return ENTRIES

    def detectable(self, replicas: int, tests: int, level: float, power: float, points: int = 1) -> float:
        """The largest of the three that each entry detects, for this number of `points`."""
        n, d, tail = replicas, points, level / tests
        if n < d + 2:
            return math.inf
        z, dof = float(scipy.special.ndtri(power)), (n - 1) * d
        # n|z̄|² is noncentral χ²: its noncentrality at this power.
        critical = float(scipy.special.chdtri(d, tail))
        mean = math.sqrt(float(scipy.special.chndtrinc(critical, d, 1.0 - power)) / n)
        large = float(scipy.special.chdtri(dof, 0.5 * tail)) / dof
        small = 2.0 * float(scipy.special.gammaincinv(0.5 * dof, 0.5 * tail)) / dof
        low, high = (2.0 * float(scipy.special.gammaincinv(0.5 * dof, p)) / dof for p in (1.0 - power, power))
        scale = max(large / low - 1.0, 1.0 - small / high)
        if d == 1:
            return max(mean, scale)
        # log ratio ≈ half the square of the shape: mean m + D²/2, variance v + 2D²/(n d) for one direction out of d.
        gap = shape_quantile(tail, n, d) - shape_moments(n, d)[0]
        variance = 4.0 * shape_moments(n, d)[1]
        # D² − gap = z √(variance + 8 D²/(n d)·…), the larger root; the last term is the noise along the deviation.
        slope = 8.0 / (n * d)
        half = gap + 0.5 * z * z * slope
        return max(mean, scale, math.sqrt(half + math.sqrt(max(half**2 - gap**2 + z * z * variance, 0.0))))

    def detectable_among(self, points: int, replicas: int, times: int, level: float, power: float) -> float:
        """`detectable` for three entries at all times, for this number of points."""
        return self.detectable(replicas, times * ENTRIES, level, power, points)

    def null_distance(self, replicas: int, points: int) -> float:
        """√ of the sum of the three mean squares, which is above the mean of the largest."""
        n, d = replicas, points
        if n < d + 2:
            return math.inf
        return math.sqrt(d / n + 2.0 / ((n - 1) * d) + 2.0 * shape_moments(n, d)[0])


def _cumulants(s: float, n: int, d: int, order: int) -> float:
    """Derivative of log E exp(s·d·log ratio) in s: order 0, 1 or 2; s < (n − d)/2.

    E ratio^{−dh} = d^{dh} Γ(νd/2)/Γ(νd/2 + dh) Π_i Γ((ν − i)/2 + h)/Γ((ν − i)/2), ν = n − 1, h = −s.
    """
    nu, h = n - 1, -s
    i = np.arange(d)
    special = (scipy.special.gammaln, scipy.special.digamma, lambda x: scipy.special.polygamma(1, x))[order]
    found = float(np.sum(special((nu - i) / 2.0 + h))) - d**order * float(special(nu * d / 2.0 + d * h))
    if order == 0:
        found += float(special(nu * d / 2.0)) - float(np.sum(special((nu - i) / 2.0))) + d * h * math.log(d)
    if order == 1:
        found += d * math.log(d)
    return (-1) ** order * found


def shape_moments(n: int, d: int) -> tuple[float, float]:
    """Mean and variance of log(arithmetic/geometric mean of the eigenvalues) where the law is right; exact."""
    return (_cumulants(0.0, n, d, 1) / d, _cumulants(0.0, n, d, 2) / d**2) if d > 1 else (0.0, 0.0)


def shape_tail(log_ratio: float, n: int, d: int) -> float:
    """P(log ratio of Gaussian samples ≥ this) by the saddlepoint formula with the exact cumulant function."""
    x = d * log_ratio
    if d == 1 or x <= 0.0:
        return 1.0
    top = 0.5 * (n - d)
    low, high = -1.0, 0.0
    while _cumulants(low, n, d, 1) > x:
        low *= 2.0
        if low < -1e15:
            return 1.0
    high = top * (1.0 - 1e-12)
    if _cumulants(high, n, d, 1) < x:
        return 0.0
    s = float(scipy.optimize.brentq(lambda u: _cumulants(u, n, d, 1) - x, low, high, xtol=1e-12, rtol=1e-12))
    w = math.copysign(math.sqrt(max(2.0 * (s * x - _cumulants(s, n, d, 0)), 0.0)), s)
    u = s * math.sqrt(_cumulants(s, n, d, 2))
    if abs(w) < 1e-4:
        return 0.5
    density = math.exp(-0.5 * w * w) / math.sqrt(2.0 * math.pi)
    return min(max(float(scipy.special.ndtr(-w)) + density * (1.0 / u - 1.0 / w), 0.0), 1.0)


@functools.lru_cache(maxsize=256)
def shape_quantile(tail: float, n: int, d: int) -> float:
    """Twice the log ratio, the squared shape, that Gaussian samples reach with probability `tail`."""
    if d == 1:
        return 0.0
    mean, variance = shape_moments(n, d)
    high = mean + math.sqrt(variance)
    while shape_tail(high, n, d) > tail:
        high *= 1.5
    return 2.0 * float(
        scipy.optimize.brentq(
            lambda x: math.log(max(shape_tail(x, n, d), 1e-300)) - math.log(tail), 1e-6 * mean, high, rtol=1e-8
        )
    )
