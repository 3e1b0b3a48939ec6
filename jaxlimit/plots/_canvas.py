"""The look of every figure: size, colours, ticks, legend; and what the figures ask of arrays.

Matplotlib is imported inside the functions, so that importing the package never needs it.
"""

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike, Host

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.axis import Axis as Axis
    from matplotlib.figure import Figure as Figure
else:  # annotations are evaluated when types are checked at run time: they must not import Matplotlib
    Axes = Axis = Figure = Any

SIMULATED, LIMIT, PROVED, GIVEN = "#0072B2", "#D55E00", "#009E73", "#000000"
"""One meaning, one colour: Okabe and Ito's palette, safe for the colour-blind."""

ESTIMATED = "given error estimates"
"""What a proof adds in a legend that takes estimates of entry errors for bounds."""

SERIES = (SIMULATED, "#CC79A7", "#E69F00", "#56B4E9")
"""Colours of several simulated series on the same axes."""

SIZE = (4.2, 3.0)
"""Inches: a single column of print, a little enlarged."""


def figure() -> Figure:
    """An empty figure of the house's size, without a backend."""
    try:
        from matplotlib.figure import Figure as Canvas
    except ImportError as error:
        raise ImportError("jaxlimit.plots draws with Matplotlib: pip install 'jaxlimit[plot]'") from error
    return Canvas(figsize=SIZE, layout="constrained")


def axes(ax: Axes | None, horizontal: str, vertical: str) -> Axes:
    """`ax`, or the axes of a new figure, labelled and styled."""
    ax = figure().subplots() if ax is None else ax
    ax.set_xlabel(horizontal, fontsize=9)
    ax.set_ylabel(vertical, fontsize=9)
    ax.tick_params(which="both", labelsize=8, width=0.6)
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["bottom", "left"]].set_linewidth(0.6)
    return ax


def legend(ax: Axes, columns: int, bars_first: bool = False, by_row: bool = False) -> Axes:
    """The legend above the axes, where it covers no data; filled column by column, or row by row."""
    handles, _ = ax.get_legend_handles_labels()
    if by_row:
        handles = [handle for first in range(columns) for handle in handles[first::columns]]
    if bars_first:  # Matplotlib puts error bars, here the measurements, after all curves
        measured = {id(bars) for bars in ax.containers}
        handles.sort(key=lambda handle: id(handle) not in measured)
    style: dict[str, Any] = {"loc": "lower left", "bbox_to_anchor": (0.0, 1.01), "borderaxespad": 0.0, "frameon": False}
    spacing: dict[str, Any] = {"handlelength": 1.7, "columnspacing": 1.2, "labelspacing": 0.3}
    drawn = ax.legend(handles=handles, fontsize=8, ncols=columns, **spacing, **style)
    for line in drawn.get_lines():
        line.set_alpha(1.0)  # one translucent path alone is hard to see
    return ax


def log_ticks(axis: Axis) -> None:
    """Ticks of an axis that is logarithmic already: as many labels per decade as fit."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

    low, high = axis.get_view_interval()
    decades = math.log10(high / low)
    subs = (1.0, 2.0, 3.0, 5.0, 7.0) if decades < 1 else (1.0, 2.0, 5.0) if decades < 2 else (1.0,)
    axis.set_major_locator(LogLocator(base=10, subs=subs, numticks=8 if decades >= 2 else 20))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value, decades)))


def width_ticks(ax: Axes) -> None:
    """Ticks at the measured widths themselves, leaving out those whose labels would collide."""
    from matplotlib.container import ErrorbarContainer
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    widths = np.unique(
        np.concatenate([bars.lines[0].get_xdata() for bars in ax.containers if isinstance(bars, ErrorbarContainer)])
    )
    room = 0.11 * math.log(widths[-1] / widths[0])
    chosen = [widths[-1]]
    for width in widths[-2::-1]:
        if math.log(chosen[-1] / width) >= room:
            chosen.append(width)
    ax.xaxis.set_major_locator(FixedLocator(chosen))
    ax.xaxis.set_minor_locator(NullLocator())
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.0f}"))


def _tick(value: float, decades: float) -> str:
    if decades < 4 and 9e-4 < value < 1e6:
        return f"{value:g}"
    power = math.floor(math.log10(value) + 1e-9)
    factor = round(value / 10.0**power)
    return (rf"${factor}\times" if factor > 1 else "$") + f"10^{{{power}}}$"


def minus(text: str) -> str:
    """Hyphens as true minus signs, as Matplotlib writes its own numbers."""
    return text.replace("-", "\N{MINUS SIGN}")


def column(name: str, value: ArrayLike, times: int) -> Host:
    """One finite number per time (or per width)."""
    array = real_array(name, value, 1)
    require(array.shape == (times,), name, f"have shape ({times},)", f"it is {array.shape}")
    return array


def replicas(name: str, value: ArrayLike, times: int) -> tuple[Host, str]:
    """The replicas that stayed finite, and a note on those that did not."""
    array = np.asarray(value, dtype=np.float64)
    fits = array.ndim == 2 and array.shape[1] == times
    require(fits, name, f"have shape [replicas, {times}]", f"it is {array.shape}")
    finite = np.all(np.isfinite(array), axis=1)
    require(bool(np.any(finite)), name, "hold at least one finite replica", f"it has none of {len(array)}")
    lost = int(np.sum(~finite))
    return array[finite], f", {lost} diverged" if lost else ""


def band_times(ts: Host) -> Host:
    """The times of a band; a single time is widened, because a band over it would have no area."""
    return ts if ts.size > 1 else ts[0] + 0.01 * max(abs(float(ts[0])), 1.0) * np.array([-1.0, 1.0])


def single_time(ax: Axes, ts: Host) -> None:
    """With one save time: that tick alone, and a band that stays a narrow column."""
    if ts.size == 1:
        ax.set_xticks(ts)
        width = 25 * (band_times(ts)[1] - ts[0])
        ax.set_xlim(ts[0] - width, ts[0] + width)


def marker(times: int) -> dict[str, Any]:
    """Markers where times are few: straight pieces between them are not data, and one time makes no line."""
    return {"marker": "o", "markersize": 2.5} if times <= 12 else {}
