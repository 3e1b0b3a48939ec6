"""Samples against samples: two widths, two methods, or a method against the exact chain."""

from abc import abstractmethod
from dataclasses import replace
from typing import NamedTuple

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import instance, random_key, require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.paths import Samples
from jaxlimit.statistics._base import Reading, probability
from jaxlimit.statistics._compare import SHARE, Comparison, widened

LARGEST_EXPONENT = 60
"""Of two: sums and squares of such values in float32, fourth powers of them in float64, are far from overflow."""


class PairReading(NamedTuple):
    """What a statistic says of two samples at one save time: a `Reading`, and what it could have seen."""

    reading: Reading
    detectable: float
    null_distance: float


class AbstractTwoSampleStatistic(eqx.Module):
    """A statistic that can also measure two samples against each other; the units of a point do not change it."""

    margin: eqx.AbstractVar[float]

    @abstractmethod
    def read_pair(
        self,
        first: Float[Host, "replicas points"],
        second: Float[Host, "others points"],
        level: float,
        power: float,
        times: int,
        key: RandomKey | None = None,
    ) -> PairReading:
        """Distances with bounds as in `AbstractStatistic.read`; simultaneous over the entries of `times` save times."""


def compare_samples(
    first: Samples,
    second: Samples,
    statistic: AbstractTwoSampleStatistic,
    key: RandomKey | None = None,
    level: float = 0.01,
    power: float = 0.95,
) -> Comparison:
    """Distance between the laws of two independent samples at every save time.

    The numbers of replicas may differ; `Comparison.replicas` is the smaller one. The samples must be
    independent of each other: different keys, or different replicas of one key. Different widths are not enough,
    because a wider network contains the narrower one's draws. `Samples.draws` says where they overlap, which is
    refused; samples made by hand are taken at their word. For coupled paths use `pathwise`. Null laws are
    asymptotic and need no permutations, but for `Sliced`, which takes their mean and variance. Samples with repeats,
    paths of a limit whose kernel comes from `MonteCarlo`, widen the bounds as in `compare`. No distance depends on the
    units of a point: values may be as large or as small as their dtype allows. Raises ``ValueError`` for diverged
    replicas, values that are not finite, fewer than two replicas, shared draws, and times or points that differ.

        >>> import numpy as np
        >>> from jaxlimit import paths, statistics
        >>> rng, ts, steps = np.random.default_rng(0), np.array([1.0]), np.array([100])
        >>> first, second = (
        ...     paths.Samples(ts, x, None, steps, np.full(len(x), -1), "Stepwise", 100, 1)
        ...     for x in (rng.standard_normal((3000, 1, 2)), 0.2 + rng.standard_normal((2000, 1, 2)))
        ... )
        >>> comparison = statistics.compare_samples(first, second, statistics.EnergyDistance())
        >>> bool(comparison.p_value[0] < 1e-6), bool(comparison.lower[0, 0] < 0.28 < comparison.upper[0, 0])
        (True, True)
    """
    level, power = probability("level", level), probability("power", power)
    require(level < 0.5, "level", "be smaller than 1/2", f"it is {level:g}")
    key = None if key is None else random_key(key)
    x, y = _complete("first", first), _complete("second", second)
    wanted = "be a statistic of two samples, for example EnergyDistance(), or WhitenedMoments() for means and variances"
    instance("statistic", statistic, AbstractTwoSampleStatistic, wanted)
    fits = x.shape[1:] == y.shape[1:]
    require(fits, "second", f"have times and points {x.shape[1:]} like `first`", f"it has {y.shape[1:]}")
    same = np.allclose(first.ts, second.ts, rtol=1e-6, atol=0.0)
    wanted = "have the save times of `first`"
    require(bool(same), "second", wanted, f"it has {np.asarray(second.ts).tolist()}")
    _require_independent(first, second, x, y)
    if first.repeats or second.repeats:
        firsts = first.repeats or (first,) * len(second.repeats)
        seconds = second.repeats or (second,) * len(first.repeats)
        known = ((replace(a, repeats=()), replace(b, repeats=())) for a, b in zip(firsts, seconds, strict=False))
        pairs = ((replace(first, repeats=()), replace(second, repeats=())), *known)
        own, *others = (compare_samples(*pair, statistic, key, (1.0 - SHARE) * level, power) for pair in pairs)
        return widened(own, others)
    times = x.shape[1]
    found = [
        statistic.read_pair(
            *_scaled(x[:, t], y[:, t]), level, power, times, None if key is None else jax.random.fold_in(key, t)
        )
        for t in range(times)
    ]
    readings = [pair.reading for pair in found]
    return Comparison(
        ts=np.asarray(first.ts, dtype=np.float64),
        statistic=type(statistic).__name__,
        distance=np.array([reading.distance for reading in readings]),
        p_value=np.array([reading.p_value for reading in readings]),
        detectable=np.array([pair.detectable for pair in found]),
        margin_error=np.array([reading.margin_error for reading in readings]),
        distances=np.stack([reading.distances for reading in readings]),
        lower=np.stack([reading.lower for reading in readings]),
        upper=np.stack([reading.upper for reading in readings]),
        null_distance=max(pair.null_distance for pair in found),
        margin=statistic.margin,
        replicas=min(x.shape[0], y.shape[0]),
        points=x.shape[2],
        level=level,
        power=power,
    )


def _scaled(first: Host, second: Host) -> tuple[Host, Host]:
    """Both in units, powers of two and so exact, in which no square overflows; the usual ones where they do."""
    largest = np.maximum(np.max(np.abs(first), axis=0), np.max(np.abs(second), axis=0))
    exponent = np.frexp(largest.astype(np.float64))[1]
    if np.all(np.abs(exponent) <= LARGEST_EXPONENT):
        return first, second
    return np.ldexp(first.astype(np.float64), -exponent), np.ldexp(second.astype(np.float64), -exponent)


def _require_independent(first: Samples, second: Samples, x: Host, y: Host) -> None:
    """Neither the same draws nor the same numbers; samples made by hand say nothing of their draws."""
    a, b = first.draws, second.draws
    wanted = "be independent of `first`: give it another key, or other replicas (`first=` of simulate)"
    shared = range(0) if a is None or b is None else a.shared(b)
    require(len(shared) == 0, "second", wanted, f"{len(shared)} of its replicas use the same draws, at any width")
    varies = bool(np.any(x[0] != x[-1]))
    require(not (varies and np.array_equal(x, y)), "second", wanted, "its values are those of `first`")


def _complete(name: str, samples: Samples) -> Host:
    values = np.asarray(instance(name, samples, Samples).values)
    require(values.ndim == 3, name, "hold values [replicas, times, points]", f"their shape is {values.shape}")
    require(values.shape[0] >= 2, name, "hold at least 2 replicas", f"it holds {values.shape[0]}")
    wanted, count = "hold no diverged replica", samples.diverged
    require(count == 0, name, wanted, f"{count} of {values.shape[0]} diverged")
    bad = int(np.sum(~np.isfinite(values).all(axis=(1, 2))))
    require(bad == 0, name, "be finite", f"{bad} of {values.shape[0]} replicas hold NaN or infinite values")
    return values
