"""Mean and variance of each marginal: what a Kolmogorov–Smirnov distance sees late or not at all."""

import math

import equinox as eqx
import numpy as np
import scipy.special
from jaxtyping import Float

from jaxlimit._typing import Host
from jaxlimit.statistics._base import AbstractMarginalStatistic


class MeanShift(AbstractMarginalStatistic):
    """|x̄_p − mean_p| / sd_p at each point p, in standard deviations of the law; the distance is the maximum.

    With n replicas:

    - p-value: √n (x̄ − mean)/sd is N(0, 1) where the law is right; its variance is known, so z and not t.
    - bounds: d ± t_{n−1} · s/(sd √n) with the samples' own standard deviation s, because the law's
      variance may be wrong; exact for Gaussian samples, by the central limit theorem otherwise. The
      upper bound is one-sided (two one-sided tests), the lower one two-sided.
    - detectable: the shift that passes the critical value z(level/2tests)/√n with the stated power
      where the variance is right: (z(level/2tests) + z(1 − power))/√n.

    Good values: margin 0.1.

        >>> from jaxlimit.statistics import MeanShift
        >>> round(MeanShift().detectable(replicas=8192, tests=100, level=0.01, power=0.95), 3)
        0.061
    """

    margin: float = eqx.field(static=True, default=0.1)

    def measure(
        self,
        values: Float[Host, "replicas points"],
        mean: Float[Host, " points"],
        deviation: Float[Host, " points"],
        level: float,
        tail: float,
    ) -> tuple[Host, Host, Host]:
        """Student intervals around the standardised sample means."""
        n = values.shape[0]
        z = (values - mean) / deviation
        distances = np.abs(np.mean(z, axis=0))
        error = np.std(z, axis=0, ddof=1) / math.sqrt(n)
        lower = np.maximum(distances - _student(0.5 * tail, n - 1) * error, 0.0)
        return distances, lower, distances + _student(level, n - 1) * error

    def tail(self, distance: float, replicas: int) -> float:
        """2 Φ(−√n d)."""
        return float(2.0 * scipy.special.ndtr(-distance * math.sqrt(replicas)))

    def critical(self, tail: float, replicas: int) -> float:
        """z(tail/2)/√n."""
        return float(-scipy.special.ndtri(0.5 * tail)) / math.sqrt(replicas)

    def detectable(self, replicas: int, tests: int, level: float, power: float) -> float:
        """(z(level/2tests) + z(1 − power))/√n."""
        return self.critical(level / tests, replicas) + float(scipy.special.ndtri(power)) / math.sqrt(replicas)


class VarianceRatio(AbstractMarginalStatistic):
    """|s²_p / var_p − 1| at each point p, s² the unbiased sample variance; the distance is the maximum.

    With n replicas:

    - p-value: (n − 1)s²/var is χ²_{n−1} where the (Gaussian) law is right; both tails are summed.
    - bounds: networks of finite width are not Gaussian, and Var s² ≈ (κ − 1)σ⁴/n depends on their
      kurtosis κ = m₄/s⁴. The interval for log(true variance/var) is log(s²/var) ± z·√((κ̂ − 1)/n)
      with the samples' own κ̂: on this scale the estimate and its error are nearly independent. It is
      never narrower than the exact χ² interval of Gaussian samples, so light tails gain nothing and
      few replicas of a Gaussian are covered exactly. The upper bound is one-sided (two one-sided
      tests), the lower one two-sided.
    - detectable: with Gaussian samples, the |ratio − 1| that passes the critical value with the
      stated power whether the variance is too large or too small. At 1 or more, no reduction of the
      variance is sure to be seen.

    Good values: margin 0.1; at 8192 replicas the one-sided half-width is 0.037.

        >>> from jaxlimit.statistics import VarianceRatio
        >>> round(VarianceRatio().detectable(replicas=8192, tests=100, level=0.01, power=0.95), 3)
        0.09
    """

    margin: float = eqx.field(static=True, default=0.1)

    def measure(
        self,
        values: Float[Host, "replicas points"],
        mean: Float[Host, " points"],
        deviation: Float[Host, " points"],
        level: float,
        tail: float,
    ) -> tuple[Host, Host, Host]:
        """Intervals on the logarithmic scale, from the sample kurtosis."""
        n = values.shape[0]
        z = (values - mean) / deviation
        squares = np.square(z - np.mean(z, axis=0))
        ratio = np.sum(squares, axis=0) / (n - 1)
        fourth = np.mean(np.square(squares), axis=0)
        kurtosis = np.divide(fourth, np.square(ratio), out=np.full_like(ratio, 3.0), where=ratio > 0)
        error = np.sqrt(np.maximum(kurtosis - 1.0, 0.0) / n)
        distances = np.abs(ratio - 1.0)
        small, large = _log_interval(ratio, error, level, n)
        upper = np.maximum(large - 1.0, 1.0 - small)
        small, large = _log_interval(ratio, error, 0.5 * tail, n)
        lower = np.maximum(np.maximum(small - 1.0, 1.0 - large), 0.0)
        return distances, lower, upper

    def tail(self, distance: float, replicas: int) -> float:
        """P(|χ²_{n−1}/(n − 1) − 1| ≥ d), both sides."""
        dof = replicas - 1
        above = scipy.special.chdtrc(dof, dof * (1.0 + distance))
        return float(above + scipy.special.chdtr(dof, dof * max(0.0, 1.0 - distance)))

    def critical(self, tail: float, replicas: int) -> float:
        """The farther of the two χ² quantiles at tail/2 (a little larger than the exact two-sided one)."""
        small, large = _chi2_ratio(0.5 * tail, replicas)
        return max(large - 1.0, 1.0 - small)

    def detectable(self, replicas: int, tests: int, level: float, power: float) -> float:
        """max of (1 + c)/χ²-quantile(1 − power) − 1 and 1 − (1 − c)/χ²-quantile(power), quantiles per degree."""
        c = self.critical(level / tests, replicas)
        small, large = _chi2_ratio(1.0 - power, replicas)
        return max((1.0 + c) / small - 1.0, 1.0 - (1.0 - c) / large)


def _chi2_ratio(tail: float, n: int) -> tuple[float, float]:
    """Quantiles of χ²_{n−1}/(n − 1) with `tail` below and above."""
    large = scipy.special.chdtri(n - 1, tail) / (n - 1)
    small = 2.0 * scipy.special.gammaincinv(0.5 * (n - 1), tail) / (n - 1)
    return float(small), float(large)


def _log_interval(ratio: Host, error: Host, tail: float, n: int) -> tuple[Host, Host]:
    """Ends with `tail` beyond each: the wider of the kurtosis interval and the χ² interval, side by side."""
    small, large = _chi2_ratio(tail, n)
    reach = -scipy.special.ndtri(tail) * error
    return ratio * np.minimum(np.exp(-reach), 1.0 / large), ratio * np.maximum(np.exp(reach), 1.0 / small)


def _student(tail: float, dof: int) -> float:
    """The Student quantile exceeded with probability `tail`."""
    return float(-scipy.special.stdtrit(dof, tail))
