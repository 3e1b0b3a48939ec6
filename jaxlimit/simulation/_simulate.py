"""simulate: thousands of independent networks of one width, and their outputs at the save times."""

import threading
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import (
    float_dtype,
    instance,
    natural_number,
    optional_positive_integer,
    positive_integer,
    random_key,
    real_array,
    require,
    save_times,
)
from jaxlimit._lanes import Progress, chosen_devices, crew, run_lanes
from jaxlimit._span import Span, span
from jaxlimit._typing import ArrayLike, RandomKey
from jaxlimit.paths import Draws, Samples
from jaxlimit.problem import Problem
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._checks import (
    check_observable,
    diverged_at,
    require_representable,
)
from jaxlimit.simulation._choose import chosen_method
from jaxlimit.simulation._draws import REPLICA_LIMIT, drawn, replica_key, thresholds
from jaxlimit.simulation._families import family
from jaxlimit.simulation._memory import require_room
from jaxlimit.simulation._optimiser import Optimiser
from jaxlimit.simulation._pieces import pieces
from jaxlimit.simulation._state import Constants, Run


def simulate(
    problem: Problem,
    width: int | tuple[int, ...],
    ts: ArrayLike,
    *,
    replicas: int,
    key: RandomKey,
    method: AbstractMethod | None = None,
    at: ArrayLike | None = None,
    observe: Callable[[Any, Any], Any] | None = None,
    batch: int | None = 1,
    optimiser: Optimiser | None = None,
    dtype: Any = jnp.float32,
    devices: Sequence[jax.Device] | None = None,
    first: int = 0,
    progress: Progress | None = None,
) -> Samples:
    """Train `replicas` independent networks of this width by SGD and record their outputs at `ts`.

    `width` is N for a `Shallow` network and a tuple (n_1, …, n_{L−1}) for a `Multilayer` one, whose scaling has a
    factor per layer and its own clock: what is said of N below is said of `Shallow`, and of `Linearised`.

    Time is limit time: t means ⌊N t⌋ steps, each on `batch` fresh samples from π (the mean of their gradients), or
    on all points with their weights where `batch=None`: the population gradient E_π, which makes of the chain the
    explicit Euler scheme of step 1/N for the flow of the network's own neurons, with no chance but in their start.
    Outputs are recorded on the data and then at the extra inputs `at` [extra, inputs], as values [replicas,
    times, points + extra]. `observe(parameters, start)` returns any pytree of arrays at every save time; both
    arguments are `Neurons` (or `Layers`) in original coordinates, under `jax.jit`. Replica r depends on `key` and r
    alone, so more replicas extend a run, `first=r` has replicas r, r + 1, … alone, and a float64 run follows the same
    path as a float32 one. Sample indices stream: memory is replicas × times × (points + extra), plus one
    lane's state per worker, and a run that would not fit says what would.

    `optimiser` is an optax transformation, or a function width → transformation that is called once. It replaces
    the whole step: gradients of the mean loss in c and w, with N^{−γ} Σ c_i σ(w_i·x) for the output, go to it as
    `Neurons` in original coordinates, and `problem.learning_rate` plays no part. `optax.sgd(α N^{−2(1−γ)})` is the
    step of SGD; for any other no limit is claimed, and stability is not checked. With `train_output=False` c has
    zero gradients and does not move. The same transformation object in a later call reuses the compiled program.

    `method=None` takes the exact chain `Stepwise()`, or `SStep(tolerance=1e-4)` where that costs less than half
    by the cost model: in float32, from width 1024 on, where blocks are expected to be long enough. 10⁻⁴ is
    what rounding does to the float32 chain at γ = 1/2 and N = 16,384; at γ > 1/2 the chain is more exact by far.
    `Samples.method` says which it was.
    `devices=None` uses every device of JAX's default backend and every core. A replica that leaves the finite
    numbers is kept and recorded in `diverged_at`, with a warning. `progress(done, total)` is called as work
    completes.

    Raises ``ValueError`` for bad arguments before any compute starts, among them float64 without the
    x64 flag and a step beyond stability, α max|ℓ''| B/N > 2 with B = max_m B_N(x_m, x_m), or λ_max(B_N diag π) where
    a step takes all points (αηN^{1−2γ} in the place of α/N for `FixedStep`). Warns if E c ≠ 0 with γ < 1, where no
    limit exists. Source: references `xavier`, `normalisation`, `multilayer`.

        >>> import jax, jaxlimit as jl
        >>> problem = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> samples = jl.simulate(problem, 64, [0.0, 1.0], replicas=5, key=jax.random.key(0))
        >>> samples.values.shape, samples.steps.tolist()
        ((5, 2, 4), [0, 64])
    """
    return train(
        problem, width, ts, replicas, key, method, at, observe, batch, optimiser, dtype, devices, first, progress, None
    )


