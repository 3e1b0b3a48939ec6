"""Simulations of studies in blocks that are kept: what is there is read, what is not is computed."""

import random
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import instance, natural_number, positive_integer, random_key, require, save_times
from jaxlimit._devices import available_on_host
from jaxlimit._lanes import Progress
from jaxlimit._typing import ArrayLike, RandomKey
from jaxlimit.paths import Draws, Samples
from jaxlimit.problem import Problem
from jaxlimit.simulation import AbstractMethod
from jaxlimit.studies._call import Call
from jaxlimit.studies._pinned import Pinned, pinned_of
from jaxlimit.studies._variables import OBSERVED, resumed, variables
from jaxlimit.sweeps import BlockCheckpoint, Blocks, DamagedError, Journal, identity


class RunStore:
    """A folder in which the simulations of studies are kept, so that they are never computed twice.

    Handed to a study (`store=`), it cuts every simulation into blocks of replicas of about five seconds and keeps each
    as an immutable, checksummed file; blocks that are there are read instead of computed, and the samples are those of
    `simulate`, bit for bit. So a study that was killed goes on where it was, more replicas or further widths start from
    those that are there, and a report is made again without simulating. What identifies a simulation is everything that
    its bits depend on: problem, width, times, key, method, observable, precision. The method that a machine chooses is
    chosen once and kept, and other machines are asked for the same.

    Functions and classes are known by the name under which they can be imported: what one changes inside of one's own
    module without changing its name is not noticed. Any number of processes may use a folder at once;
    `shard=(i, n)` makes n of them share the work of one study: each begins with every n-th block from the i-th on, goes
    on with what the others have not done, and ends with the whole report.

    Raises ``ValueError`` for a folder that cannot be used, for a shard other than 0 ≤ i < n, and, from the study, for
    lambdas and closures, before anything is simulated.

        >>> import tempfile, jax, jaxlimit as jl
        >>> problem = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> store = jl.studies.RunStore(tempfile.mkdtemp())
        >>> first, again = (store.simulate(problem, 16, [1.0], replicas=5, key=jax.random.key(0)) for _ in range(2))
        >>> bool((first.values == again.values).all()), [path.name for path in jl.sweeps.Blocks(store.folder).every()]
        (True, ['0000000000-0000000005.block'])
    """

    def __init__(self, folder: str | Path, shard: tuple[int, int] = (0, 1)):
        self.folder = Path(folder)
        pair = isinstance(shard, tuple | list) and len(shard) == 2
        require(pair, "shard", "be a pair (i, n)", f"it is {shard!r}")
        self._part, self._parts = natural_number("shard", shard[0]), positive_integer("shard", shard[1])
        require(self._part < self._parts, "shard", "have i < n", f"it is {self._part}/{self._parts}")
        sweep = (self.folder / "spec.json").exists()
        require(not sweep, "store", "be a folder for studies", f"{self.folder} is that of a sweep")
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(
                f"Argument `store` must be a folder to write in, but {self.folder}: {error.strerror}."
            ) from error
        self._blocks = Blocks(self.folder)
        self._journal: Journal | None = None

    def simulate(
        self,
        problem: Problem,
        width: int | tuple[int, ...],
        ts: ArrayLike,
        *,
        replicas: int,
        key: RandomKey,
        method: AbstractMethod | None = None,
        at: ArrayLike | None = None,
        observe: Callable[[Any, Any], Any] | None = None,
        batch: int | None = 1,
        optimiser: Any = None,
        dtype: Any = jnp.float32,
        devices: Sequence[jax.Device] | None = None,
        progress: Progress | None = None,
    ) -> Samples:
        """What `jaxlimit.simulate` returns with these arguments, from the blocks that are there and those that are not.

        Raises ``ValueError`` as it does, and for an observable, optimiser or part of the problem that has no public
        name.
        """
        call = Call(problem, width, ts, replicas, key, method, at, observe, batch, optimiser, dtype, devices)
        return next(self.each([call], progress))

    def each(self, calls: Sequence[Call], progress: Progress | None = None) -> Iterator[Samples]:
        """The samples of several calls, one after the other, once all of their blocks are there."""
        cells = [self._cell(call) for call in calls]
        self._compute(cells, progress)
        for cell in cells:
            yield self._joined(cell)

    def _cell(self, call: Call) -> "_Cell":
        instance("problem", call.problem, Problem)
        positive_integer("replicas", call.replicas)
        for width in call.width if isinstance(call.width, tuple | list) else [call.width]:
            positive_integer("width", width)
        random_key(call.key)
        save_times(call.ts)
        seen = call.observe is None or callable(call.observe)
        require(seen, "observe", "be a function", f"it is a {type(call.observe).__name__}")
        described = call.described()
        pinned = pinned_of(self.folder, described, call)
        settings = {**described, **pinned.described()}
        free, needed = available_on_host(), 2 * call.replicas * pinned.result_bytes
        if free is not None:
            have = f"they take {needed / 1e9:.3g} GB, twice while they are joined, and {free / 1e9:.3g} are free"
            require(needed <= free, "replicas", "have results that fit into the memory", have)
        return _Cell(call, pinned, identity(settings), settings)

    def _compute(self, cells: Sequence["_Cell"], progress: Progress | None) -> None:
        """All blocks: first the own share of all calls, then what others have not done, each in another order."""
        jobs = [_Job(cell, *block) for cell in cells for block in cell.blocks]
        mine = jobs[self._part :: self._parts]
        others = [job for number, job in enumerate(jobs) if number % self._parts != self._part]
        random.Random(self._part).shuffle(others)
        for cell in {job.cell.name: job.cell for job in jobs if self._there(job) is None}.values():
            cell.pinned.require_here(cell.call)
        total, before = sum(job.work for job in jobs), 0.0
        for job in (*mine, *others):
            if self._there(job) is None:
                self._simulate(job, _within(progress, before, job.work, total))
            before += job.work
            if progress is not None:
                progress(min(before, total), total)

    def _there(self, job: "_Job") -> tuple[int, int] | None:
        """The block that has these replicas, perhaps with more of them."""
        if self._blocks.has(job.cell.name, job.first, job.stop):
            return job.first, job.stop
        longer = [r for r in self._blocks.ranges(job.cell.name) if r[0] == job.first and r[1] >= job.stop]
        return longer[0] if longer else None

    def _simulate(self, job: "_Job", progress: Progress | None) -> None:
        cell, begun = job.cell, time.monotonic()
        if self._journal is None:
            self._journal = Journal(self.folder)
        self._blocks.describe(cell.name, cell.settings)
        checkpoint = BlockCheckpoint(self._blocks.path(cell.name, job.first, job.stop), cell.name)
        with warnings.catch_warnings():
            # What concerns all replicas is said of all of them at the end, and the plan has said the rest.
            warnings.simplefilter("ignore", UserWarning)
            part, method = cell.call.part, cell.pinned.method
            samples = resumed(lambda kept: part(method, job.first, job.stop, progress, kept), checkpoint)
        self._blocks.write(cell.name, job.first, job.stop, variables(samples))
        checkpoint.clear()
        seconds = round(time.monotonic() - begun, 6)
        self._journal.note({"cell": cell.name, "first": job.first, "stop": job.stop, "seconds": seconds})

    def _read(self, job: "_Job") -> dict[str, Any]:
        """The variables of these replicas; what is damaged is moved aside and computed again."""
        while True:
            there = self._there(job)
            if there is None:
                job.cell.pinned.require_here(job.cell.call)
                self._simulate(job, None)
                continue
            try:
                variables = self._blocks.read(job.cell.name, *there)
            except (DamagedError, FileNotFoundError) as error:
                moved = self._blocks.quarantine(self._blocks.path(job.cell.name, *there))
                warnings.warn(f"A damaged block was moved to {moved} and is computed again: {error}.", stacklevel=2)
                continue
            return {
                name: array[: job.stop - job.first] if dims[:1] == ("replica",) else array
                for name, (dims, array) in variables.items()
            }

    def _joined(self, cell: "_Cell") -> Samples:
        """The samples of a call from its blocks."""
        call, parts = cell.call, [self._read(_Job(cell, *block)) for block in cell.blocks]

        def joined(name: str) -> Any:
            return np.concatenate([part[name] for part in parts]) if name in parts[0] else None

        leaves, tree = jax.tree.flatten(call.observed())
        samples = Samples(
            np.array(parts[0]["t"]),
            joined("values"),
            jax.tree.unflatten(tree, [joined(f"{OBSERVED}{number}") for number in range(len(leaves))]),
            np.array(parts[0]["steps"]),
            joined("diverged_at"),
            cell.pinned.name,
            tuple(map(int, call.width)) if isinstance(call.width, tuple | list) else int(call.width),
            cell.pinned.lanes,
            joined("error"),
            joined("forced"),
            (),
            Draws.of("simulate", call.key, range(call.replicas)),
            cell.pinned.devices,
        )
        cell.pinned.method.warn(samples)
        return samples


