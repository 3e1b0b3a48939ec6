"""How many replicas go together, and whether a run has room: bytes are predicted before anything is computed."""

import jax

from jaxlimit._arguments import require
from jaxlimit._lanes import available_on_host as available_on_host
from jaxlimit.simulation._state import Chain, Run

CACHE = 3 * 2**18
"""Bytes of state that stay in the cache of a CPU's core."""

DEVICE = 2**32
"""Bytes of state that fill an accelerator."""

MOST_ON_CPU, MOST_ON_DEVICE = 64, 1024
"""More replicas than these need not go together."""


def parameters(run: Run) -> int:
    """Bytes of the parameters of a replica in the span of the data."""
    return run.dtype.itemsize * run.numbers(run.rank)


def features(run: Run, points: int) -> int:
    """Bytes of one number per neuron and point."""
    return run.dtype.itemsize * run.neurons * points


def lanes_in_cache(run: Run) -> int:
    """Replicas whose parameters a core keeps close while one program advances them together."""
    return max(1, min(MOST_ON_CPU, CACHE // parameters(run)))


def lanes_on_device(state: int) -> int:
    """Replicas that fill an accelerator, each of `state` bytes."""
    return max(1, min(MOST_ON_DEVICE, DEVICE // state))


def result_bytes(run: Run, times: int, observed: int) -> int:
    """Bytes of a replica's results: times × (points + extra + a stated error, and what is observed)."""
    return times * (run.dtype.itemsize * (run.points + run.extra + 1) + observed)


def lane_bytes(run: Run, chain: Chain) -> int:
    """Bytes of the lane that a worker holds.

    Its parameters as drawn (float32, all inputs) and in the span of the data, what a method needs, and the features of
    a save.
    """
    drawn = 4 * run.numbers(run.problem.data.inputs)
    each = drawn + parameters(run) + chain.state + features(run, run.points + run.extra)
    return chain.lanes * each + chain.scratch


def require_room(run: Run, chain: Chain, replicas: int, result: int, lane: int, workers: int) -> None:
    """Raise ``ValueError`` with the number that would fit, where a run does not.

    Results, `result` bytes a replica, live in the memory of the host, twice while they are put together. Each worker
    holds a lane of `lane` bytes.
    """
    host = available_on_host()
    on_host = workers * lane if run.on_cpus else 0
    if host is not None:
        left = host - on_host
        wanted = f"needs {_size(workers * lane)} for {workers} lanes of {chain.lanes}"
        require(left > 0, "width", f"fit into {_size(host)} of free memory", f"width {run.width} {wanted}")
        fits = left // (2 * result)
        require(
            replicas <= fits,
            "replicas",
            f"be at most {fits} for results to fit into {_size(left)} of free memory",
            f"it is {replicas} at {_size(result)} each, twice while they are joined; run parts (`first`) and keep "
            "`statistics.Moments`",
        )
    for device in run.devices:
        free = available_on_device(device)
        if free is not None:
            but = f"a lane of {chain.lanes} replicas of width {run.width} needs {_size(lane)}; choose smaller `lanes`"
            require(lane <= free, "width", f"fit into the {_size(free)} that {device} has free", but)


def available_on_device(device: jax.Device) -> int | None:
    """Free bytes of an accelerator; None where the device does not say."""
    stats = device.memory_stats() or {} if device.platform != "cpu" else {}
    if "bytes_limit" not in stats:
        return None
    return int(stats["bytes_limit"]) - int(stats.get("bytes_in_use", 0))


def _size(count: float) -> str:
    """Bytes in the unit people read."""
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
