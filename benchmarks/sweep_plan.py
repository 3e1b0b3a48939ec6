"""Does a sweep take as long as `sweep_plan` says?

The plan of a sweep is made, calibration and all, and the sweep run in the same process right after. A line per cell:
seconds of its blocks as foreseen and as measured, without the first block of every program, which is compiled with it;
at the end the whole, compilation included, and bytes on disk. The grid is that of the guide, `docs/sweeps/demo.toml`;
what the calibration has compiled is compiled again, as in a process of its own.
"""

import argparse
import tempfile
import time
import tomllib
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import jax

from jaxlimit import studies, sweeps

GRID = Path(__file__).parents[1] / "docs" / "sweeps" / "demo.toml"


def grid(quick: bool) -> sweeps.SweepSpec:
    """The grid of the guide, or a corner of it."""
    settings = tomllib.loads(GRID.read_text(encoding="utf-8"))
    if quick:
        settings |= {"replicas": 1024, "block": 512}
        settings["axes"] |= {"scaling.gamma": [0.5, 1.0], "width": [64, 128], "activation": [{"name": "Erf"}]}
    return studies.sweep_spec(settings)


def compare(folder: Path, spec: sweeps.SweepSpec) -> None:
    """Plan, run, and print both."""
    start = time.perf_counter()
    plan = studies.sweep_plan(spec)
    print(f"{spec}: {plan.blocks} blocks; planned in {time.perf_counter() - start:.0f} s")
    jax.clear_caches()
    taken: dict[str, list[float]] = {}

    def work(settings: Mapping[str, Any], first: int, stop: int, checkpoint: Any) -> Any:
        begun = time.perf_counter()
        found = studies.sweep_block(settings, first, stop, checkpoint)
        taken.setdefault(sweeps.identity(settings), []).append(time.perf_counter() - begun)
        return found

    ran = sweeps.run(sweeps.Store.create(folder, spec), work, cost=studies.sweep_cost)
    print(f"{'':>40} {'block, foreseen':>16} {'measured':>9} {'measured / foreseen':>20}")
    ratios = []
    for cell, row in zip(spec.cells, plan.cells, strict=True):
        where = ", ".join(f"{dim} {spec.labels[dim][i]}" for dim, i in zip(spec.dims, cell.position, strict=True))
        # Blocks are whole but the last; that which compiled is the slowest.
        whole = taken[cell.cell_id][: cell.replicas // cell.block]
        seen = min(whole) if len(whole) < 3 else median(whole)
        ratios.append(seen / row.block_seconds)
        print(f"{where:>40} {row.block_seconds:9.3f} ±{row.scatter:5.0%} {seen:9.3f} {ratios[-1]:20.2f}")
    inside = sum(0.5 <= ratio <= 2.0 for ratio in ratios)
    print(f"ratios: median {median(ratios):.2f}, within a factor of two in {inside} of {len(ratios)} cells")
    print(
        f"whole: {plan.seconds:.1f} ± {plan.uncertainty:.1f} s foreseen ({plan.compile_seconds:.1f} s of compilation), "
        f"{ran.seconds:.1f} s measured, {ran.seconds / plan.seconds:.2f}"
    )
    size = sum(path.stat().st_size for path in folder.rglob("*.block"))
    print(f"disk: {plan.result_bytes / 1e6:.1f} MB foreseen, {size / 1e6:.1f} MB measured")


def main(quick: bool = False) -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        compare(Path(folder) / "store", grid(quick))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    main(parser.parse_args().quick)
