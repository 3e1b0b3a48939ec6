"""From the evidence of the normalisation study to claims."""

import math
from typing import NamedTuple

import numpy as np

from jaxlimit._typing import Host
from jaxlimit.claims import Claim, Remark, Verdict, number
from jaxlimit.paths import Samples
from jaxlimit.statistics import ErrorAtWidth, Rate, curve_equivalence, rate, rate_verdict
from jaxlimit.studies._diverged import lost_of, unless_lost
from jaxlimit.studies._normalisation_prediction import Curve, Predictions

SOURCE = "arXiv 2011.10487"
MARGIN = 0.1
TEST_MARGIN = 0.02
"""Two points in a hundred."""
LAW_NETWORKS, TEST_NETWORKS = 4096, 1024
"""For HOLDS: as many as `equivalence` wants; shares of points lie between 0 and 1 and need fewer."""
CLEAR = 3.0
"""Standard errors from which a difference of test errors is named."""


class Evidence(NamedTuple):
    """Everything the study computed."""

    predictions: Predictions
    gammas: tuple[float, ...]
    widths: tuple[int, ...]
    law_samples: tuple[Samples, ...]
    path_samples: tuple[tuple[Samples, ...], ...]
    """By γ, then by width."""


class Spread(NamedTuple):
    """Of one γ: variance over the prediction [times], its error, the prediction's own; variances at the end."""

    ratio: Host
    error: Host
    doubt: Host
    variance: ErrorAtWidth
    predicted: float
    limit: float
    limit_ratio: Host


class Measured(NamedTuple):
    """What the panels draw, by γ."""

    spreads: tuple[Spread, ...]
    biases: tuple[Curve, ...]
    predicted_biases: tuple[Curve, ...]
    rates: tuple[Rate, ...]
    test_errors: tuple[tuple[ErrorAtWidth, ...], ...]
    """By width, then by γ; empty without held-out data."""
    predicted_test_errors: tuple[tuple[Curve, ...], ...]


def claims(evidence: Evidence) -> tuple[tuple[Claim, ...], Measured, tuple[Remark, ...]]:
    """All claims, the measurements behind them, and what is beyond the theorem."""
    measured = _measure(evidence)
    names = [f"γ = {gamma:g}" for gamma in evidence.gammas]
    found = [_assumptions(evidence)]
    found += [
        unless_lost(_variance(name, spread, samples), lost_of([samples]))
        for name, spread, samples in zip(names, measured.spreads, evidence.law_samples, strict=True)
    ]
    found.append(unless_lost(_bias(evidence, measured), lost_of(evidence.law_samples)))
    found += [
        unless_lost(_movement(name, gamma, fitted), lost_of(runs))
        for name, gamma, fitted, runs in zip(names, evidence.gammas, measured.rates, evidence.path_samples, strict=True)
    ]
    if not measured.test_errors:
        return tuple(found), measured, ()
    every = [samples for runs in evidence.path_samples for samples in runs]
    found.append(unless_lost(_test_error(evidence, measured), lost_of(every)))
    remarks = [_effect(evidence, w, measured.test_errors[i]) for i, w in enumerate(evidence.widths)]
    return tuple(found), measured, tuple(remarks if len(evidence.gammas) > 1 else [])


def _measure(evidence: Evidence) -> Measured:
    predictions = evidence.predictions
    pairs = tuple(zip(evidence.gammas, evidence.law_samples, strict=True))
    widths = evidence.widths if predictions.held_out is not None else ()
    return Measured(
        spreads=tuple(_spread(predictions, gamma, samples) for gamma, samples in pairs),
        biases=tuple(_squared_bias(predictions, samples) for _, samples in pairs),
        predicted_biases=tuple(_predicted_bias(predictions, gamma, samples.width) for gamma, samples in pairs),
        rates=tuple(rate(evidence.widths, [_moved(s) for s in by_width]) for by_width in evidence.path_samples),
        test_errors=tuple(
            tuple(_wrong(predictions, by_width[i]) for by_width in evidence.path_samples) for i in range(len(widths))
        ),
        predicted_test_errors=tuple(tuple(predictions.test_error(g, w) for g in evidence.gammas) for w in widths),
    )


