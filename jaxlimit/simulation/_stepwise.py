"""Stepwise: the SGD chain itself, one step after the other, exactly as defined."""

from functools import partial
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
from jaxlimit.simulation import _native, _optimiser
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._cost import stepwise_seconds
from jaxlimit.simulation._memory import features, lanes_in_cache, lanes_on_device, parameters
from jaxlimit.simulation._state import Chain, Constants, Fixed, Moving, Observe, Run, recorded
from jaxlimit.simulation._steps import first_lost, over_steps, pull

TURNS = 4
"""Replicas of a lane that take turns on a CPU."""


class Stepwise(AbstractMethod):
    """The exact chain. With e = −∂ℓ/∂g at one fresh sample (x, y) ~ π, and the OLD c on the right,

        c_i ← c_i + α N^{γ−2}·e σ(w_i·x),      w_i ← w_i + α N^{γ−2}·e c_i σ'(w_i·x) x .

    With more samples a step the increments are their mean, with `batch=None` the mean over all points with their
    weights π. With an optimiser of optax the same gradients go through it.

    `lanes` is the number of replicas computed together, None for a width that suits the device: small
    enough on a CPU that a lane's state stays in cache, large on an accelerator. Bits depend on it.

    `native` says who compiles the loop. False: XLA, on every device. True: numba (the extra `numba`), for
    CPUs only; it needs one pass over w per step where XLA needs two, and is about twice as fast. None: numba
    where it is installed, every device is a CPU, the run is float32, a step of SGD takes one sample, and activation
    and loss offer their `scalar` form; else XLA. `Samples.method` says which it was; the two agree to rounding.

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
        if run.optimiser is not None:
            missing = "optimisers are left to XLA"
        require(not (self.native and missing), "native", "be False or None here", f"{missing}")
        native = self.native or (self.native is None and not missing and run.dtype == np.float32)
        seconds, state = stepwise_seconds(run, bool(native)), 2 * parameters(run)
        if run.optimiser is not None:
            # Its state, gradients and updates; each is read and written at every step.
            held = _optimiser.state_bytes(run.optimiser, run)
            seconds, state = seconds * (2 + held / parameters(run)), 2 * state + held
        # Where replicas take turns on all points, more of them in a lane only keep other workers waiting.
        most = TURNS if run.batch is None else lanes_in_cache(run)
        lanes = self.lanes or (min(most, lanes_in_cache(run)) if run.on_cpus else lanes_on_device(state))
        if native:
            advance_lane = _native.chain(network, loss, run.dtype)
            return Chain("Stepwise(native=True)", advance_lane, lanes, 2, seconds, state + features(run, run.points), 0)
        together, places = not run.on_cpus, 3 * features(run, run.samples)
        # On CPUs a worker's replicas take turns where a step takes all points.
        state, scratch = (state, places) if run.batch is None and run.on_cpus else (state + places, 0)
        if run.optimiser is not None:
            advance_lane = _optimiser.chain(run.optimiser, together)
            return Chain("Stepwise(native=False, optimiser=…)", advance_lane, lanes, 1, seconds, state, scratch)
        return Chain("Stepwise(native=False)", partial(_advance, together), lanes, 1, seconds, state, scratch)


@eqx.filter_jit
def _advance(
    together: bool,
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

    def step(k: Array, indices: Array | None, now: Moving) -> Moving:
        of_c, of_w, finite = pull(network, loss, constants, constants.increment, now.c, now.w, indices)
        c = now.c + of_c if network.train_output else now.c
        return now._replace(c=c, w=now.w + of_w, diverged=first_lost(now.diverged, finite, k))

    def save(carry: Moving, ends: tuple[Array, Array]) -> tuple[Moving, tuple[Array, Any]]:
        carry = over_steps(step, together, constants, keys, *ends, carry)
        return carry, recorded(network, observe, constants, carry, fixed)

    moving, saved = jax.lax.scan(save, moving, (jnp.asarray(stops[:-1]), jnp.asarray(stops[1:])))
    values, seen = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), saved)
    return moving, values, None, seen