class _Cell(NamedTuple):
    """A call, by whom and in which blocks it is computed, and what identifies it."""

    call: Call
    pinned: Pinned
    name: str
    settings: dict[str, Any]

    @property
    def blocks(self) -> list[tuple[int, int]]:
        """(first, stop), of full blocks but for the last."""
        count, block = self.call.replicas, self.pinned.block
        return [(first, min(first + block, count)) for first in range(0, count, block)]


class _Job(NamedTuple):
    cell: _Cell
    first: int
    stop: int

    @property
    def work(self) -> float:
        """Of this share of the replicas."""
        return self.cell.call.work * (self.stop - self.first) / self.cell.call.replicas


def simulated(
    calls: Sequence[Call], store: RunStore | str | Path | None, progress: Progress | None
) -> Iterator[Samples]:
    """The samples of each call, in order: simulated when they are asked for, or through a store."""
    if store is not None:
        kept = store if isinstance(store, RunStore) else RunStore(instance("store", store, (str, Path), "be a folder"))  # type: ignore[arg-type]
        yield from kept.each(calls, progress)
        return
    total, before = sum(call.work for call in calls), 0.0
    for call in calls:
        yield call.simulated(_within(progress, before, call.work, total))
        before += call.work


def _within(progress: Progress | None, before: float, share: float, total: float) -> Progress | None:
    """The progress of one part of the work, after others."""
    return None if progress is None else lambda done, of: progress(before + share * done / of, total)