def kept(samples: Samples) -> Host:
    """Outputs of the networks that stayed finite: those that diverged are no evidence."""
    return np.asarray(samples.values, np.float64)[samples.diverged_at < 0]


def _spread(predictions: Predictions, gamma: float, samples: Samples) -> Spread:
    """Ratios are averaged over the points, variances over π."""
    weights = predictions.limit.kernel.problem.data.weights
    predicted, values = predictions.variance(gamma, samples.width), kept(samples)
    points, count = weights.size, len(values)
    linear = np.diagonal(predictions.linear.covariance, axis1=1, axis2=2)[:, :points]
    limit = float(samples.width) ** (1.0 - 2.0 * gamma) * linear
    if count < 2 or not np.all(predicted.value > 0):
        nothing = np.full(predictions.ts.size, math.nan)
        return Spread(nothing, nothing, nothing, ErrorAtWidth(0.0, 0.0), 0.0, 0.0, nothing)
    squares = (values - values.mean(axis=0)) ** 2 * count / (count - 1)
    relative = np.mean(squares / predicted.value, axis=2)
    last = squares[:, -1] @ weights
    with np.errstate(divide="ignore"):
        limit_ratio = np.mean(squares.mean(axis=0) / limit, axis=1)
    return Spread(
        ratio=relative.mean(axis=0),
        error=relative.std(axis=0, ddof=1) / math.sqrt(count),
        doubt=np.mean(predicted.error / predicted.value, axis=1),
        variance=ErrorAtWidth(float(last.mean()), float(last.std(ddof=1)) / math.sqrt(count)),
        predicted=float(predicted.value[-1] @ weights),
        limit=float(limit[-1] @ weights),
        limit_ratio=limit_ratio,
    )


def _squared_bias(predictions: Predictions, samples: Samples) -> Curve:
    """E_π(E h − ŷ)², without what the finite number of networks adds to it, and its standard error."""
    data, values = predictions.limit.kernel.problem.data, kept(samples)
    if len(values) < 2:
        return Curve(np.zeros(predictions.ts.size), np.full(predictions.ts.size, np.finfo(float).max))
    bias, count = values.mean(axis=0) - data.y, len(values)
    noise = values.var(axis=0, ddof=1) / count @ data.weights
    slopes = np.einsum("rtm,tm->rt", values, bias * data.weights)
    # The second term is what is left where the bias is zero.
    error = np.hypot(2.0 * slopes.std(axis=0, ddof=1) / math.sqrt(count), math.sqrt(2.0) * noise)
    return Curve(bias**2 @ data.weights - noise, error)


def _predicted_bias(predictions: Predictions, gamma: float, width: int) -> Curve:
    data, mean = predictions.limit.kernel.problem.data, predictions.mean(gamma, width)
    bias = mean.value[:, : data.points] - data.y
    # As if the errors at all points were one.
    return Curve(bias**2 @ data.weights, 2.0 * (np.abs(bias) * mean.error[:, : data.points]) @ data.weights)


def _moved(samples: Samples) -> ErrorAtWidth:
    moved = np.sqrt(np.asarray(samples.observed, np.float64)[samples.diverged_at < 0, -1])
    if len(moved) < 2 or not np.all(np.isfinite(moved)):
        return ErrorAtWidth(0.0, 0.0)
    return ErrorAtWidth(float(moved.mean()), float(moved.std(ddof=1)) / math.sqrt(len(moved)))


def _wrong(predictions: Predictions, samples: Samples) -> ErrorAtWidth:
    """Share of the held-out points with the wrong sign, over networks."""
    held_out, values = predictions.held_out, kept(samples)
    assert held_out is not None
    if len(values) < 2:
        return ErrorAtWidth(1.0, 1.0)
    outputs = values[:, -1, predictions.limit.kernel.problem.data.points :]
    shares = (outputs * np.sign(held_out.y) <= 0) @ held_out.weights
    return ErrorAtWidth(float(shares.mean()), float(shares.std(ddof=1)) / math.sqrt(len(shares)))


