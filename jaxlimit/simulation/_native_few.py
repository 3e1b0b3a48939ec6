"""The native loop for few data points: the pre-activations of all of them take the place of w.

With no more points than about the rank of their span it is cheaper to keep u_m = w·x_m for every point m:
the forward pass is one row, and a step at point i adds x_i·x_m times e c σ' to row m, M multiply-adds where
w takes 2·rank. Steps go in pairs, and one pass over the rows serves a pair. `moved` adds up, point by point,
what w gained along x_m.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from jaxlimit.simulation._tiles import TILE, compiler


@lru_cache(maxsize=32)
def loop_of_few_points(
    scalar: Callable[..., Any], derivative: Callable[..., Any], dtype: np.dtype
) -> Callable[..., None]:
    """Compile the loop for one activation, one loss and one precision."""
    native = compiler()
    inline, pair, residual_of = native(inline="always"), native()(scalar), native()(derivative)
    tile, zero = TILE, dtype.type(0)

    @inline
    def four(u, z, g, m):  # type: ignore[no-untyped-def]
        """Four rows: u_m ← u_m + g_0m z_0 + g_1m z_1."""
        a0, a1, a2, a3 = g[0, m], g[0, m + 1], g[0, m + 2], g[0, m + 3]
        b0, b1, b2, b3 = g[1, m], g[1, m + 1], g[1, m + 2], g[1, m + 3]
        for n in range(tile):
            p, q = z[n], z[n + tile]
            u[n] += a0 * p + b0 * q
            u[n + tile] += a1 * p + b1 * q
            u[n + 2 * tile] += a2 * p + b2 * q
            u[n + 3 * tile] += a3 * p + b3 * q

    @inline
    def one(u, z, a, b):  # type: ignore[no-untyped-def]
        """One row of the same."""
        for n in range(tile):
            u[n] += a * z[n] + b * z[n + tile]

    @inline
    def add(row, z, by):  # type: ignore[no-untyped-def]
        for n in range(tile):
            row[n] += by * z[n]

    @inline
    def turn(c, h, z, u, last, by, learn):  # type: ignore[no-untyped-def]
        """c moves for the step before; then h = σ(u), z = c σ'(u) and Σ c σ(u), with u corrected for that step."""
        total = zero
        for n in range(c.size):
            now = c[n] + learn * h[n]
            value, slope = pair(u[n] + by * last[n])
            total += now * value
            c[n] = now
            h[n] = value
            z[n] = now * slope
        return total

    @native(nogil=True)
    def loop(c, u, moved, gram, y, indices, output, increment, train, step, lead, lost):  # type: ignore[no-untyped-def]
        width, tiles, points = c.shape[1], u.shape[1], gram.shape[0]
        h, z = np.empty(tiles * tile, c.dtype), np.empty((tiles, 2 * tile), c.dtype)
        g, move, done = np.empty((2, points), c.dtype), np.empty(2, c.dtype), np.zeros(2, np.int64)
        for r in range(indices.shape[0]):
            # Nothing waits yet; and a replica that diverged must not leave its NaN to the next one.
            h[:] = zero
            z[:] = zero
            move[:] = zero
            last = zero
            steps = indices.shape[1]
            k = count = 0
            # One turn more than there are steps: it only finishes.
            while k < steps or count > 0:
                k += count
                count = min(1 if lead and k == 0 else 2, steps - k)
                for m in range(points):
                    g[0, m] = move[0] * gram[done[0], m]
                    g[1, m] = move[1] * gram[done[1], m]
                i = indices[r, min(k, steps - 1)]
                learn = last if train else zero
                total = zero
                for t in range(tiles):
                    a, b = t * tile, min(t * tile + tile, width)
                    rows, zt = u[r, t], z[t]
                    whole = points - points % 4
                    for m in range(0, whole, 4):
                        four(rows[m * tile : (m + 4) * tile], zt, g, m)
                    for m in range(whole, points):
                        one(rows[m * tile : (m + 1) * tile], zt, g[0, m], g[1, m])
                    add(moved[r, t, done[0] * tile : (done[0] + 1) * tile], zt[:tile], move[0])
                    add(moved[r, t, done[1] * tile : (done[1] + 1) * tile], zt[tile:], move[1])
                    row = rows[i * tile : (i + 1) * tile]
                    if count > 0:
                        total += turn(c[r, a:b], h[a:b], zt[: b - a], row, row, zero, learn)
                    else:
                        for n in range(a, b):
                            c[r, n] += learn * h[n]
                move[:] = zero
                for place in range(count):
                    i = indices[r, k + place]
                    if place == 1:
                        learn = last if train else zero
                        by = last * gram[done[0], i]
                        total = zero
                        for t in range(tiles):
                            a, b = t * tile, min(t * tile + tile, width)
                            row, zt = u[r, t, i * tile : (i + 1) * tile], z[t]
                            total += turn(c[r, a:b], h[a:b], zt[tile : tile + b - a], row, zt[:tile], by, learn)
                    residual = -residual_of(output * total, y[i])
                    if lost[r] < 0 and not np.isfinite(residual):
                        lost[r] = step + k + place
                    last = increment * residual
                    move[place], done[place] = last, i

    return loop
