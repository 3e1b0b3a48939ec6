"""The audit of precision: one row an arithmetic, and how it is read."""

import math
import textwrap
from itertools import groupby
from typing import Any, NamedTuple

from jaxlimit.claims import number
from jaxlimit.doctor._conclusion import Quantity

LINE = 110
"""Letters in a line of the legend."""

DIGITS = {
    "mean": "mean",
    "standard deviation": "sd",
    "distance": "dist",
    "controlled mean": "ctrl",
    "energy distance": "energy",
}
"""Columns of digits, by quantity."""


class Row(NamedTuple):
    """The conclusion of one method in one arithmetic, beside that in float64 from the same draws.

    `regime` is the scaling, `method` what `Samples.method` says and `kind` its class. `full` says whether products are
    at full precision. `start` is the largest difference of an output at t = 0 from float64's, `largest` at the last
    time, and `largest_deviations` the latter in standard deviations of replicas at its point. `p_value` and `verdict`
    are those of the energy distance to the limit's law, None where there is no such law. `lost` names the quantities
    that are not kept, and the verdict where it is another one. Where replicas diverged, all are lost and there are no
    numbers.
    """

    regime: str
    kind: str
    method: str
    arithmetic: str
    full: bool
    diverged: int
    start: float = math.nan
    largest: float = math.nan
    largest_deviations: float = math.nan
    quantities: tuple[Quantity, ...] = ()
    p_value: float | None = None
    verdict: str | None = None
    lost: tuple[str, ...] = ()

    @property
    def survives(self) -> bool:
        """Whether the conclusion is that of float64."""
        return not self.lost

    @property
    def replicas(self) -> int | None:
        """Up to how many replicas every quantity would be kept; None where no number is too large."""
        if self.diverged:
            return 0
        return min((each.replicas for each in self.quantities if each.replicas is not None), default=None)

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON: what is not finite is null."""
        found = {
            **self._asdict(),
            "quantities": [_finite(each._asdict()) for each in self.quantities],
            "lost": list(self.lost),
            "survives": self.survives,
            "replicas": self.replicas,
        }
        return _finite(found)

    def cells(self) -> tuple[str, ...]:
        """The numbers as texts, under `Audit.headings`."""
        digits = {each.name: f"{each.digits}/{each.meaningful}" for each in self.quantities}
        worst = max(self.quantities, key=lambda each: each.moved, default=None)
        moved = "" if worst is None else number(worst.moved, 2)
        if worst is not None and worst.moved_error:
            moved += f" ± {number(worst.moved_error, 1)}"
        most = "any" if self.replicas is None else number(self.replicas, 2) if self.replicas > 10**6 else self.replicas
        said = f"loses {', '.join(self.lost)}" if self.lost else "survives"
        return (
            self.arithmetic,
            number(self.largest_deviations, 2),
            moved,
            *(digits.get(name, "") for name in DIGITS),
            "" if self.p_value is None else number(self.p_value, 2),
            str(most),
            f"{self.diverged} replicas diverged" if self.diverged else said,
        )


class Audit(NamedTuple):
    """Rows by regime and method, the float64 of each first, and what was left out and why (`remarks`).

    Numbers are those of `replicas` networks of this `width` at the last of `ts`, from one key, on these `devices`.
    """

    rows: tuple[Row, ...]
    width: int
    replicas: int
    ts: tuple[float, ...]
    devices: str
    remarks: tuple[str, ...]

    @property
    def holds(self) -> bool:
        """Whether float32 with full products keeps every conclusion; shorter products are no part of the promise."""
        return all(row.survives for row in self.rows if row.full)

    @property
    def headings(self) -> tuple[str, ...]:
        """Of the columns of `Row.cells`."""
        return ("arithmetic", "path", "moved", *DIGITS.values(), "p", "up to", "conclusion")

    @property
    def legend(self) -> str:
        """What the columns say."""
        return (
            f"{self.replicas} replicas of width {self.width} at t = {self.ts[-1]:g} on {self.devices}, everywhere the "
            "same draws. path: largest difference of a replica's output from float64, in standard deviations of "
            "replicas. moved: the quantity that moves most, at its worst point, in its standard errors. mean, sd, "
            "dist, ctrl, energy: digits that agree with float64 / digits that the noise of so many replicas leaves, of "
            "the mean, the standard deviation, the distance to the limit's path, the mean controlled by that path, and "
            "the energy distance to the limit's law, which has p. up to: the replicas with which nothing moves by more "
            "than a tenth of its standard error."
        )

    def groups(self) -> list[tuple[str, list[Row]]]:
        """The rows of each regime and method, under a title."""
        each = [list(rows) for _, rows in groupby(self.rows, lambda row: (row.regime, row.kind))]
        return [(f"{rows[0].regime}, {rows[0].method}", rows) for rows in each]

    def as_dict(self) -> dict[str, Any]:
        """Plain values, ready for JSON."""
        rows = [row.as_dict() for row in self.rows]
        return {**self._asdict(), "ts": list(self.ts), "rows": rows, "remarks": list(self.remarks), "holds": self.holds}

    def __str__(self) -> str:
        """A table for each regime and method."""
        lines = []
        for title, rows in self.groups():
            cells = [self.headings, *(row.cells() for row in rows)]
            widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
            padded = [zip(row, widths, strict=True) for row in cells]
            lines += [title, *("  ".join(cell.ljust(size) for cell, size in row).rstrip() for row in padded), ""]
        return "\n".join([*lines, *textwrap.wrap(self.legend, LINE), *self.remarks])


def _finite(found: dict[str, Any]) -> dict[str, Any]:
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in found.items()}
