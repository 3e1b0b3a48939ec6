"""What does a Gram matrix with an error for every entry cost?

Independent points on the sphere with 10 inputs, float64. Ours are value and radius of every entry; peers are the
textbook formula in NumPy over whole matrices, without errors, and the time to write the two results. For tanh,
which has no closed form, the peer is Gauss–Hermite quadrature of 48 × 48 nodes, vectorised in NumPy over 2,000 pairs,
with what it gets wrong there.

A closed form takes some 20 to 40 operations an entry for the value, arc tangents among them, and as many for the
radius; memory is touched once, for 16 bytes written. By quadrature an entry takes 2·64 multiply-adds or more.

The last table is the kernel of finite networks: two symmetric products, 4NM² operations, against the machine's sgemm
beside it and against the features of all neurons at once, and what one network's kernel gets wrong of the limit's.
"""

import argparse
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import jaxlimit as jl
from benchmarks import peak, product, seconds
from jaxlimit._devices import cores

INPUTS, NODES, PAIRS = 10, 48, 2000
VARIANCE = 1.0 / 3.0


def network(activation: Any) -> jl.networks.Shallow:
    return jl.networks.Shallow(activation, jl.Initial())


def textbook_erf(x: np.ndarray) -> np.ndarray:
    """B for erf(u), w ~ N(0, I), c ~ U[−1, 1], as papers print it."""
    r, a = x @ x.T, 1.0 + 2.0 * np.sum(x * x, axis=1)
    scale = a[:, None] * a[None, :]
    value = 2.0 / np.pi * np.arcsin(2.0 * r / np.sqrt(scale))
    return value + VARIANCE * r * 4.0 / np.pi / np.sqrt(scale - 4.0 * r * r)


def textbook_relu(x: np.ndarray) -> np.ndarray:
    """B for the rectifier: arc-cosine kernels of order 1 and 0."""
    r, norm = x @ x.T, np.linalg.norm(x, axis=1)
    scale = norm[:, None] * norm[None, :]
    theta = np.arccos(np.clip(r / scale, -1.0, 1.0))
    value = scale * (np.sin(theta) + (np.pi - theta) * np.cos(theta)) / (2.0 * np.pi)
    return value + VARIANCE * r * (np.pi - theta) / (2.0 * np.pi)


def closed_forms(sizes: tuple[int, ...], repeats: int) -> None:
    """Milliseconds and nanoseconds an entry."""
    print(
        f"\n{'closed form':12s} {'points':>6s} {'ours':>9s} {'textbook':>9s} {'times':>6s} {'writing':>9s} {'x xᵀ':>9s}"
    )
    for activation, textbook in ((jl.activations.Erf(), textbook_erf), (jl.activations.Relu(), textbook_relu)):
        for points in sizes:
            x = jl.data.sphere(points=points, inputs=INPUTS).x
            results = np.empty((2, points, points))
            runs = {
                "ours": lambda: jl.gram(network(activation), x),  # noqa: B023 - called at once
                "textbook": lambda: textbook(x),  # noqa: B023
                "writing": lambda: results.fill(1.0),  # noqa: B023
                "product": lambda: x @ x.T,  # noqa: B023
            }
            ours, theirs, writing, inner = (1e3 * time for time in seconds(runs, repeats).values())
            print(
                f"{type(activation).__name__:12s} {points:6d} {ours:6.1f} ms {theirs:6.1f} ms {theirs / ours:5.1f}x"
                f" {writing:6.1f} ms {inner:6.1f} ms   {1e6 * ours / points**2:.1f} ns an entry"
            )


def gauss_hermite(x: np.ndarray, y: np.ndarray) -> Any:
    """B for tanh and pairs (x_i, y_i): what a user writes with `numpy.polynomial`."""
    z, weights = np.polynomial.hermite_e.hermegauss(NODES)
    weights = weights / math.sqrt(2.0 * math.pi)
    norms, others = np.linalg.norm(x, axis=1), np.linalg.norm(y, axis=1)
    cosine = np.sum(x * y, axis=1) / (norms * others)
    sine = np.sqrt(np.maximum(0.0, 1.0 - cosine**2))
    u = norms[:, None] * z
    v = others[:, None, None] * (cosine[:, None, None] * z[:, None] + sine[:, None, None] * z)
    left, right = np.tanh(u), np.tanh(v)
    value = np.einsum("pz,pzy,z,y->p", left, right, weights, weights, optimize=True)
    slope = np.einsum("pz,pzy,z,y->p", 1.0 - left**2, 1.0 - right**2, weights, weights, optimize=True)
    return value + VARIANCE * slope * np.sum(x * y, axis=1)


