"""One Zarr v3 store for a whole sweep, with a CRC-32C on every chunk; and netCDF."""

import hashlib
import shutil
import uuid
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from jaxlimit._arguments import instance, require
from jaxlimit.sweeps._canonical import digest
from jaxlimit.sweeps._files import sync_folder, write_whole
from jaxlimit.sweeps._layout import Layout, fill, layout, part
from jaxlimit.sweeps._store import Store
from jaxlimit.sweeps._view import attributes, blocks_view, coordinates, needs_xarray, shared

CONSOLIDATED = "consolidated.zarr"
SUMS = "SHA256SUMS"
CHUNK = 2**20
"""Bytes that a chunk of the largest variable has at least: many small blocks share one."""


def consolidate(store: Store, progress: Callable[[float, float], None] | None = None) -> Path:
    """Write `folder`/consolidated.zarr from the blocks that are there, and return its path.

    Every variable is one array over axes, replicas and its own dimensions, allocated as a whole, filled with NaN (the
    smallest integer, False) where nothing has been computed, in chunks of whole blocks, each with a CRC-32C; what is
    there says the coordinate `complete`. Any Zarr v3 reader opens it. `SHA256SUMS` in it has the digest of every
    file, and is what ``sha256sum -c`` reads. Blocks found damaged are moved to `quarantine`, left out, and warned of.
    It appears whole or not at all, and equal blocks give equal bytes. Raises ``ValueError`` if there are no blocks,
    ``ImportError`` without zarr.
    """
    instance("store", store, Store)
    try:
        import zarr
        from zarr.codecs import Crc32cCodec, ZstdCodec
    except ImportError as error:
        raise ImportError("Consolidating needs zarr and xarray: pip install 'jaxlimit[store]'") from error
    moved = store.quarantine_damaged()
    if moved:
        warnings.warn(f"{len(moved)} damaged blocks were moved to quarantine and are left out.", stacklevel=2)
    plan = layout(store)
    temporary = store.folder / f".{CONSOLIDATED}.{uuid.uuid4().hex}.tmp"
    codecs = [ZstdCodec(level=1), Crc32cCodec()]
    try:
        whole = {**attributes(store, plan), "blocks": _state(store, plan)}
        group = zarr.create_group(temporary, zarr_format=3, attributes=whole)

        def small(name: str, dims: tuple[str, ...], array: np.ndarray) -> None:
            text = array.dtype.kind in "OU"
            made = group.create_array(
                name,
                shape=array.shape,
                chunks=tuple(max(1, size) for size in array.shape),
                dtype=str if text else array.dtype,
                compressors=codecs,
                dimension_names=dims,
                **({} if text else {"fill_value": fill(array.dtype)}),
            )
            made[...] = array.astype(str) if text else array

        first = {number: ranges[0] for number, ranges in plan.present.items()}
        cells = {name: one for name, one in plan.variables.items() if not one.of_replicas}
        one_each = {n: store.blocks.read(store.spec.cells[n].cell_id, *first[n]) for n in first} if cells else {}
        for name, variable in cells.items():
            small(name, *shared(variable, name, plan, lambda n, *_: one_each[n]))
        for name, (dims, array) in coordinates(store, plan).items():
            small(name, dims, array)
        _fill(store, plan, group, codecs, progress)
        sums = [
            f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(temporary).as_posix()}\n"
            for path in sorted(temporary.rglob("*"))
            if path.is_file()
        ]
        write_whole(temporary / SUMS, "".join(sums).encode())
        _replace(temporary, store.folder / CONSOLIDATED)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    return store.folder / CONSOLIDATED


