"""The state of a lane: what replicas share, what steps change, how it starts and what is read off it."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float, Int, UInt

from jaxlimit._typing import RandomKey
from jaxlimit.networks import Neurons, Shallow
from jaxlimit.simulation._draws import index_block, parameters_key

Observe = Callable[[Neurons, Neurons], Any]
"""The user's observable: (parameters, start) → a pytree of arrays, both in original coordinates."""

Advance = Callable[..., tuple[Any, Float[Array, "lanes saves points"], Float[Array, "lanes saves"] | None, Any]]
"""(network, loss, observe, constants, keys, moving, fixed, stops) → (moving, outputs, error, observed) of one lane.

`moving` begins as `Moving`; what a method returns in its place, with a field `diverged`, it gets back in the next call.
"""


class Chain(NamedTuple):
    """A method made ready for one problem, width, precision and set of devices.

    `name` is what `Samples.method` will say. Calls may be cut after any multiple of `unit` steps without
    changing a bit of the outputs. `seconds` is a rough cost per step and replica on one core, to size calls.
    """

    name: str
    advance: Advance
    unit: int
    seconds: float


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
    """What steps change in a lane.

    The weights, and for each replica the first non-finite step (−1: none) and the method's estimate of its
    error so far (0 for the exact chain).
    """

    c: Float[Array, "lanes neurons"]
    w: Float[Array, "lanes rank neurons"]
    diverged: Int[Array, " lanes"]
    error: Float[Array, " lanes"]


class Fixed(NamedTuple):
    """What a lane keeps from its start: w_0 along the extra points' remainders, and the start if observed.

    Kept out of the loop over steps: carried along, it costs a copy of w at every step. `real` counts the
    replicas that are wanted; the others pad the lane, and a method may leave them where they are.
    """

    frozen: Float[Array, "lanes extra neurons"] | None
    start: Neurons | None
    real: Int[Array, ""]


@eqx.filter_jit
def begin(
    network: Shallow, constants: Constants, keys: RandomKey, real: Array, width: int, inputs: int, keep_start: bool
) -> tuple[Moving, Fixed]:
    """Draw the initial neurons in original coordinates, then project: extra points never change the draws.

    w is kept as [rank, neurons]: a step then streams along the neurons.
    """
    dtype = constants.x.dtype

    def one(key: RandomKey) -> tuple[Array, Array, Array | None, Neurons | None]:
        c, w = network.init(width, inputs, parameters_key(key))
        c, w = c.astype(dtype), w.astype(dtype)
        reduced = w.T if constants.basis is None else product(constants.basis.T, w.T)
        frozen = None if constants.remainder is None else product(constants.remainder, w.T)
        return c, reduced, frozen, Neurons(c, w) if keep_start else None

    # Sequential over the lane: a batched draw of normals is several times slower on a CPU.
    c, w, frozen, start = jax.lax.map(one, keys)
    return Moving(c, w, jnp.full(keys.shape, -1, jnp.int32), jnp.zeros(keys.shape, dtype)), Fixed(frozen, start, real)


def recorded(
    network: Shallow, observe: Observe | None, constants: Constants, moving: Moving, fixed: Fixed
) -> tuple[Float[Array, "lanes points"], Any]:
    """What a save time records: outputs on the data and on the extra points, and the observable."""
    seen = None if observe is None else _observed(observe, constants, moving, fixed)
    return _outputs(network, constants, moving, fixed), seen


def _outputs(network: Shallow, constants: Constants, moving: Moving, fixed: Fixed) -> Float[Array, "lanes points"]:
    """N^{−γ} Σ_i c_i σ(w_i·x) on the data, then on the extra points, whose part outside the span is frozen."""
    u = product(constants.x, moving.w)
    if constants.at.shape[0]:
        extra = product(constants.at, moving.w)
        u = jnp.concatenate([u, extra if fixed.frozen is None else extra + fixed.frozen], axis=1)
    # An activation may promote to float64 where x64 is on; the run keeps the precision it was asked for.
    features = network.activation(u).astype(u.dtype)
    return constants.output * jnp.einsum("lpn,ln->lp", features, moving.c, precision=Precision.HIGHEST)


def _observed(observe: Observe, constants: Constants, moving: Moving, fixed: Fixed) -> Any:
    """The observable of every replica, in original coordinates: w_0 plus the move within the span."""

    def one(replica: tuple[Array, Array, Neurons]) -> Any:
        c, w, start = replica
        if constants.basis is None:
            return observe(Neurons(c, w.T), start)
        moved = w - product(constants.basis.T, start.w.T)
        return observe(Neurons(c, start.w + product(constants.basis, moved).T), start)

    # One replica after the other: batches of small matrix products are several times slower on a CPU.
    return jax.lax.map(one, (moving.c, moving.w, fixed.start))


@jax.jit
@partial(jax.vmap, in_axes=(0, None, None))
def lane_indices(keys: Array, block: Array, bounds: Array) -> Int[Array, "lanes BLOCK"]:
    """One block of data indices for every replica of a lane."""
    return index_block(keys, block, bounds)


def product(left: Array, right: Array) -> Array:
    """A matrix product at full precision, whatever the device would rather do."""
    return jnp.matmul(left, right, precision=Precision.HIGHEST)
