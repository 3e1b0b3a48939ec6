"""What a sweep will take: the cost model for every cell, held against short runs of a few of them on this machine."""

import json
import math
import time
import warnings
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from statistics import median
from typing import Any, NamedTuple

import numpy as np

from jaxlimit import simulation
from jaxlimit._arguments import instance, require
from jaxlimit._lanes import Progress
from jaxlimit.studies._sweep_cell import sweep_run
from jaxlimit.studies._sweep_work import sweep_block
from jaxlimit.sweeps import Cell, Job, Store, SweepSpec

SAMPLE_SECONDS = 1.0
"""About how long a calibrating run takes by the cost model."""
REPEATS = 3
"""Calibrating runs of a cell, after one that compiles."""
HEADER = 1024
"""About what a block takes on disk besides its arrays."""


class CellPlan(NamedTuple):
    """What one cell takes, `number` in `spec.cells`.

    `seconds` for its `replicas`, `missing_seconds` for the `missing` ones, `block_seconds` for a whole block: each on
    this machine with all its workers at this cell, give or take the share `scatter` (NaN where nothing was run here).
    Its program is compiled in `compile_seconds`, once in a process for all cells that differ in numbers alone, as in γ.
    A worker holds `lane_bytes`; on disk the cell takes about `result_bytes`.
    """

    number: int
    replicas: int
    missing: int
    blocks: int
    missing_blocks: int
    seconds: float
    missing_seconds: float
    block_seconds: float
    compile_seconds: float
    scatter: float
    lane_bytes: int
    result_bytes: int


class SweepPlan(NamedTuple):
    """What a sweep takes in one process on this machine, in all and by cell.

    `seconds` from nothing and `missing_seconds` from what is done, both with compilation, which is `compile_seconds`
    and `missing_compile_seconds` of them; ± `uncertainty` of `seconds`, from the spread of the calibrating runs, NaN
    without them. Up to `workers` lanes go on at a time; the process needs about `memory` bytes for them and for the
    results of a block. On disk the blocks take about `result_bytes`, and consolidated at most as much again.
    """

    cells: tuple[CellPlan, ...]
    seconds: float
    missing_seconds: float
    uncertainty: float
    compile_seconds: float
    missing_compile_seconds: float
    blocks: int
    missing_blocks: int
    workers: int
    memory: int
    result_bytes: int


class _Speed(NamedTuple):
    """Of a kind of cells: log cost and log of measured over predicted seconds, where they were run; compilation."""

    cost: list[float]
    ratio: list[float]
    scatter: list[float]
    first_compile: float
    compile: float

    def at(self, cost: float) -> tuple[float, float]:
        """(ratio, scatter) at a cost, linear in its logarithm between the cells that were run."""
        where = math.log(cost)
        return math.exp(np.interp(where, self.cost, self.ratio)), float(np.interp(where, self.cost, self.scatter))


def sweep_cost(cell: Cell) -> float:
    """Seconds of a replica of a cell on one core, by the cost model alone: the `cost` that `sweeps.run` takes.

    >>> import jaxlimit as jl
    >>> made = {"data": {"source": "sphere", "points": 3, "inputs": 2}, "replicas": 8, "block": 4}
    >>> small, large = jl.studies.sweep_spec({**made, "axes": {"width": [8, 64]}}).cells
    >>> 0 < jl.studies.sweep_cost(small) < jl.studies.sweep_cost(large)
    True
    """
    return max(_foreseen(instance("cell", cell, Cell).text).seconds, 1e-12)


