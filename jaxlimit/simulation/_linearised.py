"""Tangents of networks with one hidden layer in a run: SGD step by step, on features that stay those of the start."""

from dataclasses import replace
from functools import partial
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from optax import GradientTransformation

from jaxlimit._arguments import require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Linearised, Neurons
from jaxlimit.problem import Problem
from jaxlimit.simulation._checks import check_stability, warn_without_limit
from jaxlimit.simulation._cost import stepwise_seconds
from jaxlimit.simulation._draws import drawn
from jaxlimit.simulation._family import AbstractFamily, Factors
from jaxlimit.simulation._memory import features, lanes_in_cache, lanes_in_steps, parameters
from jaxlimit.simulation._optimiser import Optimiser
from jaxlimit.simulation._product import full
from jaxlimit.simulation._shallow import TURNS, ShallowFamily
from jaxlimit.simulation._state import Chain, Constants, Moving, Observe, Run, begin
from jaxlimit.simulation._state import Fixed as Start
from jaxlimit.simulation._steps import first_lost, over_own_steps


class Plane(NamedTuple):
    """The tangent at the start over some points: outputs, features σ(w_0·x), and slopes c_0 σ'(w_0·x).

    Without the features where c does not learn.
    """

    values: Float[Array, "*lanes points"]
    features: Float[Array, "*lanes points neurons"] | None
    slopes: Float[Array, "*lanes points neurons"]


class Fixed(NamedTuple):
    """What a lane keeps from its start: the tangent over the data and over the extra points; if observed, the start."""

    data: Plane
    extra: Plane
    start: Neurons | None


class LinearisedFamily(AbstractFamily):
    """`Linearised`: moves of c and w from the start, on the width, clock and factors of its `Shallow` network."""

    in_blocks: ClassVar[bool] = False

    def width(self, problem: Problem, width: Any) -> int:
        """That of its network."""
        return ShallowFamily().width(problem, width)

    def transformation(
        self, optimiser: Optimiser | None, width: Any, inputs: int, dtype: np.dtype
    ) -> GradientTransformation | None:
        """None: steps are those of SGD."""
        require(optimiser is None, "optimiser", "be None for a Linearised network", "one is given")
        return None

    def factors(self, problem: Problem, width: Any) -> Factors:
        """Those of its network."""
        return ShallowFamily().factors(problem, width)

    def check(self, problem: Problem, width: Any, key: RandomKey, batch: int | None, sgd: bool) -> None:
        """By the kernel at the start, which is the tangent's at all times."""
        network = drawn(problem.network)
        if sgd:
            check_stability(replace(problem, network=network), width, key, batch)
        warn_without_limit(problem.scaling, network)

    def begin(
        self, network: Any, constants: Constants, keys: RandomKey, real: Array, width: Any, keep_start: bool, all_: bool
    ) -> tuple[Any, Any]:
        """The draws of its network by the program that draws them there, then their features."""
        moving, start = begin(network.network, constants, keys, real, width, keep_start, all_)
        return _tangent(all_, network, constants, moving, start)

    def stepwise(self, run: Run, lanes: int | None, native: bool | None) -> Chain:
        """By XLA, replica by replica on CPUs."""
        require(not native, "native", "be False or None here", "the native loop is for Shallow networks")
        together, seen = not run.on_cpus, features(run, run.points + run.extra)
        places = 2 * features(run, run.samples)
        # The moves beside the start from which they are counted, and two numbers per neuron and point.
        state = 2 * parameters(run) + 2 * seen + (places if together else 0)
        several = lanes or (min(TURNS, lanes_in_cache(run)) if run.on_cpus else lanes_in_steps(run, state))
        seconds = stepwise_seconds(run, False, several)
        advance, scratch = partial(_advance, together), 0 if together else places
        return Chain("Stepwise(native=False)", advance, several, 1, seconds, state, scratch)


