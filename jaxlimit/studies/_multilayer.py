"""The multilayer mean-field limit put to the test: coupling, diversity of neurons, and a loss that vanishes."""

import dataclasses
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import (
    instance,
    items,
    positive_integer,
    positive_number,
    random_key,
    require,
    save_times,
    widths_in_order,
)
from jaxlimit._lanes import Progress
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.claims import Report
from jaxlimit.initial import AbstractEmbedding, IndependentLayers
from jaxlimit.losses import AbstractLoss, BoundedQuadratic, Huber
from jaxlimit.networks import AbstractNetwork, Layers, Multilayer
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem
from jaxlimit.simulation import plan
from jaxlimit.studies._call import Call
from jaxlimit.studies._diverged import finite
from jaxlimit.studies._multilayer_checks import laws, require_reached, with_network, with_step
from jaxlimit.studies._multilayer_claims import claims
from jaxlimit.studies._multilayer_evidence import Coupling, Evidence, Training, distances, everything
from jaxlimit.studies._multilayer_panels import panels
from jaxlimit.studies._run_store import RunStore, simulated

WIDTHS = (16, 32, 64, 128)
SPREAD_WIDTHS = (64, 128, 256, 512)
RESOLUTIONS = (20, 40, 80, 160)
TIMES = (0.0, 0.5, 1.0, 2.0)
LOSSES = (Huber(), BoundedQuadratic())
RATIO = 8
"""Neurons of the reference per neuron of the widest network."""


