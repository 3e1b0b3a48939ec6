"""How a run is cut into calls."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from jaxlimit._typing import Host
from jaxlimit.simulation._state import Chain

PIECE_SECONDS = 1.0
"""About how long one call may take."""


class Piece(NamedTuple):
    """One call: it stops at each of stops[1:], which lies on the way to the save at ends[j] ≥ stops[j + 1]."""

    stops: Host
    ends: Host

    @property
    def saves(self) -> bool:
        """Whether it reaches its saves; a piece that does not was cut before its only one."""
        return bool(self.stops[-1] == self.ends[-1])


def _in_one_call(steps: Host, chain: Chain) -> bool:
    """Whether a whole lane is cheap."""
    return bool(steps[-1] * (chain.seconds * chain.lanes) <= PIECE_SECONDS)


def saves_at_once(steps: Host, chain: Chain) -> int:
    """How many saves a call records: all of them where the whole lane is one call, else one."""
    return len(steps) if _in_one_call(steps, chain) else 1


def pieces(steps: Host, chain: Chain) -> list[Piece]:
    """Cut the steps to save into calls: one where the whole lane is cheap, else pieces of about PIECE_SECONDS.

    A long piece has one stop, a multiple of the method's unit after the last save. Bounded pieces make progress
    visible and interrupts quick.
    """
    edges = np.concatenate([[0], steps]).astype(np.int32)
    if _in_one_call(steps, chain):
        return [Piece(edges, edges[1:])]
    cost = chain.seconds * chain.lanes
    most = chain.unit * max(1, int(PIECE_SECONDS / (cost * chain.unit)))
    found = []
    for first, save in pairwise(edges.tolist()):
        cuts = np.append(np.arange(first, save, most), save) if save > first else np.array([first, save])
        found += [Piece(np.array(ends, np.int32), np.array([save], np.int32)) for ends in pairwise(cuts)]
    return found