@eqx.filter_jit
def _tangent(
    together: bool, network: Linearised, constants: Constants, moving: Moving, start: Start
) -> tuple[Moving, Fixed]:
    """Moves of zero, and the tangent at the neurons as drawn, replica by replica."""
    shallow, own = network.network, constants.x.dtype

    def plane(c: Array, u: Array) -> Plane:
        # An activation may promote to float64 where x64 is on; the run keeps the precision it was asked for.
        found, slopes = shallow.activation(u).astype(own), c * shallow.activation.derivative(u).astype(own)
        return Plane(constants.output * constants.product(found, c), found if shallow.train_output else None, slopes)

    def one(replica: tuple[Array, Array, Array | None]) -> tuple[Plane, Plane]:
        c, w, frozen = replica
        extra = constants.product(constants.at, w)
        return plane(c, constants.product(constants.x, w)), plane(c, extra if frozen is None else extra + frozen)

    over = jax.vmap(one) if together else partial(jax.lax.map, one)
    data, extra = over((moving.c, moving.w, start.frozen))
    return moving._replace(c=jnp.zeros_like(moving.c), w=jnp.zeros_like(moving.w)), Fixed(data, extra, start.start)


@eqx.filter_jit
def _advance(
    together: bool,
    network: Linearised,
    loss: AbstractLoss,
    observe: Observe | None,
    constants: Constants,
    keys: Array,
    moving: Moving,
    fixed: Fixed,
    stops: Int[Host, " saves_plus_one"],
    ends: Int[Host, " saves"],
) -> tuple[Moving, Float[Array, "lanes saves points"], None, Any]:
    """Run from step stops[0] and record outputs (and observables) at each of stops[1:], replica by replica."""
    bounds = jnp.asarray(stops[:-1]), jnp.asarray(stops[1:])

    def alone(replica: tuple[Any, Moving, Fixed]) -> tuple[Moving, tuple[Array, Any]]:
        key, start, own = replica

        def step(k: Array, indices: Array | None, now: Moving) -> Moving:
            points = own.data, constants.x, constants.y
            if indices is not None:
                points = jax.tree.map(lambda a: a[indices], points)
            return _moved(loss, constants, *points, k, now)

        def save(now: Moving, ends: tuple[Array, Array]) -> tuple[Moving, tuple[Array, Any]]:
            now = over_own_steps(step, together, constants, key, *ends, now)
            seen = None if observe is None else _observed(observe, constants, now, own.start)
            planes = (own.data, constants.x), (own.extra, constants.at)
            return now, (jnp.concatenate([_outputs(constants, *plane, now) for plane in planes]), seen)

        return jax.lax.scan(save, start, bounds)

    run = jax.vmap(alone) if together else partial(jax.lax.map, alone)
    moving, (values, seen) = run((keys, moving, fixed))
    return moving, values, None, seen


def _moved(loss: AbstractLoss, constants: Constants, plane: Plane, x: Array, y: Array, k: Array, now: Moving) -> Moving:
    """One step on these points: their mean, or all of them with their weights."""
    residual = -loss.derivative(_outputs(constants, plane, x, now), y)
    shares = 1.0 / float(y.shape[0]) if constants.weights is None else constants.weights
    move = constants.increment * shares * residual
    c = now.c if plane.features is None else now.c + constants.product(move, plane.features)
    w = now.w + constants.product(x.T, move[:, None] * plane.slopes)
    return now._replace(c=c, w=w, diverged=first_lost(now.diverged, jnp.all(jnp.isfinite(residual)), k))


def _outputs(constants: Constants, plane: Plane, x: Array, now: Moving) -> Float[Array, " points"]:
    """f_0 + N^{−γ} Σ_i [Δc_i σ(w_i0·x) + c_i0 σ'(w_i0·x) Δw_i·x] at the points of the plane."""
    moved = jnp.sum(plane.slopes * constants.product(x, now.w), axis=1)
    if plane.features is not None:
        moved = moved + constants.product(plane.features, now.c)
    return plane.values + constants.output * moved


def _observed(observe: Observe, constants: Constants, now: Moving, start: Any) -> Any:
    """The observable of a replica, in original coordinates."""
    w = now.w if constants.basis is None else full(constants.basis, now.w)
    return observe(Neurons(start.c + now.c, start.w + w.T), start)
