"""Stepwise: the SGD chain itself, one step after the other, exactly as defined."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Float, Int, UInt

from jaxlimit._arguments import positive_integer
from jaxlimit._typing import Host, RandomKey
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Neurons, Shallow
from jaxlimit.simulation._draws import BLOCK, index_block, parameters_key


class Stepwise(eqx.Module):
    """The exact chain. With e = −∂ℓ/∂g at one fresh sample (x, y) ~ π, and the OLD c on the right,

        c_i ← c_i + α N^{γ−2}·e σ(w_i·x),      w_i ← w_i + α N^{γ−2}·e c_i σ'(w_i·x) x .

    `lanes` is the number of replicas computed together, None for a width that suits the device: small
    enough on a CPU that a lane's state stays in cache, large on an accelerator. Bits depend on it.
    Source: references `xavier`, `normalisation`.

        >>> import jaxlimit as jl
        >>> jl.Stepwise().lane_width(1024, "cpu"), jl.Stepwise(lanes=4).lane_width(1024, "cpu")
        (16, 4)
    """

    lanes: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        """Lanes are counted in whole replicas."""
        if self.lanes is not None:
            positive_integer("lanes", self.lanes)

    def lane_width(self, width: int, platform: str) -> int:
        """Replicas per lane: by the width and the kind of device only, never by the number of replicas."""
        if self.lanes is not None:
            return self.lanes
        neurons, most = (16384, 64) if platform == "cpu" else (2**24, 1024)
        return max(1, min(most, neurons // width))


class Constants(NamedTuple):
    """What every replica shares, on one device: the data in their span, factors, how indices are drawn."""

    x: Float[Array, "points rank"]
    y: Float[Array, " points"]
    at: Float[Array, "extra rank"]
    basis: Float[Array, "inputs rank"] | None
    remainder: Float[Array, "extra inputs"] | None
    bounds: UInt[Array, " m"]
    output: Float[Array, ""]
    increment: Float[Array, ""]


class Moving(NamedTuple):
    """What steps change in a lane: c [lanes, neurons], w [lanes, rank, neurons], first non-finite step [lanes]."""

    c: Float[Array, "lanes neurons"]
    w: Float[Array, "lanes rank neurons"]
    diverged: Int[Array, " lanes"]


class Fixed(NamedTuple):
    """What a lane keeps from its start: w_0 along the extra points' remainders, and the start if observed.

    Kept out of the loop over steps: carried along, it costs a copy of w at every step.
    """

    frozen: Float[Array, "lanes extra neurons"] | None
    start: Neurons | None


@eqx.filter_jit
def begin(
    network: Shallow, constants: Constants, keys: RandomKey, width: int, inputs: int, keep_start: bool
) -> tuple[Moving, Fixed]:
    """Draw the initial neurons in original coordinates, then project: extra points never change the draws.

    w is kept as [rank, neurons]: a step then streams along the neurons.
    """
    dtype = constants.x.dtype

    def one(key: RandomKey) -> tuple[Array, Array, Array | None, Neurons | None]:
        c, w = network.init(width, inputs, parameters_key(key))
        c, w = c.astype(dtype), w.astype(dtype)
        reduced = w.T if constants.basis is None else _product(constants.basis.T, w.T)
        frozen = None if constants.remainder is None else _product(constants.remainder, w.T)
        return c, reduced, frozen, Neurons(c, w) if keep_start else None

    # Sequential over the lane: a batched draw of normals is several times slower on a CPU.
    c, w, frozen, start = jax.lax.map(one, keys)
    return Moving(c, w, jnp.full(keys.shape, -1, jnp.int32)), Fixed(frozen, start)


@eqx.filter_jit
def advance(
    network: Shallow,
    loss: AbstractLoss,
    observe: Callable[[Neurons, Neurons], Any] | None,
    constants: Constants,
    keys: RandomKey,
    moving: Moving,
    fixed: Fixed,
    stops: Int[Host, " saves_plus_one"],
) -> tuple[Moving, Float[Array, "lanes saves points"], Any]:
    """Run from step stops[0] and record outputs (and observables) at each of stops[1:].

    Steps are data, not shape: one compilation serves all save times with the same count.
    """

    def save(carry: Moving, ends: tuple[Array, Array]) -> tuple[Moving, tuple[Array, Any]]:
        carry = _run(network, loss, constants, keys, carry, *ends)
        seen = None if observe is None else _observed(observe, constants, carry, fixed)
        return carry, (_outputs(network, constants, carry, fixed), seen)

    moving, recorded = jax.lax.scan(save, moving, (jnp.asarray(stops[:-1]), jnp.asarray(stops[1:])))
    values, seen = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), recorded)
    return moving, values, seen


def _run(
    network: Shallow, loss: AbstractLoss, constants: Constants, keys: Array, moving: Moving, first: Array, last: Array
) -> Moving:
    """Steps first ≤ k < last, the indices drawn block by block."""
    step = jax.vmap(lambda c, w, i: _step(network, loss, constants, c, w, i))

    def block(b: Array, carry: Moving) -> Moving:
        indices = jax.vmap(lambda key: index_block(key, b, constants.bounds))(keys)

        def body(k: Array, inner: Moving) -> Moving:
            c, w, residual = step(inner.c, inner.w, indices[:, k - b * BLOCK])
            lost = (inner.diverged < 0) & ~jnp.isfinite(residual)
            return Moving(c, w, jnp.where(lost, k, inner.diverged))

        return jax.lax.fori_loop(jnp.maximum(first, b * BLOCK), jnp.minimum(last, (b + 1) * BLOCK), body, carry)

    return jax.lax.fori_loop(first // BLOCK, (last + BLOCK - 1) // BLOCK, block, moving)


def _step(
    network: Shallow, loss: AbstractLoss, constants: Constants, c: Array, w: Array, i: Array
) -> tuple[Array, Array, Array]:
    """One step of one replica: c [neurons], w [rank, neurons]; both updates use the old c."""
    x, y = constants.x[i], constants.y[i]
    u = _product(x, w)
    # An activation may promote to float64 where x64 is on; the run keeps the precision it was asked for.
    features = network.activation(u).astype(u.dtype)
    prediction = constants.output * _product(c, features)
    residual = -loss.derivative(prediction, y)
    move = constants.increment * residual
    moved = w + (move * x)[:, None] * (c * network.activation.derivative(u).astype(u.dtype))
    return (c + move * features if network.train_output else c), moved, residual


def _outputs(network: Shallow, constants: Constants, moving: Moving, fixed: Fixed) -> Float[Array, "lanes points"]:
    """N^{−γ} Σ_i c_i σ(w_i·x) on the data, then on the extra points, whose part outside the span is frozen."""
    u = _product(constants.x, moving.w)
    if constants.at.shape[0]:
        extra = _product(constants.at, moving.w)
        u = jnp.concatenate([u, extra if fixed.frozen is None else extra + fixed.frozen], axis=1)
    return constants.output * jnp.einsum("lpn,ln->lp", network.activation(u), moving.c, precision=Precision.HIGHEST)


def _observed(observe: Callable[[Neurons, Neurons], Any], constants: Constants, moving: Moving, fixed: Fixed) -> Any:
    """The observable of every replica, in original coordinates: w_0 plus the move within the span."""

    def one(replica: tuple[Array, Array, Neurons]) -> Any:
        c, w, start = replica
        if constants.basis is None:
            return observe(Neurons(c, w.T), start)
        moved = w - _product(constants.basis.T, start.w.T)
        return observe(Neurons(c, start.w + _product(constants.basis, moved).T), start)

    # One replica after the other: batches of small matrix products are several times slower on a CPU.
    return jax.lax.map(one, (moving.c, moving.w, fixed.start))


def _product(left: Array, right: Array) -> Array:
    return jnp.matmul(left, right, precision=Precision.HIGHEST)


def pieces(steps: np.ndarray, cost: float, budget: float) -> list[np.ndarray]:
    """Cut the steps to save into calls: one where the whole lane is cheap, else bounded pieces.

    `cost` is the expected seconds per step of a lane. A piece is [first, stop, …]; a long piece has
    one stop. Bounded pieces make progress visible and interrupts quick.
    """
    edges = np.concatenate([[0], steps]).astype(np.int64)
    if steps[-1] * cost <= budget:
        return [edges]
    most = max(1, int(budget / cost))
    cuts = [np.append(np.arange(a, b, most), b) if b > a else np.array([a, b]) for a, b in pairwise(edges)]
    return [np.array(ends) for cut in cuts for ends in pairwise(cut)]
