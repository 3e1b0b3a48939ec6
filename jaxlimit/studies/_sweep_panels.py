"""The figures of a sweep. Plots are imported when a panel is drawn, never before."""

import math
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from jaxlimit.claims import Panel
from jaxlimit.studies._sweep_claims import gamma_of
from jaxlimit.studies._sweep_found import CellFound, Family, Number

ROWS = 3
"""Rows of a sheet that still fits a page."""
SCALING = ("scaling.gamma", "scaling")
"""Axes whose values are series of one figure."""


def panels(families: Sequence[Family], axes: Sequence[str], dims: Sequence[str]) -> tuple[Panel, ...]:
    """Sheets with error and variance against the width: a row for every setting but the scaling, γ in colours."""
    series = [dim for dim, name in zip(dims, axes, strict=True) if name in SCALING]
    rows: dict[str, list[tuple[str, Family]]] = {}
    for family in families:
        if any(_drawable(one, "variance") for one in family.members):
            row = ", ".join(label for dim, label in family.labels.items() if dim not in series)
            label = ", ".join(_symbol(dim, label) for dim, label in family.labels.items() if dim in series)
            rows.setdefault(row, []).append((label or "networks", family))
    each, found = list(rows.items()), []
    for first in range(0, len(each), ROWS):
        part, end = each[first : first + ROWS], each[first][1][0][1].members[0].run.ts[-1]
        found.append(
            Panel(
                "sweep" if first == 0 else f"sweep_{first // ROWS + 1}",
                f"Error on the data and variance of the outputs at t = {end:g} against the width. Bars, ± 2 standard "
                "errors over networks, are drawn but seen only where they are longer than the markers; dashed: "
                "N^{1−2γ} through the widest.",
                _sheet(part),
            )
        )
    return tuple(found)


def _sheet(rows: Sequence[tuple[str, Sequence[tuple[str, Family]]]]) -> Callable[[Any], Any]:
    def draw(ax: Any) -> Any:
        from jaxlimit import plots

        table = [[partial(_draw, title, series, column) for column in ("error", "variance")] for title, series in rows]
        return plots.mosaic(table, ax)

    return draw


def _draw(title: str, series: Sequence[tuple[str, Family]], column: str, ax: Any) -> Any:
    """One figure: `column` of every family, which is the name of the field."""
    from jaxlimit import plots

    ylabel = {"error": r"$E_\pi\,E|h_T-\hat{y}|^2$", "variance": r"$E_\pi\,\mathrm{Var}\,h_T$"}[column]
    for place, (label, family) in enumerate(series):
        members = [one for one in family.members if _drawable(one, column)]
        gamma = gamma_of(family.members[0])
        if members:
            numbers: list[Number] = [getattr(one, column) for one in members]
            ax = plots.against_width(
                [int(one.run.width) for one in members],
                [one.value for one in numbers],
                [one.error for one in numbers],
                1.0 - 2.0 * gamma if gamma is not None and column == "variance" else None,
                ax,
                ylabel=ylabel,
                label=label,
                slope_label=r"slope $1-2\gamma$",
                shade=place / (len(series) - 1) if len(series) > 1 else None,
            )
    ax.set_title(title, fontsize=9, loc="left")
    return ax


def _drawable(one: CellFound, column: str) -> bool:
    """Whether a log axis has a place for it."""
    found: Number = getattr(one, column)
    return math.isfinite(found.error) and found.value > 0


def _symbol(dim: str, label: str) -> str:
    return rf"$\gamma={label}$" if dim == "gamma" else label
