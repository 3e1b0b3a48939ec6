"""What does it cost to compare 100,000 samples of 20 points with a law, or with each other?

Standard normal samples, float32, and the law they come from. Ours is everything a comparison returns: the distance,
its bounds, a p-value without permutations (but for `Sliced` of two samples) and what it could have detected. Peers
return the distance, or a p-value from permutations; SciPy's are one-dimensional and get the first point alone. POT
(`ot`) and hyppo are used where they are installed and are no dependencies; hyppo's distances take memory and time like
the square of the samples, so it gets few of them and no permutations.

A pass over the data is 8 MB. Kernel and energy distance take 2·20 operations and a sine and cosine for each of 260
frequencies and each sample; the sliced distance sorts 80 columns; moments are one product.
"""

import argparse
import importlib
import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy
import scipy.stats

import jaxlimit as jl
from benchmarks import seconds
from jaxlimit._devices import cores

STATISTICS = (
    jl.statistics.MeanShift(),
    jl.statistics.KolmogorovSmirnov(),
    jl.statistics.WhitenedMoments(),
    jl.statistics.BuresWasserstein(),
    jl.statistics.EnergyDistance(),
    jl.statistics.KernelDiscrepancy(),
    jl.statistics.Sliced(),
)


def samples(seed: int, replicas: int, points: int) -> jl.paths.Samples:
    values = np.random.default_rng(seed).standard_normal((replicas, 1, points), dtype=np.float32)
    fine = np.full(replicas, -1)
    return jl.paths.Samples(np.array([1.0]), values, None, np.array([100]), fine, "Stepwise", 100, 1)


def ours(replicas: int, points: int, repeats: int) -> None:
    """Seconds of each statistic, one sample and two."""
    first, second = samples(0, replicas, points), samples(1, replicas, points)
    law = jl.paths.GaussianPath(np.array([1.0]), np.zeros((1, points)), np.eye(points)[None])
    print(f"\n{'ours':20s} {'samples':>8s} {'law':>9s} {'two samples':>12s} {'detectable':>11s} {'noise floor':>12s}")
    for statistic in STATISTICS:
        runs: dict[str, Callable[[], Any]] = {"law": lambda: jl.compare(first, law, statistic)}  # noqa: B023
        if isinstance(statistic, jl.statistics.AbstractTwoSampleStatistic):
            runs["two"] = lambda: jl.statistics.compare_samples(first, second, statistic)  # noqa: B023
        times, found = seconds(runs, repeats), jl.compare(first, law, statistic)
        two = f"{times['two']:10.2f} s" if "two" in times else f"{'':12s}"
        print(
            f"{type(statistic).__name__:20s} {replicas:8d} {times['law']:7.2f} s {two} {found.detectable[0]:11.4f}"
            f" {found.null_distance:12.4f}"
        )


def peers(replicas: int, few: int, points: int, repeats: int) -> None:
    """Seconds of what others offer, at the size they can do."""
    x, y = (samples(seed, replicas, points).values[:, 0].astype(np.float64) for seed in (0, 1))
    runs: dict[str, tuple[int, str, Callable[[], Any]]] = {
        "scipy kstest": (replicas, "1 point", lambda: scipy.stats.kstest(x[:, 0], "norm")),
        "scipy energy": (replicas, "1 point, two samples", lambda: scipy.stats.energy_distance(x[:, 0], y[:, 0])),
        "scipy wasserstein": (
            replicas,
            "1 point, two samples",
            lambda: scipy.stats.wasserstein_distance(x[:, 0], y[:, 0]),
        ),
    }
    if importlib.util.find_spec("ot"):
        ot = importlib.import_module("ot")
        eye = np.eye(points)
        fitted = lambda z: (np.mean(z, axis=0), np.cov(z.T))  # noqa: E731
        runs["POT Bures"] = (
            replicas,
            "two fits, distance only",
            lambda: ot.gaussian.bures_wasserstein_distance(fitted(x)[0], np.zeros(points), fitted(x)[1], eye),
        )
        runs["POT sliced"] = (
            replicas,
            "two samples, 80 directions, distance only",
            lambda: ot.sliced_wasserstein_distance(x, y, n_projections=80, seed=0),
        )
    if importlib.util.find_spec("hyppo"):
        ksample = importlib.import_module("hyppo.ksample")
        for name in ("MMD", "Energy"):
            test = getattr(ksample, name)()
            runs[f"hyppo {name}"] = (
                few,
                "two samples, distance only",
                lambda test=test: test.statistic(x[:few], y[:few]),
            )
    times = seconds({name: run for name, (_, _, run) in runs.items()}, repeats)
    print(f"\n{'peer':20s} {'samples':>8s} {'':>9s}")
    for name, (count, what, _) in runs.items():
        print(f"{name:20s} {count:8d} {times[name]:7.3f} s   {what}")


def main(quick: bool = False) -> None:
    """Print two tables: ours, and peers."""
    print(f"{cores()} cores, NumPy {np.__version__}, SciPy {scipy.__version__}")
    if quick:
        ours(500, 4, 1)
        peers(500, 100, 4, 1)
        return
    ours(100_000, 20, 3)
    peers(100_000, 2000, 20, 1)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    main(parser.parse_args().quick)
