"""A sweep as an xarray Dataset, whose arrays are read from blocks when they are asked for."""

import math
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from jaxlimit.sweeps._canonical import canonical
from jaxlimit.sweeps._format import DamagedError
from jaxlimit.sweeps._journal import environments
from jaxlimit.sweeps._layout import Layout, Variable, fill, layout
from jaxlimit.sweeps._store import Store

KEPT = 16
"""Blocks that a view keeps in memory, so that their variables are not read one after the other from the disk."""


def needs_xarray() -> Any:
    """xarray, or ``ImportError`` that names the extra."""
    try:
        import xarray
    except ImportError as error:
        raise ImportError("Datasets need xarray and zarr: pip install 'jaxlimit[store]'") from error
    return xarray


def coordinates(store: Store, plan: Layout) -> dict[str, tuple[tuple[str, ...], np.ndarray]]:
    """Labels of the axes, settings that differ from cell to cell, replicas wanted, and which of them are `complete`."""
    spec = store.spec
    found: dict[str, tuple[tuple[str, ...], np.ndarray]] = {}
    for dim, labels in spec.labels.items():
        array = np.array(labels)
        found[dim] = ((dim,), array.astype(object) if array.dtype.kind == "U" else array)
    for name in sorted({key for cell in spec.cells for key in cell.settings} - set(spec.dims) - {"block", "replicas"}):
        values = [cell.settings.get(name) for cell in spec.cells]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        if numbers and len(set(values)) > 1:
            found[name] = (spec.dims, np.array(values).reshape(spec.shape))
    found["wanted"] = (spec.dims, np.array([cell.replicas for cell in spec.cells]).reshape(spec.shape))
    complete = np.zeros((len(spec.cells), plan.replicas), bool)
    for number, ranges in plan.present.items():
        for first, stop in ranges:
            complete[number, first:stop] = True
    found["complete"] = ((*spec.dims, "replica"), complete.reshape(*spec.shape, plan.replicas))
    return found


def attributes(store: Store, plan: Layout) -> dict[str, Any]:
    """What a result is known by, and what made it; nothing that differs between two runs on one machine."""
    done = sum(stop - first for ranges in plan.present.values() for first, stop in ranges)
    wanted = sum(cell.replicas for cell in store.spec.cells)
    return {
        "title": "A jaxlimit sweep",
        "spec_id": store.spec.spec_id,
        "spec": store.spec.text,
        "replicas_done": done,
        "replicas_wanted": wanted,
        "provenance": canonical(environments(store.folder)),
    }


def blocks_view(store: Store) -> Any:
    """The Dataset over the blocks of a store."""
    xarray, plan = needs_xarray(), layout(store)
    read = lru_cache(maxsize=KEPT)(lambda cell, first, stop: _read(store, cell, first, stop))
    found = {}
    for name, variable in plan.variables.items():
        if variable.of_replicas:
            found[name] = (variable.dims, _lazy(variable, name, plan, read))
        else:
            found[name] = shared(variable, name, plan, read)
    return xarray.Dataset(found, coordinates(store, plan), attributes(store, plan))


def shared(variable: Variable, name: str, plan: Layout, read: Any) -> tuple[tuple[str, ...], np.ndarray]:
    """A variable of cells, without the axes where it is the same in all of them."""
    each = {number: read(number, *plan.present[number][0])[name][1] for number in variable.shapes}
    first = next(iter(each.values()))
    if all(np.array_equal(array, first) for array in each.values()):
        return variable.dims[len(plan.axes) :], np.array(first)
    whole = np.full((math.prod(plan.shape), *variable.shape[len(plan.axes) :]), fill(variable.dtype))
    for number, array in each.items():
        where: Any = (number, *map(slice, array.shape))
        whole[where] = array
    return variable.dims, whole.reshape(variable.shape)


def _read(store: Store, cell: int, first: int, stop: int) -> Mapping[str, Any]:
    try:
        return store.blocks.read(store.spec.cells[cell].cell_id, first, stop)
    except DamagedError as error:
        path = store.blocks.path(store.spec.cells[cell].cell_id, first, stop)
        again = "`jaxlimit sweep run` moves it aside and computes it again"
        raise DamagedError(f"{_beside(path)}: {error}; {again}") from error


def _beside(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _lazy(variable: Variable, name: str, plan: Layout, read: Any) -> Any:
    """An array that reads blocks when it is indexed; what is not there is NaN."""
    from xarray.backends import BackendArray
    from xarray.core import indexing

    class BlockArray(BackendArray):
        """The front of `_gathered` that xarray asks for."""

        shape, dtype = variable.shape, variable.dtype

        def __getitem__(self, key: Any) -> Any:
            kind = indexing.IndexingSupport.OUTER
            return indexing.explicit_indexing_adapter(key, self.shape, kind, gather)

    def gather(key: tuple[Any, ...]) -> np.ndarray:
        return _gathered(variable, name, plan, read, key)

    return indexing.LazilyIndexedArray(BlockArray())


def _gathered(variable: Variable, name: str, plan: Layout, read: Any, key: tuple[Any, ...]) -> np.ndarray:
    """The selected entries: cell by cell, and of every cell only the blocks with selected replicas."""
    picks = [np.atleast_1d(np.arange(size)[index]) for size, index in zip(variable.shape, key, strict=True)]
    count = len(plan.axes)
    grid, replicas, inner = picks[:count], picks[count], picks[count + 1 :]
    result = np.full([len(pick) for pick in picks], fill(variable.dtype))
    for place in np.ndindex(*(len(pick) for pick in grid)):
        index = tuple(int(pick[i]) for pick, i in zip(grid, place, strict=True))
        number = int(np.ravel_multi_index(index, plan.shape)) if index else 0
        if number not in variable.shapes:
            continue
        sizes = variable.shapes[number]
        rows = [np.flatnonzero(pick < size) for pick, size in zip(inner, sizes, strict=True)]
        for first, stop in plan.present[number]:
            chosen = np.flatnonzero((replicas >= first) & (replicas < stop))
            if chosen.size:
                block = read(number, first, stop)[name][1]
                source = np.ix_(replicas[chosen] - first, *(pick[row] for pick, row in zip(inner, rows, strict=True)))
                result[(*place, *np.ix_(chosen, *rows))] = block[source]
    # Integers among the indices take their dimension with them.
    return result[tuple(0 if np.ndim(index) == 0 and not isinstance(index, slice) else slice(None) for index in key)]
