"""The state of an unfinished block: kept now and then, given back whole or not at all, removed with the block."""

import numpy as np
import pytest

from jaxlimit.simulation import Checkpoint
from jaxlimit.sweeps import BlockCheckpoint, _checkpoint
from tests.sweeps.stores import flipped

CELL = "cd" * 32
STATE = {"w": np.arange(6.0, dtype="f4").reshape(2, 3), "step": np.array(7), "on": np.array([True, False])}


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when the test says so."""
    now = [100.0]
    monkeypatch.setattr(_checkpoint.time, "monotonic", lambda: now[0])
    return now


def checkpoint(tmp_path, every=60.0, cell=CELL):
    return BlockCheckpoint(tmp_path / "0000000000-0000000008.block", cell, every)


def kept(tmp_path, clock, lane=0):
    """A checkpoint that has kept STATE of a lane."""
    found = checkpoint(tmp_path)
    found.offer(lane, lambda: STATE)
    clock[0] += 60.0
    found.offer(lane, lambda: STATE)
    return found


def test_it_is_what_a_simulation_asks_for(tmp_path):
    assert isinstance(checkpoint(tmp_path), Checkpoint)


def test_what_was_kept_is_given_back(tmp_path, clock):
    kept(tmp_path, clock, lane=3)
    found = checkpoint(tmp_path)
    assert found.load(0) is None
    loaded = found.load(3)
    assert loaded.keys() == STATE.keys()
    for name, array in STATE.items():
        assert (loaded[name].dtype, loaded[name].shape) == (array.dtype, array.shape)
        assert np.array_equal(loaded[name], array)
        assert loaded[name].flags.writeable


def test_a_state_is_kept_no_more_often_than_asked_for_and_is_not_copied_otherwise(tmp_path, clock):
    found, copies = checkpoint(tmp_path), []

    def state(lane):
        copies.append((clock[0] - 100.0, lane))
        return STATE

    for _ in range(50):
        for lane in (0, 1):
            found.offer(lane, lambda lane=lane: state(lane))
        clock[0] += 13.0
    times = [time for time, lane in copies if lane == 0]
    assert times == [time for time, lane in copies if lane == 1]
    assert times[0] == 65.0
    assert (np.diff(times) == 65.0).all()
    assert len(times) == 9


@pytest.mark.parametrize("damage", ["flip", "cut", "empty"])
def test_a_damaged_state_counts_as_none(tmp_path, clock, damage):
    kept(tmp_path, clock)
    (path,) = tmp_path.glob(".*.part")
    data = path.read_bytes()
    path.write_bytes({"flip": flipped(data, 4000), "cut": data[:-7], "empty": b""}[damage])
    found = checkpoint(tmp_path)
    assert found.load(0) is None
    found.clear()
    assert not path.exists()


def test_the_state_of_another_cell_lane_or_version_counts_as_none(tmp_path, clock, monkeypatch):
    kept(tmp_path, clock)
    (path,) = tmp_path.glob(".*.part")
    assert checkpoint(tmp_path, cell="ef" * 32).load(0) is None
    path.with_name(path.name.replace(".0.part", ".1.part")).write_bytes(path.read_bytes())
    assert checkpoint(tmp_path).load(1) is None
    with monkeypatch.context() as patched:
        patched.setattr(_checkpoint, "_versions", lambda: {"jax": "0.99"})
        assert checkpoint(tmp_path).load(0) is None
    assert checkpoint(tmp_path).load(0) is not None


def test_nothing_is_left_when_the_block_is_there(tmp_path, clock):
    first = kept(tmp_path, clock)
    first.clear()
    assert list(tmp_path.iterdir()) == []
    kept(tmp_path, clock)
    second = checkpoint(tmp_path)
    second.load(0)
    second.clear()
    second.clear()
    assert list(tmp_path.iterdir()) == []
