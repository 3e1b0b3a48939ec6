"""Blocks of steps in XLA: one replica after the other on a CPU, a whole lane at once on an accelerator.

Within a block the network is its own linearisation. Its features are taken at the start (order 1), or at the
centre, to which the parameters are carried on a straight line from the block before (order 2).
"""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from jaxlimit._typing import Host, RandomKey
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Shallow
from jaxlimit.simulation._control import SAFETY, Rule, executed, following, stated
from jaxlimit.simulation._draws import block_steps
from jaxlimit.simulation._recursion import Board, Walk, walked
from jaxlimit.simulation._state import Advance, Constants, Fixed, Moving, Observe, indices_of, recorded


class Blocks(NamedTuple):
    """What blocks change in a lane: `Moving`, and what the next block needs of the ones before.

    `rest` is what rounding took from the parameters so far; `free` says that more blocks may share a kernel; `old`
    are the parameters at the start of the last block (order 2 only). Then the next step, the length planned for the
    next block, that of the last (0: none); `ahead`, the half steps from its start to its centre; the number of blocks
    so far; the last three kernels and their ages in half steps; errors added up, by point; the largest of these sums
    so far, and the largest output.
    """

    c: Float[Array, "lanes neurons"]
    w: Float[Array, "lanes rank neurons"]
    diverged: Int[Array, " lanes"]
    error: Float[Array, " lanes"]
    forced: Int[Array, " lanes"]
    rest: tuple[Array, Array]
    free: Bool[Array, " lanes"]
    old: tuple[Array, Array] | None
    step: Int[Array, " lanes"]
    length: Int[Array, " lanes"]
    last: Int[Array, " lanes"]
    ahead: Int[Array, " lanes"]
    blocks: Int[Array, " lanes"]
    kernels: Float[Array, "lanes 3 points points"]
    ages: Int[Array, "lanes 3"]
    drift: Float[Array, "lanes points"]
    worst: Float[Array, " lanes"]
    largest: Float[Array, " lanes"]


def chain(rule: Rule, together: bool) -> Advance:
    """What advances a lane under this rule, its replicas together or one after the other."""
    return partial(_advance, rule, together)


@eqx.filter_jit
def _advance(
    rule: Rule,
    together: bool,
    network: Shallow,
    loss: AbstractLoss,
    observe: Observe | None,
    constants: Constants,
    keys: RandomKey,
    moving: Moving | Blocks,
    fixed: Fixed,
    stops: Int[Host, " saves_plus_one"],
    ends: Int[Host, " saves"],
) -> tuple[Blocks, Float[Array, "lanes saves points"], Float[Array, "lanes saves"], Any]:
    """The contract of `Advance`; lengths and steps are data, so one compilation serves them all.

    Blocks know the save they are on the way to, so they do not depend on where calls are cut.
    """
    state = moving if isinstance(moving, Blocks) else _begin(rule, constants, moving)
    # Once a call: within a block a compiler would join it to w·x, with copies of w.
    gram = None if rule.rows else constants.product(constants.x, constants.x.T)
    block = partial(_block, rule, together, network, loss, constants, gram)

    def save(carry: Blocks, bounds: tuple[Array, Array]) -> tuple[Blocks, Any]:
        stop, end = bounds

        def one(replica: tuple[RandomKey, Blocks]) -> Blocks:
            key, now = replica
            return jax.lax.while_loop(lambda at: at.step < stop, partial(block, key, end), now)

        # On a CPU batches of small matrix products are several times slower than one product after the other.
        carry = jax.vmap(one)((keys, carry)) if together else jax.lax.map(one, (keys, carry))
        carry = carry._replace(error=stated(rule.order, carry.worst, carry.blocks, carry.largest))
        values, seen = recorded(network, observe, constants, Moving(*carry[:5]), fixed)
        return carry, (values, carry.error, seen)

    state, saved = jax.lax.scan(save, state, (jnp.asarray(stops[1:]), jnp.asarray(ends)))
    values, error, seen = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), saved)
    return state, values, error, seen


