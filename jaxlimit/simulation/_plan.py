"""What a run will take, before it is run."""

from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxlimit._devices import kinds
from jaxlimit._lanes import crew
from jaxlimit._typing import ArrayLike, RandomKey
from jaxlimit.problem import Problem
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._draws import REPLICA_LIMIT
from jaxlimit.simulation._optimiser import Optimiser
from jaxlimit.simulation._prepared import prepared


class Plan(eqx.Module):
    """What `simulate` would do with the same arguments, and what a replica of it takes.

    `method` is the method with all that the machine decided written out, `lanes` replicas at a time: given to
    `simulate` in place of None it makes the same bits, and asks another machine for the same computation (which may
    refuse it: native code is for CPUs with numba); `name` is what `Samples.method` will say. Up to `workers` lanes go
    on at a time, each in `lane_bytes` of memory, the host's on CPUs and elsewhere the device's; `devices` names the
    kinds. A replica takes `steps` steps and about `seconds` by the cost model: of one CPU core of 2023, or, as its
    share of a full lane, of an accelerator by its data sheet, which nobody has held against time. Its results take
    `result_bytes` of the host's memory, twice while they are put together.
    """

    method: AbstractMethod
    name: str
    lanes: int
    workers: int
    seconds: float
    steps: int
    result_bytes: int
    lane_bytes: int
    devices: str


def plan(
    problem: Problem,
    width: int | tuple[int, ...],
    ts: ArrayLike,
    *,
    key: RandomKey,
    method: AbstractMethod | None = None,
    at: ArrayLike | None = None,
    observe: Callable[[Any, Any], Any] | None = None,
    batch: int | None = 1,
    optimiser: Optimiser | None = None,
    dtype: Any = jnp.float32,
    devices: Sequence[jax.Device] | None = None,
) -> Plan:
    """What `simulate` would do with these arguments: nothing is simulated, and a run of days is foreseen in a second.

    For one who sets up many runs: to learn that one would be refused before another has begun, to share work out
    evenly, and to pin the method, so that every machine of a sweep computes the same.

    Raises ``ValueError``, and warns, as `simulate` does for a single replica: what is wrong for one is wrong for any
    number.

        >>> import jax, jaxlimit as jl
        >>> problem = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> key = jax.random.key(0)
        >>> foreseen = jl.simulation.plan(problem, 64, [0.0, 1.0], key=key, method=jl.Stepwise(native=False))
        >>> foreseen.method, foreseen.steps, foreseen.result_bytes
        (Stepwise(lanes=64, native=False), 64, 40)
    """
    found = prepared(problem, width, ts, 1, key, method, at, observe, batch, optimiser, dtype, devices, 0)
    run, chain = found.run, found.chain
    return Plan(
        method=found.method.pinned(chain),
        name=chain.name,
        lanes=chain.lanes,
        workers=len(crew(REPLICA_LIMIT, run.devices)),
        seconds=run.steps * chain.seconds,
        steps=run.steps,
        result_bytes=found.result,
        lane_bytes=found.lane,
        devices=kinds(run.devices),
    )
