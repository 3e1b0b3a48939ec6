"""How fast is the limit solved, against the machine's matrix product and against other ways to solve it?

erf, sphere data with 10 inputs, γ = 1/2, SGD weights uniform; float64 on the host.

Set-up: kernel with radii, and one symmetric eigendecomposition, about 9M³ operations in parts that are no products.
Paths: coordinates of R starts in the eigenbasis, 2RM² operations, and back at each of T times, 2RM²T.
Law: mean and covariance at each of T times, two products, 4M³T.

Peers in the same run: scipy.linalg.expm at each time with the same products, and diffrax (`OdeLimit`, float32, its
default tolerance) from the same starts; with what each differs from ours.
"""

import argparse
from collections.abc import Callable

import jax
import numpy as np
import scipy.linalg

import jaxlimit as jl
from benchmarks import peak, product, seconds
from jaxlimit._devices import cores

INPUTS, TIMES = 10, 16
TS = np.linspace(0.0, 4.0, TIMES)


def problem_of(points: int) -> jl.Problem:
    data = jl.data.sphere(points=points, inputs=INPUTS)
    return jl.Problem(data, jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))


def by_expm(limit: jl.SpectralLimit, starts: np.ndarray) -> np.ndarray:
    """h_t = ŷ + e^{−At}(h_0 − ŷ), the exponential anew at each time."""
    y = limit.kernel.problem.data.y
    return np.stack([y + (starts - y) @ scipy.linalg.expm(-t * limit.matrix).T for t in TS], axis=1)


def law_by_expm(limit: jl.SpectralLimit, covariance: np.ndarray) -> np.ndarray:
    flows = [scipy.linalg.expm(-t * limit.matrix) for t in TS]
    return np.stack([flow @ covariance @ flow.T for flow in flows])


def report(name: str, time: float, operations: float | None, best: float, rest: str) -> None:
    share = "" if operations is None else f"{operations / time / 1e9:6.0f} GF/s {operations / time / best:5.0%}"
    print(f"  {name:14s} {1e3 * time:9.1f} ms {share:>18s}  {rest}")


def case(points: int, replicas: int, repeats: int, others: bool = True) -> None:
    """One size; `others` solve it the other ways too."""
    problem = problem_of(points)
    limit = jl.SpectralLimit(problem)
    ode = jl.OdeLimit(problem)
    starts = np.random.default_rng(0).standard_normal((replicas, points))
    covariance = limit.law([0.0]).covariance[0]
    runs: dict[str, Callable[[], object]] = {
        "dgemm": product(np.float64),
        "kernel": lambda: jl.gram(problem.network, problem.data.x),
        "set up": lambda: jl.SpectralLimit(problem),
        "eigh": lambda: np.linalg.eigh(limit.symmetric().value),
        "paths": lambda: limit.path(starts, TS),
        "law": lambda: limit.law(TS),
    }
    if others:
        runs |= {
            "paths, expm": lambda: by_expm(limit, starts),
            "law, expm": lambda: law_by_expm(limit, covariance),
            "paths, diffrax": lambda: ode.path(starts, TS),
        }
    times = seconds(runs, repeats)
    best = peak(times["dgemm"])
    print(f"\nM = {points}, R = {replicas} paths, T = {TIMES} times; dgemm {best / 1e9:.0f} GF/s")
    report("kernel", times["kernel"], None, best, "")
    report("set up", times["set up"], None, best, f"of which eigh {1e3 * times['eigh']:.1f} ms")
    found, law = limit.path(starts, TS), limit.law(TS)
    moved = 2.0 * replicas * points**2 * (TIMES + 1)
    report("paths", times["paths"], moved, best, f"{1e9 * times['paths'] / found.size:.2f} ns a number")
    report("law", times["law"], 4.0 * points**3 * TIMES, best, "")
    if others:
        for name, reference, ours in (
            ("paths, expm", found, lambda: by_expm(limit, starts)),
            ("law, expm", law.covariance, lambda: law_by_expm(limit, covariance)),
            ("paths, diffrax", found, lambda: ode.path(starts, TS)),
        ):
            gap = float(np.max(np.abs(ours() - reference)))
            ratio = times[name] / times[name.split(",")[0]]
            report(name, times[name], None, best, f"{ratio:.1f} times as long, differs by {gap:.0e}")


def krylov(sizes: tuple[int, ...], chosen: int = 8) -> None:
    """Mean at all points and law at a few: Krylov spaces against the eigendecomposition, kernels made beforehand."""
    print(f"\nKrylov spaces, tolerance 1e-10, T = {TIMES} times up to {TS[-1]:g}, α = 10; law at {chosen} points")
    print("       M    eigh    mean  dimension  law, 8 points  eigh/(mean + law)   differs by")
    for points in sizes:
        problem = jl.Problem(
            jl.data.sphere(points=points, inputs=INPUTS),
            jl.networks.Shallow(jl.activations.Erf(), jl.Initial()),
            learning_rate=10.0,
        )
        limit, spectral = jl.KrylovLimit(problem), jl.SpectralLimit(problem)
        zero, which = np.zeros(points), list(range(chosen))
        times = seconds(
            {
                "eigh": lambda s=spectral: np.linalg.eigh(s.symmetric().value),
                "mean": lambda k=limit, z=zero: k.solve(z, TS),
                "law": lambda k=limit, w=which: k.law(TS, w),
            },
            1,
        )
        found = limit.solve(zero, TS)
        gap = float(np.max(np.abs(found.values - spectral.path(zero, TS))))
        ratio = times["eigh"] / (times["mean"] + times["law"])
        print(
            f"  {points:6d} {times['eigh']:6.2f}s {times['mean']:6.3f}s {int(found.dimension):10d} "
            f"{times['law']:13.3f}s {ratio:18.1f} {gap:12.0e}"
        )


def main(quick: bool = False) -> None:
    """Print one table for each number of points."""
    print(f"{cores()} cores, NumPy {np.__version__}, jax {jax.__version__}, erf, sphere points with {INPUTS} inputs")
    if quick:
        case(20, 100, 2)
        krylov((100,))
        return
    case(20, 100_000, 5)
    case(300, 10_000, 5)
    case(1500, 2_000, 3, others=False)
    krylov((1000, 2000, 4000))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    main(parser.parse_args().quick)
