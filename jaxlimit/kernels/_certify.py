"""Positive definiteness, proved or refuted, and proved bounds of the lowest eigenvalue."""

import enum
import math

import equinox as eqx
import numpy as np

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.claims import above, below, number
from jaxlimit.kernels._cholesky import Shifted, enclose
from jaxlimit.kernels._types import Gram
from jaxlimit.kernels._witness import flat_minor

MODERATE = 16
"""Largest entries between 2^−17 and 2^16 are left as they are: their products stay far from over- and underflow."""

ROWS = 256
"""Rows that are compared with their mirror image at a time: both stay in the caches."""


class CertificateStatus(enum.Enum):
    """PROVED_PD and PROVED_NOT_PD are theorems about the exact matrix; everything short of them is UNDECIDED."""

    PROVED_PD = "PROVED_PD"
    PROVED_NOT_PD = "PROVED_NOT_PD"
    UNDECIDED = "UNDECIDED"


class Certificate(eqx.Module):
    """What is proved of the lowest eigenvalue λ_min of a symmetric matrix known up to its radius.

    lower ≤ λ_min ≤ upper is proved (given `assumptions`); `estimate` is only an estimate; values of λ_min
    below `floor` could not be told from zero. `witness` is a vector x with xᵀAx ≤ 0, where one was found.
    """

    status: CertificateStatus = eqx.field(static=True)
    estimate: float = eqx.field(static=True)
    lower: float = eqx.field(static=True)
    upper: float = eqx.field(static=True)
    floor: float = eqx.field(static=True)
    reason: str = eqx.field(static=True)
    assumptions: tuple[str, ...] = eqx.field(static=True, default=())
    witness: Host | None = None

    def __str__(self) -> str:
        interval = f"[{below(self.lower)}, {above(self.upper)}]"
        given = f" (given: {'; '.join(self.assumptions)})" if self.assumptions else ""
        return f"{self.status.value}: λ_min in {interval}, estimate {number(self.estimate, 6)}; {self.reason}{given}"


def certify(gram: Gram | ArrayLike) -> Certificate:
    """Prove or refute that a symmetric matrix is positive definite, with proved bounds of λ_min.

    Theorem (Rump): let u = 2^−53, t_j the entries above the diagonal in column j from its first non-zero
    on, α_j = (t_j + k)u and c = Σ α_j a_jj + M + (underflow), M ≥ ‖radius‖. If the floating-point Cholesky
    factorisation of A − (s + c)I completes, every symmetric matrix within the radius has λ_min > s. The
    first factor also yields an estimate by inverse iteration, and another one or two confirm an s close to
    it. The upper bound is a Rayleigh quotient with its rounding error and M. The theorem holds for any
    order of summation, so for blocked and parallel LAPACK; it supposes substitution in triangular solves
    (not inverted diagonal blocks) and ordinary products (not Strassen's). Source: references `rump2006`.

    `gram` is a Gram or a symmetric array [points, points], taken as exact; float32 is cast exactly.
    Not positive definite is proved by a structural reason named in the Gram, by a vector x with xᵀAx < 0
    beyond rounding and radius, or, if the matrix is exact, by xᵀAx ≤ 0 in rational arithmetic for two
    points. Everything else, and every Monte Carlo Gram, is UNDECIDED with the reason.

    Raises ``ValueError`` if the matrix is empty, not square, not symmetric, not real or not finite.

        >>> import numpy as np
        >>> from jaxlimit.kernels import certify
        >>> certify(np.array([[2.0, 1.0], [1.0, 2.0]])).status.value
        'PROVED_PD'
        >>> print(certify(np.ones((2, 2))).reason)
        xᵀAx = 0 exactly for points 0 and 1: their 2 by 2 minor is not positive
    """
    given = gram.value if isinstance(gram, Gram) else gram
    value = real_array("gram", given, 2, copy=False)
    _require_exact_and_symmetric(np.asarray(given), value)
    gram = gram if isinstance(gram, Gram) else Gram(value)
    radius = None if gram.radius is None else real_array("gram.radius", gram.radius, 2, copy=False)
    # A power of two brings the largest entry into [1/2, 1): no overflow, and underflow is covered by c. Entries of
    # moderate size stay as they are, which saves two copies.
    exponent = math.frexp(max(float(np.max(value)), -float(np.min(value)), gram.maximal_radius))[1]
    exponent = 0 if abs(exponent) <= MODERATE else exponent
    found = enclose(Shifted(_scaled_down(value, exponent), None if radius is None else _scaled_down(radius, exponent)))
    estimate = outward(found.estimate, exponent, 0.0)
    if gram.standard_error is not None:
        return _monte_carlo(gram, estimate)
    lower, upper = outward(found.lower, exponent, -math.inf), outward(found.upper, exponent, math.inf)
    floor = outward(found.floor, exponent, math.inf)

    witness, why = found.vector, f"xᵀAx/xᵀx ≤ {above(upper)} for the witness x"
    corner, place = _lowest_corner(value, radius)
    if corner <= 0 < upper:
        upper, witness, why = corner, _unit(place, value), f"diagonal entry {place} is at most {above(corner)}"
    flat = flat_minor(value) if radius is None and not found.completed and upper > 0 else None
    if flat is not None:
        i, j = flat.points
        upper, witness = flat.value, flat.vector
        why = f"xᵀAx {'=' if upper == 0 else '<'} 0 exactly for points {i} and {j}: their 2 by 2 minor is not positive"

    refuted = upper <= 0
    singular = "; ".join(gram.singular)
    if found.completed and (singular or refuted):
        status = CertificateStatus.UNDECIDED
        why = f"a completed Cholesky factorisation contradicts: {singular or why}; the radius must be too small"
    elif found.completed:
        status = CertificateStatus.PROVED_PD
        why = f"Cholesky of A − (s + c)I completed at s = {below(lower)}"
    elif singular or refuted:
        status, upper, why = CertificateStatus.PROVED_NOT_PD, min(upper, 0.0), singular or why
    else:
        status = CertificateStatus.UNDECIDED
        why = (
            f"the estimate {number(estimate)} cannot be told from 0 at the floor {number(floor)} of rounding and radius"
        )
    kept = witness if refuted and status is CertificateStatus.PROVED_NOT_PD else None
    return Certificate(status, estimate, lower, upper, floor, why, gram.assumptions, kept)


