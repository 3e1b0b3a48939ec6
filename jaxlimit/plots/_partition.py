"""How large the parts of a whole are along training."""

from collections.abc import Mapping

import numpy as np

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike
from jaxlimit.plots._canvas import SERIES, Axes, axes, band_times, legend, replicas


def partition(ts: ArrayLike, parts: Mapping[str, ArrayLike], ax: Axes | None = None, *, ylabel: str = "share") -> Axes:
    """The share of every part [replicas, times]: its mean over networks, and from the smallest to the largest shaded.

    For neurons that are true-living, true-dead, false-living and false-dead, say. Replicas that are not finite are
    left out and counted in the legend. Raises ``ValueError`` for shares outside [0, 1] and shapes that do not fit.

        >>> import jaxlimit as jl
        >>> ax = jl.plots.partition([0.0, 1.0], {"living": [[0.5, 0.9], [0.4, 0.8]], "dead": [[0.5, 0.1], [0.6, 0.2]]})
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['living', 'dead']
    """
    ts = real_array("ts", ts, 1)
    ax = axes(ax, "limit time $t$", ylabel)
    for k, (name, values) in enumerate(parts.items()):
        kept, note = replicas(name, values, ts.size)
        within = bool(np.all((kept >= 0) & (kept <= 1)))
        require(within, name, "lie in [0, 1]", f"it holds {kept.min():g} to {kept.max():g}")
        color, mean = SERIES[k % len(SERIES)], np.mean(kept, axis=0)
        # Parts of the same size would hide each other.
        ax.plot(ts, mean, color=color, linewidth=1.5, linestyle=("-", "--")[k % 2], label=f"{name}{note}")
        low, high = np.min(kept, axis=0), np.max(kept, axis=0)
        if ts.size == 1:
            low, high = np.repeat(low, 2), np.repeat(high, 2)
        ax.fill_between(band_times(ts), low, high, color=color, alpha=0.15, linewidth=0)
    ax.set_ylim(bottom=0.0)
    return legend(ax, 2)