def train(
    problem: Problem,
    width: int | tuple[int, ...],
    ts: ArrayLike,
    replicas: int,
    key: RandomKey,
    method: AbstractMethod | None,
    at: ArrayLike | None,
    observe: Callable[[Any, Any], Any] | None,
    batch: int | None,
    optimiser: Optimiser | None,
    dtype: Any,
    devices: Sequence[jax.Device] | None,
    first: int,
    progress: Progress | None,
    half: int | None,
) -> Samples:
    """`simulate`; with `half` 0 or 1, of that half of networks twice as wide, on every other of their samples."""
    network = instance("problem", problem, Problem).network
    networks = family(network)
    width, replicas = networks.width(problem, width), positive_integer("replicas", replicas)
    batch, first = optional_positive_integer("batch", batch), natural_number("first", first)
    require(replicas <= REPLICA_LIMIT, "replicas", "be at most 2³²", f"it is {replicas}")
    require(first + replicas <= REPLICA_LIMIT, "first", "keep replica numbers below 2³²", f"it is {first}")
    times, key, kind = save_times(ts), random_key(key), float_dtype(dtype)
    steps = np.array([problem.scaling.steps(t, width) for t in times], dtype=np.int64)
    require(observe is None or callable(observe), "observe", "be a function", f"it is a {type(observe).__name__}")
    require(progress is None or callable(progress), "progress", "be a function", f"it is a {type(progress).__name__}")
    chosen = chosen_devices(devices)
    inputs = problem.data.inputs
    extra = np.zeros((0, inputs)) if at is None else real_array("at", at, 2)
    require(extra.shape[1] == inputs, "at", f"have {inputs} inputs like the data", f"it has {extra.shape[1]}")
    require_representable(problem.data.x, problem.data.y, extra, kind)
    seen = 0 if observe is None else check_observable(observe, drawn(network), width, inputs, kind)
    transformation = networks.transformation(optimiser, width, inputs, kind)
    # An optimiser may work coordinate by coordinate: the span of the data is then nothing special.
    reduced = span(problem.data.x, extra) if transformation is None else Span(problem.data.x, extra, None, None)
    rank, saves = reduced.x.shape[1], len(np.unique(steps))
    last = int(steps[-1])
    run = Run(problem, network, width, rank, len(extra), last, batch, kind, chosen, saves, transformation)
    if method is None:
        method = chosen_method(run)
    chain = instance("method", method, AbstractMethod, "be a method like Stepwise()").chain(run)
    count = -(-replicas // chain.lanes)
    require_room(run, chain, replicas, steps.size, seen, len(crew(count, chosen)))
    networks.check(problem, width, key, batch, transformation is None)
    factors = jax.tree.map(lambda number: np.asarray(number, kind), networks.factors(problem, width))
    host: dict[str, Any] = {
        "x": reduced.x.astype(kind),
        "y": problem.data.y.astype(kind),
        "at": reduced.at.astype(kind),
        "basis": None if reduced.basis is None else reduced.basis.astype(kind),
        "remainder": None if reduced.remainder is None else reduced.remainder.astype(kind),
        "bounds": thresholds(problem.data.weights),
        "weights": problem.data.weights.astype(kind) if batch is None else None,
        "output": factors.output,
        "increment": factors.increment,
        "half": None if half is None else np.asarray(half, np.int32),
    }
    lanes, plan = chain.lanes, pieces(steps, chain)
    report = _Reporter(progress, count * max(1.0, float(last)))

    def prepare(device: jax.Device) -> Callable[[int, Callable[[], None]], Any]:
        constants = Constants(**jax.device_put(host, device), batch=batch, inputs=inputs)
        base = jax.device_put(key, device)

        def lane(number: int, check: Callable[[], None]) -> Any:
            keys = _lane_keys(base, np.asarray(first + number * lanes + np.arange(lanes), np.uint32))
            real = jnp.asarray(min(lanes, replicas - number * lanes), jnp.int32)
            moving, fixed = networks.begin(network, constants, keys, real, width, observe is not None, not run.on_cpus)
            saved = []
            for piece in plan:
                check()
                moving, *found = chain.advance(network, problem.loss, observe, constants, keys, moving, fixed, *piece)
                jax.block_until_ready(found)
                report.add(float(piece.stops[-1] - piece.stops[0]))
                if piece.saves:
                    saved.append(jax.device_get(tuple(found)))
            last = np.array(moving.diverged), np.array(moving.forced)
            return *jax.tree.map(lambda *parts: np.concatenate(parts, axis=1), *saved), *last

        return lane

    parts = run_lanes(prepare, count, chosen)
    values, error, observed, diverged, forced = jax.tree.map(lambda *a: np.concatenate(a)[:replicas], *parts)
    diverged = diverged_at(diverged, values, steps)
    forced = None if error is None else forced
    made = Draws.of("simulate", key, range(first, first + replicas), half)
    samples = Samples(times, values, observed, steps, diverged, chain.name, width, lanes, error, forced, (), made)
    if samples.diverged:
        warnings.warn(
            f"{samples.diverged} of {replicas} replicas diverged, the first at step "
            f"{int(np.min(diverged[diverged >= 0]))}; they are recorded in `diverged_at`.",
            stacklevel=3,
        )
    method.review(samples)
    return samples


_lane_keys = jax.jit(jax.vmap(replica_key, in_axes=(None, 0)))


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
