"""Rump's shifted Cholesky factorisation, and the bounds of the lowest eigenvalue that it gives."""

import math
from typing import NamedTuple

import numpy as np
from scipy.linalg import lapack

from jaxlimit._numerics import UNIT, norm_bound
from jaxlimit._typing import Host
from jaxlimit.kernels._types import SMALLEST_NORMAL
from jaxlimit.kernels._witness import BLOCK, Lowest, lowest, quotient

ROUNDINGS = 5
"""k in α_j = (t_j + k)u. An entry of the factor is a sum of t_j products, a subtraction and a division, or a
root, which counts twice when squared: t_j + 2 roundings. Rump's k = 3 adds one for the denominators 1 − α_j.
A triangular solve may multiply by the reciprocal of the diagonal instead of dividing, and scale a row once
more: one extra rounding each, hence 5. Numbers of points below 2^25 are supposed."""

FIRST, LATER, PER_STEP = 5, 3, 400
"""Block steps of inverse iteration with the first factor, and with later ones, whose shift lies closer; and one more
for every 400 points: a step costs 48/n of a factorisation in operations, and the better it is the fewer are needed."""

CAUTION = (1.0 - 2.0**-40, 0.99, 0.5)
"""Fractions of the estimated distance to λ_min at which a factorisation is tried, one after the other."""


class Factor(NamedTuple):
    """A completed factorisation of A − shift·I, which proves λ_min > `proved` for every matrix in the radius."""

    triangle: Host
    proved: float
    shift: float
    rounding: float

    def solve(self, block: Host) -> Host:
        """(A − shift·I)^{-1} applied to the columns of a block, approximately."""
        return lapack.dpotrs(self.triangle, np.asfortranarray(block), lower=1)[0]


class Shifted:
    """A symmetric matrix with entries of modulus at most 2^16, to be factored at any shift.

    c(s) = Σ α_j (a_jj − s)⁺ + M + 6n(n + max (a_jj − s)⁺)η, with M ≥ ‖radius‖. If the factorisation of
    A − (s + c(s))I completes in floating point, then λ_min > s.
    """

    def __init__(self, matrix: Host, radius: Host | None) -> None:
        n = matrix.shape[0]
        self.matrix = matrix
        self.diagonal = np.diag(matrix).copy()
        # Rows above the first non-zero entry of a column stay exactly zero in the factor.
        first, sparse = np.zeros(n, dtype=int), np.flatnonzero(matrix[0] == 0)
        first[sparse] = np.minimum(np.argmax(matrix[:, sparse] != 0, axis=0), sparse)
        self.alpha = (np.arange(n) - first + ROUNDINGS) * UNIT
        self.slack = 1.0 + 4 * (n + 8) * UNIT
        self.radius = 0.0 if radius is None else (norm_bound(radius) + n * SMALLEST_NORMAL) * self.slack

    def rounding(self, s: float) -> float:
        """c(s) − M, rounded up. The matrix that is factored has the diagonal a_jj − s − c."""
        n = self.diagonal.size
        tops = np.maximum(self.diagonal - s, 0.0)
        return float(self.alpha @ tops) * self.slack**2 + 6 * n * (n + float(tops.max())) * SMALLEST_NORMAL

    def gershgorin(self) -> float:
        """A lower bound of λ_min that holds without any factorisation: min_i a_ii − Σ_j≠i |a_ij| − M."""
        n = self.diagonal.size
        sums = np.abs(self.matrix).sum(axis=1)
        worst = float(np.max(sums - np.abs(self.diagonal) - self.diagonal))
        margin = 4 * (n + 8) * UNIT * float(sums.max()) + self.radius
        return 0.0 if worst == margin == 0.0 else -float(np.nextafter(worst + margin, np.inf))

    def factor(self, s: float) -> Factor | None:
        """Cholesky of A − (s + c)I, c rounded up and the subtraction down; None unless it completed."""
        rounding = self.rounding(s)
        shift = float(np.nextafter(s + np.nextafter(rounding + self.radius, np.inf), np.inf))
        work = np.array(self.matrix.T, order="F")
        np.fill_diagonal(work, np.nextafter(self.diagonal - shift, -np.inf))
        triangle, info = lapack.dpotrf(work, lower=1, overwrite_a=1, clean=0)
        pivots = np.diag(triangle)
        # A NaN or an infinity in a row reaches the diagonal of that row, so this excludes them everywhere.
        completed = info == 0 and bool(np.all((pivots > 0) & np.isfinite(pivots)))
        return Factor(triangle, s, shift, rounding) if completed else None


class Enclosure(NamedTuple):
    """lower < λ_min ≤ upper, proved; `completed` says that the factorisation at s = 0 was, so λ_min > 0."""

    estimate: float
    lower: float
    upper: float
    floor: float
    completed: bool
    vector: Host


def enclose(shifted: Shifted) -> Enclosure:
    """A first factor, at s = 0 or at growing negative s; then s is raised towards the estimate of λ_min."""
    n = shifted.diagonal.size
    floor = float(np.nextafter(shifted.rounding(0.0) + shifted.radius, np.inf))
    factor = shifted.factor(0.0)
    completed = factor is not None
    lower = 0.0 if completed else shifted.gershgorin()
    margin = 2.0 * (floor + n * UNIT)
    s, deepest = -margin, 1.01 * min(lower, 0.0) - margin
    while factor is None and s > 64.0 * deepest:
        factor, s = shifted.factor(max(s, deepest)), 64.0 * s
    lower = lower if factor is None else max(lower, factor.proved)

    corner = int(np.argmin(shifted.diagonal))
    vector, estimate = (np.arange(n) == corner).astype(np.float64), float(shifted.diagonal[corner])
    upper = float(np.nextafter(estimate + shifted.radius, np.inf))
    block, steps = np.random.default_rng(0).standard_normal((n, min(n, BLOCK))), FIRST + n // PER_STEP
    for _ in range(3):
        if factor is None:
            break
        found = lowest(factor.solve, block, steps)
        block, steps = found.vectors, LATER + n // PER_STEP
        value, bound = quotient(shifted.matrix, block[:, 0])
        if bound + shifted.radius < upper:
            vector, estimate, upper = block[:, 0], value, float(np.nextafter(bound + shifted.radius, np.inf))
        factor = _raised(shifted, factor, found)
        if factor is not None:
            lower = max(lower, factor.proved)
            if estimate - lower <= 1.5 * (factor.rounding + shifted.radius) + 1e-4 * abs(estimate):
                break
    return Enclosure(estimate, lower, upper, floor, completed, vector)


def _raised(shifted: Shifted, factor: Factor, found: Lowest) -> Factor | None:
    """A factor at an s just below what inverse iteration promises; None if nothing is to be gained."""
    if not (math.isfinite(found.distance) and found.distance > 0):
        return None
    for caution in CAUTION:
        # The true rounding of a factorisation is far below its bound; an eighth is left for it.
        target = factor.shift + caution * found.distance - factor.rounding / 8
        s = target - shifted.rounding(target) - shifted.radius
        if s - factor.proved <= 0.1 * (factor.rounding + shifted.radius):
            return None
        trial = shifted.factor(s)
        if trial is not None:
            return trial
    return None
