"""Hermite polynomials."""

import math
from collections.abc import Iterator
from typing import Any, ClassVar

import equinox as eqx
import numpy as np

from jaxlimit._arguments import natural_number, require
from jaxlimit._numerics import UNIT, Pairs, namespace
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations._base import AbstractClosedFormActivation

LARGEST = 128
"""Beyond, coefficients and powers of ordinary inputs leave float32 or float64."""

TINY = 2.0**-1020


class Hermite(AbstractClosedFormActivation):
    """σ(u) = h_k(u) = He_k(u)/√k!, the normalised probabilists' Hermite polynomial of `degree` k ≥ 0.

    E h_j(z)h_k(z) = δ_jk for z ~ N(0, 1), and h_k' = √k h_{k−1}. With (u, u') of variances a, b and
    covariance r,

        E σσ' = Σ_m k!/(m!² (k−2m)! 4^m) [(a−1)(b−1)]^m r^{k−2m},   0 ≤ m ≤ k/2,

    which is r^k on the unit sphere, and E σ̇σ̇' is k times that of h_{k−1}. It is a polynomial, so the theorem
    on positive definiteness does not hold for it: a must-fail case. Raises ``ValueError`` if the degree is
    no integer from 0 to 128; the kernel raises it where powers of long inputs overflow.
    Source: references `mehler`.

        >>> import numpy as np, jaxlimit as jl
        >>> round(float(jl.activations.Hermite(2)(np.float64(2.0))), 12)
        2.12132034356
    """

    degree: int = eqx.field(static=True)
    smooth: ClassVar[bool | None] = True
    polynomial: ClassVar[bool | None] = True

    def __check_init__(self) -> None:
        """A degree is a natural number."""
        degree = natural_number("degree", self.degree)
        require(degree <= LARGEST, "degree", f"be at most {LARGEST}", f"it is {degree}")

    @property
    def odd(self) -> bool:  # type: ignore[override]
        """As the degree."""
        return self.degree % 2 == 1

    @property
    def even(self) -> bool:  # type: ignore[override]
        """As the degree."""
        return self.degree % 2 == 0

    @property
    def homogeneous(self) -> bool:  # type: ignore[override]
        """Only h_1(u) = u is."""
        return self.degree == 1

    @property
    def bounded(self) -> bool:  # type: ignore[override]
        """Only h_0 = 1 is."""
        return self.degree == 0

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """h_k(u) by √(j+1) h_{j+1} = u h_j − √j h_{j−1}."""
        return _recurrence(u, self.degree)

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """√k h_{k−1}(u)."""
        if self.degree == 0:
            return 0.0 * _recurrence(u, 0)
        return math.sqrt(self.degree) * _recurrence(u, self.degree - 1)

    def dual(self, pair: Pairs) -> Host:
        """The sum above."""
        return _dual(pair, self.degree)

    def dual_derivative(self, pair: Pairs) -> Host:
        """k times the dual of h_{k−1}."""
        return self.degree * _dual(pair, self.degree - 1)

    def dual_error(self, pair: Pairs) -> Host:
        """Term by term: what P = (a−1)(b−1) and r are off by, and rounding of the sum of absolute terms."""
        return _dual_error(pair, self.degree)

    def dual_derivative_error(self, pair: Pairs) -> Host:
        """k times that of h_{k−1}."""
        return self.degree * _dual_error(pair, self.degree - 1)

    def monomials(self, inputs: int) -> int | None:
        """Those of degrees k, k − 2, …: a polynomial of one parity, and so is σ'(w·x)x."""
        return sum(math.comb(inputs + j - 1, j) for j in range(self.degree, -1, -2))


def _recurrence(u: ArrayLike, degree: int) -> ArrayLike:
    xp = namespace(u)
    before, now = xp.zeros_like(u), xp.where(u == u, xp.ones_like(u), u)  # NaN stays NaN
    for j in range(degree):
        before, now = now, (u * now - math.sqrt(j) * before) / math.sqrt(j + 1)
    return now


def _coefficients(degree: int) -> Iterator[tuple[int, int, float]]:
    """(m, k − 2m, k!/(m!² (k−2m)! 4^m)) for every m."""
    for m in range(degree // 2 + 1):
        rest = degree - 2 * m
        whole = math.factorial(degree) // (math.factorial(m) * math.factorial(rest))
        yield m, rest, whole / (math.factorial(m) * 4**m)


def _dual(pair: Pairs, degree: int) -> Host:
    with np.errstate(over="ignore", invalid="ignore", under="ignore"):
        product = (pair.a - 1.0) * (pair.b - 1.0)
        total: Any = np.zeros_like(pair.r)
        for m, rest, coefficient in _coefficients(degree):
            total = total + coefficient * product**m * pair.r**rest
    finite = bool(np.all(np.isfinite(total)))
    require(finite, "x", f"be short enough for powers of degree {2 * degree} in float64", "some of them overflow")
    return total


def _dual_error(pair: Pairs, degree: int) -> Host:
    """In the sum every P^m r^j moves by m P^{m−1} r^j δP + j P^m r^{j−1} δr at the largest |P| and |r| within reach."""
    with np.errstate(over="ignore", under="ignore"):
        left, right = np.abs(pair.a - 1.0), np.abs(pair.b - 1.0)
        left_moved, right_moved = (pair.relative * v + UNIT * w for v, w in ((pair.a, left), (pair.b, right)))
        moved = left * right_moved + right * left_moved + left_moved * right_moved + 2 * UNIT * left * right
        shift = pair.relative * pair.scale
        product, inner = left * right + moved, np.abs(pair.r) + shift
        total: Any = np.full_like(pair.r, TINY)
        for m, rest, coefficient in _coefficients(degree):
            terms = (2 * degree + 16) * UNIT * product**m * inner**rest
            if m:
                terms = terms + m * product ** (m - 1) * moved * inner**rest
            if rest:
                terms = terms + rest * inner ** (rest - 1) * shift * product**m
            total = total + 1.01 * coefficient * terms
    return total
