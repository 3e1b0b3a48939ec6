"""What the study of the early stage refuses before its first run: steps, stability and memory, by the user's names."""

import math
from collections.abc import Sequence

import jax
import numpy as np

from jaxlimit import simulation
from jaxlimit._arguments import STEP_LIMIT, require
from jaxlimit._devices import available_on_host, cores
from jaxlimit._typing import Host, RandomKey
from jaxlimit.problem import Problem
from jaxlimit.studies._mild_evidence import FINER, Plan, Prediction, at_eta, step_of, steps_until, with_large_w
from jaxlimit.studies._mild_steps import largest_eigenvalue

MOST_PATTERNS = 2**28
"""Bytes of the sets of neurons that a loss may take."""

NEAR = 1.5
"""From here on `simulate`, which judges a step by 1024 neurons, may find it beyond 2."""


def tail_steps(ts: Sequence[float], eta: float) -> Host:
    """The steps of size η that come nearest to these times."""
    steps = np.round(np.array(ts) / eta)
    must = f"be different numbers of steps of `tail_eta` = {eta:g}, all beyond t = e, where log t > 1"
    apart = bool(np.all(np.diff(steps) > 0)) and float(eta * steps[0]) > math.e
    require(apart, "tail_ts", must, f"they are {steps.tolist()} steps")
    few = bool(steps[-1] < STEP_LIMIT)
    require(few, "tail_ts", f"stay below 2³¹ steps of `tail_eta` = {eta:g}", f"the last means {steps[-1]:.3g}")
    return steps


def require_room(
    plan: Plan,
    predictions: Sequence[Prediction],
    starts: int,
    start_widths: Sequence[int],
    tail_width: int,
    itemsize: int,
) -> None:
    """Raise ``ValueError`` where the results of all runs, or the widest networks, do not fit into the memory."""
    data, eta = predictions[0].problem.data, step_of(predictions[0].problem)
    for one in predictions:
        saves = steps_until(one.unit, eta / FINER)
        size = plan.replicas * saves * plan.partition_width * (2 + data.points // 8)
        must = "be large enough for the sets of all steps to be kept"
        require(size <= MOST_PATTERNS, "eta", must, f"with η = {eta:g} they take {size:.2g} bytes")
    free = available_on_host()
    if free is None:
        return
    outputs, neuron = itemsize * (data.points + 1.0), itemsize * (4.0 * (data.inputs + 1) + 2.0 * data.points)
    several = plan.replicas * outputs
    every = sum(steps_until(one.end, eta) for one in predictions)
    other = sum(steps_until(one.end, step) for one in predictions for step in plan.etas)
    needed = {
        "eta": several * (len(plan.widths) + len(plan.narrow)) * every,
        "etas": several * other,
        "descent_replicas": 2.0 * outputs * plan.descent_replicas * len(plan.widths) * len(predictions),
        "starts": starts * (outputs + 1.0) * len(start_widths),
        "replicas": plan.replicas * itemsize * (data.inputs + 1.0) * (plan.widths[-1] + plan.partition_width),
    }
    # A network at work is held by every core: its parameters as drawn, as they are, and moves and features.
    widest = {
        "widths": plan.widths[-1],
        "narrow": plan.narrow[-1] if plan.narrow else 1,
        "step_width": plan.step_width,
        "partition_width": plan.partition_width,
        "start_widths": start_widths[-1],
        "tail_width": tail_width,
    }
    for name, width in widest.items():
        size = neuron * width * min(cores(), plan.replicas)
        must = f"be of networks that fit into {free / 1e9:.3g} GB of free memory"
        require(size <= free, name, must, f"width {width} takes {size / 1e9:.3g} GB")
    # What a run found is held twice while it is put together.
    name, total = max(needed, key=lambda one: needed[one]), 2.0 * sum(needed.values())
    must = f"leave room for the results of all runs in {free / 1e9:.3g} GB of free memory"
    require(total <= free, name, must, f"they take {total / 1e9:.3g} GB, most of them by this")


def require_stable(plan: Plan, predictions: Sequence[Prediction], devices: Sequence[jax.Device] | None) -> None:
    """Raise ``ValueError`` where a step of some run is beyond stability, by the largest curvature that is known."""
    curvatures = [one.problem.loss.curvature or 0.0 for one in predictions]
    one = predictions[int(np.argmax(curvatures))]
    curvature, given, sets = max(curvatures), one.problem, plan.partition_width
    _stable("eta", one.finer, sets, plan.of_sets(), curvature, devices)
    _stable("eta", with_large_w(one.finer, sets), sets, plan.of_sets(), curvature, devices)
    for width in (*plan.widths, *plan.narrow):
        _stable("eta", given, width, plan.at(2, width), curvature, devices)
    for eta in plan.etas:
        _stable("etas", at_eta(given, eta), plan.step_width, plan.at(4, eta), curvature, devices)


def _stable(
    name: str, problem: Problem, width: int, key: RandomKey, curvature: float, devices: Sequence[jax.Device] | None
) -> None:
    eta = step_of(problem)
    step = eta * curvature * largest_eigenvalue(problem, width) if curvature else 0.0
    must = "keep a step stable, η max|ℓ''| λ_max(K diag π) ≤ 2"
    require(step <= 2.0, name, must, f"a step of {eta:g} at width {width} gives {step:.3g}")
    if step > NEAR:
        try:
            simulation.plan(problem, width, [0.0], key=key, batch=None, devices=devices)
        except ValueError as error:
            raise ValueError(str(error).replace("`learning_rate`", f"`{name}`")) from None
