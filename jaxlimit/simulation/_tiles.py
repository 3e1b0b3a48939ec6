"""What the native loops share: their compiler, and tiles of neurons, which lie together on cache lines."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from jaxlimit._typing import Host

TILE = 256
"""Neurons per tile: a constant of the compiled loop, which then knows that rows of w do not overlap."""

REORDER = {"reassoc", "contract", "nsz", "arcp"}
"""What the compiler may do: sums in any order, fused multiply-add. It may not assume NaN and infinity away."""

LINE = 64
"""Bytes of a cache line."""


def compiler(reorder: bool = True) -> Callable[..., Any]:
    """numba's decorator with what every native function may assume; numba is imported here and not before."""
    import numba

    return partial(numba.njit, fastmath=REORDER if reorder else False, error_model="numpy")


def tiled(w: Host) -> Host:
    """[lanes, rank, neurons] → [lanes, tiles, rank · TILE]: what a tile needs lies together; zeros fill the last."""
    lanes, rank, width = w.shape
    return tile_into(aligned((lanes, -(-width // TILE), rank * TILE), w.dtype), w)


def tile_into(result: Host, w: Host) -> Host:
    """`tiled` into an array that is there already."""
    lanes, rank = w.shape[:2]
    tiles = result.reshape(lanes, -1, rank, TILE)
    tiles[:, -1] = 0
    for t in range(tiles.shape[1]):
        part = w[:, :, t * TILE : (t + 1) * TILE]
        tiles[:, t, :, : part.shape[2]] = part
    return result


def rows_of(tiles: Host, width: int) -> Host:
    """The way back."""
    lanes, count, size = tiles.shape
    rows = tiles.reshape(lanes, count, size // TILE, TILE).swapaxes(1, 2).reshape(lanes, size // TILE, count * TILE)
    return np.ascontiguousarray(rows[:, :, :width])


def aligned(shape: tuple[int, ...], dtype: np.dtype) -> Host:
    """An array that begins on a cache line: vectors that straddle two lines cost a fifth of the speed."""
    raw = np.empty(math.prod(shape) * dtype.itemsize + LINE, np.uint8)
    first = -raw.ctypes.data % LINE
    return raw[first : first + raw.size - LINE].view(dtype).reshape(shape)
