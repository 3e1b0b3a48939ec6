"""What share of an accelerator, or of whatever JAX's default backend is, do simulations, statistics and kernels reach?

Peaks come first, measured in the same run: bytes a second in passes over arrays far larger than the caches, operations
a second of multiply-adds and of square products at full and at default precision, and the time of a step of a loop on
the device that does next to nothing, with the number of steps known to the compiler and with that number being data.

Work, with N neurons, r inputs, M points, in float32. A step of the chain one by one reads and writes c and w once, as
the outputs of the next step are prepared in the pass that updates for this one: 2·4N(r + 1) bytes at least, and 4r + 25
operations a neuron. At less than an operation a byte memory is the limit, or the launches: `empty_steps` says how many
empty steps a step takes. Where the replicas of a lane fit into a cache, as on CPUs, shares of the bandwidth may exceed
one.

A block of `SStep` takes 4Mr + 4M operations a neuron for features and update, and 4M² for the kernel. c, w and what
rounding took from them are read and written, c and w are read once more for the features, and the features, 2M numbers,
are written once and read twice: 4(6M + 5(r + 1)) bytes. `of_product_peak` is the share of square products at full
precision; `of_roof` that of the larger of two times, these operations at that peak and these bytes at the measured
bandwidth. One kernel a block is counted; on a CPU some blocks share one, of which half is computed, so that shares
there are hints. `recursion_s` is the time of the same steps and blocks with 64 neurons. A chain is a call less the same
call with no step; `compile_s` is what a first call takes beyond later ones.

Peers: what is written today, `vmap` of `scan` of `jax.grad` with w as [neurons, inputs], on the same draws, with its
outputs compared; NumPy in float64 for statistics and kernels. The study is `xavier` at width 10⁶, one call with all
that it compiles.

`--json FILE` keeps the numbers; `--against FILE` compares costs with those of another machine, at its best number of
replicas. The core's own dependencies are enough. With `JAX_NUM_CPU_DEVICES=4` a CPU has several devices.
"""

import argparse
import datetime
import os
import platform
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jaxlib
import numpy as np

import jaxlimit as jl
from benchmarks._chains import INPUTS, POINTS, Room, blocks, chosen, devices, few, full, one_by_one, peers, problem_of
from benchmarks._peaks import Peaks, peaks
from benchmarks._record import Record, timed
from jaxlimit.statistics._characteristic import mean_features


class Sizes(NamedTuple):
    """What is run.

    `array` and `product` are for the peaks; `blocks` and `kernels` are points and neurons; `peer` is replicas, width,
    steps; `floor` the share of samples and neurons that NumPy gets; `devices` a width and a limit time.
    """

    array: int
    product: int
    repeats: int
    rooms: tuple[Room, ...]
    widths: tuple[int, ...]
    blocks: tuple[tuple[int, int], ...]
    peer: tuple[int, int, int]
    samples: int
    kernels: tuple[tuple[int, int], ...]
    floor: float
    devices: tuple[int, float]
    study: Mapping[str, Any]


QUICK = Sizes(
    array=2**22,
    product=512,
    repeats=1,
    rooms=(chosen,),
    widths=(256,),
    blocks=((POINTS, 256),),
    peer=(4, 256, 64),
    samples=4000,
    kernels=((50, 4096),),
    floor=0.25,
    devices=(256, 0.25),
    study={"widths": (64, 128), "replicas": 64, "path_replicas": 4, "ts": (0.0, 0.5)},
)
CPU = Sizes(
    array=2**26,
    product=2048,
    repeats=3,
    rooms=(chosen,),
    widths=(1024, 4096, 16384, 65536),
    blocks=((POINTS, 4096), (POINTS, 16384), (POINTS, 65536), (200, 16384)),
    peer=(8, 4096, 256),
    samples=10**6,
    kernels=((100, 10**6), (1000, 10**5)),
    floor=0.02,
    devices=(4096, 0.25),
    study={"widths": (10**6,)},
)
ACCELERATOR = CPU._replace(array=2**29, product=8192, rooms=(chosen, full, few), peer=(512, 4096, 1024))
PARTS = ("stepwise", "blocks", "peers", "study", "statistics", "devices")


def statistics(record: Record, sizes: Sizes, peak: Peaks) -> None:
    """Energy distance of many samples, and kernels of wide networks."""
    numbers = "count", "compile_s", "call_s", "ns_each", "Gflop_per_s", "of_peak", "times_numpy"
    record.table("samples and neurons", ("what", "points"), numbers, "ns_each")

    def row(count: int, operations: float, most: float, floor: float | None, run: Callable[[], object]) -> Any:
        """`operations` for each of `count`, of `most` a second; `floor` nanoseconds is what NumPy takes."""
        spent = timed(run, sizes.repeats)
        found = {"count": count, "compile_s": spent.compile_s, "call_s": spent.call_s}
        found["ns_each"] = each = 1e9 * spent.call_s / count
        found |= {"Gflop_per_s": operations / each, "of_peak": 1e9 * operations / each / most}
        return found if floor is None else {**found, "times_numpy": floor / each}

    _energy(record, sizes.samples, max(1, int(sizes.floor * sizes.samples)), partial(row, most=peak.multiply_add))
    for points, neurons in sizes.kernels:
        _kernel(record, points, neurons, max(1, int(sizes.floor * neurons)), partial(row, most=peak.product))


