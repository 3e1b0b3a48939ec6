"""How fast is the exact chain, against what users write today and against the machine?

Peers, in the same run, taking turns: `vmap` of `scan` of `jax.grad` with `optax.sgd`, and a NumPy loop. Ours is
`simulate`, once with the loop compiled by numba (what `Stepwise()` takes where numba is installed) and once
by XLA. The whole call includes drawing the networks, for us and for JAX; the chain alone is the whole call less
the same call with no step.

Steps on all points and steps of Adam have a table of their own, against JAX with optax.

Work per neuron and step, r coordinates: r multiply-adds forward, r more to update, about 25 operations for the
activation and its slope, so 4r + 25 operations; w is read and written once, 8r bytes in float32, from the
second-level cache, where w of one network lives at these widths. With few points (2M ≤ 3r) the M rows of
pre-activations take the place of w, once for two steps. Both floors are measured here, on all cores, by the
same compiler: a pass w ← w + aq over an array of that size, and a pass of tanh with its slope. They overlap
in part, so the larger is the floor.
"""

import argparse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numba
import numpy as np
import optax

import jaxlimit as jl
from benchmarks import seconds
from jaxlimit._devices import cores


def problem_of(data: jl.Data) -> jl.Problem:
    return jl.Problem(data, jl.networks.Shallow(jl.activations.Tanh(), jl.Initial()))


def peer_jax(problem: jl.Problem, width: int) -> Callable[..., jax.Array]:
    """What users write today: one network as a function, its gradient, a scan over steps."""
    x, y = jnp.asarray(problem.data.x, jnp.float32), jnp.asarray(problem.data.y, jnp.float32)
    optimiser = optax.sgd(problem.learning_rate / width)

    def loss(parameters: tuple[jax.Array, jax.Array], point: jax.Array, target: jax.Array) -> jax.Array:
        c, w = parameters
        return 0.5 * (target - jnp.dot(c, jnp.tanh(w @ point)) / jnp.sqrt(width)) ** 2

    def train(c: jax.Array, w: jax.Array, indices: jax.Array) -> jax.Array:
        def step(carry: Any, i: jax.Array) -> Any:
            parameters, state = carry
            updates, state = optimiser.update(jax.grad(loss)(parameters, x[i], y[i]), state)
            return (optax.apply_updates(parameters, updates), state), None

        (parameters, _), _ = jax.lax.scan(step, ((c, w), optimiser.init((c, w))), indices)
        return jnp.tanh(x @ parameters[1].T) @ parameters[0] / jnp.sqrt(width)

    return train


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


def floors(width: int, rank: int) -> dict[str, Callable[[], object]]:
    """One pass over w, and one of the activation and its slope, 2²⁵ numbers on every core."""
    tanh = numba.njit(fastmath=True, error_model="numpy")(jl.activations.Tanh().scalar(np.dtype(np.float32)))

    @numba.njit(fastmath=True, nogil=True)
    def stream(w: np.ndarray, q: np.ndarray, turns: int) -> None:
        for _ in range(turns):
            for j in range(w.shape[0]):
                for n in range(w.shape[1]):
                    w[j, n] += np.float32(1e-6) * q[n]

    @numba.njit(fastmath=True, nogil=True, error_model="numpy")
    def activate(w: np.ndarray, q: np.ndarray, turns: int) -> None:
        for _ in range(turns * w.shape[0]):
            for n in range(q.size):
                value, slope = tanh(q[n])
                w[0, n] = value
                q[n] = slope

    turns = 2**25 // (width * rank)

    def on_all_cores(loop: Callable[..., None]) -> Callable[[], object]:
        arrays = [(np.ones((rank, width), np.float32), np.ones(width, np.float32)) for _ in range(cores())]

        def run() -> None:
            with ThreadPoolExecutor(cores()) as pool:
                list(pool.map(lambda a: loop(*a, turns), arrays))

        return run

    return {"pass": on_all_cores(stream), "tanh": on_all_cores(activate)}


