"""Bits depend on the lane width alone: not on replicas, padding, the order of lanes, devices, workers or stops."""

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit import _lanes
from jaxlimit.simulation import _pieces
from tests.gpu.sizes import KEY, METHODS, TS, named, problem, run, same_bits

CASES = named(METHODS, quick=("stepwise",))
PIECES = 8
"""Calls that a lane is cut into, about."""


class StoppedError(Exception):
    """What ends a run here, as a signal would."""


class Memory:
    """Keeps what it is offered, and stops the run at every other offer of a lane."""

    def __init__(self):
        self.kept, self.offers = {}, {}

    def load(self, lane):
        return self.kept.get(lane)

    def offer(self, lane, state):
        self.kept[lane] = state()
        self.offers[lane] = self.offers.get(lane, 0) + 1
        if self.offers[lane] % 2 == 0:
            raise StoppedError


@pytest.fixture
def cut(monkeypatch):
    """Cuts the lanes of a run with this method into several pieces."""

    def shorter(size, method):
        foreseen = jl.simulation.plan(problem(size), size.width, TS, key=KEY, method=method, devices=jax.devices()[:1])
        monkeypatch.setattr(_pieces, "PIECE_SECONDS", foreseen.seconds * foreseen.lanes / PIECES)

    return shorter


@pytest.mark.parametrize(("name", "size"), CASES)
def test_replicas_padding_the_order_of_lanes_and_devices_change_no_bit(name, size):
    """A lane less, the second lane alone, and every device: one run each."""
    method = METHODS[name](size)
    question, lanes = problem(size), size.lanes
    whole = run(question, size, method)
    assert not np.array_equal(whole.values[0], whole.values[1])
    assert same_bits(run(question, size, method, replicas=lanes + 1), whole, lanes + 1)
    alone = run(question, size, method, first=lanes, replicas=1)
    assert np.array_equal(alone.values[0], whole.values[lanes])
    assert np.array_equal(alone.observed["w"][0], whole.observed["w"][lanes])
    everywhere = run(question, size, method, devices=jax.devices())
    assert same_bits(everywhere, whole, size.replicas)


@pytest.mark.parametrize(("name", "size"), CASES)
def test_two_workers_of_a_device_give_the_bits_of_one(name, size, monkeypatch):
    found = []
    for workers in (1, 2):
        monkeypatch.setattr(_lanes, "IN_FLIGHT", workers)
        monkeypatch.setattr(_lanes, "cores", lambda workers=workers: workers)
        assert len(_lanes.crew(9, jax.devices()[:1])) == workers
        found.append(run(problem(size), size, METHODS[name](size)))
    assert same_bits(*found, size.replicas)


@pytest.mark.parametrize(("name", "size"), named(METHODS, quick=()))
def test_a_run_in_pieces_that_is_stopped_again_and_again_has_the_bits_of_one_call(name, size, cut):
    method = METHODS[name](size)
    whole = run(problem(size), size, method)
    cut(size, method)
    memory, stops, resumed = Memory(), 0, None
    while resumed is None:
        try:
            resumed = run(problem(size), size, method, checkpoint=memory)
        except StoppedError:
            stops += 1
    assert stops >= 2
    assert same_bits(resumed, whole, size.replicas)
    for field in ("diverged_at", "error", "forced"):
        assert np.array_equal(getattr(resumed, field), getattr(whole, field))
