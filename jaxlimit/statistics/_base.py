"""What a one-sample statistic must offer, and what marginal statistics get for free."""

from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import positive_number, require
from jaxlimit._typing import Host, RandomKey


class Reading(NamedTuple):
    """What a statistic says at one save time, point by point, and all points together.

    `upper` [points] are one-sided confidence bounds of the true distances at the confidence asked
    for, each on its own; `lower` [points] are bounds that hold for all tests at once. `p_value` is
    simultaneous over the points of this save time.
    """

    distances: Host
    lower: Host
    upper: Host
    p_value: float

    @property
    def distance(self) -> float:
        """The largest distance over the points."""
        return float(np.max(self.distances))

    @property
    def margin_error(self) -> float:
        """The largest one-sided half-width, upper bound minus distance, over the points."""
        return float(np.max(self.upper - self.distances))


class AbstractStatistic(eqx.Module):
    """A distance between samples and a Gaussian law at one save time.

    `margin` is the largest distance that still counts as agreement in an equivalence test. A
    statistic may have its own notion of "points" (directions, say): one entry per simultaneous test.
    """

    margin: eqx.AbstractVar[float]

    def __check_init__(self) -> None:
        """A margin is a positive number."""
        positive_number("margin", self.margin)

    @abstractmethod
    def read(
        self,
        values: Float[Host, "replicas points"],
        mean: Float[Host, " points"],
        covariance: Float[Host, "points points"],
        level: float,
        tests: int,
        key: RandomKey | None = None,
    ) -> Reading:
        """Distances with bounds: each `upper` fails with probability ≤ level, any `lower` of `tests` with ≤ level.

        Randomised statistics draw from `key`; None is fine for those that do not.
        """

    @abstractmethod
    def detectable(self, replicas: int, tests: int, level: float, power: float) -> float:
        """The true distance, at one point, that a test at `level` over all `tests` detects with probability ≥ power."""

    @abstractmethod
    def null_distance(self, replicas: int, points: int) -> float:
        """Upper bound of the expected distance, maximum over points, where the law is exactly right."""

    def entries(self, points: int) -> int:
        """How many simultaneous tests one save time holds: one per point, unless a statistic says otherwise."""
        return points

    def detectable_among(self, points: int, replicas: int, times: int, level: float, power: float) -> float:
        """`detectable` for all entries at all times; statistics whose null law depends on the points say it here."""
        return self.detectable(replicas, times * self.entries(points), level, power)


class AbstractMarginalStatistic(AbstractStatistic):
    """A statistic of each point's marginal law N(mean_p, var_p), with a null law that depends on nothing else.

    State the distances with their bounds, the null tail of ONE point and its inverse; the base makes
    the p-value simultaneous by Bonferroni, min(1, points · tail), valid for correlated points.
    """

    @abstractmethod
    def measure(
        self,
        values: Float[Host, "replicas points"],
        mean: Float[Host, " points"],
        deviation: Float[Host, " points"],
        level: float,
        tail: float,
    ) -> tuple[Host, Host, Host]:
        """(distances, lower, upper) [points]: P(upper < truth) ≤ level and P(lower > truth) ≤ tail at each point.

        `deviation` is the law's standard deviation at each point.
        """

    @abstractmethod
    def tail(self, distance: float, replicas: int) -> float:
        """P(distance at one point ≥ this) where the law is exactly right."""

    @abstractmethod
    def critical(self, tail: float, replicas: int) -> float:
        """The distance that one point reaches with probability at most `tail` where the law is exactly right."""

    def read(
        self,
        values: Float[Host, "replicas points"],
        mean: Float[Host, " points"],
        covariance: Float[Host, "points points"],
        level: float,
        tests: int,
        key: RandomKey | None = None,
    ) -> Reading:
        """The marginal distances; raises ``ValueError`` where the law has no variance."""
        distances, lower, upper = self.measure(values, mean, positive_deviation(covariance), level, level / tests)
        p_value = min(1.0, distances.size * self.tail(float(np.max(distances)), values.shape[0]))
        return Reading(distances, lower, upper, p_value)

    def null_distance(self, replicas: int, points: int) -> float:
        """∫_0^1 critical(u/points) du ≥ E max over points, however the points depend on each other.

        Because E max ≤ ∫ min(1, points · tail(x)) dx; 16 Gauss–Legendre nodes, good to about 1%.
        """
        nodes, weights = np.polynomial.legendre.leggauss(16)
        heights = [self.critical(0.5 * (1.0 + u) / points, replicas) for u in nodes]
        return float(0.5 * np.dot(weights, heights))


def positive_deviation(covariance: Float[Host, "points points"]) -> Float[Host, " points"]:
    """The law's standard deviations; raises ``ValueError`` where one of them is zero."""
    variance = np.diagonal(covariance)
    flat = int(np.sum(variance <= 0))
    found = f"{flat} of {variance.size} variances are zero; measure against a deterministic limit with "
    require(flat == 0, "law", "have positive variance at every point", found + "statistics.pathwise")
    return np.sqrt(variance)


def probability(name: str, value: float) -> float:
    """A number strictly between 0 and 1."""
    number = positive_number(name, value)
    require(number < 1, name, "be smaller than 1", f"it is {value!r}")
    return number
