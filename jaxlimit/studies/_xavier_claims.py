"""From the evidence of the Xavier study to claims: statements, what was expected and seen, verdicts."""

import math
from typing import NamedTuple

import numpy as np

from jaxlimit._numerics import pairs
from jaxlimit._typing import Host
from jaxlimit.claims import Claim, Verdict, enclosure, number
from jaxlimit.kernels import Certificate, CertificateStatus
from jaxlimit.limits import FiniteWidthError, SpectralLimit
from jaxlimit.paths import GaussianPath, Samples
from jaxlimit.statistics import (
    ErrorAtWidth,
    KolmogorovSmirnov,
    MeanShift,
    Rate,
    VarianceRatio,
    compare,
    curve_equivalence,
    equivalence,
    pathwise,
    rate,
    rate_verdict,
)
from jaxlimit.studies._xavier_size import path_size

SOURCE = "arXiv 1907.04108"
LOSS_MARGIN = 0.1
LEVEL = 0.01
STATISTICS = (MeanShift(), VarianceRatio(), KolmogorovSmirnov())
PARALLEL = 1e-12
FEW_STARTS = 16
"""Networks on whose starts the error of a random kernel is measured."""


class Evidence(NamedTuple):
    """Everything the study computed."""

    limit: SpectralLimit
    path_prediction: FiniteWidthError | None
    unpredicted: str
    certificate: Certificate
    law: GaussianPath
    law_samples: Samples
    widths: tuple[int, ...]
    path_samples: tuple[Samples, ...]
    ode_difference: float
    ode_error: float
    single: bool


class Measured(NamedTuple):
    """Errors by width and their rates, and the loss curve: what the panels draw."""

    errors: dict[str, tuple[ErrorAtWidth, ...]]
    rates: dict[str, Rate]
    losses: Host
    loss: Host
    loss_error: Host
    predicted_loss: Host
    lambda_min: tuple[Host, ...]


def claims(evidence: Evidence) -> tuple[tuple[Claim, ...], Measured]:
    """All claims of the study, in the order of the theorem, and the measurements behind them."""
    measured = _measure(evidence)
    found = (
        _assumptions(evidence),
        _positive_definite(evidence),
        _law(evidence, "law of h_0", "the law N(0, Σ) of the limit's start", slice(0, 1)),
        _law(evidence, "law of h_t", "the limit's law N((I − e^{−At})ŷ, e^{−At}Σe^{−Aᵀt}) at t > 0", slice(1, None)),
        _rate_claim(measured, "path-wise rate", "RMS |h^N_t − h_t| from the same start falls like N^{−1/2}"),
        path_size(
            evidence.path_prediction,
            evidence.unpredicted,
            measured.errors["path-wise rate"],
            evidence.path_samples,
            SOURCE,
        ),
        _rate_claim(measured, "parameters freeze", "RMS movement of a neuron falls like N^{−1/2}"),
        _rate_claim(measured, "kernel concentrates", "RMS |B^N_t − B| along training falls like N^{−1/2}"),
        _smallest_eigenvalue(evidence, measured),
        _loss_curve(evidence, measured),
        _envelope(evidence, measured),
        _exponent(evidence, measured),
        _two_solutions(evidence),
    )
    return found, measured


