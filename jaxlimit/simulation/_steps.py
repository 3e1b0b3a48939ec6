"""What loops over steps share: the gradient at a step's points, and how the loop draws and goes over replicas."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from jaxlimit._typing import RandomKey
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Shallow
from jaxlimit.simulation._draws import block_steps
from jaxlimit.simulation._state import Constants, indices_of, lane_indices

KNOWN = 32
"""Steps in a round of a loop of an accelerator: what its condition costs is shared by so many."""

Carry = TypeVar("Carry")

Step = Callable[[Array, Int[Array, " batch"] | None, Carry], Carry]
"""(k, indices, state of a replica) → its state after step k; None for the indices means all points."""


def pull(
    network: Shallow, loss: AbstractLoss, constants: Constants, factor: Array, c: Array, w: Array, indices: Array | None
) -> tuple[Array, Array, Array]:
    """factor · mean of e σ(u) [neurons] and of e c σ'(u) x [rank, neurons], and whether every e = −∂ℓ/∂g is finite.

    The mean is over the samples of a step, or over all points with their weights: N^{−γ} times it is minus the
    gradient of the mean loss. One replica: c [neurons], w [rank, neurons].
    """
    x, y = (constants.x, constants.y) if indices is None else (constants.x[indices], constants.y[indices])
    product = constants.product
    u = product(x, w)
    # An activation may promote to float64 where x64 is on; the run keeps the precision it was asked for.
    features = network.activation(u).astype(u.dtype)
    residual = -loss.derivative(constants.output * product(features, c), y)
    move = (factor / float(y.shape[0]) if constants.weights is None else factor * constants.weights) * residual
    of_w = product(x.T, move[:, None] * (c * network.activation.derivative(u).astype(u.dtype)))
    return product(move, features), of_w, jnp.all(jnp.isfinite(residual))


def counted(first: Array, last: Array, body: Callable[[Array, Carry], Carry], carry: Carry) -> Carry:
    """`fori_loop` for accelerators: rounds of KNOWN steps, of which those from `last` on change nothing.

    A GPU's runtime reads the condition of a loop back to the host before every turn, unless their number is known to
    the compiler.
    """

    def around(j: Array, start: Carry) -> Carry:
        def one(now: Carry, k: Array) -> tuple[Carry, None]:
            after = body(k, now)
            return jax.tree.map(lambda new, old: jnp.where(k < last, new, old), after, now), None

        return jax.lax.scan(one, start, first + j * KNOWN + jnp.arange(KNOWN, dtype=first.dtype))[0]

    return jax.lax.fori_loop(jnp.zeros_like(first), (last - first + KNOWN - 1) // KNOWN, around, carry)


def over_steps(
    step: Step[Carry], together: bool, constants: Constants, keys: Array, first: Array, last: Array, lane: Carry
) -> Carry:
    """Steps first ≤ k < last of a lane, the indices drawn block by block."""
    if constants.batch is None:
        # On a CPU batches of small matrix products are slower than one product after the other.
        own = partial(over_own_steps, step, together, constants, None, first, last)
        return jax.vmap(own)(lane) if together else jax.lax.map(own, lane)

    size, loop = block_steps(constants.batch), counted if together else jax.lax.fori_loop

    def block(b: Array, carry: Carry) -> Carry:
        indices = lane_indices(constants, keys, b)

        def body(k: Array, inner: Carry) -> Carry:
            return jax.vmap(step, in_axes=(None, 0, 0))(k, indices[:, k - b * size], inner)

        return loop(jnp.maximum(first, b * size), jnp.minimum(last, (b + 1) * size), body, carry)

    return jax.lax.fori_loop(first // size, (last + size - 1) // size, block, lane)


def over_own_steps(
    step: Step[Carry],
    together: bool,
    constants: Constants,
    key: RandomKey | None,
    first: Array,
    last: Array,
    now: Carry,
) -> Carry:
    """Steps first ≤ k < last of one replica by itself, the indices drawn block by block."""
    loop = counted if together else jax.lax.fori_loop
    if constants.batch is None or key is None:
        return loop(first, last, lambda k, inner: step(k, None, inner), now)
    size = block_steps(constants.batch)

    def block(b: Array, carry: Carry) -> Carry:
        indices = indices_of(constants, key, b)
        body = lambda k, inner: step(k, indices[k - b * size], inner)  # noqa: E731
        return loop(jnp.maximum(first, b * size), jnp.minimum(last, (b + 1) * size), body, carry)

    return jax.lax.fori_loop(first // size, (last + size - 1) // size, block, now)


def first_lost(lost: Array, finite: Array, k: Array) -> Array:
    """The first step whose errors are not finite, −1 as long as there is none."""
    return jnp.where((lost < 0) & ~finite, k, lost)
