"""simulate: thousands of independent networks of one width, and their outputs at the save times."""

import math
import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlimit._arguments import (
    STEP_LIMIT,
    float_dtype,
    instance,
    natural_number,
    positive_integer,
    random_key,
    real_array,
    require,
    save_times,
)
from jaxlimit._lanes import Progress, chosen_devices, run_lanes
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.kernels import empirical_gram
from jaxlimit.networks import AbstractNetwork, Neurons, Shallow
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem
from jaxlimit.scalings import AbstractScaling
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._draws import parameters_key, replica_key, thresholds
from jaxlimit.simulation._plan import pieces
from jaxlimit.simulation._span import span
from jaxlimit.simulation._state import Constants, Run, begin
from jaxlimit.simulation._stepwise import Stepwise

STABILITY_NEURONS = 1024


def simulate(
    problem: Problem,
    width: int,
    ts: ArrayLike,
    *,
    replicas: int,
    key: RandomKey,
    method: AbstractMethod | None = None,
    at: ArrayLike | None = None,
    observe: Callable[[Neurons, Neurons], Any] | None = None,
    batch: int = 1,
    dtype: Any = jnp.float32,
    devices: Sequence[jax.Device] | None = None,
    first: int = 0,
    progress: Progress | None = None,
) -> Samples:
    """Train `replicas` independent networks of this width by SGD and record their outputs at `ts`.

    Time is limit time: t means ⌊N t⌋ steps, one fresh sample from π each. Outputs are recorded on the
    data and then at the extra inputs `at` [extra, inputs], as values [replicas, times, points + extra].
    `observe(parameters, start)` returns any pytree of arrays at every save time; both arguments are
    `Neurons` in original coordinates, under `jax.jit`. Replica r depends on `key` and r alone, so more
    replicas extend a run and a float64 run follows the same path as a float32 one. Memory is replicas ×
    times × (points + extra), plus one lane's state per worker.

    `method=None` is `Stepwise()`, and `Samples.method` says so. `devices=None` uses every device of
    JAX's default backend and every core. A replica that leaves the finite numbers is kept and recorded
    in `diverged_at`, with a warning. `progress(done, total)` is called as work completes.

    Raises ``ValueError`` for bad arguments before any compute starts, among them float64 without the
    x64 flag and a step beyond stability, α max_m B_N(x_m, x_m)/N > 2. Warns if E c ≠ 0 with γ < 1,
    where no limit exists. Source: references `xavier`, `normalisation`.

        >>> import jax, jaxlimit as jl
        >>> problem = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> samples = jl.simulate(problem, 64, [0.0, 1.0], replicas=5, key=jax.random.key(0))
        >>> samples.values.shape, samples.steps.tolist()
        ((5, 2, 4), [0, 64])
    """
    network = instance("problem", instance("problem", problem, Problem).network, Shallow, "have a Shallow network")
    width, replicas = positive_integer("width", width), positive_integer("replicas", replicas)
    batch, first = positive_integer("batch", batch), natural_number("first", first)
    times, key, kind = save_times(ts), random_key(key), float_dtype(dtype)
    steps = np.array([problem.scaling.steps(t, width) for t in times], dtype=np.int64)
    method = instance("method", Stepwise() if method is None else method, AbstractMethod, "be a method like Stepwise()")
    require(observe is None or callable(observe), "observe", "be a function", f"it is a {type(observe).__name__}")
    require(progress is None or callable(progress), "progress", "be a function", f"it is a {type(progress).__name__}")
    chosen = chosen_devices(devices)
    extra = np.zeros((0, problem.data.inputs)) if at is None else real_array("at", at, 2)
    inputs = problem.data.inputs
    require(extra.shape[1] == inputs, "at", f"have {inputs} inputs like the data", f"it has {extra.shape[1]}")
    _require_representable(problem.data.x, problem.data.y, extra, kind)
    if observe is not None:
        _check_observable(observe, width, inputs, kind)
    reduced = span(problem.data.x, extra)
    chain = method.chain(Run(problem, network, width, reduced.x.shape[1], int(steps[-1]), batch, kind, chosen))
    _check_stability(problem, width, key)
    _warn_without_limit(problem.scaling, network)

    output = problem.scaling.output(width)
    increment = problem.learning_rate * problem.scaling.learning_rate(width) * output
    host: dict[str, Any] = {
        "x": reduced.x.astype(kind),
        "y": problem.data.y.astype(kind),
        "at": reduced.at.astype(kind),
        "basis": None if reduced.basis is None else reduced.basis.astype(kind),
        "remainder": None if reduced.remainder is None else reduced.remainder.astype(kind),
        "bounds": thresholds(problem.data.weights),
        "output": np.asarray(output, kind),
        "increment": np.asarray(increment, kind),
    }
    lanes = method.lane_width(width, chosen[0].platform)
    count = -(-replicas // lanes)
    plan = pieces(steps, chain, lanes)
    report = _Reporter(progress, count * max(1.0, float(steps[-1])))

    def prepare(device: jax.Device) -> Callable[[int, Callable[[], None]], Any]:
        constants = Constants(**jax.device_put(host, device), batch=batch, half=None)
        base = jax.device_put(key, device)

        def lane(number: int, check: Callable[[], None]) -> Any:
            keys = _lane_keys(base, np.asarray(first + number * lanes + np.arange(lanes), np.uint32))
            real = jnp.asarray(min(lanes, replicas - number * lanes), jnp.int32)
            moving, fixed = begin(network, constants, keys, real, width, inputs, observe is not None)
            saved = []
            for piece in plan:
                check()
                moving, *found = chain.advance(network, problem.loss, observe, constants, keys, moving, fixed, *piece)
                jax.block_until_ready(found)
                report.add(float(piece.stops[-1] - piece.stops[0]))
                if piece.saves:
                    saved.append(jax.device_get(tuple(found)))
            last = np.asarray(moving.diverged), np.asarray(moving.forced)
            return *jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *saved), *last

        return lane

    parts = run_lanes(prepare, count, chosen)
    values, error, seen, diverged, forced = jax.tree.map(lambda *a: np.concatenate(a)[:replicas], *parts)
    diverged = _first_lost(diverged, values, steps)
    forced = None if error is None else forced
    samples = Samples(times, values, seen, steps, diverged, chain.name, width, lanes, error, forced)
    if samples.diverged:
        first_step = int(np.min(diverged[diverged >= 0]))
        warnings.warn(
            f"{samples.diverged} of {replicas} replicas diverged, the first at step {first_step}; "
            "they are recorded in `diverged_at`.",
            stacklevel=2,
        )
    method.review(samples)
    return samples


