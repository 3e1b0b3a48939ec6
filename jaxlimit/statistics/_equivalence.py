"""Verdicts: agreement within a margin is shown, disagreement is shown, or neither is."""

import math
from collections.abc import Sequence

import equinox as eqx
import numpy as np
import scipy.special

from jaxlimit._arguments import finite_number, instance, positive_integer, positive_number, real_array, require
from jaxlimit._typing import ArrayLike
from jaxlimit.claims import Verdict
from jaxlimit.claims import number as text
from jaxlimit.statistics._base import probability
from jaxlimit.statistics._compare import Comparison
from jaxlimit.statistics._rate import Rate

NORMAL = 1000
"""Replicas from which a mean over its standard error counts as normal where a claim would be VIOLATED.

Squares of normals in a variance at the margin: a level of 1% is 4% with 100 replicas, 2.4% with 256, 1.1% with 1000.
"""


class Equivalence(eqx.Module):
    """A verdict with the largest distance seen (`worst`), its largest upper bound, the margin and the reason."""

    verdict: Verdict = eqx.field(static=True)
    worst: float = eqx.field(static=True)
    upper: float = eqx.field(static=True)
    margin: float = eqx.field(static=True)
    reason: str = eqx.field(static=True)


def equivalence(comparison: Comparison, replicas: int = 4096) -> Equivalence:
    """Is every distance, at every time and point, within the statistic's margin?

    HOLDS where every one-sided upper confidence bound is within the margin. This is an
    intersection–union test: the claim "all distances are below the margin" is made only if each
    single test makes it, and whichever distance really lies at or beyond the margin, its own test
    errs with probability at most `comparison.level`. So no correction for the number of tests is
    needed (Berger 1982, Multiparameter hypothesis testing and acceptance sampling, Technometrics 24).
    VIOLATED where some lower bound, simultaneous over times and points, exceeds the margin: wrong
    with probability at most the level. Else UNDECIDED. HOLDS also needs at least `replicas` replicas:
    the bounds of `MeanShift` and `VarianceRatio` are those of large samples, and agreement of few
    replicas is little evidence.

        >>> import numpy as np
        >>> from jaxlimit import paths, statistics
        >>> values = 0.3 + np.random.default_rng(0).standard_normal((5000, 1, 2))
        >>> ts, steps, fine = np.array([1.0]), np.array([100]), np.full(5000, -1)
        >>> samples = paths.Samples(ts, values, None, steps, fine, "Stepwise", 100, 1)
        >>> law = paths.GaussianPath(ts, np.zeros((1, 2)), np.eye(2)[None])
        >>> statistics.equivalence(statistics.compare(samples, law, statistics.MeanShift())).verdict.value
        'VIOLATED'
    """
    needed = positive_integer("replicas", replicas)
    c = instance("comparison", comparison, Comparison)
    margin = c.margin
    worst, upper = float(np.max(c.distances)), float(np.max(c.upper))
    what = "point" if c.distances.shape[1] == c.points else "entry"
    t, p = np.unravel_index(np.argmax(c.lower), c.lower.shape)
    if c.lower[t, p] > margin:
        reason = (
            f"{c.statistic} at t = {text(c.ts[t])}, {what} {p}, is at least {text(c.lower[t, p])}, beyond the margin "
            f"{text(margin)} (simultaneous level {text(c.level)})"
        )
        return Equivalence(Verdict.VIOLATED, worst, upper, margin, reason)
    if upper <= margin and c.replicas >= needed:
        reason = (
            f"every {c.statistic} is at most {text(upper)}, within the margin {text(margin)} (level {text(c.level)})"
        )
        return Equivalence(Verdict.HOLDS, worst, upper, margin, reason)
    if upper <= margin:
        reason = f"every upper bound is within the margin, but {c.replicas} replicas are fewer than the {needed} needed"
        return Equivalence(Verdict.UNDECIDED, worst, upper, margin, reason)
    t, p = np.unravel_index(np.argmax(c.upper), c.upper.shape)
    if c.law_error is not None and c.law_error[t, p] > 0.1 * c.half_widths[t, p]:
        reason = (
            f"{c.statistic} at t = {text(c.ts[t])}, {what} {p}, is {text(c.distances[t, p])} and may be anything up to "
            f"{text(upper)}, beyond the margin {text(margin)}: other draws of the limit's kernel move it by "
            f"{text(c.law_error[t, p])}; a rule with more `neurons`, and more replicas, would settle it"
        )
        return Equivalence(Verdict.UNDECIDED, worst, upper, margin, reason)
    seen, low, high = float(c.distances[t, p]), float(c.lower[t, p]), float(c.upper[t, p])
    reason = (
        f"{c.statistic} at t = {text(c.ts[t])}, {what} {p}, is {text(seen)}, between {text(low)} and {text(high)}, and "
        f"the margin is {text(margin)}; {_remedy(seen, low, high, margin, c.replicas, needed)}"
    )
    return Equivalence(Verdict.UNDECIDED, worst, upper, margin, reason)


