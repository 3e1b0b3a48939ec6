"""Moments of any number of replicas, batch by batch, in memory that does not grow."""

import dataclasses
from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import instance, require
from jaxlimit._typing import Host
from jaxlimit.paths import Samples
from jaxlimit.statistics._batch import Run, finite_batch


class Moments(eqx.Module):
    """Mean, covariance and what their errors need, of all replicas added so far; start from ``Moments()``.

    Sums of powers of deviations from the mean are merged by Pébay's formulas, in float64: with
    δ = x̄_B − x̄_A and n = n_A + n_B,

        Σ(x − x̄)(x − x̄)ᵀ = A₂ + B₂ + δδᵀ n_A n_B/n,

    and likewise for the third and fourth powers. No sum is ever taken about a distant origin, so
    nothing cancels where the mean is large, and 10⁶ replicas cost no accuracy. The order of merging
    changes rounding only. Memory is times × points² whatever the number of replicas.

    `replicas` [int] counts what is in the sums. A replica that diverged, or holds a value that is not
    finite, is left out at all times and counted in `diverged`: the moments are those GIVEN that a
    network does not diverge. Raises ``ValueError`` for samples of other times, points or width.
    Source: references `pebay2008`.

        >>> import numpy as np
        >>> from jaxlimit import paths, statistics
        >>> rng, ts, steps = np.random.default_rng(0), np.array([1.0]), np.array([100])
        >>> moments = statistics.Moments()
        >>> for _ in range(10):
        ...     values = 3.0 + rng.standard_normal((1000, 1, 2))
        ...     samples = paths.Samples(ts, values, None, steps, np.full(1000, -1), "Stepwise", 100, 1)
        ...     moments = moments.add(samples)
        >>> moments.replicas, moments.standard_error.round(2).tolist()
        (10000, [[0.01, 0.01]])
        >>> bool(np.all(np.abs(moments.mean - 3.0) < 5 * moments.standard_error))
        True
        >>> bool(np.all(np.abs(moments.variance - 1.0) < 5 * moments.variance_error))
        True
    """

    ts: Float[Host, " times"] = eqx.field(default_factory=lambda: np.zeros(0))
    mean: Float[Host, "times points"] = eqx.field(default_factory=lambda: np.zeros((0, 0)))
    products: Float[Host, "times points points"] = eqx.field(default_factory=lambda: np.zeros((0, 0, 0)), repr=False)
    cubes: Float[Host, "times points"] = eqx.field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    fourths: Float[Host, "times points"] = eqx.field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    replicas: int = eqx.field(static=True, default=0)
    diverged: int = eqx.field(static=True, default=0)
    width: Any = eqx.field(static=True, default=None)

    def add(self, samples: Samples) -> "Moments":
        """These moments and those of one more batch."""
        run, values, diverged = finite_batch(samples)
        count = values.shape[2]
        mean = np.mean(values, axis=2) if count else np.zeros(values.shape[:2])
        deviations = values - mean[:, :, None]
        squares = deviations * deviations
        products = deviations @ np.swapaxes(deviations, 1, 2)
        cubes, fourths = (np.einsum("tpr,tpr->tp", squares, other) for other in (deviations, squares))
        return self._merge(Moments(run.ts, mean, products, cubes, fourths, count, diverged, run.width), "samples")

    def merge(self, other: "Moments") -> "Moments":
        """These moments and others of the same run, as if all replicas had been added to one."""
        return self._merge(instance("other", other, Moments), "other")

    def _merge(self, b: "Moments", name: str) -> "Moments":
        """Pébay's formulas; `name` is what errors call the other side."""
        if not self.ts.size or not b.ts.size:
            return self if self.ts.size else b
        self._run.require_same(name, b._run)
        diverged = self.diverged + b.diverged
        if not self.replicas or not b.replicas:
            return dataclasses.replace(self if self.replicas else b, diverged=diverged)
        n_a, n_b = float(self.replicas), float(b.replicas)
        n = n_a + n_b
        delta = b.mean - self.mean
        a2, b2 = _diagonal(self.products), _diagonal(b.products)
        cubes = self.cubes + b.cubes + delta**3 * (n_a * n_b * (n_a - n_b) / n**2)
        cubes += 3.0 * delta * (n_a * b2 - n_b * a2) / n
        fourths = self.fourths + b.fourths + delta**4 * (n_a * n_b * (n_a**2 - n_a * n_b + n_b**2) / n**3)
        fourths += 6.0 * delta**2 * (n_a**2 * b2 + n_b**2 * a2) / n**2
        fourths += 4.0 * delta * (n_a * b.cubes - n_b * self.cubes) / n
        products = self.products + b.products + delta[:, :, None] * delta[:, None, :] * (n_a * n_b / n)
        mean, replicas = self.mean + delta * (n_b / n), self.replicas + b.replicas
        return Moments(self.ts, mean, products, cubes, fourths, replicas, diverged, self.width)

    @property
    def covariance(self) -> Float[Host, "times points points"]:
        """Unbiased covariance of the points at each time."""
        self._require(2)
        return self.products / (self.replicas - 1)

    @property
    def variance(self) -> Float[Host, "times points"]:
        """The diagonal of the covariance."""
        return _diagonal(self.covariance)

    @property
    def third(self) -> Float[Host, "times points"]:
        """Third central moment Σ(x − x̄)³/n; without an error of its own, which would need the sixth."""
        self._require(1)
        return self.cubes / self.replicas

    @property
    def fourth(self) -> Float[Host, "times points"]:
        """Fourth central moment Σ(x − x̄)⁴/n, on which `variance_error` rests; without an error of its own."""
        self._require(1)
        return self.fourths / self.replicas

    @property
    def standard_error(self) -> Float[Host, "times points"]:
        """Standard error of the mean, √(variance/n)."""
        return np.sqrt(self.variance / self.replicas)

    @property
    def covariance_error(self) -> Float[Host, "times points points"]:
        """Standard error of the covariance: that of the variances on the diagonal, an upper bound elsewhere.

        Var s_pq = μ₂₂/n − (n − 2)s²_pq/(n(n − 1)) + s_pp s_qq/(n(n − 1)), where the mixed moment μ₂₂ is not
        kept and is bounded by √(μ₄(p) μ₄(q)) (Cauchy–Schwarz; equality for p = q).
        """
        s, n = self.covariance, self.replicas
        fourth, variance = np.sqrt(self.fourth), _diagonal(s)
        mixed = fourth[:, :, None] * fourth[:, None, :]
        rest = (variance[:, :, None] * variance[:, None, :] - (n - 2) * s**2) / (n - 1)
        return np.sqrt(np.maximum(mixed + rest, 0.0) / n)

    @property
    def variance_error(self) -> Float[Host, "times points"]:
        """Standard error of the variances, √((μ₄ − (n − 3)s⁴/(n − 1))/n): for any law, not only Gaussian ones."""
        return _diagonal(self.covariance_error)

    @property
    def _run(self) -> Run:
        return Run(self.ts, self.mean.shape[1], self.width)

    def _require(self, count: int) -> None:
        wanted = f"hold at least {count} finite replica(s)"
        require(self.replicas >= count, "moments", wanted, f"they hold {self.replicas} ({self.diverged} diverged)")


def _diagonal(matrices: Float[Host, "times points points"]) -> Float[Host, "times points"]:
    return np.diagonal(matrices, axis1=1, axis2=2)