def _begin(rule: Rule, constants: Constants, moving: Moving) -> Blocks:
    """A lane before its first block."""
    (lanes,), points = moving.diverged.shape, 0 if rule.rows else constants.y.size
    none, zeros = jnp.zeros(lanes, jnp.int32), partial(jnp.zeros, dtype=moving.c.dtype)
    return Blocks(
        *moving,
        rest=(jnp.zeros_like(moving.c), jnp.zeros_like(moving.w)),
        free=none == 0,
        old=(moving.c, moving.w) if rule.order == 2 else None,
        step=none,
        length=none + rule.start,
        last=none,
        ahead=none,
        blocks=none,
        kernels=zeros((lanes, 3, points, points)),
        ages=jnp.zeros((lanes, 3), jnp.int32),
        drift=zeros((lanes, max(1, points))),
        worst=zeros(lanes),
        largest=zeros(lanes),
    )


def _block(
    rule: Rule,
    together: bool,
    network: Shallow,
    loss: AbstractLoss,
    constants: Constants,
    gram: Array | None,
    key: RandomKey,
    end: Array,
    now: Blocks,
) -> Blocks:
    """One block of one replica."""
    length = executed(rule.order, now.length, end - now.step, now.blocks)
    if rule.rows:
        # Every sample of the block is a point of its own; a point that comes twice makes two rows.
        own = _window(constants, key, now.step, rule.rows)
        constants = constants._replace(x=constants.x[own], y=constants.y[own])
    features, outputs, ahead = _features(rule, network, constants, now, length)
    inner = constants.product(constants.x, constants.x.T) if gram is None else gram
    rate, batch = constants.increment * constants.output, constants.batch or 1
    first, stop, size = now.step, now.step + length, block_steps(batch)
    indices: Callable[[Array], Array] = partial(indices_of, constants, key)
    if rule.rows:
        kernel, missed = _kernel(network, constants, features, inner), None
        rows = jnp.arange(rule.rows, dtype=jnp.int32).reshape(-1, batch)
        first, stop, size, indices = jnp.zeros_like(length), length, rows.shape[0], lambda _: rows
    else:
        now = _remember(rule, now, ahead, lambda: _kernel(network, constants, features, inner))
        kernel, missed = _extrapolated(rule, now)
    if constants.weights is None:
        walk, kernel = Walk(first, stop, size, indices, 1.0 / batch), rate / float(batch) * kernel
    else:
        walk, kernel = Walk(first, stop, size, None, constants.weights), (rate * constants.weights)[:, None] * kernel
    board = Board(loss, constants.product, outputs, constants.y, kernel)
    total, moved, lost = walked(board, walk, rule.chunk if together else None)
    (c, w), rest = _moved(network, constants, features, total, now)
    if missed is None:
        u = constants.product(constants.x, w)
        reached = constants.output * constants.product(network.activation(u).astype(u.dtype), c)
        # How far the outputs that are reached lie from those foretold: taken as it is, whatever its sign.
        wrong, known = jnp.max(jnp.abs(reached - outputs - moved))[None] / SAFETY[rule.order], jnp.asarray(True)
    else:
        # Of the blocks before the first known δ nothing is known: they are taken to be like this one.
        last, long = (a.astype(rate.dtype) for a in (now.last, length))
        unseen = jnp.where(now.blocks == rule.order, 1.0 + (last / long) ** 2, 1.0)
        wrong = 0.5 * rate * (long - 1.0) * unseen * constants.product(missed, total)
        known = now.blocks >= rule.order
    drift = now.drift + wrong
    next_ = following(rule, now.length, length, jnp.max(jnp.abs(wrong)), known)
    return now._replace(
        c=c,
        w=w,
        rest=rest,
        diverged=jnp.where((now.diverged < 0) & (lost >= 0), now.step - walk.first + lost, now.diverged),
        forced=now.forced + next_.forced.astype(jnp.int32),
        free=next_.free,
        old=None if now.old is None else (now.c, now.w),
        step=now.step + length,
        length=next_.length,
        last=length,
        ahead=ahead,
        blocks=now.blocks + 1,
        drift=drift,
        worst=jnp.maximum(now.worst, jnp.max(jnp.abs(drift))),
        largest=jnp.maximum(now.largest, jnp.max(jnp.abs(outputs))),
    )


class Features(NamedTuple):
    """H = σ(Xw) and D = c σ'(Xw) at the points, both [points, neurons]."""

    h: Float[Array, "points neurons"]
    d: Float[Array, "points neurons"]