def _remedy(seen: float, low: float, high: float, margin: float, replicas: int, needed: int) -> str:
    """Half-widths shrink like 1/√replicas: how many would bring the bound that matters to the margin."""
    gap = margin - seen
    half = high - seen if gap > 0 else seen - low
    factor = (half / gap) ** 2 if gap != 0 else math.inf
    if not factor < 100:
        return "the distance is too close to the margin for more replicas to settle it"
    return f"about {max(needed, math.ceil(replicas * factor))} replicas would settle it"


def rate_verdict(rate: Rate, predicted: float, margin: float = 0.1) -> Equivalence:
    """HOLDS where the whole interval of the exponent lies within ± margin of the predicted one.

    VIOLATED where the interval and that band have no point in common; else UNDECIDED, a refused fit
    included. `worst` is |exponent − predicted|, `upper` the farthest end of the interval.

        >>> from jaxlimit.statistics import Rate, rate_verdict
        >>> fit = Rate(-0.49, -0.53, -0.45, (100, 400, 1600), "", 0.95, 1.0)
        >>> rate_verdict(fit, predicted=-0.5).verdict.value, rate_verdict(fit, predicted=-1.0).verdict.value
        ('HOLDS', 'VIOLATED')
    """
    instance("rate", rate, Rate)
    margin, predicted = positive_number("margin", margin), finite_number("predicted", predicted)
    worst = abs(rate.exponent - predicted)
    upper = max(abs(rate.low - predicted), abs(rate.high - predicted))
    band = f"{text(predicted)} ± {text(margin)}"
    interval = f"the {100 * rate.level:g}% interval [{text(rate.low)}, {text(rate.high)}]"
    if math.isnan(rate.exponent):
        return Equivalence(Verdict.UNDECIDED, worst, upper, margin, rate.reason)
    if upper <= margin:
        return Equivalence(Verdict.HOLDS, worst, upper, margin, f"{interval} lies within {band}")
    if rate.low > predicted + margin or rate.high < predicted - margin:
        return Equivalence(Verdict.VIOLATED, worst, upper, margin, f"{interval} lies outside {band}")
    return Equivalence(
        Verdict.UNDECIDED, worst, upper, margin, f"{interval} is partly inside and partly outside {band}"
    )


