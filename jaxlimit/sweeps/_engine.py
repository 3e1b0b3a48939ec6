"""Doing what is missing: in this process, or by any executor; nothing is lost by stopping."""

import contextlib
import hashlib
import itertools
import queue
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from jaxlimit._arguments import instance, natural_number, positive_integer, require
from jaxlimit._devices import DeviceMemoryError
from jaxlimit.sweeps._checkpoint import BlockCheckpoint
from jaxlimit.sweeps._files import remove_stale
from jaxlimit.sweeps._format import Variables
from jaxlimit.sweeps._journal import Journal
from jaxlimit.sweeps._spec import LONGEST, RESERVED, Cell, Job
from jaxlimit.sweeps._store import SPEC, Store

Work = Callable[[Mapping[str, Any], int, int, BlockCheckpoint], Variables]
"""(settings of a cell, first, stop, checkpoint) → the variables of these replicas; a function of a module, so that
processes elsewhere find it by its name."""

WAITING = 1024
"""Blocks handed to an executor ahead of time: enough for the workers of a cluster."""

MACHINE = (OSError, MemoryError, BrokenExecutor, CancelledError)
"""What concerns the machine and not a cell."""


class SweepError(Exception):
    """Some blocks could not be computed; everything else is there, and the message says how to go on."""


class Moment(NamedTuple):
    """How far a run is: replicas and work that were missing when it began, done and in all, and the seconds since.

    What others have done meanwhile counts as done. Work is counted by `cost`, so that the remaining time is not that of
    the cheapest cells. The last moment of a run in which nothing fails has all of both.
    """

    replicas: int
    all_replicas: int
    work: float
    all_work: float
    seconds: float


class Ran(NamedTuple):
    """What a run did: blocks and replicas computed, the seconds it took, and what was found damaged and moved aside."""

    blocks: int
    replicas: int
    seconds: float
    quarantined: tuple[Path, ...]


def run(
    store: Store,
    work: Work,
    *,
    executor: Executor | None = None,
    shard: tuple[int, int] = (0, 1),
    steal: bool = False,
    verify: bool = True,
    cost: Callable[[Cell], float] | None = None,
    progress: Callable[[Moment], None] | None = None,
) -> Ran:
    """Compute the blocks of a store that are missing.

    `work(settings, first, stop, checkpoint)` computes one block. Without an executor it is called here, one block
    after the other, and uses all devices and cores itself; with one (`processes`, `dask`, `mpi`, `slurm`, or any
    `concurrent.futures.Executor`) it is called in its workers, to which only the folder, the number of a block and
    the name of the function travel. `shard=(i, n)` takes one n-th of the blocks, so that n processes that know nothing
    of each other share a sweep; with `steal` it then goes on with what the others have not done: computing a block
    twice is harmless. Blocks of its share that are found damaged (`verify`) are moved to `quarantine` and computed
    again. `cost(cell)` is the work of a replica, by which blocks of a round are ordered and progress is counted.

    A block that fails with an exception stops its cell and not the others; at the end `SweepError` says which and why.
    An error of the file system, lack of memory on the host or the end of a worker stops everything at once, with a
    `SweepError` as well. An interrupt leaves the folder as consistent as a kill does. Raises ``ValueError`` for bad
    arguments.

        >>> import tempfile, numpy as np
        >>> from jaxlimit.sweeps import Store, SweepSpec, run
        >>> def work(settings, first, stop, checkpoint):
        ...     return {"values": (("replica",), np.arange(first, stop) * settings["width"])}
        >>> spec = SweepSpec({"replicas": 8, "block": 4, "width": 1}, {"width": [16, 32]})
        >>> store = Store.create(tempfile.mkdtemp(), spec)
        >>> run(store, work).replicas, run(store, work).replicas
        (16, 0)
    """
    store = instance("store", store, Store)
    require(callable(work), "work", "be a function", f"it is a {type(work).__name__}")
    part, parts = _shard(shard)
    ready = executor is None or isinstance(executor, Executor) or hasattr(executor, "submit")
    require(ready, "executor", "be a concurrent.futures.Executor", f"it is a {type(executor).__name__}")
    remove_stale(store.folder)
    share = _shares(store.spec.jobs, parts)
    try:
        moved = store.quarantine_damaged([job for job in store.present() if share[job] == part]) if verify else []
    except OSError as error:
        raise SweepError(f"A block of {store.folder} could not be read or moved: {error}. {_ON}") from error
    if moved:
        warnings.warn(
            f"{len(moved)} damaged blocks were moved to {store.folder / 'quarantine'} and are computed again.",
            stacklevel=2,
        )
    price = [1.0 if cost is None else float(cost(cell)) for cell in store.spec.cells]
    missing = sorted(store.missing(), key=lambda job: (job.first / store.cell(job).replicas, price[job.cell], job.cell))
    mine = [job for job in missing if share[job] == part]
    others = [job for job in missing if share[job] != part] if steal else []
    # Thieves that began at the same block would all compute the same ones.
    others.sort(key=lambda job: _drawn(part, *job))
    tally = _Tally(store, price, mine + others, progress)
    if mine or others or verify:
        try:
            for cell in store.spec.cells:
                store.describe(cell)
            tally.journal = Journal(store.folder) if mine or others else None
        except OSError as error:
            raise SweepError(f"Nothing can be written in {store.folder}: {error}. {_ON}") from error
    for jobs in (mine, others):
        if executor is None:
            _here(store, work, jobs, tally)
        else:
            _submitted(store, work, jobs, executor, tally)
    tally.finish()
    return Ran(tally.blocks, tally.replicas, time.monotonic() - tally.start, tuple(moved))


