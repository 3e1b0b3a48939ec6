"""How many replicas go together, and whether a run has room: bytes are predicted before anything is computed."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import jax

from jaxlimit._arguments import require
from jaxlimit._devices import DeviceMemoryError, facts
from jaxlimit._devices import available_on_device as available_on_device
from jaxlimit._devices import available_on_host as available_on_host
from jaxlimit._lanes import IN_FLIGHT
from jaxlimit.simulation._state import Chain, Run

CACHE = 3 * 2**18
"""Bytes of state that stay in the cache of a CPU's core."""

SHARE = 1 / 4
"""Of the memory of an accelerator, for one of the lanes that it holds at a time."""

LAUNCHES, PASSES, BUSY = 6, 2.5, 10
"""A step launches so many kernels, which read and write the parameters so many times in all, as read off programs
compiled for an H100; where an accelerator is full the passes take BUSY times as long as the launches."""

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


def lanes_in_steps(run: Run, state: int) -> int:
    """Replicas, each of `state` bytes, that keep an accelerator busy step by step: more would only be padding.

    From so many on, moving the parameters takes BUSY times as long as launching what moves them.
    """
    known = facts(run.devices)
    busy = BUSY * LAUNCHES * known.launch * known.bandwidth / (PASSES * parameters(run))
    return _rounded(min(busy, lanes_in_memory(run, state)))


def lanes_in_memory(run: Run, state: int) -> int:
    """Replicas, each of `state` bytes, that share the launches of long blocks: as many as memory has room for."""
    return _rounded(min(MOST_ON_DEVICE, SHARE * facts(run.devices).memory / (state + _once(run))))


def _once(run: Run) -> int:
    """Bytes of a replica's parameters as drawn, in float32 and all inputs, and of its features at a save."""
    return 4 * run.numbers(run.problem.data.inputs) + features(run, run.points + run.extra)


def _rounded(lanes: float) -> int:
    """Down to a power of two: kinds of devices that are much the same compute the same bits."""
    return 1 << max(0, int(lanes).bit_length() - 1)


def result_bytes(run: Run, times: int, observed: int) -> int:
    """Bytes of a replica's results: times × (points + extra + a stated error, and what is observed)."""
    return times * (run.dtype.itemsize * (run.points + run.extra + 1) + observed)


def observed_bytes(run: Run, saves: int, observed: int) -> int:
    """Bytes of a replica in a lane that is observed: its start in all inputs and in the span of the data, and what is
    observed at the saves of a call, `observed` bytes each, twice while they are put in order."""
    return run.dtype.itemsize * run.numbers(run.problem.data.inputs) + parameters(run) + 2 * saves * observed


def lane_bytes(run: Run, chain: Chain, observed: int = 0) -> int:
    """Bytes of the lane that a worker holds.

    Its parameters as drawn (float32, all inputs) and in the span of the data, what a method needs, the features of a
    save, and what observing takes.
    """
    return chain.lanes * (_once(run) + parameters(run) + chain.state + observed) + chain.scratch


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
            at_once = min(IN_FLIGHT, -(-replicas // chain.lanes))
            but = f"{_lanes(at_once, chain.lanes)} of width {run.width} need {_size(at_once * lane)}"
            fits = int((free / IN_FLIGHT - chain.scratch) // ((lane - chain.scratch) / chain.lanes))
            advice = f"`lanes={fits}` of the method would fit" if fits > 0 else "no number of `lanes` would fit"
            must = f"fit into the {_size(free)} that {device} has free"
            require(at_once * lane <= free, "width", must, f"{but}: {advice}")


@contextmanager
def shortage_named(run: Run, chain: Chain, device: jax.Device, measured: Callable[[], int | None]) -> Iterator[None]:
    """Turn a device's lack of memory into a ``DeviceMemoryError`` that says how many replicas would go together.

    `measured` tells the bytes of a lane as they were compiled, once it is asked for; None where it cannot.
    """
    try:
        yield
    except jax.errors.JaxRuntimeError as error:
        if "RESOURCE_EXHAUSTED" not in str(error):
            raise
        raise DeviceMemoryError(_shortage(run, chain, device, measured())) from error


def _shortage(run: Run, chain: Chain, device: jax.Device, lane: int | None) -> str:
    limit = (device.memory_stats() or {}).get("bytes_limit") if device.platform != "cpu" else None
    fits, taken = chain.lanes // 2, ""
    if limit and lane:
        fits = min(fits, int(limit * chain.lanes // (IN_FLIGHT * lane)))
        taken = f" (a lane as compiled takes {_size(lane)}, up to {IN_FLIGHT} are held, the device has {_size(limit)})"
    advice = f"take `lanes={fits}` of the method" if fits else "not even one goes there: take a narrower network"
    found = f"{device} ran out of memory with lanes of {chain.lanes} replicas of width {run.width}{taken}"
    return f"{found}; {advice}. Nothing was changed by itself, as bits depend on the width of lanes."


def _lanes(count: int, width: int) -> str:
    """So many lanes of so many replicas."""
    return f"a lane of {width} replicas" if count == 1 else f"{count} lanes of {width} replicas"


def _size(count: float) -> str:
    """Bytes in the unit people read."""
    for unit in ("B", "kB", "MB"):
        if abs(count) < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} GB"