def _fill(store: Store, plan: Layout, group: Any, codecs: Any, progress: Callable[[float, float], None] | None) -> None:
    """Write the variables of replicas, cell by cell and chunk by chunk, every block being read once."""
    variables = {name: one for name, one in plan.variables.items() if one.of_replicas}
    axes, longest = len(plan.axes), max(cell.block for cell in store.spec.cells)
    most = max((_bytes(one.shape[axes + 1 :], one.dtype) for one in variables.values()), default=1)
    rows = min(plan.replicas, longest * max(1, -(-CHUNK // (longest * most))))
    arrays = {}
    for name, one in variables.items():
        arrays[name] = group.create_array(
            name,
            shape=one.shape,
            chunks=(*([1] * axes), rows, *(max(1, size) for size in one.shape[axes + 1 :])),
            dtype=one.dtype,
            fill_value=fill(one.dtype),
            compressors=codecs,
            dimension_names=one.dims,
        )
    for count, (number, ranges) in enumerate(sorted(plan.present.items())):
        place = store.spec.cells[number].position
        for start in range(0, plan.replicas, rows):
            # A block may lie across the edge of two chunks where blocks of cells differ: it is read for both.
            chosen = tuple((first, stop) for first, stop in ranges if first < start + rows and stop > start)
            if not chosen:
                continue
            for name, blocks in part(store, number, chosen, tuple(variables)).items():
                one = variables[name]
                chunk = np.full((min(rows, plan.replicas - start), *one.shape[axes + 1 :]), fill(one.dtype))
                for first, stop, array in blocks:
                    low, high = max(first, start), min(stop, start + rows)
                    where = (slice(low - start, high - start), *map(slice, array.shape[1:]))
                    chunk[where] = array[low - first : high - first]
                arrays[name][(*place, slice(start, start + len(chunk)))] = chunk
        if progress is not None:
            progress(float(count + 1), float(len(plan.present)))


def dataset(folder: str | Path) -> Any:
    """The sweep in a folder as an xarray Dataset, its large arrays read when they are asked for.

    Dimensions are the axes of the spec, `replica`, and those of the variables; coordinates are the values of the axes
    and `complete`, which says what has been computed; the rest is NaN, so an unfinished sweep is a smaller Monte Carlo
    of every cell. Attributes: `spec_id`, `spec`, and `provenance` (JSON). It is `consolidated.zarr` where that has all
    the blocks there are, or where there are no blocks, and the blocks themselves otherwise. Raises ``ValueError`` if
    there is nothing to open or metadata of the consolidated store were changed, ``ImportError`` without xarray.

        >>> import tempfile, numpy as np
        >>> from jaxlimit.sweeps import Store, SweepSpec, dataset, run
        >>> store = Store.create(tempfile.mkdtemp(), SweepSpec({"replicas": 5, "block": 2, "a": 1}, {"a": [1, 2]}))
        >>> _ = run(store, lambda cell, first, stop, _: {"u": (("replica",), np.arange(first, stop) * cell["a"])})
        >>> dataset(store.folder).u.sel(a=2).values.tolist()
        [0, 2, 4, 6, 8]
    """
    store = Store.open(folder)
    path = store.folder / CONSOLIDATED
    if path.is_dir():
        if not any(store.blocks.every()):
            return _opened(path)
        opened = _opened(path)
        if opened.attrs.get("blocks") == _state(store, layout(store)):
            return opened
    return blocks_view(store)


def export(folder: str | Path, path: str | Path) -> Path:
    """Write `dataset(folder)` to a netCDF file, one variable after the other, each of them in memory as a whole.

    Raises ``ValueError`` where the file cannot be written, ``ImportError`` without netCDF4.
    """
    target, found = Path(path), dataset(folder)
    try:
        import netCDF4 as netCDF4
    except ImportError as error:
        raise ImportError("Exporting needs netCDF4: pip install 'jaxlimit[store]'") from error
    for name in [name for name, array in found.coords.items() if array.dtype.kind in "OUT"]:
        found[name] = found[name].astype(object)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        found.to_netcdf(temporary, engine="netcdf4", format="NETCDF4")
        temporary.replace(target)
    except OSError as error:
        raise ValueError(f"Argument `path` must be a file to write, but {target}: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def wrong_sums(path: Path, metadata_only: bool = False) -> list[str]:
    """Files of a consolidated store that are not those that were written, that are gone, or that are new."""
    try:
        lines = [line.split("  ", 1) for line in (path / SUMS).read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError):
        return [SUMS]
    wanted = {line[1]: line[0] for line in lines if len(line) == 2}
    there = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()} - {SUMS}
    found = sorted(there ^ set(wanted)) + ([SUMS] if len(wanted) != len(lines) else [])
    for name in sorted(there & set(wanted)):
        small = name.endswith("zarr.json")
        if (small or not metadata_only) and hashlib.sha256((path / name).read_bytes()).hexdigest() != wanted[name]:
            found.append(name)
    return found


def _opened(path: Path) -> Any:
    wrong = wrong_sums(path, metadata_only=True)
    again = f"{', '.join(wrong[:3])} of {path} differ: remove it and consolidate again"
    require(not wrong, "folder", f"have a {CONSOLIDATED} as it was written", again)
    return needs_xarray().open_zarr(path, chunks=None, consolidated=False).set_coords(["wanted", "complete"])


def _state(store: Store, plan: Layout) -> str:
    """A digest of which blocks are there."""
    return digest([[store.spec.cells[number].cell_id, ranges] for number, ranges in sorted(plan.present.items())])


def _replace(new: Path, old: Path) -> None:
    """Put a folder in the place of another; a kill in between leaves none, and the blocks."""
    aside = old.with_name(f".{old.name}.{uuid.uuid4().hex}.tmp")
    if old.exists():
        old.rename(aside)
    new.rename(old)
    sync_folder(old.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return max(1, int(np.prod(shape)) * dtype.itemsize)
