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
    """Geometry of pairs of points under centred Gaussian w; every member broadcasts to [points, points2].

    u = w·x and u' = w·x' are those of points z, z' with independent w ~ N(0, s² I): the points themselves, or
    their whitened coordinates. Formulas for one pair read `pair.a`, `pair.b`, `pair.r`, … as numbers and hold
    for whole arrays. What no formula reads is not computed.
    """

    a: Host
    """Var u = s²|z|²"""
    b: Host
    """Var u' = s²|z'|²"""
    r: Host
    """Cov(u, u') = s² z·z'"""
    minus: Host
    """|p − q| of the normalised points; √2 if either is zero"""
    plus: Host
    """|p + q|"""
    relative: float | Host
    """bound of the relative error of a and b, and of r relative to √(ab)"""
    angular: float | Host
    """bound of the absolute error of θ and of sin θ"""
    moved: float | Host
    """bound of the distance of z from where it should be relative to |z|, plus the same of z'"""
    points: tuple[Host, Host]
    """z and z' [points, inputs]"""
    std: float
    """s"""

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

    @cached_property
    def apart(self) -> Host:
        """√Var(u − u') = s|z − z'|, from differences of coordinates."""
        return self.std * scipy.spatial.distance.cdist(*self.points)

    @cached_property
    def nearest(self) -> Host:
        """The smaller of √Var(u − u') and √Var(u + u'): s|z ∓ z'| by the sign of r."""
        z, other = self.points
        return np.where(self.r >= 0, self.apart, self.std * scipy.spatial.distance.cdist(z, -other))

    @property
    def apart_square_error(self) -> Host:
        """Bound of the absolute error of Var(u − u')."""
        return self._square_error(self.apart)

    @property
    def nearest_square_error(self) -> Host:
        """Bound of the absolute error of the square of `nearest`."""
        return self._square_error(self.nearest)

    def _square_error(self, distance: Host) -> Host:
        """The square of a norm of d differences is off by (d + 8)u of itself, wherever the points are."""
        shift = self.moved * (np.sqrt(self.a) + np.sqrt(self.b))
        return (self.points[0].shape[1] + 8) * UNIT * distance**2 + (2.0 * distance + shift) * shift


def pairs(x: Host, x2: Host, std: float = 1.0, moved: float | Host = 0.0, moved2: float | Host = 0.0) -> Pairs:
    """Geometry of every pair of rows of x [points, inputs] and x2 [points2, inputs].

    Errors: a dot product of d terms is off by at most d·u·|x||x'| (any order of summation); squaring
    the standard deviation and scaling add three roundings. A normalised vector is off by (d/2 + 3)u in
    norm, so |p ± q| is off by (2d + 12)u, and θ, whose derivatives in |p ± q| are at most 1, by twice
    that; the constants below are larger. Where |cos θ| ≤ 1/2, √(2 ± 2 cos θ) is off by no more than
    that either: the cosine is off by (2d + 9)u, and the root is at least 1. Elsewhere see `_apart`.

    `moved` [points] ≤ 1/100 bounds how far the rows of x are from where they should be, relative to their
    norms, and `moved2` the same of x2. A norm then moves by as much, its square by twice that and a little,
    and a direction by the angle whose sine it is.
    """
    d = x.shape[1]
    a = std**2 * np.einsum("ij,ij->i", x, x)[:, None]
    b = std**2 * np.einsum("ij,ij->i", x2, x2)[None, :]
    r = std**2 * (x @ x2.T)
    cosine = r / (np.sqrt(np.where(a == 0, 1.0, a)) * np.sqrt(np.where(b == 0, 1.0, b)))
    near, opposite = bool(np.max(cosine, initial=0.0) > 0.5), bool(np.min(cosine, initial=0.0) < -0.5)
    p, q = (_unit(x), _unit(x2)) if near or opposite else (x, x2)
    minus = _apart(p, q, cosine) if near else np.sqrt(2.0 - 2.0 * cosine)
    plus = _apart(p, -q, -cosine) if opposite else np.sqrt(2.0 + 2.0 * cosine)
    for zero in ((a == 0)[:, 0], (slice(None), (b == 0)[0])):
        minus[zero] = plus[zero] = np.sqrt(2.0)
    shift: float | Host = 0.0
    if np.ndim(moved) or np.ndim(moved2):
        shift = np.broadcast_to(moved, x.shape[0])[:, None] + np.broadcast_to(moved2, x2.shape[0])[None, :]
    relative, angular = (d + 6) * UNIT + 2.05 * shift, (4 * d + 48) * UNIT + 1.05 * shift
    return Pairs(a, b, r, minus, plus, relative, angular, shift, (x, x2), std)


