"""Quantiles and distances of any number of replicas, from counts in bins that are fixed once."""

from dataclasses import replace
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Float, Int

from jaxlimit._arguments import instance, positive_integer, require
from jaxlimit._typing import Host
from jaxlimit.paths import GaussianPath, Samples
from jaxlimit.statistics._base import probability
from jaxlimit.statistics._batch import Run, finite_batch
from jaxlimit.statistics._compare import SHARE
from jaxlimit.statistics._kolmogorov_smirnov import KolmogorovSmirnov
from jaxlimit.statistics._running_moments import Moments

MOST_BINS = 2**24
"""Finer than float32 outputs can fill; 128 MB for every time and point."""


class QuantileBounds(NamedTuple):
    """An estimated quantile [times, points], and [low, high] that covers the true one at the stated level."""

    estimate: Float[Host, "times points"]
    low: Float[Host, "times points"]
    high: Float[Host, "times points"]


class DistanceBounds(NamedTuple):
    """Kolmogorov–Smirnov distances [times, points], of the samples and of the law they come from.

    The samples' own distance lies in [sample_low, sample_high] for certain; that of their law lies in
    [low, high] at the stated level.
    """

    sample_low: Float[Host, "times points"]
    sample_high: Float[Host, "times points"]
    low: Float[Host, "times points"]
    high: Float[Host, "times points"]


