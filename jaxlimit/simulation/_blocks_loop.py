"""The loop over the blocks of one replica, compiled by numba: the same algorithm as `_blocks`, in plain arithmetic."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from jaxlimit.simulation._control import FREE, GROWTH, LEAP, STEADY
from jaxlimit.simulation._passes import passes, products
from jaxlimit.simulation._tiles import TILE, compiler

STEP, LENGTH, LAST, AHEAD, COUNT, FORCED, FREE_NOW, LOST, AGE = range(9)
"""Places in the integers of a replica; its three ages begin at the last."""


@lru_cache(maxsize=32)
def loop_of_blocks(scalar: Callable[..., Any], derivative: Callable[..., Any], dtype: np.dtype) -> Callable[..., None]:
    """Compile the loop over blocks for one activation, one loss and one precision."""
    native = compiler()
    (move, look, glance), accumulate, recursion = passes(scalar, dtype), products(dtype), _recursion(derivative)
    remember, ahead_of, joined = native()(_remember), native()(_ahead_of), native()(_joined)
    extrapolated, added_up, following = native()(_extrapolated), native()(_added_up), native()(_following)
    tile = TILE

    @native(nogil=True)
    def run(  # type: ignore[no-untyped-def]
        c, w, rest_c, rest_w, old_c, old_w, kernels, drift, largest, numbers, indices, first, stop, end, width,
        x, gram, y, weights, output, increment, train, order, keep, renew, shortest, longest, allowance, total, h, d,
    ):  # fmt: skip
        points, (four, rank) = y.size, x.shape
        errors, directions = np.zeros(four, c.dtype), np.zeros((rank, four), c.dtype)
        ahead_c, ahead_w = np.empty(tile, c.dtype), np.empty(rank * tile, c.dtype)
        step = np.empty((rank + 1) * tile, c.dtype)
        rate, waits, nothing = increment * output, False, np.zeros((0, 0), c.dtype)
        while numbers[STEP] < stop:
            # `_control.executed` in plain arithmetic.
            remaining = end - numbers[STEP]
            begin, count = numbers[STEP] - first, numbers[COUNT]
            parts = 2 * (order + 1) - count if count <= order else 1
            planned = min(numbers[LENGTH], max(1, remaining // parts))
            length = (remaining - 1) // ((remaining - 1) // planned + 1) + 1
            if begin + length > indices.shape[0]:
                break
            # The k-th of h steps sees the features after k steps: on average those after (h − 1)/2.
            ahead = length - 1 if order == 2 and numbers[LAST] > 0 else 0
            far = c.dtype.type(ahead / max(2 * numbers[LAST], 1))
            fresh = count <= order or count % (keep if numbers[FREE_NOW] else renew) == 0
            sums, unused, of_h, of_d = np.zeros(four), np.zeros(four), np.zeros((four, four)), np.zeros((four, four))
            for t in range(w.shape[0]):
                here, size = c[t * tile : (t + 1) * tile], min(tile, width - t * tile)
                if waits:
                    if order == 2:
                        remember(c, w, old_c, old_w, t)
                    move(here, w[t], rest_c[t], rest_w[t], step, h[t], d[t], errors, directions, train)
                if ahead > 0:
                    glance(here[:size], w[t], x, nothing, 0, h[t], sums)
                    ahead_of(c, w, old_c, old_w, t, far, ahead_c, ahead_w)
                    look(ahead_c[:size], ahead_w, x, h[t], d[t], unused)
                else:
                    look(here[:size], w[t], x, h[t], d[t], sums)
                if fresh and train:
                    accumulate(h[t], of_h)
                if fresh:
                    accumulate(d[t], of_d)
            joined(kernels, numbers, fresh, ahead, of_h, of_d, gram)
            outputs = np.empty(points, c.dtype)
            for m in range(points):
                outputs[m] = output * sums[m]
                largest[0] = max(largest[0], abs(outputs[m]))
            kernel, missed = extrapolated(kernels, numbers, order)
            kernel *= rate / c.dtype.type(max(indices.shape[1], 1))
            added, lost = recursion(outputs, y, kernel, indices[begin : begin + length], weights)
            if numbers[LOST] < 0 and lost >= 0:
                numbers[LOST] = numbers[STEP] + lost
            # Of the blocks before the first known δ nothing is known: they are taken to be like this one.
            unseen = 1.0 + (numbers[LAST] / length) ** 2 if count == order else 1.0
            worst = added_up(drift, largest, missed, added, 0.5 * rate * (length - 1) * unseen)
            numbers[LENGTH], numbers[FREE_NOW], forced = following(
                order, shortest, longest, allowance, total, numbers[LENGTH], length, worst, count >= order
            )
            numbers[FORCED] += forced
            numbers[STEP] += length
            numbers[LAST], numbers[AHEAD], numbers[COUNT] = length, ahead, count + 1
            for m in range(points):
                errors[m] = increment * added[m]
                for j in range(rank):
                    directions[j, m] = errors[m] * x[m, j]
            waits = True
        if waits:
            for t in range(w.shape[0]):
                if order == 2:
                    remember(c, w, old_c, old_w, t)
                here = c[t * tile : (t + 1) * tile]
                move(here, w[t], rest_c[t], rest_w[t], step, h[t], d[t], errors, directions, train)

    return run


# Plain loops below, and no assignments of slices: numba would compile their error messages, for seconds.


def _remember(c, w, old_c, old_w, t):  # type: ignore[no-untyped-def]
    """A tile's parameters, before they move."""
    for n in range(t * TILE, (t + 1) * TILE):
        old_c[n] = c[n]
    for n in range(w.shape[1]):
        old_w[t, n] = w[t, n]


