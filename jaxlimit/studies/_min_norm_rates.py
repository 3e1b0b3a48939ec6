"""Exponents in the width, and what they say of a bound from above."""

import math
from typing import NamedTuple

import numpy as np
import scipy.special

from jaxlimit._typing import Host
from jaxlimit.claims import Verdict, number
from jaxlimit.statistics import ErrorAtWidth, Rate, bootstrap_rate
from jaxlimit.studies._min_norm_evidence import Evidence, Paths
from jaxlimit.studies._scatter import FEWEST_NETWORKS, mean_of

MARGIN = 0.15
WIDE = 0.3
"""Of its size: the kernel of wide networks moves by less."""


class Fit(NamedTuple):
    """An exponent in the width, and that of the larger half of the widths alone, from their scatter."""

    whole: Rate
    later: Rate

    @property
    def squared(self) -> "Fit":
        """That of the square."""
        return Fit(_squared(self.whole), _squared(self.later))


def fitted(evidence: Evidence, squares: list[Host], floors: list[float]) -> Fit:
    """The exponent of the RMS in the width; refused for few networks, and where rounding may have made it.

    `floors` by width: half of what rounding can come to at worst, so that a width counts where it exceeds all of that.
    """
    few = min((one.size for one in squares), default=0)
    if few < FEWEST_NETWORKS:
        return Fit(*[_refused(f"a width has {few} networks, and an interval of a slope needs {FEWEST_NETWORKS}")] * 2)
    if any(float(np.ptp(one)) == 0.0 for one in squares):
        return Fit(*[_refused("networks of a width do not differ")] * 2)
    whole = bootstrap_rate(evidence.widths, squares, floors)
    if math.isnan(whole.exponent):
        if len(evidence.widths) > 2:
            left = f"only {len(whole.widths_used)} of {len(evidence.widths)} widths lie above what rounding may do"
            whole = _refused(f"{left}: train longer, or in float64")
        return Fit(whole, whole)
    used = list(whole.widths_used)[len(whole.widths_used) // 2 :]
    return Fit(whole, _later(used, [squares[evidence.widths.index(width)] for width in used]))


def _refused(why: str) -> Rate:
    return Rate(math.nan, -math.inf, math.inf, (), f"refused: {why}", 0.95, math.nan)


def _later(widths: list[int], squares: list[Host]) -> Rate:
    """Least squares of log RMS on log width, two widths or more; Var y by the delta method, Student's quantile."""
    x, means = np.log(np.array(widths, np.float64)), np.array([np.mean(one) for one in squares])
    pull = (x - np.mean(x)) / np.sum((x - np.mean(x)) ** 2)
    errors = [np.std(one, ddof=1) / math.sqrt(one.size) / np.mean(one) / 2 for one in squares]
    slope, fewest = float(pull @ np.log(means)) / 2, min(one.size for one in squares)
    half = float(-scipy.special.stdtrit(fewest - 1, 0.025) * np.linalg.norm(pull * errors))
    coefficient = math.exp(float(np.mean(np.log(means))) / 2 - slope * float(np.mean(x)))
    return Rate(slope, slope - half, slope + half, tuple(widths), "the larger widths", 0.95, coefficient)


def _squared(fit: Rate) -> Rate:
    ends = 2 * fit.exponent, 2 * fit.low, 2 * fit.high
    return Rate(*ends, fit.widths_used, fit.reason, fit.level, fit.coefficient**2)


def at_most(fit: Fit, exponent: float, moved: float = 0.0) -> tuple[Verdict, str]:
    """A bound of the exponent from above: the theorem does not say that nothing falls faster.

    It speaks of large widths, and is refuted only where the larger half of them says so too and the kernel there has
    `moved` by little of its size: networks that leave their tangent altogether are not wide.
    """
    whole, later, bound = fit.whole, fit.later, exponent + MARGIN
    interval = f"the 95% interval [{number(whole.low)}, {number(whole.high)}]"
    if math.isnan(whole.exponent):
        return Verdict.UNDECIDED, whole.reason
    if whole.high <= bound:
        return Verdict.HOLDS, f"{interval} lies below {number(bound)}"
    if whole.low > bound and later.low <= bound:
        seen = f"[{number(later.low)}, {number(later.high)}] from width {later.widths_used[0]} on"
        return Verdict.UNDECIDED, f"{interval} lies above {number(bound)}, but not that of larger widths, {seen}"
    if whole.low > bound and moved > WIDE:
        narrow = f"training changes the kernel by {number(moved)} of its size at width {later.widths_used[0]}"
        return Verdict.UNDECIDED, f"{interval} lies above {number(bound)}, but these are not wide networks: {narrow}"
    if whole.low > bound:
        return Verdict.VIOLATED, f"{interval} lies above {number(bound)}, and so does that of the larger widths"
    return Verdict.UNDECIDED, f"{interval} contains {number(bound)}"


def lost(paths: tuple[Paths, ...], verdict: Verdict, reason: str) -> tuple[Verdict, str]:
    """Networks that are left out may be those that contradict."""
    found = {one.width: one.lost for one in paths if one.lost}
    if not found:
        return verdict, reason
    counts = ", ".join(f"{count} at width {width}" for width, count in found.items())
    return Verdict.UNDECIDED, f"networks that diverged or whose F_0ᵀF_0 is not proved positive definite: {counts}"


def kernel_moved(paths: tuple[Paths, ...], fit: Fit) -> float:
    """‖A_t − A_0‖/‖A_0‖ after training at the first of the larger widths, on average."""
    used = fit.later.widths_used
    return next((mean_of(one.kernel[:, -1]).distance for one in paths if used and one.width == used[0]), 0.0)


def observed(given: Fit, last: ErrorAtWidth) -> tuple[str, str]:
    """The exponent, and its interval with what is seen at the largest width."""
    fit = given.whole
    return (
        "no fit" if math.isnan(fit.exponent) else f"exponent {number(fit.exponent)}",
        f"95% bootstrap interval [{number(fit.low)}, {number(fit.high)}]; at the largest width "
        f"{number(last.distance)} ± {number(last.standard_error, 1)}",
    )
