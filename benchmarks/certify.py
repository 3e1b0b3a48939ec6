"""Is a proof of positive definiteness cheaper than an estimate?

`certify` (proved lower and upper bound of λ_min) against NumPy's Cholesky (a yes or no, not proved) and
SciPy's eigvalsh (an estimate), in one run on the erf kernel of independent points on the sphere.
"""

import numpy as np
import scipy.linalg

from benchmarks import seconds
from jaxlimit import data
from jaxlimit.activations import Erf
from jaxlimit.initial import Initial
from jaxlimit.kernels import certify, gram
from jaxlimit.networks import Shallow

INPUTS = 10


def main(quick: bool = False) -> None:
    """Print one line per number of points; `quick` takes small ones only."""
    network = Shallow(Erf(), Initial())
    print(f"erf kernel, sphere points with {INPUTS} inputs; medians in seconds; ratios are certify / peer")
    print(
        f"{'points':>6} {'certify':>9} {'cholesky':>9} {'eigvalsh':>9} {'/chol.':>7} {'/eigv.':>7}"
        f"  {'lower, proved':>15} {'eigvalsh':>15} {'upper, proved':>15} {'floor':>8}"
    )
    for points in (50, 100) if quick else (200, 500, 1000, 2000):
        kernel = gram(network, data.sphere(points=points, inputs=INPUTS).x)
        repeats = 3 if quick or points > 1000 else 7
        runs = {
            "certify": lambda: certify(kernel),  # noqa: B023 - called at once
            "cholesky": lambda: np.linalg.cholesky(kernel.value),  # noqa: B023
            "eigvalsh": lambda: scipy.linalg.eigvalsh(kernel.value),  # noqa: B023
        }
        own, factor, eigen = seconds(runs, repeats).values()
        proof, estimate = certify(kernel), scipy.linalg.eigvalsh(kernel.value)[0]
        print(
            f"{points:6d} {own:9.4f} {factor:9.4f} {eigen:9.4f} {own / factor:7.2f} {own / eigen:7.2f}"
            f"  {proof.lower:15.9e} {estimate:15.9e} {proof.upper:15.9e} {proof.floor:8.1e}"
        )


if __name__ == "__main__":
    main()