def _measure(evidence: Evidence) -> Measured:
    limit, ts = evidence.limit, evidence.law.ts
    kernel = limit.kernel.gram.value.reshape(1, -1)
    root = np.sqrt(limit.kernel.problem.learning_rate * limit.kernel.problem.data.weights)
    errors: dict[str, list[ErrorAtWidth]] = {
        name: [] for name in ("path-wise rate", "parameters freeze", "kernel concentrates", "smallest eigenvalue")
    }
    smallest = []
    estimated = _kernel_errors(limit, ts, np.asarray(evidence.path_samples[0].values[:FEW_STARTS, 0], np.float64))
    for samples in evidence.path_samples:
        values = np.asarray(samples.values, np.float64)
        seen = np.asarray(samples.observed["kernel"], np.float64)
        moved = np.sqrt(np.asarray(samples.observed["movement"], np.float64))
        lowest = np.linalg.eigvalsh(np.nan_to_num(seen) * np.outer(root, root))[..., 0]
        smallest.append(lowest)
        differences = (
            (values - limit.path(values[:, 0], ts))[:, 1:],
            moved[:, 1:, None],
            seen.reshape(*seen.shape[:2], -1) - kernel,
            (lowest - limit.eigenvalues[0])[..., None],
        )
        # What the method and float32 alone would show: a chain of K steps rounds like a random walk of a few u·√K,
        # blocks of steps state their error; a kernel entry by a few u of its size, an eigenvalue by a few u of the
        # largest one.
        unit = 10 * 2.0**-24 if evidence.single else 0.0
        walk = unit * math.sqrt(max(1, int(samples.steps[-1])))
        blocks = None if samples.error is None else float(np.sqrt(np.mean(np.square(samples.error[:, -1]))))
        floors = (
            walk if blocks is None else blocks,
            walk if blocks is None else unit,
            unit * float(np.max(np.abs(kernel))),
            unit * float(limit.eigenvalues[-1]),
        )
        finite = samples.diverged_at < 0
        for name, difference, method, estimate in zip(errors, differences, floors, estimated, strict=True):
            floor = math.hypot(method, estimate)
            kept = difference[finite]
            pooled = pathwise(kept, np.zeros(kept.shape[1:])).pooled if len(kept) > 1 else None
            errors[name].append(
                ErrorAtWidth(0.0, 0.0, floor)
                if pooled is None
                else ErrorAtWidth(pooled.distance, pooled.standard_error, floor)
            )
    weights, y = limit.kernel.problem.data.weights, limit.kernel.problem.data.y
    finite = evidence.law_samples.diverged_at < 0
    doubt = limit.standard_error(lambda other: other.loss(ts))
    losses = 0.5 * np.square(np.asarray(evidence.law_samples.values[finite], np.float64) - y) @ weights
    return Measured(
        {name: tuple(values) for name, values in errors.items()},
        {name: rate(evidence.widths, values) for name, values in errors.items()},
        losses,
        losses.mean(axis=0),
        np.hypot(losses.std(axis=0, ddof=1) / math.sqrt(len(losses)), doubt),
        limit.loss(ts),
        tuple(smallest),
    )


def _kernel_errors(limit: SpectralLimit, ts: Host, starts: Host) -> tuple[float, float, float, float]:
    """What a kernel that is a Monte Carlo estimate adds to each of the errors, root mean square; else zeros."""
    start, kernel = np.nan_to_num(starts), limit.kernel.gram.standard_error
    found = (
        limit.standard_error(lambda other: other.path(start, ts))[:, 1:],
        np.zeros(1),
        np.zeros(1) if kernel is None else kernel,
        limit.standard_error(lambda other: other.eigenvalues[:1]),
    )
    path, moved, entries, lowest = (float(np.sqrt(np.mean(np.square(error)))) for error in found)
    return path, moved, entries, lowest


def _assumptions(evidence: Evidence) -> Claim:
    problem = evidence.limit.kernel.problem
    network = evidence.limit.kernel.network
    activation, initial = network.activation, network.initial
    angles = pairs(problem.data.x, problem.data.x).theta[np.triu_indices(problem.data.points, 1)]
    distinct = bool(np.all((angles > PARALLEL) & (angles < math.pi - PARALLEL)))
    checks = {
        "σ twice continuously differentiable": activation.smooth,
        "σ bounded": activation.bounded,
        "σ not a polynomial": None if activation.polynomial is None else not activation.polynomial,
        "c with compact support": initial.c.compact_support,
        "w with full support": initial.w.full_support,
        "data in distinct directions": distinct,
        "output layer trained": network.train_output,
    }
    failed = [name for name, holds in checks.items() if holds is False]
    unknown = [name for name, holds in checks.items() if holds is None]
    verdict = Verdict.HOLDS if not failed and not unknown else Verdict.UNDECIDED
    parts = ([f"not satisfied: {', '.join(failed)}"] if failed else []) + (
        [f"not declared: {', '.join(unknown)}"] if unknown else []
    )
    outside = "; ".join(parts) + ": outside the theorem, whose conclusions are tested all the same"
    return Claim(
        "assumptions",
        "the problem satisfies the assumptions of the theorem",
        SOURCE,
        f"all {len(checks)}",
        f"{sum(h is True for h in checks.values())} of {len(checks)} satisfied",
        "σ as its class declares, the rest checked",
        verdict,
        f"{', '.join(checks)}; E c = 0 and finite moments hold for every problem admitted here"
        if verdict is Verdict.HOLDS
        else outside,
    )


