"""Positive definiteness from networks alone: a confidence bound for every activation, where nothing can be proved."""

from collections.abc import Sequence

import numpy as np

from jaxlimit._arguments import instance, items, positive_integer, real_array, require
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.activations import AbstractActivation
from jaxlimit.claims import Report, below, number
from jaxlimit.initial import Initial
from jaxlimit.kernels import LambdaMinConfidence, MonteCarlo, gram, lambda_min_confidence, lambda_min_replicates
from jaxlimit.networks import Shallow
from jaxlimit.studies._definiteness_claims import Finding, claim, foretold, label, remark

LEVEL = 0.05


def sampled_definiteness(
    x: ArrayLike,
    *,
    key: RandomKey,
    activations: Sequence[AbstractActivation],
    neurons: int,
    initial: Initial | None = None,
    replicas: int = 64,
) -> Report:
    """Bound λ_min(B) from below at 95% confidence, from kernels of independent networks, for any activation and law.

    Kernels B_N of networks have mean B, so the mean of λ_min(B_N) lies below λ_min(B); `lambda_min_confidence`
    makes a bound of it that is valid at any number of `replicas`. Where the theorem says that B is positive
    definite the claim HOLDS if the bound is positive, and is UNDECIDED otherwise: no sample refutes it. (A singular
    B makes every B_N singular, as 0 = vᵀBv = E vᵀB_N v; the 95% are about the size of the bound.) A kernel
    that is singular for a reason in the points x [points, inputs] is VIOLATED by a positive bound. Where the
    theorem is silent the bound is a remark. `arrays` holds λ_min(B_N) [activations, replicas]. Source: references
    `betting`, `ito1996`.

    Raises ``ValueError`` for bad arguments, and for fewer than two neurons or replicas.

        >>> import jax, jaxlimit as jl
        >>> report = jl.studies.sampled_definiteness(
        ...     jl.data.sphere(points=4, inputs=3).x,
        ...     key=jax.random.key(0),
        ...     activations=[jl.activations.Tanh()],
        ...     neurons=1024,
        ... )
        >>> [(claim.name, claim.verdict.value) for claim in report.claims]
        [('Tanh, as given', 'HOLDS')]
    """
    points = real_array("x", x, 2)
    chosen = items("activations", activations, "activations")
    require(len(chosen) > 0, "activations", "not be empty", "it has no member")
    law = Initial() if initial is None else instance("initial", initial, Initial)
    networks = [Shallow(instance("activations", one, AbstractActivation), law) for one in chosen]
    neurons, replicas = positive_integer("neurons", neurons), positive_integer("replicas", replicas)
    require(replicas >= 2, "replicas", "be at least 2 (for a standard error)", f"it is {replicas}")
    found, values = [], []
    for network in networks:
        # Two neurons suffice: the reasons for singularity lie in the points, not in the sample.
        reasons = gram(network, points, rule=MonteCarlo(2)).singular
        replicates = lambda_min_replicates(network, points, neurons, replicas, key)
        values.append(replicates.values)
        found.append(_finding(network, points, reasons, lambda_min_confidence(replicates, LEVEL), neurons))
    return Report(
        title="Positive definiteness of the limit's kernel: what the theorem foretells and what networks show",
        source="Ito, Adv. Comput. Math. 5 (1996); Sirignano & Spiliopoulos, arXiv 1907.04108",
        claims=tuple(one for one in map(claim, found) if one is not None),
        panels=(),
        arrays={"x": points, "lambda_min": np.stack(values), "names": np.array([one.name for one in found])},
        configuration={
            "study": "sampled definiteness",
            "activations": [repr(one) for one in chosen],
            "initial": repr(law),
            "neurons": neurons,
            "replicas": replicas,
            "points": points.shape[0],
            "inputs": points.shape[1],
        },
        remarks=tuple(one for one in map(remark, found) if one is not None),
    )


def _finding(
    network: Shallow, x: Host, reasons: tuple[str, ...], confidence: LambdaMinConfidence, neurons: int
) -> Finding:
    positive = confidence.finite_sample > 0
    bound = f"λ_min(B) ≥ {below(max(confidence.finite_sample, 0.0), 4)} at {1 - LEVEL:.0%} confidence"
    return Finding(
        f"{label(network.activation)}, as given",
        foretold(network, x, reasons),
        positive,
        bool(reasons),
        f"positive definite at {1 - LEVEL:.0%} confidence" if positive else "undecided",
        bound,
        f"mean of λ_min(B_N) {number(confidence.mean, 4)} ± {number(confidence.standard_error, 2)} "
        f"(it lies below λ_min(B)), rounding {confidence.rounding:.1e}",
        f"{confidence.replicas} independent networks of {neurons} neurons",
    )
