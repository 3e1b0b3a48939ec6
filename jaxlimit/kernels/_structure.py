"""Reasons in the data why the exact kernel matrix is singular, decided in exact arithmetic."""

from fractions import Fraction

import numpy as np

from jaxlimit._numerics import UNIT
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation


def singularities(activation: AbstractActivation, x: Host) -> tuple[str, ...]:
    """What makes features σ(w·x) and c σ'(w·x)x of points linearly dependent, in words.

    x_i = x_j repeats a feature; for homogeneous σ so does x_i = r x_j with r > 0 (features scale by
    r), and for odd or even σ x_i = −x_j (features change sign, or not at all). Features of polynomial σ are
    polynomials in x, so more points than monomials are dependent. Candidates are found in floating point,
    generously, and then decided exactly. An empty tuple promises nothing.
    """
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    unit = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
    cosine = unit @ unit.T
    # Off by (2d + 6) roundings at most: no parallel pair is missed, and few others are looked at.
    parallel = 1.0 - (2 * x.shape[1] + 32) * 2 * UNIT
    close = [(i, j) for i, j in np.argwhere(cosine >= parallel) if i < j]
    opposite = [(i, j) for i, j in np.argwhere(cosine <= -parallel) if i < j and (activation.odd or activation.even)]
    found = [f"points {i} and {j} are equal" for i, j in close if np.array_equal(x[i], x[j])]
    if activation.homogeneous:
        found += [
            f"points {i} and {j} are parallel and the activation is homogeneous"
            for i, j in close
            if not np.array_equal(x[i], x[j]) and _parallel(x[i], x[j])
        ]
    found += [
        f"points {i} and {j} are opposite and the activation is {'odd' if activation.odd else 'even'}"
        for i, j in opposite
        if np.array_equal(x[i], -x[j])
    ]
    if activation.odd or activation.homogeneous:  # then σ(0) = 0, and every feature of the origin vanishes
        found += [f"point {i} is zero" for i in np.flatnonzero(~x.any(axis=1))]
    monomials = activation.monomials(x.shape[1])
    if monomials is not None and len(x) > monomials:
        found.append(
            f"{len(x)} points exceed the {monomials} monomials that span the features of a polynomial activation"
        )
    return tuple(found)


def _parallel(p: Host, q: Host) -> bool:
    """Whether p and q are proportional, exactly: all 2 × 2 minors with the pivot column vanish."""
    pivot = int(np.argmax(np.abs(p)))
    a, b = Fraction(float(p[pivot])), Fraction(float(q[pivot]))
    return all(Fraction(float(s)) * b == Fraction(float(t)) * a for s, t in zip(p, q, strict=True))