def _positive_definite(evidence: Evidence) -> Claim:
    certificate = evidence.certificate
    verdict = {
        CertificateStatus.PROVED_PD: Verdict.HOLDS,
        CertificateStatus.PROVED_NOT_PD: Verdict.VIOLATED,
        CertificateStatus.UNDECIDED: Verdict.UNDECIDED,
    }[certificate.status]
    return Claim(
        "positive definiteness",
        "A is positive definite, so the limit is driven to zero loss",
        SOURCE,
        "λ_min(A) > 0",
        "λ_min(A) ∈ [{}, {}]".format(*enclosure(certificate.lower, certificate.upper)),
        "proved interval" + _assumed(certificate),
        verdict,
        certificate.reason,
    )


def _assumed(certificate: Certificate) -> str:
    """What a proof takes for granted: it goes wherever the proof is used."""
    return f"; assuming: {'; '.join(certificate.assumptions)}" if certificate.assumptions else ""


def _law(evidence: Evidence, name: str, statement: str, times: slice) -> Claim:
    samples, law = evidence.law_samples, evidence.law
    expected = "mean within 0.1 sd, variance within 10%, KS within 0.05"
    if samples.diverged:
        reason = f"{samples.diverged} of {samples.replicas} networks diverged"
        return Claim(name, statement, SOURCE, expected, reason, "counted", Verdict.VIOLATED, reason)
    part = samples.during(times)
    comparisons = [compare(part, law.during(times), statistic, level=LEVEL / 3) for statistic in STATISTICS]
    outcomes = [equivalence(comparison) for comparison in comparisons]
    observed = ", ".join(
        f"{label} {number(outcome.worst)}" for label, outcome in zip(("mean", "variance", "KS"), outcomes, strict=True)
    )
    bounds = ", ".join(number(outcome.upper) for outcome in outcomes)
    detectable = ", ".join(number(float(np.max(c.detectable))) for c in comparisons)
    verdict = _all_of([outcome.verdict for outcome in outcomes])
    decisive = [outcome.reason for outcome in outcomes if outcome.verdict is verdict]
    if verdict is Verdict.VIOLATED:
        decisive.append("at this width; the theorem speaks of N → ∞, so try wider networks")
    return Claim(
        name,
        f"at width {samples.width} every one-point marginal has reached {statement} ({samples.replicas} networks)",
        SOURCE,
        expected,
        f"worst distances: {observed}",
        f"upper bounds {bounds} (99%, over all three); detectable {detectable}",
        verdict,
        "; ".join(decisive),
    )


def _all_of(verdicts: list[Verdict]) -> Verdict:
    if Verdict.VIOLATED in verdicts:
        return Verdict.VIOLATED
    return Verdict.HOLDS if all(v is Verdict.HOLDS for v in verdicts) else Verdict.UNDECIDED


def _rate_claim(measured: Measured, name: str, statement: str) -> Claim:
    fitted, errors = measured.rates[name], measured.errors[name]
    outcome = rate_verdict(fitted, -0.5)
    last = errors[-1]
    return Claim(
        name,
        statement,
        SOURCE,
        "exponent −0.5 ± 0.1",
        "no fit" if math.isnan(fitted.exponent) else f"exponent {number(fitted.exponent)}",
        f"95% interval [{number(fitted.low)}, {number(fitted.high)}] over widths {list(fitted.widths_used)}; "
        f"{number(last.distance)} ± {number(last.standard_error, 1)} (standard error) at the widest",
        outcome.verdict,
        outcome.reason,
    )


def _smallest_eigenvalue(evidence: Evidence, measured: Measured) -> Claim:
    """λ_min along training is a random quantity of its own: report its rate and how low it gets."""
    claim = _rate_claim(
        measured, "smallest eigenvalue", "λ_min(A^N_t) along training approaches λ_min(A) like N^{−1/2}"
    )
    lowest = min(float(np.min(values)) for values in measured.lambda_min)
    limit = max(0.0, float(evidence.limit.eigenvalues[0]))
    return Claim(
        claim.name,
        claim.statement,
        claim.source,
        claim.expected,
        f"{claim.observed}; lowest λ_min(A^N_t) of all networks {number(lowest)}, limit {number(limit)}",
        claim.error,
        claim.verdict,
        claim.reason,
    )


