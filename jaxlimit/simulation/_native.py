"""The loop of Stepwise in native code: one core, one replica after the other, compiled by numba at run time.

XLA reads w for the forward pass of a step, and reads and writes it for the update. Here the update waits for
the forward pass of the next step, whose data point is already known, and one pass over w serves both. Tiles
of neurons keep what passes between the two in the first-level cache.
"""

import importlib.util
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._typing import Host
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Shallow
from jaxlimit.simulation._draws import BLOCK
from jaxlimit.simulation._native_few import loop_of_few_points
from jaxlimit.simulation._readout import outputs_of_rows, outputs_of_weights, readers
from jaxlimit.simulation._state import Advance, Constants, Fixed, Moving, Observe, lane_indices, recorded
from jaxlimit.simulation._tiles import TILE, aligned, compiler, rows_of, tiled

_record = eqx.filter_jit(recorded)


def missing(network: Shallow, loss: AbstractLoss, devices: Sequence[jax.Device], batch: int | None = 1) -> str | None:
    """Why the loop cannot be native here; None if it can."""
    if batch != 1:
        return "the native loop takes one sample a step"
    if importlib.util.find_spec("numba") is None:
        return "numba is not installed (pip install 'jaxlimit[numba]')"
    try:
        importlib.import_module("numba")
    except ImportError as error:  # for example an older numba beside a newer NumPy
        return f"numba cannot be imported ({error})"
    if any(device.platform != "cpu" for device in devices):
        return "native code is for CPUs, and not all devices are"
    forms = (network.activation, network.activation.scalar(np.dtype(np.float32))), (loss, loss.scalar())
    left = [type(part).__name__ for part, form in forms if form is None]
    return f"{left[0]} has no `scalar` form" if left else None


class Ready(NamedTuple):
    """A lane between two calls: `Moving`, and the copy the loop works on, in tiles.

    `rows` is w, or the pre-activations of all points, of which `moved` then holds what w gained along each.
    """

    c: Host
    w: Any
    diverged: Host
    error: Any
    forced: Any
    rows: Host
    moved: Host


def chain(network: Shallow, loss: AbstractLoss, dtype: np.dtype) -> Advance:
    """What advances a lane, for this activation, loss and precision; the same contract as XLA's `advance`."""
    forms = network.activation.scalar(dtype), loss.scalar(), np.dtype(dtype)
    # Made here, once for all lanes: their threads would compile a copy each. The first call compiles, not this.
    of_w, of_few_points = _loop(*forms), loop_of_few_points(*forms)
    of_weights, of_rows = readers(forms[0], forms[2])

    def advance(
        network: Shallow,
        _: AbstractLoss,
        observe: Observe | None,
        constants: Constants,
        keys: jax.Array,
        moving: Moving | Ready,
        fixed: Fixed,
        stops: Host,
        ends: Host,
    ) -> tuple[Ready, Any, None, Any]:
        x, y, output, increment = (
            np.asarray(a) for a in (constants.x, constants.y, constants.output, constants.increment)
        )
        few = 2 * x.shape[0] <= 3 * x.shape[1]
        now = moving if isinstance(moving, Ready) else _ready(moving, x, few)
        gram = x @ x.T
        real, block, saved = int(fixed.real), -1, list[Any]()
        for first, last in zip(stops[:-1].tolist(), stops[1:].tolist(), strict=True):
            step = first
            while step < last:
                if block != step // BLOCK:
                    block = step // BLOCK
                    indices = np.asarray(lane_indices(constants, keys, jnp.asarray(block, jnp.int32)))[:, :, 0]
                stop = min(last, (block + 1) * BLOCK)
                turns = np.ascontiguousarray(indices[:real, step - block * BLOCK : stop - block * BLOCK])
                rest = output[()], increment[()], network.train_output, step
                if few:
                    lead = (step - first) % 2 == 1
                    of_few_points(now.c, now.rows, now.moved, gram, y, turns, *rest, lead, now.diverged)
                else:
                    of_w(now.c, now.rows, x, y, turns, *rest, now.diverged)
                step = stop
            width = now.c.shape[1]
            found: tuple[Any, Any]
            if observe is None and not few:
                found = outputs_of_weights(of_weights, constants, fixed, now.c, now.rows, width), None
            elif observe is None and constants.at.shape[0] == 0:
                found = outputs_of_rows(of_rows, constants, fixed, now.c, now.rows, width), None
            else:
                with np.errstate(invalid="ignore", over="ignore"):  # of replicas that diverged
                    w = now.w + x.T @ rows_of(now.moved, width) if few else rows_of(now.rows, width)
                c, w, diverged = jax.device_put((now.c.copy(), w, now.diverged.copy()), *constants.x.devices())
                state = Moving(c, w, diverged, now.error, now.forced)
                found = _record(network, observe, constants, state, fixed)
            saved.append(found)
        values, seen = jax.tree.map(lambda *parts: np.stack(parts, axis=1), *saved)
        return now, values, None, seen

    return advance


