"""Small sweeps to break, and what is in their folders."""

from jaxlimit import sweeps
from tests.sweeps import work

SETTINGS = {"width": 16, "gamma": 0.5, "replicas": 10, "block": 4, "seed": 3}
AXES = {"width": [16, 32], "gamma": [0.5, 1.0]}


def spec(axes=None, **settings):
    """Four cells of three blocks, the last of them shorter."""
    return sweeps.SweepSpec({**SETTINGS, **settings}, AXES if axes is None else axes)


def done(folder, axes=None, **settings):
    """The store of that sweep, finished."""
    store = sweeps.Store.create(folder, spec(axes, **settings))
    sweeps.run(store, work.numbers)
    return store


def blocks(folder):
    """Path → bytes of every block."""
    return contents(folder, "blocks/*/*.block")


def contents(folder, pattern="**/*"):
    """Path → bytes of every file."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.glob(pattern) if path.is_file()}


def flipped(data, bit):
    """The same bytes with one bit the other way."""
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