def quadrature(sizes: tuple[int, ...], pairs: int, repeats: int) -> None:
    """Nanoseconds an entry at unit norm and at norm 10, where Gauss–Hermite rules fail."""
    print(
        f"\n{'tanh':12s} {'points':>6s} {'norm':>5s} {'ours':>10s} {'an entry':>10s} {'Gauss–Hermite':>14s}"
        f" {'times':>7s} {'our radius':>11s} {'its error':>10s}"
    )
    for norm in (1.0, 10.0):
        for points in sizes:
            x = norm * jl.data.sphere(points=points, inputs=INPUTS).x
            first, second = np.random.default_rng(0).integers(0, points, (2, pairs))
            ours = lambda: jl.gram(network(jl.activations.Tanh()), x, rule=jl.kernels.Quadrature())  # noqa: B023, E731
            theirs = lambda: gauss_hermite(x[first], x[second])  # noqa: B023, E731
            times = seconds({"ours": ours, "theirs": theirs}, repeats)
            found = ours()
            error = np.max(np.abs(found.value[first, second] - theirs()))
            entry, other = 1e9 * times["ours"] / points**2, 1e9 * times["theirs"] / pairs
            print(
                f"{'':12s} {points:6d} {norm:5g} {1e3 * times['ours']:7.0f} ms {entry:7.0f} ns {other:11.0f} ns"
                f" {other / entry:6.0f}x {np.max(found.radius):11.1e} {error:10.1e}"
            )


def finite(sizes: tuple[tuple[int, int], ...], repeats: int) -> None:
    """The empirical kernel of one network, float32: neurons in chunks, against the features of all neurons at once."""
    print(
        f"\n{'empirical kernel':>17s} {'points':>6s} {'streamed':>9s} {'at once':>9s} {'times':>6s} {'of sgemm':>9s}"
        f" {'memory':>8s} {'at once':>8s} {'from the limit':>15s} {'√(1/N)':>8s}"
    )
    for width, points in sizes:
        x, erf = jl.data.sphere(points=points, inputs=INPUTS).x, network(jl.activations.Erf())
        parameters = erf.init(width, INPUTS, jax.random.key(0))
        inputs = jnp.asarray(x, jnp.float32)
        streamed = jax.jit(lambda p: jl.empirical_gram(erf, p, inputs)).lower(parameters).compile()  # noqa: B023
        whole = jax.jit(lambda p: at_once(erf, p, inputs)).lower(parameters).compile()  # noqa: B023
        runs = {
            "streamed": lambda: jax.block_until_ready(streamed(parameters)),  # noqa: B023 - called at once
            "at once": lambda: jax.block_until_ready(whole(parameters)),  # noqa: B023
            "sgemm": product(np.float32),
        }
        own, other, peer = seconds(runs, repeats).values()
        memory = [temporaries(run) / 2**20 for run in (streamed, whole)]
        gap = np.max(np.abs(np.asarray(streamed(parameters)) - jl.gram(erf, x).value))
        share = 4.0 * width * points**2 / own / peak(peer)
        print(
            f"{width:17d} {points:6d} {1e3 * own:6.1f} ms {1e3 * other:6.1f} ms {other / own:5.1f}x {share:9.0%}"
            f" {memory[0]:5.0f} MB {memory[1]:5.0f} MB {gap:15.1e} {width**-0.5:8.1e}"
        )


def temporaries(run: Any) -> float:
    """Bytes that a compiled program asks for beside its arguments and results."""
    return float(run.memory_analysis().temp_size_in_bytes)


def at_once(network: jl.networks.Shallow, parameters: jl.networks.Neurons, x: jax.Array) -> jax.Array:
    """The same products from features [points, neurons]."""
    c, w = parameters
    u = jnp.einsum("pd,nd->pn", x, w, precision="highest")
    features, slopes = network.activation(u), network.activation.derivative(u) * c
    inner = jnp.matmul(x, x.T, precision="highest")
    outer = [jnp.matmul(f, f.T, precision="highest") for f in (features, slopes)]
    return (outer[0] + outer[1] * inner) / len(c)


def main(quick: bool = False) -> None:
    """Print three tables: closed forms, quadrature, finite networks."""
    print(f"{cores()} cores, NumPy {np.__version__}, jax {jax.__version__}, sphere points with {INPUTS} inputs")
    if quick:
        closed_forms((100, 200), 2)
        quadrature((100,), 100, 1)
        finite(((1024, 100),), 2)
        return
    closed_forms((500, 2000, 5000), 5)
    quadrature((500, 2000), PAIRS, 5)
    finite(((16_384, 64), (65_536, 128), (16_384, 512), (65_536, 512), (16_384, 1024)), 7)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    main(parser.parse_args().quick)