def compute(store: Store, work: Work, job: Job) -> float | None:
    """Compute and write one block; returns its seconds, None where it was there already."""
    if store.has(job):
        return None
    if not (store.folder / SPEC).exists():
        raise FileNotFoundError(f"{store.folder} is no longer the folder of the sweep: was it moved?")
    begun, cell = time.monotonic(), store.cell(job)
    checkpoint = BlockCheckpoint(store.path(job), cell.cell_id)
    variables = work(cell.settings, job.first, job.stop, checkpoint)
    _check_names(variables, (*store.spec.dims, *RESERVED))
    store.blocks.write(cell.cell_id, job.first, job.stop, variables)
    checkpoint.clear()
    return time.monotonic() - begun


def _check_names(variables: Variables, taken: Sequence[str]) -> None:
    """A dataset has one name for one thing; found at the first block, and not when all of them are to be read."""
    require(isinstance(variables, Mapping), "work", "return a table of variables", f"it is {type(variables).__name__}")
    odd = [name for name in variables if not name or len(name) > LONGEST or "/" in name]
    require(not odd, "work", f"give variables names of at most {LONGEST} letters without a slash", f"it has {odd}")
    clashing = sorted(set(variables) & set(taken))
    require(not clashing, "work", f"leave the names {', '.join(taken)} to the sweep", f"it returns {clashing}")
    own = {dim for dims, _ in variables.values() for dim in dims}
    axes = sorted(own & set(taken[: len(taken) - len(RESERVED)]))
    require(not axes, "work", "have dims that are not axes of the sweep", f"it has {axes}")


def computed(folder: str, job: Job, work: Work) -> float | None:
    """`compute` in a worker of an executor, which knows the folder."""
    path = Path(folder)
    return compute(_opened(path, (path / SPEC).stat().st_mtime_ns), work, job)


@lru_cache(maxsize=4)
def _opened(folder: Path, changed: int) -> Store:
    """A worker reads the spec once and not for every block."""
    return Store.open(folder)