def _ready(moving: Moving, x: Host, few: bool) -> Ready:
    """Copy a lane's start into tiles."""
    c, w = aligned(moving.c.shape, x.dtype), np.asarray(moving.w)
    c[:] = moving.c
    rows = tiled(x @ w if few else w)
    moved = aligned(rows.shape if few else (0,), x.dtype)
    moved[:] = 0
    return Ready(c, w, np.array(moving.diverged), moving.error, moving.forced, rows, moved)


@lru_cache(maxsize=32)
def _loop(scalar: Callable[..., Any], derivative: Callable[..., Any], dtype: np.dtype) -> Callable[..., None]:
    """Compile the loop for one activation, one loss and one precision."""
    native = compiler()
    inline, pair, residual_of = native(inline="always"), native()(scalar), native()(derivative)
    tile, zero = TILE, dtype.type(0)

    @inline
    def five(w, z, u, old, move, new, j):  # type: ignore[no-untyped-def]
        """Five coordinates at once, which hides the traffic of z and u: w_j ← w_j + e x_j z, u ← u + x'_j w_j."""
        x0, x1, x2, x3, x4 = move * old[j], move * old[j + 1], move * old[j + 2], move * old[j + 3], move * old[j + 4]
        y0, y1, y2, y3, y4 = new[j], new[j + 1], new[j + 2], new[j + 3], new[j + 4]
        for n in range(tile):
            a = w[n] + x0 * z[n]
            b = w[n + tile] + x1 * z[n]
            c = w[n + 2 * tile] + x2 * z[n]
            d = w[n + 3 * tile] + x3 * z[n]
            e = w[n + 4 * tile] + x4 * z[n]
            w[n] = a
            w[n + tile] = b
            w[n + 2 * tile] = c
            w[n + 3 * tile] = d
            w[n + 4 * tile] = e
            u[n] += y0 * a + y1 * b + y2 * c + y3 * d + y4 * e

    @inline
    def one(w, z, u, x, y):  # type: ignore[no-untyped-def]
        """One coordinate of the same."""
        for n in range(tile):
            a = w[n] + x * z[n]
            w[n] = a
            u[n] += y * a

    @inline
    def through(w, z, u, old, move, new):  # type: ignore[no-untyped-def]
        """The pass over a tile's w: the update along the old point, which was waiting; the forward pass of the new."""
        u[:] = zero
        rank = old.size
        whole = rank - rank % 5
        for j in range(0, whole, 5):
            five(w[j * tile : (j + 5) * tile], z, u, old, move, new, j)
        for j in range(whole, rank):
            one(w[j * tile : (j + 1) * tile], z, u, move * old[j], new[j])

    @inline
    def turn(c, h, z, u, learn):  # type: ignore[no-untyped-def]
        """c moves for the step before; then h = σ(u), z = c σ'(u) and Σ c σ(u) of this step, all with one c."""
        total = zero
        for n in range(c.size):
            now = c[n] + learn * h[n]
            value, slope = pair(u[n])
            total += now * value
            c[n] = now
            h[n] = value
            z[n] = now * slope
        return total

    @native(nogil=True)
    def loop(c, w, x, y, indices, output, increment, train, step, lost):  # type: ignore[no-untyped-def]
        width, tiles = c.shape[1], w.shape[1]
        h, z, u = np.empty(tiles * tile, c.dtype), np.empty(tiles * tile, c.dtype), np.empty(tile, c.dtype)
        for r in range(indices.shape[0]):
            # Nothing waits yet; and a replica that diverged must not leave its NaN to the next one.
            h[:] = zero
            z[:] = zero
            move, old = zero, x[0]
            for k in range(indices.shape[1]):
                i = indices[r, k]
                learn = move if train else zero
                total = zero
                for t in range(tiles):
                    a, b = t * tile, min(t * tile + tile, width)
                    through(w[r, t], z[a : a + tile], u, old, move, x[i])
                    total += turn(c[r, a:b], h[a:b], z[a:b], u, learn)
                residual = -residual_of(output * total, y[i])
                if lost[r] < 0 and not np.isfinite(residual):
                    lost[r] = step + k
                move, old = increment * residual, x[i]
            # The last update waits for a step that is not of this call.
            learn = move if train else zero
            for t in range(tiles):
                a, b = t * tile, min(t * tile + tile, width)
                through(w[r, t], z[a : a + tile], u, old, move, old)
                for n in range(a, b):
                    c[r, n] += learn * h[n]

    return loop
