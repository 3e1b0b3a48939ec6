"""The size of the path-wise error, not its rate alone, against what the limit predicts at finite width."""

import math
from collections.abc import Sequence

import numpy as np

from jaxlimit.claims import Claim, Verdict, number
from jaxlimit.limits import FiniteWidthError
from jaxlimit.paths import Samples
from jaxlimit.statistics import ErrorAtWidth, curve_equivalence

LEVEL, SIZE_MARGIN, SIZE_FLOORS = 0.01, 0.1, 10.0
"""Widths whose path-wise error exceeds `SIZE_FLOORS` floors of the method show its size: it adds 0.5% at most."""


def path_size(
    prediction: FiniteWidthError | None,
    unpredicted: str,
    errors: Sequence[ErrorAtWidth],
    samples: Sequence[Samples],
    source: str,
) -> Claim:
    """√N times the path-wise error of all widths together, each weighted by its networks, against its prediction."""
    name, statement = "path-wise size", "√N·RMS |h^N_t − h_t| is what the noise of SGD and the kernel of N neurons give"
    used = [
        (s.width, e, s.replicas - s.diverged)
        for s, e in zip(samples, errors, strict=True)
        if e.distance > SIZE_FLOORS * e.floor and e.standard_error > 0
    ]
    if prediction is None or not used:
        reason = unpredicted or "no width has a path-wise error above the floor of the method"
        return Claim(name, statement, source, "none", "not measured", f"{len(used)} widths", Verdict.UNDECIDED, reason)
    total = sum(count for *_, count in used)
    square = sum(count * w * e.distance**2 for w, e, count in used) / total
    spread = math.hypot(*(count * w * 2 * e.distance * e.standard_error for w, e, count in used)) / total
    seen, error = math.sqrt(square), spread / (2 * math.sqrt(square))
    expected, doubt = prediction.pooled
    sgd = float(np.mean(np.diagonal(prediction.sgd, axis1=1, axis2=2))) / expected**2 if expected > 0 else 0.0
    outcome = curve_equivalence(
        np.array([seen]), np.array([math.hypot(error, doubt)]), np.array([expected]), SIZE_MARGIN, LEVEL
    )
    reason = f"it is off by {outcome.worst:.1%}, bounded by {outcome.upper:.1%} (99%)"
    if outcome.verdict is Verdict.VIOLATED:
        reason += "; the prediction leaves out terms of relative order 1/N, so try wider networks"
    return Claim(
        name,
        statement,
        source + "; derived in the documentation",
        f"{number(expected, 4)} ± {number(doubt, 1)} (standard error) within {SIZE_MARGIN:.0%}; "
        f"{sgd:.0%} of its square is the noise of SGD",
        number(seen, 4),
        f"± {number(error, 1)} (standard error), widths {[w for w, *_ in used]}",
        outcome.verdict,
        reason,
    )
