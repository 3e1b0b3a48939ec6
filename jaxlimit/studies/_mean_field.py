"""The mean-field limit put to the test: large numbers, fluctuations from both sources, and a measure that moves."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import float_dtype, positive_integer, random_key, require, save_times, widths_in_order
from jaxlimit._lanes import Progress
from jaxlimit._typing import ArrayLike, RandomKey
from jaxlimit.claims import Report
from jaxlimit.limits import MeanFieldLimit
from jaxlimit.networks import Neurons
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem
from jaxlimit.scalings import Xavier
from jaxlimit.simulation import AbstractMethod
from jaxlimit.studies._call import Call
from jaxlimit.studies._mean_field_claims import Evidence, claims
from jaxlimit.studies._mean_field_panels import panels
from jaxlimit.studies._run_store import RunStore, simulated
from jaxlimit.studies._scatter import FEWEST_NETWORKS

WIDTHS = (32, 64, 128, 256, 512)
TIMES = (0.0, 0.5, 1.0, 1.5, 2.0)
MEASURE_WIDTHS = (32, 64, 128, 256, 512)
REPLICAS, MEASURE_REPLICAS = 6144, 48
WIDEST_MEASURE = 1024
"""Neurons of the widest network whose law is matched to that of its start: the assignment costs the third power."""


def mean_field(
    problem: Problem,
    *,
    key: RandomKey,
    widths: Sequence[int] = WIDTHS,
    replicas: int = REPLICAS,
    ts: ArrayLike = TIMES,
    law_width: int = 256,
    path_replicas: int = 64,
    measure_widths: Sequence[int] = MEASURE_WIDTHS,
    measure_replicas: int = MEASURE_REPLICAS,
    particles: int = 8192,
    method: AbstractMethod | None = None,
    dtype: Any = jnp.float32,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
    store: RunStore | str | Path | None = None,
) -> Report:
    """Test the law of large numbers and the central limit theorem at γ = 1, and what sets mean field apart.

    Claims: the assumptions; RMS |g^N_t − g_t| falls like N^{−1/2} over `widths`, with `path_replicas` networks at the
    widest and up to eight times as many at narrower ones; N·Var g^N_t at `law_width`, from `replicas` networks, is what
    `MeanFieldLimit.fluctuation` predicts, with the noise of SGD and, for the full batch, with that of the start alone;
    the law of the neurons moves by as much at every width (Wasserstein distance W₂ of a network's own neurons at the
    end to those at its start), where in the Xavier scaling it moves like N^{−1/2}. The limit is solved with `particles`
    particles, and its own error counts as a floor below which no rate is fitted and as part of every doubt.

    The two claims on variances HOLD from 4096 `replicas` on and are VIOLATED from 1000 on. A claim on networks some of
    which diverged is UNDECIDED: those left are the tame ones. With a `store`, a `RunStore` or its folder, networks are
    kept there and never simulated twice.

    Raises ``ValueError`` for bad arguments, among them a scaling that is not `MeanField()` and fewer than 8 networks
    for a rate, before anything is simulated. Source: references `mean_field`.

        >>> import jax, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> problem = jl.Problem(jl.data.sphere(points=3, inputs=2), network, scaling=jl.MeanField())
        >>> small = {"replicas": 16, "law_width": 16, "path_replicas": 8, "measure_replicas": 8, "particles": 128}
        >>> few = {"ts": (0.0, 1.0), "widths": (16,), "measure_widths": (16,), "devices": jax.devices()[:1]}
        >>> report = jl.studies.mean_field(problem, key=jax.random.key(0), **small, **few)
        >>> [claim.verdict.value for claim in report.claims if claim.name == "assumptions"]
        ['HOLDS']
    """
    key, times, sizes = random_key(key), save_times(ts), widths_in_order(widths)
    measured_at = widths_in_order(measure_widths)
    require(
        measured_at[-1] <= WIDEST_MEASURE, "measure_widths", f"stay within {WIDEST_MEASURE}", f"it is {measured_at}"
    )
    require(times[0] == 0.0 and times.size > 1, "ts", "start at 0 and go on", f"it is {times.tolist()}")
    counts = {"replicas": replicas, "path_replicas": path_replicas, "measure_replicas": measure_replicas}
    for name, count in counts.items():
        least = 2 if name == "replicas" else FEWEST_NETWORKS
        enough = positive_integer(name, count) >= least
        require(enough, name, f"be at least {least} (for a standard error)", f"it is {count}")
    float_dtype(dtype)
    at_law = positive_integer("law_width", law_width)
    limit = MeanFieldLimit(problem, particles, key=jax.random.fold_in(key, 0), dtype=dtype)
    solution = limit.solve(times)

    random_start = problem.network.initial.c.mean == 0.0  # type: ignore[attr-defined]
    xavier = Problem(problem.data, problem.network, Xavier(), problem.loss, problem.learning_rate)
    ends = {"ts": times[[0, -1]], "observe": neurons}
    # Streams of their own for every run: fits and verdicts take their errors as independent.
    runs = [_Run(problem, w, path_replicas * min(8, sizes[-1] // w), 1) for w in sizes]
    runs += [_Run(problem, at_law, replicas, 2), _Run(problem, at_law, replicas, 5, {"batch": None})]
    runs += [_Run(problem, w, measure_replicas, 3, ends) for w in measured_at]
    runs += [_Run(xavier, w, measure_replicas, 4, ends) for w in measured_at if random_start]
    calls = [
        Call(
            run.problem,
            run.width,
            replicas=run.replicas,
            key=jax.random.fold_in(jax.random.fold_in(key, run.stream), run.width),
            method=method,
            dtype=dtype,
            devices=devices,
            **{"ts": times, **run.changes},
        )
        for run in runs
    ]
    samples = list(simulated(calls, store, progress))

    def of(stream: int) -> tuple[Samples, ...]:
        return tuple(found for run, found in zip(runs, samples, strict=True) if run.stream == stream)

    evidence = Evidence(
        limit=limit,
        solution=solution,
        fluctuation=limit.fluctuation(times),
        widths=sizes,
        path_samples=of(1),
        law_samples=of(2)[0],
        full_batch=of(5)[0],
        measure_widths=measured_at,
        moved={"mean field": of(3), "Xavier": of(4)} if random_start else {"mean field": of(3)},
    )
    found, measured = claims(evidence)
    return Report(
        title="The mean-field limit: SGD of one-hidden-layer networks averaged over their neurons",
        source="Sirignano & Spiliopoulos, arXiv 1805.01053 and 1808.09372",
        claims=found,
        panels=panels(evidence, measured),
        arrays=_arrays(evidence, measured.distances),
        configuration={
            "study": "mean_field",
            "activation": repr(limit.flow.problem.network.activation),  # type: ignore[attr-defined]
            "initial": repr(limit.flow.problem.network.initial),  # type: ignore[attr-defined]
            "points": problem.data.points,
            "inputs": problem.data.inputs,
            "loss": repr(problem.loss),
            "learning_rate": problem.learning_rate,
            "ts": times.tolist(),
            "widths": list(sizes),
            "law_width": at_law,
            "measure_widths": list(measured_at),
            "particles": particles,
            **counts,
            "method": {str(s.width): s.method for s in (evidence.law_samples, *evidence.path_samples)},
            "dtype": np.dtype(dtype).name,
        },
    )


class _Run(NamedTuple):
    """Networks of one problem and width, and what is different in their simulation."""

    problem: Problem
    width: int
    replicas: int
    stream: int
    changes: dict[str, Any] = {}  # noqa: RUF012 (nobody writes into it)


def neurons(parameters: Neurons, start: Neurons) -> Neurons:
    """The neurons themselves, as an observable."""
    return parameters


def _arrays(evidence: Evidence, distances: dict[str, list[np.ndarray]]) -> dict[str, Any]:
    """What the figures and verdicts rest on, ready for an .npz file."""
    fluctuation = evidence.fluctuation
    arrays: dict[str, Any] = {
        "ts": evidence.solution.ts,
        "limit": evidence.solution.values,
        "limit_error": evidence.solution.error,
        "initial": fluctuation.initial,
        "sgd": fluctuation.sgd,
        "covariance_standard_error": fluctuation.standard_error,
        f"g_{evidence.law_samples.width}_law": evidence.law_samples.values,
        f"g_{evidence.full_batch.width}_full_batch": evidence.full_batch.values,
    }
    for samples in evidence.path_samples:
        arrays[f"g_{samples.width}"] = samples.values
    for name, values in distances.items():
        for width, value in zip(evidence.measure_widths, values, strict=True):
            arrays[f"w2_{name.replace(' ', '_')}_{width}"] = value
    return arrays