def multilayer(
    problem: Problem,
    *,
    key: RandomKey,
    widths: Sequence[int] = WIDTHS,
    reference: int = 1024,
    replicas: int = 128,
    ts: ArrayLike = TIMES,
    step_width: int = 32,
    step_replicas: int = 192,
    resolutions: Sequence[int] = RESOLUTIONS,
    spread_widths: Sequence[int] = SPREAD_WIDTHS,
    spread_replicas: int = 12,
    spread_end: float = 4.0,
    losses: Sequence[AbstractLoss] = LOSSES,
    loss_width: int = 128,
    loss_replicas: int = 4,
    end: float = 100.0,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
    store: RunStore | str | Path | None = None,
) -> Report:
    """Test the mean-field limit of networks with several hidden layers, all of them equally wide.

    Claims: the assumptions of the theorem on the distance to the limit; RMS |w_i^n − w_i| for every layer, neuron by
    neuron, and of the output, fall like n^{−1/2} over `widths` (all points at every step, ε as in the problem), where
    the limit has `reference` neurons, eight times the widest at least, of which the network's own are the first; at
    `step_width` the distance of the chain to the flow of its own neurons falls like ε^{1/2} with fresh samples and like
    ε with all points, over ε = 1/`resolutions`; at four layers and after training, H_2 stops depending on the neuron
    for independent initial weights, like n^{−1/2}, at three it does not, and `CorrelatedLayers` cures it; Gram matrices
    of the features stay positive definite, certified; the loss vanishes for each of `losses`, together with max |∂_t
    w_L|, by the time `end`. Remarks list which conditions of the theorem on global convergence are known to hold, and
    say how well the first layer's neurons cover the unit ball before and after. Distances to a reference of N neurons
    are multiplied by (1 − n/N)^{−1/2}, for the n that it shares.

    The networks whose neurons are told apart, of three and four layers, take the first activation, the output and the
    loss of the problem, its laws of w_1 and w_L and, in the middle, that of w_2. They have no biases, and schedules
    that differ between layers give way to 1. A problem with `CorrelatedLayers` is cured by its own; its independent
    counterparts draw the middle from N(m, 1) with m its `mean`, or 1 where that is 0.

    With a `store`, a `RunStore` or its folder, networks are kept there and never simulated twice.

    A claim on networks some of which diverged is UNDECIDED, because those that are left are the tame ones, and so is a
    rate of distances that do not vary.

    Raises ``ValueError`` for bad arguments before anything is simulated, among them what the theorem does not cover:
    another scaling, a single hidden layer (`mean_field` is for that), layers that do not learn, and independent
    middle or last weights with mean zero, whose gradients vanish with the width; times that are no whole multiples of
    ε and of every 1/`resolutions`; and fewer than 8 networks for a rate or 4 for a loss. Source: references
    `multilayer`.

        >>> import jax, jaxlimit as jl
        >>> normal, tanh = jl.initial.Normal, jl.activations.Tanh()
        >>> law = jl.initial.IndependentLayers((normal(0, 1), normal(1, 1), normal(1, 1)))
        >>> network = jl.networks.Multilayer((tanh, tanh), law)
        >>> problem = jl.Problem(jl.data.sphere(3, 2), network, jl.LayerwiseMeanField(0.05), jl.Huber())
        >>> small = {"widths": (4,), "reference": 32, "replicas": 8, "step_width": 4, "step_replicas": 8, "end": 1.0}
        >>> few = {"resolutions": (10,), "spread_widths": (8,), "loss_width": 8, "ts": (0.0, 1.0)}
        >>> report = jl.studies.multilayer(problem, key=jax.random.key(0), **small, **few)
        >>> [claim.verdict.value for claim in report.claims if claim.name == "assumptions"]
        ['HOLDS']
    """
    key, times, sizes = random_key(key), save_times(ts), widths_in_order(widths)
    first, middle, last, cured = laws(problem)
    network: Any = problem.network
    require(times[0] == 0.0 and times.size > 1, "ts", "start at 0 and go on", f"it is {times.tolist()}")
    most = RATIO * sizes[-1]
    enough = positive_integer("reference", reference) >= most
    require(enough, "reference", f"be {RATIO} times the widest network or more, {most}", f"it is {reference}")
    spread_sizes, counts = widths_in_order(spread_widths, "spread_widths"), widths_in_order(resolutions, "resolutions")
    for name, count, least in (
        ("replicas", replicas, 8),
        ("step_replicas", step_replicas, 8),
        ("spread_replicas", spread_replicas, 8),
        ("loss_replicas", loss_replicas, 4),
    ):
        require(positive_integer(name, count) >= least, name, f"be at least {least}", f"it is {count}")
    own, trained_to = positive_integer("step_width", step_width), positive_number("end", end)
    positive_number("spread_end", spread_end)
    chosen = [instance("losses", loss, AbstractLoss) for loss in items("losses", losses, "losses")]
    require(len(chosen) > 0, "losses", "hold one loss or more", "it is empty")
    wide = positive_integer("loss_width", loss_width)
    points = problem.data.points
    require(wide >= points, "loss_width", f"be {points} or more (a Gram matrix of as many points)", f"it is {wide}")
    work = _Work(progress, 1 + 2 + 3 + len(chosen))
    hidden, activation = network.layers - 1, network.activations[0]
    finer = [with_step(problem, 1.0 / count) for count in counts]
    require_reached(problem, finer, times)
    compared: dict[str, tuple[AbstractEmbedding, int]] = {
        "independent, 4 layers": (IndependentLayers((first, middle, middle, last)), 4),
        "independent, 3 layers": (IndependentLayers((first, middle, last)), 3),
        "correlated, 4 layers": (cured, 4),
    }
    others = {
        name: with_network(problem, Multilayer((activation,) * (layers - 1), law, network.output))
        for name, (law, layers) in compared.items()
    }
    trained = [dataclasses.replace(problem, loss=loss) for loss in chosen]
    # Every step is found stable or refused before anything is trained.
    for one, n, batch in (
        (finer[0], own, 1),
        *((p, spread_sizes[0], None) for p in others.values()),
        *((p, wide, None) for p in trained),
    ):
        depth = one.network.layers - 1  # type: ignore[attr-defined]
        plan(one, (n,) * depth, [0.0], key=key, batch=batch, devices=devices)

    def call(one: Problem, width: int, count: int, own_key: RandomKey, **changes: Any) -> Call:
        depth = one.network.layers - 1  # type: ignore[attr-defined]
        settings = {"ts": times, "observe": everything, "batch": None, "devices": devices, **changes}
        return Call(one, (width,) * depth, replicas=count, key=own_key, **settings)

    # Every width starts from the same key: one limit per replica serves them all.
    streams = [jax.random.fold_in(key, number) for number in range(6)]
    calls = [call(problem, n, replicas, streams[0]) for n in sizes]
    kinds = (("SGD", 1, step_replicas, streams[1]), ("full batch", None, max(8, step_replicas // 2), streams[2]))
    calls += [call(one, own, many, stream, batch=batch) for _, batch, many, stream in kinds for one in finer]
    late = np.array([0.0, spread_end])
    for other in others.values():
        observe = SecondLayer(other.network, problem.data.x)
        # Independent networks at every width: the fit takes its errors as independent.
        each = ((n, jax.random.fold_in(streams[3], n)) for n in spread_sizes)
        calls += [call(other, n, spread_replicas, own_key, ts=late, observe=observe) for n, own_key in each]
    saved = trained_to * np.array([0.0, 0.01, 0.03, 0.1, 0.2, 0.4, 0.7, 1.0])
    calls += [call(one, wide, loss_replicas, streams[4], ts=saved) for one in trained]
    found = simulated(calls, store, None if progress is None else work.simulating)

    together = list(islice(found, len(sizes)))
    coupling = Coupling(sizes, *distances(problem, together, (reference,) * hidden, times, streams[0]))
    work.done()
    steps = {}
    for name, _, _, stream in kinds:
        apart = [distances(one, [next(found)], (own,) * hidden, times, stream) for one in finer]
        steps[name] = Coupling(counts, [each[0][0] for each in apart], apart[0][1])
        work.done()
    spreads = {}
    for name in others:
        spreads[name] = [_unless_diverged(samples) for samples in islice(found, len(spread_sizes))]
        work.done()
    trainings = []
    for one in trained:
        trainings.append(Training(one, next(found)))
        work.done()
    evidence = Evidence(problem, coupling, steps, spread_sizes, spreads, tuple(trainings), reference, own, streams[5])
    tested, measured, remarks = claims(evidence)
    return Report(
        title="The mean-field limit of networks with several hidden layers",
        source="Nguyen & Pham, arXiv 2001.11443; Pham & Nguyen, arXiv 2006.09355",
        claims=tested,
        panels=panels(evidence, measured),
        arrays=evidence.arrays(measured),
        configuration={
            "study": "multilayer",
            "network": repr(network),
            "loss": repr(problem.loss),
            "losses": [repr(loss) for loss in chosen],
            "scaling": repr(problem.scaling),
            "points": points,
            "inputs": problem.data.inputs,
            "learning_rate": problem.learning_rate,
            "ts": times.tolist(),
            "widths": list(sizes),
            "reference": reference,
            "replicas": replicas,
            "step_width": own,
            "step_replicas": step_replicas,
            "resolutions": list(counts),
            "compared": {name: repr(law) for name, (law, _) in compared.items()},
            "spread_widths": list(spread_sizes),
            "spread_replicas": spread_replicas,
            "spread_end": float(spread_end),
            "loss_width": wide,
            "loss_replicas": loss_replicas,
            "end": trained_to,
        },
        remarks=remarks,
    )


class _Work:
    """Progress: half of it simulation, half of it the parts of the study that are done."""

    def __init__(self, progress: Progress | None, total: int):
        self._progress, self._total, self._done, self._share = progress, total, 0, 0.0

    def simulating(self, done: float, total: float) -> None:
        """So much has been simulated."""
        self._share = done / total
        self._report()

    def done(self) -> None:
        """One more part."""
        self._done += 1
        self._report()

    def _report(self) -> None:
        if self._progress is not None:
            self._progress(0.5 * (self._share + self._done / self._total), 1.0)


class SecondLayer(eqx.Module):
    """Standard deviation over neurons of H_2 [points], and of its change since the start."""

    network: AbstractNetwork
    x: Float[Host, "points inputs"]

    def __call__(self, now: Layers, start: Layers) -> tuple[jax.Array, jax.Array]:
        """Called by `simulate` at every save time."""
        network: Any = self.network
        inputs = jnp.asarray(self.x, jnp.float32)
        second, before = (network.hidden(p, inputs)[1] for p in (now, start))
        return jnp.std(second, axis=1, ddof=1), jnp.std(second - before, axis=1, ddof=1)


def _unless_diverged(samples: Samples) -> Any:
    """What was observed, NaN for networks that diverged."""
    kept = finite(samples)
    return jax.tree.map(
        lambda leaf: np.where(kept[:, None, None], np.asarray(leaf, np.float64), np.nan), samples.observed
    )
