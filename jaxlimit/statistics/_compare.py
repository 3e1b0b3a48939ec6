"""Samples against a law: one statistic at every save time."""

from collections.abc import Sequence
from dataclasses import replace

import equinox as eqx
import jax
import numpy as np
import scipy.special
from jaxtyping import Float

from jaxlimit._arguments import instance, random_key, require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.paths import GaussianPath, Samples
from jaxlimit.statistics._base import AbstractStatistic, probability
from jaxlimit.statistics._rate import ErrorAtWidth

SHARE = 0.1
"""Of the level, for the error of a law that is not known exactly: all but that is left to the samples."""


FARTHEST = 1e60
"""Standard deviations of the law between a value and its mean: fourth powers of such numbers do not overflow."""


class Comparison(eqx.Module):
    """A distance at every save time, with what is needed to doubt it.

    `distance` [times] is the maximum of `distances` [times, points]. `p_value` [times] is simultaneous
    over points; a test over times as well rejects where times · p_value ≤ level. `detectable` [times]
    is the true distance which that test, at `level` over all times and points, detects with
    probability `power` or more. `upper` [times, points] are one-sided confidence bounds at `level`,
    each on its own (what an intersection–union test needs); `lower` [times, points] hold all at once
    (Bonferroni over times and points). `margin_error` [times] is the largest upper half-width.
    `null_distance` bounds the distance expected, at this number of replicas, where the law is
    exactly right: the noise floor.

    `law_error` [times, points] is there where the law itself, or one of two samples, comes from a kernel that is a
    Monte Carlo estimate: the root mean square of what a distance changes with other draws of the kernel. All bounds,
    `detectable` and the null distance are then wider by it, see `widened`, and `p_value` is 1 where the lower bounds
    reach zero.
    """

    ts: Float[Host, " times"]
    statistic: str = eqx.field(static=True)
    distance: Float[Host, " times"]
    p_value: Float[Host, " times"]
    detectable: Float[Host, " times"]
    margin_error: Float[Host, " times"]
    distances: Float[Host, "times points"]
    lower: Float[Host, "times points"]
    upper: Float[Host, "times points"]
    null_distance: float = eqx.field(static=True)
    margin: float = eqx.field(static=True)
    replicas: int = eqx.field(static=True)
    points: int = eqx.field(static=True)
    level: float = eqx.field(static=True)
    power: float = eqx.field(static=True)
    law_error: Float[Host, "times points"] | None = None

    @property
    def half_widths(self) -> Float[Host, "times points"]:
        """Upper bound minus distance, time by time and point by point."""
        return self.upper - self.distances

    @property
    def at_width(self) -> ErrorAtWidth:
        """The distance at the last save time as an error to fit a rate to; its floor is the null distance.

        Standard error: the upper half-width at that time divided by the normal quantile of `level`.
        The distance contains its own noise (it is a maximum of absolute values), so it is biased
        upwards near the floor.
        """
        quantile = float(-scipy.special.ndtri(self.level))
        return ErrorAtWidth(float(self.distance[-1]), float(self.margin_error[-1]) / quantile, self.null_distance)


def compare(
    samples: Samples,
    law: GaussianPath,
    statistic: AbstractStatistic,
    key: RandomKey | None = None,
    level: float = 0.01,
    power: float = 0.95,
) -> Comparison:
    """Distance between the samples and the law at every save time.

    A law that carries repeats, from a kernel by `MonteCarlo`, is not known exactly: the bounds count it (`widened`), so
    that its error alone never makes a verdict. Randomised statistics draw from `key`; None is fine for those that do
    not. `level` (below 1/2) and `power` define the bounds and `detectable`, see `Comparison`. Raises ``ValueError`` if
    replicas diverged or values are not finite or 10⁶⁰ standard deviations away, if the times or the points of the two
    differ, for fewer than two replicas, and where the law has no variance (a deterministic limit: use `pathwise`).

        >>> import numpy as np
        >>> from jaxlimit import paths, statistics
        >>> values = np.random.default_rng(0).standard_normal((5000, 1, 2))
        >>> ts, steps, fine = np.array([1.0]), np.array([100]), np.full(5000, -1)
        >>> samples = paths.Samples(ts, values, None, steps, fine, "Stepwise", 100, 1)
        >>> law = paths.GaussianPath(ts, np.zeros((1, 2)), np.eye(2)[None])
        >>> comparison = statistics.compare(samples, law, statistics.KolmogorovSmirnov())
        >>> bool(comparison.distance[0] < 0.03), statistics.equivalence(comparison).verdict.value
        (True, 'HOLDS')
    """
    level, power = probability("level", level), probability("power", power)
    require(level < 0.5, "level", "be smaller than 1/2", f"it is {level:g}")
    key = None if key is None else random_key(key)
    instance("samples", samples, Samples)
    instance("law", law, GaussianPath, "be a GaussianPath, like what `law(ts)` of a limit returns")
    instance("statistic", statistic, AbstractStatistic, "be a statistic, for example KolmogorovSmirnov()")
    values = np.asarray(samples.values)
    _check(samples, values, law)
    if law.repeats:
        known = (replace(one, repeats=()) for one in (law, *law.repeats))
        own, *others = (compare(samples, one, statistic, key, (1.0 - SHARE) * level, power) for one in known)
        return widened(own, others)
    replicas, times, points = values.shape
    readings = [
        statistic.read(
            values[:, t],
            law.mean[t],
            law.covariance[t],
            level,
            times * statistic.entries(points),
            None if key is None else jax.random.fold_in(key, t),
        )
        for t in range(times)
    ]
    return Comparison(
        ts=np.asarray(law.ts, dtype=np.float64),
        statistic=type(statistic).__name__,
        distance=np.array([reading.distance for reading in readings]),
        p_value=np.array([reading.p_value for reading in readings]),
        detectable=np.full(times, statistic.detectable_among(points, replicas, times, level, power)),
        margin_error=np.array([reading.margin_error for reading in readings]),
        distances=np.stack([reading.distances for reading in readings]),
        lower=np.stack([reading.lower for reading in readings]),
        upper=np.stack([reading.upper for reading in readings]),
        null_distance=statistic.null_distance(replicas, points),
        margin=statistic.margin,
        replicas=replicas,
        points=points,
        level=level,
        power=power,
    )


