"""From the cells of a sweep to claims, where theory speaks."""

import math

import numpy as np

from jaxlimit.claims import Claim, Verdict, number
from jaxlimit.limits import SpectralLimit
from jaxlimit.losses import SquaredError
from jaxlimit.networks import Shallow
from jaxlimit.scalings import PowerScaling
from jaxlimit.statistics import (
    ErrorAtWidth,
    KolmogorovSmirnov,
    MeanShift,
    VarianceRatio,
    compare,
    curve_equivalence,
    equivalence,
    rate,
    rate_verdict,
)
from jaxlimit.studies._diverged import unless_lost
from jaxlimit.studies._normalisation_prediction import at_gamma
from jaxlimit.studies._sweep_found import CellFound, Family, outputs
from jaxlimit.sweeps import Store

MARGIN = 0.1
"""Of an exponent."""
FEWEST_WIDTHS = 3
ENOUGH = 1000
"""Networks of a width from which its variance over its standard error counts as normal."""
LEVEL = 0.01
STATISTICS = (MeanShift(), VarianceRatio(), KolmogorovSmirnov())
EXPECTED = "mean within 0.1 sd, variance within 10%, KS within 0.05"


def gamma_of(one: CellFound) -> float | None:
    """γ, where theory says how the variance depends on the width: squared error, E c = 0, plain SGD; else None."""
    problem, network = one.run.problem, one.run.problem.network
    if not isinstance(network, Shallow) or not isinstance(problem.scaling, PowerScaling):
        return None
    plain = one.run.arguments["optimiser"] is None and isinstance(problem.loss, SquaredError)
    return problem.scaling.gamma if plain and network.initial.c.mean == 0 else None


def claims(store: Store, family: Family) -> tuple[Claim, ...]:
    """What theory says of a family, held against it; nothing where it says nothing or there are too few widths."""
    gamma = gamma_of(family.members[0])
    if gamma is None:
        return ()
    several, found = len(family.members) >= FEWEST_WIDTHS, []
    limit = _limit(family.members[-1]) if gamma < 1.0 else None
    if several:
        found.append(_variance(family, gamma))
    if several and limit is not None:
        found.append(_leading(family, gamma, limit))
    if gamma == 0.5 and limit is not None:
        found.append(_law(store, family, limit))
    return tuple(found)


def source(gamma: float) -> str:
    """Where the statement is proved."""
    return "arXiv 1907.04108" if gamma == 0.5 else "arXiv 1808.09372" if gamma == 1.0 else "arXiv 2011.10487"


def _limit(one: CellFound) -> SpectralLimit | None:
    """The limit at γ = 1/2; None where the kernel has no closed form or an output no spread."""
    try:
        limit = SpectralLimit(at_gamma(one.run.problem, 0.5))
    except ValueError:
        return None
    spread = np.diagonal(limit.law(one.run.ts).covariance, axis1=1, axis2=2)
    return limit if np.all(spread > 0) else None


def _variance(family: Family, gamma: float) -> Claim:
    # A width with fewer than two networks counts as noise.
    known = [math.isfinite(one.variance.error) for one in family.members]
    errors = [
        ErrorAtWidth(one.variance.value, one.variance.error) if sound else ErrorAtWidth(0.0, 0.0)
        for one, sound in zip(family.members, known, strict=True)
    ]
    fitted, predicted = rate(family.widths, errors), 1.0 - 2.0 * gamma
    outcome, fewest = rate_verdict(fitted, predicted, MARGIN), _fewest(family)
    verdict, reason = outcome.verdict, outcome.reason
    # The next terms, the noise of SGD and of the kernel, go like 1/N: with both, slopes lie between the two exponents.
    between = fitted.high >= -1.0 - MARGIN and fitted.low <= predicted + MARGIN
    if verdict is Verdict.VIOLATED and 0.5 < gamma < 1.0 and between:
        verdict = Verdict.UNDECIDED
        reason += ", towards −1: the noise of SGD and of the kernel, 1/N, is not small at these widths; use wider ones"
    if fewest < ENOUGH and verdict is not Verdict.UNDECIDED:
        verdict = Verdict.UNDECIDED
        reason = f"{reason}, but {fewest} networks at a width are fewer than the {ENOUGH} wanted"
    widths = family.widths
    claim = Claim(
        f"variance, {family.name}",
        f"E_π Var h^N_t at t = {_end(family):g} goes like N^{{1−2γ}} over the widths {widths[0]} to {widths[-1]}",
        source(gamma),
        f"exponent {number(predicted)} ± {MARGIN:g}",
        "no fit" if math.isnan(fitted.exponent) else f"exponent {number(fitted.exponent)}",
        f"95% interval [{number(fitted.low)}, {number(fitted.high)}] over widths {list(fitted.widths_used)}, "
        f"at least {fewest} networks each",
        verdict,
        reason,
    )
    return unless_lost(claim, _lost(family.members))


