"""A measured number against the scaling's exponent γ, with what theory says of it."""

from typing import Any

import numpy as np

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike
from jaxlimit.plots._canvas import GIVEN, LIMIT, SERIES, SIMULATED, Axes, axes, column, legend, log_ticks


def against_gamma(
    gammas: ArrayLike,
    value: ArrayLike,
    error: ArrayLike,
    predicted: ArrayLike,
    limit: ArrayLike | None = None,
    ax: Axes | None = None,
    *,
    ylabel: str = "value",
    label: str = "simulated",
    predicted_label: str = "predicted",
    limit_label: str = "limit",
    log: bool = False,
) -> Axes:
    """Measured values (± 2 `error`) against γ, a line through the predicted ones, a dotted one for the limit alone.

    All are [gammas]; `error` [gammas], or [2, gammas] for bars that reach so far below and above, drawn as they are.
    Call it again on the returned axes for another series. With one series the prediction is vermillion, with more the
    lines have the colours of their points. Raises ``ValueError`` if the shapes do not fit, and with `log` for values
    or predictions that are not positive.

        >>> import jaxlimit as jl
        >>> ax = jl.plots.against_gamma([0.5, 0.75, 1.0], [0.3, 0.2, 0.1], [0.01, 0.01, 0.01], [0.3, 0.19, 0.11])
        >>> ax.get_xlabel()
        'exponent $\\\\gamma$ of the scaling $N^{-\\\\gamma}$'
    """
    x = real_array("gammas", gammas, 1)
    value, predicted = column("value", value, x.size), column("predicted", predicted, x.size)
    bars = real_array("error", error, None)
    require(
        bars.shape in ((x.size,), (2, x.size)),
        "error",
        f"have shape ({x.size},) or (2, {x.size})",
        f"it is {bars.shape}",
    )
    for name, array in (("value", value), ("predicted", predicted)):
        positive = not log or bool(np.all(array > 0))
        require(positive, name, "be positive (a log axis has no zero)", f"it holds {array.min():g}")
    first = ax is None or not ax.containers
    ax = axes(ax, r"exponent $\gamma$ of the scaling $N^{-\gamma}$", ylabel)
    color = SERIES[len(ax.containers) % len(SERIES)]
    style: dict[str, Any] = {"fmt": "o", "markersize": 3.5, "capsize": 2, "linewidth": 0.9, "zorder": 4}
    ax.errorbar(x, value, 2 * bars if bars.ndim == 1 else bars, color=color, label=label, **style)
    line = LIMIT if first and color == SIMULATED and predicted_label else color
    ax.plot(x, predicted, color=line, linewidth=1.3, zorder=3, label=predicted_label or None)
    if limit is not None:
        given = column("limit", limit, x.size)
        new = limit_label not in ax.get_legend_handles_labels()[1]
        ax.plot(x, given, ":", color=GIVEN, linewidth=1.1, zorder=2, label=limit_label if new else None)
    if log:
        ax.set_yscale("log", nonpositive="clip")
        log_ticks(ax.yaxis)
    return legend(ax, 2, bars_first=True)
