"""Networks with several hidden layers in a run: SGD step by step, layer by layer."""

import math
import warnings
from functools import partial
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from optax import GradientTransformation

from jaxlimit._arguments import instance, require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Layers, Multilayer
from jaxlimit.problem import Problem
from jaxlimit.scalings import AbstractLayerwiseScaling
from jaxlimit.simulation._backward import deltas, forward, moved, passes, slope, timed
from jaxlimit.simulation._checks import SPECTRUM_POINTS, require_stable
from jaxlimit.simulation._cost import stepwise_seconds
from jaxlimit.simulation._draws import parameters_key, replica_key
from jaxlimit.simulation._family import AbstractFamily, Factors
from jaxlimit.simulation._memory import features, lanes_in_cache, lanes_in_steps, parameters
from jaxlimit.simulation._optimiser import Optimiser
from jaxlimit.simulation._product import full
from jaxlimit.simulation._state import Chain, Constants, Observe, Run
from jaxlimit.simulation._steps import first_lost, over_own_steps

TURNS = 4
"""Replicas of a lane that take turns on a CPU."""


class Rates(NamedTuple):
    """What multiplies mean gradients: α times the factor of each layer's weights and biases; limit time of a step."""

    weights: tuple[Any, ...]
    biases: tuple[Any, ...]
    time: Any


class Deep(NamedTuple):
    """What steps change in a lane: weights with w_1 as [rank, n_1] in the span of the data, biases, and the rest of
    `Moving`."""

    weights: tuple[Float[Array, "lanes ..."], ...]
    biases: tuple[Float[Array, "lanes ..."], ...]
    diverged: Int[Array, " lanes"]
    forced: Int[Array, " lanes"]


class Fixed(NamedTuple):
    """What a lane keeps from its start: w_1 along the extra points' remainders; if observed, the start and its w_1
    in the span of the data."""

    frozen: Float[Array, "lanes extra neurons"] | None
    start: Layers | None
    projected: Float[Array, "lanes rank neurons"] | None


