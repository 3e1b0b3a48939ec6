"""Outputs at a save time in native code, straight from the tiles: calling XLA costs more than a narrow network does."""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from jaxlimit._typing import Host
from jaxlimit.simulation._passes import fours, passes
from jaxlimit.simulation._state import Constants, Fixed
from jaxlimit.simulation._tiles import TILE, compiler


@lru_cache(maxsize=32)
def readers(scalar: Callable[..., Any], dtype: np.dtype) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """Loops over a lane that fill Σ c σ(u) [replicas, points], compiled for one activation and precision."""
    native = compiler()
    glance, pair = passes(scalar, dtype)[2], native()(scalar)
    tile, zero = TILE, dtype.type(0)

    @native(nogil=True)
    def of_weights(c, w, x, frozen, width, outputs):  # type: ignore[no-untyped-def]
        """From w in tiles, at the points x; `frozen` [replicas, points, neurons] adds to w·x, or has no points."""
        place = np.empty(2 * tile, c.dtype)
        for r in range(outputs.shape[0]):
            sums = np.zeros(x.shape[0])
            for t in range(w.shape[1]):
                first = t * tile
                glance(c[r, first : min(first + tile, width)], w[r, t], x, frozen[r], first, place, sums)
            for p in range(outputs.shape[1]):
                outputs[r, p] = sums[p]

    @native(nogil=True)
    def of_rows(c, rows, width, outputs):  # type: ignore[no-untyped-def]
        """From tiles of pre-activations of the points."""
        for r in range(outputs.shape[0]):
            for t in range(rows.shape[1]):
                first, size = t * tile, min(tile, width - t * tile)
                for p in range(outputs.shape[1]):
                    part = zero
                    for n in range(size):
                        part += c[r, first + n] * pair(rows[r, t, p * tile + n])[0]
                    outputs[r, p] += part

    return of_weights, of_rows


def outputs_of_weights(
    read: Callable[..., Any], constants: Constants, fixed: Fixed, c: Host, w: Host, width: int
) -> Host:
    """Outputs of a lane on the data and on the extra points; replicas that only pad it have none."""
    lanes, real = c.shape[0], int(fixed.real)
    nothing = np.zeros((lanes, 0, 0), c.dtype)
    found = []
    for x, frozen in ((constants.x, None), (constants.at, fixed.frozen)):
        points = np.asarray(x)
        sums = np.zeros((lanes, len(points)))
        if len(points):
            beside = nothing if frozen is None else np.asarray(frozen)
            read(c, w, points[fours(len(points))], beside, width, sums[:real])
        found.append(sums)
    return (float(constants.output) * np.concatenate(found, axis=1)).astype(c.dtype)


def outputs_of_rows(
    read: Callable[..., Any], constants: Constants, fixed: Fixed, c: Host, rows: Host, width: int
) -> Host:
    """The same on the data alone, from their pre-activations."""
    sums = np.zeros((c.shape[0], constants.y.shape[0]))
    read(c, rows, width, sums[: int(fixed.real)])
    return (float(constants.output) * sums).astype(c.dtype)
