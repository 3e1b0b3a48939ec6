"""The order of convergence in the width, fitted above the noise floor or not at all."""

import math
from collections.abc import Sequence
from typing import Any, Protocol

import equinox as eqx
import numpy as np
import scipy.special

from jaxlimit._arguments import items, positive_number, require, widths_in_order
from jaxlimit._typing import Host
from jaxlimit.statistics._base import probability

FLOORS = 2.0
"""A width is used where its error exceeds this many noise floors."""

FEWEST = 3
"""Two widths always lie on a line; the scatter of three is the least that can contradict one."""


class ErrorAtWidth(eqx.Module):
    """An error measured at one width, its standard error, and the value that pure noise would show.

    >>> from jaxlimit.statistics import ErrorAtWidth
    >>> ErrorAtWidth(0.2, 0.01, floor=0.05).above_floor
    True
    """

    distance: float = eqx.field(static=True)
    standard_error: float = eqx.field(static=True)
    floor: float = eqx.field(static=True, default=0.0)

    def __check_init__(self) -> None:
        """All three are finite and not negative."""
        for name in ("distance", "standard_error", "floor"):
            positive_number(name, getattr(self, name), zero=True)

    @property
    def above_floor(self) -> bool:
        """Whether the error exceeds twice its noise floor."""
        return self.distance > FLOORS * self.floor

    @property
    def at_width(self) -> "ErrorAtWidth":
        """Itself: what `rate` asks of everything it is given."""
        return self


class MeasuredError(Protocol):
    """Anything that can state its error at one width: `ErrorAtWidth`, `PathError`, `Comparison`."""

    @property
    def at_width(self) -> ErrorAtWidth:
        """The error at this width."""


class Rate(eqx.Module):
    """error ≈ coefficient · width^exponent, with the confidence interval [low, high] of the exponent.

    A refused fit has exponent and coefficient NaN and the interval (−∞, ∞); `reason` says why.
    """

    exponent: float = eqx.field(static=True)
    low: float = eqx.field(static=True)
    high: float = eqx.field(static=True)
    widths_used: tuple[int, ...] = eqx.field(static=True)
    reason: str = eqx.field(static=True)
    level: float = eqx.field(static=True)
    coefficient: float = eqx.field(static=True)


def rate(widths: Sequence[int], errors: Sequence[MeasuredError], level: float = 0.95) -> Rate:
    """Weighted least squares of log error on log width.

    exponent = Σ w (x − x̄) y / Σ w (x − x̄)², x = log N, y = log error, w = (error/standard error)².
    Its variance is v = 1/Σ w (x − x̄)². With Q = Σ w r² the residual χ² and ν = widths − 2, the
    half-width at confidence `level` is z·√v where Q ≤ ν, and t_ν·√(v Q/ν) where the points scatter
    more than their standard errors explain. Coverage of the 95% interval by simulation: 96–97% with
    honest standard errors; with standard errors half of what they should be, 86% for 3 widths and
    93% for 5, so give a rate that matters five widths or more. If any standard error is zero, all
    points weigh the same and the scatter alone (t_ν) decides.

    Only widths whose error exceeds twice its noise floor are used; with fewer than three the fit is
    refused: never a fitted rate below the noise floor. Takes anything with `at_width`:
    `ErrorAtWidth`, `PathError` (pooled over times) or `Comparison` (last time). Raises
    ``ValueError`` for widths that do not increase or do not match the errors.

        >>> from jaxlimit.statistics import ErrorAtWidth, rate
        >>> widths = [100, 400, 1600]
        >>> fit = rate(widths, [ErrorAtWidth(n**-0.5, 0.02 * n**-0.5) for n in widths])
        >>> round(fit.exponent, 6), round(fit.coefficient, 6), fit.low < -0.5 < fit.high
        (-0.5, 1.0, True)
        >>> rate(widths, [ErrorAtWidth(0.1, 0.01, floor=0.08) for n in widths]).exponent
        nan
    """
    ordered = widths_in_order(widths)
    level = probability("level", level)
    kinds = "ErrorAtWidth, PathError or Comparison objects"
    measured: list[ErrorAtWidth] = []
    for error in items("errors", errors, kinds):
        found: Any = getattr(error, "at_width", None)
        require(isinstance(found, ErrorAtWidth), "errors", f"hold {kinds}", f"it holds {error!r}")
        measured.append(found)
    require(
        len(measured) == len(ordered),
        "errors",
        f"hold one entry per width ({len(ordered)})",
        f"it holds {len(measured)}",
    )
    kept = [(width, error) for width, error in zip(ordered, measured, strict=True) if error.above_floor]
    used = tuple(width for width, _ in kept)
    share = f"{len(kept)} of {len(ordered)} widths lie above {FLOORS:g} noise floors"
    if len(kept) < FEWEST:
        reason = f"refused: {share}, and a rate needs {FEWEST}; {more(len(ordered))}"
        return Rate(math.nan, -math.inf, math.inf, used, reason, level, math.nan)
    x = np.log(np.array(used, dtype=np.float64))
    y = np.log(np.array([error.distance for _, error in kept]))
    relative = np.array([error.standard_error / error.distance for _, error in kept])
    slope, intercept, half, scatter = _line(x, y, relative, level)
    reason = f"{share}; {scatter}"
    return Rate(slope, slope - half, slope + half, used, reason, level, math.exp(intercept))


def more(widths: int) -> str:
    """What a refused fit lacks."""
    return f"give at least {FEWEST} widths" if widths < FEWEST else "use more replicas or smaller widths"


def _line(x: Host, y: Host, sigma: Host, level: float) -> tuple[float, float, float, str]:
    """Slope, intercept, half-width of the slope's interval, and how the half-width was found."""
    weighted = bool(np.all(sigma > 0))
    weights = sigma**-2 if weighted else np.ones_like(x)
    centre = np.sum(weights * x) / np.sum(weights)
    spread = np.sum(weights * (x - centre) ** 2)
    slope = float(np.sum(weights * (x - centre) * y) / spread)
    intercept = float(np.sum(weights * (y - slope * x)) / np.sum(weights))
    dof = x.size - 2
    excess = float(np.sum(weights * (y - intercept - slope * x) ** 2)) / dof
    tail = 0.5 * (1.0 - level)
    if weighted and excess <= 1.0:
        return slope, intercept, float(-scipy.special.ndtri(tail) / math.sqrt(spread)), "interval from standard errors"
    half = float(-scipy.special.stdtrit(dof, tail) * math.sqrt(excess / spread))
    return slope, intercept, half, "interval from the scatter about the line"