class MultilayerFamily(AbstractFamily):
    """`Multilayer`: a factor per layer, from a scaling that has them."""

    in_blocks: ClassVar[bool] = False

    def width(self, problem: Problem, width: Any) -> tuple[int, ...]:
        """A positive integer per hidden layer; the scaling has a factor for each, and for biases if there are any."""
        network: Any = problem.network
        wanted = "have a scaling with a factor per layer for a Multilayer network, like LayerwiseMeanField()"
        scaling = instance("problem", problem.scaling, AbstractLayerwiseScaling, wanted)
        counted = isinstance(width, tuple | list) and len(width) == network.layers - 1
        require(counted, "width", f"be a tuple of {network.layers - 1} positive integers", f"it is {width!r}")
        scaling.output(width)
        scaling.schedules(network.layers)
        known = not network.initial.biases or scaling.bias_learning_rate(tuple(width)) is not None
        require(known, "problem", "have a network without biases for this scaling", f"{scaling} has no factor for them")
        return tuple(int(n) for n in width)

    def transformation(
        self, optimiser: Optimiser | None, width: Any, inputs: int, dtype: np.dtype
    ) -> GradientTransformation | None:
        """None: steps are those of SGD."""
        require(optimiser is None, "optimiser", "be None for a Multilayer network", "one is given")
        return None

    def factors(self, problem: Problem, width: Any) -> Factors:
        """f_i, and α times the multipliers; numbers ξ are part of them."""
        scaling: Any = problem.scaling
        alpha, output = problem.learning_rate, scaling.output(width)
        constant = [1.0 if callable(xi) else xi for xi in scaling.schedules(len(width) + 1)]
        weights = [alpha * xi * rate for xi, rate in zip(constant, scaling.learning_rate(width), strict=True)]
        # The gradient in w_i, i ≥ 2, has the factor of the sum that it stands in.
        weights = [rate * f for rate, f in zip(weights, (1.0, *output), strict=True)]
        of_biases = scaling.bias_learning_rate(width) or (0.0,) * len(constant)
        biases = [alpha * xi * rate for xi, rate in zip(constant, of_biases, strict=True)]
        return Factors(tuple(output), Rates(tuple(weights), tuple(biases), scaling.step_time(width)))

    def check(self, problem: Problem, width: Any, key: RandomKey, batch: int | None, sgd: bool) -> None:
        """By the kernel of the first step of replica 0, all layers together."""
        network: Any = problem.network
        means, factors = network.initial.means(network.layers), problem.scaling.output(width)
        grow = [
            i
            for i, (mean, f, n) in enumerate(zip(means[1:], factors, width, strict=True))
            if mean and n * f > 1.0 + 1e-9
        ]
        if grow:
            warnings.warn(
                f"E w_{grow[0] + 2} = {means[grow[0] + 1]:g} ≠ 0: sums over the neurons of layer {grow[0] + 1} grow "
                "with the width and have no limit for γ < 1.",
                stacklevel=4,
            )
        curvature = problem.loss.curvature
        if curvature is None:
            return
        x = problem.data.x[:SPECTRUM_POINTS].astype(np.float32)
        numbers = jax.tree.map(lambda number: np.asarray(number, np.float32), self.factors(problem, width))
        matrix = np.asarray(_kernel(network, _schedules(problem), width, x, numbers, key), np.float64)
        if batch is None and problem.data.points <= SPECTRUM_POINTS:
            root, bound = np.sqrt(problem.data.weights), "λ_max(K diag π)"
            finite = bool(np.all(np.isfinite(matrix)))
            largest = float(np.linalg.eigvalsh(root[:, None] * matrix * root)[-1]) if finite else math.inf
        else:
            largest, bound = float(np.max(np.diagonal(matrix))), "max_m K(x_m, x_m)"
        where = f"α = {problem.learning_rate:g} at width {width}"
        require_stable(curvature * largest, f"max |ℓ''| {bound}", where, "lower it, or the step of the scaling")

    def begin(
        self, network: Any, constants: Constants, keys: RandomKey, real: Array, width: Any, keep_start: bool, all_: bool
    ) -> tuple[Any, Any]:
        """All weights drawn in original coordinates, w_1 then projected."""
        return _begin(network, constants, keys, real, width, keep_start, all_)

    def stepwise(self, run: Run, lanes: int | None, native: bool | None) -> Chain:
        """By XLA: products of matrices. On CPUs replicas take turns, whose small products would be slow in a batch."""
        require(not native, "native", "be False or None here", "the native loop is for Shallow networks")
        together = not run.on_cpus
        places = 4 * features(run, run.samples)
        state = 3 * parameters(run) + (places if together else 0)
        several = lanes or (min(TURNS, lanes_in_cache(run)) if run.on_cpus else lanes_in_steps(run, state))
        # Three products a layer; a step on few samples reads and writes the weights twice.
        seconds = 1e-6 + 1e-9 * (run.numbers(run.rank) * (0.1 * run.samples + 1.0) + 3.0 * run.neurons * run.samples)
        if together:
            seconds = run.problem.network.layers * stepwise_seconds(run, False, several)  # type: ignore[attr-defined]
        advance = partial(_advance, together, _schedules(run.problem))
        return Chain("Stepwise(native=False)", advance, several, 1, seconds, state, 0 if together else places)


def _schedules(problem: Problem) -> tuple[Any, ...]:
    """The ξ that are functions of time; None for numbers, which `factors` holds."""
    scaling: Any = problem.scaling
    layers = len(problem.network.activations) + 1  # type: ignore[attr-defined]
    return tuple(xi if callable(xi) else None for xi in scaling.schedules(layers))


@eqx.filter_jit
def _kernel(
    network: Multilayer, schedules: tuple[Any, ...], width: tuple[int, ...], x: Host, factors: Factors, key: RandomKey
) -> Float[Array, "points points"]:
    """K with which a step turns the outputs: Σ_i rate_i f_{i−1} ⟨Δ_i(x), Δ_i(x')⟩ ⟨φ_{i−1}(x), φ_{i−1}(x')⟩."""
    start = network.init(width, x.shape[1], parameters_key(replica_key(key, 0)))
    weights = start.weights[0].T, *start.weights[1:]
    passed = forward(network, full, jnp.asarray(x), weights, start.biases, factors.output)
    ones = slope(network, passed[-1].above)
    rates = timed(factors.increment, schedules, jnp.zeros((), jnp.int32), ones.dtype)
    total = jnp.zeros((x.shape[0],) * 2, ones.dtype)
    # The rate of w_i, i ≥ 2, has the factor of its sum already; the output's gradient has it once more.
    fs = (1.0, *factors.output)
    for i, delta in enumerate(deltas(network, full, ones, weights, passed, factors.output)):
        if network.trained[i]:
            flat, below = delta.reshape(len(x), -1), passed[i].below
            inner = rates.weights[i] * fs[i] * full(below, below.T)
            if start.biases:
                inner = inner + rates.biases[i]
            total = total + inner * full(flat, flat.T)
    return total


