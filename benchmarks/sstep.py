"""What do blocks of steps buy, and what do they cost in accuracy?

Everything on tanh, sphere data with M = 20 points and d = 10 inputs, c ~ U[−1, 1], w ~ N(0, I), α = 5, T = 2, float32.

Work of a block of order 1, per neuron: 2·2Mr operations for features and update, M(M + 4) for each half of the kernel
(symmetric, in fours), about 13M for the activation and its slope: 2,000 at M = 20, whatever the block's length; the
recursion adds about 5 ns a step and replica. So the cost per unit of limit time is N · (N / block) · 2,000 operations,
against N² · 65 for the loop over steps, and the limit is the processor's multiply-adds: the table says which share of
the machine's own sgemm, measured beside it, the products of the chain reach.

The chain alone is the whole call less the same call with no step; the loop over steps is run for 1/16 of the time.
"""

import argparse
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxlimit as jl
from benchmarks import peak, product, seconds
from jaxlimit._devices import cores
from jaxlimit.simulation._blocks_loop import _recursion
from jaxlimit.simulation._draws import index_block, replica_key, thresholds
from jaxlimit.simulation._native import _loop
from jaxlimit.simulation._passes import fours, passes, products
from jaxlimit.simulation._state import Run
from jaxlimit.simulation._tiles import TILE, compiler, rows_of, tiled

POINTS, INPUTS, ALPHA, UNTIL = 20, 10, 5.0, 2.0


def problem_of(gamma: float = 0.5, alpha: float = ALPHA) -> jl.Problem:
    data = jl.data.sphere(points=POINTS, inputs=INPUTS)
    network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
    return jl.Problem(data, network, scaling=jl.PowerScaling(gamma), learning_rate=alpha)


def trained(problem: jl.Problem, width: int, method: Any, replicas: int, until: float = UNTIL, **settings: Any) -> Any:
    key = jax.random.key(0)
    return jl.simulate(problem, width, [until], replicas=replicas, key=key, method=method, **settings)


def exact(problem: jl.Problem, width: int, replicas: int) -> np.ndarray:
    """Outputs [replicas, points] of the chain in float64, which the native loop computes without JAX's x64 flag."""
    double, x, y = np.dtype(np.float64), problem.data.x, problem.data.y
    steps = problem.scaling.steps(UNTIL, width)
    drawn = [jl.simulation.draws(problem, width, jax.random.key(0), r, steps) for r in range(replicas)]
    c, w, indices = (np.stack(part) for part in zip(*drawn, strict=True))
    c, tiles = c.astype(double), tiled(np.swapaxes(w, 1, 2).astype(double))
    output = problem.scaling.output(width)
    increment = output * problem.learning_rate * problem.scaling.learning_rate(width)
    loop = _loop(problem.network.activation.scalar(double), problem.loss.scalar(), double)
    loop(c, tiles, x, y, indices, output, increment, True, 0, np.full(replicas, -1))
    return output * np.einsum("rpn,rn->rp", np.tanh(x @ rows_of(tiles, width)), c)


def operations(width: int, blocks: int, kernels: int) -> float:
    """Of the products in a chain of order 1."""
    return float(width) * (blocks * (4 * POINTS * INPUTS + 2 * POINTS) + kernels * 2 * POINTS * (POINTS + 4))


