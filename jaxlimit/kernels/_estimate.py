"""λ_min of the limit's kernel where a proof is too dear: estimates, from above by construction."""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import numpy as np
from scipy.linalg import blas, lapack

from jaxlimit._arguments import instance, positive_integer, real_array, require
from jaxlimit._devices import available_on_host
from jaxlimit._numerics import UNIT, symmetrised
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.claims import above, number
from jaxlimit.kernels._gram import SIDE, gram, row_blocks
from jaxlimit.kernels._rules import AbstractRule
from jaxlimit.kernels._weights import roots
from jaxlimit.kernels._witness import BLOCK, lowest
from jaxlimit.networks import AbstractNetwork

ROWS = 8 * SIDE
"""Rows of the kernel that are computed at a time."""

STEPS = 24
"""Block steps of inverse iteration at most."""

MARGIN = 2.0**-20
"""By which the reflected matrix of `Krylov` is positive definite, relative to ‖K‖."""


class LambdaMinEstimate(eqx.Module):
    """An estimate of the smallest eigenvalue λ_min of Π^{1/2} B Π^{1/2}: never a proof of positive definiteness.

    `value` is a Rayleigh quotient xᵀKx of a unit vector x as computed, so `upper` = value + rounding + entry
    errors is an upper bound of λ_min. There is no lower bound: *some* eigenvalue lies within `residual` =
    |Kx − value·x| of `value`, and that it is the smallest is not shown. `method` says how x was found, and
    `assumptions` what the entry errors take for granted.
    """

    value: float = eqx.field(static=True)
    residual: float = eqx.field(static=True)
    upper: float = eqx.field(static=True)
    method: str = eqx.field(static=True)
    assumptions: tuple[str, ...] = eqx.field(static=True, default=())

    def __str__(self) -> str:
        given = f" (given: {'; '.join(self.assumptions)})" if self.assumptions else ""
        parts = f"residual {number(self.residual)}, λ_min ≤ {above(self.upper)}{given}, no lower bound"
        return f"ESTIMATE of λ_min by {self.method}: {number(self.value, 6)}, {parts}"


class Rows(NamedTuple):
    """A kernel matrix as rows on demand: `rows(i, j, k)` are rows i…j, columns 0…k, with their radius."""

    points: int
    rows: Callable[[int, int, int], tuple[Host, Host, tuple[str, ...]]]


class Found(NamedTuple):
    """A unit vector, its image, and bounds of ‖|K|‖ and of the norm of the radius (largest sums of rows)."""

    vector: Host
    image: Host
    size: float
    radius: float
    assumptions: tuple[str, ...]


class AbstractEigensolver(eqx.Module):
    """A way to an approximate lowest eigenvector of a kernel matrix."""

    @abstractmethod
    def bytes(self, points: int) -> int:
        """Memory that it takes, beyond the data."""

    @abstractmethod
    def find(self, kernel: Rows) -> Found:
        """The approximate eigenvector."""


class ShiftInvert(AbstractEigensolver):
    """Inverse iteration with one Cholesky factor, written over one triangle of the matrix; the other stays.

    Memory 8n² bytes and a little; n³/3 operations. Right and fast, as long as the matrix fits.

        >>> from jaxlimit.kernels import ShiftInvert
        >>> ShiftInvert().bytes(20_000) / 2**30 < 5
        True
    """

    def bytes(self, points: int) -> int:
        """The matrix, a block of rows in the making, and the Krylov space."""
        return 8 * points * (points + 8 * ROWS + 2 * STEPS * BLOCK)

    def find(self, kernel: Rows) -> Found:
        """Fill the lower triangle, mirror it block by block, factor one half, iterate with it."""
        n = kernel.points
        matrix = np.empty((n, n))
        sums, size = np.zeros(n), np.zeros(n)
        assumptions: tuple[str, ...] = ()
        for i in range(0, n, ROWS):
            j = min(i + ROWS, n)
            value, radius, assumptions = kernel.rows(i, j, j)
            value[:, i:] = symmetrised(value[:, i:].T)
            matrix[i:j, :j] = value
            matrix[:i, i:j] = value[:, :i].T
            for total, part in ((sums, radius), (size, np.abs(value))):
                total[i:j] += part.sum(axis=1)
                total[:i] += part[:, :i].sum(axis=0)
        diagonal = np.diag(matrix).copy()
        # In Fortran's order the lower triangle of the transpose is the upper one of the matrix.
        shift, least = 0.0, 4 * n * UNIT * float(size.max()) or 1.0
        while True:
            factor, info = lapack.dpotrf(matrix.T, lower=1, overwrite_a=1, clean=0)
            if info == 0:
                break
            shift = least if shift == 0.0 else 16.0 * shift
            for i in range(0, n, ROWS):  # from the triangle that is left
                j = min(i + ROWS, n)
                matrix[i:j, j:] = matrix[j:, i:j].T
                matrix[i:j, i:j] = symmetrised(matrix[i:j, i:j].T)
            np.fill_diagonal(matrix, diagonal + shift)
        start = np.random.default_rng(0).standard_normal((n, min(n, BLOCK)))
        solve = lambda block: lapack.dpotrs(factor, np.asfortranarray(block), lower=1)[0]  # noqa: E731
        x = lowest(solve, start, STEPS).vectors[:, 0]
        # Put back, not corrected for: the factor's diagonal is a root, whose rounding may exceed a small kernel.
        np.fill_diagonal(factor, diagonal)
        image = blas.dsymv(1.0, factor, x, lower=0)
        return Found(x, image, float(size.max()), float(sums.max()), assumptions)


