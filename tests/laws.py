"""Tests of random things: every assertion has a stated false-alarm rate and a stated detectable size.

An assertion passes a correct library with probability at least 1 − `false_alarm` (1e-6 unless told
otherwise; over all components of an array together), and refuses to be a test at all (`TooWeakError`) when
an error of the size `detectable` would not be caught with probability 0.99 or more. Keys are fixed, so
a passing test passes always: the rate says how likely a fixed key was to be unlucky.
"""

import math

import numpy as np
import scipy.stats

FALSE_ALARM = 1e-6
POWER = 0.99


class TooWeakError(AssertionError):
    """The sample is too small to see an error of the size the test claims to detect."""


def assert_mean(samples, expected, detectable, false_alarm=FALSE_ALARM):
    """The mean over axis 0 is `expected`, by |mean − expected| ≤ z·s/√n; `detectable` in the samples' own units.

    Components (all other axes) share the false-alarm rate (Bonferroni). The mean is taken as normal:
    use it with n in the hundreds at least.
    """
    values = np.asarray(samples, dtype=np.float64)
    n = values.shape[0]
    error = np.std(values, axis=0, ddof=1) / math.sqrt(n)
    z = scipy.stats.norm.isf(0.5 * false_alarm / error.size)
    _strong_enough(float(np.max((z + scipy.stats.norm.isf(1 - POWER)) * error)), detectable)
    difference = np.abs(np.mean(values, axis=0) - expected)
    worst = int(np.argmax(difference - z * error))
    assert np.all(difference <= z * error), (
        f"component {worst}: mean {np.mean(values, axis=0).flat[worst]:.6g} is "
        f"{(difference / error).flat[worst]:.1f} standard errors from its expected value (allowed: {z:.1f})"
    )


def assert_law(samples, cdf, detectable, false_alarm=FALSE_ALARM):
    """One-dimensional samples follow the continuous law `cdf`; `detectable` is a Kolmogorov–Smirnov distance."""
    values = np.asarray(samples, dtype=np.float64)
    assert values.ndim == 1
    n = values.size
    critical = float(scipy.stats.kstwo.isf(false_alarm, n))
    _strong_enough(critical + math.sqrt(math.log(1 / (1 - POWER)) / (2 * n)), detectable)
    distance = float(scipy.stats.kstest(values, cdf, method="asymp").statistic)
    assert distance <= critical, f"Kolmogorov–Smirnov distance {distance:.4g} exceeds {critical:.4g}"


def assert_rate_at_most(events, trials, rate, detectable, false_alarm=FALSE_ALARM):
    """Events of `trials` independent trials have probability ≤ `rate`; a probability ≥ `detectable` is caught."""
    allowed = int(scipy.stats.binom.isf(false_alarm, trials, rate))
    power = float(scipy.stats.binom.sf(allowed, trials, detectable))
    if power < POWER:
        raise TooWeakError(f"{trials} trials catch a rate of {detectable:g} with probability {power:.3g} only")
    assert events <= allowed, f"{events} of {trials} trials, where a rate of {rate:g} allows {allowed}"


def assert_rate_at_least(events, trials, rate, detectable, false_alarm=FALSE_ALARM):
    """Events of `trials` independent trials have probability ≥ `rate`; a probability ≤ `detectable` is caught."""
    assert_rate_at_most(trials - events, trials, 1.0 - rate, 1.0 - detectable, false_alarm)


def _strong_enough(size, detectable):
    if not size <= detectable:
        raise TooWeakError(f"this sample is sure to show {size:.4g} only, and the test claims {detectable:.4g}")
