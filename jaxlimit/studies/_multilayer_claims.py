"""From the evidence of the multilayer study to claims."""

import math
from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from jaxlimit._typing import Host, RandomKey
from jaxlimit.claims import Claim, Remark, Verdict, below, number
from jaxlimit.diagnostics import covering_radius, feature_gram
from jaxlimit.kernels import CertificateStatus, certify
from jaxlimit.networks import Layers
from jaxlimit.statistics import ErrorAtWidth, Rate, bootstrap_rate, rate, rate_verdict
from jaxlimit.studies._diverged import finite, lost, unless_lost
from jaxlimit.studies._multilayer_assumptions import COUPLING, GLOBAL, beyond, coupling
from jaxlimit.studies._multilayer_evidence import Coupling, Evidence, Measured, Training
from jaxlimit.studies._scatter import FEWEST_NETWORKS

MARGIN = 0.1
REMAINS = 0.01
"""Share of the loss that counts as vanished."""
STILL = 0.1
"""Share of the largest max |∂_t w_L| that counts as come to rest."""
CLEAR = 3.0
"""Standard errors from which a change is named."""

COLLAPSE, THREE, CURE = "independent, 4 layers", "independent, 3 layers", "correlated, 4 layers"


def claims(evidence: Evidence) -> tuple[tuple[Claim, ...], Measured, tuple[Remark, ...]]:
    """All claims, the measurements behind them, and what is beyond the theorem."""
    euler, epsilon = evidence.steps["full batch"], evidence.problem.scaling.epsilon  # type: ignore[attr-defined]
    # What the steps of the networks at the problem's ε contribute: the error of Euler's scheme, of first order.
    last = [_root_mean(of_one[np.isfinite(of_one)])[0] * epsilon * euler.grid[-1] for of_one in euler.squares[-1]]
    floors = dict(zip(euler.names, last, strict=True))
    rates, errors = {}, {}
    for name, series in (("coupling", evidence.coupling), *evidence.steps.items()):
        rates[name], errors[name] = _fits(series, floors if name == "coupling" else {})
    rates["diversity"], errors["diversity"] = {}, {}
    for name, spreads in evidence.spreads.items():
        measured_at = [_spread(pair[name == THREE]) for pair in spreads]
        errors["diversity"][name] = measured_at
        rates["diversity"][name] = rate(evidence.spread_widths, measured_at)
    found = Measured(
        rates,
        errors,
        [_losses(training) for training in evidence.trainings],
        [_speeds(training) for training in evidence.trainings],
        [_certified(training) for training in evidence.trainings],
        [_coverings(training, evidence.key) for training in evidence.trainings],
    )
    return (
        (
            coupling(evidence.problem),
            *(unless_lost(claim, said) for claim, said in _tested(evidence, found)),
        ),
        found,
        (
            *beyond(evidence.problem, [training.problem.loss for training in evidence.trainings]),
            *(_support(*one) for one in zip(evidence.trainings, found.coverings, strict=True)),
        ),
    )


def _tested(evidence: Evidence, found: Measured) -> list[tuple[Claim, str]]:
    """Claims on simulated networks, and which of the networks that they rest on diverged."""
    networks = f"{evidence.coupling.squares[0].shape[1]} networks, limit of {evidence.reference} neurons a layer"
    flow = f"width {evidence.step_width}, against the flow of the same neurons"
    alike = "4 layers of independent weights, no biases: H_2 stops depending on the neuron"
    steps = {name: _lost(series, "1/ε") for name, series in evidence.steps.items()}
    # The finest steps on all points are the floor of the coupling.
    either = _lost(evidence.coupling, "n") or steps["full batch"]
    spreads = {name: _lost_of(evidence.spread_widths, pairs) for name, pairs in evidence.spreads.items()}
    trained = [_lost_in([training]) for training in evidence.trainings]
    series = zip(evidence.trainings, found.losses, found.speeds, strict=True)
    losses = [_vanishes(one, values, speeds) for one, values, speeds in series]
    order = f"all points at every step: distances fall like ε, {flow}"
    return [
        (
            _rates(found, "coupling", f"distances to the limit fall like n^(−1/2), {networks}", COUPLING, -0.5, 1, "n"),
            either,
        ),
        (
            _rates(found, "SGD", f"fresh samples: distances fall like ε^(1/2), {flow}", COUPLING, 0.5, -1, "ε"),
            steps["SGD"],
        ),
        (_rates(found, "full batch", order, COUPLING, 1.0, -1, "ε"), steps["full batch"]),
        (_diversity(found, "collapse", alike, COLLAPSE, -0.5), spreads[COLLAPSE]),
        (
            _diversity(found, "three layers", "at 3 layers training makes neurons differ at any width", THREE, 0.0),
            spreads[THREE],
        ),
        (
            _diversity(found, "cure", "correlated initial weights keep H_2 different at 4 layers", CURE, 0.0),
            spreads[CURE],
        ),
        (_features(evidence, found), _lost_in(evidence.trainings)),
        *zip(losses, trained, strict=True),
    ]


