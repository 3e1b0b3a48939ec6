"""What do the compilers of an H100 and of a TPU v5e make of our programs? Nothing is run, and neither need be there.

The programs are those that `simulate` would have compiled on such a device for the problem of `benchmarks/gpu.py` until
t = 1: of a lane as wide as the package chooses for this kind, from its keys to its outputs. A line for each case:

- `compile_s`: tracing, lowering and compilation of all its programs, on this machine;
- `turn`: what the numbers after it belong to, one step of the chain or one block of steps. `turns`, how many of them
  a loop makes, is known to the compiler, or it is `data`: a GPU's runtime then asks the host before every turn;
- `kernels`: launches of a turn without those of loops within it. `passes`: bytes that it reads and writes in the
  device's main memory, in units of the lane's parameters in the span of the data; two are the least, unless a TPU keeps
  them on the chip. `copied`: the part of kernels that only copy;
- `GB`: arguments, outputs and temporaries less what they share, of the largest program; `foretold`: the same in units
  of the bytes by which runs that have no room are refused;
- `short`, `float64`, `callbacks`: products that are not at full precision, 64-bit floats and calls of the host, in all
  programs. Where one of them is not zero, the script ends with an error.

The second table has every loop of the program that makes the later pieces of a run, from the outside in, by the
functions they are written in. A block has as many turns of `walked.part` as chunks of steps, and a chunk as many of
`_together` as corrections.

These are counts and not times. They do not say how long a launch or a pass takes, how many launches a runtime joins to
one graph, how often loops turn whose number is data, or what a cache saves. Autotuning needs a card and is off: there,
products may become other kernels, which take other memory. The H100 is described to its compiler by figures of its data
sheet.

The compilers are `pip install libtpu` and `pip install jax-cuda12-plugin jax-cuda12-pjrt nvidia-cuda-nvcc-cu12`, in the
versions that belong to the installed JAX. One that is not there is said to be missing, and the script goes on. Every
case is compiled in a process of its own, whose environment keeps it to the CPU, one after the other: libtpu allows no
two at a time.
"""

import argparse
import importlib.metadata
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.experimental import topologies
from jax.sharding import SingleDeviceSharding

import jaxlimit as jl
from benchmarks._chains import POINTS, problem_of
from benchmarks._hlo import Loop, foreign, loops
from benchmarks._record import Record
from benchmarks.multilayer import problem_of as layers
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._lane import Programs, constants, lane_keys, shared
from jaxlimit.simulation._memory import lane_bytes, parameters
from jaxlimit.simulation._pieces import pieces
from jaxlimit.simulation._prepared import Prepared, prepared

ROOT, SECONDS = Path(__file__).parents[1], 1800.0
"""A program that takes longer than that to compile is given up."""

H100 = {
    "platform_name": "CUDA",
    "device_description_str": "NVIDIA H100 80GB HBM3",
    "gpu_device_info": {
        "cuda_compute_capability": {"major": 9, "minor": 0},
        "core_count": 132,
        "fpus_per_core": 128,
        "clock_rate_ghz": 1.98,
        "threads_per_warp": 32,
        "threads_per_block_limit": 1024,
        "threads_per_core_limit": 2048,
        "registers_per_block_limit": 2**16,
        "registers_per_core_limit": 2**16,
        "shared_memory_per_block": 48 * 2**10,
        "shared_memory_per_block_optin": 227 * 2**10,
        "shared_memory_per_core": 228 * 2**10,
        "block_dim_limit_x": 2**31 - 1,
        "block_dim_limit_y": 2**16 - 1,
        "block_dim_limit_z": 2**16 - 1,
        "l2_cache_size": 50 * 2**20,
        "device_memory_size": 80 * 10**9,
        "memory_bandwidth": 3350 * 10**9,
    },
}
"""Of the SXM card, by the names that XLA has for them: the limits of compute capability 9.0, and a data sheet."""


class Target(NamedTuple):
    """A kind of device: the modules and packages of its compiler, what the environment must say, the device itself."""

    modules: tuple[str, ...]
    packages: str
    environment: Callable[[], dict[str, str]]
    device: Callable[[], jax.Device]


def _of_cuda() -> dict[str, str]:
    found = importlib.util.find_spec("nvidia.cuda_nvcc")
    folder = next(iter(found.submodule_search_locations or ())) if found else ""
    return {"XLA_FLAGS": f"--xla_gpu_autotune_level=0 --xla_gpu_cuda_data_dir={folder}"}


def _of_tpu() -> dict[str, str]:
    return {"TPU_SKIP_MDS_QUERY": "1", "TPU_WORKER_HOSTNAMES": "localhost"}


def _h100() -> jax.Device:
    described = protobuf(H100)
    found = topologies.get_topology_desc("h100", "cuda", target_config=described, topology="1x1x1")
    return found.devices[0]


def _v5e() -> jax.Device:
    return topologies.get_topology_desc("v5e:2x2", "tpu").devices[0]


