"""The law that tests of statistics measure against, and how far from it a known change puts samples."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.optimize
import scipy.special

# A law that is neither centred nor white: correlated points with different scales.
MEAN = np.array([1.0, -2.0, 0.5])
COVARIANCE = np.array([[4.0, 1.9, 0.0], [1.9, 1.0, 0.1], [0.0, 0.1, 0.25]])
ROOT = np.linalg.cholesky(COVARIANCE)
DEVIATION = np.sqrt(np.diagonal(COVARIANCE))


def shifted(statistic, size):
    """A shift of the mean counts by itself: in deviations of the point, and of the whole law (Mahalanobis)."""
    return size, 1.0


def stretched(statistic, size):
    """The variance is off by this share."""
    return 0.0, math.sqrt(1.0 + size)


def shifted_apart(statistic, size):
    """sup |Φ(x − s) − Φ(x)| = 2Φ(s/2) − 1."""
    return 2.0 * scipy.special.ndtri(0.5 + 0.5 * size), 1.0


def by_frequency(statistic, size):
    """By root finding, from the characteristic functions at the statistic's own frequencies."""
    at, weight = statistic.frequencies(MEAN.size)
    values, axes = np.linalg.eigh(COVARIANCE / np.outer(DEVIATION, DEVIATION))
    turns = at @ ((axes / np.sqrt(values)) @ axes.T @ (ROOT[:, 0] / DEVIATION))
    amplitude = weight * np.exp(-np.sum(at**2, axis=1))

    def distance(shift):
        return math.sqrt(np.sum(amplitude * np.abs(np.exp(1j * shift * turns) - 1.0) ** 2))

    return scipy.optimize.brentq(lambda shift: distance(shift) - size, 0.0, 20.0 * size), 1.0


def by_direction(statistic, size):
    """The shift along each of the statistic's own directions, in its deviations, as a root mean square."""
    axes = statistic.axes(MEAN.size) / DEVIATION
    along = axes @ ROOT[:, 0] / np.linalg.norm(axes @ ROOT, axis=1)
    return size / math.sqrt(np.mean(along**2)), 1.0


@dataclass(frozen=True)
class StatisticCase:
    """A statistic, and what puts samples of the law at a true distance `size` from it.

    `alteration(statistic, size)` is (shift, factor): the first coordinate of z ~ N(0, I) becomes factor·z + shift,
    and the points are MEAN + ROOT z. Features and directions are few: their number changes the noise of a
    distance, not its law.
    """

    statistic: Any
    alteration: Callable = shifted

    def altered(self, size):
        """Shift and factor at this distance."""
        return self.alteration(self.statistic, size)
