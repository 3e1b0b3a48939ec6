"""Stepwise: the SGD chain itself, one step after the other, exactly as defined."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxlimit._arguments import optional_positive_integer, require
from jaxlimit._typing import Host
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Shallow
from jaxlimit.simulation import _native
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._cost import stepwise_seconds
from jaxlimit.simulation._draws import block_steps
from jaxlimit.simulation._memory import features, lanes_in_cache, lanes_on_device, parameters
from jaxlimit.simulation._state import (
    Chain,
    Constants,
    Fixed,
    Moving,
    Observe,
    Run,
    lane_indices,
    product,
    recorded,
)


class Stepwise(AbstractMethod):
    """The exact chain. With e = −∂ℓ/∂g at one fresh sample (x, y) ~ π, and the OLD c on the right,

        c_i ← c_i + α N^{γ−2}·e σ(w_i·x),      w_i ← w_i + α N^{γ−2}·e c_i σ'(w_i·x) x .

    `lanes` is the number of replicas computed together, None for a width that suits the device: small
    enough on a CPU that a lane's state stays in cache, large on an accelerator. Bits depend on it.

    `native` says who compiles the loop. False: XLA, on every device. True: numba (the extra `numba`), for
    CPUs only; it needs one pass over w per step where XLA needs two, and is about twice as fast. None:
    numba where it is installed, every device is a CPU, the run is float32 and activation and loss offer
    their `scalar` form; else XLA. `Samples.method` says which it was; the two agree to rounding.

    Raises ``ValueError`` for lanes < 1, and from `simulate` where `native=True` cannot be had.
    Source: references `xavier`, `normalisation`.

        >>> import jaxlimit as jl
        >>> jl.Stepwise(native=False)
        Stepwise(native=False)
    """

    lanes: int | None = eqx.field(static=True, default=None)
    native: bool | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        """Lanes are counted in whole replicas; `native` is yes, no or undecided."""
        optional_positive_integer("lanes", self.lanes)
        known = self.native is None or isinstance(self.native, bool)
        require(known, "native", "be True, False or None", f"it is {self.native!r}")

    def chain(self, run: Run) -> Chain:
        """What advances a lane, and what `Samples.method` will say."""
        network, loss = run.network, run.problem.loss
        missing = _native.missing(network, loss, run.devices, run.batch)
        require(not (self.native and missing), "native", "be False or None here", f"{missing}")
        native = self.native or (self.native is None and not missing and run.dtype == np.float32)
        seconds, state = stepwise_seconds(run, bool(native)), 2 * parameters(run)
        lanes = self.lanes or (lanes_in_cache(run) if run.on_cpus else lanes_on_device(state))
        if native:
            advance_lane = _native.chain(network, loss, run.dtype)
            return Chain("Stepwise(native=True)", advance_lane, lanes, 2, seconds, state + features(run, run.points), 0)
        return Chain("Stepwise(native=False)", advance, lanes, 1, seconds, state, 0)


@eqx.filter_jit
def advance(
    network: Shallow,
    loss: AbstractLoss,
    observe: Observe | None,
    constants: Constants,
    keys: Array,
    moving: Moving,
    fixed: Fixed,
    stops: Int[Host, " saves_plus_one"],
    ends: Int[Host, " saves"],
) -> tuple[Moving, Float[Array, "lanes saves points"], None, Any]:
    """Run from step stops[0] and record outputs (and observables) at each of stops[1:].

    Steps are data, not shape: one compilation serves all save times with the same count.
    """

    def save(carry: Moving, ends: tuple[Array, Array]) -> tuple[Moving, tuple[Array, Any]]:
        carry = _run(network, loss, constants, keys, carry, *ends)
        return carry, recorded(network, observe, constants, carry, fixed)

    moving, saved = jax.lax.scan(save, moving, (jnp.asarray(stops[:-1]), jnp.asarray(stops[1:])))
    values, seen = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), saved)
    return moving, values, None, seen


def _run(
    network: Shallow, loss: AbstractLoss, constants: Constants, keys: Array, moving: Moving, first: Array, last: Array
) -> Moving:
    """Steps first ≤ k < last, the indices drawn block by block."""
    step = jax.vmap(lambda c, w, i: _step(network, loss, constants, c, w, i))
    size = block_steps(constants.batch)

    def block(b: Array, carry: Moving) -> Moving:
        indices = lane_indices(constants, keys, b)

        def body(k: Array, inner: Moving) -> Moving:
            c, w, finite = step(inner.c, inner.w, indices[:, k - b * size])
            return inner._replace(c=c, w=w, diverged=jnp.where((inner.diverged < 0) & ~finite, k, inner.diverged))

        return jax.lax.fori_loop(jnp.maximum(first, b * size), jnp.minimum(last, (b + 1) * size), body, carry)

    return jax.lax.fori_loop(first // size, (last + size - 1) // size, block, moving)


def _step(
    network: Shallow, loss: AbstractLoss, constants: Constants, c: Array, w: Array, indices: Int[Array, " batch"]
) -> tuple[Array, Array, Array]:
    """One step of one replica: c [neurons], w [rank, neurons]; both updates use the old c."""
    x, y = constants.x[indices], constants.y[indices]
    u = product(x, w)
    # An activation may promote to float64 where x64 is on; the run keeps the precision it was asked for.
    features = network.activation(u).astype(u.dtype)
    residual = -loss.derivative(constants.output * product(features, c), y)
    move = constants.increment / float(constants.batch) * residual
    moved = w + product(x.T, move[:, None] * (c * network.activation.derivative(u).astype(u.dtype)))
    return (c + product(move, features) if network.train_output else c), moved, jnp.all(jnp.isfinite(residual))
