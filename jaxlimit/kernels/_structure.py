"""Reasons in the data why the exact kernel matrix is singular, decided in exact arithmetic."""

from fractions import Fraction

import numpy as np

from jaxlimit._numerics import UNIT
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation


def singularities(activation: AbstractActivation, x: Host, train_output: bool = True) -> tuple[str, ...]:
    """What makes features σ(w·x) and c σ'(w·x)x of points linearly dependent, in words.

    x_i = x_j repeats a feature; for homogeneous σ so does x_i = r x_j with r > 0 (features scale by
    r), and for odd or even σ x_i = −x_j (features change sign, or not at all). Several pairs of opposite points
    are dependent where a part of σ is simple: see `_mirrored`. Where the output layer is not trained only
    c σ'(w·x)x counts: it vanishes at the origin, and changes sign with x wherever σ' is even. Features of
    polynomial σ are polynomials in x, so more points than monomials are dependent. Candidates are found in floating
    point, generously, and then decided exactly. An empty tuple promises nothing.
    """
    norms = np.linalg.norm(x, axis=1, keepdims=True)
    unit = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
    cosine = unit @ unit.T
    # Off by (2d + 6) roundings at most: no parallel pair is missed, and few others are looked at.
    parallel = 1.0 - (2 * x.shape[1] + 32) * 2 * UNIT
    close = [(int(i), int(j)) for i, j in np.argwhere(cosine >= parallel) if i < j]
    far = [(int(i), int(j)) for i, j in np.argwhere(cosine <= -parallel) if i < j]
    equal = [(i, j) for i, j in close if np.array_equal(x[i], x[j])]
    opposite = [(i, j) for i, j in far if np.array_equal(x[i], -x[j])]
    zeros = [int(i) for i in np.flatnonzero(~x.any(axis=1))]
    found = [f"points {i} and {j} are equal" for i, j in equal]
    if activation.homogeneous:
        found += [
            f"points {i} and {j} are parallel and the activation is homogeneous"
            for i, j in close
            if (i, j) not in equal and _parallel(x[i], x[j])
        ]
    slopes_alone = activation.constant_even_part and not train_output
    if activation.odd or activation.even or slopes_alone:
        parity = "odd" if activation.odd else "even" if activation.even else "odd up to a constant that does not learn"
        found += [f"points {i} and {j} are opposite and the activation is {parity}" for i, j in opposite]
    else:
        repeated = {j for _, j in equal}
        distinct = [pair for pair in opposite if repeated.isdisjoint(pair)]
        found += _mirrored(activation, distinct, zeros, x.shape[1])
    if activation.odd or activation.homogeneous or not train_output:  # then every feature of the origin vanishes
        found += [f"point {i} is zero" for i in zeros]
    monomials = activation.monomials(x.shape[1])
    if monomials is not None and len(x) > monomials:
        found.append(
            f"{len(x)} points exceed the {monomials} monomials that span the features of a polynomial activation"
        )
    return tuple(found)


def _mirrored(
    activation: AbstractActivation, opposite: list[tuple[int, int]], zeros: list[int], inputs: int
) -> list[str]:
    """Why pairs of opposite points, no point in two of them, are dependent together though no pair is so alone.

    If σ(u) + σ(−u) = 2σ(0), then σ' is even and the features of x and −x add up to (2σ(0), 0), whatever x is:
    two pairs have one sum, and so have a pair and twice the origin. If σ(u) − σ(−u) = su, then
    σ'(u) + σ'(−u) = s and the features of x less those of −x are s(w·x, c x), linear in x: more pairs than
    inputs are dependent.
    """
    found = []
    if activation.constant_even_part and opposite:
        (i, j), *others = opposite
        also = [f"points {k} and {m}" for k, m in others]
        found += [f"points {i} and {j} are opposite, so are {pair}" for pair in also]
        found += [f"points {i} and {j} are opposite, point {k} is zero" for k in zeros]
        found = [f"{reason}, and the even part of the activation is constant" for reason in found]
    if activation.linear_odd_part and len(opposite) > inputs:
        found.append(
            f"{len(opposite)} pairs of opposite points exceed the {inputs} inputs, "
            "and the odd part of the activation is linear"
        )
    return found


def _parallel(p: Host, q: Host) -> bool:
    """Whether p and q are proportional, exactly: all 2 × 2 minors with the pivot column vanish."""
    pivot = int(np.argmax(np.abs(p)))
    a, b = Fraction(float(p[pivot])), Fraction(float(q[pivot]))
    return all(Fraction(float(s)) * b == Fraction(float(t)) * a for s, t in zip(p, q, strict=True))
