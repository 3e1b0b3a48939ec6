"""Where every block lies in the whole: dimensions, shapes and types of all variables over the grid."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from jaxlimit._arguments import require
from jaxlimit.sweeps._canonical import digest
from jaxlimit.sweeps._format import DamagedError
from jaxlimit.sweeps._store import Store

Present = dict[int, list[tuple[int, int]]]
"""The ranges of replicas that are there, by the number of the cell."""


class Variable(NamedTuple):
    """One variable over the whole grid; `cells` has its type and shape in each cell, without axes and replicas."""

    dims: tuple[str, ...]
    shape: tuple[int, ...]
    dtype: np.dtype
    cells: dict[int, tuple[np.dtype, tuple[int, ...]]]

    @property
    def of_replicas(self) -> bool:
        """Whether it has a value for every replica, and not one for the cell."""
        return "replica" in self.dims


class Layout(NamedTuple):
    """The grid of a store, as far as its blocks tell; `constants` are the variables of cells, by cell and name."""

    axes: tuple[str, ...]
    shape: tuple[int, ...]
    replicas: int
    variables: dict[str, Variable]
    constants: dict[int, dict[str, Any]]
    present: Present


def ranges(store: Store) -> Present:
    """What is there, cell by cell."""
    present: Present = {}
    for job in store.present():
        present.setdefault(job.cell, []).append((job.first, job.stop))
    return present


def state(store: Store, present: Present) -> str:
    """A digest of which blocks are there."""
    there = sorted((number, pairs) for number, pairs in present.items() if pairs)
    return digest([[store.spec.cells[number].cell_id, pairs] for number, pairs in there])


def layout(store: Store, present: Present, aside: list[Path] | None = None) -> Layout:
    """Read the header and the variables of the cell in one block of every cell.

    With a list `aside`, blocks that are damaged there are moved to quarantine and added to it, and the next one is
    read; without, they raise `DamagedError`. Raises ``ValueError`` if no block is there, or cells do not fit together.
    """
    headers, constants = dict[int, Mapping[str, Any]](), dict[int, dict[str, Any]]()
    for number, pairs in present.items():
        while pairs and number not in headers:
            cell = store.spec.cells[number].cell_id
            try:
                header, constants[number] = store.blocks.about(cell, *pairs[0])
            except DamagedError as error:
                if aside is None:
                    raise explained(store, number, *pairs[0], error) from error
                put_aside(store, number, *pairs.pop(0), aside)
            else:
                headers[number] = header["variables"]
    require(bool(headers), "folder", "hold at least one block", f"{store.folder} has none: run the sweep first")
    spec, found = store.spec, dict[str, dict[int, Mapping[str, Any]]]()
    for number, described in headers.items():
        for name, entry in described.items():
            found.setdefault(name, {})[number] = entry
    # A dim has one length, that of the longest variable of any cell.
    sizes = dict(zip(spec.dims, spec.shape, strict=True))
    for entry in (entry for entries in found.values() for entry in entries.values()):
        for dim, size in zip(entry["dims"], entry["shape"], strict=True):
            sizes[dim] = max(size, sizes.get(dim, 0))
    sizes["replica"] = replicas = max(cell.replicas for cell in spec.cells)
    made = {name: _variable(name, entries, spec.dims, sizes) for name, entries in sorted(found.items())}
    return Layout(spec.dims, spec.shape, replicas, made, constants, present)


def block(store: Store, plan: Layout, number: int, first: int, stop: int) -> dict[str, np.ndarray]:
    """The variables of a block, its checksum verified.

    Raises `DamagedError`, and ``ValueError`` if it does not fit the first block of its cell.
    """
    cell = store.spec.cells[number].cell_id
    found = store.blocks.read(cell, first, stop)
    inner = {
        name: ((*plan.axes, *dims), array.dtype, array.shape[1:] if dims[:1] == ("replica",) else array.shape)
        for name, (dims, array) in found.items()
    }
    wanted = {name: (one.dims, *one.cells[number]) for name, one in plan.variables.items() if number in one.cells}
    but = f"{store.blocks.path(cell, first, stop).name} of cell {number} has others than the first"
    require(inner == wanted, "work", "return the same variables, dims and types for all blocks of a cell", but)
    return {name: array for name, (_, array) in found.items()}


def put_aside(store: Store, number: int, first: int, stop: int, aside: list[Path]) -> None:
    """Move a damaged block to quarantine, and note where it is."""
    moved = store.blocks.quarantine(store.blocks.path(store.spec.cells[number].cell_id, first, stop))
    if moved is not None:
        aside.append(moved)


def explained(store: Store, number: int, first: int, stop: int, error: DamagedError) -> DamagedError:
    """The same error, with the file and the remedy."""
    path = store.blocks.path(store.spec.cells[number].cell_id, first, stop)
    again = "running the sweep moves it aside and computes it again"
    return DamagedError(f"{path.parent.name}/{path.name}: {error}; {again}.")


def fill(dtype: np.dtype) -> Any:
    """What stands where nothing has been computed: NaN, the smallest integer, False."""
    if dtype.kind in "fc":
        return np.array(np.nan, dtype)[()]
    return np.array(False if dtype.kind == "b" else np.iinfo(dtype).min if dtype.kind == "i" else 0, dtype)[()]


def _variable(
    name: str, entries: Mapping[int, Mapping[str, Any]], axes: tuple[str, ...], sizes: Mapping[str, int]
) -> Variable:
    own = {tuple(entry["dims"]) for entry in entries.values()}
    require(len(own) == 1, "folder", f"have one list of dims for `{name}`", f"its cells have {sorted(own)}")
    (dims,) = own
    ahead = 1 if "replica" in dims else 0
    cells = {number: (np.dtype(entry["dtype"]), tuple(entry["shape"][ahead:])) for number, entry in entries.items()}
    dtype = np.result_type(*[dtype for dtype, _ in cells.values()])
    whole = (*axes, *dims)
    return Variable(whole, tuple(sizes[dim] for dim in whole), dtype, cells)