def _assumptions(evidence: Evidence) -> Claim:
    network = evidence.predictions.limit.kernel.network
    checks = {
        "σ twice continuously differentiable": network.activation.smooth,
        "σ bounded": network.activation.bounded,
        "c with compact support": network.initial.c.compact_support,
    }
    missing = [name for name, holds in checks.items() if not holds]
    return Claim(
        "assumptions",
        "the problem satisfies the assumptions of the theorem",
        SOURCE,
        f"all {len(checks)}",
        f"{len(checks) - len(missing)} of {len(checks)} satisfied",
        "σ as its class declares, the rest checked",
        Verdict.UNDECIDED if missing else Verdict.HOLDS,
        f"not satisfied or not declared: {', '.join(missing)}; the conclusions are tested all the same"
        if missing
        else f"{', '.join(checks)}; E c = 0 and finite moments hold for every problem that is not refused",
    )


def _variance(name: str, found: Spread, samples: Samples) -> Claim:
    statement = "N^{2γ−1} Var h^N_t is e^{−At}Σe^{−Aᵀt} with the terms of finite N"
    statement = f"{statement} (N = {samples.width}, {samples.replicas} networks)"
    expected = f"ratio 1 within {MARGIN:.0%}"
    if not np.all(np.isfinite(found.ratio)):
        reason = f"{samples.diverged} of {samples.replicas} networks diverged, or a predicted variance is 0"
        return Claim(f"variance {name}", statement, SOURCE, expected, "none", reason, Verdict.UNDECIDED, reason)
    both, one = np.hypot(found.error, found.doubt), np.ones_like(found.ratio)
    outcome = curve_equivalence(found.ratio, both, one, MARGIN, replicas=samples.replicas, needed=LAW_NETWORKS)
    low, high = number(float(found.ratio.min()), 4), number(float(found.ratio.max()), 4)
    alone = number(float(found.limit_ratio[-1]), 3)
    error, doubt = number(float(found.error.max()), 2), number(float(found.doubt.max()), 2)
    return Claim(
        f"variance {name}",
        statement,
        SOURCE,
        expected,
        f"ratio {low} to {high} over the times; to the limit alone {alone} at the end",
        f"standard error {error}, of the prediction {doubt}; bounded by {outcome.upper:.2%} (99%)",
        outcome.verdict,
        outcome.reason,
    )


def _bias(evidence: Evidence, measured: Measured) -> Claim:
    seen, wanted = ([curve.value for curve in curves] for curves in (measured.biases, measured.predicted_biases))
    errors = [np.hypot(a.error, b.error) for a, b in zip(measured.biases, measured.predicted_biases, strict=True)]
    width, count = evidence.law_samples[0].width, min(len(kept(samples)) for samples in evidence.law_samples)
    statement = "E_π(E h^N_t − ŷ)² is that of the flow at ε = N^{γ−1}, and |e^{−At}ŷ|² for γ < 1 at N = ∞"
    statement, expected = f"{statement} (N = {width})", f"ratio 1 within {MARGIN:.0%} at every γ and time"
    if count < 2 or not np.all(np.array(wanted) > 0):
        reason = "fewer than 2 networks are left" if count < 2 else "a predicted bias is 0"
        return Claim("bias", statement, SOURCE, expected, "none", reason, Verdict.UNDECIDED, reason)
    ratio = np.array(seen) / np.array(wanted)
    relative = np.array(errors) / np.array(wanted)
    one = np.ones(ratio.size)
    outcome = curve_equivalence(ratio.ravel(), relative.ravel(), one, MARGIN, replicas=count, needed=LAW_NETWORKS)
    data, linear = evidence.predictions.limit.kernel.problem.data, evidence.predictions.linear.mean[-1]
    limit = float((linear[: data.points] - data.y) ** 2 @ data.weights)
    ends = f"{number(float(seen[0][-1]))} to {number(float(seen[-1][-1]))}"
    return Claim(
        "bias",
        statement,
        SOURCE,
        expected,
        f"ratio {number(float(ratio.min()), 4)} to {number(float(ratio.max()), 4)}; at the end {ends} over γ, "
        f"{number(limit)} in the limit",
        f"standard error at most {number(float(relative.max()), 2)} of both; bounded by {outcome.upper:.2%} (99%)",
        outcome.verdict,
        outcome.reason,
    )


