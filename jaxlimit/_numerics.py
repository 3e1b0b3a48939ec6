"""Careful floating point on the host: angles between points, error constants, quadrature nodes.

The angle between two points is never taken by arccos (which loses half the digits near the diagonal):
with unit vectors p and q it is 2·atan2(|p − q|, |p + q|), accurate to an absolute error of a few
rounding units at every angle.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax
import numpy as np
import scipy.spatial.distance
import scipy.special

from jaxlimit._typing import Host

UNIT = 2.0**-53
"""Unit roundoff u of float64."""


@dataclass(frozen=True)
class Pairs:
    """Geometry of pairs of points under w ~ N(0, s² I); every member broadcasts to [points, points2].

    Formulas for one pair read `pair.a`, `pair.b`, `pair.r`, … as numbers and hold for whole arrays. What no
    formula reads is not computed.
    """

    a: Host
    """s²|x|²"""
    b: Host
    """s²|x'|²"""
    r: Host
    """s² x·x'"""
    minus: Host
    """|p − q| of the normalised points; √2 if either is zero"""
    plus: Host
    """|p + q|"""
    relative: float
    """bound of the relative error of a and b, and of r relative to √(ab)"""
    angular: float
    """bound of the absolute error of θ and of sin θ"""

    @cached_property
    def theta(self) -> Host:
        """The angle between x and x', in [0, π]; π/2 if either is zero."""
        return 2.0 * np.arctan2(self.minus, self.plus)

    @cached_property
    def sine(self) -> Host:
        """sin θ, accurate in absolute terms at both ends."""
        return 0.5 * self.minus * self.plus

    @cached_property
    def scale(self) -> Host:
        """√(ab)."""
        return np.sqrt(self.a) * np.sqrt(self.b)


def pairs(x: Host, x2: Host, std: float = 1.0) -> Pairs:
    """Geometry of every pair of rows of x [points, inputs] and x2 [points2, inputs].

    Errors: a dot product of d terms is off by at most d·u·|x||x'| (any order of summation); squaring
    the standard deviation and scaling add three roundings. A normalised vector is off by (d/2 + 3)u in
    norm, so |p ± q| is off by (2d + 12)u, and θ, whose derivatives in |p ± q| are at most 1, by twice
    that; the constants below are larger. Where |cos θ| ≤ 1/2, √(2 ± 2 cos θ) is off by no more than
    that either: the cosine is off by (2d + 9)u, and the root is at least 1.
    """
    d = x.shape[1]
    a = std**2 * np.einsum("ij,ij->i", x, x)[:, None]
    b = std**2 * np.einsum("ij,ij->i", x2, x2)[None, :]
    r = std**2 * (x @ x2.T)
    cosine = r / (np.sqrt(np.where(a == 0, 1.0, a)) * np.sqrt(np.where(b == 0, 1.0, b)))
    near, opposite = bool(np.max(cosine, initial=0.0) > 0.5), bool(np.min(cosine, initial=0.0) < -0.5)
    # Differences of vectors take d operations a pair; a matrix product takes them at many times the speed.
    p, q = (_unit(x), _unit(x2)) if near or opposite else (x, x2)
    minus = scipy.spatial.distance.cdist(p, q) if near else np.sqrt(2.0 - 2.0 * cosine)
    plus = scipy.spatial.distance.cdist(p, -q) if opposite else np.sqrt(2.0 + 2.0 * cosine)
    for zero in ((a == 0)[:, 0], (slice(None), (b == 0)[0])):
        minus[zero] = plus[zero] = np.sqrt(2.0)
    return Pairs(a, b, r, minus, plus, (d + 6) * UNIT, (4 * d + 48) * UNIT)


def _unit(x: Host) -> Host:
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


def symmetrised(matrix: Host) -> Host:
    """The upper triangle mirrored: exactly symmetric, without averaging errors of two computations."""
    upper = np.triu(matrix)
    return upper + np.triu(matrix, 1).T


def norm_bound(radius: Host) -> float:
    """An upper bound of the spectral norm of every symmetric matrix E with |E| ≤ radius entrywise.

    For non-negative R and positive v, ρ(R) ≤ max_i (Rv)_i / v_i (Collatz); v comes from two power steps.
    """
    n = radius.shape[0]
    v = np.ones(n)
    slack = 1.0 + 4 * (n + 4) * UNIT
    best = float(np.max(radius.sum(axis=1))) * slack
    for _ in range(2):
        v = np.einsum("ij,j->i", radius, v)  # not BLAS, whose idle threads would slow the factorisation that follows
        top = float(np.max(v, initial=0.0))
        if not top > 0:
            return best
        v = np.maximum(v / top, 1e-8)  # stays positive, so the bound stays valid
        best = min(best, float(np.max(np.einsum("ij,j->i", radius, v) / v)) * slack)
    return best


def decay_integral(rate: Host, t: Host) -> Host:
    """φ(s) = (1 − e^{−st})/s = ∫_0^t e^{−su} du, which is t at s = 0 (and not NaN)."""
    z = np.asarray(rate * t, dtype=np.float64)
    safe = np.where(z == 0.0, 1.0, z)
    return t * np.where(z == 0.0, 1.0, -np.expm1(-safe) / safe)


def gaussian_trapezoid(step: float, cut: float = 8.5) -> tuple[Host, Host]:
    """Nodes and weights of the trapezoid rule for E f(z), z ~ N(0, 1), on [−cut, cut].

    For analytic f the error falls like exp(−2π·distance to the nearest singularity/step); what lies
    beyond 8.5 standard deviations has mass 2e-17.
    """
    half = int(np.ceil(cut / step))
    z = step * np.arange(-half, half + 1, dtype=np.float64)
    weights = np.exp(-0.5 * z * z)
    return z, weights / weights.sum()


def erf(u: Any) -> Any:
    """erf for NumPy arrays on the host (SciPy, float64) and for JAX arrays."""
    if isinstance(u, np.ndarray | float | np.floating):
        return scipy.special.erf(u)
    return jax.scipy.special.erf(u)


def namespace(u: Any) -> Any:
    """The array namespace (numpy or jax.numpy) that an array belongs to."""
    return u.__array_namespace__() if hasattr(u, "__array_namespace__") else np
