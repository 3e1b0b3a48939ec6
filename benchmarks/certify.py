"""Is a proof of positive definiteness cheaper than an estimate, and how far does it go?

First table: `certify` (proved lower and upper bound of λ_min) against NumPy's Cholesky (a yes or no, not proved) and
SciPy's eigvalsh (an estimate), in one run on the erf kernel of independent points on the sphere.

Second table, up to 10,000 points: the Gram with its radii, the proof, and the estimate that holds one matrix only,
against LAPACK's factorisation of the same matrix (n³/3 operations) and against dgemm. Two factorisations are the least
that a proof of a tight bound takes: one to find λ_min, one to confirm it. Memory is the largest that the process has
held so far.
"""

import argparse
import resource
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from scipy.linalg import blas, lapack

from benchmarks import seconds
from jaxlimit import data
from jaxlimit.activations import Erf
from jaxlimit.initial import Initial
from jaxlimit.kernels import Certificate, ShiftInvert, certify, gram, lambda_min_estimate
from jaxlimit.networks import Shallow

INPUTS = 10
NETWORK = Shallow(Erf(), Initial())


def against_estimates(sizes: tuple[int, ...], repeats: int) -> None:
    """One line per number of points."""
    print(f"erf kernel, sphere points with {INPUTS} inputs; medians in seconds; ratios are certify / peer")
    print(
        f"{'points':>6} {'certify':>9} {'cholesky':>9} {'eigvalsh':>9} {'/chol.':>7} {'/eigv.':>7}"
        f"  {'lower, proved':>15} {'eigvalsh':>15} {'upper, proved':>15} {'floor':>8}"
    )
    for points in sizes:
        kernel = gram(NETWORK, data.sphere(points=points, inputs=INPUTS).x)
        runs = {
            "certify": lambda: certify(kernel),  # noqa: B023 - called at once
            "cholesky": lambda: np.linalg.cholesky(kernel.value),  # noqa: B023
            "eigvalsh": lambda: scipy.linalg.eigvalsh(kernel.value),  # noqa: B023
        }
        own, factor, eigen = seconds(runs, 3 if points > 1000 else repeats).values()
        proof, estimate = certify(kernel), scipy.linalg.eigvalsh(kernel.value)[0]
        print(
            f"{points:6d} {own:9.4f} {factor:9.4f} {eigen:9.4f} {own / factor:7.2f} {own / eigen:7.2f}"
            f"  {proof.lower:15.9e} {estimate:15.9e} {proof.upper:15.9e} {proof.floor:8.1e}"
        )


def timed(run: Callable[[], Any]) -> tuple[Any, float]:
    start = time.perf_counter()
    found = run()
    return found, time.perf_counter() - start


class Proved(NamedTuple):
    """The certificate, seconds for the Gram and for the proof, memory in GiB, and a copy of the matrix."""

    certificate: Certificate
    entries: float
    own: float
    memory: float
    matrix: np.ndarray


def proved(x: np.ndarray) -> Proved:
    kernel, entries = timed(lambda: gram(NETWORK, x))
    certificate, own = timed(lambda: certify(kernel))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Proved(certificate, entries, own, memory, np.array(kernel.value.T, order="F"))


def large(sizes: tuple[tuple[int, int], ...]) -> None:
    """Once each: these take seconds, and memory is what is looked at."""
    print("\nerf kernel, points with non-negative coordinates (as images have), or on the sphere; seconds, once each")
    print(
        f"{'points':>6} {'inputs':>6} {'gram':>7} {'certify':>8} {'estimate':>9} {'dpotrf':>7} {'of dgemm':>9}"
        f" {'/dpotrf':>8} {'memory':>8}  {'lower, proved':>14} {'estimate':>14} {'upper, proved':>14}"
    )
    for points, inputs in sizes:
        x = data.sphere(points=points, inputs=inputs).x
        x = np.abs(x) if inputs > 100 else x
        proof, entries, own, memory, work = proved(x)
        _, factor = timed(lambda: lapack.dpotrf(work, lower=1, overwrite_a=1, clean=0))  # noqa: B023 - called at once
        side = np.asfortranarray(work[:2000, :2000])
        product = timed(lambda: blas.dgemm(1.0, side, side))[1]  # noqa: B023
        share = (points**3 / 3 / factor) / (2 * len(side) ** 3 / product)
        work = side  # room for the estimate's own matrix
        estimate, other = timed(lambda: lambda_min_estimate(NETWORK, x, solver=ShiftInvert()))  # noqa: B023
        print(
            f"{points:6d} {inputs:6d} {entries:7.2f} {own:8.2f} {other:9.2f} {factor:7.2f} {share:9.0%}"
            f" {own / factor:8.1f} {memory:6.2f} G  {proof.lower:14.8e} {estimate.value:14.8e} {proof.upper:14.8e}",
            flush=True,
        )


def main(quick: bool = False) -> None:
    """Print both tables; `quick` takes small sizes only."""
    if quick:
        against_estimates((50, 100), 3)
        large(((300, 10), (300, 200)))
        return
    against_estimates((200, 500, 1000, 2000), 7)
    large(((2000, 64), (5000, 64), (10_000, 64), (10_000, 784)))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    main(parser.parse_args().quick)
