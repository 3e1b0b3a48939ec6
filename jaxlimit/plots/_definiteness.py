"""Proved intervals of the smallest eigenvalue: by case, and against an angle that shrinks."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.claims import above
from jaxlimit.plots._canvas import ESTIMATED, GIVEN, LIMIT, PROVED, SERIES, Axes, axes, column, legend, log_ticks

COLOURS = (LIMIT, *SERIES)
UPPER, FLOOR = "only an upper bound", "floor of the proofs"


def definiteness(
    names: Sequence[str],
    lower: ArrayLike,
    upper: ArrayLike,
    floor: ArrayLike,
    singular: Sequence[bool],
    ax: Axes | None = None,
    *,
    silent: Sequence[bool] | None = None,
    estimated: Sequence[bool] | None = None,
) -> Axes:
    """A proved interval of λ_min for every case, one row each, on a log axis.

    Green dots (lines, where an interval is wider than a dot) are proved positive, and open green squares
    too, where the theorem is `silent`; diamonds, filled or open, stand for proofs that take `estimated` errors
    of the entries for bounds. The axis says how wide the intervals are at most, as that is seldom seen. Cases
    that are `singular` for a structural reason are triangles at their floor, the size below which nothing could
    have been proved; open circles at the floor are undecided. Names "activation, variant" that begin alike stand
    together; the activation is written once.

        >>> import jaxlimit as jl
        >>> ax = jl.plots.definiteness(["Erf", "Relu"], [0.1, -1e-16], [0.101, 1e-16], [1e-15, 1e-15], [False, True])
        >>> ax.get_xscale()
        'log'
    """
    low, high, least = (column(n, v, len(names)) for n, v in (("lower", lower), ("upper", upper), ("floor", floor)))
    shut = np.array(singular, dtype=bool)
    mute, given = (
        np.zeros(len(names), dtype=bool) if flags is None else np.array(flags, dtype=bool)
        for flags in (silent, estimated)
    )
    labels = _shortened(names)
    ax = axes(ax, "", "")
    rows = np.arange(len(names))
    proved = (low > 0) & ~shut
    open_ = ~proved & ~shut
    style: dict[str, Any] = {"markersize": 4, "linestyle": "none", "zorder": 3}
    ax.hlines(rows[proved], low[proved], high[proved], color=PROVED, linewidth=1.4)
    middle = np.sqrt(np.where(proved, low * high, 1.0))
    kinds = (
        (proved & ~mute & ~given, middle, "o", PROVED, PROVED, "proved positive definite"),
        (proved & ~mute & given, middle, "D", PROVED, PROVED, f"proved, {ESTIMATED}"),
        (proved & mute & ~given, middle, "s", PROVED, "white", "proved where the theorem is silent"),
        (proved & mute & given, middle, "D", PROVED, "white", f"proved where the theorem is silent,\n{ESTIMATED}"),
        (shut, least, "<", LIMIT, LIMIT, "singular, for a reason in the data\n(drawn at the floor)"),
        (open_, least, "o", GIVEN, "white", "undecided (drawn at the floor)"),
    )
    for chosen, place, mark, colour, face, text in kinds:
        if np.any(chosen):
            ax.plot(place[chosen], rows[chosen], mark, color=colour, markerfacecolor=face, label=text, **style)
    _resize(ax, labels, sum(1 + text.count("\n") for chosen, *_, text in kinds if np.any(chosen)))
    ax.set_xlabel(r"$\lambda_{\min}(B)$" + _apart(low[proved], high[proved]), fontsize=9)
    ax.set_xscale("log")
    shown = np.concatenate([low[proved], high[proved], least[~proved]])
    ax.set_xlim(shown.min() / 4, shown.max() * 4)
    log_ticks(ax.xaxis)
    ax.set_yticks(rows, labels, fontsize=7)
    ax.set_ylim(len(names) - 0.5, -0.5)
    for row, (one, other) in enumerate(pairwise(names)):
        if _first(one) != _first(other):
            ax.axhline(row + 0.5, color=GIVEN, linewidth=0.3)
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

    Filled dots are proved positive; where positivity is not, an open circle stands at the upper bound. Call
    it again on the same axes for another curve: the key to circles and dots stays at the end of the legend.

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
    keys = {line.get_gid(): line for line in ax.lines if line.get_gid() in (UPPER, FLOOR)}
    for key in keys.values():
        key.remove()
    if UPPER in keys or np.any(doubtful):
        ax.plot([], [], "o", color=GIVEN, markersize=3.2, markerfacecolor="white", label=UPPER, gid=UPPER)
    ax.plot([], [], ":", color=GIVEN, linewidth=0.8, label=FLOOR, gid=FLOOR)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.xaxis.set_inverted(False)  # ticks are chosen on an axis that grows to the right
    log_ticks(ax.xaxis)
    ax.xaxis.set_inverted(True)
    log_ticks(ax.yaxis)
    return legend(ax, 2, by_row=True)


def _resize(ax: Axes, labels: Sequence[str], key_lines: int) -> None:
    """A row, like a line of the key, needs an eighth of an inch and more; a letter of a name a twentieth."""
    longest = max(map(len, labels), default=0)
    if len(labels) > 8 or longest > 14:
        sheet: Any = ax.figure
        width = max(4.9 if len(labels) > 8 else 4.2, 3.4 + 0.055 * longest)
        sheet.set_size_inches(width, max(3.0, 0.7 + 0.135 * (len(labels) + key_lines)))


def _apart(low: Host, high: Host) -> str:
    """How far apart the ends of the proved intervals are at most, relative to the lower one and rounded up."""
    if low.size == 0:
        return ""
    factor, exponential, power = above(float(np.max((high - low) / low)), 1).partition("e")
    number = rf"${factor}\times 10^{{{int(power)}}}$" if exponential else factor
    return f"\nproved intervals of relative width ≤ {number}"


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
