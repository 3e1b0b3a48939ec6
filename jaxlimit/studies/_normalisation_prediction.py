"""What theory says of a network of finite width at every γ from 1/2 to 1: its mean, its variance, its test error."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.special

from jaxlimit._typing import Host, RandomKey
from jaxlimit.data import Data
from jaxlimit.limits import EpsilonFlow, SpectralLimit, epsilon_at
from jaxlimit.paths import GaussianPath
from jaxlimit.problem import Problem
from jaxlimit.scalings import PowerScaling

GROUPS = 8
"""Independent sets of particles that a prediction is averaged over: their spread is its error."""

FEWEST_PARTICLES = 16 * GROUPS

NEARLY_LINEAR = 1e-3
"""An ε at which the flow's fluctuation is ε^{−2} e^{−At}Σe^{−Aᵀt} of its own particles, but for a share of ε²."""

PER_GROUP = 256
"""Particles in each; the limit itself is known exactly, so they carry only what a width changes."""


NEURONS = 1024
"""For the share of the kernel in the variance at held-out points, which is small."""

DETERMINISTIC, NO_START = 0.7, 10**12
"""A γ where the linear limit's own error at finite N is known, at a width where nothing is left of the start."""


def at_gamma(problem: Problem, gamma: float) -> Problem:
    """The same problem in the scaling N^{−γ}."""
    return Problem(problem.data, problem.network, PowerScaling(gamma), problem.loss, problem.learning_rate)


class Curve(NamedTuple):
    """A predicted curve with its standard error, in the same shape."""

    value: Host
    error: Host