def sweep_plan(
    spec: SweepSpec, *, done: Store | None = None, calibrate: bool = True, progress: Progress | None = None
) -> SweepPlan:
    """What a sweep will take on this machine: seconds, memory, disk, blocks; less what is `done`.

    The cost model of `simulation.plan` for every cell, times measured over predicted seconds. These come from short
    runs of the cheapest and the dearest cell of every kind (method, native or not, precision, activation, what else is
    trained or observed), with fewer replicas, and over a shorter time where a lane takes longer than a second: once to
    compile, then three times. In between the ratio is linear in log cost. That takes about ten seconds for each kind;
    with `calibrate=False` the model alone speaks, which knows ratios better than times. Nothing is written.

    Raises ``ValueError`` for a spec that is not one of `sweep_spec`, and where `done` is the store of another.

        >>> import jaxlimit as jl
        >>> made = {"data": {"source": "sphere", "points": 3, "inputs": 2}, "replicas": 8, "block": 4}
        >>> spec = jl.studies.sweep_spec({**made, "axes": {"width": [8, 64]}})
        >>> plan = jl.studies.sweep_plan(spec, calibrate=False)
        >>> plan.blocks, plan.missing_blocks, plan.cells[0].seconds < plan.cells[1].seconds
        (4, 4, True)
    """
    instance("spec", spec, SweepSpec)
    same = done is None or instance("done", done, Store).spec == spec
    require(same, "done", "be a store of this sweep", "it is that of another")
    for cell in spec.cells:
        known = {"scaling", "method", "ts", "dtype"} <= set(cell.settings)
        require(known, "spec", "come from `studies.sweep_spec`", "its cells are no networks")
    missing = spec.jobs if done is None else done.missing()
    left: dict[int, list[Job]] = {cell.number: [] for cell in spec.cells}
    for job in missing:
        left[job.cell].append(job)
    kinds: dict[str, list[Cell]] = {}
    for cell in spec.cells:
        kinds.setdefault(_kind(cell.settings), []).append(cell)
    speeds = _calibrated(kinds, progress) if calibrate else dict.fromkeys(kinds)
    cells = [_cell_plan(cell, left[cell.number], speeds[_kind(cell.settings)]) for cell in spec.cells]
    compiling, missed = (
        _compile_seconds(some, speeds) for some in (spec.cells, [cell for cell in spec.cells if left[cell.number]])
    )
    plans = [_foreseen(cell.text) for cell in spec.cells]
    return SweepPlan(
        cells=tuple(cells),
        seconds=sum(one.seconds for one in cells) + compiling,
        missing_seconds=sum(one.missing_seconds for one in cells) + missed,
        uncertainty=sum(one.seconds * one.scatter for one in cells),
        compile_seconds=compiling,
        missing_compile_seconds=missed,
        blocks=len(spec.jobs),
        missing_blocks=len(missing),
        workers=max(plan.workers for plan in plans),
        memory=max(
            plan.workers * plan.lane_bytes + 2 * min(cell.block, cell.replicas) * plan.result_bytes
            for cell, plan in zip(spec.cells, plans, strict=True)
        ),
        result_bytes=sum(one.result_bytes for one in cells),
    )


@lru_cache(maxsize=2**16)
def _foreseen(text: str) -> simulation.Plan:
    """The plan of a cell, made once."""
    return _plan(json.loads(text))


def _plan(settings: Mapping[str, Any]) -> simulation.Plan:
    found = sweep_run(settings)
    return simulation.plan(found.problem, found.width, found.ts, **found.arguments)


def _kind(settings: Mapping[str, Any]) -> str:
    """Cells of one kind differ from the cost model alike."""
    method, batch = settings["method"], settings["batch"]
    own = [settings[key] for key in ("dtype", "linearised", "train_output", "observe")]
    own += [settings["layers"] is None, batch if batch in (1, "population") else "minibatch"]
    own += [(settings[key] or {}).get("name") for key in ("activation", "loss", "optimiser")]
    return json.dumps([*own, method["name"], method.get("native")])


def _program(settings: Mapping[str, Any]) -> str:
    """Cells that share it differ in numbers alone, not in shapes and functions."""
    numbers = {"scaling", "learning_rate", "seed", "common_draws", "replicas", "block", "data_sha256", "ts"}
    shapes = {"times": len(settings["ts"]), "scaling": settings["scaling"]["name"]}
    return json.dumps({**{key: value for key, value in settings.items() if key not in numbers}, **shapes})


def _compile_seconds(cells: Iterable[Cell], speeds: Mapping[str, _Speed | None]) -> float:
    """Every program once, and what the programs of a kind share."""
    programs = {_program(cell.settings): _kind(cell.settings) for cell in cells}
    each = [speed.compile for kind in programs.values() if (speed := speeds[kind])]
    shared = [speed.first_compile for kind in set(programs.values()) if (speed := speeds[kind])]
    return sum(each) + sum(shared)


