"""The scalings N^{−γ} put to the test: variance, bias, movement of the parameters and test error against γ."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import (
    float_dtype,
    instance,
    positive_integer,
    random_key,
    real_array,
    require,
    save_times,
    widths_in_order,
)
from jaxlimit._lanes import Progress
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.claims import Report
from jaxlimit.data import Data
from jaxlimit.kernels import AbstractRule
from jaxlimit.limits import SpectralLimit
from jaxlimit.networks import Neurons
from jaxlimit.problem import Problem
from jaxlimit.simulation import AbstractMethod
from jaxlimit.studies._call import Call
from jaxlimit.studies._normalisation_claims import MARGIN, Evidence, claims
from jaxlimit.studies._normalisation_panels import panels
from jaxlimit.studies._normalisation_prediction import FEWEST_PARTICLES, Predictions, at_gamma
from jaxlimit.studies._run_store import RunStore, simulated
from jaxlimit.studies._scatter import FEWEST_NETWORKS
from jaxlimit.studies._streams import stream

GAMMAS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
SCALING_WIDTHS = (64, 128, 256, 512)
SCALING_TIMES = (0.0, 1.0, 2.0)
FEWEST_STEPS = 10
"""Before that, the noise of single samples moves a neuron as much as the gradient does, with another exponent."""
LAW, PATHS = 0, 1
"""Streams of the networks for the law, and of those for rates and test errors."""
ROUNDING = 0.2 * MARGIN
"""Of an exponent, by times that are rounded to whole steps."""


def normalisation(
    problem: Problem,
    *,
    key: RandomKey,
    held_out: Data | None = None,
    gammas: Sequence[float] = GAMMAS,
    widths: Sequence[int] = SCALING_WIDTHS,
    replicas: int = 4096,
    path_replicas: int = 2048,
    law_width: int = 512,
    ts: ArrayLike = SCALING_TIMES,
    particles: int = 4096,
    rule: AbstractRule | None = None,
    method: AbstractMethod | None = None,
    dtype: Any = jnp.float32,
    devices: Sequence[jax.Device] | None = None,
    progress: Progress | None = None,
    store: RunStore | str | Path | None = None,
) -> Report:
    """Test what the normalisation N^{−γ} changes, for γ from 1/2 (Xavier) to 1 (mean field).

    The problem's own scaling is replaced by each of `gammas`, its learning rate by α/N^{2(1−γ)}. Claims: the
    assumptions; for every γ, Var h^N_t at `law_width`, from `replicas` networks, is the predicted one, which tends to
    N^{1−2γ}e^{−At}Σe^{−Aᵀt} and at finite N has the noise of SGD and of the kernel in it; the squared bias
    E_π(E h^N_t − ŷ)² is that of the flow at ε = N^{−(1−γ)}, which tends to |e^{−At}ŷ|²; for every γ, a neuron moves
    like N^{γ−1} over `widths`, with `path_replicas` networks at each. With `held_out` data, whose targets have a sign,
    the share of them that a network of each γ and width gets wrong at the end is compared with that of a Gaussian
    output of the predicted mean and variance, and a remark says what γ does to it: no theorem speaks of it.

    Variance and bias HOLD from 4096 `replicas` on, the test error from 1024 `path_replicas`; none of the three is
    VIOLATED with fewer than 1000. A claim on networks some of which diverged is UNDECIDED: those left are the tame
    ones. Times are rounded down to whole steps at `law_width`, and predictions are made for the times so reached.

    With a `store`, a `RunStore` or its folder, networks are kept there and never simulated twice.

    `particles` solve the flow; `rule` is for activations whose kernel has no closed form. Raises ``ValueError`` for
    bad arguments, among them a γ outside [1/2, 1], E c ≠ 0, targets that are all 0, fewer than 8 networks, times after
    which the narrowest networks have taken fewer than 10 steps or networks of different width stand at different
    times, and a loss that is not `SquaredError`, before anything is simulated. Source: references `normalisation`.

        >>> import jax, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> problem = jl.Problem(jl.data.sphere(points=3, inputs=2), network)
        >>> small = {"replicas": 16, "path_replicas": 8, "law_width": 16, "widths": (8, 16, 32), "particles": 128}
        >>> few = {"gammas": (0.5,), "ts": (0.0, 2.0), "devices": jax.devices()[:1]}
        >>> report = jl.studies.normalisation(problem, key=jax.random.key(0), **small, **few)
        >>> [claim.name for claim in report.claims]
        ['assumptions', 'variance γ = 0.5', 'bias', 'movement γ = 0.5']
    """
    key, times, sizes = random_key(key), save_times(ts), widths_in_order(widths)
    given = instance("problem", problem, Problem)
    exponents = _gammas(gammas)
    require(times[0] == 0.0 and times.size > 1, "ts", "start at 0 and go on", f"it is {times.tolist()}")
    counts = {"replicas": replicas, "path_replicas": path_replicas}
    for name, count in counts.items():
        enough = positive_integer(name, count) >= FEWEST_NETWORKS
        require(enough, name, f"be at least {FEWEST_NETWORKS} (for a standard error)", f"it is {count}")
    float_dtype(dtype)
    at_law, several = positive_integer("law_width", law_width), positive_integer("particles", particles)
    enough = several >= FEWEST_PARTICLES
    require(enough, "particles", f"be at least {FEWEST_PARTICLES} for a standard error", f"it is {several}")
    _check_held_out(given, held_out)
    learnt = bool(np.any(given.data.y != 0))
    require(learnt, "problem", "have targets other than 0, or there is no bias to compare", "all are 0")
    scaled = {g: at_gamma(given, g) for g in exponents}
    times = _reached(scaled[exponents[0]], times, at_law)
    _check_steps(scaled[exponents[0]], float(times[-1]), sizes)
    limit = SpectralLimit(at_gamma(given, 0.5), rule)
    predictions = Predictions(limit, held_out, times, several, jax.random.fold_in(key, 0))

    shared: dict[str, Any] = {"method": method, "dtype": dtype, "devices": devices}
    law: dict[str, Any] = {"ts": times}
    paths: dict[str, Any] = {"ts": times[[0, -1]], "at": predictions.at, "observe": movement}
    # Independent keys for every run: fits and verdicts take their errors as independent.
    runs = [
        (g, Call(scaled[g], width, replicas=count, key=stream(key, 1, kind, width, g), **settings, **shared))
        for g in exponents
        for kind, width, count, settings in (
            (LAW, at_law, replicas, law),
            *((PATHS, width, path_replicas, paths) for width in sizes),
        )
    ]
    found = list(simulated([call for _, call in runs], store, progress))
    each = len(sizes) + 1
    evidence = Evidence(
        predictions=predictions,
        gammas=exponents,
        widths=sizes,
        law_samples=tuple(found[::each]),
        path_samples=tuple(tuple(found[k * each + 1 : (k + 1) * each]) for k in range(len(exponents))),
    )
    tested, measured, remarks = claims(evidence)
    return Report(
        title="The scalings N^{−γ} between the Xavier scaling and mean field",
        source="Yu & Spiliopoulos, arXiv 2011.10487",
        claims=tested,
        panels=panels(evidence, measured),
        arrays=_arrays(evidence),
        configuration={
            "study": "normalisation",
            "activation": repr(limit.kernel.network.activation),
            "initial": repr(limit.kernel.network.initial),
            "points": given.data.points,
            "inputs": given.data.inputs,
            "held_out": 0 if held_out is None else held_out.points,
            "loss": repr(given.loss),
            "learning_rate": given.learning_rate,
            "rule": "closed form" if rule is None else repr(rule),
            "gammas": list(exponents),
            "widths": list(sizes),
            "law_width": at_law,
            "ts": times.tolist(),
            "particles": several,
            **counts,
            "method": {f"γ = {g:g}, {s.width}": s.method for (g, _), s in zip(runs, found, strict=True)},
            "dtype": np.dtype(dtype).name,
        },
        remarks=remarks,
    )


def movement(parameters: Neurons, start: Neurons) -> jax.Array:
    """Mean square movement of a neuron, as an observable."""
    return jnp.mean((parameters.c - start.c) ** 2 + jnp.sum((parameters.w - start.w) ** 2, axis=1))


def _gammas(given: Sequence[float]) -> tuple[float, ...]:
    values: Host = real_array("gammas", given, 1)
    within = bool(np.all((values >= 0.5) & (values <= 1.0)))
    require(within, "gammas", "lie in [1/2, 1], where the theorem speaks", f"it is {values.tolist()}")
    increasing = bool(np.all(np.diff(values) > 0))
    require(increasing, "gammas", "increase", f"it is {values.tolist()}")
    return tuple(float(value) for value in values)


def _reached(problem: Problem, times: Host, width: int) -> Host:
    """⌊N t⌋/N: the times at which networks of this width really stand."""
    steps = np.array([problem.scaling.steps(float(t), width) for t in times])
    apart = bool(np.all(np.diff(steps) > 0))
    require(apart, "ts", f"lie at least a step apart at width {width}", f"it means the steps {steps.tolist()}")
    return steps / width


def _check_steps(problem: Problem, end: float, widths: Sequence[int]) -> None:
    """⌊N t⌋ steps are so many that the exponent of the movement is not that of the rounding."""
    steps = [problem.scaling.steps(end, width) for width in widths]
    wanted = f"end where the narrowest networks have taken at least {FEWEST_STEPS} steps"
    require(steps[0] >= FEWEST_STEPS, "ts", wanted, f"t = {end:g} at width {widths[0]} is {steps[0]}")
    # Movement grows at most like t; a fit with any weights is a mean of the slopes between pairs.
    size, short = np.log(widths), np.log(np.array(steps) / (end * np.array(widths)))
    i, j = np.triu_indices(len(steps), 1)
    shift = float(np.max(np.abs((short[i] - short[j]) / (size[i] - size[j])), initial=0.0))
    wanted = f"end where ⌊N t⌋/N is so much the same at all widths that it moves an exponent by at most {ROUNDING:g}"
    require(shift <= ROUNDING, "ts", wanted, f"{steps} steps at widths {list(widths)} move it by {shift:.2g}")


def _check_held_out(problem: Problem, held_out: Data | None) -> None:
    if held_out is None:
        return
    inputs, mine = instance("held_out", held_out, Data).inputs, problem.data.inputs
    require(inputs == mine, "held_out", f"have {mine} inputs like the data", f"it has {inputs}")
    signed = bool(np.all(held_out.y != 0))
    require(signed, "held_out", "have targets other than 0, whose sign a network is to find", "some are 0")


def _arrays(evidence: Evidence) -> dict[str, Any]:
    """What the figures and verdicts rest on, ready for an .npz file."""
    predictions = evidence.predictions
    arrays: dict[str, Any] = {
        "ts": predictions.ts,
        "gammas": np.array(evidence.gammas),
        "linear_mean": predictions.linear.mean,
        "linear_variance": np.diagonal(predictions.linear.covariance, axis1=1, axis2=2),
    }
    for gamma, law, paths in zip(evidence.gammas, evidence.law_samples, evidence.path_samples, strict=True):
        arrays[f"h_{gamma:g}_{law.width}_law"] = law.values
        for samples in paths:
            arrays[f"h_{gamma:g}_{samples.width}"] = samples.values
            arrays[f"movement_{gamma:g}_{samples.width}"] = samples.observed
    return arrays
