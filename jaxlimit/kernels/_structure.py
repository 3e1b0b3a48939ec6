"""Reasons in the data why the exact kernel matrix is singular, decided in exact arithmetic."""

from fractions import Fraction

import numpy as np

from jaxlimit._numerics import pairs
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation

# Candidates are found in floating point, generously, and then decided exactly.
CANDIDATE_ANGLE = 1e-7


def singularities(activation: AbstractActivation, x: Host) -> tuple[str, ...]:
    """Pairs of points that make features linearly dependent, in words.

    x_i = x_j repeats a feature; for homogeneous σ so does x_i = r x_j with r > 0 (features scale by
    r), and for odd σ x_i = −x_j (features change sign). An empty tuple promises nothing.
    """
    geometry = pairs(x, x)
    close = np.argwhere(np.triu(geometry.theta < CANDIDATE_ANGLE, 1))
    opposite = np.argwhere(np.triu(geometry.theta > np.pi - CANDIDATE_ANGLE, 1) & activation.odd)
    found = [f"points {i} and {j} are equal" for i, j in close if np.array_equal(x[i], x[j])]
    if activation.homogeneous:
        found += [
            f"points {i} and {j} are parallel and the activation is homogeneous"
            for i, j in close
            if not np.array_equal(x[i], x[j]) and _parallel(x[i], x[j])
        ]
    found += [
        f"points {i} and {j} are opposite and the activation is odd" for i, j in opposite if np.array_equal(x[i], -x[j])
    ]
    if activation.odd or activation.homogeneous:  # then σ(0) = 0, and every feature of the origin vanishes
        found += [f"point {i} is zero" for i in np.flatnonzero(~x.any(axis=1))]
    return tuple(found)


def _parallel(p: Host, q: Host) -> bool:
    """Whether p and q are proportional, exactly: all 2 × 2 minors with the pivot column vanish."""
    pivot = int(np.argmax(np.abs(p)))
    a, b = Fraction(float(p[pivot])), Fraction(float(q[pivot]))
    return all(Fraction(float(s)) * b == Fraction(float(t)) * a for s, t in zip(p, q, strict=True))