def _features(
    rule: Rule, network: Shallow, constants: Constants, now: Blocks, length: Array
) -> tuple[Features, Float[Array, " points"], Int[Array, ""]]:
    """Features at the centre of the block, outputs at its start, and the half steps between the two."""

    def at(c: Array, w: Array) -> Features:
        u = constants.product(constants.x, w)
        # An activation may promote to float64 where x64 is on; the run keeps the precision it was asked for.
        return Features(network.activation(u).astype(u.dtype), c * network.activation.derivative(u).astype(u.dtype))

    start = at(now.c, now.w)
    outputs = constants.output * constants.product(start.h, now.c)
    if now.old is None:
        return start, outputs, jnp.zeros_like(length)
    # The k-th of h steps sees the features after k steps: on average those after (h − 1)/2.
    ahead = jnp.where(now.last > 0, length - 1, 0)
    far = ahead.astype(now.c.dtype) / jnp.maximum(2 * now.last, 1).astype(now.c.dtype)
    c, w = (new + far * (new - before) for new, before in zip((now.c, now.w), now.old, strict=True))
    return at(c, w), outputs, ahead


def _kernel(network: Shallow, constants: Constants, features: Features, gram: Array) -> Float[Array, "points points"]:
    """K = HHᵀ + DDᵀ ⊙ XXᵀ; without HHᵀ where the output layer is frozen."""
    inner = constants.product(features.d, features.d.T) * gram
    return inner + constants.product(features.h, features.h.T) if network.train_output else inner


def _remember(rule: Rule, now: Blocks, ahead: Array, kernel: Callable[[], Array]) -> Blocks:
    """The kernels grow older by a block; every so many blocks, and at first, a new one joins them."""
    passed = jnp.where(now.blocks > 0, 2 * now.last - now.ahead + ahead, 0)
    ages = now.ages + passed

    def joined() -> tuple[Array, Array]:
        return jnp.stack([kernel(), *now.kernels[:2]]), jnp.stack([jnp.zeros_like(passed), *ages[:2]])

    if rule.keep == 1:
        kernels, ages = joined()
    else:
        sharing = jnp.where(now.free, jnp.int32(rule.keep), rule.renew)
        due = (now.blocks <= rule.order) | (now.blocks % sharing == 0)
        kernels, ages = jax.lax.cond(due, joined, lambda: (now.kernels, ages))
    return now._replace(kernels=kernels, ages=ages)


def _extrapolated(rule: Rule, now: Blocks) -> tuple[Float[Array, "points points"], Float[Array, "points points"]]:
    """The kernel at the centre of this block, and the change per half step that its features miss."""
    ages = now.ages.astype(now.c.dtype)

    def slope(young: int) -> Array:
        change = (now.kernels[young] - now.kernels[young + 1]) / jnp.maximum(ages[young + 1] - ages[young], 1.0)
        return jnp.where(now.blocks > young, change, 0.0)

    recent = slope(0)
    return now.kernels[0] + recent * ages[0], recent if rule.order == 1 else recent - slope(1)


def _moved(
    network: Shallow, constants: Constants, features: Features, total: Array, now: Blocks
) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """The parameters after errors that add up to `total` [points], and what rounding took from them.

    Steps may be smaller than a rounding unit of w: without `rest`, many short blocks would lose them.
    """
    step_c = (
        constants.increment * constants.product(total, features.h) if network.train_output else jnp.zeros_like(now.c)
    )
    step_w = constants.increment * constants.product(constants.x.T, total[:, None] * features.d)
    whole = step_c + now.rest[0], step_w + now.rest[1]
    moved = now.c + whole[0], now.w + whole[1]
    return moved, (whole[0] - (moved[0] - now.c), whole[1] - (moved[1] - now.w))


def _window(constants: Constants, key: RandomKey, first: Array, rows: int) -> Int[Array, " rows"]:
    """The indices of the steps from `first` on, `rows` of them in all, from as many blocks of draws as it takes."""
    batch = constants.batch or 1  # blocks on all points have no use for a window
    size, steps = block_steps(batch), rows // batch
    blocks = [indices_of(constants, key, first // size + b) for b in range(-(-steps // size) + 1)]
    return jax.lax.dynamic_slice_in_dim(jnp.concatenate(blocks), first % size, steps).ravel()
