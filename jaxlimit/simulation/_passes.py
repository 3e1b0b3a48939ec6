"""What a block costs most: passes over the neurons in native code, tile by tile, so that features stay in cache.

One pass moves the parameters as the last block wants it, takes the features at the new ones, and adds up the
kernel. Points come in fours: the last of them is repeated until they do, with no error of its own.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from jaxlimit._typing import Host
from jaxlimit.simulation._tiles import TILE, compiler

POINTS = 4
"""Points are handled so many at a time."""


def fours(points: int) -> Host:
    """Which points a pass goes over: all of them, the last one again until they come in fours."""
    return np.minimum(np.arange(-(-points // POINTS) * POINTS), points - 1)


@lru_cache(maxsize=32)
def passes(scalar: Callable[..., Any], dtype: np.dtype) -> tuple[Callable[..., Any], ...]:
    """The functions `move`, `look` and `glance` of one tile, compiled for one activation and precision."""
    native = compiler()
    inline, pair = native(inline="always"), native()(scalar)
    tile, zero = TILE, dtype.type(0)

    @inline
    def push(row, d, errors, m):  # type: ignore[no-untyped-def]
        """A row of steps along four points: row ← row + Σ_m e_m d_m."""
        a, b, c, e = errors[m], errors[m + 1], errors[m + 2], errors[m + 3]
        for n in range(tile):
            row[n] += a * d[n] + b * d[n + tile] + c * d[n + 2 * tile] + e * d[n + 3 * tile]

    @inline
    def push_two(rows, d, first, second, m):  # type: ignore[no-untyped-def]
        """Two rows at once, which halves the traffic of the points."""
        a, b, c, e = first[m], first[m + 1], first[m + 2], first[m + 3]
        f, g, h, k = second[m], second[m + 1], second[m + 2], second[m + 3]
        for n in range(tile):
            p, q, r, s = d[n], d[n + tile], d[n + 2 * tile], d[n + 3 * tile]
            rows[n] += a * p + b * q + c * r + e * s
            rows[n + tile] += f * p + g * q + h * r + k * s

    # Not to be reordered: what a sum loses is what is left of the step after the parameter has moved.
    @compiler(reorder=False)()
    def carried(parameters, rest, step):  # type: ignore[no-untyped-def]
        for n in range(parameters.size):
            whole, before = step[n] + rest[n], parameters[n]
            parameters[n] = before + whole
            rest[n] = whole - (parameters[n] - before)

    @native()
    def move(c, w, rest_c, rest_w, step, h, d, errors, directions, train):  # type: ignore[no-untyped-def]
        """c ← c + Σ_m e_m h_m and w_j ← w_j + Σ_m e_m x_mj d_m; `directions` [rank, points] holds e_m x_mj.

        Steps are added up apart, and what rounding takes from a parameter waits in `rest` for the next one:
        otherwise many short blocks would lose steps smaller than a rounding unit of w.
        """
        points, rank = errors.size, directions.shape[0]
        step[:] = zero
        for m in range(0, points, POINTS):
            if train:
                push(step[rank * tile :], h[m * tile : (m + POINTS) * tile], errors, m)
            block = d[m * tile : (m + POINTS) * tile]
            for j in range(0, rank - 1, 2):
                push_two(step[j * tile : (j + 2) * tile], block, directions[j], directions[j + 1], m)
            if rank % 2 == 1:
                push(step[(rank - 1) * tile : rank * tile], block, directions[rank - 1], m)
        carried(w, rest_w, step[: rank * tile])
        if train:
            carried(c, rest_c, step[rank * tile :])

    @inline
    def five(w, u, first, second, j):  # type: ignore[no-untyped-def]
        """Five coordinates of two points."""
        a, b, c, d, e = first[j], first[j + 1], first[j + 2], first[j + 3], first[j + 4]
        p, q, r, s, t = second[j], second[j + 1], second[j + 2], second[j + 3], second[j + 4]
        for n in range(tile):
            v, x, y, z, k = w[n], w[n + tile], w[n + 2 * tile], w[n + 3 * tile], w[n + 4 * tile]
            u[n] += a * v + b * x + c * y + d * z + e * k
            u[n + tile] += p * v + q * x + r * y + s * z + t * k

    @inline
    def one(w, u, a, p):  # type: ignore[no-untyped-def]
        """One coordinate of the same."""
        for n in range(tile):
            v = w[n]
            u[n] += a * v
            u[n + tile] += p * v

    @inline
    def forward(w, u, first, second):  # type: ignore[no-untyped-def]
        """u = Σ_j x_j w_j for two points."""
        rank = first.size
        whole = rank - rank % 5
        u[:] = zero
        for j in range(0, whole, 5):
            five(w[j * tile : (j + 5) * tile], u, first, second, j)
        for j in range(whole, rank):
            one(w[j * tile : (j + 1) * tile], u, first[j], second[j])

    @inline
    def features(c, h, d):  # type: ignore[no-untyped-def]
        """In place: h = σ(u), d = c σ'(u); returns Σ c σ(u). Neurons beyond the last have no features."""
        total = zero
        for n in range(c.size):
            value, slope = pair(h[n])
            h[n] = value
            d[n] = c[n] * slope
            total += c[n] * value
        h[c.size :] = zero
        d[c.size :] = zero
        return total

    @native()
    def look(c, w, x, h, d, outputs):  # type: ignore[no-untyped-def]
        """Features of a tile at all points, and its part of the outputs."""
        for m in range(0, x.shape[0], 2):
            forward(w, h[m * tile : (m + 2) * tile], x[m], x[m + 1])
            for k in (m, m + 1):
                outputs[k] += features(c, h[k * tile : (k + 1) * tile], d[k * tile : (k + 1) * tile])

    @native()
    def glance(c, w, x, frozen, first, u, outputs):  # type: ignore[no-untyped-def]
        """The tile's part of the outputs alone, from neuron `first` on; `u` is only a place to work in.

        `frozen` [points, neurons], or nothing, is what adds to w·x without moving.
        """
        last = frozen.shape[0] - 1
        for m in range(0, x.shape[0], 2):
            forward(w, u[: 2 * tile], x[m], x[m + 1])
            for k in (0, 1):
                row, part = u[k * tile : (k + 1) * tile], zero
                if last >= 0:
                    beside = frozen[min(m + k, last), first : first + c.size]
                    for n in range(c.size):
                        part += c[n] * pair(row[n] + beside[n])[0]
                else:
                    for n in range(c.size):
                        part += c[n] * pair(row[n])[0]
                outputs[m + k] += part

    return move, look, glance


