"""Characteristic functions at random frequencies: the shared body of the energy distance and the kernel discrepancy."""

import functools
import math
from abc import abstractmethod
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlimit._typing import Host, RandomKey
from jaxlimit.statistics._chi_squares import ChiSquares
from jaxlimit.statistics._multivariate import AbstractMultivariateStatistic, Estimate
from jaxlimit.statistics._whitening import rotations, whitened, whitened_pair

ROWS = 1024
"""Samples whose features are in memory together."""

SPREAD_ROWS = 4096
"""Samples from which the variances of features are taken: known to 2%, the bounds to 1%."""


FAR = 1e20
"""Standard deviations at which no angle is known to float32; its exponents do not reach much farther."""


class Frequencies(NamedTuple):
    """Frequencies [frequencies, dimensions] and the weight of each in the squared distance."""

    at: Float[Host, "frequencies dimensions"]
    weight: Float[Host, " frequencies"]


class AbstractCharacteristicDistance(AbstractMultivariateStatistic):
    """D² = Σ_j a_j |E e^{i w_j·z} − e^{−|w_j|²/2}|², z the samples in coordinates in which the law is N(0, I).

    The frequencies are w = r·u: the axes u of random rotations, one stratified random radius r each, drawn
    from `key` (`jax.random.key(0)` where none is given). State the radii and the weights. D² is linear in
    the number of samples to compute, a norm of means of numbers of modulus 1, so float32 does for them:
    nothing cancels, the rounding is 10⁻⁶ and the noise 1/√n.

    The features' covariance under the law is known in closed form, so the eigenvalues λ_k are exact.
    """

    features: eqx.AbstractVar[int]
    tolerance: eqx.AbstractVar[float]

    @abstractmethod
    def radii(self, uniform: Float[Host, " frames"], dimensions: int) -> tuple[Host, Host]:
        """(radii, weights) [frames] from stratified uniform numbers; weights before division by all frequencies."""

    def frequencies(self, dimensions: int, key: RandomKey | None = None) -> Frequencies:
        """The frequencies that a comparison in so many dimensions uses with this key."""
        return _drawn(self, dimensions, jax.random.key(0) if key is None else key)

    def estimate(
        self,
        values: Float[Host, "replicas points"],
        mean: Float[Host, " points"],
        covariance: Float[Host, "points points"],
        key: RandomKey | None,
    ) -> tuple[Estimate, ChiSquares]:
        """Mean features of all samples, their variances from the first 4096."""
        z = np.clip(whitened(values, mean, covariance, self.tolerance), -FAR, FAR)
        at, weight, null = _tabled(self, z.shape[1], None) if key is None else _table(self, z.shape[1], key)
        difference = mean_features(z, at, weight)
        difference[0] -= np.sqrt(weight) * np.exp(-0.5 * np.sum(at**2, axis=1))
        distance = float(np.linalg.norm(difference))
        centred = rows_of_features(z[:SPREAD_ROWS], at, weight)
        centred -= np.mean(centred, axis=0)
        spread = float(np.std(centred @ (difference.ravel() / max(distance, 1e-300)), ddof=1))
        noise = float(np.sum(np.square(centred))) / (centred.shape[0] - 1)
        return Estimate(distance, spread, noise / null.mean), null

    def estimate_pair(
        self, first: Float[Host, "replicas points"], second: Float[Host, "others points"], key: RandomKey | None
    ) -> tuple[Estimate, ChiSquares]:
        """The null law has the eigenvalues of the features' covariance in the first 4096 replicas of each."""
        x, y = whitened_pair(first, second, self.tolerance)
        at, weight = self.frequencies(x.shape[1], key)
        difference = mean_features(x, at, weight) - mean_features(y, at, weight)
        distance = float(np.linalg.norm(difference))
        share = x.shape[0] / (x.shape[0] + y.shape[0])
        # The difference has variance Σ₁/n₁ + Σ₂/n₂, in units of 1/n₁ + 1/n₂: the other sample's share of each.
        parts = [
            math.sqrt(part / (rows.shape[0] - 1)) * (rows - np.mean(rows, axis=0))
            for part, rows in (
                (1.0 - share, rows_of_features(x[:SPREAD_ROWS], at, weight)),
                (share, rows_of_features(y[:SPREAD_ROWS], at, weight)),
            )
        ]
        noise = np.concatenate(parts)
        along = noise @ (difference.ravel() / max(distance, 1e-300))
        small = noise @ noise.T if noise.shape[0] < noise.shape[1] else noise.T @ noise
        null = ChiSquares.of(np.linalg.eigvalsh(small))
        return Estimate(distance, float(np.linalg.norm(along)), 1.0), null

    def null_law(self, points: int, replicas: int) -> ChiSquares:
        """Eigenvalues of the features' covariance; the mean is exact at every number of replicas."""
        return _tabled(self, points, None)[2]


