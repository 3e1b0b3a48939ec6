"""Positive quantities along training, network by network."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike
from jaxlimit.plots._canvas import SERIES, Axes, axes, legend, log_ticks, replicas


def vanishing(
    ts: ArrayLike, series: Mapping[str, ArrayLike], ax: Axes | None = None, *, ylabel: str = "along training"
) -> Axes:
    """Every series [replicas, times] on a logarithmic axis: thin lines for networks, a thick one for their median.

    Replicas that are not finite are left out and counted in the legend. Raises ``ValueError`` for values that are not
    positive and shapes that do not fit.

        >>> import numpy as np, jaxlimit as jl
        >>> ts = np.linspace(0.0, 4.0, 9)
        >>> ax = jl.plots.vanishing(ts, {"loss": np.exp(-ts)[None] * np.ones((3, 1))})
        >>> ax.get_yscale()
        'log'
    """
    ts = real_array("ts", ts, 1)
    ax = axes(ax, "limit time $t$", ylabel)
    for k, (name, values) in enumerate(series.items()):
        kept, note = replicas(name, values, ts.size)
        require(bool(np.all(kept > 0)), name, "be positive (a log axis has no zero)", f"it holds {kept.min():g}")
        style: dict[str, Any] = {"color": SERIES[k % len(SERIES)]}
        for row in kept:
            ax.plot(ts, row, linewidth=0.6, alpha=0.4, **style)
        ax.plot(ts, np.median(kept, axis=0), "o-", markersize=3, linewidth=1.3, label=f"{name}{note}", **style)
    ax.set_yscale("log")
    log_ticks(ax.yaxis)
    return legend(ax, 2)
