"""What does it cost that nothing is lost? Overhead of a block, and time and memory of large stores.

    python -m benchmarks.sweeps

The work is NumPy's, so that what is measured is the store and the engine. Each measurement of memory has a process of
its own.
"""

import argparse
import multiprocessing
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from jaxlimit import sweeps
from jaxlimit.sweeps import Store, SweepSpec
from jaxlimit.sweeps._format import packed

POINTS = 30


def work(settings: Mapping[str, Any], first: int, stop: int, checkpoint: object = None) -> dict[str, Any]:
    """A block of noise with three times and thirty points, as of small networks."""
    random = np.random.default_rng([first, int(settings["width"])])
    values = random.standard_normal((stop - first, 3, POINTS), np.float32)
    return {"values": (("replica", "time", "point"), values), "ts": (("time",), np.arange(3.0))}


def spec(cells: int, blocks: int, block: int) -> SweepSpec:
    """Cells with so many blocks each, of so many replicas."""
    return SweepSpec({"width": 1, "replicas": blocks * block, "block": block}, {"width": list(range(1, cells + 1))})


def overhead(folder: Path, blocks: int, block: int, repeats: int) -> None:
    """One line: seconds of a run, less those of the same calls without a store."""
    per_block = []
    for turn in range(repeats):
        store = Store.create(folder / f"{block}-{turn}", spec(4, blocks // 4, block))
        start = time.perf_counter()
        for job in store.spec.jobs:
            work(store.cell(job).settings, job.first, job.stop)
        direct = time.perf_counter() - start
        start = time.perf_counter()
        sweeps.run(store, work)
        per_block.append((time.perf_counter() - start - direct) / blocks)
        shutil.rmtree(store.folder)
    size = len(packed("0" * 64, 0, block, work({"width": 1}, 0, block)))
    middle = statistics.median(per_block)
    print(f"{size / 2**20:9.3f} {middle * 1e3:12.2f} {max(per_block) * 1e3:10.2f} {middle:12.2%}")


def filled(store: Store) -> None:
    """All blocks of a store as `run` would write them, but without asking the disk whether they have arrived."""
    for cell in store.spec.cells:
        store.describe(cell)
        for job in cell.jobs:
            store.path(job).write_bytes(
                packed(cell.cell_id, job.first, job.stop, work(cell.settings, job.first, job.stop))
            )


def listed(folder: Path, cells: int, blocks: int) -> None:
    """Lines: what is there, opened, a replica of it, all looked at."""
    made = spec(cells, blocks, 2)
    store = Store.create(folder / "listed", made)
    filled(store)
    steps: dict[str, Callable[[], object]] = {
        "open the store": lambda: Store.open(store.folder),
        "list what is there": store.present,
        "list what is missing": store.missing,
        "start a run that has nothing to do (verify=False)": lambda: sweeps.run(store, work, verify=False),
        "open as a dataset": lambda: sweeps.dataset(store.folder),
        "one replica of every cell": lambda: sweeps.dataset(store.folder)["values"].isel(replica=5).values,
        "verify every byte": lambda: sweeps.verify(store.folder),
        "consolidate": lambda: sweeps.consolidate(store),
        "open what is consolidated": lambda: sweeps.dataset(store.folder),
    }
    print(f"\n{cells * blocks} blocks of {cells} cells, seconds")
    for name, step in steps.items():
        start = time.perf_counter()
        step()
        print(f"{name:50s} {time.perf_counter() - start:8.2f}")
    shutil.rmtree(store.folder)


def measured(name: str, folder: str) -> tuple[float, float]:
    """Seconds of one step on a store, and MiB by which the memory of this new process has grown at its peak."""
    store = Store.open(folder)
    sweeps.dataset(folder)  # what it imports is not what is measured
    before, start = _peak(), time.perf_counter()
    if name == "consolidate":
        sweeps.consolidate(store)
    elif name == "open":
        sweeps.dataset(folder)
    else:
        opened = sweeps.dataset(folder)["values"]
        opened.isel(replica=slice(0, None, 1000), time=-1).mean("replica").values  # noqa: B018
    return time.perf_counter() - start, _peak() - before


def large(folder: Path, cells: int, blocks: int, block: int) -> None:
    """Lines: seconds and memory of a step on a store of many megabytes, each in its own process."""
    store = Store.create(folder / "large", spec(cells, blocks, block))
    filled(store)
    size = sum(path.stat().st_size for path in store.blocks.every())
    print(f"\n{size / 1e9:.2f} GB in {len(store.spec.jobs)} blocks of {cells} cells{'seconds':>22} {'MiB at most':>12}")
    context = multiprocessing.get_context("spawn")
    for step in ("open", "mean of every 1000th", "consolidate", "open", "mean of every 1000th"):
        with context.Pool(1) as pool:
            seconds, memory = pool.apply(measured, (step, str(store.folder)))
        print(f"{step:50s} {seconds:8.2f} {memory:12.0f}", flush=True)
    shutil.rmtree(store.folder)


def _peak() -> float:
    """MiB of memory that this program has had at most; what getrusage says begins with that of its parent."""
    (line,) = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 2**10


def main(quick: bool = False) -> None:
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        print("overhead of a block against the calls alone: size in MiB, median and largest in ms, share of 1 s")
        for block in (16, 512, 4096):
            overhead(folder, 20 if quick else 400, block, 1 if quick else 5)
        listed(folder, 10, 100 if quick else 10_000)
        large(folder, 4, 5 if quick else 250, 2800 if quick else 28_000)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    main(parser.parse_args().quick)
