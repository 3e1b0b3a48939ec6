"""From the evidence of the minimum-norm study to claims."""

import math
from itertools import pairwise
from typing import Any, NamedTuple, cast

import numpy as np
import scipy.special

from jaxlimit._typing import Host
from jaxlimit.activations import Relu
from jaxlimit.claims import Claim, Remark, Verdict, above, below, number
from jaxlimit.initial import Normal, Rademacher
from jaxlimit.statistics import curve_equivalence
from jaxlimit.studies._min_norm_evidence import NEAR_ZERO, Evidence, Noise, Series, near_zero
from jaxlimit.studies._min_norm_frozen import frozen, gaps_of, largest_gaps
from jaxlimit.studies._min_norm_rates import (
    MARGIN,
    Fit,
    at_most,
    fitted,
    kernel_moved,
    lost,
    observed,
)
from jaxlimit.studies._scatter import FEWEST_NETWORKS, mean_of

SOURCE, FINE = "arXiv 2105.06569", "arXiv 1901.08584"
MOVE_MARGIN = 0.1
CURVE_MARGIN = 0.05
"""Of |Y − f_0|."""
LEVEL = 0.01


class Curve(NamedTuple):
    """By width: the mean over networks and its standard error [times]; the last entry is that at the end."""

    value: tuple[Host, ...]
    error: tuple[Host, ...]


class Measured(NamedTuple):
    """What the panels draw."""

    orthogonal: tuple[Fit, ...]
    """Of |P⊥(w − w*)|², by series."""
    largest: Fit
    outputs: Fit
    moved: Curve
    """|w − w(0)| over the limit's."""
    squares: Curve
    """|Y − u|²."""
    predicted_squares: Curve
    deviation: Curve
    """(|Y − u| − the limit's)/|Y − f_0|."""
    distances: tuple[Host, ...]
    """Mean square distance to the limit's output on held-out points, by width [networks]."""
    kernels: tuple[Fit, ...]
    """Of ‖A_t − A_0‖/‖A_0‖ after training, by series."""
    twin: Fit
    gaps: tuple[Host, ...]
    """RMS distance to the tangent twin, by width [networks, times]; none without twins."""


def claims(evidence: Evidence) -> tuple[tuple[Claim, ...], Measured, tuple[Remark, ...]]:
    """All claims, the measurements behind them, and what is beyond the theorem."""
    measured = _measure(evidence)
    found = [_assumptions(evidence)]
    found += [_orthogonal(evidence, *one) for one in zip(evidence.series, measured.orthogonal, strict=True)]
    found += [_movement(evidence, measured), _largest(evidence, measured), _curve(evidence, measured)]
    found += frozen(evidence, measured.kernels, measured.twin)
    if measured.distances:
        found.append(_outputs(evidence, measured))
    if evidence.noise:
        found.append(_generalisation(evidence))
    return tuple(found), measured, tuple(_whole(evidence, one) for one in evidence.series)


def _measure(evidence: Evidence) -> Measured:
    points, limit, own = evidence.problem.data.points, evidence.limit, evidence.own.paths
    starts = [one.values[:, 0, :points] for one in own]
    squares = [np.sum((one.values[:, :, :points] - evidence.problem.data.y) ** 2, axis=2) for one in own]
    wanted = [limit.squares(start) for start in starts]
    scale = [np.sqrt(one[:, :1]) for one in squares]
    deviation = [(np.sqrt(s) - np.sqrt(w)) / d for s, w, d in zip(squares, wanted, scale, strict=True)]
    ratios = [one.along.moved[:, -1:] / limit.moved(start)[:, -1:] for one, start in zip(own, starts, strict=True)]
    distances = []
    if limit.cross is not None:
        outputs = [limit.outputs(s, one.values[:, 0, points:]) for s, one in zip(starts, own, strict=True)]
        distances = [
            np.mean((one.values[:, -1, points:] - o) ** 2, axis=1) for one, o in zip(own, outputs, strict=True)
        ]
    values = [0.5 * one for one in output_rounding(evidence)]
    return Measured(
        tuple(_fitted_orthogonal(evidence, one) for one in evidence.series),
        fitted(
            evidence, [one.along.largest_move[:, -1] ** 2 for one in own], [_floor(one.rounding.largest) for one in own]
        ),
        fitted(evidence, distances, values),
        _averaged(ratios),
        _averaged(squares),
        _averaged(wanted),
        _averaged(deviation),
        tuple(distances),
        tuple(_fitted_kernel(evidence, one) for one in evidence.series),
        fitted(evidence, largest_gaps(evidence), values),
        gaps_of(evidence),
    )


