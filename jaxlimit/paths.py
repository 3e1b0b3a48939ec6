"""The two answers in one family of types: sampled paths at width N, and a Gaussian law at N = ∞.

Statistics compare these types and never learn who made them.
"""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from jaxlimit._arguments import require
from jaxlimit._typing import Host


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

    @property
    def replicas(self) -> int:
        """Number of independent networks."""
        return self.values.shape[0]

    @property
    def cost(self) -> int:
        """Neuron-steps of one replica, width × steps: what the exact chain pays for, whatever the method."""
        return int(np.sum(self.width)) * int(self.steps[-1])

    @property
    def diverged(self) -> int:
        """Number of replicas that left the finite numbers."""
        return int(np.sum(self.diverged_at >= 0))


class GaussianPath(eqx.Module):
    """Gaussian marginal laws N(mean_t, covariance_t) at each save time.

    `mean` [times, points], `covariance` [times, points, points]; a deterministic limit has zero
    covariance. Raises ``ValueError`` if the shapes do not fit together.

        >>> import numpy as np, jaxlimit as jl
        >>> law = jl.paths.GaussianPath(np.array([0.0]), np.zeros((1, 2)), np.eye(2)[None])
        >>> law.standard_deviation.tolist()
        [[1.0, 1.0]]
    """

    ts: Float[Host, " times"]
    mean: Float[Host, "times points"]
    covariance: Float[Host, "times points points"]

    def __check_init__(self) -> None:
        """The three arrays must agree on times and points."""
        require(np.ndim(self.mean) == 2, "mean", "have shape [times, points]", f"it is {np.shape(self.mean)}")
        times, points = self.mean.shape
        fits = self.ts.shape == (times,) and self.covariance.shape == (times, points, points)
        finite = bool(np.all(np.isfinite(self.mean)) and np.all(np.isfinite(self.covariance)))
        require(finite, "mean, covariance", "be finite", "some entries are NaN or infinite")
        require(fits, "covariance", "have shape [times, points, points]", f"it is {self.covariance.shape}")

    @property
    def standard_deviation(self) -> Float[Host, "times points"]:
        """Square root of the diagonal of each covariance; rounding below zero counts as zero."""
        return np.sqrt(np.maximum(np.diagonal(self.covariance, axis1=1, axis2=2), 0.0))
