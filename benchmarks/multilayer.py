"""How long does a published job take here: many multilayer networks at four widths, and at what share of the machine?

The job: 1000 seeds × four widths of a 3-layer network, both hidden layers of width 50, 100, 200, 400; tanh, Huber,
100 points, all of them at every step, 1000 steps (3.4 hours on a GPU with the script that came with the paper,
references `multilayer`). Here on 100 digits. A few replicas and steps of each width are timed, and the whole job
is foretold from them, once by the clock and once by processor time; drawing the networks is timed apart, by the
same call with no step.

Peer, in the same run, taking turns: `vmap` of `scan` of `jax.grad`, what users write today. Peak: a product of
square float32 matrices by NumPy's library on all cores. Operations of a step: 6 M n² for the three products of the
middle layer and 4 M r n for the two of the first, r the rank of the data; tanh and everything else counts as none.
"""

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxlimit as jl
from benchmarks import peak, product, seconds
from jaxlimit._devices import cores

EPSILON = 0.01


def problem_of(data: jl.Data) -> jl.Problem:
    normal, tanh = jl.initial.Normal, jl.activations.Tanh()
    law = jl.initial.IndependentLayers((normal(0, 1), normal(1, 1), normal(1, 1)))
    network = jl.networks.Multilayer((tanh, tanh), law)
    return jl.Problem(data, network, jl.scalings.LayerwiseMeanField(EPSILON), jl.Huber())


def peer(problem: jl.Problem, replicas: int, n: int, steps: int) -> Callable[[], np.ndarray]:
    """One network as a function, its gradient, a scan over steps, batched over replicas."""
    x, y = jnp.asarray(problem.data.x, jnp.float32), jnp.asarray(problem.data.y, jnp.float32)
    drawn = [jl.simulation.draws(problem, (n, n), jax.random.key(0), r, 0)[0] for r in range(replicas)]
    start = tuple(np.stack(each) for each in zip(*drawn, strict=True))
    rates = (EPSILON * n, EPSILON * n * n, EPSILON * n)

    def output(w: Any) -> jax.Array:
        return jnp.tanh(jnp.tanh(x @ w[0].T) @ w[1] / n) @ w[2] / n

    def loss(w: Any) -> jax.Array:
        size = jnp.abs(output(w) - y)
        inside = jnp.minimum(size, 1.0)
        return jnp.mean(inside * (size - 0.5 * inside))

    def train(w: Any) -> jax.Array:
        def step(w: Any, _: None) -> Any:
            return jax.tree.map(lambda a, g, rate: a - rate * g, w, jax.grad(loss)(w), rates), None

        return output(jax.lax.scan(step, w, length=steps)[0])

    whole = jax.jit(jax.vmap(train))
    return lambda: np.asarray(whole(start))


def case(problem: jl.Problem, n: int, replicas: int, steps: int, repeats: int) -> tuple[float, float, float]:
    """Prints a line; returns seconds per replica of the whole job at this width: ours, JAX, ours by processor time."""
    rank = int(np.linalg.matrix_rank(problem.data.x))

    def ours(steps: int) -> np.ndarray:
        key, ts = jax.random.key(0), [steps * EPSILON]
        return jl.simulate(problem, (n, n), ts, replicas=replicas, key=key, batch=None).values[:, 0]

    jax_ = peer(problem, replicas, n, steps)
    apart = float(np.max(np.abs(ours(steps) - jax_())))
    runs = {"ours": lambda: ours(steps), "no step": lambda: ours(0), "JAX": jax_, "peak": product(np.float32)}
    times = seconds(runs, repeats)
    each = {who: (times[who] - (times["no step"] if who == "ours" else 0)) / (replicas * steps) for who in runs}
    operations = problem.data.points * (6 * n * n + 4 * rank * n)
    top = peak(times["peak"])
    share = {who: operations / each[who] / top for who in ("ours", "JAX")}
    drawing = times["no step"] / replicas
    # What a shared machine takes away from a process is not in its processor time.
    start = time.process_time()
    ours(steps)
    processor = (time.process_time() - start) / cores() / (replicas * steps)
    print(
        f"{n:9d} {each['ours'] * 1e3:9.3f} {each['JAX'] * 1e3:9.3f} {each['JAX'] / each['ours']:8.2f}x"
        f" {share['ours']:9.0%} {share['JAX']:9.0%} {top / 1e9:9.0f} {drawing * 1e3:9.2f} {processor * 1e3:9.3f}"
        f" {apart:9.0e}"
    )
    return 1000 * each["ours"] + drawing, 1000 * each["JAX"], 1000 * processor


def main(quick: bool = False) -> None:
    """Print ms per replica and step for every width, shares of the peak, and how long the whole job takes."""
    where = f"{cores()} cores, {jax.devices()[0].device_kind}, jax {jax.__version__}"
    print(f"{where}; digits, tanh, Huber, full batch; milliseconds")
    names = ("n", "ours", "JAX", "ratio", "share", "(JAX)", "Gflop/s", "drawing", "processor", "disagree")
    print(" ".join(f"{name:>9s}" for name in names))
    data = jl.data.digits(points=20 if quick else 100)
    problem = problem_of(data)
    sizes = [(8, 4, 10, 1)] if quick else [(50, 64, 200, 5), (100, 32, 200, 5), (200, 16, 100, 5), (400, 8, 50, 5)]
    jobs = [case(problem, *size) for size in sizes]
    own, other, processor = (1000 * sum(each) / 60 for each in zip(*jobs, strict=True))
    print(f"the whole job, 1000 seeds at {len(sizes)} widths: {own:.1f} minutes (JAX: {other:.1f});")
    print(f"{processor:.1f} minutes by processor time on all cores, which is what a machine of one's own would need")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    main(parser.parse_args().quick)