def _apart(p: Host, q: Host, cosine: Host) -> Host:
    """|p − q| of unit vectors, off by at most (2d + 12)u like the differences themselves.

    Differences take d operations a pair, a matrix product takes them at many times the speed: where the
    cosine is at most 1/2 its root will do. Where more pairs are closer than that, as for images of one
    kind, the origin is moved to m among them. With p' = p − m and s = |p'|² + |q'|² the square s − 2p'·q'
    is off by (2d + 3)u s, so the root r by (d + 2)u s/r, to which p and q add (d + 6)u and the move 2u:
    fine where s ≤ r. What is left is taken from differences.
    """
    root = np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0))
    close = cosine > 0.5
    if 16 * np.count_nonzero(close) > close.size:
        centre = q.mean(axis=0)
        left, right = p - centre, q - centre
        size = np.einsum("ij,ij->i", left, left)[:, None] + np.einsum("ij,ij->i", right, right)[None, :]
        square = size - 2.0 * (left @ right.T)
        moved = close & (size**2 <= square)
        np.sqrt(square, out=root, where=moved)
        close &= ~moved
    if 4 * np.count_nonzero(close) > close.size:
        return scipy.spatial.distance.cdist(p, q)
    i, j = np.nonzero(close)
    chunk = max(1, 2**16 // p.shape[1])
    for k in range(0, i.size, chunk):
        rows, columns = i[k : k + chunk], j[k : k + chunk]
        root[rows, columns] = np.linalg.norm(p[rows] - q[columns], axis=1)
    return root


def _unit(x: Host) -> Host:
    norm = np.linalg.norm(x, axis=1, keepdims=True)
    return np.divide(x, norm, out=np.zeros_like(x), where=norm > 0)


def symmetrised(matrix: Host) -> Host:
    """The upper triangle mirrored: exactly symmetric, without averaging errors of two computations."""
    upper = np.triu(matrix)
    return upper + np.triu(matrix, 1).T


def square_root(covariance: Host) -> Host:
    """F with FFᵀ = a symmetric positive semidefinite matrix; what rounding leaves below zero counts as zero."""
    values, vectors = np.linalg.eigh(covariance)
    return vectors * np.sqrt(np.maximum(values, 0.0))


def symmetric_square_root(covariance: Host) -> Host:
    """The root that is itself symmetric positive semidefinite: unlike others it moves little where the matrix does."""
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def with_bias(x: Host) -> Host:
    """The points [points, inputs] with a coordinate 1 appended."""
    return np.concatenate([x, np.ones((len(x), 1))], axis=1)


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


def ndtr(u: Any) -> Any:
    """Φ, the distribution function of N(0, 1), for NumPy arrays on the host and for JAX arrays."""
    if isinstance(u, np.ndarray | float | np.floating):
        return scipy.special.ndtr(u)
    return jax.scipy.special.ndtr(u)


def expit(u: Any) -> Any:
    """1/(1 + e^{−u}) for NumPy arrays on the host and for JAX arrays."""
    if isinstance(u, np.ndarray | float | np.floating):
        return scipy.special.expit(u)
    return jax.scipy.special.expit(u)


def namespace(u: Any) -> Any:
    """The array namespace (numpy or jax.numpy) that an array belongs to."""
    return u.__array_namespace__() if hasattr(u, "__array_namespace__") else np
