"""From the evidence of the study of the early stage to claims."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import scipy.special

from jaxlimit._typing import Host
from jaxlimit.activations import Relu
from jaxlimit.claims import Claim, Remark, Verdict, number
from jaxlimit.diagnostics import PartitionChanges, hitting_times, partition_changes, pushed_to_labels, training_loss
from jaxlimit.paths import Samples
from jaxlimit.statistics import ErrorAtWidth, Rate, curve_equivalence, rate, rate_verdict
from jaxlimit.studies._mild_evidence import LARGE, Early, Evidence, set_shares, step_of
from jaxlimit.studies._mild_narrow import narrow_networks
from jaxlimit.studies._scatter import FEWEST_NETWORKS

SOURCE = "arXiv 2206.02139"
MARGIN = 0.1
TAIL_MARGIN = 0.05
"""Without its logarithm t·L would fall with a slope beyond this: −1/log t."""
FEWEST_STARTS = 100
"""Starts behind a verdict on a chance."""
LATE, UNITS = 1e3, 100.0
"""Of a tail, in t and in units of L(0)/|dL/dt(0)|: before both t·L·log t may still be on its way."""
LEVEL = 0.01


class Hits(NamedTuple):
    """η·T over a grid (widths, or 1/η), networks that never reached the level or diverged, and the fitted slope."""

    grid: tuple[int, ...]
    errors: tuple[ErrorAtWidth, ...]
    missing: int
    rate: Rate


class Descent(NamedTuple):
    """The first descent per unit of t over the widths, with its standard error, and the rate of its deviation."""

    mean: Host
    error: Host
    deviation: tuple[ErrorAtWidth, ...]
    rate: Rate


class Measured(NamedTuple):
    """What the panels draw, by loss, and the tail: t [times], t·L·log t [replicas, times]."""

    changes: tuple[PartitionChanges, ...]
    contrasts: tuple[PartitionChanges, ...]
    descents: tuple[Descent, ...]
    by_width: tuple[Hits, ...]
    by_eta: tuple[Hits, ...]
    shares: tuple[tuple[float, float, float], ...]
    """Share of starts with an empty set, and its two-sided interval, by width."""
    tail: tuple[Host, Host] | None


def _bounded(evidence: Evidence) -> tuple[int, ...]:
    """Widths at which the bound n(3/4)^N is no longer 1 or more, and says something."""
    return tuple(width for width, one in zip(evidence.start_widths, evidence.empty, strict=True) if one.bound < 1.0)


def claims(evidence: Evidence) -> tuple[tuple[Claim, ...], Measured, tuple[Remark, ...]]:
    """All claims, the measurements behind them, and what happens without the conditions."""
    measured = _measure(evidence)
    found = [_assumptions(evidence)]
    for k, one in enumerate(evidence.early):
        found += [
            _monotone(evidence, one, measured.changes[k]),
            _descent(evidence, one, measured.descents[k]),
            _deviation(one, measured.descents[k]),
            _flat(one, measured.by_width[k], f"hitting times in N, {one.name}", "over the widths"),
            _flat(one, measured.by_eta[k], f"hitting times in η, {one.name}", "over the steps η"),
        ]
    found.append(_empty(evidence, measured))
    if measured.tail is not None:
        found.append(_tail(evidence, measured.tail))
    remarks = [_contrast(one, changes) for one, changes in zip(evidence.early, measured.contrasts, strict=True)]
    remarks += [narrow_networks(one) for one in evidence.early if one.narrow]
    return tuple(found), measured, tuple(remarks)


def _measure(evidence: Evidence) -> Measured:
    tail = 0.5 * LEVEL / max(1, len(_bounded(evidence)))  # one verdict on all widths
    inverse = tuple(round(1e6 / eta) for eta in reversed(evidence.etas))  # a fit takes whole numbers, in order
    return Measured(
        changes=tuple(_changes(one, one.sets) for one in evidence.early),
        contrasts=tuple(_changes(one, one.contrast) for one in evidence.early),
        descents=tuple(_first_descent(evidence, one) for one in evidence.early),
        by_width=tuple(
            _hits(one, evidence.widths, one.by_width, [step_of(one.problem)] * len(evidence.widths))
            for one in evidence.early
        ),
        by_eta=tuple(_hits(one, inverse, one.by_eta[::-1], evidence.etas[::-1]) for one in evidence.early),
        shares=tuple(_share(np.asarray(samples.observed)[:, 0], tail) for samples in evidence.starts),
        tail=None if evidence.tail is None else _scaled_tail(evidence, evidence.tail),
    )


def _hits(one: Early, grid: tuple[int, ...], several: Sequence[Samples], etas: Sequence[float]) -> Hits:
    """Only networks that reached the level count, and T is known to a step: what is taken off is half of one."""
    errors, missing = [], 0
    for samples, eta in zip(several, etas, strict=True):
        found = hitting_times(one.problem, samples, one.level).steps
        kept = found[found >= 0].astype(np.float64)
        missing += len(found) - len(kept)
        if len(kept) < 2:
            errors.append(ErrorAtWidth(0.0, 0.0))
            continue
        error = math.hypot(float(kept.std(ddof=1)) / math.sqrt(len(kept)), 1.0 / math.sqrt(12.0))
        errors.append(ErrorAtWidth(eta * max(float(kept.mean()) - 0.5, 0.0), eta * error))
    return Hits(grid, tuple(errors), missing, rate(grid, errors))


def _first_descent(evidence: Evidence, one: Early) -> Descent:
    mean, error, deviation = [], [], []
    for samples, eta in zip(one.first_step, one.small, strict=True):
        losses = training_loss(one.problem, samples)
        found = np.diff(losses, axis=1)[:, 0] / eta
        rounding = float(np.finfo(np.float64).eps * np.mean(losses[:, 0])) / eta
        count, squares = len(found), (found - found.mean()) ** 2
        spread = math.sqrt(squares.sum() / (count - 1))
        mean.append(found.mean())
        error.append(math.hypot(spread / math.sqrt(count), rounding))
        its_error = float(squares.std()) / (2.0 * max(spread, 1e-300) * math.sqrt(count))
        deviation.append(ErrorAtWidth(spread, its_error))
    return Descent(np.array(mean), np.array(error), tuple(deviation), rate(evidence.widths, deviation))


def _share(empty: Host, tail: float) -> tuple[float, float, float]:
    """Share and its interval of Clopper and Pearson, which leaves out `tail` on either side."""
    count, hits = len(empty), int(empty.sum())
    low = float(scipy.special.betaincinv(hits, count - hits + 1, tail)) if hits else 0.0
    high = float(scipy.special.betaincinv(hits + 1, count - hits, 1.0 - tail)) if hits < count else 1.0
    return hits / count, low, high


def _scaled_tail(evidence: Evidence, samples: Samples) -> tuple[Host, Host]:
    problem = next(one.problem for one in evidence.early if one.name == "Exponential")
    ts = evidence.tail_eta * samples.steps.astype(np.float64)
    return ts, ts * training_loss(problem, samples)[samples.diverged_at < 0] * np.log(ts)


def _assumptions(evidence: Evidence) -> Claim:
    problem = evidence.problem
    network: Any = problem.network
    scaling: Any = problem.scaling
    sets, widest = evidence.conditions
    checks = {
        "σ is ReLU": isinstance(network.activation, Relu),
        "output factor times c of size N^{−1/2}": math.isclose(scaling.gamma - network.initial.width_power, 0.5),
        "c and w are trained": network.train_output,
        "y_i y_j x_i·x_j ≥ μ_0 > 0": sets.mu_0 > 0 and (bool(np.all(sets.claimed)) or not np.all(sets.kept)),
        "|c_k| ≥ |w_k| at the start": bool(np.all(sets.kept) and np.all(widest.kept)),
    }
    missing = [name for name, holds in checks.items() if not holds]
    balance = min(float(one.balance.min()) for one in evidence.conditions)
    said = "; ".join(dict.fromkeys(one.reason for one in evidence.conditions if one.reason))
    reason = f"not satisfied: {', '.join(missing)}{' (' + said + ')' if said else ''}; the conclusions are tested all "
    reason = f"{reason}the same" if missing else _too_few(evidence.early[0].sets.replicas)
    return Claim(
        "assumptions",
        "the problem satisfies the assumptions of the theorem",
        SOURCE,
        f"all {len(checks)}",
        f"{len(checks) - len(missing)} of {len(checks)} satisfied; μ_0 = {number(sets.mu_0)}, smallest c_k² − |w_k|² "
        f"{number(balance, 2)}",
        f"seen in all networks of widths {evidence.early[0].sets.width} and {evidence.widths[-1]} that are trained",
        Verdict.UNDECIDED if reason else Verdict.HOLDS,
        reason or ", ".join(checks),
    )


def _monotone(evidence: Evidence, one: Early, changes: PartitionChanges) -> Claim:
    samples, data = one.sets, evidence.problem.data
    pushed = pushed_to_labels(one.problem, samples)
    violations = int(changes.violations.sum())
    doubt = _misread(changes, pushed)
    pairs = int(pushed.sum()) * samples.width * data.points
    left_out = 1.0 - float(pushed.mean())
    found = np.stack(list(set_shares(one).values()))
    busy = float(np.mean(np.sum(np.any(np.diff(found, axis=2) != 0, axis=0) & pushed, axis=1)))
    living = found[0].mean(axis=0)
    claimed, flips = bool(np.all(evidence.conditions[0].claimed)), int(changes.flips.sum())
    reason = _few(samples, samples.replicas) or ("" if claimed else "the conditions of the theorem are not satisfied")
    verdict = Verdict.UNDECIDED
    if not reason and violations > doubt:
        verdict, reason = Verdict.VIOLATED, changes.first
    elif not reason and violations == 0 and busy and doubt <= 1e-4 * pairs:
        verdict, reason = Verdict.HOLDS, "no pair of a neuron and a point left a growing set or entered a shrinking one"
    elif not reason:
        reason = (
            "rounding decides too many signs"
            if busy
            else "no neuron changed its set in a step that pushed every output towards its label"
        )
    return Claim(
        f"monotone sets, {one.name}",
        "true-living and false-dead neurons only become more, true-dead and false-living ones only fewer, step by step "
        f"(N = {samples.width}, {samples.replicas} networks)",
        SOURCE,
        "0 violations",
        f"{violations} violations of {number(float(pairs))} pairs, {flips} changes of sign of c; true-living from "
        f"{living[0]:.0%} to {living[-1]:.0%} of the neurons",
        f"rounding may decide {doubt} of them; sets change in {number(busy)} steps of a network, on average; "
        f"{left_out:.1%} of the steps do not count, as some output had passed its target; "
        f"smallest c_k² − |w_k|² on the way {number(float(np.min(samples.observed.balance)), 2)}",
        verdict,
        reason,
    )


def _changes(one: Early, samples: Samples) -> PartitionChanges:
    """Only where every output is pushed to its label: the theorem asks for it."""
    counted = pushed_to_labels(one.problem, samples)
    return partition_changes(samples.observed.patterns, one.problem.data, counted=counted)


def _descent(evidence: Evidence, one: Early, found: Descent) -> Claim:
    predicted = np.array([rate.value for rate in one.rates])
    doubt = np.array([rate.error for rate in one.rates])
    names = [f"N = {width}" for width in evidence.widths]
    reason, verdict, seen = _few_of(one.first_step), Verdict.UNDECIDED, "none"
    if not reason:
        outcome = curve_equivalence(found.mean, np.hypot(found.error, doubt), predicted, MARGIN, names=names)
        verdict, reason = outcome.verdict, outcome.reason
        ratio = found.mean / predicted
        seen = f"ratio {number(float(ratio.min()), 4)} to {number(float(ratio.max()), 4)} over the widths"
    return Claim(
        f"descent, {one.name}",
        "dL/dt at the start is −ℓ'(0)²n⁻²yᵀKy with the kernel K of the start",
        SOURCE,
        f"{number(float(predicted[-1]), 4)} at N = {evidence.widths[-1]}, within {MARGIN:.0%} at every width",
        seen,
        f"standard error up to {number(float(np.max(found.error / np.abs(predicted))), 2)} of it, the prediction's own "
        f"doubt {number(float(np.max(doubt / np.abs(predicted))), 1)}; from one step of "
        f"{number(min(one.small), 2)} to {number(max(one.small), 2)}",
        verdict,
        reason,
    )


def _deviation(one: Early, found: Descent) -> Claim:
    last, ours = found.deviation[-1], one.rates[-1]
    return _rate_claim(
        f"spread of the descent, {one.name}",
        "dL/dt at the start varies between networks like N^{−1/2}",
        found.rate,
        -0.5,
        f"{number(last.distance)} ± {number(last.standard_error, 1)} at the widest, predicted "
        f"{number(ours.deviation)} ± {number(ours.deviation_error, 1)}",
        _few_of(one.first_step),
    )


def _flat(one: Early, hits: Hits, name: str, over: str) -> Claim:
    several = one.by_width if over == "over the widths" else one.by_eta
    reason = _few_of(several)
    total = sum(samples.replicas for samples in several)
    if not reason and hits.missing:
        reason = f"{hits.missing} of {total} networks did not reach the level before t = {one.end:.3g}"
        reason += ": raise `horizon` or `share`"
    reached = [error for error in hits.errors if error.standard_error > 0]
    seen, worst = [error.distance for error in reached], max((error.standard_error for error in reached), default=0.0)
    found = f"{'no network' if hits.missing == total else 'too few networks'} reached it"
    if reached:
        found = f"η·T from {number(min(seen), 4)} to {number(max(seen), 4)}, each ± {number(worst, 1)} or less"
    return _rate_claim(
        name,
        f"η·T is flat {over}, T the first step with L ≤ {number(one.level)}",
        hits.rate,
        0.0,
        found,
        reason,
    )


def _rate_claim(
    name: str, statement: str, fitted: Rate, predicted: float, seen: str, reason: str, margin: float = MARGIN
) -> Claim:
    outcome = rate_verdict(fitted, predicted, margin)
    return Claim(
        name,
        statement,
        SOURCE,
        f"exponent {predicted:g} ± {margin:g}",
        "no fit" if math.isnan(fitted.exponent) else f"exponent {number(fitted.exponent)}",
        f"95% interval [{number(fitted.low)}, {number(fitted.high)}]; {seen}",
        Verdict.UNDECIDED if reason else outcome.verdict,
        reason or outcome.reason,
    )


def _empty(evidence: Evidence, measured: Measured) -> Claim:
    pairs = list(zip(evidence.start_widths, measured.shares, evidence.empty, strict=True))
    starts, used = evidence.starts[0].replicas, _bounded(evidence)
    tested = [pair for pair in pairs if pair[0] in used]
    above = [w for w, (_, low, high), one in tested if low > min(one.bound, one.upper) or high < one.lower]
    open_ = [w for w, (_, _, high), one in tested if high > one.bound]
    verdict, reason = Verdict.UNDECIDED, ""
    if not tested:
        reason = "at no width is the bound below 1: use wider `start_widths`"
    elif starts < FEWEST_STARTS:
        reason = f"{starts} starts are fewer than {FEWEST_STARTS}"
    elif above:
        verdict, reason = Verdict.VIOLATED, f"the interval misses what is predicted at the widths {above}"
    elif open_:
        reason = f"the interval reaches beyond the bound at the widths {open_}; use more `starts`"
    else:
        verdict = Verdict.HOLDS
        reason = (
            f"every interval ({1 - LEVEL:.0%} for all together) lies below the bound and meets the predicted chance"
        )
    found = "; ".join(
        f"N = {width}: {number(share)} in [{number(low)}, {number(high)}]" for width, (share, low, high), _ in pairs
    )
    expected = "; ".join(
        f"N = {width}: [{number(one.lower)}, {number(one.upper)}], at most {number(min(one.bound, 1.0))}"
        for width, _, one in pairs
    )
    statement = "at the start some point has no true-living neuron with probability at most n(3/4)^N"
    left_out = [width for width in evidence.start_widths if width not in used]
    count = f"{starts} starts at each width"
    count += f"; not tested, where the bound is 1 or more: the widths {left_out}" if left_out else ""
    return Claim("empty true-living sets", statement, SOURCE, expected, found, count, verdict, reason)


def _tail(evidence: Evidence, tail: tuple[Host, Host]) -> Claim:
    assert evidence.tail is not None
    ts, values = tail
    statement = f"t·L·log t is flat for the exponential loss (N = {evidence.tail.width}, η = {evidence.tail_eta:g})"
    reason = _few(evidence.tail, evidence.tail.replicas)
    # Times of one network depend on each other: a slope for every network, and the spread of the slopes.
    slopes = np.polyfit(np.log(ts), np.log(values).T, 1)[0] if len(values) > 1 and np.all(values > 0) else np.zeros(1)
    count, centre = len(slopes), float(slopes.mean())
    reason = reason or ("" if count > 1 else "no losses to fit")
    half = float(-scipy.special.stdtrit(count - 1, 0.025) * slopes.std(ddof=1)) / math.sqrt(count) if count > 1 else 0.0
    used = tuple(int(step) for step in evidence.tail.steps)
    fitted = Rate(centre, centre - half, centre + half, used, "a slope for every network", 0.95, math.nan)
    if not reason and rate_verdict(fitted, 0.0, TAIL_MARGIN).verdict is Verdict.VIOLATED:
        exponential = next(one for one in evidence.early if one.name == "Exponential")
        late = max(LATE, UNITS / min(-rate.value for rate in exponential.rates))  # L(0) = 1
        early = len(ts) < 3 or ts[0] < late
        reason = f"not flat, but only three times or more from t = {late:.4g} on would show it" if early else ""
    seen = f"from {number(float(values.min()), 4)} to {number(float(values.max()), 4)} over t = {ts[0]:g} to {ts[-1]:g}"
    return _rate_claim("exponential loss", statement, fitted, 0.0, seen, reason, TAIL_MARGIN)


def _contrast(one: Early, changes: PartitionChanges) -> Remark:
    samples = one.contrast
    networks, total = int(np.sum(changes.violations.sum(axis=1) > 0)), int(changes.violations.sum())
    flips, doubt = int(changes.flips.sum()), _misread(changes, pushed_to_labels(one.problem, samples))
    first = f": {changes.first}" if changes.first else ""
    return Remark(
        f"w {LARGE:g} times as large as c, {one.name}",
        "sets not monotone" if total > doubt else "c changes its sign" if flips else "no violation beyond rounding",
        f"{total} violations in {networks} of {samples.replicas} networks, {flips} changes of sign of c",
        f"rounding may decide {doubt} of them",
        f"some |c_k| < |w_k|, which the theorem does not allow{first}",
    )


def _misread(changes: PartitionChanges, counted: Host) -> int:
    """Pairs that rounding may have misread at a save time: each shows at most one violation that is none."""
    # Intervals count up to one of them, so that a save counts where the interval before it does.
    saves = np.concatenate([counted[:, :1], counted], axis=1)
    return int(changes.undecided[saves].sum())


def _few_of(several: Sequence[Samples]) -> str:
    """Why these networks say too little, or nothing."""
    return next((said for one in several if (said := _few(one, one.replicas))), "")


def _few(samples: Samples, replicas: int) -> str:
    if samples.diverged:
        return f"{samples.diverged} of {replicas} networks of width {samples.width} diverged"
    return _too_few(replicas)


def _too_few(replicas: int) -> str:
    return f"{replicas} networks are fewer than {FEWEST_NETWORKS}" if replicas < FEWEST_NETWORKS else ""
