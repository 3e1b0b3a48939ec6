"""The figures of the study of definiteness. Plots are imported when a panel is drawn, never before."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from jaxlimit._typing import Host
from jaxlimit.claims import Panel


class Bar(NamedTuple):
    """A proved interval of λ_min, its floor; singular for a reason in the data, or the theorem is silent.

    `estimated`: the proof takes estimates of the entries' errors for bounds.
    """

    name: str
    lower: float
    upper: float
    floor: float
    singular: bool
    silent: bool
    estimated: bool


class Approach(NamedTuple):
    """Proved intervals and floors of λ_min [angles] as two points become parallel."""

    label: str
    angles: Host
    lower: Host
    upper: Host
    floor: Host


def panels(bars: Sequence[Bar], approaches: Sequence[Approach]) -> tuple[Panel, ...]:
    """The smallest eigenvalue of every case; and, with variants, the approach to parallel points."""

    def smallest(ax: Any) -> Any:
        from jaxlimit import plots

        return plots.definiteness(
            [bar.name for bar in bars],
            [bar.lower for bar in bars],
            [bar.upper for bar in bars],
            [bar.floor for bar in bars],
            [bar.singular for bar in bars],
            ax,
            silent=[bar.silent for bar in bars],
            estimated=[bar.estimated for bar in bars],
        )

    def approach(ax: Any) -> Any:
        from jaxlimit import plots

        for one in approaches:
            ax = plots.approach(one.angles, one.lower, one.upper, one.floor, ax, label=one.label)
        return ax

    caption = (
        "λ_min of every case. Dots: proved intervals, whose relative width the axis states; open marks: proved "
        "as well, where the theorem is silent; diamonds: given that estimates of the entries' errors are bounds. "
        "Triangles: singular for a reason in the data, drawn at the floor, the "
        "size below which nothing can be proved from the matrix alone."
    )
    found = (Panel("smallest", caption, smallest),)
    if not approaches:
        return found
    caption = (
        "λ_min of two points against the angle between them. Dots: proved intervals, drawn as bars where they are "
        "wider than a dot; open circles: proved upper bounds, where positivity is not proved; dotted: the floors, "
        "sizes below which nothing can be proved."
    )
    return (*found, Panel("approach", caption, approach))
