"""How long the blocks of SStep are, and how far off they are.

The features of a block belong to one moment of it, its centre, while the chain's move on. To first order they
move as the kernel does, so half the motion of K over half a block, applied to the errors e of the block, is what
the block gets wrong in the outputs:

    δ = ½ κ (h − 1)/2 · S Σ_k e_k,

with S the change of K per step (order 1), or the change of that change from one block to the next (order 2, whose
features are carried to the centre along a straight line). S is known before the block is run, and comes from
samples that the block does not use: so δ is free of the bias that products of one sample with itself would bring.
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from jaxlimit._numerics import namespace
from jaxlimit._typing import ArrayLike

SAFETY = {1: 4.0, 2: 2.5}
"""The stated error is so many times |Σ δ|, by order: bounds of error / |Σ δ| in trials on smooth and kinked σ."""

MARGIN = 6.0
"""Under a tolerance |Σ δ| may reach one MARGIN-th of it."""

SHORTEST, GROWTH, STEADY = 16, 2, 0.8
"""Steps of the shortest block under a tolerance; how much longer than the last a block may be; the share of its
allowance that a block aims at."""

FREE, LEAP = 100, 4
"""Where δ is so many times smaller than its allowance, the next block may be LEAP times longer; it is never more
than LEAP times shorter."""

START = 16
"""Order 2 has nothing to extrapolate from at first, and begins with blocks so many times shorter."""

SHARING, MOST_SHARING = 4, 8
"""Blocks that share a kernel where its motion does not matter, and at most."""


class Rule(NamedTuple):
    """What decides on lengths. `order`, `keep`, `renew`, `rows` and `chunk` are static, the rest is data.

    `renew` is the number of blocks that share a kernel, `keep` where δ is FREE or the length is fixed. `rows` > 0:
    work in the points of the block, at most so many, and not in all of the data. `chunk` is how many steps an
    accelerator takes together within a block. `start`, `shortest` and `longest`
    are lengths of blocks; `allowance` is what |Σ δ| may reach in all of the `total` steps, 0 where the length is
    fixed.
    """

    order: int
    keep: int
    renew: int
    rows: int
    chunk: int
    start: Int[Array, ""]
    shortest: Int[Array, ""]
    longest: Int[Array, ""]
    allowance: Float[Array, ""]
    total: Float[Array, ""]


READ = 32
"""Units of rounding in which outputs are read at a save, at most: sums over the neurons, features."""


def executed(order: int, planned: Int[Array, ""], remaining: Int[Array, ""], blocks: Int[Array, ""]) -> Int[Array, ""]:
    """Blocks of equal length up to the next save, none longer than planned.

    The first ones are also short parts of the way there, so that δ is known before anything is saved.
    """
    parts = jnp.where(blocks <= order, 2 * (order + 1) - blocks, 1)
    planned = jnp.minimum(planned, jnp.maximum(1, remaining // parts))
    blocks = (remaining - 1) // planned + 1
    return (remaining - 1) // jnp.maximum(blocks, 1) + 1


class Following(NamedTuple):
    """The length planned for the next block; whether δ is FREE; whether this block was too long, and the shortest."""

    length: Int[Array, ""]
    free: Bool[Array, ""]
    forced: Bool[Array, ""]


def following(rule: Rule, planned: Array, length: Array, size: Array, known: Array) -> Following:
    """What follows from max |δ| of a block, if it is known.

    δ grows like h² and its share like h at order 1; at order 2, where errors are random from block to block, the
    share grows like √h.
    """
    kind = size.dtype
    long = length.astype(kind)
    share = long / rule.total.astype(kind)
    allowed = rule.allowance.astype(kind) * (share if rule.order == 1 else jnp.sqrt(share))
    # The infinity of a replica that diverged must not become a length.
    free = known & ((size * FREE <= allowed) | ~jnp.isfinite(size))
    ratio = jnp.where(free, FREE, allowed / size).astype(kind)
    # Order 2 extrapolates from a block of at least half its length.
    most = (planned if rule.order == 1 else length).astype(kind)
    growth = jnp.where(free, jnp.asarray(LEAP, kind), GROWTH)
    factor = STEADY * (ratio if rule.order == 1 else jnp.where(ratio < 1.0, ratio, jnp.sqrt(ratio)))
    wanted = jnp.minimum(jnp.clip(factor, 1 / LEAP, growth) * long, growth * most)
    wanted = jnp.where(known, wanted, GROWTH * long).astype(length.dtype)
    fixed = rule.longest if rule.order == 1 else jnp.minimum(rule.longest, GROWTH * length)
    adapts = rule.allowance > 0
    forced = adapts & known & (ratio < 1.0) & (planned <= rule.shortest)
    return Following(jnp.where(adapts, jnp.clip(wanted, rule.shortest, rule.longest), fixed), free | ~adapts, forced)


def stated(order: int, drift: ArrayLike, blocks: ArrayLike, largest: ArrayLike) -> ArrayLike:
    """The error to report: of the motion of the features, and of rounding, which acts at random once a block.

    `drift` is the largest |Σ δ| over points and blocks so far: a sum that passes through zero promises nothing.
    Of arrays on the device or on the host.
    """
    unit = 0.5 * float(np.finfo(drift.dtype).eps)
    return SAFETY[order] * drift + unit * (READ + namespace(drift).sqrt(blocks.astype(drift.dtype))) * largest
