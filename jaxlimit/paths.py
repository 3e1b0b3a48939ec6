"""The two answers in one family of types: sampled paths at width N, and a Gaussian law at N = ∞.

Statistics compare these types and never learn who made them.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple, Self

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Float, Int

from jaxlimit._arguments import require
from jaxlimit._typing import Host, RandomKey


class Draws(NamedTuple):
    """Which random numbers replicas are made of: `stream` names their source and key, `replicas` their numbers.

    `half` is 0 or 1 for networks made of every other sample and half of the neurons of others, as in `antithetic`:
    the two halves share nothing. A width is no part of it, as a wider network contains the draws of a narrower one.

        >>> from jaxlimit.paths import Draws
        >>> Draws("simulate, key 0", range(0, 10)).shared(Draws("simulate, key 0", range(8, 20)))
        range(8, 10)
    """

    stream: str
    replicas: range
    half: int | None = None

    @classmethod
    def of(cls, source: str, key: RandomKey, replicas: range, half: int | None = None) -> "Draws":
        """What `source` draws from this key."""
        name = f"{jax.random.key_impl(key)} {np.asarray(jax.random.key_data(key)).tolist()}"
        return cls(f"{source}, {name}", replicas, half)

    def shared(self, other: "Draws") -> range:
        """The replicas that both have; none where the streams differ."""
        apart = self.stream != other.stream or {self.half, other.half} == {0, 1}
        first, last = max(self.replicas.start, other.replicas.start), min(self.replicas.stop, other.replicas.stop)
        return range(0) if apart else range(first, max(first, last))


class Samples(eqx.Module):
    """Outputs of independent networks at the save times, and what is needed to trust them.

    `values` [replicas, times, points] holds the outputs on the data, then on the extra inputs `at`.
    `observed` is the pytree of the user's observable, with leading axes [replicas, times].
    `steps` [times] counts the SGD steps done at each save time. `diverged_at` [replicas] is the step
    at which a replica first produced a non-finite residual or saved output, −1 where it never did. `error`
    [replicas, times] is a method's own estimate of its error, None for the exact chain; `forced` [replicas]
    counts the blocks of `SStep` whose error exceeded their share of its tolerance at the shortest length. `lanes` is
    the number of replicas computed together: bits depend on it, so it is part of a result's identity. `width` is
    a tuple for networks with several hidden layers.

    Paths of a limit have the width ∞ (`math.inf`) and `steps` 0: there is no network. `repeats` are then the same paths
    with other draws of a kernel that is a Monte Carlo estimate, as in `GaussianPath`; empty everywhere else.
    `draws` identifies the random numbers, by which `compare_samples` knows dependent samples; None in those made by
    hand. `devices` names the kinds of devices that computed them, as "cpu", or
    began to, where a store kept them; empty in those made by hand, of limits and of sweeps, whose notes have them.
    """

    ts: Float[Host, " times"]
    values: Float[Host, "replicas times points"]
    observed: Any
    steps: Int[Host, " times"]
    diverged_at: Int[Host, " replicas"]
    method: str = eqx.field(static=True)
    width: Any = eqx.field(static=True)
    lanes: int = eqx.field(static=True)
    error: Float[Host, "replicas times"] | None = None
    forced: Int[Host, " replicas"] | None = None
    repeats: tuple["Samples", ...] = ()
    draws: Draws | None = eqx.field(static=True, default=None)
    devices: str = eqx.field(static=True, default="")

    @property
    def replicas(self) -> int:
        """Number of independent networks."""
        return self.values.shape[0]

    @property
    def cost(self) -> int:
        """Neuron-steps of one replica, width × steps, as of the exact chain whatever the method; 0 of a limit."""
        steps = int(self.steps[-1])
        return int(np.sum(self.width)) * steps if steps else 0

    @property
    def diverged(self) -> int:
        """Number of replicas that left the finite numbers."""
        return int(np.sum(self.diverged_at >= 0))

    def during(self, times: slice) -> Self:
        """The same replicas at some of the save times, with their repeats.

        A replica that diverged after the last of them has not diverged.

        >>> import numpy as np, jaxlimit as jl
        >>> values, steps, at = np.array([[[0.5], [np.inf]]]), np.array([10, 20]), np.array([17])
        >>> samples = jl.Samples(np.array([1.0, 2.0]), values, None, steps, at, "Stepwise", 10, 1)
        >>> samples.during(slice(1)).values.tolist(), samples.diverged, samples.during(slice(1)).diverged
        ([[[0.5]]], 1, 0)
        """
        steps = self.steps[times]
        later = self.diverged_at > (steps[-1] if len(steps) else -1)
        return replace(
            self,
            ts=self.ts[times],
            values=self.values[:, times],
            observed=jax.tree.map(lambda leaf: leaf[:, times], self.observed),
            steps=steps,
            diverged_at=np.where(later, -1, self.diverged_at),
            error=None if self.error is None else self.error[:, times],
            repeats=tuple(other.during(times) for other in self.repeats),
        )

    def marginal(self, points: slice | Sequence[int]) -> Self:
        """The same replicas at some of the points, with their repeats; `observed` and `error` are those of all points.

        >>> import numpy as np, jaxlimit as jl
        >>> values, at = np.array([[[1.0, 2.0, 3.0]]]), np.array([-1])
        >>> samples = jl.Samples(np.array([1.0]), values, None, np.array([10]), at, "Stepwise", 10, 1)
        >>> samples.marginal(slice(1, None)).values.tolist(), samples.marginal([2, 0]).values.tolist()
        ([[[2.0, 3.0]]], [[[3.0, 1.0]]])
        """
        others = tuple(other.marginal(points) for other in self.repeats)
        return replace(self, values=self.values[:, :, _chosen(points)], repeats=others)

    def __repr__(self) -> str:
        """One line for the repeats, not one for each of their fields."""
        return _brief(self)


class GaussianPath(eqx.Module):
    """Gaussian marginal laws N(mean_t, covariance_t) at each save time.

    `mean` [times, points], `covariance` [times, points, points]; a deterministic limit has zero
    covariance. `repeats` is empty for a law that is known. Where its kernel is a Monte Carlo estimate they are the
    same law from other, independent draws: what they spread is the error of this one, and `compare` counts it.
    Raises ``ValueError`` if the shapes do not fit together, or for a single repeat.

        >>> import numpy as np, jaxlimit as jl
        >>> law = jl.paths.GaussianPath(np.array([0.0]), np.zeros((1, 2)), np.eye(2)[None])
        >>> law.standard_deviation.tolist()
        [[1.0, 1.0]]
    """

    ts: Float[Host, " times"]
    mean: Float[Host, "times points"]
    covariance: Float[Host, "times points points"]
    repeats: tuple["GaussianPath", ...] = ()

    def __check_init__(self) -> None:
        """The three arrays, and those of the repeats, must agree on times and points."""
        require(np.ndim(self.mean) == 2, "mean", "have shape [times, points]", f"it is {np.shape(self.mean)}")
        times, points = self.mean.shape
        fits = self.ts.shape == (times,) and self.covariance.shape == (times, points, points)
        finite = bool(np.all(np.isfinite(self.mean)) and np.all(np.isfinite(self.covariance)))
        require(finite, "mean, covariance", "be finite", "some entries are NaN or infinite")
        require(fits, "covariance", "have shape [times, points, points]", f"it is {self.covariance.shape}")
        same = all(other.mean.shape == (times, points) for other in self.repeats)
        require(same, "repeats", f"have {times} times and {points} points like `mean`", "some have others")
        count = len(self.repeats)
        require(count != 1, "repeats", "be at least 2 or none (one shows no spread)", f"it is {count}")

    @property
    def standard_deviation(self) -> Float[Host, "times points"]:
        """Square root of the diagonal of each covariance; rounding below zero counts as zero."""
        return np.sqrt(np.maximum(np.diagonal(self.covariance, axis1=1, axis2=2), 0.0))

    @property
    def mean_standard_error(self) -> Float[Host, "times points"]:
        """Standard error of `mean` from the draws of the kernel; zero for a law that is known.

        For R repeats it is their standard deviation, R − 1 degrees of freedom. What is left out is the bias of the
        law of an estimated kernel, of order 1/neurons where this is of order neurons^{−1/2}.
        """
        return spread([other.mean for other in self.repeats], self.mean)

    @property
    def covariance_standard_error(self) -> Float[Host, "times points points"]:
        """Standard error of `covariance`, entry by entry, as `mean_standard_error`."""
        return spread([other.covariance for other in self.repeats], self.covariance)

    @property
    def standard_deviation_standard_error(self) -> Float[Host, "times points"]:
        """Standard error of `standard_deviation`, as `mean_standard_error`."""
        return spread([other.standard_deviation for other in self.repeats], self.standard_deviation)

    def during(self, times: slice) -> "GaussianPath":
        """The law at some of the save times, with its repeats.

        >>> import numpy as np, jaxlimit as jl
        >>> law = jl.paths.GaussianPath(np.arange(3.0), np.zeros((3, 1)), np.ones((3, 1, 1)))
        >>> law.during(slice(1, None)).ts.tolist()
        [1.0, 2.0]
        """
        others = tuple(other.during(times) for other in self.repeats)
        return GaussianPath(self.ts[times], self.mean[times], self.covariance[times], others)

    def marginal(self, points: slice | Sequence[int]) -> "GaussianPath":
        """The law of some of the points, with its repeats.

        >>> import numpy as np, jaxlimit as jl
        >>> law = jl.paths.GaussianPath(np.array([0.0]), np.zeros((1, 3)), np.diag([1.0, 4.0, 9.0])[None])
        >>> law.marginal([2, 0]).standard_deviation.tolist()
        [[3.0, 1.0]]
        """
        which = _chosen(points)
        others = tuple(other.marginal(points) for other in self.repeats)
        return GaussianPath(self.ts, self.mean[:, which], self.covariance[:, which][:, :, which], others)

    def __repr__(self) -> str:
        """One line for the repeats, not one for each of their fields."""
        return _brief(self)


def _chosen(points: slice | Sequence[int]) -> slice | Int[Host, " chosen"]:
    """What indexes an axis of points; raises ``ValueError`` for anything but a slice or whole numbers."""
    if isinstance(points, slice):
        return points
    found = np.asarray(points)
    whole = found.ndim == 1 and found.dtype.kind in "iub"
    require(whole, "points", "be a slice or a list of indices", f"it is {points!r}")
    return np.flatnonzero(found) if found.dtype.kind == "b" else found


class _Count:
    """What is printed in place of repeats."""

    def __init__(self, repeats: int):
        self.repeats = repeats

    def __repr__(self) -> str:
        return f"<{self.repeats} repeats>"


def _brief(path: Samples | GaussianPath) -> str:
    """Its fields, repeats only counted."""
    short = eqx.tree_at(lambda whole: whole.repeats, path, _Count(len(path.repeats))) if path.repeats else path
    return eqx.tree_pformat(short)


def spread(repeats: Sequence[Host], answer: Host) -> Host:
    """Standard deviation over independent repeats of an answer; zeros in its shape where there are none."""
    return np.std(np.stack(repeats), axis=0, ddof=1) if len(repeats) else np.zeros_like(answer, dtype=np.float64)