def widened(own: Comparison, others: Sequence[Comparison]) -> Comparison:
    """A comparison with a law that is not known exactly, from those with R repeats of it.

    All are at 1 − `SHARE` of the level. With e the root mean square of (distance to a repeat − distance) at each time
    and point, about √2 standard errors of a distance far from zero, and t_R(q) the quantile of Student's law,

        upper + t_R(1 − s) e,    lower − t_R(1 − s/tests) e    (s = SHARE · level, tests = times · points),

    so that the samples' bounds and the law's share the level. The factor √2 is kept: near zero distances fold, and
    differences show less than the error. `detectable` and the null distance grow likewise. A p-value is that of the
    repeat which agrees best with the samples, and 1 where no lower bound of that time is positive.
    """
    error = np.sqrt(np.mean([np.square(other.distances - own.distances) for other in others], axis=0))
    level, repeats = own.level / (1.0 - SHARE), len(others)
    tails = SHARE * level, SHARE * level / error.size, 1.0 - own.power
    one, all_at_once, powerful = (-float(scipy.special.stdtrit(repeats, tail)) for tail in tails)
    upper, lower = own.upper + one * error, np.maximum(own.lower - all_at_once * error, 0.0)
    best = np.max([comparison.p_value for comparison in (own, *others)], axis=0)
    largest = np.max(error, axis=1)
    return Comparison(
        ts=own.ts,
        statistic=own.statistic,
        distance=own.distance,
        p_value=np.where(np.any(lower > 0, axis=1), best, 1.0),
        detectable=own.detectable + (all_at_once + powerful) * largest,
        margin_error=np.max(upper - own.distances, axis=1),
        distances=own.distances,
        lower=lower,
        upper=upper,
        null_distance=own.null_distance + float(np.max(error)),
        margin=own.margin,
        replicas=own.replicas,
        points=own.points,
        level=level,
        power=own.power,
        law_error=error,
    )


def _check(samples: Samples, values: Host, law: GaussianPath) -> None:
    """The two answers are complete and of the same times and points."""
    require(values.ndim == 3, "samples", "hold values [replicas, times, points]", f"their shape is {values.shape}")
    replicas, times, points = values.shape
    require(replicas >= 2, "samples", "hold at least 2 replicas", f"it holds {replicas}")
    # Times that went through float32 still count as the same times.
    same = law.ts.shape == (times,) and np.allclose(samples.ts, law.ts, rtol=1e-6, atol=0.0)
    require(same, "law", "have the save times of the samples", f"it has {law.ts.tolist()}, they {samples.ts.tolist()}")
    require(law.mean.shape[1] == points, "law", f"have {points} points like the samples", f"it has {law.mean.shape[1]}")
    diverged = np.asarray(samples.diverged_at)
    first = int(np.min(diverged[diverged >= 0], initial=np.iinfo(np.int32).max))
    require(
        samples.diverged == 0,
        "samples",
        "hold no diverged replica",
        f"{samples.diverged} of {replicas} diverged, the first at step {first}",
    )
    bad = ~np.isfinite(values)
    if bad.any():
        t = int(np.argmax(bad.any(axis=(0, 2))))
        count = int(np.sum(bad.any(axis=(1, 2))))
        where = f"first at save time {samples.ts[t]:g}, step {int(samples.steps[t])}"
        require(False, "samples", "be finite", f"{count} of {replicas} replicas hold NaN or infinite values, {where}")
    # Only the extreme values, and halves of them: nothing overflows where that is to be refused.
    extremes = np.stack([np.min(values, axis=0), np.max(values, axis=0)]).astype(np.float64)
    away = np.max(np.abs(0.5 * extremes - 0.5 * law.mean), axis=0)
    half = 0.5 * law.standard_deviation
    with np.errstate(over="ignore"):
        ratio = np.divide(away, half, out=np.zeros_like(away), where=half > 0)
    worst = float(np.max(ratio))
    wanted = f"stay within {FARTHEST:g} standard deviations of the law"
    require(worst <= FARTHEST, "samples", wanted, f"a value is {worst:.2g} of them from its mean")
