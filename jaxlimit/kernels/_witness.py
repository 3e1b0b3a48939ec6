"""Vectors that show how small, or how negative, the lowest eigenvalue of a symmetric matrix is."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from scipy.linalg import blas, lapack

from jaxlimit._numerics import UNIT
from jaxlimit._typing import Host
from jaxlimit.kernels._types import SMALLEST_NORMAL

BLOCK = 8
"""Vectors solved for together: triangular solves are bound by memory, so 8 cost hardly more than 1."""


SETTLED = 1e-6
"""Inverse iteration stops at this relative residual: what remains is far below what a factorisation gains."""


class Lowest(NamedTuple):
    """What inverse iteration found below: estimates, never proofs."""

    vectors: Host
    """[points, ≤ BLOCK], the lowest first"""
    distance: float
    """a cautious estimate of λ_min − shift"""


def lowest(solve: Callable[[Host], Host], start: Host, steps: int, settled: float = SETTLED) -> Lowest:
    """Lowest eigenvectors of A from a block Krylov space of (A − shift·I)^{-1}, by Rayleigh–Ritz.

    `solve` applies the inverse to the columns of its argument; `start` is [points, block]. It stops after
    `steps` solves, and before that if the residual leaves less than `settled` of the distance in doubt.
    """
    basis, images = np.empty((start.shape[0], 0), order="F"), np.empty((start.shape[0], 0), order="F")
    block = start
    for _ in range(steps):
        fresh = _orthonormal(block, basis)
        if fresh.shape[1] == 0:  # the space is invariant: its Ritz vectors are eigenvectors
            break
        block = solve(fresh)
        if not np.all(np.isfinite(block)):
            break
        basis, images = np.hstack([basis, fresh]), np.hstack([images, block])
        found = _ritz(basis, images, start.shape[1])
        if found.residual <= settled * found.inverse:
            break
    if basis.shape[1] == 0:
        return Lowest(start, math.nan)
    return Lowest(found.vectors / np.linalg.norm(found.vectors, axis=0), 1.0 / (found.inverse + 2.0 * found.residual))


class _Ritz(NamedTuple):
    """Ritz pairs of an inverse: its largest Ritz value, the residual of that one, and vectors of the largest."""

    inverse: float
    residual: float
    vectors: Host


def _ritz(basis: Host, images: Host, count: int) -> _Ritz:
    projected = _product(basis.T, images)
    inverse, weights = lapack.dsyevd(0.5 * (projected + projected.T))[:2]
    weights = weights[:, ::-1][:, :count]
    vectors = _product(images, weights)  # one inverse step beyond the Ritz vectors themselves
    residual = float(np.linalg.norm(vectors[:, 0] - inverse[-1] * _product(basis, weights[:, :1])[:, 0]))
    return _Ritz(float(inverse[-1]), residual, vectors)


def _orthonormal(block: Host, basis: Host) -> Host:
    """An orthonormal basis of what the columns of a block add to an orthonormal basis; perhaps no column.

    By products of whole blocks: Householder's method makes many small parallel calls, each of which
    waits for its threads. Directions below 1e-7 are rounding and are dropped.
    """
    for _ in range(2):
        block = block / np.linalg.norm(block, axis=0)
        block = block - _product(basis, _product(basis.T, block))
        sizes, turn = lapack.dsyevd(_product(block.T, block))[:2]
        kept = sizes > 1e-14
        if not np.any(kept):
            return block[:, :0]
        block = _product(block, turn[:, kept] / np.sqrt(sizes[kept]))
    return block


def _product(left: Host, right: Host) -> Host:
    """left @ right by SciPy's BLAS, which also solves: NumPy may bring a BLAS of its own, whose idle threads
    spin and take the cores from SciPy's (a factor of two in `certify` where measured)."""
    if 0 in (*left.shape, *right.shape):
        return np.zeros((left.shape[0], right.shape[1]), order="F")
    transposed = left.flags.c_contiguous
    return blas.dgemm(1.0, left.T if transposed else left, np.asfortranarray(right), trans_a=transposed)


def quotient(matrix: Host, x: Host) -> tuple[float, float]:
    """The Rayleigh quotient xᵀAx/xᵀx as computed, and a proved upper bound of its exact value.

    A·x is summed over √n blocks of √n columns, so that each entry carries at most 2√n + 2 roundings of
    |A||x| in any order of summation inside the blocks; the products with x add n roundings of |x|ᵀ|Ax|,
    which is small for a vector near the kernel of A. Entries of A must be at most 2^16 in modulus.
    """
    n = x.size
    width = int(np.ceil(np.sqrt(n)))
    image, sizes, size, parts = np.zeros(n), np.zeros(n), np.abs(x), 0
    for k in range(0, n, width):  # columns k, …, which are rows: whole pages of memory
        rows = matrix[k : k + width]
        image += blas.dgemv(1.0, rows.T, x[k : k + width])
        sizes += blas.dgemv(1.0, np.abs(rows).T, size[k : k + width])
        parts += 1
    slack = 1.0 + 4 * (n + 8) * UNIT
    roundings = (width + parts + 2) * float(size @ sizes) + (n + 2) * float(size @ np.abs(image))
    error = roundings * UNIT * slack**2 + (n + 2) ** 2 * SMALLEST_NORMAL
    form, square = float(x @ image), float(x @ x)
    top = np.nextafter(form + error, np.inf)
    bottom = square / slack if top >= 0 else square * slack
    return form / square, float(np.nextafter(top / bottom, np.inf))


class FlatMinor(NamedTuple):
    """A vector with exactly xᵀAx ≤ 0 that involves two points."""

    points: tuple[int, int]
    vector: Host
    value: float
    """xᵀAx/xᵀx, rounded up"""


def flat_minor(matrix: Host, candidates: int = 64) -> FlatMinor | None:
    """Two points whose 2 by 2 principal minor is exactly ≤ 0, or None if none was found.

    With a_ii, a_jj > 0 and a_ii a_jj ≤ a_ij², the vector x = a_ij e_i − a_ii e_j has
    xᵀAx = a_ii (a_ii a_jj − a_ij²) ≤ 0: e_i ∓ e_j for repeated or mirrored rows. Floating point only
    proposes the pairs; each is decided in rational arithmetic on the entries as given.
    """
    near = np.ldexp(matrix, -np.frexp(np.max(np.abs(matrix)))[1])
    root = np.sqrt(np.maximum(np.diag(near), SMALLEST_NORMAL))
    cosine = np.triu(np.abs(near / root[:, None] / root[None, :]), 1).ravel()
    found = np.flatnonzero(cosine >= 1.0 - 16 * UNIT)
    if found.size > candidates:
        found = found[np.argpartition(-cosine[found], candidates)[:candidates]]
    for place in found:
        i, j = (int(k) for k in divmod(int(place), matrix.shape[0]))
        a, b, r = Fraction(matrix[i, i].item()), Fraction(matrix[j, j].item()), Fraction(matrix[i, j].item())
        minor = a * b - r * r
        if a > 0 and minor <= 0:
            vector = np.zeros(matrix.shape[0])
            equal = abs(r) == a  # then the vector is e_i ∓ e_j up to a factor
            vector[i], vector[j] = (np.sign(matrix[i, j]), -1.0) if equal else (matrix[i, j], -matrix[i, i])
            value = a * minor / (r * r + a * a)
            return FlatMinor((i, j), vector, min(float(np.nextafter(float(value), np.inf)), 0.0))
    return None
