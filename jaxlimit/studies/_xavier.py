"""The Xavier limit put to the test: simulate, solve, prove, compare, and say what follows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import float_dtype, positive_integer, random_key, require, save_times, widths_in_order
from jaxlimit._lanes import Progress
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.claims import Report
from jaxlimit.kernels import AbstractRule, empirical_gram
from jaxlimit.limits import FiniteWidthError, OdeLimit, SpectralLimit
from jaxlimit.networks import AbstractNetwork, Neurons
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem
from jaxlimit.simulation import AbstractMethod
from jaxlimit.studies._call import Call
from jaxlimit.studies._run_store import RunStore, simulated
from jaxlimit.studies._xavier_claims import Evidence, claims
from jaxlimit.studies._xavier_panels import panels

WIDTHS = (512, 1024, 2048, 4096, 8192, 16384)
TIMES = tuple(0.25 * k for k in range(9))
LAW_WIDTH = 512
ODE_PATHS = 16
NEURONS, FEWEST_NEURONS, NEURON_WORK = 4096, 256, 1e12
"""Neurons for the predicted size of the path-wise error, fewer where many points make each dear (operations in all)."""
PATHS, FEWEST_PATHS, WIDE = 128, 16, 65536
"""Networks for a rate at the widest width; beyond width WIDE they get fewer, as each costs more."""


def xavier(
    problem: Problem,
    *,
    key: RandomKey,
    widths: Sequence[int] = WIDTHS,
    replicas: int = 8192,
    ts: ArrayLike = TIMES,
    law_width: int | None = None,
    path_replicas: int | None = None,
    rule: AbstractRule | None = None,
    method: AbstractMethod | None = None,
    dtype: Any = jnp.float32,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
    store: RunStore | str | Path | None = None,
) -> Report:
    """Test every statement of the Xavier limit theorem on this problem.

    The law of h^N_t is tested at one width with `replicas` independent networks (`law_width`; None is
    the widest of `widths` up to 512, and 512 if all are wider); rates are fitted over `widths` with
    `path_replicas` networks at the widest width and up to eight times as many at narrower ones, where
    they cost less; None is 128, and fewer beyond width 65,536, at least 16. `ts` must start at 0, where
    the law of the start is tested. Returns a `Report` whose claims are: the theorem's assumptions,
    positive definiteness (proved), the laws of h_0 and h_t, the path-wise rate −1/2 and size, freezing of the
    parameters and concentration of the kernel at rate −1/2, the loss against its prediction, its proved
    envelope and its exponent, and agreement of two independent solutions of the limit. The panels draw
    when asked to; `arrays` holds the samples. `method` as in `simulate`. With a `store`, a `RunStore` or its folder,
    networks are kept there and never simulated twice.

    Raises ``ValueError`` for bad arguments and where the problem has no such limit (γ ≠ 1/2, E c ≠ 0, a
    kernel that needs a rule) before anything is simulated. Source: references `xavier`.

        >>> import jax, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> problem = jl.Problem(jl.data.sphere(points=3, inputs=2), network)
        >>> report = jl.studies.xavier(
        ...     problem, key=jax.random.key(0), widths=(16, 32, 64), replicas=64, ts=(0.0, 1.0), path_replicas=8
        ... )
        >>> [claim.verdict.value for claim in report.claims if claim.name == "positive definiteness"]
        ['HOLDS']
    """
    key, times, sizes = random_key(key), save_times(ts), widths_in_order(widths)
    replicas = positive_integer("replicas", replicas)
    if path_replicas is None:
        path_replicas = max(FEWEST_PATHS, min(PATHS, PATHS * WIDE // sizes[-1]))
    path_replicas = positive_integer("path_replicas", path_replicas)
    require(times[0] == 0.0 and times.size > 1, "ts", "start at 0 and go on", f"it is {times.tolist()}")
    require(path_replicas >= 2, "path_replicas", "be at least 2 (for a standard error)", f"it is {path_replicas}")
    require(replicas >= 2, "replicas", "be at least 2 (for a standard error)", f"it is {replicas}")
    float_dtype(dtype)
    limit = SpectralLimit(problem, rule)
    require(
        limit.kernel.random_start, "problem", "have the Xavier scaling γ = 1/2", f"its scaling is {problem.scaling}"
    )
    at_law = _law_width(sizes) if law_width is None else positive_integer("law_width", law_width)
    law_key, path_key, neuron_key = (jax.random.fold_in(key, i) for i in range(3))

    runs = [(at_law, replicas), *((width, path_replicas * min(8, sizes[-1] // width)) for width in sizes)]
    observable = Observable(problem.network, problem.data.x)
    # Independent keys at every width: the fit of a rate takes the errors as independent.
    streams = [(law_key, None), *((jax.random.fold_in(path_key, width), observable) for width in sizes)]
    calls = [
        Call(problem, width, times, count, stream, method, observe=observe, dtype=dtype, devices=devices)
        for (width, count), (stream, observe) in zip(runs, streams, strict=True)
    ]
    law_samples, *path_samples = simulated(calls, store, progress)

    ode = OdeLimit(problem, rule, dtype)
    starts = np.asarray(law_samples.values[:ODE_PATHS, 0], np.float64)
    prediction, unpredicted = _path_prediction(limit, times[1:], neuron_key)
    evidence = Evidence(
        limit=limit,
        path_prediction=prediction,
        unpredicted=unpredicted,
        certificate=limit.certificate(),
        law=limit.law(times),
        law_samples=law_samples,
        widths=sizes,
        path_samples=tuple(path_samples),
        ode_difference=float(np.max(np.abs(ode.path(starts, times) - limit.path(starts, times)))),
        ode_error=ode.error,
        single=np.dtype(dtype) == np.float32,
    )
    found, measured = claims(evidence)
    return Report(
        title="The Xavier limit: SGD of one-hidden-layer networks of width N against its limit at N = ∞",
        source="Sirignano & Spiliopoulos, arXiv 1907.04108",
        claims=found,
        panels=panels(evidence, measured),
        arrays=_arrays(evidence),
        configuration=_configuration(problem, evidence, law_samples, rule, dtype),
    )


def _path_prediction(limit: SpectralLimit, ts: Host, key: RandomKey) -> tuple[FiniteWidthError | None, str]:
    """N·E|h^N − h|² to leading order, which at γ = 1/2 does not depend on N; or why there is none."""
    operations = 12.0 * limit.kernel.problem.data.points**3 * ts.size
    neurons = max(FEWEST_NEURONS, min(NEURONS, int(NEURON_WORK / operations)))
    try:
        return limit.path_error(ts, 1, key=key, neurons=neurons), ""
    except ValueError as refusal:
        return None, str(refusal)


def _law_width(widths: Sequence[int]) -> int:
    below = [w for w in widths if w <= LAW_WIDTH]
    return below[-1] if below else LAW_WIDTH


class Observable(eqx.Module):
    """Mean square movement of a neuron, and the kernel at the current parameters.

    A module and not a closure: equal observables share one compilation.
    """

    network: AbstractNetwork
    x: Float[Host, "points inputs"]

    def __call__(self, parameters: Neurons, start: Neurons) -> dict[str, jax.Array]:
        """Called by `simulate` at every save time."""
        moved = (parameters.c - start.c) ** 2 + jnp.sum((parameters.w - start.w) ** 2, axis=1)
        return {"movement": jnp.mean(moved), "kernel": empirical_gram(self.network, parameters, self.x)}


def _arrays(evidence: Evidence) -> dict[str, Any]:
    """What the figures and verdicts rest on, ready for an .npz file."""
    limit, law = evidence.limit, evidence.law
    arrays = {
        "ts": law.ts,
        "x": limit.kernel.problem.data.x,
        "y": limit.kernel.problem.data.y,
        "weights": limit.kernel.problem.data.weights,
        "gram": limit.kernel.gram.value,
        "gram_radius": limit.kernel.gram.radius,
        "initial_covariance": limit.kernel.covariance.value,
        "limit_mean": law.mean,
        "limit_covariance": law.covariance,
        f"h_{evidence.law_samples.width}_law": evidence.law_samples.values,
    }
    for width, samples in zip(evidence.widths, evidence.path_samples, strict=True):
        arrays[f"h_{width}"] = samples.values
        arrays[f"movement_{width}"] = samples.observed["movement"]
        arrays[f"kernel_{width}"] = samples.observed["kernel"]
    return arrays


def _configuration(
    problem: Problem,
    evidence: Evidence,
    law_samples: Samples,
    rule: AbstractRule | None,
    dtype: Any,
) -> dict[str, Any]:
    """Everything that determines the result, as plain values."""
    network = evidence.limit.kernel.network
    return {
        "study": "xavier",
        "activation": repr(network.activation),
        "initial": repr(network.initial),
        "train_output": network.train_output,
        "points": problem.data.points,
        "inputs": problem.data.inputs,
        "scaling": repr(problem.scaling),
        "loss": repr(problem.loss),
        "learning_rate": problem.learning_rate,
        "rule": "closed form" if rule is None else repr(rule),
        "ts": evidence.law.ts.tolist(),
        "widths": list(evidence.widths),
        "path_replicas": {str(s.width): s.replicas for s in evidence.path_samples},
        "law_width": law_samples.width,
        "replicas": law_samples.replicas,
        "method": {str(s.width): s.method for s in (law_samples, *evidence.path_samples)},
        "lanes": {str(s.width): s.lanes for s in (law_samples, *evidence.path_samples)},
        "devices": law_samples.devices,
        "dtype": np.dtype(dtype).name,
    }