_lane_keys = jax.jit(jax.vmap(replica_key, in_axes=(None, 0)))


@eqx.filter_jit
def _largest_diagonal(network: AbstractNetwork, key: RandomKey, x: ArrayLike) -> Float[Array, ""]:
    parameters = network.init(STABILITY_NEURONS, x.shape[1], parameters_key(replica_key(key, 0)))
    # One point at a time: only the diagonal is wanted, and it needs no array of points × width.
    return jnp.max(jax.lax.map(lambda row: empirical_gram(network, parameters, row[None])[0, 0], x))


def _require_representable(x: Host, y: Host, extra: Host, kind: np.dtype) -> None:
    """The cast to the run's precision must neither overflow nor turn a point into zero."""
    for name, array in (("problem.data.x", x), ("problem.data.y", y[:, None]), ("at", extra)):
        largest = np.max(np.abs(array), axis=1, initial=0.0)
        limits = np.finfo(kind)
        fits = (largest == 0) | ((largest >= float(limits.tiny)) & (largest <= float(limits.max)))
        require(
            bool(np.all(fits)),
            name,
            f"be representable in {kind}",
            f"row {int(np.argmin(fits))} has largest entry {largest[int(np.argmin(fits))]:.3g}" if fits.size else "",
        )


def _check_observable(observe: Callable[[Neurons, Neurons], Any], width: int, inputs: int, kind: np.dtype) -> None:
    """Trace the observable once, without computing: every leaf it returns must be numbers."""
    wrong: list[str] = []

    def traced(now: Neurons, start: Neurons) -> None:
        for leaf in jax.tree.leaves(observe(now, start)):
            dtype = getattr(leaf, "dtype", np.dtype(type(leaf)) if isinstance(leaf, int | float | complex) else None)
            if dtype is None:
                wrong.append(f"a {type(leaf).__name__}")
            elif not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)):
                wrong.append(f"an array of {dtype}")

    c, w = jax.ShapeDtypeStruct((width,), kind), jax.ShapeDtypeStruct((width, inputs), kind)
    jax.eval_shape(lambda *parts: traced(Neurons(*parts[:2]), Neurons(*parts[2:])), c, w, c, w)
    require(not wrong, "observe", "return a pytree of arrays of numbers", f"it returned {', '.join(wrong)}")


def _first_lost(diverged: Host, values: Host, steps: Host) -> Host:
    """The step of the first non-finite residual or, if earlier, of the first save with a non-finite output; else −1.

    The steps between the last finite residual and a save can overflow with no residual to show it.
    """
    lost = ~np.all(np.isfinite(values), axis=2)
    saved = np.where(np.any(lost, axis=1), steps[np.argmax(lost, axis=1)], STEP_LIMIT)
    first = np.minimum(np.where(diverged >= 0, diverged.astype(np.int64), STEP_LIMIT), saved)
    return np.where(first < STEP_LIMIT, first, -1)


def _check_stability(problem: Problem, width: int, key: RandomKey) -> None:
    """A step multiplies its own residual by 1 − αB(x, x)/N: beyond 2 the chain explodes.

    B is estimated from the first neurons of replica 0, whatever the law or the activation: a few per cent
    are enough to tell a step from one that explodes.
    """
    largest = float(_largest_diagonal(problem.network, key, problem.data.x.astype(np.float32)))
    step = problem.learning_rate * largest / width
    require(
        math.isfinite(step) and step <= 2.0,
        "learning_rate",
        "keep a step stable, α max_m B(x_m, x_m)/N ≤ 2",
        f"α = {problem.learning_rate:g} at width {width} gives {step:.3g}: lower it or widen the network",
    )


def _warn_without_limit(scaling: AbstractScaling, network: Shallow) -> None:
    mean = network.initial.c.mean
    if mean != 0.0 and getattr(scaling, "gamma", 1.0) < 1.0:
        warnings.warn(
            f"E c = {mean:g} ≠ 0: the outputs at the start grow with the width and have no limit for γ < 1.",
            stacklevel=3,
        )


class _Reporter:
    """Adds up the work of all workers and passes it on."""

    def __init__(self, progress: Progress | None, total: float):
        self._progress, self._total, self._done = progress, total, 0.0
        self._lock = threading.Lock()

    def add(self, work: float) -> None:
        if self._progress is not None:
            with self._lock:
                self._done += work
                self._progress(min(self._done, self._total), self._total)
