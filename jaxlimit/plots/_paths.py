"""A bundle of paths against the limit law."""

from typing import Any

import numpy as np

from jaxlimit._arguments import real_array
from jaxlimit._typing import ArrayLike
from jaxlimit.plots._canvas import (
    GIVEN,
    LIMIT,
    SIMULATED,
    Axes,
    axes,
    band_times,
    column,
    legend,
    marker,
    replicas,
    single_time,
)


def paths(
    ts: ArrayLike,
    values: ArrayLike,
    mean: ArrayLike,
    sd: ArrayLike,
    ax: Axes | None = None,
    *,
    label: str = "$h^N_t$",
    target: float | None = None,
    shown: int = 40,
) -> Axes:
    """Paths of the output at one data point against the limit law's mean ± 1 and ± 2 standard deviations.

    `values` [replicas, times]; `mean` and `sd` [times] of the limit; `target` is ŷ there. At most
    `shown` replicas are drawn, evenly spaced through the replicas. Replicas that are not finite are
    left out and counted in the legend. Raises ``ValueError`` if the shapes do not fit.

        >>> import numpy as np, jaxlimit as jl
        >>> ts = np.linspace(0.0, 2.0, 5)
        >>> ax = jl.plots.paths(ts, np.zeros((3, 5)), np.zeros(5), np.ones(5), target=1.0)
        >>> ax.get_xlabel()
        'limit time $t$'
    """
    ts = real_array("ts", ts, 1)
    kept, note = replicas("values", values, ts.size)
    mean, sd = column("mean", mean, ts.size), column("sd", sd, ts.size)
    chosen = np.unique(np.linspace(0, len(kept) - 1, max(1, min(shown, len(kept)))).round().astype(int))
    ax = axes(ax, "limit time $t$", "output $h_t(x)$")
    fade = max(0.2, min(0.7, 16.0 / len(chosen)))
    for i, path in enumerate(kept[chosen]):
        name = f"{label} ({len(chosen)} of {len(kept)}{note})" if i == 0 else None
        ax.plot(ts, path, color=SIMULATED, linewidth=0.6, alpha=fade, label=name, **marker(ts.size))
    for k in (2, 1):
        name = r"limit $\pm1$, $\pm2$ sd" if k == 1 else None
        style: dict[str, Any] = {"color": LIMIT, "alpha": 0.17, "linewidth": 0, "zorder": 1}
        ax.fill_between(band_times(ts), mean - k * sd, mean + k * sd, label=name, **style)
    ax.plot(ts, mean, color=LIMIT, linewidth=1.6, label="limit mean", zorder=4, **marker(ts.size))
    if target is not None:
        ax.axhline(target, color=GIVEN, linestyle=":", linewidth=1.1, label=r"target $\hat{y}$")
    single_time(ax, ts)
    return legend(ax, 2)
