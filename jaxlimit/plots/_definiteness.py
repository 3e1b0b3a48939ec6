"""Proved intervals of the smallest eigenvalue: by case, and against an angle that shrinks."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike
from jaxlimit.plots._canvas import GIVEN, LIMIT, PROVED, SERIES, Axes, axes, column, legend, log_ticks

COLOURS = (LIMIT, *SERIES)


def definiteness(
    names: Sequence[str],
    lower: ArrayLike,
    upper: ArrayLike,
    floor: ArrayLike,
    singular: Sequence[bool],
    ax: Axes | None = None,
) -> Axes:
    """A proved interval of λ_min for every case, one row each, on a log axis.

    Green dots (lines, where an interval is wider than a dot) are proved positive. Cases that are
    `singular` for a structural reason are triangles at their floor, the size below which nothing could
    have been proved; open circles at the floor are undecided. Names "activation, variant" that begin
    alike stand together; the activation is written once.

        >>> import jaxlimit as jl
        >>> ax = jl.plots.definiteness(["Erf", "Relu"], [0.1, -1e-16], [0.101, 1e-16], [1e-15, 1e-15], [False, True])
        >>> ax.get_xscale()
        'log'
    """
    low, high, least = (column(n, v, len(names)) for n, v in (("lower", lower), ("upper", upper), ("floor", floor)))
    shut = np.array(singular, dtype=bool)
    ax = axes(ax, r"$\lambda_{\min}(B)$", "")
    sheet: Any = ax.figure
    if len(names) > 8:  # a row needs a seventh of an inch
        sheet.set_size_inches(4.9, max(3.0, 0.9 + 0.135 * len(names)))
    rows = np.arange(len(names))
    proved = (low > 0) & ~shut
    open_ = ~proved & ~shut
    style: dict[str, Any] = {"markersize": 4, "linestyle": "none", "zorder": 3}
    ax.hlines(rows[proved], low[proved], high[proved], color=PROVED, linewidth=1.4)
    kinds = (
        (
            proved,
            np.sqrt(low * np.where(low > 0, high, 1.0), where=low > 0, out=np.ones_like(low)),
            "o",
            PROVED,
            "proved positive definite",
        ),
        (shut, least, "<", LIMIT, "singular, for a reason in the data"),
        (open_, least, "o", GIVEN, "undecided"),
    )
    for chosen, place, mark, colour, label in kinds:
        if np.any(chosen):
            face = "none" if chosen is open_ else colour
            ax.plot(place[chosen], rows[chosen], mark, color=colour, markerfacecolor=face, label=label, **style)
    ax.set_xscale("log")
    shown = np.concatenate([low[proved], high[proved], least[~proved]])
    ax.set_xlim(shown.min() / 4, shown.max() * 4)
    log_ticks(ax.xaxis)
    ax.set_yticks(rows, _shortened(names), fontsize=7)
    ax.set_ylim(len(names) - 0.5, -0.5)
    for place, (one, other) in enumerate(pairwise(names)):
        if _first(one) != _first(other):
            ax.axhline(place + 0.5, color=GIVEN, linewidth=0.3)
    return legend(ax, 1)


def approach(
    angles: ArrayLike,
    lower: ArrayLike,
    upper: ArrayLike,
    floor: ArrayLike,
    ax: Axes | None = None,
    *,
    label: str = "",
) -> Axes:
    """Proved intervals of λ_min against an angle, both on log axes, with the floor of the proofs dotted.

    Filled dots are proved positive; where nothing is proved, an open circle stands at the upper bound. Call
    it again on the same axes for another curve.

        >>> import jaxlimit as jl
        >>> ax = jl.plots.approach([1e-2, 1e-1], [1e-4, 1e-2], [2e-4, 2e-2], [1e-15, 1e-15], label="Erf")
        >>> ax.get_xscale(), ax.get_yscale()
        ('log', 'log')
    """
    x = real_array("angles", angles, 1)
    require(bool(np.all(x > 0)), "angles", "be > 0", f"the smallest is {x.min():g}")
    low, high, least = (column(n, v, x.size) for n, v in (("lower", lower), ("upper", upper), ("floor", floor)))
    ax = axes(ax, "angle between the points", r"$\lambda_{\min}(B)$")
    index = len(ax.containers) + len([line for line in ax.lines if line.get_gid() == "curve"])
    colour = COLOURS[index % len(COLOURS)]
    proved = low > 0
    style: dict[str, Any] = {"color": colour, "markersize": 3.2, "zorder": 3}
    (line,) = ax.plot(x[proved], np.sqrt(low[proved] * high[proved]), "o-", linewidth=0.9, label=label, **style)
    line.set_gid("curve")
    ax.vlines(x[proved], low[proved], high[proved], color=colour, linewidth=1.2)
    doubtful = ~proved & (high > 0)
    ax.plot(x[doubtful], high[doubtful], "o", markerfacecolor="none", **style)
    ax.plot(x, least, ":", color=colour, linewidth=0.8)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_inverted(False)  # ticks are chosen on an axis that grows to the right
    log_ticks(ax.xaxis)
    ax.xaxis.set_inverted(True)
    log_ticks(ax.yaxis)
    return legend(ax, 2)


def _first(name: str) -> str:
    return name.split(", ", 1)[0]


def _shortened(names: Sequence[str]) -> list[str]:
    """The activation where it changes, the variant everywhere."""
    before, found = "", []
    for name in names:
        head, _, rest = name.partition(", ")
        found.append(name if head != before else rest)
        before = head
    return found