@eqx.filter_jit
def _begin(
    network: Multilayer,
    constants: Constants,
    keys: RandomKey,
    real: Array,
    width: tuple[int, ...],
    keep_start: bool,
    together: bool,
) -> tuple[Deep, Fixed]:
    """Replicas that only pad the lane stay zero, unless all are drawn `together`."""
    dtype = constants.x.dtype

    def one(key: RandomKey) -> tuple[Any, ...]:
        drawn = network.init(width, constants.inputs, parameters_key(key))
        start = jax.tree.map(lambda a: a.astype(dtype), drawn)
        first, *others = start.weights
        reduced = first.T if constants.basis is None else full(constants.basis.T, first.T)
        frozen = None if constants.remainder is None else full(constants.remainder, first.T)
        return (reduced, *others), start.biases, frozen, start if keep_start else None

    if together:
        weights, biases, frozen, start = jax.vmap(one)(keys)
    else:
        empty = jax.tree.map(lambda a: jnp.zeros(keys.shape + a.shape, a.dtype), jax.eval_shape(one, keys[0]))
        place = lambda r, lane: jax.tree.map(lambda all_, new: all_.at[r].set(new), lane, one(keys[r]))  # noqa: E731
        weights, biases, frozen, start = jax.lax.fori_loop(0, real, place, empty)
    none = jnp.zeros(keys.shape, jnp.int32)
    projected = None if start is None or constants.basis is None else weights[0]
    return Deep(weights, biases, none - 1, none), Fixed(frozen, start, projected)


@eqx.filter_jit
def _advance(
    together: bool,
    schedules: tuple[Any, ...],
    network: Multilayer,
    loss: AbstractLoss,
    observe: Observe | None,
    constants: Constants,
    keys: Array,
    moving: Deep,
    fixed: Fixed,
    stops: Int[Host, " saves_plus_one"],
    ends: Int[Host, " saves"],
) -> tuple[Deep, Float[Array, "lanes saves points"], None, Any]:
    """Run from step stops[0] and record outputs (and observables) at each of stops[1:], replica by replica."""
    bounds = jnp.asarray(stops[:-1]), jnp.asarray(stops[1:])

    def step(k: Array, indices: Array | None, now: Deep) -> Deep:
        rates = timed(constants.increment, schedules, k, constants.x.dtype)
        weights, biases, finite = moved(network, loss, constants, rates, now.weights, now.biases, indices)
        return Deep(weights, biases, first_lost(now.diverged, finite, k), now.forced)

    def alone(replica: tuple[Any, Deep, Fixed]) -> tuple[Deep, tuple[Array, Any]]:
        key, start, own = replica

        def save(now: Deep, ends: tuple[Array, Array]) -> tuple[Deep, tuple[Array, Any]]:
            now = over_own_steps(step, together, constants, key, *ends, now)
            seen = None if observe is None else _observed(observe, constants, now, own)
            return now, (_outputs(network, constants, now, own), seen)

        return jax.lax.scan(save, start, bounds)

    run = jax.vmap(alone) if together else partial(jax.lax.map, alone)
    moving, (values, seen) = run((keys, moving, fixed))
    return moving, values, None, seen


def _outputs(network: Multilayer, constants: Constants, now: Deep, fixed: Fixed) -> Float[Array, " points"]:
    """φ_L(H_L) on the data, then on the extra points, whose part of w_1 x outside the span is frozen."""
    first = constants.product(constants.x, now.weights[0])
    if constants.at.shape[0]:
        extra = constants.product(constants.at, now.weights[0])
        first = jnp.concatenate([first, extra if fixed.frozen is None else extra + fixed.frozen])
    last = passes(network, constants.product, first, now.weights, now.biases, constants.output)[-1].above
    return jnp.asarray(network.output(last)).astype(last.dtype)


def _observed(observe: Observe, constants: Constants, now: Deep, fixed: Fixed) -> Any:
    """The observable of a replica, in original coordinates: w_1 at the start plus its move within the span."""
    start: Any = fixed.start
    reduced, *others = now.weights
    if fixed.projected is None or constants.basis is None:
        first = reduced.T
    else:
        first = start.weights[0] + full(constants.basis, reduced - fixed.projected).T
    return observe(Layers((first, *others), now.biases), start)