def _ahead_of(c, w, old_c, old_w, t, far, ahead_c, ahead_w):  # type: ignore[no-untyped-def]
    """A tile's parameters on the straight line from the block before, `far` times its length from here."""
    first = t * TILE
    for n in range(first, first + TILE):
        ahead_c[n - first] = c[n] + far * (c[n] - old_c[n])
    for n in range(w.shape[1]):
        ahead_w[n] = w[t, n] + far * (w[t, n] - old_w[t, n])


def _joined(kernels, numbers, fresh, ahead, of_h, of_d, gram):  # type: ignore[no-untyped-def]
    """`_blocks._remember` for one replica: kernels grow older by a block, and a fresh one joins them."""
    passed = 2 * numbers[LAST] - numbers[AHEAD] + ahead if numbers[COUNT] > 0 else 0
    for k in range(AGE, AGE + 3):
        numbers[k] += passed
    if fresh:
        numbers[AGE + 2], numbers[AGE + 1], numbers[AGE] = numbers[AGE + 1], numbers[AGE], 0
        for i in range(kernels.shape[1]):
            for j in range(kernels.shape[1]):
                kernels[2, i, j], kernels[1, i, j] = kernels[1, i, j], kernels[0, i, j]
                k, m = min(i, j), max(i, j)
                kernels[0, i, j] = of_h[k, m] + of_d[k, m] * gram[k, m]


def _added_up(drift, largest, missed, added, factor):  # type: ignore[no-untyped-def]
    """δ = factor · missed · added is added to the drift, whose largest entry so far is kept; the largest |δ|."""
    worst = 0.0
    for m in range(drift.size):
        wrong = 0.0
        for i in range(drift.size):
            wrong += missed[m, i] * added[i]
        wrong *= factor
        drift[m] += wrong
        largest[1] = max(largest[1], abs(drift[m]))
        worst = max(worst, abs(wrong)) if np.isfinite(wrong) else np.inf
    return worst


