"""The data in coordinates of their own span: training moves w nowhere else."""

from typing import NamedTuple

import numpy as np

from jaxlimit._numerics import UNIT
from jaxlimit._typing import Host


class Span(NamedTuple):
    """Data and extra points in an orthonormal basis of the span of the data.

    `x` [points, rank] and `at` [extra, rank] are coordinates, `basis` [inputs, rank] the basis (None
    when the data fill the space, and coordinates are the original ones), `remainder` [extra, inputs]
    what of the extra points lies outside the span: there w never moves, and its contribution stays
    what it was at the start.
    """

    x: Host
    at: Host
    basis: Host | None
    remainder: Host | None


def span(x: Host, at: Host) -> Span:
    """Reduce x [points, inputs] and at [extra, inputs] to rank(x) coordinates.

    Singular values of the points' directions below rounding of the largest count as zero, so inner products
    change by rounding.
    """
    # Directions only: a point must not lose its own because another one is long.
    norms = np.max(np.abs(x), axis=1, keepdims=True)
    directions = np.divide(x, norms, out=np.zeros_like(x), where=norms > 0)
    _, singular, rows = np.linalg.svd(directions, full_matrices=False)
    rank = max(1, int(np.sum(singular > max(x.shape) * 4 * UNIT * singular[0])))
    if rank == x.shape[1]:
        return Span(x, at, None, None)
    basis = rows[:rank].T
    inside = at @ basis
    return Span(x @ basis, inside, basis, at - inside @ basis.T)
