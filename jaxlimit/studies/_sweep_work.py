"""The work of a sweep: one block of networks, and blocks as `Samples` again."""

import warnings
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import jax
import numpy as np

from jaxlimit._arguments import natural_number, require
from jaxlimit.paths import Draws, Samples
from jaxlimit.simulation import Checkpoint, simulate
from jaxlimit.studies._sweep_cell import SweepRun, sweep_run
from jaxlimit.studies._variables import OBSERVED, Variables, resumed, variables
from jaxlimit.sweeps import Store


def sweep_block(settings: Mapping[str, Any], first: int, stop: int, checkpoint: Checkpoint | None = None) -> Variables:
    """Replicas first, …, stop − 1 of a cell, as variables of a block: the work that `sweeps.run` is given.

    `values` (replica, time, point) on the data and then on the points held out, `diverged_at` (replica), `error`
    (replica, time) and `forced` (replica) where the method states them, an array (replica, time, …) for every leaf of
    the observables, and of the cell `t` (limit time) and `steps` (time), `target`, `weight` (point; 0 where held out).
    A replica that diverges is kept and recorded, and not warned of. A state of the checkpoint that is not of this run,
    as that of another revision, is removed, and the block begins anew.

        >>> import jaxlimit as jl
        >>> made = {"data": {"source": "sphere", "points": 3, "inputs": 2}, "replicas": 8, "block": 4, "width": 8}
        >>> cell = jl.studies.sweep_spec({**made, "observe": ["movement"]}).cells[0]
        >>> block = jl.studies.sweep_block(cell.settings, 4, 8)
        >>> block["values"][0], block["values"][1].shape, block["observed.movement"][1].shape
        (('replica', 'time', 'point'), (4, 3, 3), (4, 3))
    """
    found = sweep_run(settings)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*replicas diverged")
        samples = resumed(
            lambda kept: simulate(
                found.problem,
                found.width,
                found.ts,
                replicas=stop - first,
                first=first,
                checkpoint=kept,
                **found.arguments,
            ),
            checkpoint,
        )
    return _variables(samples, found)


def sweep_samples(store: Store | str | Path, cell: int = 0) -> Samples:
    """The replicas of a cell that are there, as `simulate` would give them, for statistics and comparison with a limit.

    `cell` is its number in `spec.cells`. An unfinished sweep gives fewer replicas, all of them whole. `observed` is a
    table {name: array}, None without observables. Raises ``ValueError`` for a cell that does not exist or has no block
    yet, `DamagedError` for a block that is not what was written.

        >>> import tempfile, jaxlimit as jl
        >>> made = {"data": {"source": "sphere", "points": 3, "inputs": 2}, "replicas": 8, "block": 4, "width": 8}
        >>> store = jl.sweeps.Store.create(tempfile.mkdtemp(), jl.studies.sweep_spec(made))
        >>> _ = jl.sweeps.run(store, jl.studies.sweep_block)
        >>> samples = jl.studies.sweep_samples(store)
        >>> samples.replicas, samples.ts.tolist(), samples.width
        (8, [0.0, 1.0, 2.0], 8)
    """
    opened = store if isinstance(store, Store) else Store.open(store)
    number, cells = natural_number("cell", cell), opened.spec.cells
    require(number < len(cells), "cell", f"be less than {len(cells)}, the number of cells", f"it is {number}")
    mine = cells[number]
    ranges = [job for job in mine.jobs if opened.has(job)]
    require(bool(ranges), "cell", "have a block that is done", f"cell {number} has none: run the sweep first")
    parts = [opened.blocks.read(mine.cell_id, job.first, job.stop) for job in ranges]
    found = sweep_run(mine.settings)
    joined = {
        name: np.concatenate([part[name][1] for part in parts]) if dims[:1] == ("replica",) else array
        for name, (dims, array) in parts[0].items()
    }
    observed = {name.removeprefix(OBSERVED): joined[name] for name in joined if name.startswith(OBSERVED)}
    # With a gap between them they have no range; statistics then take them for samples of their own.
    whole = all(left.stop == right.first for left, right in pairwise(ranges))
    drawn = range(ranges[0].first, ranges[-1].stop)
    made = Draws.of("simulate", found.arguments["key"], drawn) if whole else None
    return Samples(
        joined["t"],
        joined["values"],
        observed or None,
        joined["steps"],
        joined["diverged_at"],
        str(found.arguments["method"]),
        found.width,
        int(mine.settings["method"].get("lanes", 1)),
        joined.get("error"),
        joined.get("forced"),
        (),
        made,
    )


def _variables(samples: Samples, found: SweepRun) -> Variables:
    """Those of the samples, and the targets and weights of the cell."""
    weights = np.zeros(len(found.targets))
    weights[: found.problem.data.points] = found.problem.data.weights
    paths = [path for path, _ in jax.tree_util.tree_flatten_with_path(samples.observed)[0]]
    own = {"target": (("point",), found.targets), "weight": (("point",), weights)}
    return variables(samples, [_named(path) for path in paths]) | own


def _named(path: tuple[Any, ...]) -> str:
    """A leaf's place in what an observable returns: its keys, fields and numbers."""
    return ".".join(str(getattr(part, "key", getattr(part, "name", getattr(part, "idx", "")))) for part in path)
