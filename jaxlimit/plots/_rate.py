"""The rate of convergence in the width."""

import math
from fractions import Fraction
from typing import Any

import numpy as np

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike
from jaxlimit.plots._canvas import GIVEN, SERIES, Axes, axes, column, legend, log_ticks, minus, width_ticks


def rate(
    widths: ArrayLike,
    distance: ArrayLike,
    standard_error: ArrayLike,
    exponent: float,
    low: float,
    high: float,
    predicted: float,
    coefficient: float | None = None,
    ax: Axes | None = None,
    *,
    ylabel: str = "distance to the limit",
    label: str = "error",
    widths_used: ArrayLike | None = None,
    predicted_coefficient: float | None = None,
) -> Axes:
    """Distance to the limit against the width N, both logarithmic, with the fitted slope and its interval.

    The fit is coefficient · N^exponent (without a coefficient, the level of weighted least squares), the shaded
    cone holds the slopes from `low` to `high`, the dashed guide has the slope `predicted`, and is
    predicted_coefficient · N^predicted where the size is predicted too; error bars are ± 2 standard errors. A NaN
    exponent means that no slope could be fitted: UNDECIDED. Widths
    outside `widths_used` are drawn hollow. Call it again on the returned axes for another series.
    Raises ``ValueError`` if a distance or width is not positive or the shapes do not fit.

        >>> import math, jaxlimit as jl
        >>> ax = jl.plots.rate([64, 256], [0.2, 0.1], [0.01, 0.01], math.nan, math.nan, math.nan, -0.5)
        >>> ax.get_legend().get_texts()[0].get_text()
        'error: slope UNDECIDED'
    """
    widths = real_array("widths", widths, 1)
    distance = column("distance", distance, widths.size)
    error = column("standard_error", standard_error, widths.size)
    for name, array in (("widths", widths), ("distance", distance)):
        require(bool(np.all(array > 0)), name, "be positive (a log axis has no zero)", f"it holds {array.min():g}")
    ax = axes(ax, "width $N$", ylabel)
    color = SERIES[len(ax.containers) % len(SERIES)]
    decided = math.isfinite(exponent)
    interval = f"{_decimals(exponent)} [{_decimals(low)}, {_decimals(high)}]" if decided else "UNDECIDED"
    bars: dict[str, Any] = {"fmt": "o", "markersize": 4, "linewidth": 0.9, "capsize": 2, "zorder": 4}
    ax.errorbar(widths, distance, 2 * error, color=color, label=f"{label}: slope {interval}", **bars)
    used = np.isin(widths, widths if widths_used is None else np.asarray(widths_used))
    ax.plot(widths[~used], distance[~used], "o", markersize=2.6, color="white", zorder=5)
    fitted = used if np.any(used) else np.ones_like(used)
    # The weights of `statistics.rate`: slope and level are then uncorrelated at the pivot.
    weights = (distance / error) ** 2 if np.all(error > 0) else np.ones_like(distance)
    pivot = np.exp(np.average(np.log(widths[fitted]), weights=weights[fitted]))
    level = np.exp(np.average(np.log(distance[fitted]), weights=weights[fitted]))
    reach = np.geomspace(widths.min() / 1.15, widths.max() * 1.15, 64)
    if decided:
        level = level if coefficient is None else coefficient * pivot**exponent
        ax.plot(reach, level * (reach / pivot) ** exponent, color=color, linewidth=1.3, zorder=3)
        with np.errstate(over="ignore"):
            cone = [level * (reach / pivot) ** end for end in (low, high)]
        # An interval that says nothing must not squeeze the data into a line.
        cone = [np.clip(edge, distance.min() / 4, distance.max() * 4) for edge in cone]
        ax.fill_between(reach, *cone, color=color, alpha=0.2, linewidth=0, zorder=1)
    guide = f"predicted slope {_slope(predicted)}"
    if predicted_coefficient is not None:
        guide = f"predicted, size and slope {_slope(predicted)}"
        level = predicted_coefficient * pivot**predicted
    new = guide not in ax.get_legend_handles_labels()[1]
    ax.plot(reach, level * (reach / pivot) ** predicted, "--", color=GIVEN, linewidth=0.9, label=guide if new else None)
    ax.set(xscale="log", yscale="log")
    width_ticks(ax)
    log_ticks(ax.yaxis)
    return legend(ax, 1, bars_first=True)


def _slope(value: float) -> str:
    """As a fraction where it is a simple one, otherwise two decimals."""
    simple = Fraction(value).limit_denominator(8)
    return minus(str(simple)) if abs(value - simple) < 1e-12 else _decimals(value)


def _decimals(value: float) -> str:
    """Two decimals, and no sign before a zero."""
    return minus(f"{round(value, 2) + 0.0:.2f}")
