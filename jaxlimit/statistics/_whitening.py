"""Samples in the coordinates in which the law is N(0, I), and what happens where the law has fewer dimensions."""

import math

import jax
import numpy as np
import scipy.linalg
from jaxtyping import Float

from jaxlimit._arguments import require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.statistics._base import positive_deviation

PER_DIMENSION = 40
"""Replicas of two samples together, per dimension: with fewer, their own covariance is too rough to whiten them."""


def whitened(
    values: Float[Host, "replicas points"],
    mean: Float[Host, " points"],
    covariance: Float[Host, "points points"],
    tolerance: float,
) -> Float[Host, "replicas dimensions"]:
    """z = C^{−1/2} diag(sd)^{−1} (x − mean), C = V Λ Vᵀ the correlation of the law and C^{−1/2} symmetric.

    Eigenvectors have free signs, and turn where eigenvalues are nearly equal; the symmetric root changes no more than
    the law does. Where dimensions are left out there is none, and z = Λ^{−1/2} Vᵀ diag(sd)^{−1} (x − mean) with signs
    fixed. Only eigenvalues above `tolerance` times the largest count: they span the law's numerical support.
    Along the others the law's deviation is at most √(tolerance·λ_max), so samples of the law stay within
    ten times that and the rounding of their own dtype; raises ``ValueError`` for samples that do not, and
    for a point of zero variance. Always float64: what is subtracted here may be large beside what is left.
    """
    deviation = positive_deviation(covariance)
    spectrum, axes = scipy.linalg.eigh(covariance / np.outer(deviation, deviation))
    kept = spectrum > tolerance * spectrum[-1]
    # One product: the points may be scaled before as well as after the subtraction.
    centred = values.astype(np.float64, copy=False) - mean
    if not bool(np.all(kept)):
        outside = float(np.max(np.abs(centred @ (axes[:, ~kept] / deviation[:, None])), initial=0.0))
        kind = values.dtype if values.dtype.kind == "f" else np.dtype(np.float64)
        rounding = float(np.finfo(kind).eps) * float(np.max(np.abs(values) / deviation)) * math.sqrt(mean.size)
        allowed = 10.0 * math.sqrt(tolerance * float(spectrum[-1])) + 4.0 * rounding
        require(
            outside <= allowed,
            "samples",
            f"stay in the {int(np.sum(kept))} of {mean.size} dimensions in which the law has variance",
            f"a replica leaves them by {outside:.2g} standard deviations of a point, where {allowed:.2g} can be "
            "rounding; leave out points that determine each other, or use statistics.Sliced",
        )
    scaled = axes[:, kept] / np.sqrt(spectrum[kept])
    if bool(np.all(kept)):
        return centred @ (scaled @ axes.T / deviation[:, None])
    # A direction in general position: no axis of a symmetric arrangement of points is orthogonal to it.
    signs = np.where(np.sqrt(np.arange(2.0, 2.0 + mean.size)) @ scaled < 0.0, -1.0, 1.0)
    return centred @ (scaled * signs / deviation[:, None])


def whitened_pair(
    first: Float[Host, "replicas points"], second: Float[Host, "others points"], tolerance: float
) -> tuple[Host, Host]:
    """Both samples in coordinates in which the mean of their two laws' moments is 0 and I.

    The covariance is that within the samples, weighted by their numbers of replicas, so that a difference of
    the means is measured in standard deviations.
    """
    n, m, d = first.shape[0], second.shape[0], first.shape[1]
    wanted = f"hold at least {PER_DIMENSION} replicas per point together, whose covariance they must tell"
    require(n + m >= PER_DIMENSION * d, "first, second", wanted, f"they hold {n} and {m} of {d} points")
    x, y = (values.astype(np.float64, copy=False) for values in (first, second))
    mean, other = np.mean(x, axis=0), np.mean(y, axis=0)
    centred = [x - mean, y - other]
    covariance = sum(part.T @ part for part in centred) / (n + m - 2)
    middle = (n * mean + m * other) / (n + m)
    z = whitened(np.concatenate([x, y]), middle, np.asarray(covariance), tolerance)
    return z[:n], z[n:]


def rotations(count: int, dimensions: int, key: RandomKey) -> Float[Host, "count dimensions dimensions"]:
    """Independent uniformly distributed orthogonal matrices: the rows of each are orthonormal directions."""
    normal = np.asarray(jax.random.normal(key, (count, dimensions, dimensions), np.float32), dtype=np.float64)
    q, r = np.linalg.qr(normal)
    signs = np.sign(np.diagonal(r, axis1=1, axis2=2))
    return np.swapaxes(q * np.where(signs == 0, 1.0, signs)[:, None, :], 1, 2)
