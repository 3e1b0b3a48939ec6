"""The loss along training, with what the certificate promises."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from jaxlimit._arguments import real_array
from jaxlimit._typing import ArrayLike
from jaxlimit.plots._canvas import ESTIMATED, LIMIT, PROVED, SIMULATED, Axes, axes, column, legend, log_ticks, marker


def loss(
    ts: ArrayLike,
    mean: ArrayLike,
    standard_error: ArrayLike,
    predicted: ArrayLike,
    envelope: ArrayLike | None = None,
    ax: Axes | None = None,
    *,
    width: int,
    assumptions: Sequence[str] = (),
) -> Axes:
    """Mean loss over replicas (± 2 standard errors) against the limit's mean loss and the proved envelope.

    All are [times]; the envelope is e^{−2λt}·L_0 with λ a certified lower bound of λ_min, and `assumptions`
    are those of its certificate: where there are any, the legend says so. The loss axis
    is logarithmic where all values are positive and span more than a factor of five. Raises
    ``ValueError`` if the shapes do not fit.

        >>> import numpy as np, jaxlimit as jl
        >>> ts = np.linspace(0.0, 4.0, 9)
        >>> ax = jl.plots.loss(ts, np.exp(-ts), 0.01 * np.exp(-ts), np.exp(-ts), np.exp(-0.5 * ts), width=256)
        >>> ax.get_yscale()
        'log'
    """
    ts = real_array("ts", ts, 1)
    mean, error = column("mean", mean, ts.size), column("standard_error", standard_error, ts.size)
    curves = [mean, column("predicted", predicted, ts.size)]
    ax = axes(ax, "limit time $t$", "mean loss $L(t)$")
    bars: dict[str, Any] = {
        "fmt": "o",
        "markersize": 3,
        "capsize": 2,
        "linewidth": 0.9,
        "color": SIMULATED,
        "zorder": 3,
    }
    ax.errorbar(ts, mean, 2 * error, label=f"width $N={width}$, $\\pm2$ s.e.", **bars)
    ax.plot(ts, curves[1], color=LIMIT, linewidth=1.4, label="limit", **marker(1 if ts.size == 1 else 99))
    if envelope is not None:
        curves.append(column("envelope", envelope, ts.size))
        bound: dict[str, Any] = {"color": PROVED, "linestyle": "--", "linewidth": 1.2}
        given = f",\n{ESTIMATED}" if assumptions else ""
        ax.plot(ts, curves[2], label=rf"proved bound $e^{{-2\lambda t}}L_0${given}", **bound)
    everything = np.concatenate(curves)
    if everything.min() > 0 and everything.max() > 5 * everything.min():
        ax.set_yscale("log", nonpositive="clip")
        log_ticks(ax.yaxis)
    else:
        ax.set_ylim(bottom=min(0.0, everything.min()))
    return legend(ax, 2, bars_first=True)
