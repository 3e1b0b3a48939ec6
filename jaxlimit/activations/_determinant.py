"""The determinant that Gaussian averages of Gaussian functions share."""

from typing import NamedTuple

import numpy as np

from jaxlimit._numerics import UNIT, Pairs
from jaxlimit._typing import Host


class Determinant(NamedTuple):
    """D, a bound of its error, and a number that the exact D is not below."""

    value: Host
    error: Host
    low: Host

    def power_error(self, half: int) -> Host:
        """Bound of the error of D^{−half/2}, whose derivative is (half/2)/D of itself.

        From D to where it is lowest, and to where it is highest; long and nearly parallel points leave the
        exact D anywhere between 1 + f(a + b) and many times that.
        """
        up = self.value ** (-0.5 * half) * np.minimum(1.0, 0.5 * half * self.error / self.value)
        down = self.low ** (-0.5 * half) * np.minimum(1.0, 0.5 * half * (self.value - self.low) / self.low)
        return np.maximum(up, down)


def determinant(pair: Pairs, factor: float) -> Host:
    """D = (1 + fa)(1 + fb) − f²r² = 1 + f(a + b) + f²ab sin²θ: positive terms, so nothing cancels; f a power of two."""
    return 1.0 + factor * (pair.a + pair.b) + factor**2 * pair.a * pair.b * pair.sine**2


def determinant_with_error(pair: Pairs, factor: float) -> Determinant:
    """Every term of D moves by 2·relative of itself, and sin²θ by (2 sin θ + angular)·angular besides."""
    det = determinant(pair, factor)
    relative = 2.02 * pair.relative + 8 * UNIT
    moved = (2.0 * pair.sine + pair.angular) * pair.a * pair.b
    error = relative * det + factor**2 * pair.angular * moved
    least = (1.0 + factor * (pair.a + pair.b)) * (1.0 - relative)
    return Determinant(det, error, np.minimum(np.maximum(det - error, least), det))


def angle_error(pair: Pairs, factor: float) -> Host:
    """Bound of the error of atan2(fr, √D), and of atan2(√D, −fr), before it is rounded.

    atan2(y, x) moves by at most (x δy + y δx)/(x² + y²), and x² + y² = (1 + fa)(1 + fb) here.
    """
    det = determinant_with_error(pair, factor)
    root = np.sqrt(det.value)
    spread = np.maximum(0.5 * det.error / root, (det.value - det.low) / (root + np.sqrt(det.low)))
    moved = root * (factor * pair.relative) * pair.scale + factor * np.abs(pair.r) * spread
    return moved / ((1.0 + factor * pair.a) * (1.0 + factor * pair.b))
