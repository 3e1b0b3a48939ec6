"""What comes before a run: every check of its arguments, its method made ready, and what it will need."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
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
from jaxlimit._devices import chosen_devices
from jaxlimit._lanes import crew
from jaxlimit._span import Span, span
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.problem import Problem
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._checks import check_observable, require_representable
from jaxlimit.simulation._choose import chosen_method
from jaxlimit.simulation._draws import REPLICA_LIMIT, drawn
from jaxlimit.simulation._families import family
from jaxlimit.simulation._family import AbstractFamily
from jaxlimit.simulation._memory import lane_bytes, observed_bytes, require_room, result_bytes
from jaxlimit.simulation._optimiser import Optimiser
from jaxlimit.simulation._pieces import saves_at_once
from jaxlimit.simulation._state import Chain, Run


class Prepared(NamedTuple):
    """A run that has passed every check. `steps` are those of the save `times`, `reduced` the data in their span.

    `lanes` is how many lanes the replicas make; `result` and `lane` are the bytes of a replica's results and of a
    worker's lane.
    """

    run: Run
    networks: AbstractFamily
    method: AbstractMethod
    chain: Chain
    times: Host
    steps: Host
    key: RandomKey
    observe: Callable[[Any, Any], Any] | None
    reduced: Span
    replicas: int
    first: int
    lanes: int
    result: int
    lane: int


def prepared(
    problem: Problem,
    width: Any,
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
) -> Prepared:
    """Check the arguments of `simulate`, and choose what they leave open; nothing is simulated."""
    network = instance("problem", problem, Problem).network
    networks = family(network)
    width, replicas = networks.width(problem, width), positive_integer("replicas", replicas)
    batch, first = optional_positive_integer("batch", batch), natural_number("first", first)
    require(replicas <= REPLICA_LIMIT, "replicas", "be at most 2³²", f"it is {replicas}")
    require(first + replicas <= REPLICA_LIMIT, "first", "keep replica numbers below 2³²", f"it is {first}")
    times, key, kind = save_times(ts), random_key(key), float_dtype(dtype)
    steps = np.array([problem.scaling.steps(t, width) for t in times], dtype=np.int64)
    require(observe is None or callable(observe), "observe", "be a function", f"it is a {type(observe).__name__}")
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
    lanes = -(-replicas // chain.lanes)
    watched = 0 if observe is None else observed_bytes(run, saves_at_once(steps, chain), seen)
    result, lane = result_bytes(run, steps.size, seen), lane_bytes(run, chain, watched)
    require_room(run, chain, replicas, result, lane, len(crew(lanes, chosen)))
    networks.check(problem, width, key, batch, transformation is None)
    return Prepared(
        run, networks, method, chain, times, steps, key, observe, reduced, replicas, first, lanes, result, lane
    )