@lru_cache(maxsize=4)
def products(dtype: np.dtype) -> Callable[..., Any]:
    """The function that adds a tile's part of FFᵀ to `total` [points, points], upper triangle of fours."""
    native = compiler()
    tile, zero = TILE, dtype.type(0)

    @native(inline="always")
    def four_by_four(p, q, total, i, j):  # type: ignore[no-untyped-def]
        """Sixteen sums at once, each number loaded serving four of them."""
        s00 = s01 = s02 = s03 = s10 = s11 = s12 = s13 = zero
        s20 = s21 = s22 = s23 = s30 = s31 = s32 = s33 = zero
        for n in range(tile):
            a, b, c, d = p[n], p[n + tile], p[n + 2 * tile], p[n + 3 * tile]
            e, f, g, h = q[n], q[n + tile], q[n + 2 * tile], q[n + 3 * tile]
            s00 += a * e
            s01 += a * f
            s02 += a * g
            s03 += a * h
            s10 += b * e
            s11 += b * f
            s12 += b * g
            s13 += b * h
            s20 += c * e
            s21 += c * f
            s22 += c * g
            s23 += c * h
            s30 += d * e
            s31 += d * f
            s32 += d * g
            s33 += d * h
        first, second, third, fourth = total[i], total[i + 1], total[i + 2], total[i + 3]
        first[j] += s00
        first[j + 1] += s01
        first[j + 2] += s02
        first[j + 3] += s03
        second[j] += s10
        second[j + 1] += s11
        second[j + 2] += s12
        second[j + 3] += s13
        third[j] += s20
        third[j + 1] += s21
        third[j + 2] += s22
        third[j + 3] += s23
        fourth[j] += s30
        fourth[j + 1] += s31
        fourth[j + 2] += s32
        fourth[j + 3] += s33

    @native()
    def accumulate(features, total):  # type: ignore[no-untyped-def]
        points = total.shape[0]
        for i in range(0, points, POINTS):
            for j in range(i, points, POINTS):
                p = features[i * tile : (i + POINTS) * tile]
                q = features[j * tile : (j + POINTS) * tile]
                four_by_four(p, q, total, i, j)

    return accumulate