class Krylov(AbstractEigensolver):
    """Block Lanczos iteration with full reorthogonalisation; rows are computed anew in every pass and never stored.

    Memory is that of `passes`·`block` vectors, twice. Every pass computes the n² entries again, so it is
    slow, and without an inverse it converges slowly to an eigenvalue that lies in a cluster far below
    ‖K‖: look at `residual`, and read `upper`.

        >>> from jaxlimit.kernels import Krylov
        >>> Krylov(passes=20).bytes(100_000) / 2**30 < 10
        True
    """

    passes: int = eqx.field(static=True, default=30)
    block: int = eqx.field(static=True, default=8)

    def __check_init__(self) -> None:
        """Whole numbers."""
        positive_integer("passes", self.passes)
        positive_integer("block", self.block)

    def bytes(self, points: int) -> int:
        """Basis and images, once more while they grow, and a block of rows in the making."""
        return 8 * points * (4 * self.passes * self.block + 8 * ROWS)

    def find(self, kernel: Rows) -> Found:
        """The largest eigenvalue of (1 + `MARGIN`)‖K‖·I − K."""
        n = kernel.points

        def multiplied(block: Host) -> tuple[Host, float, float, tuple[str, ...]]:
            image, size, spread = np.empty((n, block.shape[1])), 0.0, 0.0
            assumptions: tuple[str, ...] = ()
            for i in range(0, n, ROWS):
                j = min(i + ROWS, n)
                value, radius, assumptions = kernel.rows(i, j, n)
                image[i:j] = value @ block
                size = max(size, float(np.abs(value).sum(axis=1).max()))
                spread = max(spread, float(radius.sum(axis=1).max()))
            return image, size, spread, assumptions

        start = np.random.default_rng(0).standard_normal((n, min(n, self.block)))
        # ‖K‖ is at most the largest sum of a row of |K|; above it no direction is lost, not even if K = ‖K‖·I.
        top = (1.0 + MARGIN) * multiplied(start[:, :1])[1] or 1.0
        flipped = lambda block: top * block - multiplied(block)[0]  # noqa: E731
        x = lowest(flipped, start, self.passes, settled=0.0).vectors[:, 0]
        image, size, spread, assumptions = multiplied(x[:, None])
        return Found(x, image[:, 0], size, spread, assumptions)


def lambda_min_estimate(
    network: AbstractNetwork,
    x: ArrayLike,
    rule: AbstractRule | None = None,
    weights: ArrayLike | None = None,
    solver: AbstractEigensolver | None = None,
) -> LambdaMinEstimate:
    """An ESTIMATE of λ_min of Π^{1/2} B Π^{1/2} for more points than `certify` has room for.

    Ritz values are never below λ_min, so the estimate errs upwards: `upper` bounds λ_min, with 2(n + 8)u·‖|K|‖
    for rounding (u = 2^−53) and the norm of the entry errors added, and nothing is claimed from below.
    `rule` as in `gram`; `weights` [points] are positive and taken as they are. `solver` is `ShiftInvert()`
    (8n² bytes) or `Krylov()` (no matrix, slow); None takes the first if four fifths of the free memory
    hold it, else the second, and `method` says which.

    Raises ``ValueError`` where neither fits into the memory, before anything is computed, and for Monte Carlo
    entries, whose errors have no bound.

        >>> import jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> x = jl.data.sphere(points=200, inputs=10).x
        >>> found, proof = jl.kernels.lambda_min_estimate(network, x), jl.certify(jl.gram(network, x))
        >>> proof.lower <= found.upper and abs(found.value - proof.estimate) < 1e-9
        True
    """
    points = real_array("x", x, 2)
    root = roots(weights, len(points))
    if solver is not None:
        instance("solver", solver, AbstractEigensolver)
    room = available_on_host()
    choices = (ShiftInvert(), Krylov()) if solver is None else (solver,)
    fitting = [one for one in choices if room is None or one.bytes(len(points)) <= 0.8 * room]
    least = min(one.bytes(len(points)) for one in choices)
    have = "" if room is None else f" and {0.8 * room / 2**30:.1f} GiB are to be had"
    require(len(fitting) > 0, "x", "fit into the memory", f"{len(points)} points take {least / 2**30:.1f} GiB{have}")

    random = gram(network, points[:1], rule=rule).standard_error is not None
    require(not random, "rule", "bound its errors", "Monte Carlo entries carry standard errors")
    block = row_blocks(network, points, rule)

    def rows(i: int, j: int, k: int) -> tuple[Host, Host, tuple[str, ...]]:
        part = block(slice(i, j), k)
        scale = np.outer(root[i:j], root[:k])
        return part.value * scale, part.radius * scale, part.assumptions

    found = fitting[0].find(Rows(len(points), rows))
    square = float(found.vector @ found.vector)
    value = float(found.vector @ found.image) / square
    residual = float(np.linalg.norm(found.image - value * found.vector)) / square**0.5
    slack = 1.0 + 8 * (len(points) + 8) * UNIT
    rounding = (2 * (len(points) + 8) * UNIT * found.size + found.radius) * slack
    return LambdaMinEstimate(value, residual, value + rounding, repr(fitting[0]), found.assumptions)