def _fitted_orthogonal(evidence: Evidence, series: Series) -> Fit:
    floors = [_floor(one.rounding.whole) for one in series.paths]
    return fitted(evidence, [one.along.orthogonal[:, -1] for one in series.paths], floors).squared


def _fitted_kernel(evidence: Evidence, series: Series) -> Fit:
    """A relative change of all weights changes the kernel by about as much."""
    floors = [0.5 * one.rounding.relative for one in series.paths]
    return fitted(evidence, [one.kernel[:, -1] ** 2 for one in series.paths], floors)


def _floor(bounds: Host) -> float:
    """What `fitted` asks for of the networks of a width: it uses what exceeds two floors."""
    return 0.5 * float(np.sqrt(np.mean(bounds**2))) if bounds.size else 0.0


def output_rounding(evidence: Evidence) -> list[float]:
    """What rounding of the weights may make of an output by width, as errors that are independent between neurons.

    f has the derivative σ'(w_k·x)x/√m in w_k, whose mean square over neurons is H(x, x).
    """
    slope = math.sqrt(float(np.mean(np.diag(evidence.limit.kernel))))
    return [2.0 * _floor(one.rounding.whole) * slope / math.sqrt(one.width) for one in evidence.own.paths]


def _averaged(values: list[Host]) -> Curve:
    def error(one: Host) -> Host:
        return np.std(one, axis=0, ddof=1) / math.sqrt(len(one)) if len(one) > 1 else np.full(one.shape[1], math.inf)

    def mean(one: Host) -> Host:
        return np.mean(one, axis=0) if len(one) else np.full(one.shape[1], math.nan)

    return Curve(tuple(map(mean, values)), tuple(map(error, values)))


def _assumptions(evidence: Evidence) -> Claim:
    network, x, limit = cast(Any, evidence.problem.network), evidence.problem.data.x, evidence.limit
    c, w, lengths = network.initial.c, network.initial.w, np.linalg.norm(x, axis=1)
    checks = {
        "H proved positive definite": True,
        "points of one length": float(np.ptp(lengths)) <= 1e-9 * float(np.max(lengths)),
        "ReLU": isinstance(network.activation, Relu),
        "c = ±1": isinstance(c, Rademacher) and c.scale == 1.0 and network.initial.width_power == 0.0,
        "c fixed": not network.train_output,
        "w centred Gaussian": isinstance(w, Normal) and w.mean == 0.0,
    }
    missing = [name for name, holds in checks.items() if not holds]
    return Claim(
        "assumptions",
        "data, network and start are those of the theorem",
        SOURCE,
        f"all {len(checks)}",
        f"{len(checks) - len(missing)} of {len(checks)} satisfied; λ_min(H) ≥ {below(limit.certificate.lower, 3)}",
        f"λ_min certified; η = {number(limit.eta)} on the sum over points, {number(limit.eta * limit.values[-1])} of "
        "1/λ_max, where the theorem asks for O(λ_min/(dn)²) without its constant",
        Verdict.UNDECIDED if missing else Verdict.HOLDS,
        f"not satisfied: {', '.join(missing)}; the conclusions are tested all the same"
        if missing
        else "; ".join(checks),
    )


def exponent_of(series: Series) -> float:
    """Of |P⊥(w − w*)|²: at a kink a share m^{−1/2} of the neurons changes sides; a smooth σ lets F move by m^{−1/2}.

    The theorem's bound O(m^{−1/2}) is that of the flow; with steps it proves O(m^{−1/4}).
    """
    return -1.0 if series.activation.smooth else -0.5


def _orthogonal(evidence: Evidence, series: Series, fit: Fit) -> Claim:
    predicted, last = exponent_of(series), mean_of(series.paths[-1].along.orthogonal[:, -1])
    return Claim(
        f"minimum norm {series.name}",
        f"|P⊥(w − w*)|² after training falls like m^({predicted:g}) or faster, {evidence.replicas} networks a width",
        f"{SOURCE}, gradient flow" if not series.activation.smooth else f"its argument with Lipschitz σ' ({SOURCE})",
        f"exponent in m at most {predicted:g} + {MARGIN:g}",
        *observed(fit, last),
        *lost(series.paths, *at_most(fit, predicted, kernel_moved(series.paths, fit))),
    )


def _student(count: int, tests: int) -> float:
    """How much wider than normal the intervals of a mean of so many are."""
    tail = 0.5 * LEVEL / tests
    return float(scipy.special.stdtrit(count - 1, tail) / scipy.special.ndtri(tail))


