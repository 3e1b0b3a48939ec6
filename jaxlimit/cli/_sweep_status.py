"""``jaxlimit sweep plan`` and ``status``: what a sweep will take, and how far it is."""

import json as text_of
import math
from pathlib import Path
from typing import Annotated, Any

import rich.console
import rich.table
from rich.markup import escape

from jaxlimit import studies, sweeps
from jaxlimit.cli._app import Flag, settings_from
from jaxlimit.cli._output import progress_bar
from jaxlimit.cli._study import right_kinds
from jaxlimit.cli._sweep_app import FAILED, size, span, sweep, wide

SHOWN = 24
"""Cells that `status` lists before it only counts them."""


@sweep.command
def plan(
    store: Path,
    *,
    model: Annotated[bool, Flag] = False,
    json: Annotated[bool, Flag] = False,
) -> int:
    """What a sweep will take on this machine: time, memory, disk, cell by cell; less what is done.

    Parameters
    ----------
    store
        Folder of a sweep, or the TOML or JSON file of one that is not made yet.
    model
        The cost model alone, without the short runs that hold it against this machine.
    json
        Print one JSON object.
    """
    done: sweeps.Store | None
    if store.is_dir():
        opened = sweeps.Store.open(store)
        done, spec = opened, opened.spec
    else:
        given, done = settings_from(store), None
        wide(given)
        with right_kinds():
            spec = studies.sweep_spec(given)
    for cell in spec.cells:
        wide(cell.settings)
    with progress_bar("calibrating") as progress:
        found = studies.sweep_plan(spec, done=done, calibrate=not model, progress=progress)
    if json:
        rows = [_plain(one._asdict()) for one in found.cells]
        print(text_of.dumps({"spec_id": spec.spec_id, **_plain(found._asdict()), "cells": rows}, indent=2))
        return 0
    console = rich.console.Console()
    grid = rich.table.Table(*spec.dims, "networks", "blocks", "a block", "all", title=f"Sweep {spec.spec_id[:12]}")
    for one in sorted(found.cells, key=lambda one: -one.seconds)[:SHOWN]:
        place = (escape(str(label)) for label in spec.where(spec.cells[one.number]).values())
        grid.add_row(*place, f"{one.replicas}", f"{one.blocks}", span(one.block_seconds), span(one.seconds))
    console.print(grid)
    if len(found.cells) > SHOWN:
        console.print(f"… and {len(found.cells) - SHOWN} cheaper cells.", markup=False)
    compiling = f"compiling ({span(found.compile_seconds)}) included"
    doubt = "by the model alone" if model else f"± {span(found.uncertainty)}, {compiling}"
    console.print(
        f"{span(found.seconds)} on this machine ({doubt}); {span(found.missing_seconds)} of it are still to do. "
        f"{found.blocks} blocks, {size(found.result_bytes)} on disk, {size(found.memory)} of memory.",
        markup=False,
    )
    return 0


@sweep.command
def status(store: Path, *, verify: Annotated[bool, Flag] = False, json: Annotated[bool, Flag] = False) -> int:
    """How far a sweep is, cell by cell, and with --verify whether every byte of it is as it was written.

    Parameters
    ----------
    store
        Folder of a sweep.
    verify
        Read all of it, and say what is damaged; exit code 4 if anything is.
    json
        Print one JSON object.
    """
    opened = sweeps.Store.open(store)
    found, spec = opened.status(), opened.spec
    wrong = sweeps.verify(store) if verify else []
    done = dict.fromkeys(range(len(spec.cells)), 0)
    for job in opened.present():
        done[job.cell] += job.stop - job.first
    cells = [{**spec.where(cell), "done": done[cell.number], "wanted": cell.replicas} for cell in spec.cells]
    remaining = _remaining(opened, found)
    if json:
        print(
            text_of.dumps(
                {
                    "spec_id": spec.spec_id,
                    **found._asdict(),
                    "complete": found.complete,
                    "remaining_core_seconds": remaining,
                    "cells": cells,
                    "environments": sweeps.environments(store),
                    **({"damaged": wrong} if verify else {}),
                },
                indent=2,
                ensure_ascii=False,
            )
        )
        return FAILED if wrong else 0
    console = rich.console.Console()
    shown = sorted(cells, key=lambda cell: cell["done"] / cell["wanted"])[:SHOWN]
    grid = rich.table.Table(*(str(name) for name in shown[0]), title=f"Sweep {spec.spec_id[:12]}")
    for cell in shown:
        grid.add_row(*(escape(str(value)) for value in cell.values()))
    console.print(grid)
    if len(cells) > SHOWN:
        console.print(f"… and {len(cells) - SHOWN} further cells, at least as far.", markup=False)
    rest = "" if found.complete or remaining is None else f"; about {remaining:.0f} s of work are left"
    console.print(
        f"{found.blocks} of {found.all_blocks} blocks, {found.replicas} of {found.all_replicas} networks{rest}.",
        markup=False,
    )
    if len(sweeps.environments(store)) > 1:
        console.print("Blocks come from different versions or machines: see `runs` (--json lists them).", markup=False)
    for line in wrong:
        console.print(f"DAMAGED {line}", markup=False)
    if verify and not wrong:
        console.print("Every byte is as it was written.", markup=False)
    return FAILED if wrong else 0


def _plain(table: dict[str, Any]) -> dict[str, Any]:
    """JSON has no NaN: what is not known is null."""
    return {key: None if isinstance(one, float) and math.isnan(one) else one for key, one in table.items()}


def _remaining(store: sweeps.Store, found: sweeps.Progressed) -> float | None:
    """Seconds of work that are left: the cost model, held against what the blocks that are done have taken."""
    cells, done = store.spec.cells, store.present()
    if found.complete or not done or found.seconds <= 0:
        return 0.0 if found.complete else None
    price = [studies.sweep_cost(cell) for cell in cells]
    foreseen = sum((job.stop - job.first) * price[job.cell] for job in done)
    missing = sum((job.stop - job.first) * price[job.cell] for job in store.missing())
    return found.seconds * missing / foreseen if foreseen > 0 else None
