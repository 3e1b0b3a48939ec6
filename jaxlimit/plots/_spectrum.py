"""Eigenvalues of the limit's matrix, and the smallest one at finite width."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike
from jaxlimit.claims import enclosure
from jaxlimit.plots._canvas import (
    ESTIMATED,
    GIVEN,
    LIMIT,
    PROVED,
    SERIES,
    SIMULATED,
    Axes,
    axes,
    band_times,
    legend,
    log_ticks,
    marker,
    minus,
    replicas,
    single_time,
)

LINE = 44
"""Letters that fit into a line of the legend."""


def spectrum(
    eigenvalues: ArrayLike,
    lower: float,
    upper: float,
    ax: Axes | None = None,
    *,
    floor: float | None = None,
    status: str = "certified",
    empirical: Mapping[str, ArrayLike] | None = None,
    assumptions: Sequence[str] = (),
) -> Axes:
    """Eigenvalues of A in decreasing order on a log axis, with the certified interval of the smallest.

    `lower` and `upper` enclose λ_min(A), `status` names the certificate's answer, `floor` is the
    smallest λ_min that could have been proved, and `assumptions` are those of the certificate: where there are
    any, the legend says so. Computed eigenvalues ≤ 0 are drawn as triangles at the
    foot. `empirical` maps labels, such as "N = 1024", to values of λ_min(B_N) over replicas, shown to
    the right by their median and 5–95% range. Raises ``ValueError`` for eigenvalues that are not finite.

        >>> import jaxlimit as jl
        >>> ax = jl.plots.spectrum([0.5, 0.1, 0.02], 0.0199, 0.0201)
        >>> ax.get_yscale()
        'log'
    """
    values = np.sort(real_array("eigenvalues", eigenvalues, 1))[::-1]
    ax = axes(ax, "index $k$", r"eigenvalue $\lambda_k(A)$")
    index = np.arange(1, values.size + 1)
    positive = values > 0
    ends = [v for v in (lower, upper) if math.isfinite(v) and v > 0]
    marks: dict[str, Any] = {"markersize": 3.5, "color": LIMIT, "zorder": 3}
    ax.plot(index[positive], values[positive], "o", label=r"$\lambda_k(A)$", **marks)
    heights = [values[positive], np.array(ends)]
    for j, (label, sample) in enumerate((empirical or {}).items()):
        kept = np.ravel(np.asarray(sample, dtype=np.float64))
        kept = kept[np.isfinite(kept)]
        require(kept.size > 0, "empirical", "hold finite values", f"{label!r} has none")
        q = np.quantile(kept, [0.05, 0.5, 0.95])
        place = values.size + (j + 1) * max(1.0, 0.04 * values.size)
        style: dict[str, Any] = {
            "fmt": "s",
            "markersize": 3,
            "capsize": 2,
            "linewidth": 0.9,
            "color": SERIES[j % len(SERIES)],
        }
        name = rf"$\lambda_{{\min}}$, {label}, 5–95%"
        ax.errorbar([place], [q[1]], [[q[1] - q[0]], [q[2] - q[1]]], label=name, **style)
        heights.append(q[q > 0])
    near = np.concatenate(heights)
    foot, top = (near.min() / 2.5, near.max()) if near.size else (1e-16, 1.0)
    note = ""
    if floor is not None and floor > 0:
        if floor < foot / 1e4:  # a line so far below would squeeze the eigenvalues into a corner
            note = f", floor {minus(f'{floor:.0e}')}"
        else:
            foot = min(foot, floor / 2.5)
            name = f"floor of the proof {minus(f'{floor:.1e}')}"
            ax.axhline(floor, color=GIVEN, linestyle=":", linewidth=0.9, label=name)
    if not np.all(positive):
        ax.plot(index[~positive], np.full(np.sum(~positive), foot), "v", clip_on=False, label="computed ≤ 0", **marks)
    shown_lower = lower if math.isfinite(lower) and lower > 0 else foot
    left, right = (minus(end) for end in enclosure(lower, upper))
    said = f"{status}, {ESTIMATED}" if assumptions else status
    proof = rf"{said}: {left} ≤ $\lambda_{{\min}}$ ≤ {right}{note}"
    if len(said + left + right + note) > LINE:  # many digits need a line of their own, or two
        between = "\n" if len(left + right) > LINE - 8 else " "
        proof = rf"{said}{note}:" + f"\n{left} ≤ " + rf"$\lambda_{{\min}}$ ≤{between}{right}"
    if ends:
        # The outline keeps an interval narrower than a pixel visible.
        ax.axhspan(shown_lower, max(ends), facecolor=PROVED + "33", edgecolor=PROVED, linewidth=0.9, label=proof)
    else:
        ax.plot([], [], " ", label=proof)
    ax.set_yscale("log")
    ax.set_ylim(foot, top * (top / foot) ** 0.05)
    ax.set_xlim(left=0.3)
    log_ticks(ax.yaxis)
    _index_ticks(ax)
    return legend(ax, 1)


def lambda_min_along_training(
    ts: ArrayLike,
    values: ArrayLike,
    limit: float,
    lower: float,
    ax: Axes | None = None,
    *,
    width: int | None = None,
    assumptions: Sequence[str] = (),
) -> Axes:
    """λ_min of the width-N matrix along training (5–95% and 25–75% of the replicas) against the limit's.

    `values` [replicas, times] are λ_min(B_N(t)), `limit` is λ_min of the limit and `lower` its certified
    lower bound (not drawn where there is none: NaN or infinite), given the `assumptions` of its certificate.
    `width` is N, for the legend. Replicas that are not finite are left
    out and counted in the legend.

        >>> import numpy as np, jaxlimit as jl
        >>> ts = np.linspace(0.0, 1.0, 3)
        >>> ax = jl.plots.lambda_min_along_training(ts, np.full((4, 3), 0.1), 0.1, 0.09)
        >>> ax.get_xlabel()
        'limit time $t$'
    """
    ts = real_array("ts", ts, 1)
    kept, note = replicas("values", values, ts.size)
    q5, q25, q50, q75, q95 = np.quantile(kept, [0.05, 0.25, 0.5, 0.75, 0.95], axis=0)
    ax = axes(ax, "limit time $t$", r"$\lambda_{\min}$")
    band: dict[str, Any] = {"color": SIMULATED, "linewidth": 0, "zorder": 1}
    ax.fill_between(band_times(ts), q5, q95, alpha=0.15, label="5–95%", **band)
    ax.fill_between(band_times(ts), q25, q75, alpha=0.3, label="25–75%", **band)
    name = f"median of {len(kept)} replicas{note}" + ("" if width is None else f",\n$N={width}$")
    ax.plot(ts, q50, color=SIMULATED, linewidth=1.4, label=name, **marker(ts.size))
    ax.axhline(limit, color=LIMIT, linewidth=1.4, label=r"limit $\lambda_{\min}$")
    if math.isfinite(lower):
        bound = "proved lower bound" + (f",\n{ESTIMATED}" if assumptions else "")
        ax.axhline(lower, color=PROVED, linestyle="--", linewidth=1.2, label=bound)
    single_time(ax, ts)
    return legend(ax, 2)


def _index_ticks(ax: Axes) -> None:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(nbins=8, integer=True, steps=[1, 2, 5, 10]))
