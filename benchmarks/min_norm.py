"""How long does the published figure of the minimum-norm solution take here, and at what share of the machine?

The job (references `min_norm`, Figure 1): widths 1000, 2000, 5000 and 10,000, five seeds at each, 100 points with five
inputs and a bias, ReLU, the output layer fixed, 10,000 steps on all points; every network is seen from its own
minimum-norm solution at nine times. A few steps of each width are timed, less the same call with no step, and the whole
job is foretold from them, by the clock and by processor time; `--whole` runs it. Steps cost the same at any time.

Peers, in the same run, taking turns: `scan` of `jax.grad`, one seed after the other, what users write today, and the
loop in PyTorch where that can be imported. Peak: a product of square float32 matrices by NumPy's library on all cores.
Operations of a step: 4 M r n for the two products and 4 M n for the output and its slopes, r the rank of the data; ReLU
and everything else count as none. Shares and peak are by processor time, which a shared machine does not take away.
"""

import argparse
import time
from collections.abc import Callable
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np

import jaxlimit as jl
from benchmarks import peak, product, seconds
from jaxlimit._devices import cores
from jaxlimit.studies import min_norm, min_norm_problem, min_norm_settings

STEPS, SEEDS = 10_000, 5


def kept(now: jl.networks.Neurons, start: jl.networks.Neurons) -> jl.networks.Neurons:
    return now


def peer(problem: jl.Problem, width: int, replicas: int, steps: int) -> Callable[[], np.ndarray]:
    """The mean loss as a function of w, its gradient, a scan over steps, seed by seed."""
    x, y = jnp.asarray(problem.data.x, jnp.float32), jnp.asarray(problem.data.y, jnp.float32)
    starts = [jl.simulation.draws(problem, width, jax.random.key(0), r, 0)[:2] for r in range(replicas)]
    eta = problem.scaling.learning_rate(width)

    def output(c: jax.Array, w: jax.Array) -> jax.Array:
        return jax.nn.relu(x @ w.T) @ c / width**0.5

    def train(start: tuple[jax.Array, jax.Array]) -> jax.Array:
        c, w = start
        slope = jax.grad(lambda w: 0.5 * jnp.mean((output(c, w) - y) ** 2))
        return output(c, jax.lax.scan(lambda w, _: (w - eta * slope(w), None), w, length=steps)[0])

    one = jax.jit(train)
    return lambda: np.stack([np.asarray(one(start)) for start in starts])


def torch_peer(problem: jl.Problem, width: int, replicas: int, steps: int) -> Callable[[], np.ndarray] | None:
    """The loop as it is written in PyTorch; None where there is none."""
    try:
        import torch
    except ImportError:
        return None
    x, y = (torch.tensor(each, dtype=torch.float32) for each in (problem.data.x, problem.data.y))
    starts = [jl.simulation.draws(problem, width, jax.random.key(0), r, 0)[:2] for r in range(replicas)]
    eta = problem.scaling.learning_rate(width)

    def train(c: np.ndarray, w: np.ndarray) -> np.ndarray:
        signs, weights = torch.tensor(c), torch.tensor(w, requires_grad=True)
        optimiser = torch.optim.SGD([weights], lr=eta)
        for _ in range(steps):
            optimiser.zero_grad()
            (0.5 * ((torch.relu(x @ weights.T) @ signs / width**0.5 - y) ** 2).mean()).backward()
            optimiser.step()
        with torch.no_grad():
            return (torch.relu(x @ weights.T) @ signs / width**0.5).numpy()

    return lambda: np.stack([train(*start) for start in starts])


def processor(run: Callable[[], object]) -> float:
    """Processor seconds over cores: what a shared machine takes away from a process is not in them."""
    start = time.process_time()
    run()
    return (time.process_time() - start) / cores()


