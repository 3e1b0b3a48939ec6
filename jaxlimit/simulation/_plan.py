"""How a run is cut into calls."""

from itertools import pairwise

import numpy as np

from jaxlimit.simulation._state import Chain

PIECE_SECONDS = 1.0
"""About how long one call may take."""


def pieces(steps: np.ndarray, chain: Chain, lanes: int) -> list[np.ndarray]:
    """Cut the steps to save into calls: one where the whole lane is cheap, else pieces of about PIECE_SECONDS.

    A piece is [first, stop, …]; a long piece has one stop, a multiple of the method's unit after the last
    save. Bounded pieces make progress visible and interrupts quick.
    """
    edges = np.concatenate([[0], steps]).astype(np.int64)
    cost = chain.seconds * lanes
    if steps[-1] * cost <= PIECE_SECONDS:
        return [edges]
    most = chain.unit * max(1, int(PIECE_SECONDS / (cost * chain.unit)))
    cuts = [np.append(np.arange(a, b, most), b) if b > a else np.array([a, b]) for a, b in pairwise(edges)]
    return [np.array(ends) for cut in cuts for ends in pairwise(cut)]
