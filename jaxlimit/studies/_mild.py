"""Mildly parameterised networks put to the test: which neurons learn, how fast the loss falls at first, and when."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import (
    float_dtype,
    instance,
    items,
    positive_integer,
    positive_number,
    random_key,
    real_array,
    require,
    widths_in_order,
)
from jaxlimit._lanes import Progress
from jaxlimit._typing import ArrayLike, RandomKey
from jaxlimit.claims import Report
from jaxlimit.diagnostics import empty_true_living, partition_conditions
from jaxlimit.losses import AbstractLoss, Exponential, Logistic, SquaredError
from jaxlimit.networks import Neurons, Shallow
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem
from jaxlimit.scalings import FixedStep
from jaxlimit.studies._call import Call
from jaxlimit.studies._mild_checks import require_room, require_stable, tail_steps
from jaxlimit.studies._mild_claims import claims
from jaxlimit.studies._mild_evidence import (
    Evidence,
    Observables,
    Plan,
    Run,
    at_eta,
    predict,
    untrained,
)
from jaxlimit.studies._mild_panels import panels
from jaxlimit.studies._run_store import RunStore, simulated

WIDTHS = (16, 64, 256, 1024, 10_000)
NARROW = (2, 4, 8)
ETAS = (0.05, 0.1, 0.2, 0.5)
LOSSES = (SquaredError(), Logistic(), Exponential())
START_WIDTHS = (12, 16, 24)
TAIL_TIMES = (1e3, 3e3, 1e4, 3e4)


def mild(
    problem: Problem,
    *,
    key: RandomKey,
    losses: Sequence[AbstractLoss] = LOSSES,
    widths: Sequence[int] = WIDTHS,
    narrow: Sequence[int] = NARROW,
    replicas: int = 32,
    etas: ArrayLike = ETAS,
    step_width: int = 256,
    share: float = 0.1,
    horizon: float = 4.0,
    descent_replicas: int = 512,
    partition_width: int = 64,
    start_widths: Sequence[int] = START_WIDTHS,
    starts: int = 20_000,
    tail_ts: ArrayLike = TAIL_TIMES,
    tail_width: int = 32,
    tail_eta: float = 0.5,
    dtype: Any = jnp.float32,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
    store: RunStore | str | Path | None = None,
) -> Report:
    """Test the early stage of training: networks a little wider than log n, gradient descent on all points.

    Claims: the assumptions; for each of `losses`: true-living and false-dead neurons only become more, true-dead and
    false-living ones only fewer, in all networks of width `partition_width` and all steps of a tenth of the problem's
    η, until t = (1 − share)·L(0)/|dL/dt(0)|; dL/dt at the start is the predicted −ℓ'(0)²n⁻²yᵀKy for every one of
    `widths` (from `descent_replicas` networks and one small step) and fluctuates like N^{−1/2}; η·T is flat over
    `widths`, and at `step_width` over `etas`, with T the first step at which L ≤ `share`·L(0). Then: some point has no
    true-living neuron at the start with probability at most n(3/4)^N (`starts` networks at each of `start_widths`); and
    for the exponential loss, where it is one of `losses`, t·L·log t is flat over `tail_ts`. Remarks show networks whose
    w is too large for the first of these, and how many of the networks of widths `narrow`, where some point may have no
    true-living neuron, reach the level. Training ends at `horizon` times that t = ηk. What fewer than 8 networks or
    100 starts say stays UNDECIDED, and so does a tail from early times, before t = 1000 or a hundred times the time
    that the first descent would take, or of fewer than three of them, where it is not flat.

    Raises ``ValueError`` for bad arguments, among them a scaling that is not `FixedStep`, a learning rate other than 1,
    labels that are not ±1, steps beyond stability, and laws of the start that `initial_descent_rate` and
    `empty_true_living` refuse, before anything is simulated. With a `store`, a `RunStore` or its folder, networks are
    kept there and never simulated twice. Source: references `mild`.

        >>> import jax, jaxlimit as jl
        >>> law = jl.Initial(jl.initial.Rademacher(), jl.initial.Normal(0, 0.001), width_power=-0.5)
        >>> network = jl.networks.Shallow(jl.activations.Relu(), law)
        >>> problem = jl.Problem(jl.data.aligned(points=4, inputs=3), network, jl.FixedStep(0.5, gamma=0))
        >>> small = {"widths": (8, 16), "replicas": 2, "descent_replicas": 2, "starts": 10, "etas": (0.5,)}
        >>> few = {"losses": (jl.SquaredError(),), "partition_width": 8, "devices": jax.devices()[:1]}
        >>> report = jl.studies.mild(problem, key=jax.random.key(0), step_width=8, **small, **few)
        >>> [claim.name for claim in report.claims][:3]
        ['assumptions', 'monotone sets, SquaredError', 'descent, SquaredError']
    """
    key, sizes, begun = random_key(key), widths_in_order(widths), widths_in_order(start_widths, "start_widths")
    below = widths_in_order(narrow, "narrow") if len(items("narrow", narrow, "widths")) else ()
    network = instance("problem", instance("problem", problem, Problem).network, Shallow, "have a Shallow network")
    data = problem.data
    instance("problem", problem.scaling, FixedStep, "have the scaling FixedStep")
    own = "have a learning rate of 1: the step is η"
    require(problem.learning_rate == 1, "problem", own, f"it has {problem.learning_rate:g}")
    signs = bool(np.all(np.abs(data.y) == 1.0))
    require(signs, "problem", "have targets 1 and −1", "some are other numbers")
    chosen = items("losses", losses, "losses")
    for loss in chosen:
        instance("losses", loss, AbstractLoss, "hold losses")
    names = [type(loss).__name__ for loss in chosen]
    require(0 < len(names) == len(set(names)), "losses", "hold a loss, and none twice", f"they are {names}")
    steps = _increasing("etas", etas)
    counts = {"replicas": replicas, "descent_replicas": descent_replicas, "starts": starts}
    for name, count in counts.items():
        require(positive_integer(name, count) >= 2, name, "be at least 2 (for a standard error)", f"it is {count}")
    places = {"step_width": step_width, "partition_width": partition_width, "tail_width": tail_width}
    for name, place in places.items():
        positive_integer(name, place)
    level = positive_number("share", share)
    require(level < 1, "share", "lie between 0 and 1", f"it is {level:g}")
    far, later = positive_number("horizon", horizon), _increasing("tail_ts", tail_ts)
    several = len(later) >= 2 and later[0] > math.e
    require(several, "tail_ts", "be several times above e, where log t > 1", f"it is {list(later)}")
    last = tail_steps(later, positive_number("tail_eta", tail_eta))
    kind = float_dtype(dtype)
    plan = Plan(key, sizes, steps, replicas, descent_replicas, step_width, partition_width, below)
    empty = tuple(empty_true_living(problem, width) for width in begun)
    predictions = [predict(problem, loss, sizes, level, far, jax.random.fold_in(key, 0)) for loss in chosen]
    require_room(plan, predictions, starts, begun, tail_width, kind.itemsize)
    require_stable(plan, predictions, devices)

    first = predictions[0].problem
    runs = [run for one in predictions for run in plan.training(one, data)] + plan.starts(first)
    look, still = Observables(data).empty, untrained(first)
    runs += [Run(still, width, plan.at(5, width), np.zeros(1), starts, look) for width in begun]
    slow = [at_eta(one.problem, tail_eta) for one in predictions if isinstance(one.problem.loss, Exponential)]
    runs += [Run(one, tail_width, plan.at(6, 0), last, replicas) for one in slow]
    found = list(simulated([_call(run, dtype, devices) for run in runs], store, progress))
    each = len(plan.training(predictions[0], data))
    early = [plan.gathered(one, found[k * each : (k + 1) * each]) for k, one in enumerate(predictions)]
    rest = found[each * len(early) :]
    evidence = Evidence(
        problem=problem,
        widths=sizes,
        etas=steps,
        early=tuple(early),
        conditions=(partition_conditions(data, _at_start(rest[0])), partition_conditions(data, _at_start(rest[1]))),
        start_widths=begun,
        starts=tuple(rest[2 : 2 + len(begun)]),
        empty=empty,
        tail=rest[-1] if slow else None,
        tail_eta=tail_eta,
    )
    tested, measured, remarks = claims(evidence)
    return Report(
        title="The early stage of training mildly parameterised networks",
        source="Ma & Wang, arXiv 2206.02139",
        claims=tested,
        panels=panels(evidence, measured),
        arrays=_arrays(evidence),
        configuration={
            "study": "mild",
            "activation": repr(network.activation),
            "initial": repr(network.initial),
            "points": data.points,
            "inputs": data.inputs,
            "scaling": repr(problem.scaling),
            "losses": [repr(loss) for loss in chosen],
            "widths": list(sizes),
            "narrow": list(below),
            "etas": list(steps),
            "share": level,
            "horizon": far,
            "end": {one.name: one.end for one in early},
            "small_steps": {one.name: list(one.small) for one in early},
            "start_widths": list(begun),
            "tail_ts": list(later),
            "tail_eta": tail_eta,
            **counts,
            **places,
            "dtype": np.dtype(dtype).name,
        },
        remarks=remarks,
    )


def _call(run: Run, dtype: Any, devices: Sequence[jax.Device] | None) -> Call:
    settings: dict[str, Any] = {"observe": run.observe, "batch": None, "dtype": dtype, "devices": devices}
    return Call(run.problem, run.width, run.stops, run.replicas, run.key, **settings)


def _increasing(name: str, given: ArrayLike) -> tuple[float, ...]:
    values = real_array(name, given, 1)
    fits = bool(values[0] > 0 and np.all(np.diff(values) > 0))
    require(fits, name, "be positive and increase", f"it is {values.tolist()}")
    return tuple(values.tolist())


def _at_start(samples: Samples) -> Neurons:
    """The neurons of every replica at the only save time."""
    c, w = samples.observed
    return Neurons(c[:, 0], w[:, 0])


def _arrays(evidence: Evidence) -> dict[str, Any]:
    """What the figures and verdicts rest on, ready for an .npz file."""
    arrays: dict[str, Any] = {"y": evidence.problem.data.y, "mu_0": np.array(evidence.conditions[0].mu_0)}
    for one in evidence.early:
        runs = {"width": one.by_width, "narrow": one.narrow, "eta": one.by_eta, "first_step": one.first_step}
        names = {
            "width": evidence.widths,
            "narrow": [samples.width for samples in one.narrow],
            "eta": evidence.etas,
            "first_step": evidence.widths,
        }
        for kind, several in runs.items():
            for at, samples in zip(names[kind], several, strict=True):
                arrays[f"g_{one.name}_{kind}_{at:g}"] = samples.values
        arrays[f"small_step_{one.name}"] = np.array(one.small)
        arrays[f"sign_{one.name}"] = one.sets.observed.patterns.sign
        arrays[f"living_{one.name}"] = one.sets.observed.patterns.living
    for width, samples in zip(evidence.start_widths, evidence.starts, strict=True):
        arrays[f"empty_{width}"] = samples.observed[:, 0]
    if evidence.tail is not None:
        arrays["tail_steps"], arrays["g_tail"] = evidence.tail.steps, evidence.tail.values
    return arrays