def case(problem: jl.Problem, width: int, replicas: int, steps: int, repeats: int) -> tuple[float, float, float]:
    """Prints a line; returns seconds of the job at this width: ours, by processor time, JAX."""
    rank = int(np.linalg.matrix_rank(problem.data.x))

    def ours(steps: int) -> jl.Samples:
        key, ts = jax.random.key(0), np.unique(np.linspace(0.0, steps, 10))
        return jl.simulate(problem, width, ts, replicas=replicas, key=key, batch=None, observe=kept)

    def seen(samples: jl.Samples) -> None:
        for r in range(replicas):
            path = jax.tree.map(lambda leaf, r=r: leaf[r], samples.observed)
            jl.diagnostics.min_norm_solution(problem, jax.tree.map(lambda leaf: leaf[0], path)).along(path)

    jax_, torch_, samples = peer(problem, width, replicas, steps), torch_peer(problem, width, 1, steps), ours(steps)
    apart = float(np.max(np.abs(samples.values[:, -1] - jax_())))
    runs = {
        "ours": lambda: ours(steps),
        "no step": lambda: ours(0),
        "solutions": lambda: seen(samples),
        "JAX": jax_,
    }
    times = seconds(runs if torch_ is None else {**runs, "torch": torch_}, repeats)
    each = (times["ours"] - times["no step"]) / (replicas * steps)
    others = {who: times[who] / (steps * (replicas if who == "JAX" else 1)) for who in ("JAX", "torch") if who in times}
    square = product(np.float32)
    top = peak(median(processor(square) for _ in range(2 * repeats + 1)))
    operations = problem.data.points * width * (4 * rank + 4)
    spent = (processor(lambda: ours(steps)) - processor(lambda: ours(0))) / (replicas * steps)
    rest = (times["no step"] + times["solutions"]) / replicas
    torch_text = f"{others['torch'] * 1e3:9.3f}" if "torch" in others else f"{'none':>9s}"
    print(
        f"{width:9d} {each * 1e3:9.3f} {spent * 1e3:9.3f} {others['JAX'] * 1e3:9.3f} {torch_text}"
        f" {others['JAX'] / each:8.2f}x {operations / spent / top:9.1%} {top / 1e9:9.0f} {rest * 1e3:9.1f} {apart:9.0e}"
    )
    return STEPS * each + rest, STEPS * spent + rest, STEPS * others["JAX"]


def main(quick: bool = False, whole: bool = False) -> None:
    """Print ms per replica and step for every width, shares of the peak, and how long the whole job takes."""
    print(f"{cores()} cores, {jax.devices()[0].device_kind}, jax {jax.__version__}; ReLU, full batch; milliseconds")
    names = ("m", "ours", "processor", "JAX", "torch", "ratio", "share", "Gflop/s", "rest", "disagree")
    print(" ".join(f"{name:>9s}" for name in names))
    problem = min_norm_problem(min_norm_settings({}))
    sizes = [(64, 2, 9, 1)] if quick else [(1000, 4, 900, 3), (2000, 4, 450, 3), (5000, 4, 180, 3), (10000, 4, 90, 3)]
    jobs = [case(problem, *size) for size in sizes]
    ours, spent, other = (SEEDS * sum(each) / 60 for each in zip(*jobs, strict=True))
    print(f"the whole job, {SEEDS} seeds at {len(sizes)} widths: {ours:.1f} minutes (JAX: {other:.1f});")
    print(f"{spent:.1f} minutes by processor time on all cores, which is what a machine of one's own would need")
    if whole:
        start = time.perf_counter()
        report = min_norm(problem, key=jax.random.key(0), replicas=SEEDS, steps=STEPS, beside=None)
        print(f"it took {(time.perf_counter() - start) / 60:.1f} minutes; mean |P⊥(w − w*)|² at the end by width:")
        found = {m: report.arrays[f"orthogonal_Relu_{m}"][:, -1] for m in report.configuration["widths"]}
        doubts = {m: np.std(values, ddof=1) / SEEDS**0.5 for m, values in found.items()}
        print(", ".join(f"{m}: {np.mean(values):.2f} ± {doubts[m]:.2f}" for m, values in found.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    parser.add_argument("--whole", action="store_true", help="run the whole job as well")
    given = parser.parse_args()
    main(given.quick, given.whole)