def mean_features(z: Host, at: Host, weight: Host) -> Float[Host, "2 frequencies"]:
    """√a_j times the mean of cos w_j·z and of sin w_j·z, float64 from float32 terms."""
    n = z.shape[0]
    rows = min(ROWS, n)
    whole = n - n % rows
    chunks = np.asarray(z[:whole], dtype=np.float32).reshape(-1, rows, z.shape[1])
    turns = jnp.asarray(at.T / (2.0 * math.pi), jnp.float32)
    # Sums of 1024 terms in float32, sums of these in float64.
    total = np.sum(np.asarray(_sums(jnp.asarray(chunks), turns), dtype=np.float64), axis=0)
    if whole < n:
        last = np.zeros((1, rows, z.shape[1]), np.float32)
        last[0, : n - whole] = z[whole:]
        # A row of zeros has cosine 1 and sine 0.
        total += np.asarray(_sums(jnp.asarray(last), turns), dtype=np.float64)[0]
        total[0] -= rows - (n - whole)
    return total / n * np.sqrt(weight)


def rows_of_features(z: Host, at: Host, weight: Host) -> Float[Host, "replicas features"]:
    """√a_j cos w_j·z and √a_j sin w_j·z of each sample."""
    both = _cos_sin(jnp.asarray(z, jnp.float32), jnp.asarray(at.T / (2.0 * math.pi), jnp.float32))
    return np.concatenate([np.asarray(part, dtype=np.float64) * np.sqrt(weight) for part in both], axis=1)


@jax.jit
def _sums(
    chunks: Float[Array, "chunks rows dimensions"], turns: Float[Array, "dimensions frequencies"]
) -> Float[Array, "chunks 2 frequencies"]:
    return jax.lax.map(lambda chunk: jnp.stack([jnp.sum(part, axis=0) for part in _cos_sin(chunk, turns)]), chunks)


@jax.jit
def _cos_sin(
    z: Float[Array, "rows dimensions"], turns: Float[Array, "dimensions frequencies"]
) -> tuple[Float[Array, "rows frequencies"], Float[Array, "rows frequencies"]]:
    """cos and sin of 2π z·turns from the sine and cosine of half the angle: one reduction, two polynomials.

    The half angle lies in [−π/2, π/2], where the Taylor polynomials of degree 13 and 14 are good to 10⁻⁹;
    twice as fast as the library's two functions, and as accurate as float32 allows. Beyond 2²² turns float32 knows
    nothing of the angle, and both are 0, their mean over all angles: such a sample does not count as one at the origin.
    """
    whole = jnp.dot(z, turns, precision="highest")
    known = jnp.abs(whole) < 2.0**22
    half = jnp.float32(math.pi) * jnp.where(known, whole - jnp.round(whole), 0.0)
    square = half * half
    sine, cosine = (
        functools.reduce(
            lambda value, k: jnp.float32((-1) ** k / math.factorial(2 * k + odd)) + square * value,
            reversed(range(top)),
            jnp.float32((-1) ** top / math.factorial(2 * top + odd)) * jnp.ones_like(square),
        )
        for top, odd in ((6, 1), (7, 0))
    )
    sine = half * sine
    return jnp.where(known, 1.0 - 2.0 * sine * sine, 0.0), 2.0 * sine * cosine


def _drawn(statistic: AbstractCharacteristicDistance, dimensions: int, key: RandomKey) -> Frequencies:
    frames = max(1, round(statistic.features / dimensions))
    directions, radius = jax.random.split(key)
    uniform = np.asarray(jax.random.uniform(radius, (frames,), np.float32), dtype=np.float64)
    # One number in each of `frames` equal intervals; never 0 or 1, where radii are zero or infinite.
    stratified = (np.arange(frames) + np.clip(uniform, 0.01, 0.99)) / frames
    radii, weights = statistic.radii(stratified, dimensions)
    at = radii[:, None, None] * rotations(frames, dimensions, directions)
    return Frequencies(at.reshape(-1, dimensions), np.repeat(weights, dimensions) / (frames * dimensions))


def _table(
    statistic: AbstractCharacteristicDistance, dimensions: int, key: RandomKey | None
) -> tuple[Host, Host, ChiSquares]:
    """Frequencies, weights and the null law of n D²."""
    at, weight = statistic.frequencies(dimensions, key)
    inner = at @ at.T
    norms = np.diagonal(inner)
    # cov(cos, cos) = e^{−s}(cosh x − 1), cov(sin, sin) = e^{−s} sinh x, x = w·w', s = (|w|² + |w'|²)/2 ≥ |x|,
    # in forms that neither cancel nor overflow; cos and sin are uncorrelated.
    factor = 0.5 * np.exp(np.abs(inner) - 0.5 * (norms[:, None] + norms[None, :]))
    factor *= np.sqrt(np.outer(weight, weight))
    cosines = factor * np.square(np.expm1(-np.abs(inner)))
    sines = -factor * np.expm1(-2.0 * np.abs(inner)) * np.sign(inner)
    return at, weight, ChiSquares.of(np.concatenate([np.linalg.eigvalsh(cosines), np.linalg.eigvalsh(sines)]))


_tabled = functools.lru_cache(maxsize=64)(_table)
"""With the default key, which all comparisons share."""