TARGETS = {
    "H100": Target(
        ("jax_plugins.xla_cuda12", "nvidia.cuda_nvcc"),
        "jax-cuda12-plugin jax-cuda12-pjrt nvidia-cuda-nvcc-cu12",
        _of_cuda,
        _h100,
    ),
    "TPU v5e": Target(("libtpu",), "libtpu", _of_tpu, _v5e),
}


STEP, BLOCK = "_steps.counted.around", "_blocks._advance.save.one"
"""The functions of the package in which the loops over steps and over blocks are written."""


class Case(NamedTuple):
    """A method on a problem, and where the loop is that matters.

    `settings` are those of `simulate`, and `widths` makes of the width of a table what the network asks for.
    """

    method: AbstractMethod
    turn: str
    problem: Callable[[], jl.Problem] = partial(problem_of, POINTS)
    settings: Mapping[str, Any] = {}
    widths: Callable[[int], Any] = int


def _linearised() -> jl.Problem:
    network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
    return jl.Problem(problem_of(POINTS).data, jl.networks.Linearised(network))


def _deep() -> jl.Problem:
    return layers(problem_of(POINTS).data)


METHODS = {
    "Stepwise()": Case(jl.Stepwise(), STEP),
    "SStep()": Case(jl.SStep(), BLOCK),
    "SStep(order=2)": Case(jl.SStep(order=2), BLOCK),
    "SStep(tolerance=1e-4)": Case(jl.SStep(tolerance=1e-4), BLOCK),
}
OTHERS = {
    "batch of 4": Case(jl.Stepwise(), STEP, settings={"batch": 4}),
    "all points": Case(jl.Stepwise(), STEP, settings={"batch": None}),
    "SStep(), all points": Case(jl.SStep(), BLOCK, settings={"batch": None}),
    "SStep(), 200 points": Case(jl.SStep(), BLOCK, problem=partial(problem_of, 200)),
    "optax.adam": Case(jl.Stepwise(), STEP, settings={"optimiser": optax.adam(1e-3)}),
    "Linearised": Case(jl.Stepwise(), STEP, problem=_linearised),
    "Multilayer, twice N/8": Case(jl.Stepwise(), STEP, problem=_deep, widths=lambda n: (n // 8, n // 8)),
}
CASES = METHODS | OTHERS
QUICK = (("Stepwise()", 256), ("SStep()", 256))
FULL = (
    *((name, width) for width in (4096, 16384) for name in METHODS),
    ("Stepwise()", 65536),
    *((name, 4096) for name in OTHERS),
)


def protobuf(fields: Mapping[str, Any]) -> str:
    """The text of a message: numbers, words, and messages within it."""
    write: dict[type, Callable[[Any], str]] = {dict: lambda inner: f"{{ {protobuf(inner)} }}", str: json.dumps}
    return " ".join(
        f"{name}{'' if isinstance(value, dict) else ':'} {write.get(type(value), str)(value)}"
        for name, value in fields.items()
    )


def run_on(case: Case, width: int, device: jax.Device) -> Prepared:
    """A run of this case as this device would get it; nothing that is asked of a device that is there is asked."""
    settings = {"batch": 1, "optimiser": None} | dict(case.settings)
    known = case.problem(), case.widths(width), [0.0, 1.0], 1, jax.random.key(0)
    step_by_step = jl.Stepwise(native=False)  # which every network knows, and numba need not compile for this CPU
    given = prepared(*known, step_by_step, None, None, settings["batch"], settings["optimiser"], jnp.float32, None, 0)
    run = given.run._replace(devices=(device,))
    chain = case.method.chain(run)
    return given._replace(method=case.method, run=run, chain=chain, lane=lane_bytes(run, chain))


def programs_of(given: Prepared, device: jax.Device) -> Iterator[Any]:
    """Its programs, traced for the device: the start, the first piece, and the later ones where there are any."""
    sharding = SingleDeviceSharding(device)
    advance: Any = given.chain.advance
    if isinstance(advance, partial):
        # What it is given first are arguments of the program too, among them arrays.
        advance = jax.tree_util.Partial(advance.func, *advance.args)
    given = given._replace(chain=given.chain._replace(advance=advance))

    def placed(tree: Any) -> Any:
        described = lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding)  # noqa: E731
        return jax.tree.map(lambda leaf: described(leaf) if hasattr(leaf, "dtype") else leaf, tree)

    def traced(method: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
        whole = Programs(given, constants(given, placed(host))), *arguments
        here = lambda leaf: isinstance(leaf, jax.Array | jax.ShapeDtypeStruct)  # noqa: E731
        arrays, others = eqx.partition(whole, here)
        function = jax.jit(lambda arrays: method(*eqx.combine(arrays, others)))
        return function.trace(placed(arrays)), function.eval_shape(placed(arrays))

    host, cut = shared(given, None), pieces(given.steps, given.chain)
    keys = jax.eval_shape(lane_keys, given.key, jax.ShapeDtypeStruct((given.chain.lanes,), jnp.uint32))
    program, (moving, fixed) = traced(Programs.begun, keys, jax.ShapeDtypeStruct((), jnp.int32))
    yield program
    for piece in cut[:2]:
        program, (moving, _) = traced(Programs.advanced, keys, moving, fixed, jax.tree.map(jnp.asarray, piece))
        yield program


def compiled(target: str, name: str, width: int) -> dict[str, Any]:
    """What is found of one case, in a process that has the environment of the target."""
    case, device = CASES[name], TARGETS[target].device()
    given = run_on(case, width, device)
    start = time.perf_counter()
    texts, sizes = [], []
    for program in programs_of(given, device):
        done = program.lower().compile()
        memory = done.memory_analysis()
        taken = memory.argument_size_in_bytes + memory.output_size_in_bytes + memory.temp_size_in_bytes
        sizes.append(taken - memory.alias_size_in_bytes)
        texts.append(done.as_text())
    seconds = time.perf_counter() - start
    unit, found = given.chain.lanes * parameters(given.run), loops(texts[-1])
    short, doubles, calls = (sum(each) for each in zip(*map(foreign, texts), strict=True))

    def row(loop: Loop) -> dict[str, Any]:
        turns = "data" if loop.turns is None else loop.turns
        shares = {"passes": loop.moved / unit, "copied": loop.copied / unit}
        return {"turns": turns, "kernels": loop.kernels, **shares, "branches": loop.branches}

    own = [loop for loop in found if loop.function == case.turn]
    if not own:
        raise RuntimeError(f"no loop of {case.turn} is left, but {[loop.function for loop in found[1:]]}")
    return {
        "lanes": given.chain.lanes,
        "compile_s": seconds,
        "turn": {STEP: "step", BLOCK: "block"}[case.turn],
        **row(own[0]),
        "GB": max(sizes) / 1e9,
        "foretold": max(sizes) / given.lane,
        "short": short,
        "float64": doubles,
        "callbacks": calls,
        "note": given.chain.name,
        "loops": [{"depth": loop.depth, **row(loop), "note": "  " * loop.depth + loop.function} for loop in found],
    }


def missing(target: Target) -> bool:
    """Whether its compiler cannot be had here."""

    def there(module: str) -> bool:
        try:
            return importlib.util.find_spec(module) is not None
        except ModuleNotFoundError:  # of the package that it is in
            return False

    return not all(map(there, target.modules))


def in_a_process(target: str, name: str, width: int) -> dict[str, Any]:
    """`compiled` in a process of its own; ``RuntimeError`` with the last error that it named where it ends badly."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("JAX_", "XLA_"))}
    env = {**kept, "JAX_PLATFORMS": "cpu", **TARGETS[target].environment()}
    command = [sys.executable, "-m", "benchmarks.compiled", "--target", target, "--case", name, "--width", str(width)]
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, timeout=SECONDS, check=False)
    if done.returncode:
        # Compilers go on talking after what matters.
        said = [line for line in done.stderr.splitlines() if re.match(r"[\w.]*(?:Error|Exception)\b", line)]
        raise RuntimeError(f"its process ended with {done.returncode}: {said[-1] if said else 'nothing was said'}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def versions() -> dict[str, str]:
    """Of JAX and of the compilers that are here."""
    names = ["jax", "jaxlib", *(target.packages.split()[0] for target in TARGETS.values() if not missing(target))]
    return {name: importlib.metadata.version(name) for name in names}


def main(quick: bool = False, file: str | Path | None = None) -> None:
    """Print the tables; ``RuntimeError`` after all of them if something failed or does not belong on a device."""
    record = Record({"run": "nothing", **versions()}, file, minutes=math.inf)
    case, zero = ("what", "method", "width"), ("short", "float64", "callbacks")
    each = "turns", "kernels", "passes", "copied", "branches"
    record.table("compiled, not run", case, ("lanes", "compile_s", "turn", *each, "GB", "foretold", *zero))
    inner: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def found(known: dict[str, Any]) -> dict[str, Any]:
        row = in_a_process(known["what"], known["method"], known["width"])
        inner.extend((known, loop) for loop in row.pop("loops"))
        return row

    for target, needed in TARGETS.items():
        if missing(needed):
            record.measure({"what": target}, partial(dict, note=f"not installed: pip install {needed.packages}"))
            continue
        for name, width in QUICK if quick else FULL:
            known = {"what": target, "method": name, "width": width}
            row = record.measure(known, partial(found, known)) or {}
            bad = {key: row[key] for key in zero if row.get(key)}
            if bad:
                record.failures.append(f"{known} has what does not belong on a device: {bad}\n")
    record.table("loops", (*case, "depth"), each)
    for known, loop in inner:
        record.measure(known, partial(dict, loop))
    record.finish()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--json", type=Path, metavar="FILE", help="keep the numbers there")
    parser.add_argument("--target", choices=TARGETS, help="print what is found of one case there, as JSON")
    parser.add_argument("--case", choices=CASES, help="that case")
    parser.add_argument("--width", type=int, help="of that case")
    asked = parser.parse_args()
    if asked.target:
        print(json.dumps(compiled(asked.target, asked.case, asked.width)))
    else:
        main(asked.quick, asked.json)
