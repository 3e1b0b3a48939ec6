"""Simulations against what the device can do, against a plain loop of JAX, and on several devices.

The counts of operations and bytes are those of `benchmarks/gpu.py`. Float32, tanh, sphere data with 10 inputs, α = 1.
"""

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import jaxlimit as jl
from benchmarks._peaks import Peaks
from benchmarks._record import Record, timed

INPUTS, POINTS, TINY = 10, 20, 64
"""Inputs; points where nothing else is said; neurons where they should not count."""

STEPS, SECONDS, LAUNCHING = 1024, 1.0, 5e-5
"""Most steps of the chain one by one; seconds that they may take; seconds of a step beyond its bytes, at worst."""

Room = Callable[[int], int | None]
"""Bytes of a replica → replicas of a lane, None for what the method chooses."""


def chosen(each: int) -> None:
    """As the method chooses."""


def few(each: int) -> int:
    """So few that launches cost more than bytes."""
    return 16


def full(each: int) -> int:
    """A power of two of replicas that fill up to four fifths of the memory, 4096 at most."""
    stats = jax.local_devices()[0].memory_stats() or {}
    return 2 ** int(math.log2(max(1.0, min(4096.0, 0.8 * float(stats.get("bytes_limit", 0)) / each))))


def problem_of(points: int, alpha: float = 1.0) -> jl.Problem:
    network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
    return jl.Problem(jl.data.sphere(points=points, inputs=INPUTS), network, learning_rate=alpha)


class Case(NamedTuple):
    """A method at one width, and how many replicas go together in a lane, and in all."""

    problem: jl.Problem
    width: int
    method: Any
    lanes: int
    replicas: int
    name: str

    def run(self, until: float, **settings: Any) -> jl.paths.Samples:
        own = {"replicas": self.replicas, "key": jax.random.key(0), "method": self.method, **settings}
        return jl.simulate(self.problem, self.width, [until], **own)

    def times(self, until: float, repeats: int) -> dict[str, Any]:
        """Seconds of a whole call, and of a call less one with no step."""
        call, idle = (timed(lambda t=t: self.run(t), repeats) for t in (until, 0.0))
        return {"compile_s": call.compile_s, "call_s": call.call_s, "chain_s": max(0.0, call.call_s - idle.call_s)}


def case_of(problem: jl.Problem, width: int, make: Callable[[int | None], Any], room: Room) -> Case:
    """As many lanes as go on at a time where the method chooses how wide they are, else one."""
    planned = partial(jl.simulation.plan, problem, width, [1.0], key=jax.random.key(0))
    lanes = room(planned(method=make(1)).lane_bytes)
    plan = planned(method=make(lanes))
    return Case(problem, width, plan.method, plan.lanes, plan.lanes * (1 if lanes else plan.workers), plan.name)


def one_by_one(
    record: Record, widths: Sequence[int], rooms: Sequence[Room], peak: Peaks, repeats: int
) -> dict[int, float]:
    """The exact chain; the least nanoseconds per neuron and step by width."""
    numbers = "room", "lanes", "replicas", "steps", "compile_s", "call_s", "chain_s", "us_per_step"
    shares = "ns_per_neuron_step", "GB_per_s", "of_bandwidth", "empty_steps"
    record.table("steps one by one", ("method", "width"), (*numbers, *shares), "ns_per_neuron_step")
    problem, best = problem_of(POINTS), dict.fromkeys(widths, math.inf)
    methods: dict[str, Callable[[int | None], Any]] = {"Stepwise": lambda lanes: jl.Stepwise(lanes=lanes)}
    if importlib.util.find_spec("numba") and jax.default_backend() == "cpu":
        methods["Stepwise, XLA"] = lambda lanes: jl.Stepwise(lanes=lanes, native=False)

    def measured(width: int, make: Callable[[int | None], Any], room: Room) -> dict[str, Any]:
        case = case_of(problem, width, make, room)
        moved = 2.0 * 4 * width * (INPUTS + 1) * case.replicas
        passing = moved / peak.bandwidth if peak.bandwidth > 0 else 0.0
        steps = 2 ** int(math.log2(min(STEPS, max(32.0, SECONDS / (LAUNCHING + passing)))))
        times = case.times(steps / width, repeats)
        each = times["chain_s"] / steps
        found = {"lanes": case.lanes, "replicas": case.replicas, "steps": steps, **times, "note": case.name}
        if not each:
            return found
        found |= {"us_per_step": 1e6 * each, "ns_per_neuron_step": 1e9 * each / width / case.replicas}
        rates = {"GB_per_s": 1e-9 * moved / each, "of_bandwidth": passing / each or None}
        return {**found, **rates, "empty_steps": each / peak.step}

    for width in widths:
        for name, make in methods.items():
            for room in rooms:
                known = {"method": name, "width": width, "room": room.__name__}
                found = record.measure(known, partial(measured, width, make, room)) or {}
                best[width] = min(best[width], found.get("ns_per_neuron_step", math.inf))
    return best


