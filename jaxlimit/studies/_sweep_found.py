"""What the cells of a sweep say: error, variance, held-out points; and families of cells that differ in width alone."""

import json
import math
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from jaxlimit._typing import Host
from jaxlimit.paths import Samples
from jaxlimit.studies._diverged import finite
from jaxlimit.studies._sweep_cell import SweepRun, sweep_run
from jaxlimit.studies._sweep_work import sweep_samples
from jaxlimit.sweeps import Cell, Store, SweepSpec


class Number(NamedTuple):
    """A mean over networks and its standard error; NaN where there are too few."""

    value: float
    error: float


class CellFound(NamedTuple):
    """One cell at its last time, over the `replicas` networks that there are; `diverged` ones are left out.

    `error` is E_π E|h_T − ŷ|², `variance` E_π Var h_T, `wrong` the share of held-out points with the wrong sign.
    """

    cell: Cell
    run: SweepRun
    replicas: int
    diverged: int
    error: Number
    variance: Number
    wrong: Number

    @property
    def finite(self) -> int:
        """Networks that did not diverge."""
        return self.replicas - self.diverged


class Family(NamedTuple):
    """Cells that differ in width alone, the narrowest first; `labels` are the values of all other axes."""

    labels: dict[str, str]
    members: tuple[CellFound, ...]

    @property
    def name(self) -> str:
        """As it is called in claims."""
        return ", ".join(f"{dim} {label}" for dim, label in self.labels.items()) or "all widths"

    @property
    def widths(self) -> list[int]:
        """The widths, in order."""
        return [int(one.run.width) for one in self.members]


def found_in(store: Store, cell: Cell) -> CellFound | None:
    """What the blocks of a cell say; None where there are none."""
    if not store.blocks.ranges(cell.cell_id):
        return None
    run, samples = sweep_run(cell.settings), sweep_samples(store, cell.number)
    kept = finite(samples)
    last = np.asarray(samples.values[:, -1], np.float64)[kept]
    data = run.problem.data
    own, other = last[:, : data.points], last[:, data.points :]
    signs = np.sign(run.targets[data.points :])
    nothing = Number(math.nan, math.nan)
    return CellFound(
        cell,
        run,
        samples.replicas,
        int(np.sum(~kept)),
        error=mean_of((own - data.y) ** 2 @ data.weights),
        variance=mean_of(squares(own) @ data.weights),
        wrong=mean_of(np.mean(other * signs <= 0, axis=1)) if signs.size and np.all(signs != 0) else nothing,
    )


def squares(values: Float[Host, "replicas points"]) -> Float[Host, "replicas points"]:
    """Squared distances from the mean, whose own mean is the unbiased variance."""
    count = len(values)
    return (values - values.mean(axis=0)) ** 2 * count / (count - 1) if count > 1 else np.zeros((0, values.shape[1]))


def mean_of(values: Float[Host, " replicas"]) -> Number:
    """The mean and its standard error."""
    if values.size < 2:
        return Number(math.nan, math.nan)
    return Number(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(values.size))


def outputs(store: Store, one: CellFound) -> Samples:
    """The outputs of a cell on the data, at the times at which its networks really stand."""
    samples, points = sweep_samples(store, one.cell.number), one.run.problem.data.points
    return Samples(
        samples.steps / samples.width,
        samples.values[:, :, :points],
        None,
        samples.steps,
        samples.diverged_at,
        samples.method,
        samples.width,
        samples.lanes,
    )


def where(spec: SweepSpec, cell: Cell) -> dict[str, str]:
    """The values of a cell along all axes, as text."""
    return {dim: f"{label:g}" if isinstance(label, float) else str(label) for dim, label in spec.where(cell).items()}


def families(spec: SweepSpec, cells: Mapping[int, CellFound]) -> list[Family]:
    """The families, in the order of the spec; cells whose width is not one number belong to none.

    Method and blocks may differ inside of a family where they were decided for each cell, and not by an axis.
    """
    named = {part.partition(".")[0] for name, values in spec.axes.items() for part in (name, *_keys(values))}
    free = {"width", "replicas", *({"method", "block"} - named)}
    groups: dict[str, list[CellFound]] = {}
    for cell in spec.cells:
        if cell.number in cells and isinstance(cell.settings["width"], int):
            rest = {key: value for key, value in cell.settings.items() if key not in free}
            groups.setdefault(json.dumps(rest, sort_keys=True), []).append(cells[cell.number])
    found = []
    for group in groups.values():
        every = [where(spec, one.cell) for one in group]
        touching = {dim for dim, name in zip(spec.dims, spec.axes, strict=True) if _sets_width(name, spec.axes[name])}
        labels = {dim: label for dim, label in every[0].items() if dim not in touching}
        found.append(Family(labels, tuple(sorted(group, key=lambda one: int(one.run.width)))))
    return found


def _keys(values: list[object]) -> set[str]:
    return {key for value in values if isinstance(value, dict) for key in value}


def _sets_width(name: str, values: list[object]) -> bool:
    return name == "width" or "width" in _keys(values)
