"""Gaussian duals as power series in the correlation: one integral for every point and term, none for every pair."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from jaxlimit._numerics import UNIT, gaussian_trapezoid
from jaxlimit._typing import Host

FEWEST, MOST = 64, 65536
"""Terms tried first, and what terms times norm may come to: memory and time of the table grow with it."""

CUT = 12.5
"""Beyond, the square root of the Gaussian density is below 1e-17: Hermite functions need more room than E f(z)."""

REFINEMENT = 0.5 * (1.0 + 5.0**0.5)
"""Steps shrink by the golden ratio: no two of them are commensurate, so no oscillation fools three in a row."""


class Series(NamedTuple):
    """f(s z) for every norm s, z ~ N(0, 1), in orthonormal Hermite polynomials h_k: f_k = E f(s z)h_k(z).

    Rows are the degrees `first`, `first` + `stride`, …
    """

    terms: Host
    """f_k [terms, points]"""
    tails: Host
    """√(Σ_{l≥k} f_l²) [terms + 1, points] by Parseval's identity, from E f²"""
    size: Host
    """√E f² [points]"""
    change: Host
    """how far the terms of a point moved in the last two refinements of the integrals, in the norm Σ f_k²"""
    first: int
    stride: int


def series(
    function: Callable[[Host], Host], norms: Host, tolerance: float, first: int = 0, stride: int = 1
) -> Series | None:
    """Terms enough for all correlations, or as many as can be had; None where norms are too large for any.

    Integrals by the trapezoid rule, refined until three results agree.
    """
    scale = max(1.0, float(np.max(norms)))
    count, most = FEWEST, min(1024, int(MOST / scale))
    if most < count:
        return None
    found = _integrated(function, norms, count, _step(count, scale), first, stride)
    while 2 * count <= most and bool(np.any(found.tails[-1] ** 2 > 0.25 * tolerance)):
        count *= 2
        found = _integrated(function, norms, count, _step(count, scale), first, stride)
    step, before = _step(count, scale), np.full(norms.shape, np.inf)
    for _ in range(4):
        step /= REFINEMENT
        fine = _integrated(function, norms, count, step, first, stride)
        last = np.linalg.norm(fine.terms - found.terms, axis=0) + np.abs(fine.size - found.size)
        found, before = fine._replace(change=np.maximum(last, before)), last
        if bool(np.all(found.change * (1.0 + found.size) <= 0.1 * tolerance)):
            break
    return found


def summed(left: Series, right: Series, cosine: Host, tolerance: float) -> tuple[Host, Host]:
    """E f(s z)f(s'z') = Σ_k f_k f'_k ρ^k [points, points2] with correlations ρ, and an estimate of its error.

    What is left after K terms is at most |ρ|^K √(Σ_{k≥K} f_k²) √(Σ_{k≥K} f'_k²) (Mehler, Cauchy and
    Schwarz); the error of the integrals enters in the same way.
    """
    most = min(len(left.terms), len(right.terms))
    largest = float(np.max(np.abs(cosine)))
    degrees = left.first + left.stride * np.arange(most + 1)
    rest = [np.max(one.tails[: most + 1], axis=1) for one in (left, right)]
    enough = np.flatnonzero(largest**degrees * rest[0] * rest[1] <= 0.25 * tolerance)
    count = int(enough[0]) if enough.size else most
    power = cosine**left.stride if left.stride > 1 else cosine
    total, product = np.zeros(cosine.shape), np.empty(cosine.shape)
    for k in range(count - 1, -1, -1):  # Horner's rule
        total *= power
        total += np.multiply.outer(left.terms[k], right.terms[k], out=product)
    if left.first:
        total *= cosine**left.first
    rounding = (256 + 2 * degrees[count]) * UNIT
    ours = [left.change, left.size, rounding * left.size]
    theirs = [right.size, right.change + UNIT * right.size, right.size]
    error = np.stack(ours, axis=1) @ np.stack(theirs)
    error += np.abs(cosine) ** degrees[count] * np.multiply.outer(left.tails[count], right.tails[count])
    return total, error


def _step(count: int, scale: float) -> float:
    """h_k oscillates like cos(√k z), and f(s z) varies s times faster than f."""
    return 1.5 / np.sqrt(count) / scale


def _integrated(
    function: Callable[[Host], Host], norms: Host, count: int, step: float, first: int, stride: int
) -> Series:
    z, weights = gaussian_trapezoid(step, CUT)
    root = np.sqrt(weights)
    basis = _hermite(z, root, count)[first::stride]
    values = function(norms[:, None] * z)
    values = values * root
    terms, size = basis @ values.T, np.linalg.norm(values, axis=1)
    kept = np.concatenate([np.zeros((1, size.size)), np.cumsum(terms**2, axis=0)])
    # No tail is known better than E f² is to rounding.
    tails = np.sqrt(np.maximum(size**2 - kept, 0.0) + 16 * UNIT * size**2)
    return Series(terms, tails, size, np.full(size.shape, np.inf), first, stride)


def _hermite(z: Host, root: Host, count: int) -> Host:
    """h_k(z)√weight for k < count: √(k+1) h_{k+1} = z h_k − √k h_{k−1}."""
    basis: Any = np.empty((count, z.size))
    basis[0], basis[1] = root, z * root
    for k in range(1, count - 1):
        basis[k + 1] = (z * basis[k] - np.sqrt(k) * basis[k - 1]) / np.sqrt(k + 1)
    return basis
