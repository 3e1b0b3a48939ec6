"""simulate: thousands of independent networks of one width, and their outputs at the save times."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import require
from jaxlimit._devices import kinds
from jaxlimit._lanes import Checkpoint, Progress, run_lanes
from jaxlimit._typing import ArrayLike, RandomKey
from jaxlimit.paths import Draws, Samples
from jaxlimit.problem import Problem
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._checks import diverged_at
from jaxlimit.simulation._lane import lanes_of
from jaxlimit.simulation._optimiser import Optimiser
from jaxlimit.simulation._prepared import Prepared, prepared


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
    a step takes all points (αηN^{1−2γ} in the place of α/N for `FixedStep`), and ``MemoryError`` with the `lanes` that
    would fit where a device runs out of memory. Warns if E c ≠ 0 with γ < 1, where no limit exists.
    Source: references `xavier`, `normalisation`, `multilayer`.

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
    run, steps, chain, first = given.run, given.steps, given.chain, given.first
    report = _Reporter(progress, given.lanes * max(1.0, float(run.steps)))
    on_device = lanes_of(given, half, checkpoint, report.add)
    parts = run_lanes(lambda device: on_device(device).through, given.lanes, run.devices)
    values, error, observed, diverged, forced = jax.tree.map(lambda *a: np.concatenate(a)[: given.replicas], *parts)
    samples = Samples(
        ts=given.times,
        values=values,
        observed=observed,
        steps=steps,
        diverged_at=diverged_at(diverged, values, steps),
        method=chain.name,
        width=run.width,
        lanes=chain.lanes,
        error=error,
        forced=None if error is None else forced,
        draws=Draws.of("simulate", given.key, range(first, first + given.replicas), half),
        devices=kinds(run.devices),
    )
    given.method.warn(samples)
    return samples


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
