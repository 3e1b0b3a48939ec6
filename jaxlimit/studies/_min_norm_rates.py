"""Exponents in the width, and what they say of a bound from above."""

import math

import numpy as np

from jaxlimit._typing import Host
from jaxlimit.claims import Verdict, number
from jaxlimit.statistics import ErrorAtWidth, Rate, bootstrap_rate
from jaxlimit.studies._min_norm_evidence import Evidence, Paths

MARGIN = 0.15
FEWEST = 8
"""Networks at a width for a verdict that rests on their scatter."""


def fitted(evidence: Evidence, squares: list[Host]) -> Rate:
    """The exponent of the RMS in the width; refused for few networks."""
    few = min((one.size for one in squares), default=0)
    if few < FEWEST:
        reason = f"refused: a width has {few} networks, and an interval of a slope needs {FEWEST}"
        return Rate(math.nan, -math.inf, math.inf, (), reason, 0.95, math.nan)
    if any(float(np.ptp(one)) == 0.0 for one in squares):
        return Rate(math.nan, -math.inf, math.inf, (), "refused: networks of a width do not differ", 0.95, math.nan)
    return bootstrap_rate(evidence.widths, squares)


def squared(fit: Rate) -> Rate:
    """The rate of the square."""
    ends = 2 * fit.exponent, 2 * fit.low, 2 * fit.high
    return Rate(*ends, fit.widths_used, fit.reason, fit.level, fit.coefficient**2)


def mean_of(values: Host) -> ErrorAtWidth:
    """Mean over networks, and its standard error; zeros where there are not two."""
    if values.size < 2:
        return ErrorAtWidth(0.0, 0.0)
    return ErrorAtWidth(float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(values.size))


def at_most(fit: Rate, exponent: float, margin: float = MARGIN) -> tuple[Verdict, str]:
    """A bound of the exponent from above: the theorem does not say that nothing falls faster."""
    bound, interval = exponent + margin, f"the 95% interval [{number(fit.low)}, {number(fit.high)}]"
    if math.isnan(fit.exponent):
        return Verdict.UNDECIDED, fit.reason
    if fit.high <= bound:
        return Verdict.HOLDS, f"{interval} lies below {number(bound)}"
    if fit.low > bound:
        return Verdict.VIOLATED, f"{interval} lies above {number(bound)}"
    return Verdict.UNDECIDED, f"{interval} contains {number(bound)}"


def lost(paths: tuple[Paths, ...], verdict: Verdict, reason: str) -> tuple[Verdict, str]:
    """Networks that are left out may be those that contradict."""
    found = {one.width: one.lost for one in paths if one.lost}
    if not found:
        return verdict, reason
    counts = ", ".join(f"{count} at width {width}" for width, count in found.items())
    return Verdict.UNDECIDED, f"networks that diverged or whose F_0ᵀF_0 is not proved positive definite: {counts}"


def observed(fit: Rate, last: ErrorAtWidth) -> tuple[str, str]:
    """The exponent, and its interval with what is seen at the largest width."""
    return (
        "no fit" if math.isnan(fit.exponent) else f"exponent {number(fit.exponent)}",
        f"95% bootstrap interval [{number(fit.low)}, {number(fit.high)}]; at the largest width "
        f"{number(last.distance)} ± {number(last.standard_error, 1)}",
    )
