"""How fast is the exact chain, against what users write today and against the machine?

Peers, in the same run: `vmap` of `scan` of `jax.grad` with `optax.sgd`, and a NumPy loop. Ours is the
whole of `simulate`, drawing the networks included; the peers start from networks already drawn.

Work per neuron and step, r coordinates: the forward pass reads w (r multiply-adds), the update reads and
writes it (r multiply-adds); about 25 operations go into the activation and its derivative. That is 4r + 25
operations and 12r bytes in float32. `simulate` is limited by the traffic between a core and its cache
wherever 12r bytes take longer than 4r + 25 operations; both limits are measured here, with loops compiled by
the same compiler, and the larger is the floor.
"""

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from statistics import median

import jax
import jax.numpy as jnp
import numpy as np
import optax

import jaxlimit as jl
from jaxlimit._lanes import cores


def problem_of(data: jl.Data) -> jl.Problem:
    return jl.Problem(data, jl.networks.Shallow(jl.activations.Tanh(), jl.Initial()))


def peer_jax(problem: jl.Problem, width: int, steps: int) -> Callable[..., jax.Array]:
    """What users write today: one network as a function, its gradient, a scan over steps, a vmap over networks."""
    x, y = jnp.asarray(problem.data.x, jnp.float32), jnp.asarray(problem.data.y, jnp.float32)
    optimiser = optax.sgd(problem.learning_rate / width)

    def loss(parameters: tuple[jax.Array, jax.Array], point: jax.Array, target: jax.Array) -> jax.Array:
        c, w = parameters
        return 0.5 * (target - jnp.dot(c, jnp.tanh(w @ point)) / jnp.sqrt(width)) ** 2

    def train(c: jax.Array, w: jax.Array, indices: jax.Array) -> jax.Array:
        def step(carry, i):
            parameters, state = carry
            updates, state = optimiser.update(jax.grad(loss)(parameters, x[i], y[i]), state)
            return (optax.apply_updates(parameters, updates), state), None

        (parameters, _), _ = jax.lax.scan(step, ((c, w), optimiser.init((c, w))), indices, length=steps)
        return jnp.tanh(x @ parameters[1].T) @ parameters[0] / jnp.sqrt(width)

    return jax.jit(jax.vmap(train))


def peer_numpy(problem: jl.Problem, c: np.ndarray, w: np.ndarray, indices: np.ndarray) -> np.ndarray:
    """A plain loop over steps, all replicas at once."""
    x, y = problem.data.x.astype(np.float32), problem.data.y.astype(np.float32)
    width = c.shape[1]
    scale, rate = np.float32(width**-0.5), np.float32(problem.learning_rate * width**-1.5)
    c, w = c.copy(), w.copy()
    for i in indices.T:
        features = np.tanh(np.einsum("rnd,rd->rn", w, x[i]))
        error = rate * (y[i] - scale * np.einsum("rn,rn->r", c, features))[:, None]
        slope = error * c * (1 - features**2)
        c += error * features
        w += slope[:, :, None] * x[i][:, None, :]
    return scale * np.einsum("rn,rnm->rm", c, np.tanh(w @ x.T))


def seconds(run: Callable[[], object], repeats: int) -> float:
    run()
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return median(times)


def limits(lane: int, width: int, rank: int, repeats: int) -> tuple[float, float]:
    """Seconds per neuron-step of the floor on all cores: by cache traffic, and by arithmetic."""
    turns = max(1, 2**24 // (lane * width * rank))
    stream = jax.jit(lambda w: jax.lax.fori_loop(0, turns, lambda _, v: v * 0.999 + 1e-3, w))
    sums = jax.jit(lambda w: jax.lax.fori_loop(0, turns, lambda _, v: jnp.tanh(v) * 1.001, w))
    w = jnp.ones((lane, rank, width), jnp.float32)
    n = cores()
    with ThreadPoolExecutor(n) as pool:
        on_all = lambda f: [r.block_until_ready() for r in pool.map(f, [w] * n)]  # noqa: E731
        per_pass = seconds(lambda: on_all(stream), repeats) / (turns * n * lane * width * rank)
        per_tanh = seconds(lambda: on_all(sums), repeats) / (turns * n * lane * width * rank)
    # A pass reads and writes; the chain reads twice and writes once: 3/2 of it for every coordinate. A tanh
    # stands for 25 operations, and a multiply-add pair hides in the traffic.
    return 1.5 * rank * per_pass, per_tanh


def case(name: str, data: jl.Data, replicas: int, width: int, until: float, repeats: int) -> None:
    problem, key = problem_of(data), jax.random.key(0)
    steps = problem.scaling.steps(until, width)
    work = replicas * width * steps
    ours = lambda: jl.simulate(problem, width, [until], replicas=replicas, key=key).values  # noqa: E731
    drawn = [jl.simulation.draws(problem, width, key, r, steps) for r in range(replicas)]
    c, w, indices = (np.stack(part) for part in zip(*drawn, strict=True))
    train = peer_jax(problem, width, steps)
    theirs = lambda: np.asarray(train(c, w, indices))  # noqa: E731
    plain = lambda: peer_numpy(problem, c[:2], w[:2], indices[:2, : max(1, steps // 8)])  # noqa: E731

    agreement = float(np.max(np.abs(ours()[:, 0] - theirs())))
    times = {"jaxlimit": seconds(ours, repeats), "JAX": seconds(theirs, repeats)}
    numpy_each = seconds(plain, 1) / (2 * width * max(1, steps // 8))
    rank = int(np.linalg.matrix_rank(data.x))
    lane = jl.Stepwise().lane_width(width, jax.devices()[0].platform)
    traffic, arithmetic = limits(min(lane, replicas), width, rank, repeats)
    each = {who: t / work * 1e9 for who, t in times.items()}
    floor = (traffic + arithmetic) * 1e9
    print(
        f"{name:26s} {each['jaxlimit']:8.2f} {each['JAX']:8.2f} {numpy_each * 1e9:8.2f} "
        f"{each['JAX'] / each['jaxlimit']:8.1f}x {floor:7.2f} {floor / each['jaxlimit']:7.0%}   {agreement:.0e}"
    )


def main(quick: bool = False) -> None:
    """Print the table: ns per neuron-step of ours and the peers, the ratio, the floor, agreement of outputs."""
    print(f"nanoseconds per neuron-step, {cores()} cores, {jax.devices()[0].device_kind}, jax {jax.__version__}, tanh")
    print(
        f"{'replicas, N, d, M, T':26s} {'jaxlimit':>8s} {'JAX':>8s} {'NumPy':>8s} {'ratio':>9s} {'floor':>7s} "
        f"{'reached':>7s}   outputs differ by"
    )
    repeats = 2 if quick else 7
    small, digits = jl.data.sphere(points=20, inputs=10), jl.data.digits(points=20)
    if quick:
        case("4, 256, 10, 20, 1", small, 4, 256, 1.0, repeats)
        return
    case("32, 1024, 10, 20, 1", small, 32, 1024, 1.0, repeats)
    case("8, 4096, 10, 20, 0.5", small, 8, 4096, 0.5, repeats)
    case("32, 1024, 64 (r=20), 20, 1", digits, 32, 1024, 1.0, repeats)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    main(parser.parse_args().quick)