def _at_the_largest(
    evidence: Evidence, mean: Host, error: Host, margin: float, first: float, last: float, rounding: float
) -> tuple[Verdict, str]:
    """Within the margin of 1 at the largest width. A limit is refuted only where the deviation does not fall to it.

    `rounding` is what it may come to at worst: where that exceeds the margin neither verdict is given.
    """
    paths = evidence.own.paths
    count, tests = len(paths[-1].values), mean.size
    if min(len(one.values) for one in paths) < FEWEST_NETWORKS:
        return lost(paths, Verdict.UNDECIDED, f"a width has fewer than {FEWEST_NETWORKS} networks")
    if rounding >= margin:
        more = f"rounding may come to {number(rounding, 2)}, and the margin is {margin:g}"
        return lost(paths, Verdict.UNDECIDED, f"{more}: use float64, or fewer and larger steps")
    names = [f"step {step:g}" for step in evidence.steps[-tests:]]
    wide = error * _student(count, tests)
    found = curve_equivalence(mean, wide, np.ones(tests), margin, LEVEL, names)
    if found.verdict is Verdict.VIOLATED and last < first:
        reason = f"{found.reason}, but it falls with the width, from {number(first, 2)} to {number(last, 2)}"
        return lost(paths, Verdict.UNDECIDED, reason)
    return lost(paths, found.verdict, found.reason)


def _movement(evidence: Evidence, measured: Measured) -> Claim:
    value, error = measured.moved
    off = [abs(float(one[-1]) - 1.0) for one in value]
    limit, own = evidence.limit, evidence.own.paths[-1]
    start = own.values[:, 0, : evidence.problem.data.points]
    wanted = mean_of(limit.moved(start)[:, -1])
    end = mean_of(own.distance)
    rounding = mean_of(own.rounding.whole / limit.moved(start)[:, -1]).distance
    verdict, reason = _at_the_largest(evidence, value[-1], error[-1], MOVE_MARGIN, off[0], off[-1], rounding)
    return Claim(
        "movement",
        f"|w − w(0)| after {evidence.steps[-1]:g} steps is that of the kernel, at every width the same",
        SOURCE,
        f"{number(wanted.distance)} at m = {own.width}, within {MOVE_MARGIN:.0%}; |w* − w(0)| = {number(end.distance)}",
        "over the limit's: "
        + ", ".join(f"{number(float(v[-1]))} at {w}" for v, w in zip(value, evidence.widths, strict=True)),
        f"standard error at the largest width {number(float(error[-1][-1]), 1)}",
        verdict,
        reason,
    )


def _largest(evidence: Evidence, measured: Measured) -> Claim:
    last = mean_of(evidence.own.paths[-1].along.largest_move[:, -1])
    return Claim(
        "largest move",
        "the neuron that moves most moves like m^(−1/2), or less",
        SOURCE,
        f"exponent in m at most −0.5 + {MARGIN:g}",
        *observed(measured.largest, last),
        *lost(evidence.own.paths, *at_most(measured.largest, -0.5, kernel_moved(evidence.own.paths, measured.largest))),
    )


def _curve(evidence: Evidence, measured: Measured) -> Claim:
    value, error = measured.deviation
    worst = [float(np.max(np.abs(one))) for one in value]
    scale, rounding = math.sqrt(float(np.mean(measured.squares.value[-1][0]))), output_rounding(evidence)[-1]
    rounding *= math.sqrt(evidence.problem.data.points) / scale
    verdict, reason = _at_the_largest(
        evidence, 1.0 + value[-1][1:], error[-1][1:], CURVE_MARGIN, worst[0], worst[-1], rounding
    )
    at = int(np.argmax(np.abs(value[-1]))) if len(evidence.own.paths[-1].values) else 0
    return Claim(
        "training curve",
        "|Y − u(k)| follows √Σ(1 − ηλ_i)^(2k)(v_i·(Y − f_0))² at every saved step",
        FINE,
        f"within {CURVE_MARGIN:g} of |Y − f_0| at the largest width",
        f"off by {number(worst[-1], 2)} of it at most, at step {evidence.steps[at]:g}; by {number(worst[0], 2)} at "
        f"width {evidence.widths[0]}",
        f"standard error {number(float(error[-1][at]), 1)}; H known to {above(evidence.limit.radius, 1)} in norm",
        verdict,
        reason,
    )


