"""A block is the bytes that were written, or it is refused; and NumPy alone reads it."""

import io
import json
import shutil
import struct
import subprocess
import sys
import zlib
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest

from jaxlimit.sweeps import DamagedError, _format, read
from jaxlimit.sweeps._format import packed, read_about, unpacked
from tests.sweeps.stores import flipped

CELL = "ab" * 32
DTYPES = ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "c8", "c16")


def small():
    values = np.arange(6, dtype="<f4").reshape(2, 3)
    return packed(CELL, 4, 6, {"values": (("replica", "time"), values), "ts": (("time",), np.arange(3.0))})


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("inner", [(), (3,), (0,), (2, 1, 5)])
def test_what_is_packed_is_what_is_read(dtype, inner):
    random = np.random.default_rng(len(inner))
    values = random.integers(0, 255, (4, *inner, np.dtype(dtype).itemsize), np.uint8).view(dtype)[..., 0]
    if dtype == "?":
        values = random.integers(0, 2, (4, *inner)).astype(bool)
    dims = tuple(f"dim_{i}" for i in range(len(inner)))
    given = {"values": (("replica", *dims), values), "once": (dims, values[0])}
    header, found = unpacked(packed(CELL, 7, 11, given))
    assert (header["cell"], header["first"], header["stop"], list(found)) == (CELL, 7, 11, ["once", "values"])
    for name, (own, array) in given.items():
        assert found[name][0] == own
        assert found[name][1].dtype == array.dtype
        assert found[name][1].shape == array.shape
        assert found[name][1].tobytes() == array.tobytes()  # NaNs and their payloads as well
    header, constants = read_about(io.BytesIO(packed(CELL, 7, 11, given)))
    assert list(constants) == ["once"]
    assert constants["once"][1].tobytes() == values[0].tobytes()


def test_equal_variables_are_equal_bytes_whatever_their_order_in_memory():
    values = np.arange(24, dtype="<f8").reshape(4, 3, 2)
    wide = np.zeros((8, 3, 4))
    wide[::2, :, ::2] = values
    orders = (values, np.asfortranarray(values), values.astype(">f8"), wide[::2, :, ::2], values[::-1][::-1])
    dims, ts = ("replica", "time", "point"), (("time",), np.arange(3))
    first = packed(CELL, 0, 4, {"values": (dims, values), "ts": ts})
    for order in orders:
        assert packed(CELL, 0, 4, {"ts": ts, "values": (dims, order)}) == first


def test_every_flipped_bit_is_found():
    data = small()
    for bit in range(8 * len(data)):
        with pytest.raises(DamagedError):
            unpacked(flipped(data, bit))


def test_every_truncation_and_every_addition_is_found():
    data = small()
    for length in range(len(data)):
        with pytest.raises(DamagedError):
            unpacked(data[:length])
    with pytest.raises(DamagedError):
        unpacked(data + b"\0")


def test_the_header_and_what_belongs_to_the_cell_are_read_alone_and_every_flip_there_is_found():
    data = small()
    header, constants = read_about(io.BytesIO(data))
    values, ts = (header["variables"][name] for name in ("values", "ts"))
    assert constants["ts"][1].tolist() == [0.0, 1.0, 2.0]
    end = min(values["offset"], ts["offset"])
    for bit in [*range(8 * end), *range(8 * ts["offset"], 8 * (ts["offset"] + 24))]:
        with pytest.raises(DamagedError):
            read_about(io.BytesIO(flipped(data, bit)))
    unread = io.BytesIO(flipped(data, 8 * values["offset"]))
    assert read_about(unread)[0] == header


def with_schema(schema):
    """A block that a version to come may write, with all its checksums."""
    data = small()
    _, length, _ = struct.unpack_from("<8sII", data)
    header = json.loads(data[16 : 16 + length])
    text = json.dumps({**header, "schema": schema}).encode()
    text = text.ljust(-(-(16 + len(text)) // 64) * 64 - 16)
    body = struct.pack("<8sII", b"JLBLOCK1", len(text), zlib.crc32(text)) + text + data[16 + length : -32]
    return body + sha256(body).digest()


def test_a_newer_schema_is_refused_in_clear_words(tmp_path):
    path = tmp_path / "new.block"
    path.write_bytes(with_schema(2))
    with pytest.raises(DamagedError, match="its schema is 2, and this version reads 1: update jaxlimit"):
        read(path)


@pytest.mark.parametrize(
    ("dims", "array", "said"),
    [
        (("replica",), np.array(["a", "b"]), "must be numbers"),
        (("replica",), np.array([1, "b"], object), "must be numbers"),
        (("replica",), np.zeros((2, 3)), "must be numbers with dims"),
        (("replica", "time", "time"), np.zeros((2, 3, 3)), "must be numbers with dims"),
        (("time", "replica"), np.zeros((3, 2)), "must have 2 replicas first"),
        (("replica",), np.zeros(3), "must have 2 replicas first"),
    ],
)
def test_what_is_no_block_is_not_written(dims, array, said):
    with pytest.raises(ValueError, match=f"Variable `bad` {said}"):
        packed(CELL, 4, 6, {"bad": (dims, array)})


ALONE = """
import sys

class Refuses:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("jax", "jaxlib", "jaxlimit", "zarr", "xarray", "scipy"):
            raise ImportError(name)

sys.meta_path.insert(0, Refuses())
import copied

header, variables = copied.read(sys.argv[1])
print(header["first"], variables["values"][0], variables["values"][1].tolist())
"""


def test_a_copy_of_the_module_reads_a_block_with_nothing_but_numpy(tmp_path):
    shutil.copy(Path(_format.__file__), tmp_path / "copied.py")
    (tmp_path / "a.block").write_bytes(small())
    (tmp_path / "alone.py").write_text(ALONE)
    done = subprocess.run(
        [sys.executable, "alone.py", "a.block"], capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "4 ('replica', 'time') [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]\n"