def _lost(series: Coupling, variable: str) -> str:
    pairs = zip(series.grid, series.squares, strict=True)
    return lost((f"{variable} = {size}", np.all(np.isfinite(squares), axis=0)) for size, squares in pairs)


def _lost_of(widths: Sequence[int], pairs: Sequence[tuple[Host, Host]]) -> str:
    found = zip(widths, pairs, strict=True)
    return lost((f"n = {width}", np.all(np.isfinite(now), axis=(1, 2))) for width, (now, _) in found)


def _lost_in(trainings: Sequence[Training]) -> str:
    return lost((f"the loss {type(one.problem.loss).__name__}", finite(one.samples)) for one in trainings)


def _fits(series: Coupling, floors: dict[str, float]) -> tuple[dict[str, Rate], dict[str, list[ErrorAtWidth]]]:
    """A rate for every quantity, and the errors that it goes through."""
    fitted, errors = {}, {}
    for q, name in enumerate(series.names):
        squares, floor = [each[q][np.isfinite(each[q])] for each in series.squares], floors.get(name, 0.0)
        errors[name] = [ErrorAtWidth(*_root_mean(s), floor) for s in squares]
        fitted[name] = _fit(series.grid, squares, floor)
    return fitted, errors


def _fit(grid: tuple[int, ...], squares: list[Host], floor: float) -> Rate:
    """By bootstrap; none where too few networks are left, or where they do not differ."""
    few = min(s.size for s in squares) < FEWEST_NETWORKS
    if few or not all(s.max() > s.min() for s in squares):
        why = f"fewer than {FEWEST_NETWORKS} networks are left" if few else "distances do not vary between networks"
        return Rate(math.nan, -math.inf, math.inf, (), f"refused: {why}", 0.95, math.nan)
    return bootstrap_rate(grid, squares, [floor] * len(squares))


def _root_mean(squares: Host) -> tuple[float, float]:
    """Root mean square over networks and its standard error; zeros, of which no rate is made, for fewer than two."""
    if squares.size < 2:
        return 0.0, 0.0
    root = math.sqrt(float(np.mean(squares)))
    return root, float(np.std(squares, ddof=1)) / math.sqrt(squares.size) / (2 * max(root, 1e-300))


def _spread(values: Host) -> ErrorAtWidth:
    """RMS over the points at the end, and its standard error from network to network."""
    squares = np.mean(np.asarray(values, np.float64)[:, -1] ** 2, axis=1)
    return ErrorAtWidth(*_root_mean(squares[np.isfinite(squares)]))


def _losses(training: Training) -> Host:
    data = training.problem.data
    loss: Any = training.problem.loss
    values = np.asarray(training.samples.values, np.float64)[finite(training.samples)]
    return np.asarray(loss.value(values, data.y)) @ data.weights


def networks_of(training: Training) -> list[list[Layers]]:
    """The parameters of every replica that stayed finite, at every time."""
    observed, times = cast(Layers, training.samples.observed), training.samples.values.shape[1]
    return [[observed.at(r, t) for t in range(times)] for r in np.flatnonzero(finite(training.samples)).tolist()]


def _speeds(training: Training) -> Host:
    """max over the last layer's neurons of |∂_t w_L| = α ξ_L |E_π[∂_2ℓ φ_L'(H_L) φ_{L−1}(H_{L−1})]|."""
    problem, samples = training.problem, training.samples
    data, loss, network = problem.data, cast(Any, problem.loss), cast(Any, problem.network)
    xi: Any = problem.scaling.schedules(network.layers)[-1]  # type: ignore[attr-defined]
    rows = networks_of(training)
    found = np.zeros((len(rows), samples.values.shape[1]))
    for r, row in enumerate(rows):
        for t, parameters in enumerate(row):
            *_, features, last = _passed(network, parameters, data.x)
            prediction = np.asarray(network.output(last), np.float64)
            pull = data.weights * np.asarray(loss.derivative(prediction, data.y)) * _slope(network.output, last)
            now = float(xi(samples.ts[t])) if callable(xi) else float(xi)
            found[r, t] = problem.learning_rate * now * np.max(np.abs(pull @ features))
    return found


