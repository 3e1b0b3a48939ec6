"""A sweep as an xarray Dataset, whose arrays are read from blocks when they are asked for."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

from jaxlimit.sweeps._canonical import canonical
from jaxlimit.sweeps._format import DamagedError
from jaxlimit.sweeps._journal import environments
from jaxlimit.sweeps._layout import Layout, Present, Variable, block, explained, fill, layout
from jaxlimit.sweeps._spec import RESERVED
from jaxlimit.sweeps._store import Store

KEPT = 16
"""Blocks that a view keeps in memory, so that their variables are not read one after the other from the disk."""

Read = Callable[[int, int, int], dict[str, np.ndarray]]
"""(cell, first, stop) → the arrays of a block."""


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
    every = [cell.settings for cell in spec.cells]
    taken = {*RESERVED, *plan.variables, *(dim for one in plan.variables.values() for dim in one.dims)}
    for name in sorted({key for each in every for key in each} - set(spec.dims) - taken - {"block", "replicas"}):
        # Of a table its name: which method a cell was given is seen beside its numbers.
        values = [one.get("name") if isinstance(one := each.get(name), dict) else one for each in every]
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
        texts = not name.endswith("_sha256") and all(isinstance(value, str) for value in values)
        if (numbers or texts) and len(set(values)) > 1:
            array = np.array(values).reshape(spec.shape)
            found[name] = (spec.dims, array.astype(object) if texts else array)
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


def blocks_view(store: Store, present: Present) -> Any:
    """The Dataset over the blocks of a store."""
    xarray, plan = needs_xarray(), layout(store, present)

    @lru_cache(maxsize=KEPT)
    def read(number: int, first: int, stop: int) -> dict[str, np.ndarray]:
        try:
            return block(store, plan, number, first, stop)
        except DamagedError as error:
            raise explained(store, number, first, stop, error) from error

    found = {
        name: (variable.dims, _lazy(variable, name, plan, read)) if variable.of_replicas else shared(name, plan)
        for name, variable in plan.variables.items()
    }
    return xarray.Dataset(found, coordinates(store, plan), attributes(store, plan))


def shared(name: str, plan: Layout) -> tuple[tuple[str, ...], np.ndarray]:
    """A variable of cells, without the axes where it is the same in all of them."""
    variable = plan.variables[name]
    each = {number: plan.constants[number][name][1] for number in variable.cells}
    first, axes = next(iter(each.values())), len(plan.axes)
    whole = np.full((math.prod(plan.shape), *variable.shape[axes:]), fill(variable.dtype))
    for number, array in each.items():
        where: Any = (number, *map(slice, array.shape))
        whole[where] = array
    if all(np.array_equal(array, first, equal_nan=array.dtype.kind in "fc") for array in each.values()):
        return variable.dims[axes:], whole[next(iter(each))]
    return variable.dims, whole.reshape(variable.shape)


def _lazy(variable: Variable, name: str, plan: Layout, read: Read) -> Any:
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


def _gathered(variable: Variable, name: str, plan: Layout, read: Read, key: tuple[Any, ...]) -> np.ndarray:
    """The selected entries: cell by cell, and of every cell only the blocks with selected replicas."""
    picks = [np.atleast_1d(np.arange(size)[index]) for size, index in zip(variable.shape, key, strict=True)]
    count = len(plan.axes)
    grid, replicas, inner = picks[:count], picks[count], picks[count + 1 :]
    result = np.full([len(pick) for pick in picks], fill(variable.dtype))
    for place in np.ndindex(*(len(pick) for pick in grid)):
        index = tuple(int(pick[i]) for pick, i in zip(grid, place, strict=True))
        number = int(np.ravel_multi_index(index, plan.shape)) if index else 0
        if number not in variable.cells:
            continue
        sizes = variable.cells[number][1]
        rows = [np.flatnonzero(pick < size) for pick, size in zip(inner, sizes, strict=True)]
        for (first, stop), chosen in _by_block(replicas, plan.present[number]):
            array = read(number, first, stop)[name]
            source = np.ix_(replicas[chosen] - first, *(pick[row] for pick, row in zip(inner, rows, strict=True)))
            result[(*place, *np.ix_(chosen, *rows))] = array[source]
    # Integers among the indices take their dimension with them.
    return result[tuple(0 if np.ndim(index) == 0 and not isinstance(index, slice) else slice(None) for index in key)]


def _by_block(replicas: np.ndarray, pairs: list[tuple[int, int]]) -> list[tuple[tuple[int, int], np.ndarray]]:
    """For every block with some of these replicas, where among them its own are."""
    firsts, stops = np.array(pairs).T
    at = np.searchsorted(firsts, replicas, side="right") - 1
    there = np.flatnonzero((at >= 0) & (replicas < stops[at]))
    if not there.size:
        return []
    order = there[np.argsort(at[there], kind="stable")]
    which, starts = np.unique(at[order], return_index=True)
    return [(pairs[block], part) for block, part in zip(which, np.split(order, starts[1:]), strict=True)]
