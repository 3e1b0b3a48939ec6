"""Quantiles of the replicas against a Gaussian law."""

import math
from typing import Any

import numpy as np
import scipy.special
import scipy.stats

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike
from jaxlimit.plots._canvas import LIMIT, SIMULATED, Axes, axes, legend


def qq(values: ArrayLike, mean: float, sd: float, ax: Axes | None = None, *, level: float = 0.99) -> Axes:
    """Quantiles of replicas [replicas] against those of N(mean, sd²), with a simultaneous band.

    Under N(mean, sd²) ALL points lie in the band with probability `level`, at any number of replicas:
    the band inverts sup|F_n − F| ≤ ε with ε from the exact law of the Kolmogorov–Smirnov statistic.
    The legend tells how many points left it. Raises ``ValueError`` unless sd > 0 and 0 < level < 1.

        >>> import numpy as np, jaxlimit as jl
        >>> ax = jl.plots.qq(np.random.default_rng(0).normal(size=500), 0.0, 1.0)
        >>> len(ax.lines[0].get_xdata())
        500
    """
    require(math.isfinite(sd) and sd > 0, "sd", "be positive", f"it is {sd!r}")
    require(0 < level < 1, "level", "lie between 0 and 1", f"it is {level!r}")
    z = np.sort((real_array("values", values, 1) - mean) / sd)
    n = z.size
    epsilon = float(scipy.stats.kstwo.ppf(level, n))
    rank = np.arange(1, n + 1)
    normal = scipy.special.ndtri((rank - 0.5) / n)
    below = scipy.special.ndtri(np.clip(rank / n - epsilon, 0.0, 1.0))
    above = scipy.special.ndtri(np.clip((rank - 1) / n + epsilon, 0.0, 1.0))
    outside = int(np.sum((z < below) | (z > above)))
    ax = axes(ax, "quantile of $N(0,1)$", "standardised replica quantile")
    edge = 1.08 * max(float(np.max(np.abs(z))), abs(float(normal[0])), 1.0)
    points: dict[str, Any] = {"markersize": 2.5, "color": SIMULATED, "markeredgewidth": 0, "zorder": 3}
    ax.plot(normal, z, "o", label=f"{n} replicas, {outside} outside", **points)
    ax.plot([-edge, edge], [-edge, edge], color=LIMIT, linewidth=1.2, label="limit law")
    finite_below, finite_above = np.maximum(below, -2 * edge), np.minimum(above, 2 * edge)
    band: dict[str, Any] = {"color": LIMIT, "alpha": 0.17, "linewidth": 0, "zorder": 1}
    ax.fill_between(normal, finite_below, finite_above, label=f"{100 * level:g}% simultaneous band", **band)
    ax.set(xlim=(1.04 * normal[0], 1.04 * normal[-1]) if n > 1 else (-1, 1), ylim=(-edge, edge))
    return legend(ax, 2)
