"""Figures of a grid: a number against the width for many settings, and several figures on one sheet."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from jaxlimit._arguments import positive_number, real_array, require
from jaxlimit._typing import ArrayLike
from jaxlimit.plots._canvas import GIVEN, SERIES, Axes, axes, column, figure, legend, log_ticks, width_ticks

CELL = (3.4, 2.0)
"""Inches of one figure on a sheet: two beside each other fill the width of a page."""
KEY = 0.55
"""Inches for the key of a sheet."""
DARKEST, LIGHTEST = 0.0, 0.88
"""The part of viridis that is legible on white."""


def against_width(
    widths: ArrayLike,
    value: ArrayLike,
    standard_error: ArrayLike,
    slope: float | None = None,
    ax: Axes | None = None,
    *,
    ylabel: str = "value",
    label: str = "simulated",
    slope_label: str = "slope of the theory",
    shade: float | None = None,
) -> Axes:
    """Measured values (± 2 standard errors) against the width N, both logarithmic, with a dashed slope of the theory.

    All arrays are [widths]. The dashed line N^slope runs through the widest width, where theory should be best. Bars
    shorter than a marker cannot be seen: captions should say so. `shade`, from 0 to 1, is a place on the colour map
    viridis, for series whose settings have an order; without it series take the house's colours in turn. Call it again
    on the returned axes for another series. Raises ``ValueError`` if a width or value is not positive, the shapes do
    not fit, or the shade lies outside [0, 1].

        >>> import jaxlimit as jl
        >>> ax = jl.plots.against_width([64, 256], [0.2, 0.1], [0.01, 0.01], -0.5, label="γ = 0.75", shade=0.5)
        >>> [text.get_text() for text in ax.get_legend().get_texts()]
        ['γ = 0.75', 'slope of the theory']
    """
    widths = real_array("widths", widths, 1)
    value = column("value", value, widths.size)
    error = column("standard_error", standard_error, widths.size)
    for name, array in (("widths", widths), ("value", value)):
        require(bool(np.all(array > 0)), name, "be positive (a log axis has no zero)", f"it holds {array.min():g}")
    ax = axes(ax, "width $N$", ylabel)
    colour: Any = SERIES[len(ax.containers) % len(SERIES)]
    if shade is not None:
        place = positive_number("shade", shade, zero=True)
        require(place <= 1.0, "shade", "lie in [0, 1]", f"it is {place:g}")
        from matplotlib import colormaps

        colour = colormaps["viridis"](DARKEST + (LIGHTEST - DARKEST) * place)
    bars: dict[str, Any] = {"fmt": "o-", "markersize": 3, "linewidth": 0.9, "capsize": 1.5, "zorder": 3}
    ax.errorbar(widths, value, 2 * error, color=colour, label=label, **bars)
    if slope is not None:
        reach = np.array([widths.min(), widths.max()])
        line = value[np.argmax(widths)] * (reach / widths.max()) ** slope
        ax.plot(reach, line, "--", color=colour, linewidth=0.8, zorder=2)
        if slope_label not in ax.get_legend_handles_labels()[1]:
            ax.plot([], [], "--", color=GIVEN, linewidth=0.8, label=slope_label)
    ax.set_xscale("log")
    ax.set_yscale("log", nonpositive="clip")
    width_ticks(ax)
    log_ticks(ax.yaxis)
    return legend(ax, 2, bars_first=True)


def mosaic(draws: Sequence[Sequence[Callable[[Axes], Any]]], ax: Axes | None = None) -> tuple[tuple[Axes, ...], ...]:
    """Rows of figures on one sheet, in place of `ax`, with one key above them for all; returns their axes, by row.

    ``draws[i][j](ax)`` paints row i, column j. A column shares its horizontal axis, whose labels stand below the last
    row. Entries of the key that are called alike are one. Raises ``ValueError`` unless all rows are equally long.

        >>> import jaxlimit as jl
        >>> def draw(ax):
        ...     return jl.plots.against_width([64, 256], [0.2, 0.1], [0.01, 0.01], ax=ax)
        >>> sheet = jl.plots.mosaic([[draw, draw], [draw, draw]])
        >>> len(sheet), len(sheet[0])
        (2, 2)
    """
    from matplotlib.container import Container

    lengths = {len(row) for row in draws}
    even = len(lengths) == 1 and 0 not in lengths
    require(even, "draws", "be rows of equal length", f"they hold {[len(row) for row in draws]}")
    ax = figure().subplots() if ax is None else ax
    sheet: Any = ax.figure
    place: Any = ax.get_subplotspec()
    require(place is not None, "ax", "stand on a grid of its figure, as those of `subplots` do", "it does not")
    ax.remove()
    rows, columns = len(draws), lengths.pop()
    sheet.set_size_inches(CELL[0] * columns, CELL[1] * rows + KEY)
    table = place.subgridspec(rows, columns).subplots(squeeze=False, sharex="col")
    found: dict[str, Any] = {}
    for drawn, row in zip(draws, table, strict=True):
        for draw, one in zip(drawn, row, strict=True):
            draw(one)
            key = one.get_legend()
            if key is not None:
                key.remove()
                handles, labels = one.get_legend_handles_labels()
                found |= {text: handle for text, handle in zip(labels, handles, strict=True) if text not in found}
    for row in table[:-1]:
        for one in row:
            one.set_xlabel("")
    style: dict[str, Any] = {"frameon": False, "fontsize": 8, "handlelength": 1.7, "columnspacing": 1.2}
    # Measurements before lines, as in every key.
    ordered = sorted(found, key=lambda label: not isinstance(found[label], Container))
    handles = [found[label] for label in ordered]
    if handles:
        sheet.legend(handles, ordered, loc="outside upper center", ncols=min(len(handles), 4 * columns), **style)
    return tuple(tuple(row) for row in table)