def _recursion(derivative: Callable[..., Any]) -> Callable[..., Any]:
    """The steps of a block in the outputs alone, for one loss."""
    native = compiler()
    residual_of = native()(derivative)

    @native()
    def of_single_samples(outputs, y, kernel, indices, added):  # type: ignore[no-untyped-def]
        """The next error needs one entry of what the last one moves: it does not wait for the others."""
        points, lost, error, row = y.size, -1, y.dtype.type(0), kernel[0]
        moved = np.zeros(points, y.dtype)
        for k in range(indices.shape[0]):
            i = indices[k, 0]
            here = moved[i] + row[i] * error
            for m in range(points):
                moved[m] += row[m] * error
            error, row = -residual_of(outputs[i] + here, y[i]), kernel[i]
            added[i] += error
            if lost < 0 and not np.isfinite(error):
                lost = k
        return lost

    @native()
    def of_batches(outputs, y, kernel, indices, added):  # type: ignore[no-untyped-def]
        points, (steps, batch), lost = y.size, indices.shape, -1
        moved, errors, share = np.zeros(points, y.dtype), np.empty(batch, y.dtype), y.dtype.type(1 / batch)
        for k in range(steps):
            for b in range(batch):
                i = indices[k, b]
                errors[b] = -residual_of(outputs[i] + moved[i], y[i])
                if lost < 0 and not np.isfinite(errors[b]):
                    lost = k
            for b in range(batch):
                i, error, row = indices[k, b], errors[b], kernel[indices[k, b]]
                added[i] += share * error
                for m in range(points):
                    moved[m] += row[m] * error
        return lost

    @native()
    def of_all_points(outputs, y, kernel, weights, steps, added):  # type: ignore[no-untyped-def]
        points, lost = y.size, -1
        moved, errors = np.zeros(points, y.dtype), np.empty(points, y.dtype)
        for k in range(steps):
            for m in range(points):
                error = -residual_of(outputs[m] + moved[m], y[m])
                errors[m] = weights[m] * error
                added[m] += errors[m]
                if lost < 0 and not np.isfinite(error):
                    lost = k
            for i in range(points):
                for m in range(points):
                    moved[m] += kernel[i, m] * errors[i]
        return lost

    @native()
    def recursion(outputs, y, kernel, indices, weights):  # type: ignore[no-untyped-def]
        """Errors added up by point, and the first non-finite step or −1; `kernel` holds κ K / batch.

        Steps without indices take all points with their weights.
        """
        added = np.zeros(y.size, y.dtype)
        if indices.shape[1] == 0:
            return added, of_all_points(outputs, y, kernel, weights, indices.shape[0], added)
        if indices.shape[1] == 1:
            return added, of_single_samples(outputs, y, kernel, indices, added)
        return added, of_batches(outputs, y, kernel, indices, added)

    return recursion


def _extrapolated(kernels, numbers, order):  # type: ignore[no-untyped-def]
    """`_blocks._extrapolated` for one replica."""
    points, count = kernels.shape[1], numbers[COUNT]
    kernel, missed = kernels[0].copy(), np.zeros((points, points), kernels.dtype)
    for young in range(order):
        if count > young:
            share = kernels.dtype.type(1 / max(numbers[AGE + young + 1] - numbers[AGE + young], 1))
            for i in range(points):
                for j in range(points):
                    slope = share * (kernels[young, i, j] - kernels[young + 1, i, j])
                    if young == 0:
                        kernel[i, j] += slope * numbers[AGE]
                        missed[i, j] = slope
                    else:
                        missed[i, j] -= slope
    return kernel, missed


def _following(order, shortest, longest, allowance, total, planned, length, size, known):  # type: ignore[no-untyped-def]
    """`_control.following` in plain arithmetic."""
    if allowance == 0:
        return (longest if order == 1 else min(longest, GROWTH * length)), True, False
    if not known:
        return max(shortest, min(longest, GROWTH * length)), False, False
    share = length / total
    allowed = allowance * (share if order == 1 else math.sqrt(share))
    free = size * FREE <= allowed or not math.isfinite(size)
    ratio = FREE if free else allowed / size
    growth, most = LEAP if free else GROWTH, planned if order == 1 else length
    factor = min(max(STEADY * (ratio if order == 1 or ratio < 1 else math.sqrt(ratio)), 1 / LEAP), growth)
    wanted = max(shortest, min(longest, int(min(factor * length, growth * most))))
    return wanted, free, ratio < 1 and planned <= shortest