def _passed(network: Any, parameters: Layers, x: Host) -> list[Host]:
    """Features φ_1(H_1), …, φ_{L−1}(H_{L−1}), and H_L, in float64."""
    found, biases = [], parameters.biases
    value = x @ np.asarray(parameters.weights[0], np.float64).T + (biases[0] if biases else 0.0)
    for i, w in enumerate(parameters.weights[1:]):
        features = np.asarray(network.activations[i](value), np.float64)
        found.append(features)
        value = features @ np.asarray(w, np.float64) / w.shape[0] + (biases[i + 1] if biases else 0.0)
    return [*found, value]


def _slope(activation: Any, values: Host) -> Host:
    """φ' by a central difference: exact to 1e-9 for what is smooth, and exact for the identity."""
    step = 1e-5
    ends = [np.asarray(activation(values + sign * step), np.float64) for sign in (1, -1)]
    return np.asarray((ends[0] - ends[1]) / (2 * step))


def _certified(training: Training) -> Host:
    """Lower bounds of λ_min of the Gram matrices of features, −∞ where nothing is proved, and NaN where refuted."""
    network = training.problem.network
    hidden = network.layers - 1  # type: ignore[attr-defined]

    def bound(parameters: Layers, layer: int) -> float:
        found = certify(feature_gram(network, parameters, training.problem.data.x, layer))  # type: ignore[arg-type]
        if found.status is CertificateStatus.PROVED_NOT_PD:
            return math.nan
        return found.lower if found.status is CertificateStatus.PROVED_PD else -math.inf

    found = [[[bound(p, i + 1) for i in range(hidden)] for p in row] for row in networks_of(training)]
    return np.array(found).reshape(len(found), training.samples.values.shape[1], hidden)


def _coverings(training: Training, key: RandomKey) -> Host:
    """Covering radius of the rows of w_1 in the unit ball [replicas, times]."""
    found = [[covering_radius(p.weights[0], 1.0, key=key).radius for p in row] for row in networks_of(training)]
    return np.array(found).reshape(len(found), training.samples.values.shape[1])


def joint(verdicts: Sequence[Verdict]) -> Verdict:
    """HOLDS where all do, VIOLATED where one is."""
    if Verdict.VIOLATED in verdicts:
        return Verdict.VIOLATED
    return Verdict.HOLDS if all(v is Verdict.HOLDS for v in verdicts) else Verdict.UNDECIDED


def _rates(
    measured: Measured, name: str, statement: str, source: str, predicted: float, sign: int, variable: str
) -> Claim:
    """One exponent for every layer and the output; over 1/ε the exponent in ε has the other sign."""
    fits = measured.rates[name]
    outcomes = {q: rate_verdict(fit, sign * predicted, MARGIN) for q, fit in fits.items()}
    plain = {q: q.replace("$", "") for q in fits}
    slopes = [
        f"{plain[q]} none"
        if math.isnan(fit.exponent)
        else f"{plain[q]} {number(sign * fit.exponent)} [{number(min(sign * fit.low, sign * fit.high))}, "
        f"{number(max(sign * fit.low, sign * fit.high))}]"
        for q, fit in fits.items()
    ]
    verdict = joint([outcome.verdict for outcome in outcomes.values()])
    shown = [q for q, outcome in outcomes.items() if outcome.verdict is verdict]
    last = measured.errors[name]["output"][-1]
    return Claim(
        name,
        statement,
        source,
        f"exponents in {variable} {predicted:g} ± {MARGIN:g}",
        "; ".join(slopes),
        f"95% bootstrap intervals; output at the last {number(last.distance)} ± {number(last.standard_error, 1)}",
        verdict,
        "; ".join(f"{plain[q]}: {outcomes[q].reason}" for q in shown),
    )


def _diversity(measured: Measured, name: str, statement: str, which: str, predicted: float) -> Claim:
    fitted, errors = measured.rates["diversity"][which], measured.errors["diversity"][which]
    outcome = rate_verdict(fitted, predicted, MARGIN)
    what = "of the change of H_2" if which == THREE else "of H_2"
    return Claim(
        name,
        f"{statement} (standard deviation over neurons {what} after training)",
        GLOBAL,
        f"exponent in n {predicted:g} ± {MARGIN:g}",
        "no fit" if math.isnan(fitted.exponent) else f"exponent {number(fitted.exponent)}",
        f"95% interval [{number(fitted.low)}, {number(fitted.high)}]; "
        + ", ".join(f"{number(e.distance)} ± {number(e.standard_error, 1)}" for e in errors),
        outcome.verdict,
        outcome.reason,
    )