def _leading(family: Family, gamma: float, limit: SpectralLimit) -> Claim:
    """N^{1−2γ}a + b/N by weighted least squares: a against what the limit says."""
    law, weights = limit.law([_end(family)]), limit.kernel.problem.data.weights
    wanted = float(np.diagonal(law.covariance[0]) @ weights)
    sound = [one for one in family.members if math.isfinite(one.variance.error) and one.variance.error > 0]
    name, statement = f"leading term, {family.name}", "E_π Var h^N_t is N^{1−2γ} E_π Var h_t + b/N, whatever b is"
    statement = f"{statement} (t = {_end(family):g}, Var h_t of the linear limit's fluctuation)"
    expected = f"ratio 1 within {MARGIN:.0%} for the first term"
    if len(sound) < FEWEST_WIDTHS:
        why = f"{len(sound)} widths have two networks or more, and a fit needs {FEWEST_WIDTHS}"
        return Claim(name, statement, source(gamma), expected, "no fit", why, Verdict.UNDECIDED, why)
    widths = np.array([float(one.run.width) for one in sound])
    errors = np.array([one.variance.error for one in sound])
    design = np.stack([widths ** (1.0 - 2.0 * gamma), 1.0 / widths], axis=1) / errors[:, None]
    seen = np.array([one.variance.value for one in sound]) / errors
    inverse = np.linalg.inv(design.T @ design)
    both = inverse @ design.T @ seen
    excess = float(np.sum((seen - design @ both) ** 2)) / max(1, len(sound) - 2)
    # Scatter that standard errors do not explain makes the result as much less certain.
    error = math.sqrt(inverse[0, 0] * max(1.0, excess))
    ratio = np.array([both[0] / wanted])
    outcome = curve_equivalence(
        ratio, [error / wanted], [1.0], MARGIN, LEVEL, ["the first term"], _fewest(family), needed=ENOUGH
    )
    claim = Claim(
        name,
        statement,
        source(gamma),
        expected,
        f"ratio {number(float(ratio[0]), 4)}; b = {number(float(both[1]))}",
        f"standard error {number(error / wanted, 2)}, of b {number(math.sqrt(inverse[1, 1] * max(1.0, excess)), 2)}; "
        f"χ² per degree of freedom {number(excess, 2)}; widths {list(map(int, widths))}",
        outcome.verdict,
        outcome.reason,
    )
    return unless_lost(claim, _lost(family.members))


def _law(store: Store, family: Family, limit: SpectralLimit) -> Claim:
    """The law at the widest width against the limit's."""
    widest = family.members[-1]
    samples = outputs(store, widest)
    law = limit.law(samples.ts)
    name, statement = f"law, {family.name}", "every one-point marginal is that of the limit at N = ∞"
    statement = f"at width {samples.width} {statement} ({samples.replicas} networks)"
    why = _lost([widest]) or ("fewer than 2 networks" if samples.replicas < 2 else "")
    if why:
        return Claim(name, statement, source(0.5), EXPECTED, "none", why, Verdict.UNDECIDED, why)
    found = [equivalence(compare(samples, law, one, level=LEVEL / len(STATISTICS))) for one in STATISTICS]
    verdicts = [outcome.verdict for outcome in found]
    holds = all(verdict is Verdict.HOLDS for verdict in verdicts)
    violated = Verdict.VIOLATED in verdicts
    verdict = Verdict.VIOLATED if violated else Verdict.HOLDS if holds else Verdict.UNDECIDED
    reasons = [outcome.reason for outcome in found if outcome.verdict is verdict]
    if violated:
        reasons.append("at this width; the theorem speaks of N → ∞, so try wider networks")
    if violated and samples.replicas < ENOUGH:
        verdict, few = Verdict.UNDECIDED, f"{samples.replicas} networks are fewer than the {ENOUGH} wanted"
        reasons = [*reasons, f"but {few} to call it VIOLATED"]
    worst = ", ".join(
        f"{label} {number(outcome.worst)}" for label, outcome in zip(("mean", "variance", "KS"), found, strict=True)
    )
    return Claim(
        name,
        statement,
        source(0.5),
        EXPECTED,
        f"worst distances: {worst}",
        f"upper bounds {', '.join(number(outcome.upper) for outcome in found)} (99%, over all three)",
        verdict,
        "; ".join(reasons),
    )


def _fewest(family: Family) -> int:
    return max(1, min(one.finite for one in family.members))


def _end(family: Family) -> float:
    return float(family.members[0].run.ts[-1])


def _lost(members: tuple[CellFound, ...] | list[CellFound]) -> str:
    found = [f"{one.diverged} of {one.replicas} at N = {one.run.width}" for one in members if one.diverged]
    return f"networks diverged: {', '.join(found)}" if found else ""
