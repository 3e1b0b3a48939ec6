"""From the evidence of the mean-field study to claims."""

import math
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize
import scipy.spatial.distance

from jaxlimit._typing import Host
from jaxlimit.claims import Claim, Verdict, number
from jaxlimit.limits import Fluctuation, MeanFieldLimit, MeanFieldSolution
from jaxlimit.losses import SquaredError
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem
from jaxlimit.statistics import ErrorAtWidth, Rate, curve_equivalence, pathwise, rate, rate_verdict
from jaxlimit.studies._diverged import finite, lost_of, unless_lost
from jaxlimit.studies._scatter import mean_of

NUMBERS, FLUCTUATIONS = "arXiv 1805.01053", "arXiv 1808.09372"
XAVIER = "arXiv 1907.04108"
MARGIN = 0.1


class Evidence(NamedTuple):
    """Everything the study computed."""

    limit: MeanFieldLimit
    solution: MeanFieldSolution
    fluctuation: Fluctuation
    widths: tuple[int, ...]
    path_samples: tuple[Samples, ...]
    law_samples: Samples
    full_batch: Samples
    measure_widths: tuple[int, ...]
    moved: dict[str, tuple[Samples, ...]]
    """Networks whose observable are their neurons at the start and at the end, by the name of their scaling."""


class Measured(NamedTuple):
    """Errors and their rates, ratios of variances, distances of measures: what the panels draw."""

    errors: dict[str, tuple[ErrorAtWidth, ...]]
    rates: dict[str, Rate]
    distances: dict[str, list[Host]]
    """W₂ [replicas] of the networks that stayed finite at every width, by the name of the scaling."""


def claims(evidence: Evidence) -> tuple[tuple[Claim, ...], Measured]:
    """All claims, and the measurements behind them."""
    floor = float(np.sqrt(np.mean(np.square(evidence.solution.error[1:]))))
    limit = np.asarray(evidence.solution.values, np.float64)
    errors = {"large numbers": tuple(_distance(samples, limit, floor) for samples in evidence.path_samples)}
    distances = {name: [_wasserstein(s) for s in samples] for name, samples in evidence.moved.items()}
    for name, values in distances.items():
        errors[name] = tuple(mean_of(v) for v in values)
    rates = {
        name: rate(evidence.widths if name == "large numbers" else evidence.measure_widths, found)
        for name, found in errors.items()
    }
    measured = Measured(errors, rates, distances)
    found = [
        _assumptions(evidence.limit.flow.problem),
        unless_lost(
            _rate_claim(measured, "large numbers", "RMS |g^N_t − g_t| falls like N^{−1/2}", NUMBERS, -0.5, floor),
            lost_of(evidence.path_samples),
        ),
        _variance(evidence, "fluctuations", "N·Var g^N_t is the predicted one, from the start and from SGD", False),
        _variance(evidence, "fluctuations of the start", "for the full batch it is the part of the start alone", True),
        unless_lost(
            _rate_claim(
                measured,
                "mean field",
                "the law of the neurons moves by as much at every width (W₂ to its start)",
                NUMBERS,
                0.0,
            ),
            lost_of(evidence.moved["mean field"]),
        ),
    ]
    if "Xavier" in measured.rates:
        statement = "in the Xavier scaling it moves like N^{−1/2}: features are not learnt"
        contrast = _rate_claim(measured, "Xavier", statement, XAVIER, -0.5)
        found.append(unless_lost(contrast, lost_of(evidence.moved["Xavier"])))
    return tuple(found), measured


def _distance(samples: Samples, limit: Host, floor: float) -> ErrorAtWidth:
    """RMS over the networks that stayed finite, points and times after 0."""
    kept = np.asarray(samples.values, np.float64)[finite(samples)]
    if len(kept) < 2:
        return ErrorAtWidth(0.0, 0.0, floor)
    pooled = pathwise(kept[:, 1:], limit[1:]).pooled
    return ErrorAtWidth(pooled.distance, pooled.standard_error, floor)


def _wasserstein(samples: Samples) -> Host:
    """W₂ of the empirical laws of (c, w) at the start and at the end, by optimal assignment, replica by replica.

    Networks that diverged have no law at the end and are left out.
    """
    c, w = (np.asarray(v, np.float64)[finite(samples)] for v in samples.observed)
    both = np.concatenate([c[..., None], w], axis=-1)
    found = []
    for start, end in both:
        cost = scipy.spatial.distance.cdist(start, end, "sqeuclidean")
        rows, columns = scipy.optimize.linear_sum_assignment(cost)
        found.append(math.sqrt(cost[rows, columns].mean()))
    return np.array(found)


