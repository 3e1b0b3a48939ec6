"""The exact law of Mauchly's log ratio: arithmetic over geometric mean of a Gaussian covariance's eigenvalues."""

import functools
import math

import numpy as np
import scipy.optimize
import scipy.special


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