class _Tally:
    """What has been done and what went wrong."""

    def __init__(
        self, store: Store, price: Sequence[float], jobs: Sequence[Job], progress: Callable[[Moment], None] | None
    ):
        self._store, self._price, self._progress = store, price, progress
        self._wanted = sum(job.stop - job.first for job in jobs), sum(self._work(job) for job in jobs)
        self._done = 0, 0.0
        self.start, self.blocks, self.replicas = time.monotonic(), 0, 0
        self.failed: dict[int, tuple[Job, Exception]] = {}
        self.journal: Journal | None = None

    def _work(self, job: Job) -> float:
        return (job.stop - job.first) * self._price[job.cell]

    def add(self, job: Job, seconds: float | None) -> None:
        """Count a block, and note it down where it was computed by this run."""
        size = job.stop - job.first
        self._done = self._done[0] + size, self._done[1] + self._work(job)
        if seconds is not None:
            self.blocks, self.replicas = self.blocks + 1, self.replicas + size
            with contextlib.suppress(OSError):  # what cannot be noted is computed nevertheless
                self._note(job, seconds)
        if self._progress is not None:
            (replicas, work), (all_replicas, all_work) = self._done, self._wanted
            self._progress(Moment(replicas, all_replicas, work, all_work, time.monotonic() - self.start))

    def _note(self, job: Job, seconds: float) -> None:
        if self.journal is not None:
            cell = self._store.cell(job).cell_id
            self.journal.note({"cell": cell, "first": job.first, "stop": job.stop, "seconds": round(seconds, 6)})

    def fail(self, job: Job, error: Exception) -> None:
        """Note the first failure of a cell; what concerns the machine and not the cell is raised."""
        if isinstance(error, MACHINE) and not isinstance(error, DeviceMemoryError):
            why = f"{type(error).__name__}: {error}".rstrip(": .")
            raise SweepError(f"{self._where(job)} could not be computed or written: {why}. {_ON}") from error
        self.failed.setdefault(job.cell, (job, error))

    def finish(self) -> None:
        if not self.failed:
            return
        lines = [f"{self._where(job)}: {type(error).__name__}: {error}" for job, error in self.failed.values()]
        first = next(iter(self.failed.values()))[1]
        raise SweepError(
            f"{len(lines)} of {len(self._store.spec.cells)} cells failed; all others are done.\n"
            + "\n".join(lines)
            + f"\n{_ON}"
        ) from first

    def _where(self, job: Job) -> str:
        cell = self._store.cell(job)
        where = ", ".join(f"{dim} {label}" for dim, label in self._store.spec.where(cell).items())
        return f"Replicas {job.first} to {job.stop - 1} of cell {cell.number} ({where or 'the only one'})"


_ON = "Blocks that are finished are kept: remove the cause and run the sweep again."


def _here(store: Store, work: Work, jobs: Sequence[Job], tally: _Tally) -> None:
    for job in jobs:
        if job.cell not in tally.failed:
            try:
                seconds = compute(store, work, job)
            except Exception as error:
                tally.fail(job, error)
            else:
                tally.add(job, seconds)


def _submitted(store: Store, work: Work, jobs: Sequence[Job], executor: Executor, tally: _Tally) -> None:
    """At most WAITING blocks are with the executor at a time; those that have not begun are cancelled in the end.

    A cell that has failed is not gone on with.
    """
    folder, waiting = str(store.folder.resolve()), (job for job in jobs if job.cell not in tally.failed)
    running: dict[Future[float | None], Job] = {}
    ended: queue.SimpleQueue[Future[float | None]] = queue.SimpleQueue()
    try:
        while True:
            for job in itertools.islice(waiting, WAITING - len(running)):
                try:
                    future = executor.submit(computed, folder, job, work)
                except BrokenExecutor as error:
                    tally.fail(job, error)
                running[future] = job
                future.add_done_callback(ended.put)
            if not running:
                return
            future = _next(ended)
            job = running.pop(future)
            if future.cancelled() and job.cell in tally.failed:
                continue
            try:
                seconds = future.result()
            except Exception as error:
                tally.fail(job, error)
                for other in [other for other, its in running.items() if its.cell == job.cell]:
                    other.cancel()
            else:
                tally.add(job, seconds)
    finally:
        for future in running:
            future.cancel()


def _next(ended: queue.SimpleQueue[Future[float | None]]) -> Future[float | None]:
    """The next future that has ended; in short waits, or an interrupt would not be heard everywhere."""
    while True:
        with contextlib.suppress(queue.Empty):
            return ended.get(timeout=0.5)


def _shares(jobs: Sequence[Job], parts: int) -> dict[Job, int]:
    """Which part every block belongs to: equal numbers, drawn at random, or one part would have all the dear cells.

    It depends on nothing but the spec, or parts on different machines would leave blocks out.
    """
    if parts == 1:
        return dict.fromkeys(jobs, 0)
    return {job: k % parts for k, job in enumerate(sorted(jobs, key=lambda job: _drawn(0, *job)))}


def _drawn(*numbers: int) -> bytes:
    return hashlib.sha256(str(numbers).encode()).digest()


def _shard(shard: Any) -> tuple[int, int]:
    """(i, n) with 0 ≤ i < n."""
    pair = isinstance(shard, tuple | list) and len(shard) == 2
    require(pair, "shard", "be a pair (i, n)", f"it is {shard!r}")
    part, parts = natural_number("shard", shard[0]), positive_integer("shard", shard[1])
    require(part < parts, "shard", "have i < n", f"it is {part}/{parts}")
    return part, parts
