"""Lanes: results depend on the lane width and on nothing else here, bit by bit; and errors are not lost."""

import itertools
import threading
import time

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit._devices import chosen_devices
from jaxlimit._lanes import CancelledError, run_lanes
from jaxlimit.simulation import _pieces
from jaxlimit.simulation._pieces import pieces
from jaxlimit.simulation._state import Chain
from tests import systems
from tests.cases import ACTIVATIONS
from tests.systems import parameters, same_bits

PROBLEM = systems.problem(ACTIVATIONS["erf"], jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5)))


def run(replicas, **settings):
    return systems.run(PROBLEM, at=systems.FULL_AT, observe=parameters, replicas=replicas, **settings)


@pytest.fixture(scope="module")
def twelve():
    return run(12)


@pytest.mark.parametrize("replicas", [1, 2, 5, 11])
def test_fewer_replicas_are_the_first_of_more(twelve, replicas):
    """Odd numbers pad the last lane of two; padding is computed and dropped."""
    samples = run(replicas)
    assert samples.values.shape[0] == samples.diverged_at.shape[0] == replicas
    assert samples.observed["w"].shape[0] == replicas
    assert same_bits(samples, twelve, replicas)


@pytest.mark.parametrize("devices", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_several_devices_give_the_bits_of_one(twelve, devices):
    """The second and the first: neither is the default one alone."""
    chosen = jax.devices()[:devices][::-1]
    assert len(chosen) == devices
    assert same_bits(run(12, devices=chosen), twelve, 12)
    assert same_bits(run(3, devices=chosen[:1]), twelve, 3)


@pytest.mark.slow
def test_all_devices_are_used_by_default_and_give_the_bits_of_one(twelve):
    assert len(jax.devices()) == 4
    assert same_bits(run(12, devices=None), twelve, 12)


def test_a_run_in_small_pieces_gives_the_bits_of_one_call(twelve, monkeypatch):
    monkeypatch.setattr(_pieces, "PIECE_SECONDS", 1e-12)
    calls = []
    samples = run(4, progress=lambda done, total: calls.append((done, total)))
    assert len(calls) > 2 * 60  # two lanes, one step at a time
    assert same_bits(samples, twelve, 4)


def test_save_times_that_share_a_step_survive_being_cut_in_pieces(monkeypatch):
    ts = (0.0, 0.01, 0.05, 0.06)
    whole = run(2, ts=ts)
    monkeypatch.setattr(_pieces, "PIECE_SECONDS", 1e-12)
    assert same_bits(run(2, ts=ts), whole, 2)


@pytest.mark.parametrize("small", [False, True])
def test_progress_only_grows_and_ends_at_its_total(monkeypatch, small):
    if small:
        monkeypatch.setattr(_pieces, "PIECE_SECONDS", 1e-12)
    calls = []
    run(5, progress=lambda done, total: calls.append((done, total)))
    done, totals = zip(*calls, strict=True)
    assert len(set(totals)) == 1
    assert list(done) == sorted(done)
    assert done[-1] == totals[0]


@pytest.mark.parametrize("steps", [[0], [5], [0, 7, 7, 20], [3, 4, 100]])
@pytest.mark.parametrize("budget", [1e9, 10.0, 3.0, 0.1])
@pytest.mark.parametrize("unit", [1, 2, 7])
def test_pieces_cover_every_step_once_and_stop_at_every_save(steps, budget, unit, monkeypatch):
    monkeypatch.setattr(_pieces, "PIECE_SECONDS", budget)
    plan = pieces(np.array(steps), Chain("", lambda: None, 2, unit, 0.5, 0, 0))
    assert plan[0].stops[0] == 0
    assert all(before.stops[-1] == after.stops[0] for before, after in itertools.pairwise(plan))
    assert plan[-1].stops[-1] == steps[-1]
    assert [int(end) for piece in plan if piece.saves for end in piece.ends] == steps
    assert all(np.all(piece.stops[1:] <= piece.ends) for piece in plan)
    if len(plan) > 1:
        lengths = [int(piece.stops[-1] - piece.stops[0]) for piece in plan]
        assert all(length <= max(unit, budget) for length in lengths)
        assert all(length % unit == 0 or piece.saves for length, piece in zip(lengths, plan, strict=True))


# The queue itself, without JAX programs.


def test_results_come_in_order_whatever_the_order_of_completion():
    finished = []

    def prepare(device):
        def lane(number, check):
            time.sleep(0.002 * (7 * number % 5))
            finished.append(number)
            return number, device

        return lane

    results = run_lanes(prepare, 20, jax.devices())
    assert [number for number, _ in results] == list(range(20))
    assert sorted(finished) == list(range(20))


def test_devices_are_prepared_once_and_only_if_used():
    prepared = []

    def prepare(device):
        prepared.append(device)
        return lambda number, check: number

    run_lanes(prepare, 50, jax.devices())
    assert sorted(prepared, key=lambda device: device.id) == jax.devices()
    prepared.clear()
    run_lanes(prepare, 1, jax.devices())
    assert prepared == jax.devices()[:1]


def test_an_error_in_one_lane_is_raised_and_stops_the_others():
    """Other lanes see it between their pieces; lanes that have not begun never do."""
    begun, stopped, failed = [], [], threading.Event()

    def prepare(device):
        def lane(number, check):
            begun.append(number)
            if number == 1:
                failed.set()
                raise RuntimeError("lane 1 broke")
            failed.wait(10)
            deadline = time.monotonic() + 10
            try:
                while time.monotonic() < deadline:
                    check()
                    time.sleep(0.001)
            except CancelledError:
                stopped.append(number)
                raise

        return lane

    with pytest.raises(RuntimeError, match="lane 1 broke"):
        run_lanes(prepare, 1000, jax.devices())
    assert len(begun) < 20
    assert sorted([*stopped, 1]) == sorted(begun)


def test_an_error_while_preparing_is_raised():
    def prepare(device):
        raise MemoryError("no room")

    with pytest.raises(MemoryError, match="no room"):
        run_lanes(prepare, 3, jax.devices())


def test_an_error_in_the_users_progress_function_is_raised():
    def progress(done, total):
        raise ZeroDivisionError("the user's own")

    with pytest.raises(ZeroDivisionError, match="the user's own"):
        run(2, progress=progress)


def test_all_local_devices_are_the_default():
    assert chosen_devices(None) == tuple(jax.local_devices())
    assert chosen_devices(jax.devices()[1:3]) == tuple(jax.devices()[1:3])
