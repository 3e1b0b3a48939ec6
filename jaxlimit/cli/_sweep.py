"""``jaxlimit sweep``: grids of networks that survive whatever happens to the machine."""

import contextlib
from pathlib import Path
from typing import Annotated

import rich.console
import rich.progress
import rich.table

from jaxlimit import plots, studies, sweeps
from jaxlimit.cli._app import Flag, Whole, settings_from
from jaxlimit.cli._output import prepare
from jaxlimit.cli._study import right_kinds
from jaxlimit.cli._sweep_app import FAILED, executor_from, replica_bar, shard_from, show, stop_kindly, sweep, wide


@sweep.command
def init(
    store: Path,
    *,
    config: Path,
    replicas: Annotated[int | None, Whole] = None,
    block: Annotated[int | None, Whole] = None,
    seed: Annotated[int | None, Whole] = None,
    extend: Path | None = None,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Make a sweep: check every cell, decide on method, lanes and blocks, and write them down.

    Nothing is simulated. The same settings in the same folder do no harm; others are refused.

    Parameters
    ----------
    store
        Folder for the sweep, new or empty.
    config
        TOML or JSON file: settings of a problem and of `simulate`, and the grid in the table [axes].
    replicas
        Networks of every cell, in place of the file's.
    block
        Networks of a block, in place of the file's; the default is about two seconds of work.
    seed
        Seed of all randomness, in place of the file's.
    extend
        An earlier sweep, whose blocks of equal cells are copied: more replicas, or more values along an axis.
    json
        Print one JSON object.
    """
    given = settings_from(config)
    given.update({k: v for k, v in {"replicas": replicas, "block": block, "seed": seed}.items() if v is not None})
    wide(given)
    earlier = None if extend is None else sweeps.Store.open(extend)
    with right_kinds():
        spec = studies.sweep_spec(given, extend=None if earlier is None else earlier.spec)
    made = sweeps.Store.create(store, spec)
    adopted = 0 if earlier is None else made.adopt(earlier)
    said = f"{len(spec.cells)} cells in {len(spec.jobs)} blocks"
    taken = "" if extend is None else f" {adopted} of them are taken from {extend}"
    if taken and not adopted:
        taken += ", none of whose cells is one of these but for the replicas"
    kept = f"{taken}." if taken else ""
    show(
        json,
        {"spec_id": spec.spec_id, "cells": len(spec.cells), "blocks": len(spec.jobs), "adopted": adopted},
        f"Sweep {spec.spec_id[:12]}: {said}.{kept} Go on with `jaxlimit sweep run {store}`.",
    )
    return 0


@sweep.command
def run(
    store: Path,
    *,
    shard: str | None = None,
    steal: Annotated[bool, Flag] = False,
    executor: str | None = None,
    trust: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """Compute what is missing; stop it in any way at any time, and run it again to go on.

    Without an executor it uses all devices and cores of this machine. Any number of these may run on one folder, and
    share the work with --shard; without it they do the same blocks, which is harmless and wasteful.

    Parameters
    ----------
    store
        Folder of a sweep.
    shard
        i/n takes one n-th of the blocks (i from 0 to n − 1), as in a job array: --shard $SLURM_ARRAY_TASK_ID/16
    steal
        After that, go on with what others have not done.
    executor
        Where to compute: processes:workers=4, dask:address="tcp://…", mpi, slurm:minutes=120,gpus=1
    trust
        Do not verify the blocks that are there before going on.
    json
        Print one JSON object.
    """
    opened = sweeps.Store.open(store)
    for cell in opened.spec.cells:
        wide(cell.settings)
    stop_kindly(store)
    with contextlib.ExitStack() as stack:
        engine = None if executor is None else stack.enter_context(executor_from(executor))
        progress = stack.enter_context(replica_bar())
        try:
            ran = sweeps.run(
                opened,
                studies.sweep_block,
                executor=engine,
                shard=shard_from(shard),
                steal=steal,
                verify=not trust,
                cost=studies.sweep_cost,
                progress=progress,
            )
        except sweeps.SweepError as error:
            rich.console.Console(stderr=True).print(str(error), markup=False)
            return FAILED
    status = opened.status()
    speed = ran.replicas / max(ran.seconds, 1e-9)
    left = status.all_blocks - status.blocks
    rest = "all done" if not left else f"{left} of {status.all_blocks} blocks are left to others"
    moved = f" {len(ran.quarantined)} damaged blocks were moved aside and computed again." if ran.quarantined else ""
    show(
        json,
        {
            "spec_id": opened.spec.spec_id,
            "blocks": ran.blocks,
            "replicas": ran.replicas,
            "seconds": ran.seconds,
            "quarantined": [str(path) for path in ran.quarantined],
            "left": left,
        },
        f"{ran.blocks} blocks, {ran.replicas} networks in {ran.seconds:.1f} s ({speed:.3g} a second); {rest}.{moved}",
    )
    return 0


@sweep.command
def consolidate(store: Path) -> int:
    """Write everything into one Zarr store, consolidated.zarr, with a checksum on every chunk.

    Parameters
    ----------
    store
        Folder of a sweep, finished or not.
    """
    with replica_bar(unit="cells") as progress:
        path = sweeps.consolidate(
            sweeps.Store.open(store),
            progress=lambda done, total: progress(sweeps.Moment(int(done), int(total), done, total, 0.0)),
        )
    print(path)
    return 0


@sweep.command
def export(store: Path, file: Path) -> int:
    """Write everything into a netCDF file.

    Parameters
    ----------
    store
        Folder of a sweep, finished or not.
    file
        The file to write, as in sweep.nc
    """
    print(sweeps.export(store, file))
    return 0


@sweep.command
def plot(store: Path, *, out: Path | None = None) -> int:
    """Draw what a sweep has so far: error and variance against the width, and what its report shows.

    Parameters
    ----------
    store
        Folder of a sweep, finished or not.
    out
        Folder for the figures, PNG and PDF; the default is `figures` in the store.
    """
    folder = store / "figures" if out is None else out
    prepare(folder)
    for panel in studies.sweep_report(sweeps.Store.open(store)).panels:
        for path in plots.save(panel.draw, folder / panel.name):
            print(path)
    return 0
