"""SGD step by step on accelerators, one sample a step: w passes through the chip once for every step.

A step reads w twice where it is written down as it is defined, for w·x and for its own update. Here the update of
step k and the pre-activations of step k + 1 are one pass, over the rows of w one by one, as arrays of their own: a
compiler makes one kernel of it, and pads nothing to the tiles of its registers. What the next step needs is carried
with the state, so bits do not depend on where calls are cut.
"""

from functools import reduce
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from jaxlimit._typing import Host
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Shallow
from jaxlimit.simulation._draws import BLOCK
from jaxlimit.simulation._state import Constants, Fixed, Moving, Observe, lane_indices, recorded
from jaxlimit.simulation._steps import counted, first_lost

MOST_ROWS = 64
"""Rows of w that are written out one by one."""


class Streamed(NamedTuple):
    """A lane between two calls: `Moving` with w by rows, and u = w·x at the sample of the next step."""

    c: Float[Array, "lanes neurons"]
    rows: tuple[Float[Array, "lanes neurons"], ...]
    diverged: Int[Array, " lanes"]
    error: Float[Array, " lanes"]
    forced: Int[Array, " lanes"]
    u: Float[Array, "lanes neurons"]


def _along(rows: tuple[Array, ...], x: Float[Array, "lanes rank"]) -> Float[Array, "lanes neurons"]:
    """w·x, a point for each replica."""
    return reduce(lambda u, j: u + x[:, j, None] * rows[j], range(1, len(rows)), x[:, 0, None] * rows[0])


@eqx.filter_jit
def advance(
    network: Shallow,
    loss: AbstractLoss,
    observe: Observe | None,
    constants: Constants,
    keys: Array,
    moving: Moving | Streamed,
    fixed: Fixed,
    stops: Int[Host, " saves_plus_one"],
    ends: Int[Host, " saves"],
) -> tuple[Streamed, Float[Array, "lanes saves points"], None, Any]:
    """The contract of `Advance`."""
    first, rank = jnp.asarray(stops[0]), constants.x.shape[1]
    if isinstance(moving, Streamed):
        lane = moving
    else:
        rows = tuple(moving.w[:, j] for j in range(rank))
        sample = lane_indices(constants, keys, first // BLOCK)[:, first % BLOCK, 0]
        lane = Streamed(moving.c, rows, *moving[2:], u=_along(rows, constants.x[sample]))

    def block(b: Array, bounds: tuple[Array, Array], now: Streamed) -> Streamed:
        # Indices of this stretch and of the next, whose first is the successor of its last.
        indices = jnp.concatenate([lane_indices(constants, keys, b + i)[:, :, 0] for i in range(2)], axis=1)

        def step(k: Array, now: Streamed) -> Streamed:
            here, then = (indices[:, k - b * BLOCK + i] for i in range(2))
            x, following = constants.x[here], constants.x[then]
            # An activation may promote to float64 where x64 is on; the run keeps the precision it was asked for.
            features, slopes = (
                f(now.u).astype(now.u.dtype) for f in (network.activation, network.activation.derivative)
            )
            residual = -loss.derivative(constants.output * jnp.sum(now.c * features, axis=1), constants.y[here])
            move = (constants.increment * residual)[:, None]
            push = move * (now.c * slopes)
            rows = tuple(row + x[:, j, None] * push for j, row in enumerate(now.rows))
            return now._replace(
                c=now.c + move * features if network.train_output else now.c,
                rows=rows,
                diverged=first_lost(now.diverged, jnp.isfinite(residual), k),
                u=_along(rows, following),
            )

        return counted(jnp.maximum(bounds[0], b * BLOCK), jnp.minimum(bounds[1], (b + 1) * BLOCK), step, now)

    def save(now: Streamed, bounds: tuple[Array, Array]) -> tuple[Streamed, tuple[Array, Any]]:
        edges = bounds[0] // BLOCK, (bounds[1] + BLOCK - 1) // BLOCK
        now = jax.lax.fori_loop(*edges, lambda b, inner: block(b, bounds, inner), now)
        whole = Moving(now.c, jnp.stack(now.rows, axis=1), now.diverged, now.error, now.forced)
        return now, recorded(network, observe, constants, whole, fixed)

    lane, saved = jax.lax.scan(save, lane, (jnp.asarray(stops[:-1]), jnp.asarray(stops[1:])))
    values, seen = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), saved)
    return lane, values, None, seen
