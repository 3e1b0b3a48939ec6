"""Which assumptions of the multilayer theorems a problem is known to satisfy."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxlimit import activations, losses
from jaxlimit.claims import Claim, Remark, Verdict
from jaxlimit.initial import IndependentLayers
from jaxlimit.problem import Problem

COUPLING, GLOBAL = "arXiv 2001.11443", "arXiv 2006.09355"
COVERED = (losses.Huber, losses.PseudoHuber, losses.Logistic, losses.BoundedQuadratic)
"""Losses whose derivative in the prediction is bounded and Lipschitz, and which are convex or 0 where it is 0."""
STEEP = (
    activations.Identity,
    activations.Tanh,
    activations.Erf,
    activations.Logistic,
    activations.Probit,
    activations.Softplus,
)
"""Activations whose derivative is positive everywhere."""
HOLD, LIMIT, FAIL, UNKNOWN = "hold", "hold in a limit alone", "fail", "not known"
ASSUMED = "assumed, no finite run can tell"


def coupling(problem: Problem) -> Claim:
    """What the theorem on the distance to the limit asks for: all of it can be known."""
    checks = _regularity(problem, [problem.loss])
    missing = [name for name, holds in checks.items() if not holds]
    return Claim(
        "assumptions",
        "the problem satisfies the assumptions of the theorem on the distance to the limit",
        COUPLING,
        f"all {len(checks)}",
        f"{len(checks) - len(missing)} of {len(checks)} satisfied",
        "activations as their classes declare, losses by their class, functions of time not examined",
        Verdict.UNDECIDED if missing else Verdict.HOLDS,
        f"not satisfied or not known: {', '.join(missing)}; the conclusions are tested all the same"
        if missing
        else f"{'; '.join(checks)}; every law here has light enough tails",
    )


def beyond(problem: Problem, trained: Sequence[Any]) -> tuple[Remark, ...]:
    """Where the theorem on global convergence stands, for the losses trained, and which networks have no biases."""
    found = (_global_convergence(problem, trained),)
    count = len(problem.network.initial.biases)  # type: ignore[attr-defined]
    if not count:
        return found
    left_out = Remark(
        "biases",
        "left out of the networks of other depth",
        f"{count} laws of biases in the problem",
        "not measured",
        "random biases by themselves keep H_2 different from neuron to neuron: the claims on diversity test weights",
    )
    return *found, left_out


def _regularity(problem: Problem, chosen: Sequence[Any]) -> dict[str, bool]:
    network, scaling = problem.network, problem.scaling
    hidden, output = network.activations, network.output  # type: ignore[attr-defined]
    # What is declared smooth has bounded derivatives unless it is a polynomial; of those the identity has.
    tame = output.polynomial is False or isinstance(output, activations.Identity)
    schedules = scaling.schedules(network.layers)  # type: ignore[attr-defined]
    return {
        "φ_1, …, φ_{L−1} bounded and smooth": all(one.smooth and one.bounded for one in hidden),
        "φ_L' bounded and Lipschitz": bool(output.smooth and tame),
        "∂_2ℓ bounded and Lipschitz": all(isinstance(loss, COVERED) for loss in chosen),
        "ξ bounded and Lipschitz": not any(callable(xi) for xi in schedules),
    }


def _global_convergence(problem: Problem, trained: Sequence[Any]) -> Remark:
    network: Any = problem.network
    initial = network.initial
    first = initial.weights[0] if isinstance(initial, IndependentLayers) else initial.first
    support = HOLD if first.full_support else FAIL if first.compact_support else UNKNOWN
    diversity, why = _diversity(network, support)
    regular = all(_regularity(problem, trained).values())
    upper = [_slopes(one) for one in (*network.activations[1:], network.output)]
    states = {
        "regularity as for the coupling, for every loss trained": HOLD if regular else UNKNOWN,
        "w_1 with full support": support,
        f"bidirectional diversity ({why})": diversity,
        "φ_2', …, φ_L' nonzero": next((state for state in (FAIL, UNKNOWN) if state in upper), HOLD),
        "the weights converge and ess sup |∂_t w_L| → 0": ASSUMED,
    }
    order = (HOLD, LIMIT, FAIL, UNKNOWN, ASSUMED)
    grouped = {state: [name for name, its in states.items() if its == state] for state in order}
    failing = len(grouped[FAIL])
    return Remark(
        "global convergence",
        f"{failing} of {len(states)} conditions failing" if failing else "no condition known to fail",
        "; ".join(f"{state}: {', '.join(names)}" for state, names in grouped.items() if names),
        "activations and laws as their classes declare, losses by their class",
        f"the theorem of {GLOBAL} rests on all {len(states)}, and one is always assumed; the claims on features and "
        "losses test what it concludes",
    )


def _diversity(network: Any, support: str) -> tuple[str, str]:
    """Whether (w_1, w_2(C_1, ·)) and each (w_i(·, C_i), w_{i+1}(C_i, ·)) have full support, and why."""
    layers, initial = network.layers, network.initial
    if layers > 3 and isinstance(initial, IndependentLayers):
        return FAIL, f"independent weights, {layers} layers"
    if initial.biases:
        return UNKNOWN, "the theorem has no biases"
    if layers == 3:
        return support, "3 layers: full support of w_1 is enough"
    return LIMIT, f"as the number of modes, {initial.modes}, → ∞"


def _slopes(activation: Any) -> str:
    """Whether σ' vanishes nowhere; where σ both rises and falls, σ' has a zero in between."""
    if isinstance(activation, STEEP):
        return HOLD
    steps = np.diff(np.asarray(activation(np.linspace(-4.0, 4.0, 161)), np.float64))
    # Far above the rounding of an activation that is computed in float32.
    least = 1e-3 * np.max(np.abs(steps))
    turns = activation.smooth and steps.min() < -least and steps.max() > least
    return FAIL if turns else UNKNOWN