def _outputs(evidence: Evidence, measured: Measured) -> Claim:
    """The theorem bounds |w − w*| of the flow by O(m^{−1/4}), the root of what P⊥ has, and so the outputs."""
    predicted = 0.5 * exponent_of(evidence.own)
    last = mean_of(np.sqrt(measured.distances[-1]))
    return Claim(
        "kernel regression",
        f"on {len(cast(Host, evidence.limit.cross))} held-out points networks tend to f_0(x) + h(x)ᵀH⁻¹(Y − f_0), "
        f"trained for as long",
        f"{SOURCE}, {FINE}",
        f"exponent in m of the RMS distance at most {predicted:g} + {MARGIN:g}",
        *observed(measured.outputs, last),
        *lost(
            evidence.own.paths,
            *at_most(measured.outputs, predicted, kernel_moved(evidence.own.paths, measured.outputs)),
        ),
    )


def _generalisation(evidence: Evidence) -> Claim:
    """The bound is up to O(√(log(n/(λδ))/n)) with a constant that is not known: nothing can exceed it for certain."""
    noise = evidence.noise
    z = float(-scipy.special.ndtri(LEVEL))
    speaks = [one for one in noise if one.bound.value < one.bound.trivial]
    within = [one for one in speaks if one.loss + z * one.error <= one.bound.value]
    outside = noise[0].bound.outside
    if outside:
        verdict, reason = Verdict.UNDECIDED, f"outside the theorem: {'; '.join(outside)}"
    elif not speaks:
        verdict, reason = Verdict.UNDECIDED, "at no share is the bound below the loss of predicting 0"
    elif len(within) == len(speaks):
        verdict, reason = Verdict.HOLDS, f"at each of these {len(speaks)} of {len(noise)}, up to {speaks[-1].share:g}"
    else:
        beyond = next(one for one in speaks if one not in within)
        reason = (
            f"at the share {beyond.share:g} the loss may exceed the bound; the theorem adds "
            f"O({number(beyond.bound.failure)}) to it, whose constant is not known"
        )
        verdict = Verdict.UNDECIDED
    shown = [noise[0], *noise[-1:]] if len(noise) > 1 else list(noise)
    given: Any = evidence.problem.network
    small = "" if near_zero(given) == given else f" (w of deviation {NEAR_ZERO:g} here, which leaves H as it is)"
    growth = f"; {_growth(noise)}" if len(noise) > 1 else ""
    return Claim(
        "generalisation",
        f"the test loss of kernel regression, where wide networks with a start near zero end{small}, is below "
        f"√(2 yᵀH⁻¹y/n) at {len(speaks)} of {len(noise)} shares of labels redrawn, where that says something",
        f"{FINE}, {SOURCE}",
        "; ".join(f"at most {above(one.bound.value, 3)} with {one.share:.0%} of labels redrawn" for one in shown),
        "; ".join(f"{number(one.loss)} with {one.share:.0%}" for one in shown) + growth,
        "; ".join(f"± {number(one.error, 1)}" for one in shown) + f"; {len(speaks)} of {len(noise)} bounds lie below "
        "the loss of predicting 0",
        verdict,
        reason,
    )


def _growth(noise: tuple[Noise, ...]) -> str:
    """How the bound follows the noise: a rise is proved where the next one's lower end lies above."""
    pairs = list(pairwise(noise))
    rises = sum(later.bound.lower > one.bound.value for one, later in pairs)
    return f"the bound rises with the share at {rises} of {len(pairs)} steps, proved"


def _whole(evidence: Evidence, series: Series) -> Remark:
    """|w − w*|² mixes what has gone astray with what is not yet trained: it has no rate of its own."""
    squares = [one.along.orthogonal[:, -1] + one.along.parallel[:, -1] for one in series.paths]
    floors = [_floor(one.rounding.whole) for one in series.paths]
    fit, last = fitted(evidence, squares, floors).squared.whole, mean_of(squares[-1])
    left = mean_of(series.paths[-1].along.parallel[:, -1])
    slope, steps = f"exponent in m {number(fit.exponent)} over {list(evidence.widths)}", evidence.steps[-1]
    return Remark(
        f"distance to w*, {series.name}",
        f"|w − w*|² = {number(last.distance)} at the largest width",
        "no slope" if math.isnan(fit.exponent) else slope,
        f"95% interval [{number(fit.low)}, {number(fit.high)}]; ± {number(last.standard_error, 1)}",
        f"{number(left.distance)} of it lies in the range of F_0: what {steps:g} steps have not trained yet",
    )