def _assumptions(problem: Problem) -> Claim:
    """What both theorems ask for."""
    network: Any = problem.network
    activation, initial = network.activation, network.initial
    checks = {
        "σ twice continuously differentiable": activation.smooth,
        "σ bounded": activation.bounded,
        "c with compact support": initial.c.compact_support,
        "the squared error": isinstance(problem.loss, SquaredError),
        "both layers trained": network.train_output,
    }
    missing = [name for name, holds in checks.items() if not holds]
    return Claim(
        "assumptions",
        "the problem satisfies the assumptions of the theorems",
        f"{NUMBERS}, {FLUCTUATIONS}",
        f"all {len(checks)}",
        f"{len(checks) - len(missing)} of {len(checks)} satisfied",
        "σ as its class declares, the rest checked",
        Verdict.UNDECIDED if missing else Verdict.HOLDS,
        f"not satisfied or not declared: {', '.join(missing)}; the conclusions are tested all the same"
        if missing
        else f"{', '.join(checks)}; finite moments hold for every law here",
    )


def _rate_claim(
    measured: Measured, name: str, statement: str, source: str, predicted: float, floor: float | None = None
) -> Claim:
    fitted, last = measured.rates[name], measured.errors[name][-1]
    outcome = rate_verdict(fitted, predicted, MARGIN)
    own = "" if floor is None else f"; the limit's own error {number(floor, 2)}"
    return Claim(
        {"mean field": "measure moves", "Xavier": "contrast"}.get(name, name),
        statement,
        source,
        f"exponent {predicted:g} ± {MARGIN:g}",
        "no fit" if math.isnan(fitted.exponent) else f"exponent {number(fitted.exponent)}",
        f"95% interval [{number(fitted.low)}, {number(fitted.high)}] over widths {list(fitted.widths_used)}; "
        f"{number(last.distance)} ± {number(last.standard_error, 1)} (standard error) at the widest{own}",
        outcome.verdict,
        outcome.reason,
    )


def _variance(evidence: Evidence, name: str, statement: str, start_alone: bool) -> Claim:
    """Ratio of N·Var g^N to the prediction, averaged over the points, at every time; its doubt is that of both."""
    fluctuation = evidence.fluctuation
    samples = evidence.full_batch if start_alone else evidence.law_samples
    predicted = fluctuation.initial if start_alone else fluctuation.covariance
    doubt = fluctuation.initial_standard_error if start_alone else fluctuation.standard_error
    diagonal = np.diagonal(predicted, axis1=1, axis2=2)
    expected = f"ratio 1 within {MARGIN:.0%}"
    gone = lost_of([samples])
    if gone or not np.all(diagonal > 0):
        reason = gone or "a predicted variance is 0"
        return Claim(name, statement, FLUCTUATIONS, expected, "none", reason, Verdict.UNDECIDED, reason)
    values = np.asarray(samples.values, np.float64)
    count = len(values)
    squares = np.mean(samples.width * (values - values.mean(axis=0)) ** 2 / diagonal, axis=2) * count / (count - 1)
    ratio, error = squares.mean(axis=0), squares.std(axis=0, ddof=1) / math.sqrt(count)
    relative = np.mean(doubt / diagonal, axis=1)
    outcome = curve_equivalence(ratio, np.hypot(error, relative), np.ones_like(ratio), MARGIN, replicas=count)
    share = float(np.trace(fluctuation.sgd[-1]) / np.trace(fluctuation.covariance[-1]))
    part = "" if start_alone else f"; SGD's share of it {share:.0%} at the end"
    return Claim(
        name,
        f"{statement} (N = {samples.width}, {count} networks)",
        FLUCTUATIONS,
        expected,
        f"ratio {number(float(ratio.min()), 4)} to {number(float(ratio.max()), 4)} over the times{part}",
        f"standard error {number(float(error.max()), 2)}, of the prediction {number(float(relative.max()), 2)}; "
        f"bounded by {outcome.upper:.2%} (99%)",
        outcome.verdict,
        outcome.reason,
    )
