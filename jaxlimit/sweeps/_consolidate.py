"""One Zarr v3 store for a whole sweep, with a CRC-32C on every chunk; and netCDF."""

import hashlib
import shutil
import uuid
import warnings
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from jaxlimit._arguments import instance, require
from jaxlimit.sweeps._files import remove_stale, sync_folder, write_whole
from jaxlimit.sweeps._format import DamagedError
from jaxlimit.sweeps._layout import Layout, block, fill, layout, put_aside, ranges, state
from jaxlimit.sweeps._store import CONSOLIDATED, Store
from jaxlimit.sweeps._view import attributes, blocks_view, coordinates, needs_xarray, shared

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
    needs_xarray()
    remove_stale(store.folder)
    aside: list[Path] = []
    plan = layout(store, ranges(store), aside)
    temporary = store.folder / f".{CONSOLIDATED}.{uuid.uuid4().hex}.tmp"
    codecs = [ZstdCodec(level=1), Crc32cCodec()]
    try:
        group = zarr.create_group(temporary, zarr_format=3)

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

        _fill(store, plan, group, codecs, aside, progress)
        for name in [name for name, one in plan.variables.items() if not one.of_replicas]:
            small(name, *shared(name, plan))
        coords = coordinates(store, plan)
        for name, (dims, array) in coords.items():
            small(name, dims, array)
        # As CF names coordinates that are not dims: xarray and other readers know them by it.
        named = " ".join(name for name in coords if name not in plan.axes)
        known = {"coordinates": named, "blocks": state(store, plan.present)}
        group.update_attributes({**attributes(store, plan), **known})
        with warnings.catch_warnings():
            # Readers that do not know it pass it by; those that do ask no folder what it holds, which has SHA256SUMS.
            warnings.filterwarnings("ignore", message="Consolidated metadata is currently not part")
            zarr.consolidate_metadata(temporary)
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
    if aside:
        warnings.warn(f"{len(aside)} damaged blocks were moved to quarantine and are left out.", stacklevel=2)
    return store.folder / CONSOLIDATED


def _fill(
    store: Store,
    plan: Layout,
    group: Any,
    codecs: Any,
    aside: list[Path],
    progress: Callable[[float, float], None] | None,
) -> None:
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
    # A block may lie across the edge of two chunks where blocks of cells differ: it is kept for the second one.
    read = lru_cache(maxsize=1)(lambda *where: block(store, plan, *where))
    for count, (number, pairs) in enumerate(sorted(plan.present.items())):
        place = store.spec.cells[number].position
        for start in range(0, plan.replicas, rows):
            stop = min(start + rows, plan.replicas)
            chunks: dict[str, np.ndarray] = {}
            for first, last in [pair for pair in pairs if pair[0] < stop and pair[1] > start]:
                try:
                    found = read(number, first, last)
                except DamagedError:
                    pairs.remove((first, last))
                    put_aside(store, number, first, last, aside)
                    continue
                except FileNotFoundError:  # a run beside this one has found it damaged
                    pairs.remove((first, last))
                    continue
                low, high = max(first, start), min(last, stop)
                for name, array in found.items():
                    if name in variables:
                        if name not in chunks:
                            shape = (stop - start, *variables[name].shape[axes + 1 :])
                            chunks[name] = np.full(shape, fill(variables[name].dtype))
                        where = (slice(low - start, high - start), *map(slice, array.shape[1:]))
                        chunks[name][where] = array[low - first : high - first]
            for name, chunk in chunks.items():
                arrays[name][(*place, slice(start, stop))] = chunk
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
    path, present = store.folder / CONSOLIDATED, ranges(store)
    if path.is_dir():
        opened = _opened(path, store.spec.spec_id)
        if not present or opened.attrs.get("blocks") == state(store, present):
            return opened
    return blocks_view(store, present)


def export(folder: str | Path, path: str | Path) -> Path:
    """Write `dataset(folder)` to a netCDF file, one variable after the other, each of them in memory as a whole.

    Raises ``ValueError`` where the file cannot be written, ``ImportError`` without netCDF4.
    """
    target, found = Path(path), dataset(folder)
    try:
        import netCDF4 as netCDF4
    except ImportError as error:
        raise ImportError("Exporting needs netCDF4: pip install 'jaxlimit[store]'") from error
    odd = [
        f"`{name}` is {one.dtype}" for name, one in found.items() if one.dtype.kind == "c" or one.dtype == np.float16
    ]
    require(not odd, "folder", "have variables of types that netCDF knows", ", ".join(odd))
    for name in [name for name, array in found.coords.items() if array.dtype.kind in "OUT"]:
        found[name] = found[name].astype(object)
    temporary = target.with_name(f".{target.name}.{uuid.uuid4().hex}.tmp")
    try:
        found.to_netcdf(temporary, engine="netcdf4", format="NETCDF4")
        temporary.replace(target)
    except (OSError, RuntimeError) as error:  # a full disk is a RuntimeError of HDF5
        raise ValueError(f"Argument `path` must be a file to write, but {target}: {error}.") from error
    finally:
        temporary.unlink(missing_ok=True)
    return target


def wrong_sums(path: Path, metadata_only: bool = False) -> list[str]:
    """Files of a consolidated store that are not those that were written, that are gone, or that are new."""
    try:
        # Not splitlines, which would take other characters for an end of line as well.
        lines = [line.split("  ", 1) for line in (path / SUMS).read_bytes().decode().split("\n")]
    except (OSError, UnicodeDecodeError):
        return [SUMS]
    wanted = {line[1]: line[0] for line in lines if len(line) == 2}
    found = [SUMS] if len(wanted) != len(lines) - 1 or lines[-1] != [""] else []
    if metadata_only:
        # A chunk that is gone would be read as one in which nothing was computed.
        found += sorted(name for name in wanted if not (path / name).exists())
        names = {name for name in wanted if name.endswith("zarr.json") and name not in found}
    else:
        names = {file.relative_to(path).as_posix() for file in path.rglob("*") if file.is_file()} - {SUMS}
        found += sorted(names ^ set(wanted))
    for name in sorted(names & set(wanted)):
        try:
            sound = hashlib.sha256((path / name).read_bytes()).hexdigest() == wanted[name]
        except OSError:
            sound = False
        if not sound:
            found.append(name)
    return found


def _opened(path: Path, spec_id: str) -> Any:
    wrong = wrong_sums(path, metadata_only=True)
    again = f"{', '.join(wrong[:3])} of {path} differ: remove it and consolidate again"
    require(not wrong, "folder", f"have a {CONSOLIDATED} as it was written", again)
    opened = needs_xarray().open_zarr(path, chunks=None, consolidated=True)
    mine = opened.attrs["spec_id"] == spec_id
    require(mine, "folder", f"have a {CONSOLIDATED} of its own sweep", f"that in {path.parent} is of another")
    # Read now: the store may be replaced by a fuller one, whose `complete` would not be that of these arrays.
    for name in opened.coords:
        opened[name].load()
    return opened


def _replace(new: Path, old: Path) -> None:
    """Put a folder in the place of another; a kill in between leaves none, and the blocks."""
    aside = old.with_name(f".{old.name}.{uuid.uuid4().hex}.tmp")
    if old.exists():
        old.rename(aside)
    try:
        new.rename(old)
    except OSError:
        if not old.exists():
            raise
        shutil.rmtree(new)  # another process was faster, and made the same
    sync_folder(old.parent)
    shutil.rmtree(aside, ignore_errors=True)


def _bytes(shape: tuple[int, ...], dtype: np.dtype) -> int:
    return max(1, int(np.prod(shape)) * dtype.itemsize)
