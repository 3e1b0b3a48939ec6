"""simulate: thousands of independent networks of one width, and their outputs at the save times."""

import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import require
from jaxlimit._lanes import Checkpoint, Progress, run_lanes
from jaxlimit._typing import ArrayLike, RandomKey
from jaxlimit.paths import Draws, Samples
from jaxlimit.problem import Problem
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._checks import diverged_at
from jaxlimit.simulation._draws import replica_key, thresholds
from jaxlimit.simulation._optimiser import Optimiser
from jaxlimit.simulation._pieces import Piece, pieces
from jaxlimit.simulation._prepared import Prepared, prepared
from jaxlimit.simulation._resumed import STILL, Passport, Place, digest, joined
from jaxlimit.simulation._state import Constants


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
    checkpoint: Checkpoint | None = None,
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
    completes. A `checkpoint` is offered the state of every lane about once a second, and a run of hours that was
    stopped goes on from what it kept, to the same bits. `simulation.plan` tells beforehand what a run will take.

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
    require(progress is None or callable(progress), "progress", "be a function", f"it is a {type(progress).__name__}")
    keeps = checkpoint is None or isinstance(checkpoint, Checkpoint)
    require(keeps, "checkpoint", "have the methods `load` and `offer`", f"it is a {type(checkpoint).__name__}")
    run = prepared(problem, width, ts, replicas, key, method, at, observe, batch, optimiser, dtype, devices, first)
    return train(run, progress, checkpoint, None)


def train(given: Prepared, progress: Progress | None, checkpoint: Checkpoint | None, half: int | None) -> Samples:
    """The run; with `half` 0 or 1, of that half of networks twice as wide, on every other of their samples."""
    run, networks, chain, observe, steps = given.run, given.networks, given.chain, given.observe, given.steps
    first, replicas, lanes, cut = given.first, given.replicas, chain.lanes, pieces(steps, chain)
    host = _shared(given, half)
    report = _Reporter(progress, given.lanes * max(1.0, float(run.steps)))
    kinds = type(run.network).__name__, type(run.problem.loss).__name__
    settings = chain.name, lanes, run.width, run.batch, steps.tolist(), *kinds
    # Hashing the data takes a moment where there are many, and is for checkpoints alone.
    identity = np.zeros(0, np.uint8) if checkpoint is None else digest(host, settings)

    def prepare(device: jax.Device) -> Callable[[int, Callable[[], None]], Any]:
        constants = Constants(**jax.device_put(host, device), batch=run.batch, inputs=run.problem.data.inputs)
        base = jax.device_put(given.key, device)

        def lane(number: int, check: Callable[[], None]) -> Any:
            keys = _lane_keys(base, np.asarray(first + number * lanes + np.arange(lanes), np.uint32))
            wanted = min(lanes, replicas - number * lanes)
            real, seen, together = jnp.asarray(wanted, jnp.int32), observe is not None, not run.on_cpus
            moving, fixed = networks.begin(run.network, constants, keys, real, run.width, seen, together)

            def advance(moving: Any, piece: Piece) -> tuple[Any, tuple[Any, Any, Any]]:
                loss = run.problem.loss
                after, *found = chain.advance(run.network, loss, observe, constants, keys, moving, fixed, *piece)
                jax.block_until_ready(found)
                return after, tuple(found)

            # The start is held by its place alone, and goes when the first piece is done.
            passport, place = Passport(identity, cut, keys, wanted), Place(0, moving, [])
            del moving
            kept = None if checkpoint is None else checkpoint.load(number)
            if kept is not None:
                place = passport.place(number, kept, lambda: advance(place.moving, STILL))
                report.add(float(cut[place.done - 1].stops[-1]))
            while place.done < len(cut):
                check()
                piece = cut[place.done]
                after, found = advance(place.moving, piece)
                report.add(float(piece.stops[-1] - piece.stops[0]))
                saved = [*place.saved, jax.device_get(found)] if piece.saves else place.saved
                place = Place(place.done + 1, after, saved)
                if checkpoint is not None and place.done < len(cut):
                    checkpoint.offer(number, partial(passport.state, place))
            last = np.array(place.moving.diverged), np.array(place.moving.forced)
            return *joined(place.saved), *last

        return lane

    parts = run_lanes(prepare, given.lanes, run.devices)
    values, error, observed, diverged, forced = jax.tree.map(lambda *a: np.concatenate(a)[:replicas], *parts)
    diverged = diverged_at(diverged, values, steps)
    forced = None if error is None else forced
    made = Draws.of("simulate", given.key, range(first, first + replicas), half)
    samples = Samples(
        given.times, values, observed, steps, diverged, chain.name, run.width, lanes, error, forced, (), made
    )
    given.method.warn(samples)
    return samples


def _shared(given: Prepared, half: int | None) -> dict[str, Any]:
    """The arrays of `Constants`, in the precision of the run."""
    run, reduced, data, kind = given.run, given.reduced, given.run.problem.data, given.run.dtype
    factors = given.networks.factors(run.problem, run.width)
    cast = partial(jax.tree.map, lambda array: np.array(array, kind))
    numbers = {"x": reduced.x, "y": data.y, "at": reduced.at, "basis": reduced.basis, "remainder": reduced.remainder}
    numbers |= {"output": factors.output, "increment": factors.increment}
    weights = data.weights if run.batch is None else None
    half_ = None if half is None else np.asarray(half, np.int32)
    return cast({**numbers, "weights": weights}) | {"bounds": thresholds(data.weights), "half": half_}


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