class Quantiles(eqx.Module):
    """Counts of all replicas added so far in fixed bins, at every time and point; start from `around`.

    Bin k counts the values in [edge_{k−1}, edge_k); the first and the last bin are open, and the
    smallest and largest values are kept. Counts are integers, so the order of adding and merging
    changes nothing, not even a bit. Memory is times × points × bins whatever the number of replicas.

    The edges decide how narrow an answer is, never whether it is right: all answers are widened to bin edges.
    A replica that diverged, or holds a value that is not finite, is left out at all times and counted in
    `diverged`. Raises ``ValueError`` for samples of other times, points or width.

        >>> import numpy as np
        >>> from jaxlimit import paths, statistics
        >>> rng, ts, steps = np.random.default_rng(0), np.array([1.0]), np.array([100])
        >>> law = paths.GaussianPath(ts, np.zeros((1, 2)), np.eye(2)[None])
        >>> quantiles = statistics.Quantiles.around(law)
        >>> for _ in range(10):
        ...     values = rng.standard_normal((1000, 1, 2))
        ...     samples = paths.Samples(ts, values, None, steps, np.full(1000, -1), "Stepwise", 100, 1)
        ...     quantiles = quantiles.add(samples)
        >>> estimate, low, high = quantiles.quantile(0.975, level=0.999)
        >>> bool(np.all((low < 1.96) & (1.96 < high))), bool(np.all(high - low < 0.2))
        (True, True)
        >>> bool(np.all(quantiles.distance(law).sample_high < 0.02))
        True
    """

    ts: Float[Host, " times"]
    edges: Float[Host, "times points edges"] = eqx.field(repr=False)
    counts: Int[Host, "times points bins"] = eqx.field(repr=False)
    smallest: Float[Host, "times points"]
    largest: Float[Host, "times points"]
    replicas: int = eqx.field(static=True, default=0)
    diverged: int = eqx.field(static=True, default=0)
    width: Any = eqx.field(static=True, default=None)

    @classmethod
    def around(cls, source: GaussianPath | Samples, bins: int = 2048) -> "Quantiles":
        """Empty counts in `bins` bins of equal probability under a Gaussian law.

        The law is given, or is the one with the mean and the variances of pilot samples, which are not
        counted; adding them later is allowed. Good values: 2048 bins, about as fine as the noise of 10⁶
        replicas at the median. Raises ``ValueError`` for a law without variance (use a pilot), and for
        a pilot of fewer than 2 finite replicas.
        """
        number = positive_integer("bins", bins)
        require(number >= 2, "bins", "be at least 2", f"it is {number}")
        require(number <= MOST_BINS, "bins", f"be at most {MOST_BINS}", f"it is {number}")
        if isinstance(source, Samples):
            pilot = Moments().add(source)
            ts, mean, deviation, width = pilot.ts, pilot.mean, np.sqrt(pilot.variance), pilot.width
        else:
            law = instance("source", source, GaussianPath, "be a GaussianPath or pilot Samples")
            _require_variance("source", law, "give pilot Samples instead")
            ts, mean, deviation, width = np.asarray(law.ts, np.float64), law.mean, law.standard_deviation, None
        inner = scipy.special.ndtri(np.arange(1, number) / number)
        edges = mean[:, :, None] + deviation[:, :, None] * inner
        counts = np.zeros((*mean.shape, number), dtype=np.int64)
        return cls(ts, edges, counts, np.full(mean.shape, np.inf), np.full(mean.shape, -np.inf), 0, 0, width)

    def add(self, samples: Samples) -> "Quantiles":
        """These counts and those of one more batch."""
        run, values, diverged = finite_batch(samples)
        self._run.require_same("samples", run)
        count = values.shape[2]
        values = np.sort(values, axis=2)
        # Of few edges in many sorted values each search is cheap: faster than looking up every value among the edges.
        below = [
            [np.searchsorted(column, edges) for column, edges in zip(rows, grids, strict=True)]
            for rows, grids in zip(values, self.edges, strict=True)
        ]
        smallest, largest = (values[:, :, 0], values[:, :, -1]) if count else (np.inf, -np.inf)
        return Quantiles(
            self.ts,
            self.edges,
            self.counts + np.diff(np.array(below), axis=2, prepend=0, append=count),
            np.minimum(self.smallest, smallest),
            np.maximum(self.largest, largest),
            self.replicas + count,
            self.diverged + diverged,
            run.width,
        )

    def merge(self, other: "Quantiles") -> "Quantiles":
        """These counts and others in the same bins."""
        b = instance("other", other, Quantiles)
        self._run.require_same("other", b._run)
        require(np.array_equal(self.edges, b.edges), "other", "have the same bins", "its edges differ")
        return Quantiles(
            self.ts,
            self.edges,
            self.counts + b.counts,
            np.minimum(self.smallest, b.smallest),
            np.maximum(self.largest, b.largest),
            self.replicas + b.replicas,
            self.diverged + b.diverged,
            self.width if b.width is None else b.width,
        )

    def quantile(self, q: float, level: float = 0.95) -> QuantileBounds:
        """The q-quantile at every time and point, with [low, high] that covers the true one at `level`, for any law.

        The number of values up to the true quantile is binomial, so the order statistics X_(l), X_(u)
        enclose it with probability ≥ `level`, where P(Bin(n, q) < l) ≤ (1 − level)/2 and
        P(Bin(n, q) ≥ u) ≤ (1 − level)/2; each is then moved outwards to the edge of its bin. Where n is
        too small for such an l or u, the end is infinite. Each time and point is covered on its own. The
        estimate interpolates within its bin. Raises ``ValueError`` where nothing has been added.
        """
        q, tail = probability("q", q), 0.5 * (1.0 - probability("level", level))
        n = self._filled()
        first, last = int(scipy.stats.binom.ppf(tail, n, q)), int(scipy.stats.binom.isf(tail, n, q)) + 1
        low = self._enclosure(first)[0] if first >= 1 else np.full(self.smallest.shape, -np.inf)
        high = self._enclosure(last)[1] if last <= n else np.full(self.smallest.shape, np.inf)
        left, right, share = self._enclosure(min(max(int(np.ceil(q * n)), 1), n))
        return QuantileBounds(np.clip(left + share * (right - left), low, high), low, high)

    @property
    def rank_error(self) -> Float[Host, "times points"]:
        """The share of the fullest bin: by so much at the most do the bins, beside the noise, move a rank outwards."""
        return np.max(self.counts, axis=2) / self._filled()

    def distance(self, law: GaussianPath, level: float = 0.95) -> DistanceBounds:
        """Bounds of the Kolmogorov–Smirnov distance sup |F − G| to a Gaussian law G at every time and point.

        At an edge e the share F_n(e−) of smaller values is known, and between two edges F_n and G stay
        between their values there:

            max_k |F_n(e_k−) − G(e_k)|  ≤  sup |F_n − G|  ≤  max_k max(F_n(e_k−) − G(e_{k−1}), G(e_k) − F_n(e_{k−1}−)).

        The two differ by no more than the fullest bin, of the samples or of G, whichever is less full.
        `low` and `high` are these moved outwards by the quantile at `level` of sup |F_n − F|, F the law
        of the samples. Each time and point is covered on its own. A law with repeats, from a kernel by `MonteCarlo`,
        moves `low` and `high` further outwards: by Student's quantile, for a tenth of 1 − level, times the root mean
        square of what the distance changes from repeat to repeat. Raises ``ValueError`` for a law of other times or
        points or without variance, and where nothing has been added.
        """
        instance("law", law, GaussianPath)
        if law.repeats:
            tail = SHARE * (1.0 - probability("level", level))
            own, *others = (self.distance(replace(one, repeats=()), level + tail) for one in (law, *law.repeats))
            error = np.sqrt(np.mean([np.square(other.sample_high - own.sample_high) for other in others], axis=0))
            moved = -float(scipy.special.stdtrit(len(others), 0.5 * tail)) * error
            return own._replace(low=np.maximum(own.low - moved, 0.0), high=np.minimum(own.high + moved, 1.0))
        _require_variance("law", law, "measure against a deterministic limit with statistics.pathwise")
        self._run.require_same("law", Run(np.asarray(law.ts, np.float64), law.mean.shape[1], None))
        n, critical = self._filled(), KolmogorovSmirnov().critical(1.0 - probability("level", level), self.replicas)
        share = np.cumsum(self.counts, axis=2) / n
        share = np.concatenate([np.zeros((*share.shape[:2], 1)), share], axis=2)
        cdf = scipy.special.ndtr((self._ends() - law.mean[:, :, None]) / law.standard_deviation[:, :, None])
        above, under = share[:, :, 1:] - cdf[:, :, :-1], cdf[:, :, 1:] - share[:, :, :-1]
        sample_high = np.max(np.maximum(above, under), axis=2)
        sample_low = np.max(np.abs(share - cdf), axis=2)
        low, high = np.maximum(sample_low - critical, 0.0), np.minimum(sample_high + critical, 1.0)
        return DistanceBounds(sample_low, sample_high, low, high)

    def _enclosure(self, rank: int) -> tuple[Host, Host, Host]:
        """Both ends of the bin of the rank-th smallest value, and the share of the bin to the left of that value."""
        total = np.cumsum(self.counts, axis=2)
        k = np.sum(total < rank, axis=2, keepdims=True)
        inside, ends = np.take_along_axis(self.counts, k, axis=2), self._ends()
        before = np.take_along_axis(total, k, axis=2) - inside
        left, right = (np.take_along_axis(ends, k + side, axis=2)[:, :, 0] for side in (0, 1))
        return left, right, ((rank - before - 0.5) / inside)[:, :, 0]

    def _ends(self) -> Float[Host, "times points ends"]:
        """The ends of all bins, no farther out than the smallest and the largest value."""
        edges = np.clip(self.edges, self.smallest[:, :, None], self.largest[:, :, None])
        return np.concatenate([self.smallest[:, :, None], edges, self.largest[:, :, None]], axis=2)

    def _filled(self) -> int:
        found = f"they hold none ({self.diverged} diverged)"
        require(self.replicas > 0, "quantiles", "hold at least 1 finite replica", found)
        return self.replicas

    @property
    def _run(self) -> Run:
        return Run(self.ts, self.smallest.shape[1], self.width)


def _require_variance(name: str, law: GaussianPath, remedy: str) -> None:
    flat = int(np.sum(law.standard_deviation <= 0))
    found = f"{flat} of {law.mean.size} variances are zero; {remedy}"
    require(flat == 0, name, "have positive variance at every time and point", found)