def _calibrated(kinds: Mapping[str, list[Cell]], progress: Progress | None) -> dict[str, _Speed | None]:
    """How fast this machine is at cells of every kind."""
    ends = {}
    for kind, cells in kinds.items():
        ordered = sorted(cells, key=sweep_cost)
        ends[kind] = list(dict.fromkeys([ordered[0], ordered[-1]]))
    runs, count = sum(map(len, ends.values())), 0
    found: dict[str, _Speed | None] = {}
    for kind, cells in ends.items():
        compiled, speed = [], _Speed([], [], [], 0.0, 0.0)
        for cell in cells:
            ratio, scatter, compiling = _measured(cell)
            compiled.append(compiling)
            speed.cost.append(math.log(sweep_cost(cell)))
            speed.ratio.append(math.log(ratio))
            speed.scatter.append(scatter)
            count += 1
            if progress is not None:
                progress(float(count), float(runs))
        # What cells of a kind share is compiled with the first of them.
        found[kind] = speed._replace(first_compile=max(0.0, compiled[0] - compiled[-1]), compile=compiled[-1])
    return found


def _measured(cell: Cell) -> tuple[float, float, float]:
    """(measured over predicted seconds, the share by which it scatters, seconds of compilation) of a cell."""
    settings, replicas = _shortened(cell)
    run = _timed(lambda: sweep_block(settings, 0, replicas))
    first = run()
    times = [run() for _ in range(REPEATS)]
    middle = median(times)
    predicted = _turns(replicas, _plan(settings))
    return middle / predicted, 0.5 * (max(times) - min(times)) / middle, max(0.0, first - middle)


def _shortened(cell: Cell) -> tuple[dict[str, Any], int]:
    """The settings and replicas of a run of about SAMPLE_SECONDS that keeps all workers at work."""
    settings, plan = cell.settings, _foreseen(cell.text)
    lane = plan.lanes * max(plan.seconds, 1e-12)
    turn = plan.lanes * plan.workers
    if lane > SAMPLE_SECONDS:
        end, width = SAMPLE_SECONDS / lane * settings["ts"][-1], sweep_run(settings).width
        steps = sweep_run(settings).problem.scaling.steps
        # A time without a step would measure the draws alone.
        settings["ts"] = [end if steps(end, width) else settings["ts"][-1]]
        return settings, turn
    return settings, turn * max(1, min(int(SAMPLE_SECONDS / lane), math.ceil(cell.block / turn)))


def _timed(call: Callable[[], object]) -> Callable[[], float]:
    def run() -> float:
        start = time.perf_counter()
        with warnings.catch_warnings():
            # What a method warns of belongs to the sweep, and not to a part of it that is thrown away.
            warnings.simplefilter("ignore")
            call()
        return time.perf_counter() - start

    return run


def _turns(replicas: int, plan: simulation.Plan) -> float:
    """Seconds of a call by the model: lanes are whole, and workers without one wait for the others."""
    return math.ceil(math.ceil(replicas / plan.lanes) / plan.workers) * plan.lanes * max(plan.seconds, 1e-12)


def _cell_plan(cell: Cell, left: list[Job], speed: _Speed | None) -> CellPlan:
    plan = _foreseen(cell.text)
    ratio, scatter = (1.0, math.nan) if speed is None else speed.at(sweep_cost(cell))
    points = sweep_run(cell.settings).targets.size
    constants = HEADER + 16 * (len(cell.settings["ts"]) + points)

    def seconds(jobs: list[Job]) -> float:
        return ratio * sum(_turns(job.stop - job.first, plan) for job in jobs)

    return CellPlan(
        number=cell.number,
        replicas=cell.replicas,
        missing=sum(job.stop - job.first for job in left),
        blocks=len(cell.jobs),
        missing_blocks=len(left),
        seconds=seconds(cell.jobs),
        missing_seconds=seconds(left),
        block_seconds=seconds(cell.jobs[:1]),
        compile_seconds=0.0 if speed is None else speed.compile,
        scatter=scatter,
        lane_bytes=plan.lane_bytes,
        result_bytes=cell.replicas * (plan.result_bytes + 4) + len(cell.jobs) * constants,
    )
