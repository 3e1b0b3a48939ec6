"""The block file, and all there is to know about it: this module needs NumPy alone, and may be copied.

A block is ONE file that never changes, with every variable of some replicas of one cell:

    8 bytes     b"JLBLOCK1"
    4 bytes     length n of the header, an unsigned little-endian integer
    4 bytes     CRC-32 of the header, likewise
    n bytes     header: JSON in UTF-8, padded with blanks until the whole is a multiple of 64
    …           the arrays, C order, little-endian, each at its `offset` from the start of the file, padded likewise
    32 bytes    SHA-256 of all bytes before

    header = {"schema": 1, "cell": <64 hexadecimal digits>, "first": r, "stop": s, "variables":
              {name: {"dims": [...], "dtype": "<f4", "shape": [...], "offset": k, "crc32": <of the array's bytes>}}}

Replicas are numbered from 0 within a cell; the file holds r, r + 1, …, s − 1 along the dimension "replica". The same
computation gives the same bytes: there is no time, no machine and no version in it. Nothing is ever unpickled. The
CRCs are for those who read the header or one array alone.

A copy of this file reads blocks without jaxlimit, JAX or zarr:

    header, variables = read("…/0000000000-0000000256.block")
    dims, values = variables["values"]
"""

import hashlib
import json
import math
import struct
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

MAGIC = b"JLBLOCK1"
SCHEMA = 1
ALIGNED = 64
DIGEST = 32
START = struct.Struct("<8sII")

Variables = Mapping[str, tuple[tuple[str, ...], np.ndarray]]
"""Name → (names of dimensions, array); those of replicas have "replica" first, the others belong to the whole cell."""


class DamagedError(Exception):
    """A file that is not what was once written: truncated, flipped, or of another cell."""


def packed(cell: str, first: int, stop: int, variables: Variables) -> bytes:
    """The bytes of a block. Raises ``ValueError`` for arrays that are not plain numbers or have no replica axis."""
    described: dict[str, Any] = {}
    bodies: list[bytes] = []
    for name, (dims, given) in sorted(variables.items()):
        array = np.asarray(given)
        if array.dtype.kind not in "biufc" or len(dims) != array.ndim or len(set(dims)) != len(dims):
            raise ValueError(
                f"Variable `{name}` must be numbers with dims {dims}, but it is {array.dtype}{array.shape}."
            )
        if "replica" in dims and (dims[0] != "replica" or array.shape[0] != stop - first):
            raise ValueError(
                f"Variable `{name}` must have {stop - first} replicas first, but it is {dims}{array.shape}."
            )
        array = np.asarray(array, dtype=array.dtype.newbyteorder("<"), order="C")
        bodies.append(array.tobytes())
        described[name] = {
            "dims": list(dims),
            "dtype": array.dtype.str,
            "shape": list(array.shape),
            "offset": 0,
            "crc32": zlib.crc32(bodies[-1]),
        }
    header = {"schema": SCHEMA, "cell": cell, "first": first, "stop": stop, "variables": described}
    # Offsets have a fixed place: their digits are reserved before they are known.
    reserved = 20 * len(described)
    length = _aligned(START.size + len(_json(header)) + reserved) - START.size
    position = START.size + length
    for entry, body in zip(described.values(), bodies, strict=True):
        entry["offset"] = position
        position = _aligned(position + len(body))
    text = _json(header).ljust(length)
    parts = [START.pack(MAGIC, length, zlib.crc32(text)), text]
    for body in bodies:
        parts += [body, b"\0" * (_aligned(len(body)) - len(body))]
    whole = b"".join(parts)
    return whole + hashlib.sha256(whole).digest()


def read(path: str | Path) -> tuple[dict[str, Any], dict[str, tuple[tuple[str, ...], np.ndarray]]]:
    """(header, variables) of a block file, its checksum verified. Raises `DamagedError`."""
    return unpacked(Path(path).read_bytes())


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, tuple[tuple[str, ...], np.ndarray]]]:
    """(header, variables) of the bytes of a block, its checksum verified. Raises `DamagedError`."""
    if len(data) < START.size + DIGEST or data[:8] != MAGIC:
        raise DamagedError("it does not begin like a block")
    if hashlib.sha256(memoryview(data)[:-DIGEST]).digest() != data[-DIGEST:]:
        raise DamagedError("its checksum is not that of its bytes: it was truncated or changed")
    _, length, check = START.unpack_from(data)
    header = _header(data[START.size : START.size + length], check)
    return header, {name: _array(data, entry) for name, entry in header["variables"].items()}


def read_about(stream: BinaryIO) -> tuple[dict[str, Any], dict[str, tuple[tuple[str, ...], np.ndarray]]]:
    """(header, variables of the cell) of an open block file, by their CRC-32s, with the arrays of replicas unread.

    Raises `DamagedError`.
    """
    start = stream.read(START.size)
    if len(start) < START.size or start[:8] != MAGIC:
        raise DamagedError("it does not begin like a block")
    _, length, check = START.unpack(start)
    header = _header(stream.read(length), check)
    found = {}
    for name, entry in header["variables"].items():
        if "replica" not in entry["dims"]:
            stream.seek(entry["offset"])
            data = stream.read(math.prod(entry["shape"]) * np.dtype(entry["dtype"]).itemsize)
            if zlib.crc32(data) != entry["crc32"]:
                raise DamagedError(f"the checksum of `{name}` is not that of its bytes: it was truncated or changed")
            found[name] = _array(data, {**entry, "offset": 0})
    return header, found


def _header(text: bytes, check: int) -> dict[str, Any]:
    if zlib.crc32(text) != check:
        raise DamagedError("the checksum of its header is not that of its bytes: it was truncated or changed")
    header = json.loads(text)
    if header["schema"] != SCHEMA:
        raise DamagedError(f"its schema is {header['schema']}, and this version reads {SCHEMA}: update jaxlimit")
    return dict(header)


def _array(data: bytes, entry: Mapping[str, Any]) -> tuple[tuple[str, ...], np.ndarray]:
    values = np.frombuffer(data, np.dtype(entry["dtype"]), math.prod(entry["shape"]), entry["offset"])
    return tuple(entry["dims"]), values.reshape(entry["shape"])


def _json(tree: Any) -> bytes:
    return json.dumps(tree, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def _aligned(length: int) -> int:
    return -(-length // ALIGNED) * ALIGNED