def speed(width: int, replicas: int, repeats: int) -> None:
    """Blocks against the best loop over steps there is, and against the machine."""
    problem = problem_of()
    steps, part = problem.scaling.steps(UNTIL, width), UNTIL / 16
    methods = {f"block N/{n}": jl.SStep(block=width // n) for n in (1, 2, 4, 16)}
    methods |= {"order 2, N/4": jl.SStep(block=width // 4, order=2), "tolerance 1e-4": jl.SStep(tolerance=1e-4)}
    loops = {"numba": jl.Stepwise(native=True), "XLA": jl.Stepwise(native=False)}
    runs: dict[str, Callable[[], object]] = {
        name: (lambda m=method: trained(problem, width, m, replicas)) for name, method in methods.items()
    }
    runs |= {name: (lambda m=loop: trained(problem, width, m, replicas, part)) for name, loop in loops.items()}
    runs |= {
        f"{name}, idle": (lambda m=loop: trained(problem, width, m, replicas, 0.0)) for name, loop in loops.items()
    }
    runs |= {"idle": lambda: trained(problem, width, methods["block N/4"], replicas, 0.0), "sgemm": product(np.float32)}
    times = seconds(runs, repeats)
    sgemm = peak(times["sgemm"])
    loop = {name: (times[name] - times[f"{name}, idle"]) * 16 / replicas for name in loops}
    best = min(loop, key=lambda name: loop[name])
    print(f"\nN = {width}, {replicas} replicas: milliseconds a replica, {cores()} cores, sgemm {sgemm / 1e9:.0f} GF/s")
    for name, time in loop.items():
        print(
            f"  loop over steps, {name:6s} {1e3 * time:8.1f} ms  {time / steps / width * 1e9:5.2f} ns per neuron-step"
        )
    faster = f"{'times faster':>15s}"
    print(f"  {'':16s} {'chain':>8s} {faster} {'than XLA':>9s} {'sgemm':>6s} {'call':>8s} {faster}")
    for name in methods:
        chain, call = (times[name] - times["idle"]) / replicas, times[name] / replicas
        blocks = {"block N/1": 3, "block N/2": 4, "block N/4": 8, "block N/16": 32}.get(name)
        share = (
            f"{operations(width, blocks, min(blocks, 2 + blocks // 4)) / chain / sgemm:6.0%}" if blocks else f"{'':6s}"
        )
        print(
            f"  {name:16s} {1e3 * chain:8.2f} {loop[best] / chain:14.0f}x {loop['XLA'] / chain:8.0f}x {share}"
            f" {1e3 * call:8.2f} {loop[best] / call:14.0f}x"
        )


def split(width: int, repeats: int) -> None:
    """Where the time of a block goes, on one core: each part alone, on arrays of the same size."""
    dtype = np.dtype(np.float32)
    scalar, derivative = jl.activations.Tanh().scalar(dtype), jl.SquaredError().scalar()
    (move, look, _), accumulate = passes(scalar, dtype), products(dtype)
    recursion, pair = _recursion(derivative), compiler()()(scalar)
    rng, tiles, dots = np.random.default_rng(0), -(-width // TILE), fours(POINTS)
    c, w = rng.uniform(-1, 1, (tiles, TILE)).astype(dtype), rng.standard_normal((tiles, INPUTS * TILE)).astype(dtype)
    x = problem_of().data.x[dots].astype(dtype)
    h, d = (np.zeros((tiles, dots.size * TILE), dtype) for _ in range(2))
    rest_c, rest_w, step = np.zeros_like(c), np.zeros_like(w), np.zeros((INPUTS + 1) * TILE, dtype)
    errors, total = np.full(dots.size, 1e-9, dtype), np.zeros((dots.size, dots.size))
    directions, sums = np.ascontiguousarray((errors[:, None] * x).T), np.zeros(dots.size)

    @compiler()()
    def looks(c, w, x, h, d, sums):  # type: ignore[no-untyped-def]
        for t in range(c.shape[0]):
            look(c[t], w[t], x, h[t], d[t], sums)

    @compiler()()
    def activations(h, d):  # type: ignore[no-untyped-def]
        for t in range(h.shape[0]):
            for n in range(h.shape[1]):
                value, slope = pair(h[t, n])
                h[t, n] = value
                d[t, n] = slope

    @compiler()()
    def moves(c, w, rest_c, rest_w, step, h, d, errors, directions):  # type: ignore[no-untyped-def]
        for t in range(c.shape[0]):
            move(c[t], w[t], rest_c[t], rest_w[t], step, h[t], d[t], errors, directions, True)

    @compiler()()
    def kernels(h, d, total):  # type: ignore[no-untyped-def]
        for t in range(h.shape[0]):
            accumulate(h[t], total)
            accumulate(d[t], total)

    y, kernel = np.ones(POINTS, dtype), np.full((POINTS, POINTS), 1e-6, dtype)
    indices = rng.integers(0, POINTS, (width // 4, 1)).astype(np.int32)
    network, bounds = problem_of().network, jnp.asarray(thresholds(problem_of().data.weights))
    lane = jnp.zeros((1, INPUTS, width))  # drawn into a lane, as `simulate` does
    initial = jax.jit(lambda key: (lambda c, w: (c, lane.at[0].set(w.T)))(*network.init(width, INPUTS, key)))
    drawn = jax.jit(lambda key: jax.vmap(lambda b: index_block(key, b, bounds))(jnp.arange(max(1, width // 4096))))
    key = replica_key(jax.random.key(0), 0)
    times = seconds(
        {
            "initial draws": lambda: jax.block_until_ready(initial(key)),
            "indices": lambda: jax.block_until_ready(drawn(key)),
            "features": lambda: looks(c, w, x, h, d, sums),
            "activation in them": lambda: activations(h, d),
            "kernel": lambda: kernels(h, d, total),
            "recursion": lambda: recursion(np.zeros(POINTS, dtype), y, kernel, indices, y[:0]),
            "update": lambda: moves(c, w, rest_c, rest_w, step, h, d, errors, directions),
        },
        repeats,
    )
    print(f"\none block of N/4 steps at N = {width}, one core; initial draws once a replica")
    for name, time in times.items():
        print(f"  {name:20s} {1e6 * time:8.0f} µs  {1e9 * time / width:7.2f} ns per neuron")


def accuracy(gamma: float, width: int, replicas: int, blocks: Mapping[int, tuple[int, ...]], repeats: int) -> None:
    """Path-wise error against the chain in float64, and what it costs."""
    problem = problem_of(gamma)
    reference = exact(problem, width, replicas)
    methods: dict[str, Any] = {"Stepwise, float32": jl.Stepwise(native=True)}
    for order, lengths in blocks.items():
        methods |= {f"order {order}, block {b}": jl.SStep(block=b, order=order) for b in lengths}
    tolerances = (1e-4,) if gamma < 1 else (1e-2, 1e-3)
    for order in (1, 2):
        methods |= {f"order {order}, tolerance {t:g}": jl.SStep(order=order, tolerance=t) for t in tolerances}
    runs: dict[str, Callable[[], Any]] = {
        name: (lambda m=method: trained(problem, width, m, replicas)) for name, method in methods.items()
    }
    # The mean gradient of B samples with B times the rate, B times more rarely: what people do to save time.
    for size in (width // 64, width // 16):
        batched = problem_of(gamma, ALPHA * size)
        runs[f"minibatches of {size}"] = lambda p=batched, b=size: trained(
            p, width, jl.Stepwise(native=False), replicas, UNTIL / b, batch=b
        )
    # What a method says of its error stands in the table.
    warnings.filterwarnings("ignore", ".*beyond the tolerance", UserWarning)
    times = seconds({**runs, "idle": lambda: trained(problem, width, jl.SStep(), replicas, 0.0)}, repeats)
    print(f"\nγ = {gamma:g}, N = {width}: worst point against the float64 chain, RMS over {replicas} replicas")
    print(f"  {'':28s} {'error':>9s} {'stated':>9s} {'ms a replica':>13s}")
    for name, run in runs.items():
        samples = run()
        error = np.sqrt(np.mean(np.max(np.abs(samples.values[:, 0] - reference), axis=1) ** 2))
        stated = "" if samples.error is None else f"{np.sqrt(np.mean(samples.error[:, -1] ** 2)):.1e}"
        cost = 1e3 * max(0.0, times[name] - times["idle"]) / replicas
        print(f"  {name:28s} {error:9.1e} {stated:>9s} {cost:13.2f}")


def choice(cases: tuple[tuple[float, float, int, int], ...], repeats: int) -> None:
    """The cost model behind `method=None` against measurement: seconds it foretells, and the ratio it decides by."""
    print(
        f"\ncost model, one core: Stepwise over SStep(tolerance=1e-4), foretold and measured\n  {'γ, α, M, N':22s}"
        f" {'Stepwise':>16s} {'SStep':>16s} {'ratio':>12s}   method=None"
    )
    for gamma, alpha, points, width in cases:
        data = jl.data.sphere(points=points, inputs=INPUTS)
        network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
        problem = jl.Problem(data, network, scaling=jl.PowerScaling(gamma), learning_rate=alpha)
        until = min(UNTIL, 2.0**26 / width**2)
        steps, rank = problem.scaling.steps(until, width), min(points, INPUTS)
        run = Run(problem, network, width, rank, 0, steps, 1, np.dtype(np.float32), (jax.devices()[0],))
        offers = [jl.SStep(order=order, tolerance=1e-4) for order in (1, 2)]
        blocks = min(offers, key=lambda offer: offer.chain(run).seconds)
        methods = {"Stepwise": jl.Stepwise(), "SStep": blocks}
        runs: dict[str, Callable[[], object]] = {
            name: (lambda m=m: trained(problem, width, m, 8 * cores(), until))  # noqa: B023 - called at once
            for name, m in methods.items()
        }
        runs |= {
            f"{name}, idle": (lambda m=m: trained(problem, width, m, 8 * cores(), 0.0))  # noqa: B023
            for name, m in methods.items()
        }
        times = seconds(runs, repeats)
        measured = {name: max(1e-9, times[name] - times[f"{name}, idle"]) / 8 for name in methods}
        foretold = {name: method.chain(run).seconds * steps for name, method in methods.items()}
        chosen = trained(problem, width, None, 1, until).method.partition("(")[0]
        ratio = (each["Stepwise"] / each["SStep"] for each in (foretold, measured))
        columns = [f"{1e3 * foretold[name]:7.1f}/{1e3 * measured[name]:5.1f} ms" for name in methods]
        print(
            f"  {f'{gamma:g}, {alpha:g}, {points}, {width}':22s} {' '.join(columns)}"
            f" {next(ratio):6.1f}/{next(ratio):5.1f}   {chosen}"
        )


def scaling(widths: tuple[int, ...], repeats: int) -> None:
    """Cost against the width at four blocks per unit of limit time, drawing not included."""
    problem = problem_of()
    print(f"\n{'N':>9s} {'ms a replica':>13s} {'ns per neuron and block':>24s}")
    costs = []
    for width in widths:
        replicas, method = max(2, min(16, 65536 // width)), jl.SStep(block=width // 4)
        runs = {
            "run": lambda: trained(problem, width, method, replicas),  # noqa: B023 - called at once
            "idle": lambda: trained(problem, width, method, replicas, 0.0),  # noqa: B023
        }
        times = seconds(runs, repeats)
        costs.append((times["run"] - times["idle"]) / replicas)
        print(f"{width:9d} {1e3 * costs[-1]:13.2f} {1e9 * costs[-1] / width / 8:24.1f}")
    for low in (0, 10_000):
        kept = [i for i, width in enumerate(widths) if width >= low]
        if len(kept) > 2:
            slope = np.polyfit(np.log([widths[i] for i in kept]), np.log([costs[i] for i in kept]), 1)[0]
            print(f"exponent in N from {widths[kept[0]]} on: {slope:.2f} (the loop over steps: 2)")


def main(quick: bool = False) -> None:
    """Print tables: speed, where the time goes, accuracy against cost, the cost model, cost against the width."""
    print(f"{jax.devices()[0].device_kind}, {cores()} cores, jax {jax.__version__}, tanh, M = 20, d = 10, α = 5, T = 2")
    if quick:
        speed(1024, 2, 1)
        split(1024, 1)
        accuracy(1.0, 256, 2, {1: (16,), 2: (16,)}, 1)
        choice(((0.5, 1.0, POINTS, 1024),), 1)
        scaling((512, 1024, 2048), 1)
        return
    speed(16384, 8, 9)
    split(16384, 9)
    accuracy(0.5, 4096, 8, {1: (256, 1024, 4096), 2: (256, 1024)}, 3)
    accuracy(1.0, 4096, 8, {1: (16, 32, 64, 256), 2: (64, 256, 512)}, 3)
    choice(
        (
            (0.5, 1.0, 20, 1024),
            (0.5, 1.0, 20, 4096),
            (0.5, 5.0, 20, 4096),
            (0.5, 5.0, 20, 16384),
            (0.75, 5.0, 20, 4096),
            (0.75, 5.0, 20, 16384),
            (1.0, 1.0, 20, 4096),
            (1.0, 5.0, 20, 16384),
            (0.5, 1.0, 200, 4096),
            (0.5, 1.0, 200, 16384),
        ),
        3,
    )
    scaling((1024, 4096, 16384, 65536, 262144, 1048576), 3)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    main(parser.parse_args().quick)
