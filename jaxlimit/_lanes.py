"""Fixed-width lanes of replicas over every core and every device; the only file that shares work out among them.

A lane is a fixed number of replicas computed by one program. Bits depend on the lane width and on
nothing else here: not on the number of replicas, of lanes, of workers or of devices, nor on the order
in which lanes finish. A queue feeds the lanes to workers. An accelerator has two: while the results of one lane travel
to the host, the steps of the other run. A CPU device has one per core, because XLA runs one lane's loop of small
operations on one core (measured: two threads on two cores double the throughput, one program over all replicas does
not).
"""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import Any, Protocol, runtime_checkable

import jax
import numpy as np

from jaxlimit._devices import cores

IN_FLIGHT = 2
"""Lanes of an accelerator at a time: its queue of programs is never empty, and its memory holds both."""

Progress = Callable[[float, float], None]
"""Called with (work done, all work), both in the same arbitrary unit, from any thread."""


@runtime_checkable
class Checkpoint(Protocol):
    """Where `simulate` leaves the state of a run that lasts for hours, and finds it when the run is started again.

    Any object with these two methods. Lanes are numbered from 0 in each run. The state of one is a dictionary of a few
    plain arrays, a few times the size of its parameters, with all that it has recorded. A run that goes on from what
    was kept has the bits of one that was never stopped, on the same kind of machine with the same versions; a state
    that does not fit it, of another seed, width, data or method, is refused with a ``ValueError``, but to keep
    different networks and observables apart is the checkpoint's own task. Short runs are one call, and offer nothing.

        >>> import jax, jaxlimit as jl
        >>> class Memory(dict):
        ...     def load(self, lane):
        ...         return self.get(lane)
        ...
        ...     def offer(self, lane, state):
        ...         self[lane] = state()
        >>> isinstance(Memory(), jl.simulation.Checkpoint)
        True
        >>> problem = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> samples = jl.simulate(problem, 64, [1.0], replicas=5, key=jax.random.key(0), checkpoint=Memory())
    """

    def load(self, lane: int) -> Mapping[str, np.ndarray] | None:
        """What was last kept of this lane; None where nothing was. Called before the lane starts."""

    def offer(self, lane: int, state: Callable[[], dict[str, np.ndarray]]) -> None:
        """A chance to keep the state of a lane, about once a second, between two calls of its program.

        `state()` copies it to the host, and costs nothing where it is not called; afterwards it is of no use, as the
        lane moves on. Called from worker threads, of several lanes at a time and never twice at a time for one lane.
        What is raised here stops the run.
        """


class CancelledError(Exception):
    """Raised inside a worker when the run has been stopped."""


def run_lanes(
    prepare: Callable[[jax.Device], Callable[[int, Callable[[], None]], Any]],
    lanes: int,
    devices: Sequence[jax.Device],
) -> list[Any]:
    """The results of lanes 0, 1, …, in order.

    `prepare(device)` places what all lanes share and returns `lane(number, check)`, which computes one
    lane and calls `check()` between its pieces. The first error stops the others and is raised; so
    does an interrupt, after at most one piece.
    """
    pending: Iterator[int] = iter(range(lanes))
    lock, stop = threading.Lock(), threading.Event()
    results: list[Any] = [None] * lanes

    def check() -> None:
        if stop.is_set():
            raise CancelledError

    def worker(lane: Callable[[int, Callable[[], None]], Any]) -> None:
        while True:
            with lock:
                number = next(pending, None)
            if number is None:
                return
            check()
            results[number] = lane(number, check)

    workers = crew(lanes, devices)
    with ThreadPoolExecutor(len(workers), thread_name_prefix="lane") as pool:
        try:
            shared = {device: prepare(device) for device in dict.fromkeys(workers)}
            futures = [pool.submit(worker, shared[device]) for device in workers]
            _until_done(futures)
        except BaseException:
            stop.set()
            raise
    return results


def crew(lanes: int, devices: Sequence[jax.Device]) -> list[jax.Device]:
    """One entry per worker: the device it feeds."""
    hosts = sum(device.platform == "cpu" for device in devices)
    each = [max(1, cores() // hosts) if device.platform == "cpu" else IN_FLIGHT for device in devices]
    rounds = [device for turn in range(max(each)) for device, n in zip(devices, each, strict=True) if turn < n]
    return rounds[:lanes]


def _until_done(futures: Sequence[Future[None]]) -> None:
    """Wait for all, but raise the first error as soon as it is known; short waits let Ctrl-C through."""
    waiting = set(futures)
    while waiting:
        finished, waiting = wait(waiting, timeout=0.2, return_when="FIRST_EXCEPTION")
        for future in finished:
            future.result()