def _energy(record: Record, count: int, fewer: int, row: Callable[..., Any]) -> None:
    energy, known = jl.statistics.EnergyDistance(), {"points": POINTS}
    values = np.random.default_rng(0).standard_normal((count, POINTS), dtype=np.float32)
    drawn = energy.frequencies(POINTS)
    # The angle, its reduction, two polynomials, four products and two sums: `_characteristic` has them.
    operations = len(drawn.at) * (2.0 * POINTS + 45)
    own = jl.paths.Samples(np.ones(1), values[:, None], None, np.ones(1, int), np.full(count, -1), "Stepwise", 1, 1)
    law = jl.paths.GaussianPath(np.ones(1), np.zeros((1, POINTS)), np.eye(POINTS)[None])
    exact = values[:fewer].astype(np.float64)

    def by_numpy() -> list[np.ndarray]:
        turns = exact @ drawn.at.T
        return [np.mean(f(turns), axis=0) for f in (np.cos, np.sin)]

    lowest = record.measure(
        {"what": "features, NumPy", **known}, lambda: row(fewer, operations, floor=None, run=by_numpy)
    )
    floor = (lowest or {}).get("ns_each")
    runs: dict[str, Callable[[], object]] = {
        "features": lambda: mean_features(values, drawn.at, drawn.weight),
        "energy distance": lambda: jl.compare(own, law, energy),
    }
    for what, run in runs.items():
        record.measure({"what": what, **known}, partial(row, count, operations, floor=floor, run=run))


def _kernel(record: Record, points: int, neurons: int, fewer: int, row: Callable[..., Any]) -> None:
    network, x = problem_of(POINTS).network, jl.data.sphere(points=points, inputs=INPUTS).x
    operations, known = 4.0 * points**2 + 2 * points * INPUTS, {"points": points}

    def by_numpy() -> Any:
        c, w = (np.asarray(each, np.float64) for each in network.init(fewer, INPUTS, jax.random.key(0)))

        def run() -> np.ndarray:
            h = np.tanh(x @ w.T)
            d = (1.0 - h * h) * c
            return (h @ h.T + d @ d.T * (x @ x.T)) / fewer

        return row(fewer, operations, floor=None, run=run)

    def ours(floor: float | None) -> Any:
        parameters, inputs = network.init(neurons, INPUTS, jax.random.key(0)), jnp.asarray(x, jnp.float32)
        compiled = jax.jit(lambda parameters: jl.empirical_gram(network, parameters, inputs))
        run = lambda: jax.block_until_ready(compiled(parameters))  # noqa: E731
        return row(neurons, operations, floor=floor, run=run)

    lowest = record.measure({"what": "kernel, NumPy", **known}, by_numpy)
    record.measure({"what": "kernel", **known}, partial(ours, (lowest or {}).get("ns_each")))


def study(record: Record, settings: Mapping[str, Any]) -> None:
    """The main job at great width, once: points like the digits, twenty with 64 inputs."""
    record.table("study", ("what", "widths"), ("call_s",), "call_s")
    network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
    problem = jl.Problem(jl.data.sphere(points=POINTS, inputs=64), network)

    def measured() -> dict[str, Any]:
        start = time.perf_counter()
        report = jl.studies.xavier(problem, key=jax.random.key(0), **settings)
        seconds = time.perf_counter() - start
        verdicts = Counter(claim.verdict.value for claim in report.claims)
        return {"call_s": seconds, "note": ", ".join(f"{count} {name}" for name, count in sorted(verdicts.items()))}

    record.measure({"what": "xavier", "widths": str(list(settings["widths"]))}, measured)


def about(quick: bool) -> dict[str, Any]:
    """Where and with what."""
    device = jax.local_devices()[0]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    limit = (device.memory_stats() or {}).get("bytes_limit")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "platform": device.platform,
        "device_kind": device.device_kind,
        "devices": len(jax.local_devices()),
        "device_bytes": limit,
        "cores": cores,
        "processor": platform.machine(),
        "python": platform.python_version(),
        "jax": jax.__version__,
        "jaxlib": jaxlib.__version__,
        "jaxlimit": jl.__version__,
        "numpy": np.__version__,
        "quick": quick,
        "compilation_cache": bool(jax.config.jax_compilation_cache_dir),
    }


def main(
    quick: bool = False,
    file: Path | None = None,
    against: Path | None = None,
    minutes: float = 8.5,
    only: Sequence[str] = PARTS,
) -> None:
    """Print the tables: peaks, the chain one by one and in blocks, a plain loop, the study, statistics, devices."""
    here = about(quick)
    print(", ".join(f"{name} {value}" for name, value in here.items()))
    # What a method says of its error is another benchmark's question.
    warnings.filterwarnings("ignore", ".*beyond the tolerance", UserWarning)
    sizes = QUICK if quick else CPU if here["platform"] == "cpu" else ACCELERATOR
    record, repeats = Record(here, file, against, minutes), sizes.repeats
    peak = peaks(record, sizes.array, sizes.product, sizes.widths[-1], repeats)
    ns_at: dict[int, float] = {}
    parts: dict[str, Callable[[], None]] = {
        "stepwise": lambda: ns_at.update(one_by_one(record, sizes.widths, sizes.rooms, peak, repeats)),
        "blocks": lambda: blocks(record, sizes.blocks, sizes.rooms[:2], peak, repeats, ns_at),
        "peers": lambda: peers(record, *sizes.peer, repeats),
        "study": lambda: study(record, sizes.study),
        "statistics": lambda: statistics(record, sizes, peak),
        "devices": lambda: devices(record, *sizes.devices, repeats),
    }
    for name in PARTS:
        if name in only:
            record.part(parts[name])
    record.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers there")
    parser.add_argument("--against", type=Path, metavar="FILE", help="compare costs with those that were kept there")
    parser.add_argument("--minutes", type=float, default=8.5, help="begin nothing later than that")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=PARTS, help="these parts, after the peaks")
    given = parser.parse_args()
    main(given.quick, given.json, given.against, given.minutes, given.only)
