"""The steps of a block in its M outputs: errors that depend on the displacement left by all errors before them.

    e_k = −∂ℓ/∂g (g_i + d_k,i, y_i) at the points i of step k,      d_k = K Σ_{l<k} a_l,

with a_l [points] the errors of step l, averaged over its batch, at their points. One after the other where a step costs
nanoseconds; on an accelerator a step would cost the launches of some kernels, so there all steps of a chunk are guessed
and corrected together: given e, the sums d follow from a cumulative sum, and e again from d. The k-th correction makes
the first k steps what they are one after the other, and the others closer by (q^k / k!), q ≈ chunk · α · ℓ'' B/N: a few
corrections reach rounding, and as many as there are steps are exact (Picard's iteration for a Volterra equation).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxlimit.losses import AbstractLoss
from jaxlimit.simulation._product import AbstractProduct, full
from jaxlimit.simulation._steps import first_lost

CLOSE = 0.25
"""Units of rounding of the largest output within which two corrections of an error are the same."""


class Walk(NamedTuple):
    """The steps first ≤ k < stop of a block; indices(b) [size, batch] are the points of the steps from b · size on.

    None where every step takes all points. `share` is the part of an error that counts: 1 / batch, or the weights.
    """

    first: Int[Array, ""]
    stop: Int[Array, ""]
    size: int
    indices: Callable[[Array], Int[Array, "size batch"]] | None
    share: Any


class Walked(NamedTuple):
    """Errors added up by point, the displacement of the outputs they make, and the first non-finite step or −1."""

    total: Float[Array, " points"]
    moved: Float[Array, " points"]
    lost: Int[Array, ""]


class Board(NamedTuple):
    """What the steps of a block play on: outputs at its start, and κ K with the share of an error in its rows.

    The displacement of the outputs is carried, not the outputs: small moves of large outputs would round away.
    """

    loss: AbstractLoss
    product: AbstractProduct
    outputs: Float[Array, " points"]
    y: Float[Array, " points"]
    kernel: Float[Array, "points points"]


def walked(board: Board, walk: Walk, chunk: int | None) -> Walked:
    """All steps of the walk, one after the other, or in chunks of so many together."""
    zero, never = jnp.zeros_like(board.outputs), jnp.full_like(walk.first, -1)

    def part(b: Array, before: Walked) -> Walked:
        origin = b * walk.size
        first, stop = jnp.maximum(walk.first, origin), jnp.minimum(walk.stop, origin + walk.size)
        indices = None if walk.indices is None else walk.indices(b)
        if chunk is None:
            step = partial(_step, board, walk, origin, indices)
            return jax.lax.fori_loop(first, stop, step, before)
        if indices is not None:
            indices = jnp.pad(indices, ((0, -walk.size % chunk), (0, 0)))

        def piece(j: Array, now: Walked) -> Walked:
            own = None if indices is None else jax.lax.dynamic_slice_in_dim(indices, j * chunk, chunk)
            steps = origin + j * chunk + jnp.arange(chunk, dtype=origin.dtype)
            return _together(board, walk, steps, (steps >= first) & (steps < stop), own, now)

        edges = (first - origin) // chunk, (stop - origin + chunk - 1) // chunk
        return jax.lax.fori_loop(*edges, piece, before)

    edges = walk.first // walk.size, (walk.stop + walk.size - 1) // walk.size
    return jax.lax.fori_loop(*edges, part, Walked(zero, zero, never))


def _step(board: Board, walk: Walk, origin: Array, indices: Array | None, k: Array, now: Walked) -> Walked:
    """Step k alone."""
    loss, product, outputs, y, kernel = board
    if indices is None:
        residual = -loss.derivative(outputs + now.moved, y)
        total, moved = now.total + walk.share * residual, now.moved + product(residual, kernel)
    else:
        i = indices[k - origin]
        residual = -loss.derivative(outputs[i] + now.moved[i], y[i])
        total = now.total.at[i].add(residual * walk.share)
        moved = now.moved + jnp.sum(residual[:, None] * kernel[i], axis=0)
    return Walked(total, moved, first_lost(now.lost, jnp.all(jnp.isfinite(residual)), k))


def _together(
    board: Board, walk: Walk, steps: Array, wanted: Bool[Array, " chunk"], indices: Array | None, before: Walked
) -> Walked:
    """The `wanted` ones of these steps at once, corrected until nothing changes beyond rounding."""
    loss, product, outputs, y, kernel = board
    if indices is None:
        here, already, target = outputs, before.moved, y
    else:
        # Sums of which one term is not zero: an accelerator would gather lane by lane.
        hit = indices[:, :, None] == jnp.arange(y.shape[0], dtype=indices.dtype)
        here, already, target = (jnp.sum(jnp.where(hit, all_, 0.0), axis=2) for all_ in (outputs, before.moved, y))
        rows = full(hit.reshape(-1, y.shape[0]).astype(kernel.dtype), kernel).reshape(hit.shape)

    def by_point(e: Array) -> Array:
        """The errors of each step at all points [chunk, points]."""
        e = jnp.where(wanted[:, None], e, 0.0)
        return e if indices is None else jnp.sum(jnp.where(hit, e[:, :, None], 0.0), axis=1)

    def sums(errors: Array) -> Array:
        """Errors before every step: as many rows as steps, a power of two; one more would be filled up to tiles."""
        return jnp.cumsum(jnp.concatenate([jnp.zeros_like(outputs)[None], errors[:-1]]), axis=0)

    def corrected(e: Array) -> Array:
        before_each = sums(by_point(e))
        seen = product(before_each, kernel) if indices is None else jnp.sum(rows * before_each[:, None, :], axis=2)
        return -loss.derivative(here + (already + seen), target)

    def turn(state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        e, _, count = state
        new = corrected(e)
        finite = jnp.where(wanted[:, None] & jnp.isfinite(new), jnp.abs(new), 0.0)
        # An error is known to a rounding unit of the output and the label that it is the difference of.
        size = jnp.max(finite) + jnp.max(jnp.where(jnp.isfinite(here), jnp.abs(here), 0.0))
        same = (new == e) | (jnp.isnan(new) & jnp.isnan(e)) | (jnp.abs(new - e) <= CLOSE * unit * size)
        return new, jnp.any(wanted[:, None] & ~same), count + 1

    unit = float(jnp.finfo(outputs.dtype).eps)
    go_on = lambda state: state[1] & (state[2] < steps.shape[0])  # noqa: E731
    guess = jnp.broadcast_to(-loss.derivative(here + already, target), (steps.shape[0], here.shape[-1]))
    e, _, _ = jax.lax.while_loop(go_on, turn, (guess, jnp.any(wanted), jnp.zeros_like(walk.first)))
    last = by_point(e)
    added = sums(last)[-1] + last[-1]
    bad = wanted & ~jnp.all(jnp.isfinite(e), axis=1)
    lost = jnp.where((before.lost < 0) & jnp.any(bad), steps[jax.lax.argmax(bad, 0, jnp.int32)], before.lost)
    moved = before.moved + (product if indices is None else full)(added, kernel)
    return Walked(before.total + walk.share * added, moved, lost)
