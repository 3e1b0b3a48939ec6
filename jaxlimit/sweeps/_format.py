"""The block file, and all there is to know about it: this module needs NumPy alone, and may be copied.

A block is ONE file that never changes, with every variable of some replicas of one cell:

    8 bytes     b"JLBLOCK1"
    8 bytes     length n of the header, an unsigned little-endian integer
    n bytes     header: JSON in UTF-8, padded with blanks to a multiple of 64
    …           the arrays, C order, little-endian, each at its `offset` from the start of the file, padded likewise
    32 bytes    SHA-256 of all bytes before

    header = {"schema": 1, "cell": <64 hexadecimal digits>, "first": r, "stop": s,
              "variables": {name: {"dims": [...], "dtype": "<f4", "shape": [...], "offset": k}}}

Replicas are numbered from 0 within a cell; the file holds r, r + 1, …, s − 1 along the dimension "replica". The same
computation gives the same bytes: there is no time, no machine and no version in it. Nothing is ever unpickled.

A copy of this file reads blocks without jaxlimit, JAX or zarr:

    header, variables = read("…/0000000000-0000000256.block")
    dims, values = variables["values"]
"""

import hashlib
import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

MAGIC = b"JLBLOCK1"
SCHEMA = 1
ALIGNED = 64
DIGEST = 32

Variables = Mapping[str, tuple[tuple[str, ...], np.ndarray]]
"""Name → (names of dimensions, array); those of replicas have "replica" first, the others belong to the whole cell."""


class DamagedError(Exception):
    """A file that is not what was once written: truncated, flipped, or of another cell."""


def packed(cell: str, first: int, stop: int, variables: Variables) -> bytes:
    """The bytes of a block. Raises ``ValueError`` for arrays that are not plain numbers or have no replica axis."""
    described: dict[str, Any] = {}
    arrays: list[np.ndarray] = []
    for name, (dims, given) in sorted(variables.items()):
        array = np.asarray(given)
        array = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        if array.dtype.kind not in "biufc" or len(dims) != array.ndim:
            raise ValueError(
                f"Variable `{name}` must be numbers with dims {dims}, but it is {array.dtype}{array.shape}."
            )
        if "replica" in dims and (dims[0] != "replica" or array.shape[0] != stop - first):
            raise ValueError(
                f"Variable `{name}` must have {stop - first} replicas first, but it is {dims}{array.shape}."
            )
        described[name] = {"dims": list(dims), "dtype": array.dtype.str, "shape": list(array.shape), "offset": 0}
        arrays.append(array)
    header = {"schema": SCHEMA, "cell": cell, "first": first, "stop": stop, "variables": described}
    # Offsets have a fixed place: their digits are reserved before they are known.
    reserved = sum(20 for _ in described)
    length = _aligned(16 + len(_json(header)) + reserved) - 16
    position = 16 + length
    for entry, array in zip(described.values(), arrays, strict=True):
        entry["offset"] = position
        position = _aligned(position + array.nbytes)
    parts = [MAGIC, struct.pack("<Q", length), _json(header).ljust(length)]
    for array in arrays:
        parts += [array.tobytes(), b"\0" * (_aligned(array.nbytes) - array.nbytes)]
    body = b"".join(parts)
    return body + hashlib.sha256(body).digest()


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, tuple[tuple[str, ...], np.ndarray]]]:
    """(header, variables) of a block file, its checksum verified. Raises `DamagedError`."""
    return unpacked(Path(path).read_bytes())


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, tuple[tuple[str, ...], np.ndarray]]]:
    """(header, variables) of the bytes of a block, its checksum verified. Raises `DamagedError`."""
    if len(data) < 16 + DIGEST or data[:8] != MAGIC:
        raise DamagedError("it does not begin like a block")
    if hashlib.sha256(memoryview(data)[:-DIGEST]).digest() != data[-DIGEST:]:
        raise DamagedError("its checksum is not that of its bytes: it was truncated or changed")
    header = header_of(data)
    found = {}
    for name, entry in header["variables"].items():
        dtype, shape = np.dtype(entry["dtype"]), tuple(entry["shape"])
        count = int(np.prod(shape, dtype=np.int64))
        found[name] = (
            tuple(entry["dims"]),
            np.frombuffer(data, dtype, count, entry["offset"]).reshape(shape),
        )
    return header, found


def header_of(data: bytes) -> dict[str, Any]:
    """The header alone, from the beginning of a block; its checksum is not looked at. Raises `DamagedError`."""
    try:
        (length,) = struct.unpack("<Q", data[8:16])
        header = json.loads(data[16 : 16 + length])
        schema = header["schema"]
    except (struct.error, ValueError, KeyError, TypeError) as error:
        raise DamagedError(f"its header cannot be read ({error})") from error
    if data[:8] != MAGIC or schema > SCHEMA:
        raise DamagedError(f"its schema is {schema}, and this version reads up to {SCHEMA}")
    return dict(header)


def _json(tree: Any) -> bytes:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _aligned(length: int) -> int:
    return -(-length // ALIGNED) * ALIGNED