def case(name: str, data: jl.Data, replicas: int, width: int, until: float, repeats: int) -> None:
    problem, key = problem_of(data), jax.random.key(0)
    steps, rank = problem.scaling.steps(until, width), int(np.linalg.matrix_rank(data.x))
    drawn = [jl.simulation.draws(problem, width, key, r, steps) for r in range(replicas)]
    c, w, indices = (np.stack(part) for part in zip(*drawn, strict=True))
    train = peer_jax(problem, width)
    whole = jax.jit(jax.vmap(lambda k, i: train(*problem.network.init(width, data.inputs, k), i)))
    keys = jax.random.split(key, replicas)

    def ours(native: bool, until: float = until) -> np.ndarray:
        method = jl.Stepwise(native=native)
        return jl.simulate(problem, width, [until], replicas=replicas, key=key, method=method).values[:, 0]

    agreement = float(np.max(np.abs(ours(True) - np.asarray(jax.jit(jax.vmap(train))(c, w, indices)))))
    short = max(1, steps // 16)
    runs = {
        "native": lambda: ours(True),
        "XLA": lambda: ours(False),
        "JAX": lambda: np.asarray(whole(keys, indices)),
        "NumPy": lambda: peer_numpy(problem, c[:2], w[:2], indices[:2, :short]),
    }
    # The same with no step: what drawing, compiled calls and threads cost; the difference is the chain itself.
    idle = {
        "native": lambda: ours(True, 0.0),
        "XLA": lambda: ours(False, 0.0),
        "JAX": lambda: np.asarray(whole(keys, indices[:, :0])),
    }
    times, idles = seconds(runs, repeats), seconds(idle, repeats)
    limits = seconds(floors(width, rank), repeats)
    work = replicas * width * steps
    each = {who: times[who] / work * 1e9 for who in idle}
    chain = {who: (times[who] - idles[who]) / work * 1e9 for who in idle}
    numpy_each = times["NumPy"] / (2 * width * short) * 1e9
    points = data.points
    passes = points / (2 * rank) if 2 * points <= 3 * rank else 1.0
    floor = max(limits["pass"] * passes, limits["tanh"] / rank) / (cores() * (2**25 // (width * rank)) * width) * 1e9
    print(
        f"{name:27s} {each['native']:6.2f} {each['XLA']:6.2f} {each['JAX']:6.2f} {each['JAX'] / each['native']:6.1f}x"
        f" {chain['native']:7.2f} {chain['XLA']:6.2f} {chain['JAX']:6.2f} {chain['JAX'] / chain['native']:6.1f}x"
        f" {floor:7.2f} {floor / chain['native']:5.0%} {numpy_each:7.1f} {agreement:9.0e}"
    )


def other_steps(problem: jl.Problem, replicas: int, width: int, until: float, repeats: int) -> None:
    """Steps on all points, and Adam: ours against `vmap` of `scan` of `jax.grad` with optax, on the same draws."""
    key, steps = jax.random.key(0), problem.scaling.steps(until, width)
    drawn = [jl.simulation.draws(problem, width, key, r, steps) for r in range(replicas)]
    c, w, indices = (np.stack(part) for part in zip(*drawn, strict=True))
    x, y = jnp.asarray(problem.data.x, jnp.float32), jnp.asarray(problem.data.y, jnp.float32)
    adam, sgd = optax.adam(1e-3), optax.sgd(problem.learning_rate / width)

    def peer(optimiser: optax.GradientTransformation, full: bool) -> Callable[[], np.ndarray]:
        def loss(parameters: tuple[jax.Array, jax.Array], points: jax.Array, targets: jax.Array) -> jax.Array:
            c, w = parameters
            return 0.5 * jnp.mean((targets - jnp.tanh(points @ w.T) @ c / jnp.sqrt(width)) ** 2)

        def train(c: jax.Array, w: jax.Array, indices: jax.Array) -> jax.Array:
            def step(carry: Any, i: jax.Array) -> Any:
                parameters, state = carry
                points, targets = (x, y) if full else (x[i][None], y[i][None])
                updates, state = optimiser.update(jax.grad(loss)(parameters, points, targets), state, parameters)
                return (optax.apply_updates(parameters, updates), state), None

            (parameters, _), _ = jax.lax.scan(step, ((c, w), optimiser.init((c, w))), indices)
            return jnp.tanh(x @ parameters[1].T) @ parameters[0] / jnp.sqrt(width)

        compiled = jax.jit(jax.vmap(train))
        return lambda: np.asarray(compiled(c, w, indices))

    def ours(**settings: Any) -> Callable[[], np.ndarray]:
        method = settings.pop("method", jl.Stepwise(native=False))
        return lambda: jl.simulate(
            problem, width, [until], replicas=replicas, key=key, method=method, **settings
        ).values[:, 0]

    pairs = {
        "full batch": (ours(batch=None), peer(sgd, full=True)),
        "full batch, SStep(N/4)": (ours(batch=None, method=jl.SStep(block=width // 4)), peer(sgd, full=True)),
        "adam": (ours(optimiser=adam), peer(adam, full=False)),
        "adam, full batch": (ours(optimiser=adam, batch=None), peer(adam, full=True)),
    }
    print(f"\n{replicas} replicas, N = {width}, M = 20, T = {until:g}: ns per neuron and step, whole calls")
    print(f"{'':24s} {'ours':>8s} {'JAX':>8s} {'ratio':>7s} {'disagree':>9s}")
    for name, (own, other) in pairs.items():
        apart = float(np.max(np.abs(own() - other())))
        times = seconds({"ours": own, "JAX": other}, repeats)
        each = {who: time / (replicas * width * steps) * 1e9 for who, time in times.items()}
        print(f"{name:24s} {each['ours']:8.2f} {each['JAX']:8.2f} {each['JAX'] / each['ours']:6.1f}x {apart:9.0e}")


def main(quick: bool = False) -> None:
    """Print the table: ns per neuron-step of the whole call and of the chain alone, ratios to JAX, the floor."""
    print(f"nanoseconds per neuron-step, {cores()} cores, {jax.devices()[0].device_kind}, jax {jax.__version__}, tanh")
    print(f"{'':27s} {'whole call, with drawing':>29s}  {'the chain alone':>29s}")
    print(
        f"{'replicas, N, d, M, T':27s} {'native':>6s} {'XLA':>6s} {'JAX':>6s} {'ratio':>7s} {'native':>7s} {'XLA':>6s} "
        f"{'JAX':>6s} {'ratio':>7s} {'floor':>7s} {'':>5s} {'NumPy':>7s} {'disagree':>9s}"
    )
    small, digits = jl.data.sphere(points=20, inputs=10), jl.data.digits(points=20)
    if quick:
        case("8, 512, 10, 20, 1", small, 8, 512, 1.0, 2)
        other_steps(problem_of(small), 4, 256, 0.25, 1)
        return
    case("32, 1024, 10, 20, 1", small, 32, 1024, 1.0, 9)
    case("8, 4096, 10, 20, 0.5", small, 8, 4096, 0.5, 9)
    case("32, 1024, 64 (r=20), 20, 1", digits, 32, 1024, 1.0, 9)
    other_steps(problem_of(small), 8, 1024, 0.25, 5)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    main(parser.parse_args().quick)