def curve_equivalence(
    mean: ArrayLike,
    standard_error: ArrayLike,
    predicted: ArrayLike,
    margin: float,
    level: float = 0.01,
    names: Sequence[str] | None = None,
    replicas: int | None = None,
    needed: int = 4096,
) -> Equivalence:
    """Does a measured curve follow a predicted one within a relative margin at every time?

    HOLDS where |mean − predicted| + z(level)·standard_error ≤ margin·|predicted| at every time (an
    intersection–union test, as in `equivalence`); VIOLATED where somewhere
    |mean − predicted| − z(level/2times)·standard_error > margin·|predicted|; else UNDECIDED. `worst`
    and `upper` are relative to |predicted|. All arrays [times]; the means are taken as normal, so the
    standard errors must come from many replicas: where `replicas` says how many, fewer than `needed` never make it
    HOLDS and fewer than 1000 never VIOLATED, since a few replicas may agree by chance, and then their standard error is
    nearly 0. Without `replicas` that is left to the caller. The reason names the worst entry, "time 3" unless `names`
    has other words. Raises ``ValueError`` for shapes that differ and negative standard errors.

        >>> from jaxlimit.statistics import curve_equivalence
        >>> curve_equivalence([1.01, 0.5], [0.005, 0.005], [1.0, 0.5], margin=0.05).verdict.value
        'HOLDS'
        >>> curve_equivalence([1.5], [0.0], [1.0], margin=0.05, replicas=2).verdict.value
        'UNDECIDED'
    """
    seen, error = real_array("mean", mean, 1), real_array("standard_error", standard_error, 1)
    wanted = real_array("predicted", predicted, 1)
    margin, level = positive_number("margin", margin), probability("level", level)
    needed = positive_integer("needed", needed)
    count = None if replicas is None else positive_integer("replicas", replicas)
    fits = seen.shape == error.shape == wanted.shape
    require(
        fits,
        "mean",
        "have the shape of `standard_error` and `predicted`",
        f"they are {seen.shape}, {error.shape}, {wanted.shape}",
    )
    require(bool(np.all(error >= 0)), "standard_error", "not be negative", f"its smallest entry is {error.min():g}")
    require(names is None or len(names) == seen.size, "names", f"be {seen.size} like `mean`", f"it is {names}")
    called = [f"time {t}" for t in range(seen.size)] if names is None else names
    scale = np.abs(wanted)
    distance = np.abs(seen - wanted)
    upper = _relative(distance + float(-scipy.special.ndtri(level)) * error, scale)
    lower = _relative(distance - float(-scipy.special.ndtri(0.5 * level / seen.size)) * error, scale)
    worst, top = float(np.max(_relative(distance, scale))), float(np.max(upper))
    if np.any(lower > margin):
        t = int(np.argmax(lower))
        if count is not None and count < NORMAL:
            far = f"at {called[t]} the relative error is about {text(_relative(distance, scale)[t])}"
            reason = f"{far}, but {count} replicas are fewer than the {NORMAL} wanted to call it VIOLATED"
            return Equivalence(Verdict.UNDECIDED, worst, top, margin, reason)
        reason = f"at {called[t]} the relative error is at least {text(lower[t])}, beyond the margin {text(margin)}"
        return Equivalence(Verdict.VIOLATED, worst, top, margin, f"{reason} (simultaneous level {text(level)})")
    if top <= margin and count is not None and count < needed:
        reason = f"every bound is within the margin, but {count} replicas are fewer than the {needed} wanted"
        return Equivalence(Verdict.UNDECIDED, worst, top, margin, reason)
    if top <= margin:
        reason = f"every relative error is at most {text(top)}, within the margin {text(margin)} (level {text(level)})"
        return Equivalence(Verdict.HOLDS, worst, top, margin, reason)
    t = int(np.argmax(upper))
    reason = (
        f"at {called[t]} the relative error may be anything up to {text(upper[t])}, and the margin is {text(margin)}"
    )
    return Equivalence(Verdict.UNDECIDED, worst, top, margin, f"{reason}; use more replicas")


def _relative(distance: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """distance/scale, where 0/0 is 0 and anything else over 0 is infinite with the sign of the distance."""
    beyond = np.where(distance == 0, 0.0, np.copysign(np.inf, distance))
    return np.divide(distance, scale, out=beyond, where=scale > 0)