class Predictions:
    """Means, variances and test errors by γ and width, all from one linear limit and one choice of particles.

    The mean is that of the linear limit, and for γ > 1/2 what `EpsilonFlow` at ε = N^{−(1−γ)} adds to itself at ε = 0;
    the variance is that of `EpsilonFlow.fluctuation`, and at γ = 1/2 of the limit.
    """

    def __init__(self, limit: SpectralLimit, held_out: Data | None, ts: Host, particles: int, key: RandomKey):
        self.limit, self.held_out, self.ts, self.particles = limit, held_out, ts, particles
        self.at = None if held_out is None else held_out.x
        self.linear: GaussianPath = limit.law(ts, self.at)
        self._key = key
        self.unpredicted = ""
        """Why the noise of SGD is not in the test error, or "" where it is."""
        self._linear_error = [np.zeros(1), np.zeros(1)]
        if held_out is not None:
            self._predict_error(held_out.x)
        self._origins: list[Host] = []
        self._linear_parts: list[Host] = []

    def mean(self, gamma: float, width: int) -> Curve:
        """E h^N_t to leading order, [times, points + held out], the data first."""
        linear, doubt = self.linear.mean, self.linear.mean_standard_error
        if gamma == 0.5:
            return Curve(linear, doubt)
        epsilon = epsilon_at(PowerScaling(gamma), width)
        moved = np.array([self._path(epsilon, group) - self._origin(group) for group in range(GROUPS)])
        return Curve(linear + moved.mean(axis=0), np.hypot(doubt, moved.std(axis=0, ddof=1) / math.sqrt(GROUPS)))

    def variance(self, gamma: float, width: int) -> Curve:
        """Var h^N_t on the data [times, points]: the start's part, the kernel's and that of SGD.

        The start's part, which dominates for small γ, is known exactly: what the same particles say of it goes out.
        """
        points = self.limit.kernel.problem.data.points
        if gamma == 0.5:
            error = _diagonal(self.linear.covariance_standard_error)
            return Curve(self._start(gamma, width)[:, :points], error[:, :points])
        epsilon = epsilon_at(PowerScaling(gamma), width)
        leading = [(NEARLY_LINEAR / epsilon) ** 2 * one for one in self._starts()]
        flows = [self._flow(epsilon, self.particles // GROUPS, group) for group in range(GROUPS)]
        found = np.array([_diagonal(flow.fluctuation(self.ts).covariance) for flow in flows]) - np.array(leading)
        exact, error = self._start(gamma, width)[:, :points], found.std(axis=0, ddof=1) / math.sqrt(GROUPS)
        return Curve(exact + found.mean(axis=0) / width, error / width)

    def test_error(self, gamma: float, width: int) -> Curve:
        """Expected share of held-out points with the wrong sign at the end, of a Gaussian output.

        Its variance is what is left of the start and, 1/N at every γ, the linear limit's error by SGD and the kernel.
        """
        assert self.held_out is not None
        points = self.limit.kernel.problem.data.points
        mean = self.mean(gamma, width)
        signed, doubt = np.sign(self.held_out.y) * mean.value[-1, points:], mean.error[-1, points:]
        error = self._linear_error[0 if gamma == 0.5 else 1] / width
        deviation = np.sqrt(np.maximum(self._start(gamma, width)[-1, points:] + error, 0.0))
        wrong, better, worse = (
            float(wrong_sign(signed + shift, deviation) @ self.held_out.weights) for shift in (0.0, doubt, -doubt)
        )
        return Curve(np.array(wrong), np.array(0.5 * (worse - better)))

    def _predict_error(self, at: Host) -> None:
        """N times the variance of h^N − h at the held-out points at the end, at γ = 1/2 and above."""
        above = SpectralLimit(at_gamma(self.limit.kernel.problem, DETERMINISTIC), self.limit.kernel.rule)
        points = self.limit.kernel.problem.data.points
        try:
            for k, (one, width) in enumerate(((self.limit, 1), (above, NO_START))):
                key = jax.random.fold_in(self._key, GROUPS + 1)
                found = one.path_error(self.ts[-1:], width, key=key, neurons=NEURONS, at=at).covariance[0]
                self._linear_error[k] = width * np.diagonal(found)[points:]
        except ValueError as refusal:
            self.unpredicted = str(refusal)

    def _start(self, gamma: float, width: int) -> Host:
        """N^{1−2γ} e^{−At}Σe^{−Aᵀt} on the diagonal: what is left of the start."""
        return float(width) ** (1.0 - 2.0 * gamma) * _diagonal(self.linear.covariance)

    def _starts(self) -> list[Host]:
        """What each group of particles says of the start's part at ε = NEARLY_LINEAR, computed once."""
        if not self._linear_parts:
            flows = [self._flow(NEARLY_LINEAR, self.particles // GROUPS, group) for group in range(GROUPS)]
            self._linear_parts = [_diagonal(flow.fluctuation(self.ts, sgd=False).initial) for flow in flows]
        return self._linear_parts

    def _origin(self, group: int) -> Host:
        """The flow at ε = 0 with the same particles, solved once."""
        if not self._origins:
            self._origins = [self._path(0.0, one) for one in range(GROUPS)]
        return self._origins[group]

    def _path(self, epsilon: float, group: int) -> Host:
        flow, points = self._flow(epsilon, PER_GROUP, group), self.limit.kernel.problem.data.points
        start = np.zeros(points), self.ts, self.at, None if self.at is None else np.zeros(len(self.at))
        return np.asarray(flow.path(*start), np.float64)

    def _flow(self, epsilon: float, particles: int, stream: int) -> EpsilonFlow:
        problem: Problem = self.limit.kernel.problem
        return EpsilonFlow(problem, epsilon, particles, key=jax.random.fold_in(self._key, stream), dtype=jnp.float32)


def wrong_sign(mean: Host, deviation: Host) -> Host:
    """P(mean + deviation·ξ ≤ 0), ξ normal; without any deviation, as at x = 0 where σ(0) = 0, mean ≤ 0 is wrong."""
    spread = deviation > 0
    ratio = np.divide(mean, deviation, out=np.zeros_like(mean), where=spread)
    return np.where(spread, scipy.special.ndtr(-ratio), mean <= 0)


def _diagonal(covariance: Host) -> Host:
    return np.diagonal(covariance, axis1=1, axis2=2)
