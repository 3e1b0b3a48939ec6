"""Networks with one hidden layer in a run: SGD step by step, by XLA or in native code."""

from functools import partial
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from optax import GradientTransformation

from jaxlimit._arguments import positive_integer, require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Shallow
from jaxlimit.problem import Problem
from jaxlimit.scalings import AbstractLayerwiseScaling
from jaxlimit.simulation import _native, _optimiser, _streamed
from jaxlimit.simulation._checks import check_stability, warn_without_limit
from jaxlimit.simulation._cost import stepwise_seconds
from jaxlimit.simulation._family import AbstractFamily, Factors
from jaxlimit.simulation._memory import features, lanes_in_cache, lanes_in_steps, parameters
from jaxlimit.simulation._state import Chain, Constants, Fixed, Moving, Observe, Run, begin, recorded
from jaxlimit.simulation._steps import first_lost, over_steps, pull

TURNS = 4
"""Replicas of a lane that take turns on a CPU."""


class ShallowFamily(AbstractFamily):
    """`Shallow`: c and w, the output N^{−γ} Σ c σ(w·x)."""

    in_blocks: ClassVar[bool] = True

    def width(self, problem: Problem, width: Any) -> int:
        """A positive integer."""
        scaling = problem.scaling
        one = not isinstance(scaling, AbstractLayerwiseScaling)
        require(one, "problem", "have a scaling with one factor for a Shallow network", f"its scaling is {scaling}")
        return positive_integer("width", width)

    def transformation(
        self, optimiser: _optimiser.Optimiser | None, width: Any, inputs: int, dtype: np.dtype
    ) -> GradientTransformation | None:
        """Traced once without computing."""
        return _optimiser.at_width(optimiser, width, inputs, dtype)

    def factors(self, problem: Problem, width: Any) -> Factors:
        """N^{−γ}, and α times it times the learning rate's factor."""
        output = problem.scaling.output(width)
        return Factors(output, problem.learning_rate * problem.scaling.learning_rate(width) * output)

    def check(self, problem: Problem, width: Any, key: RandomKey, batch: int | None, sgd: bool) -> None:
        """By the kernel at the start."""
        if sgd:
            check_stability(problem, width, key, batch)
        warn_without_limit(problem.scaling, problem.network)

    def begin(
        self, network: Any, constants: Constants, keys: RandomKey, real: Array, width: Any, keep_start: bool, all_: bool
    ) -> tuple[Any, Any]:
        """c, and w in the span of the data."""
        return begin(network, constants, keys, real, width, keep_start, all_)

    def stepwise(self, run: Run, lanes: int | None, native: bool | None) -> Chain:
        """By numba where that can be had, else by XLA."""
        network, loss = run.network, run.problem.loss
        missing = _native.missing(network, loss, run.devices, run.batch)
        if run.optimiser is not None:
            missing = "optimisers are left to XLA"
        require(not (native and missing), "native", "be False or None here", f"{missing}")
        compiled = native or (native is None and not missing and run.dtype == np.float32)
        state, longer = 2 * parameters(run), 1.0
        if run.optimiser is not None:
            # Its state, gradients and updates; each is read and written at every step.
            held = _optimiser.state_bytes(run.optimiser, run)
            state, longer = 2 * state + held, 2 + held / parameters(run)
        # Where replicas take turns on all points, more of them in a lane only keep other workers waiting.
        most = TURNS if run.batch is None else lanes_in_cache(run)
        several = lanes or (min(most, lanes_in_cache(run)) if run.on_cpus else lanes_in_steps(run, state))
        seconds = longer * stepwise_seconds(run, bool(compiled), several)
        if compiled:
            advance_lane = _native.chain(network, loss, run.dtype)
            state += features(run, run.points)
            return Chain("Stepwise(native=True)", advance_lane, several, 2, seconds, state, 0, native=True)
        together, places = not run.on_cpus, 3 * features(run, run.samples)
        # On CPUs a worker's replicas take turns where a step takes all points.
        state, scratch = (state, places) if run.batch is None and run.on_cpus else (state + places, 0)
        if run.optimiser is not None:
            advance_lane = _optimiser.chain(run.optimiser, together)
            return Chain("Stepwise(native=False, optimiser=…)", advance_lane, several, 1, seconds, state, scratch)
        streams = together and run.batch == 1 and run.product is None and run.rank <= _streamed.MOST_ROWS
        advance_lane = _streamed.advance if streams else partial(_advance, together)
        return Chain("Stepwise(native=False)", advance_lane, several, 1, seconds, state, scratch)


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