def blocks(
    record: Record,
    cases: Sequence[tuple[int, int]],
    rooms: Sequence[Room],
    peak: Peaks,
    repeats: int,
    ns_at: Mapping[int, float],
) -> None:
    """Blocks of steps until t = 1, at so many points and neurons; `ns_at` is what a step one by one costs by width."""
    numbers = "room", "lanes", "replicas", "compile_s", "call_s", "chain_s", "recursion_s", "ms_per_replica"
    shares = "Gflop_per_s", "of_product_peak", "of_roof", "times_stepwise"
    record.table("blocks of steps", ("method", "points", "width"), (*numbers, *shares), "ms_per_replica")

    def measured(points: int, width: int, count: int | None, room: Room) -> dict[str, Any]:
        settings = {"tolerance": 1e-4} if count is None else {"block": width // count}
        case = case_of(problem_of(points), width, lambda lanes: jl.SStep(lanes=lanes, **settings), room)
        found = {"lanes": case.lanes, "replicas": case.replicas, **case.times(1.0, repeats), "note": case.name}
        each = found["chain_s"] / case.replicas
        if each:
            found["ms_per_replica"] = 1e3 * each
            if points == POINTS and ns_at.get(width, math.inf) < math.inf:
                found["times_stepwise"] = 1e-9 * ns_at[width] * width**2 / each
        if each and count is not None:
            operations = float(width) * count * (4 * points * INPUTS + 4 * points + 4 * points**2)
            moved = 4.0 * width * count * (6 * points + 5 * (INPUTS + 1))
            roof = max(operations / peak.product, moved / peak.bandwidth)
            found |= {"Gflop_per_s": 1e-9 * operations / each, "of_roof": roof / each}
            found |= {"of_product_peak": operations / each / peak.product}
        # As many steps of the same size, α/N, in blocks of the same length, with hardly a neuron.
        block = jl.SStep(block=width // (count or 4), lanes=case.lanes)
        small = Case(problem_of(points, TINY / width), TINY, block, case.lanes, case.replicas, "")
        return {**found, "recursion_s": timed(lambda: small.run(width / TINY), repeats).call_s}

    for points, width in cases:
        for count in (4, 16, None):
            name = "tolerance 1e-4" if count is None else f"block N/{count}"
            # Launches are shared by all replicas of a lane: few of them tell nothing, more of them once.
            for room in rooms if count == 4 else rooms[:1]:
                known = {"method": name, "points": points, "width": width, "room": room.__name__}
                record.measure(known, partial(measured, points, width, count, room))


def plain(problem: jl.Problem, width: int) -> Callable[..., jax.Array]:
    """What is written today: one network as a function, its gradient, a scan over steps, all networks by `vmap`."""
    x, y = jnp.asarray(problem.data.x, jnp.float32), jnp.asarray(problem.data.y, jnp.float32)
    rate = problem.learning_rate / width

    def output(parameters: tuple[jax.Array, jax.Array], x: jax.Array) -> jax.Array:
        c, w = parameters
        return jnp.dot(jnp.tanh(x @ w.T), c) / width**0.5

    def train(c: jax.Array, w: jax.Array, indices: jax.Array) -> jax.Array:
        def step(parameters: Any, i: jax.Array) -> Any:
            slope = jax.grad(lambda p: 0.5 * (output(p, x[i]) - y[i]) ** 2)(parameters)
            return jax.tree.map(lambda p, s: p - rate * s, parameters, slope), None

        return output(jax.lax.scan(step, (c, w), indices)[0], x)

    return jax.jit(jax.vmap(train))


def peers(record: Record, replicas: int, width: int, steps: int, repeats: int) -> None:
    """As many steps of the same networks, by us and by a plain loop."""
    numbers = "replicas", "steps", "compile_s", "chain_s", "ns_per_neuron_step", "times_ours", "largest_difference"
    record.table("against a plain loop", ("who", "width"), numbers, "ns_per_neuron_step")
    problem, key = problem_of(POINTS), jax.random.key(0)
    work, known = 1e-9 * replicas * width * steps, {"width": width, "replicas": replicas, "steps": steps}
    case = Case(problem, width, jl.Stepwise(), 0, replicas, "")

    def ours() -> dict[str, Any]:
        times = case.times(steps / width, repeats)
        found = {"compile_s": times["compile_s"], "chain_s": times["chain_s"]}
        return {**found, "ns_per_neuron_step": times["chain_s"] / work or None}

    def theirs(precision: str) -> dict[str, Any]:
        drawn = [jl.simulation.draws(problem, width, key, r, steps) for r in range(replicas)]
        arrays = [jnp.asarray(np.stack(part)) for part in zip(*drawn, strict=True)]
        with jax.default_matmul_precision(precision):
            train = plain(problem, width)
            time = timed(lambda: jax.block_until_ready(train(*arrays)), repeats)
            apart = np.max(np.abs(np.asarray(train(*arrays)) - case.run(steps / width).values[:, 0]))
        each = time.call_s / work
        found = {"compile_s": time.compile_s, "chain_s": time.call_s, "ns_per_neuron_step": each}
        return {**found, "times_ours": each / own if own else None, "largest_difference": float(apart)}

    own = (record.measure({"who": "simulate", **known}, ours) or {}).get("ns_per_neuron_step")
    for name, precision in (("as it is written", "default"), ("at full precision", "highest")):
        record.measure({"who": name, **known}, partial(theirs, precision))


def devices(record: Record, width: int, until: float, repeats: int) -> None:
    """The same run on 1, 2, 4, … of the local devices: the same bits, sooner."""
    record.table("devices", ("method", "devices"), ("replicas", "compile_s", "call_s", "times_one", "same_bits"))
    local = jax.local_devices()
    counts = [2**k for k in range(len(local).bit_length())]
    note = {"note": "there is one device; JAX_NUM_CPU_DEVICES makes several of a CPU"} if counts == [1] else {}
    for make in (lambda lanes: jl.Stepwise(lanes=lanes), lambda lanes: jl.SStep(block=width // 4, lanes=lanes)):
        method = make(few(0))
        case = Case(problem_of(POINTS), width, method, few(0), 2 * few(0) * counts[-1], type(method).__name__)
        alone: list[Any] = []

        def measured(count: int, case: Case = case, alone: list[Any] = alone) -> dict[str, Any]:
            time = timed(lambda: case.run(until, devices=local[:count]), repeats)
            values = case.run(until, devices=local[:count]).values
            alone[:] = alone or [time.call_s, values]
            same = "yes" if np.array_equal(values, alone[1]) else "NO"
            found = {"compile_s": time.compile_s, "call_s": time.call_s, "times_one": alone[0] / time.call_s}
            return {"replicas": case.replicas, **found, "same_bits": same, **note}

        for count in counts:
            record.measure({"method": case.name, "devices": count}, partial(measured, count))