def _features(evidence: Evidence, measured: Measured) -> Claim:
    """At finite width a singular matrix would not refute the theorem, but it has been proved singular."""
    least = [float(np.min(bounds, initial=math.inf)) for bounds in measured.eigenvalues]
    count = sum(bounds.size for bounds in measured.eigenvalues)
    open_ = sum(int(np.sum(np.isneginf(bounds))) for bounds in measured.eigenvalues)
    refuted = sum(int(np.sum(np.isnan(bounds))) for bounds in measured.eigenvalues)
    verdict = Verdict.VIOLATED if refuted else Verdict.UNDECIDED if open_ else Verdict.HOLDS
    width, proved = evidence.trainings[0].samples.width[0], count - open_ - refuted
    return Claim(
        "features",
        f"Gram matrices of the features of every hidden layer stay positive definite (n = {width})",
        GLOBAL,
        "λ_min > 0 at every time",
        f"λ_min ≥ {below(min(least), 3)}" if verdict is Verdict.HOLDS else f"{proved} of {count} proved",
        f"certified, {count} matrices as computed in float64",
        verdict,
        f"{proved} proved positive definite, {refuted} proved not to be, {open_} undecided",
    )


def _support(training: Training, radii: Host) -> Remark:
    """At infinite width the support of w_1(C_1) stays all of space; n points cover a ball as well as they can."""
    name, change = f"support of w_1, {type(training.problem.loss).__name__}", radii[:, -1] - radii[:, 0]
    if change.size < 2:
        return Remark(name, "not measured", "none", "none", f"{_lost_in([training])}; fewer than 2 are left")
    error = float(np.std(change, ddof=1)) / math.sqrt(len(change))
    mean, samples = float(change.mean()), training.samples
    clear = abs(mean) > CLEAR * error
    return Remark(
        name,
        ("thinner than at the start" if mean > 0 else "denser than at the start") if clear else "as at the start",
        f"covering radius of the unit ball {number(float(radii[:, 0].mean()))} at the start, "
        f"{number(float(radii[:, -1].mean()))} at t = {samples.ts[-1]:g}",
        f"change {number(mean, 2)} ± {number(error, 1)} (standard error over {len(change)} networks)",
        f"the theorem speaks of the support at infinite width; here {samples.width[0]} neurons in "
        f"{training.problem.data.inputs} inputs",
    )


def _vanishes(training: Training, losses: Host, speeds: Host) -> Claim:
    """No finite time shows a limit: what is claimed is how little is left at the end."""
    loss, samples = training.problem.loss, training.samples
    name = type(loss).__name__
    statement = f"the loss {name} and max |∂_t w_L| vanish together along training"
    expected = f"{REMAINS:.0%} of the loss, {STILL:.0%} of max |∂_t w_L|, or less"
    if len(losses) < 2:
        reason = _lost_in([training])
        return Claim(f"loss {name}", statement, GLOBAL, expected, "none", reason, Verdict.UNDECIDED, reason)
    left, rest = _share(losses[:, -1], losses[:, 0]), _share(speeds[:, -1], speeds.max(axis=1))
    error = float(np.std(losses[:, -1], ddof=1)) / math.sqrt(len(losses))
    done = bool(np.all(left <= REMAINS) and np.all(rest <= STILL))
    rises = bool(np.all(losses[:, -1] > losses[:, 0]))
    reason = (
        f"at t = {samples.ts[-1]:g}, in the worst of {len(losses)} networks, {left.max():.2%} of the loss and "
        f"{rest.max():.1%} of the largest max |∂_t w_L| are left"
    )
    return Claim(
        f"loss {name}",
        statement,
        GLOBAL,
        expected,
        f"loss {number(float(losses[:, -1].mean()))} from {number(float(losses[:, 0].mean()))}; max |∂_t w_L| "
        f"{number(float(speeds[:, -1].mean()))} from at most {number(float(speeds.max()))}",
        f"standard error of the last loss {number(error, 1)}; {len(losses)} networks",
        Verdict.VIOLATED if rises else Verdict.HOLDS if done else Verdict.UNDECIDED,
        reason if done or rises else f"{reason}: a later `end` would tell",
    )


def _share(part: Host, whole: Host) -> Host:
    """part/whole; 1 where there was nothing to vanish."""
    return np.divide(part, whole, out=np.ones_like(part), where=whole > 0)
