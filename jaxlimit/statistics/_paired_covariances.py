"""Covariances of two samples whitened together: their null laws under Gaussian and other laws of the samples."""

import math
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float

from jaxlimit._arguments import require
from jaxlimit._numerics import UNIT
from jaxlimit._typing import Host
from jaxlimit.statistics._chi_squares import ChiSquares

PAIRED_ROWS = 1024
"""Replicas of each sample whose products with each other give the variance of the shape's null law."""


class Sample(NamedTuple):
    """One of the two, centred, in the coordinates that whiten both; `share` is its own of all degrees of freedom.

    Null laws are those of ONE law of both samples, so their fourth moments are pooled by these shares: weighted as the
    variance of a difference is, by the other's share, the few replicas of a small sample would set the level, and
    those that show no tails by chance are those whose covariance is small.
    """

    z: Float[Host, "replicas dimensions"]
    squares: Float[Host, " replicas"]
    covariance: Float[Host, "dimensions dimensions"]
    inverse: Float[Host, "dimensions dimensions"]
    scale: float
    log_ratio: float
    dof: int
    share: float

    def variance(self, form: Float[Host, "dimensions dimensions"]) -> float:
        """Of zᵀ form z."""
        return float(np.var(np.einsum("ij,ij->i", self.z @ form, self.z), ddof=1))

    def fourth_moment(self, total: int) -> float:
        """E|z|⁴, exact for Gaussian samples: whitening with their own covariance makes it too small."""
        n = self.z.shape[0]
        return float(np.mean(np.square(self.squares))) * (1.0 + 2.0 / total) * (n / (n - 1.0)) ** 2


def centred_sample(name: str, z: Host, others: int) -> Sample:
    """One of two whitened samples, beside another with `others` degrees of freedom; refused where it has no volume."""
    dof, d = z.shape[0] - 1, z.shape[1]
    z = z - np.mean(z, axis=0)
    covariance = z.T @ z / dof
    spectrum, axes = np.linalg.eigh(covariance)
    require(
        bool(spectrum[0] > 64 * d * UNIT * spectrum[-1]),
        name,
        f"vary in all {d} dimensions in which the two together do",
        f"its variances along them, divided by those of both, lie between {spectrum[0]:.2g} and {spectrum[-1]:.2g}",
    )
    scale = float(np.mean(spectrum))
    log_ratio = max(math.log(scale) - float(np.mean(np.log(spectrum))), 0.0)
    squares = np.sum(np.square(z), axis=1)
    inverse = (axes / spectrum) @ axes.T
    return Sample(z, squares, covariance, inverse, scale, log_ratio, dof, dof / (others + dof))


def trace_excess(a: Sample, b: Sample) -> float:
    """The variance of |z|² beside that of Gaussian samples, 2d."""
    d, total = a.z.shape[1], a.dof + b.dof
    return sum(part.share * (part.fourth_moment(total) - (d * part.scale) ** 2) for part in (a, b)) / (2.0 * d)


def share_law(a: Sample, b: Sample, heavy: float) -> tuple[float, float]:
    """The Beta law of tr n₁S₁/(tr n₁S₁ + tr n₂S₂), which is tr B/d for a multivariate Beta matrix B.

    Its mean and, for Gaussian samples, its variance are exact: with p = n₁/2, q = (n₁ + n₂)/2 and the zonal
    polynomials of order 2, E(tr B)² = d(d + 2)p(p + 1)/(3q(q + 1)) + 2d(d − 1)p(p − ½)/(3q(q − ½)).
    """
    d, p, q = a.z.shape[1], 0.5 * a.dof, 0.5 * (a.dof + b.dof)
    square = (d + 2) * p * (p + 1) / (3 * d * q * (q + 1)) + 2 * (d - 1) * p * (p - 0.5) / (3 * d * q * (q - 0.5))
    mean = p / q
    counts = max(mean * (1.0 - mean) / (heavy * (square - mean * mean)) - 1.0, 1.0)
    return counts * mean, counts * (1.0 - mean)


def shape_law(a: Sample, b: Sample) -> ChiSquares:
    """c·χ²_k with the mean and the variance of Σ λ_i χ²_i, λ the eigenvalues of the covariance of (zzᵀ)₀/√2.

    (zzᵀ)₀ is zzᵀ without its trace. Gaussian samples have f = (d − 1)(d + 2)/2 eigenvalues 1; where theirs are
    smaller in sum, 1 is kept. Mean and variance are multiplied by those of Gaussian samples beside f and 2f:
    E M and Var M of all of Box's M, exact by the moments of Wishart determinants, less those of its part for the scale.
    """
    d, total = a.z.shape[1], a.dof + b.dof
    f = 0.5 * (d - 1) * (d + 2)
    trace = sum(
        part.share
        * ((1.0 - 1.0 / d) * part.fourth_moment(total) - np.sum(np.square(part.covariance)) + d * part.scale**2)
        for part in (a, b)
    )
    first = max(1.0, 0.5 * float(trace) / f)
    second = max(first**2, _squared_eigenvalues(a, b) / f)
    alpha, beta = share_law(a, b, 1.0)
    psi = scipy.special.digamma
    scale = -d * sum(
        part.dof * (math.log(total / part.dof) + psi(count) - psi(alpha + beta))
        for part, count in ((a, alpha), (b, beta))
    )
    wishart = [(dof, 0.5 * (dof - np.arange(d))) for dof in (total, a.dof, b.dof)]
    logs = [dof * (float(np.sum(psi(half))) + d * math.log(2.0 / dof)) for dof, half in wishart]
    spreads = [dof**2 * float(np.sum(scipy.special.polygamma(1, half))) for dof, half in wishart]
    mean = (logs[0] - logs[1] - logs[2] - scale) * first
    variance = (spreads[1] + spreads[2] - spreads[0] - 2.0 * scale**2) * second
    return ChiSquares(np.array([0.5 * variance / mean]), np.array([2.0 * mean**2 / variance]))


def _squared_eigenvalues(a: Sample, b: Sample) -> float:
    """Σ λ_i² without bias, from products of different samples' features: (zᵀw)²/2 − |z|²|w|²/2d."""
    rows = [part.z[:PAIRED_ROWS] for part in (a, b)]
    norms = [part.squares[:PAIRED_ROWS] for part in (a, b)]
    d, found = rows[0].shape[1], 0.0
    for i, j, weight in ((0, 0, a.share**2), (1, 1, b.share**2), (0, 1, 2.0 * a.share * b.share)):
        product = 0.5 * (np.square(rows[i] @ rows[j].T) - np.outer(norms[i], norms[j]) / d)
        product -= np.mean(product, axis=0)
        product -= np.mean(product, axis=1, keepdims=True)
        count = product.size
        if i == j:
            np.fill_diagonal(product, 0.0)
            count -= product.shape[0]
        found += weight * float(np.vdot(product, product)) / count
    return found