def _loss_curve(evidence: Evidence, measured: Measured) -> Claim:
    outcome = curve_equivalence(measured.loss, measured.loss_error, measured.predicted_loss, LOSS_MARGIN)
    return Claim(
        "loss curve",
        f"at width {evidence.law_samples.width} the mean loss follows the limit's prediction",
        SOURCE,
        f"{number(measured.predicted_loss[0])} → {number(measured.predicted_loss[-1])}, within {LOSS_MARGIN:.0%}",
        f"{number(measured.loss[0])} → {number(measured.loss[-1])}; largest deviation {outcome.worst:.2%}",
        f"bounded by {outcome.upper:.2%} (99%); standard error {number(float(measured.loss_error[-1]), 1)} at the end",
        outcome.verdict,
        outcome.reason,
    )


def _envelope(evidence: Evidence, measured: Measured) -> Claim:
    """L_t − e^{−2λt} L_0 network by network, so that both ends share their chance; three standard errors."""
    lower = evidence.certificate.lower
    proved = lower > 0
    factor = np.exp(-2 * max(lower, 0.0) * evidence.law.ts[1:])
    excess = measured.losses[:, 1:] - factor * measured.losses[:, :1]
    mean, doubt = excess.mean(axis=0), 3 * excess.std(axis=0, ddof=1) / math.sqrt(len(excess))
    inside, outside = bool(np.all(mean <= -doubt)), bool(np.any(mean > doubt))
    verdict = Verdict.VIOLATED if proved and outside else Verdict.HOLDS if proved and inside else Verdict.UNDECIDED
    reason = {
        Verdict.HOLDS: "below the envelope at every later time, by more than three standard errors",
        Verdict.VIOLATED: "above the envelope at some time, by more than three standard errors",
        Verdict.UNDECIDED: "λ_min is not proved positive" if not proved else "too close to the envelope to tell",
    }[verdict]
    return Claim(
        "loss envelope",
        "the mean loss stays below e^{−2λt} times its start, with λ the proved bound of λ_min(A)",
        SOURCE,
        f"at most {number(float(factor[-1]), 5)} of the start at t = {number(float(evidence.law.ts[-1]))}",
        f"{number(float(measured.loss[-1] / measured.loss[0]), 5)} of the start",
        f"distance to the envelope {number(float(-mean[-1]))} ± {number(float(doubt[-1] / 3), 1)} (standard error)"
        + _assumed(evidence.certificate),
        verdict,
        reason,
    )


def _exponent(evidence: Evidence, measured: Measured) -> Claim:
    """2λ_min is the exponent of late times only: without λ_min·T ≥ 1 nothing is said."""
    ts, lowest = evidence.law.ts, float(evidence.limit.eigenvalues[0])
    reach = max(lowest, 0.0) * float(ts[-1])
    name, statement = "loss exponent", "late in training the loss decays like e^{−2λ_min t}"
    singular = evidence.certificate.status is CertificateStatus.PROVED_NOT_PD
    if reach < 1.0 or singular:
        until = f"that is T ≥ {number(1 / lowest)}" if lowest > 0 else "and λ_min is not positive"
        return Claim(
            name,
            statement,
            SOURCE,
            "none" if singular else f"2λ_min = {number(2 * lowest)}",
            "not measured",
            "λ_min is not positive" if singular else f"λ_min·T = {number(reach)}",
            Verdict.UNDECIDED,
            "λ_min ≤ 0 is proved: there is no exponent" if singular else f"needs λ_min·T ≥ 1, {until}",
        )
    span = float(ts[-1] - ts[-2])
    seen = math.log(measured.loss[-2] / measured.loss[-1]) / span
    error = math.hypot(*(measured.loss_error[-2:] / measured.loss[-2:])) / span
    outcome = curve_equivalence(np.array([seen]), np.array([error]), np.array([2 * lowest]), LOSS_MARGIN)
    return Claim(
        name,
        statement,
        SOURCE,
        f"2λ_min = {number(2 * lowest)} within {LOSS_MARGIN:.0%}",
        number(seen),
        f"± {number(error, 1)} (standard error)",
        outcome.verdict,
        f"between the last two save times it is off by {outcome.worst:.1%}, bounded by {outcome.upper:.1%} (99%)",
    )


def _two_solutions(evidence: Evidence) -> Claim:
    agree = evidence.ode_difference <= evidence.ode_error
    return Claim(
        "two solutions of the limit",
        "the ODE solver and the exact spectral solution agree",
        "diffrax; " + SOURCE,
        f"within the solver's stated error {number(evidence.ode_error)}",
        f"largest difference {number(evidence.ode_difference)}",
        "computed, not estimated",
        Verdict.HOLDS if agree else Verdict.VIOLATED,
        "from the networks' own starts, all points and times",
    )
