"""Doing what is missing: in this process, or by any executor; nothing is lost by stopping."""

import itertools
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Executor, Future, wait
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from jaxlimit._arguments import instance, natural_number, positive_integer, require
from jaxlimit.sweeps._checkpoint import BlockCheckpoint
from jaxlimit.sweeps._files import remove_stale
from jaxlimit.sweeps._format import Variables
from jaxlimit.sweeps._journal import Journal
from jaxlimit.sweeps._spec import Cell, Job
from jaxlimit.sweeps._store import SPEC, Store

Work = Callable[[Mapping[str, Any], int, int, BlockCheckpoint], Variables]
"""(settings of a cell, first, stop, checkpoint) → the variables of these replicas; a function of a module, so that
processes elsewhere find it by its name."""

WAITING = 64
"""Blocks handed to an executor ahead of time: enough for its workers, few enough to stop soon."""


class SweepError(Exception):
    """Some blocks could not be computed; everything else is there, and the message says how to go on."""


class Moment(NamedTuple):
    """How far a run is: replicas and work of its own share, done and in all, and the seconds since it began.

    Work is counted by `cost`, so that the remaining time is not that of the cheapest cells.
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
    after the other, and uses all devices and cores itself; with one (`ProcessPool`, `Dask`, `Mpi`, `Slurm`, or any
    `concurrent.futures.Executor`) it is called in its workers, to which only the folder, the number of a block and
    the name of the function travel. `shard=(i, n)` takes every n-th block from the i-th on, so that n processes that
    know nothing of each other share a sweep; with `steal` it then goes on with what the others have not done, from the
    end: computing a block twice is harmless. Blocks found damaged (`verify`) are moved to `quarantine` and computed
    again. `cost(cell)` is the work of a replica, by which blocks of a round are ordered and progress is counted.

    A block that fails with an exception stops its cell and not the others; at the end `SweepError` says which and why.
    An error of the file system or lack of memory stops everything at once. An interrupt leaves the folder as
    consistent as a kill does. Raises ``ValueError`` for bad arguments.

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
    moved = store.quarantine_damaged() if verify else []
    if moved:
        warnings.warn(
            f"{len(moved)} damaged blocks were moved to {store.folder / 'quarantine'} and are computed again.",
            stacklevel=2,
        )
    price = _prices(store, cost)
    ordered = sorted(store.spec.jobs, key=lambda job: (job.first / store.cell(job).replicas, price[job.cell], job.cell))
    done = set(store.present())
    mine = [job for job in ordered[part::parts] if job not in done]
    others = [job for k, job in enumerate(ordered) if k % parts != part and job not in done] if steal else []
    tally = _Tally(store, price, mine, progress)
    if mine or others:
        for cell in store.spec.cells:
            store.blocks.describe(cell.cell_id, {k: v for k, v in cell.settings.items() if k != "replicas"})
        tally.journal = Journal(store.folder)
    for jobs in (mine, others[::-1]):
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
    begun, cell = time.monotonic(), store.cell(job)
    checkpoint = BlockCheckpoint(store.path(job), cell.cell_id)
    variables = work(cell.settings, job.first, job.stop, checkpoint)
    store.blocks.write(cell.cell_id, job.first, job.stop, variables)
    checkpoint.clear()
    return time.monotonic() - begun


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
        self, store: Store, price: Sequence[float], mine: Sequence[Job], progress: Callable[[Moment], None] | None
    ):
        self._store, self._price, self._progress = store, price, progress
        self._all = sum(job.stop - job.first for job in mine), sum(self._work(job) for job in mine)
        self.start, self.blocks, self.replicas, self._done = time.monotonic(), 0, 0, 0.0
        self.failed: dict[int, tuple[Job, Exception]] = {}
        self.journal: Journal | None = None

    def _work(self, job: Job) -> float:
        return (job.stop - job.first) * self._price[job.cell]

    def add(self, job: Job, seconds: float | None) -> None:
        self._done += self._work(job)
        if seconds is not None:
            self.blocks, self.replicas = self.blocks + 1, self.replicas + job.stop - job.first
            if self.journal is not None:
                cell = self._store.cell(job).cell_id
                self.journal.note({"cell": cell, "first": job.first, "stop": job.stop, "seconds": round(seconds, 6)})
        if self._progress is not None:
            replicas, work = self._all
            self._progress(Moment(self.replicas, replicas, self._done, work, time.monotonic() - self.start))

    def fail(self, job: Job, error: Exception) -> None:
        """Note the first failure of a cell; what concerns the machine and not the cell is raised."""
        if isinstance(error, OSError | MemoryError):
            raise SweepError(f"{self._where(job)} could not be computed or written: {error}. {_ON}") from error
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
        labels = self._store.spec.labels
        where = ", ".join(
            f"{dim} {labels[dim][i]}" for dim, i in zip(self._store.spec.dims, cell.position, strict=True)
        )
        return f"Replicas {job.first} to {job.stop - 1} of cell {cell.number} ({where or 'the only one'})"


_ON = "Blocks that are finished are kept: remove the cause and run the sweep again."


def _here(store: Store, work: Work, jobs: Sequence[Job], tally: _Tally) -> None:
    for job in jobs:
        if job.cell not in tally.failed:
            try:
                tally.add(job, compute(store, work, job))
            except Exception as error:
                tally.fail(job, error)


def _submitted(store: Store, work: Work, jobs: Sequence[Job], executor: Executor, tally: _Tally) -> None:
    """At most WAITING blocks are with the executor at a time; an exception cancels those that have not begun."""
    folder, waiting = str(store.folder.resolve()), iter(jobs)
    running: dict[Future[float | None], Job] = {}
    try:
        while True:
            for job in itertools.islice(waiting, WAITING - len(running)):
                if job.cell not in tally.failed:
                    running[executor.submit(computed, folder, job, work)] = job
            if not running:
                return
            finished, _ = wait(running, timeout=0.5, return_when=FIRST_COMPLETED)
            for future in finished:
                job = running.pop(future)
                try:
                    tally.add(job, future.result())
                except Exception as error:
                    tally.fail(job, error)
    finally:
        for future in running:
            future.cancel()


def _prices(store: Store, cost: Callable[[Cell], float] | None) -> list[float]:
    return [1.0 if cost is None else float(cost(cell)) for cell in store.spec.cells]


def _shard(shard: Any) -> tuple[int, int]:
    """(i, n) with 0 ≤ i < n."""
    pair = isinstance(shard, tuple | list) and len(shard) == 2
    require(pair, "shard", "be a pair (i, n)", f"it is {shard!r}")
    part, parts = natural_number("shard", shard[0]), positive_integer("shard", shard[1])
    require(part < parts, "shard", "have i < n", f"it is {part}/{parts}")
    return part, parts
