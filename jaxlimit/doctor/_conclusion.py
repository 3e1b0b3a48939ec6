"""What a theorist concludes from a run, and how far the same draws in another arithmetic move it."""

import math
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlimit._typing import Host, RandomKey
from jaxlimit.limits import SpectralLimit
from jaxlimit.paths import Samples
from jaxlimit.statistics import Comparison, EnergyDistance, compare

TENTH = 0.1
"""Of a standard error: a conclusion that moves by less says the same as before, whatever is tested with it."""

MOST = 15
"""Decimal digits of float64."""


class Quantity(NamedTuple):
    """One quantity of a conclusion at the last save time, beside what float64 makes of the same draws.

    `value`, `standard_error` and `change`, the difference from float64, are root mean squares over the points. `digits`
    = ⌊−log₁₀(change/value)⌋ agree with float64, and `meaningful` = ⌊−log₁₀(standard_error/value)⌋ are left by the noise
    of so many replicas; both lie between 0 and 15. `moved` is the difference at its worst point in standard errors of
    float64's, a fact about these draws; with other draws of as many replicas it scatters by `moved_error`, None where
    that is not known. It is `kept` where the difference and two such errors are at most a tenth of a standard error,
    and would be with up to `replicas` of them: None where no number is too large, or none is known.
    """

    name: str
    value: float
    standard_error: float
    change: float
    digits: int
    meaningful: int
    moved: float
    moved_error: float | None
    kept: bool
    replicas: int | None


def shares(samples: Samples, limit: SpectralLimit | None) -> dict[str, Float[Host, "replicas some"]]:
    """Each replica's share in the quantities: numbers of which a quantity is the mean, at every point.

    A quantity that is a smooth function of means is, to leading order, the mean of its value plus what a replica
    moves in it (the delta method): (v − m)²/(2s) for a standard deviation s, q/(2d) for d = √(mean of q). So the
    standard deviations of shares give standard errors, and those of their differences between two arithmetics the
    doubt of a difference.

    Distances are those to the limit's path from the network's own start, whose exact mean also makes the controlled
    mean: that of h^N − h plus E h.
    """
    values = np.asarray(samples.values, np.float64)
    last, replicas = values[:, -1], len(values)
    away = (last - last.mean(axis=0)) ** 2 * replicas / (replicas - 1)
    found = {"mean": last, "standard deviation": _root(away)}
    if limit is None:
        return found
    gap = last - limit.path(values[:, 0], samples.ts)[:, -1]
    square = np.mean(gap**2, axis=1, keepdims=True)
    return found | {
        "distance": _root(square),
        "controlled mean": gap + limit.moments(samples.ts, samples.width).mean[-1],
    }


def _root(squares: Host) -> Host:
    """Shares in the root of the mean of these."""
    mean = squares.mean(axis=0)
    root = np.sqrt(mean)
    return root + np.divide(squares - mean, 2 * root, out=np.zeros_like(squares), where=root > 0)


def quantity(name: str, here: Float[Host, "replicas some"], reference: Float[Host, "replicas some"]) -> Quantity:
    """What another arithmetic makes of it, by the shares of the same replicas in both."""
    root = math.sqrt(len(here))
    error, change = reference.std(axis=0, ddof=1) / root, here.mean(axis=0) - reference.mean(axis=0)
    doubt = (here - reference).std(axis=0, ddof=1) / root
    moved, unsure = ratio(np.abs(change), error), ratio(doubt, error)
    worst, most = int(np.argmax(moved)), float(np.max(moved + 2 * unsure))
    value, own, size = (_rms(part) for part in (here.mean(axis=0), here.std(axis=0, ddof=1) / root, change))
    return Quantity(
        name=name,
        value=value,
        standard_error=own,
        change=size,
        digits=_digits(size, value),
        meaningful=_digits(own, value),
        moved=float(moved[worst]),
        moved_error=float(unsure[worst]),
        kept=most <= TENTH,
        # A systematic shift stays, and standard errors fall as one over the root.
        replicas=int(len(here) * (TENTH / most) ** 2) if most > 0 else None,
    )


def energy(samples: Samples, limit: SpectralLimit | None, key: RandomKey) -> Comparison | None:
    """Distance of all points at once to the limit's law at the last save time; None of a law without chance."""
    law = None if limit is None else limit.law(samples.ts)
    if law is None or not law.covariance.any():
        return None
    last = slice(len(samples.ts) - 1, None)
    return compare(samples.during(last), law.during(last), EnergyDistance(), key)


def energies(here: Comparison, reference: Comparison) -> Quantity:
    """The same of an energy distance, which is no mean over replicas: its standard error is from its own bounds."""
    own, exact = here.at_width, reference.at_width
    change = abs(own.distance - exact.distance)
    moved = float(ratio(np.array([change]), np.array([exact.standard_error]))[0])
    return Quantity(
        name="energy distance",
        value=own.distance,
        standard_error=own.standard_error,
        change=change,
        digits=_digits(change, own.distance),
        meaningful=_digits(own.standard_error, own.distance),
        moved=moved,
        moved_error=None,
        kept=moved <= TENTH,
        replicas=None,
    )


def ratio(above: Host, below: Host) -> Host:
    """Quotients, where nothing over nothing is nothing."""
    with np.errstate(divide="ignore"):
        return np.divide(above, below, out=np.zeros_like(above), where=above > 0)


def _rms(values: Host) -> float:
    return float(np.sqrt(np.mean(values**2)))


def _digits(error: float, value: float) -> int:
    """⌊−log₁₀(error/value)⌋, between none and those of float64."""
    if error == 0:
        return MOST
    return min(MOST, max(0, math.floor(-math.log10(error / value)))) if value > 0 else 0
