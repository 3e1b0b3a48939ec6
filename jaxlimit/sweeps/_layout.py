"""Where every block lies in the whole: dimensions, shapes and types of all variables over the grid."""

import itertools
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from jaxlimit._arguments import require
from jaxlimit.sweeps._store import Store


class Variable(NamedTuple):
    """One variable over the whole grid; `shapes` has what each cell fills of the dims after the axes."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    shapes: dict[int, tuple[int, ...]]

    @property
    def of_replicas(self) -> bool:
        """Whether it has a value for every replica, and not one for the cell."""
        return "replica" in self.dims


class Layout(NamedTuple):
    """The grid of a store, as far as its blocks tell: `present` has the ranges of replicas that are there, by cell."""

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    replicas: int
    variables: dict[str, Variable]
    present: dict[int, list[tuple[int, int]]]


def layout(store: Store) -> Layout:
    """Read one header of every cell. Raises ``ValueError`` if no block is there, or cells do not fit together."""
    present: dict[int, list[tuple[int, int]]] = {}
    for job in store.present():
        present.setdefault(job.cell, []).append((job.first, job.stop))
    require(bool(present), "folder", "hold at least one block", f"{store.folder} has none: run the sweep first")
    spec, found = store.spec, dict[str, dict[int, Mapping[str, Any]]]()
    for number, ranges in present.items():
        header = store.blocks.header(spec.cells[number].cell_id, *ranges[0])
        for name, entry in header["variables"].items():
            found.setdefault(name, {})[number] = entry
    replicas = max(cell.replicas for cell in spec.cells)
    made = {name: _variable(name, entries, spec.dims, spec.shape, replicas) for name, entries in sorted(found.items())}
    return Layout(spec.dims, spec.shape, replicas, made, present)


def _variable(
    name: str, entries: Mapping[int, Mapping[str, Any]], axes: tuple[str, ...], grid: tuple[int, ...], replicas: int
) -> Variable:
    own = {tuple(entry["dims"]) for entry in entries.values()}
    require(len(own) == 1, "folder", f"have one list of dims for `{name}`", f"its cells have {sorted(own)}")
    (dims,) = own
    inner = dims[1:] if "replica" in dims else dims
    shapes = {number: tuple(entry["shape"])[len(dims) - len(inner) :] for number, entry in entries.items()}
    most = tuple(max(sizes) for sizes in itertools.zip_longest(*shapes.values(), fillvalue=0)) if inner else ()
    dtype = np.result_type(*[np.dtype(entry["dtype"]) for entry in entries.values()])
    ahead = (replicas,) if "replica" in dims else ()
    return Variable((*axes, *dims), (*grid, *ahead, *most), dtype, shapes)


def fill(dtype: np.dtype) -> Any:
    """What stands where nothing has been computed: NaN, the smallest integer, False."""
    if dtype.kind in "fc":
        return np.array(np.nan, dtype)[()]
    return np.array(False if dtype.kind == "b" else np.iinfo(dtype).min if dtype.kind == "i" else 0, dtype)[()]


def part(store: Store, number: int, ranges: tuple[tuple[int, int], ...], names: tuple[str, ...]) -> dict[str, Any]:
    """The arrays of these blocks of a cell, by name, as a list of (first, stop, array); checksums are verified."""
    cell = store.spec.cells[number].cell_id
    found: dict[str, Any] = {name: [] for name in names}
    for first, stop in ranges:
        variables = store.blocks.read(cell, first, stop)
        for name in names:
            if name in variables:
                found[name].append((first, stop, variables[name][1]))
    return found