def _require_exact_and_symmetric(given: np.ndarray, value: Host) -> None:
    """The proof is about the matrix as given: float64 must hold every entry of it."""
    if given.dtype.kind in "iu":
        kept = int(given.min()) >= -(2**53) and int(given.max()) <= 2**53
    else:
        kept = given.dtype.itemsize <= 8 or bool(np.all(given == value))
    require(kept, "gram", "be representable in float64", f"{given.dtype} entries would be rounded")
    require(value.shape[0] == value.shape[1], "gram", "be square", f"its shape is {value.shape}")
    starts = range(0, value.shape[0], ROWS)
    symmetric = all(np.array_equal(value[i : i + ROWS, i:], value[i:, i : i + ROWS].T) for i in starts)
    require(symmetric, "gram", "be exactly symmetric", "some entry differs from its mirror image")


def _monte_carlo(gram: Gram, estimate: float) -> Certificate:
    """One sample is no bound, whatever its λ_min; what is known of the exact matrix is a proof all the same."""
    if gram.singular:
        status, upper, why = CertificateStatus.PROVED_NOT_PD, 0.0, "; ".join(gram.singular)
    else:
        status, upper = CertificateStatus.UNDECIDED, math.inf
        why = "the entries carry standard errors, and one Monte Carlo sample bounds nothing"
        why += ": kernels.lambda_min_confidence bounds λ_min from several"
    lower = 0.0 if gram.semidefinite else -math.inf
    return Certificate(status, estimate, lower, upper, math.inf, why, gram.assumptions)


def _scaled_down(matrix: Host, exponent: int) -> Host:
    """matrix·2^−exponent; a product is as exact as ldexp and ten times faster, where 2^−exponent fits."""
    if exponent == 0:
        return matrix
    return matrix * 2.0**-exponent if abs(exponent) < 1000 else np.ldexp(matrix, -exponent)


def outward(bound: float, exponent: int, towards: float) -> float:
    """bound·2^exponent, moved on towards ±∞ where it does not fit a normal float64."""
    try:
        moved = math.ldexp(bound, exponent)
    except OverflowError:
        moved = math.copysign(math.inf, bound)
    exact = moved == bound or (math.isfinite(moved) and math.ldexp(moved, -exponent) == bound)
    return moved if exact else float(np.nextafter(moved, towards))


def _lowest_corner(value: Host, radius: Host | None) -> tuple[float, int]:
    """The least diagonal entry plus its radius, rounded up unless exact: an upper bound of λ_min."""
    diagonal = np.diag(value)
    if radius is None:
        tops = diagonal
    else:
        spread = np.diag(radius)
        with np.errstate(over="ignore"):
            tops = np.where(spread == 0, diagonal, np.nextafter(diagonal + spread, np.inf))
    place = int(np.argmin(tops))
    return float(tops[place]), place


def _unit(place: int, matrix: Host) -> Host:
    return (np.arange(matrix.shape[0]) == place).astype(np.float64)