def _movement(name: str, gamma: float, fitted: Rate) -> Claim:
    predicted = gamma - 1.0
    outcome = rate_verdict(fitted, predicted, MARGIN)
    return Claim(
        f"movement {name}",
        "RMS movement of a neuron goes like N^{γ−1}",
        SOURCE,
        f"exponent {number(predicted)} ± {MARGIN:g}",
        "no fit" if math.isnan(fitted.exponent) else f"exponent {number(fitted.exponent)}",
        f"95% interval [{number(fitted.low)}, {number(fitted.high)}] over widths {list(fitted.widths_used)}",
        outcome.verdict,
        outcome.reason,
    )


def _test_error(evidence: Evidence, measured: Measured) -> Claim:
    seen = np.array([[e.distance for e in row] for row in measured.test_errors])
    errors = np.array([[e.standard_error for e in row] for row in measured.test_errors])
    wanted = np.array([[float(p.value) for p in row] for row in measured.predicted_test_errors])
    doubts = np.array([[float(p.error) for p in row] for row in measured.predicted_test_errors])
    count = evidence.path_samples[0][0].replicas
    # Networks that all agree have no scatter, and yet others may differ: 0.01^{1/n} is 1 − 4.6/n.
    both = np.hypot(np.hypot(errors, 2.0 / count), doubts)
    names = [f"N = {width}, γ = {gamma:g}" for width in evidence.widths for gamma in evidence.gammas]
    # Relative to 1: an absolute margin.
    difference, one = (seen - wanted).ravel(), np.ones(seen.size)
    outcome = curve_equivalence(
        1.0 + difference, both.ravel(), one, TEST_MARGIN, names=names, replicas=count, needed=TEST_NETWORKS
    )
    held_out, unknown = evidence.predictions.held_out, evidence.predictions.unpredicted
    assert held_out is not None
    return Claim(
        "test error",
        f"the share of {held_out.points} held-out points with the wrong sign is that of a Gaussian output with the "
        "predicted mean and variance",
        SOURCE,
        f"within {TEST_MARGIN:.0%} of all points, at every γ and width",
        f"{seen.min():.2%} to {seen.max():.2%}, at most {np.abs(seen - wanted).max():.2%} from the prediction",
        f"standard error at most {errors.max():.2%}, of the prediction {doubts.max():.2%}; bounded by "
        f"{outcome.upper:.2%} (99%)",
        Verdict.UNDECIDED if unknown else outcome.verdict,
        f"the noise of SGD is not in the predicted variance: {unknown}" if unknown else outcome.reason,
    )


def _effect(evidence: Evidence, width: int, by_gamma: tuple[ErrorAtWidth, ...]) -> Remark:
    first, last = by_gamma[0], by_gamma[-1]
    difference, error = last.distance - first.distance, math.hypot(first.standard_error, last.standard_error)
    clear = abs(difference) > CLEAR * error
    low, high = evidence.gammas[0], evidence.gammas[-1]
    place = evidence.widths.index(width)
    lost = lost_of([evidence.path_samples[0][place], evidence.path_samples[-1][place]])
    seen = ("falls with γ" if difference < 0 else "grows with γ") if clear else "no difference seen"
    return Remark(
        f"test error, N = {width}",
        "not compared" if lost else seen,
        f"{first.distance:.2%} at γ = {low:g}, {last.distance:.2%} at γ = {high:g}",
        f"difference {100 * difference:+.2f} ± {100 * error:.2f} points (standard error over networks)",
        lost or "the same held-out points for all networks, so nothing is said of other points",
    )
