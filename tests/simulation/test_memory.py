"""The memory planner: it says no before anything is computed, with the number that would fit, and is not far off."""

import re
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.simulation import _draws, _memory
from jaxlimit.simulation._state import Run
from tests import systems
from tests.cases import ACTIVATIONS
from tests.systems import LANES, WIDTH

PROBLEM = systems.problem(ACTIVATIONS["erf"], jl.Data(systems.FULL_X, systems.FULL_Y))


def allow(monkeypatch, bytes_):
    monkeypatch.setattr(_memory, "available_on_host", lambda: bytes_)


def largest_allowed(message):
    return int(re.search(r"Argument `replicas` must be at most (\d+)", message).group(1))


def test_results_that_do_not_fit_are_refused_with_the_number_that_would(monkeypatch):
    allow(monkeypatch, 1_000_000)
    with pytest.raises(ValueError, match="Argument `replicas` must be at most") as refusal:
        systems.run(PROBLEM, replicas=10**6)
    fits = largest_allowed(str(refusal.value))
    assert "`first`" in str(refusal.value)
    assert 10 < fits < 10**6 / (2 * len(systems.TS) * 5 * 8)
    assert systems.run(PROBLEM, replicas=min(fits, 6)).values.shape[0] == min(fits, 6)
    with pytest.raises(ValueError, match="at most"):
        systems.run(PROBLEM, replicas=fits + 1)


def test_what_is_observed_counts(monkeypatch):
    """c and w of all neurons: 24 · 4 numbers a replica and time beside 5 outputs."""
    allow(monkeypatch, 1_000_000)

    def fits(observe):
        with pytest.raises(ValueError, match="at most") as refusal:
            systems.run(PROBLEM, replicas=10**6, observe=observe)
        return largest_allowed(str(refusal.value))

    both = fits(lambda now, start: (now.c, now.w))
    assert 10 < fits(None) / both < 20


def test_a_lane_that_does_not_fit_names_the_width(monkeypatch):
    allow(monkeypatch, 10_000)
    with pytest.raises(
        ValueError, match=r"Argument `width` must fit into 10 kB of free memory, but width 4096 needs .* MB"
    ):
        systems.run(PROBLEM, width=4096)


def test_nothing_is_refused_where_the_free_memory_is_unknown(monkeypatch):
    allow(monkeypatch, None)
    assert systems.run(PROBLEM, replicas=2).replicas == 2


class Full:
    """An accelerator with little left."""

    platform = "gpu"

    def memory_stats(self):
        return {"bytes_limit": 1_000_000, "bytes_in_use": 900_000}


def test_an_accelerator_without_room_is_named():
    network, problem = PROBLEM.network, PROBLEM
    run = Run(problem, network, 2**16, 3, 0, 100, 1, np.dtype(np.float32), (Full(),))
    chain = jl.SStep(lanes=1, native=False).chain(run)
    with pytest.raises(
        ValueError, match=r"Argument `width` must fit into the 100 kB that .* has free, but a lane of 1"
    ):
        _memory.require_room(run, chain, 1, 8, _memory.lane_bytes(run, chain), 1)


def test_free_memory_is_found_on_this_machine():
    """A positive number of bytes below a petabyte, or None where the system does not tell."""
    found = _memory.available_on_host()
    assert found is None or 0 < found < 10**15


@pytest.mark.slow
def test_the_results_are_as_large_as_predicted():
    """Python's own allocations while results are collected: within 40% of the plan for 20,000 narrow replicas."""
    settings = {"width": 2, "ts": np.linspace(0, 1, 40), "replicas": 20000, "dtype": jnp.float32}
    method = jl.Stepwise(lanes=64, native=True)
    systems.run(PROBLEM, method=method, **{**settings, "replicas": 64})
    tracemalloc.start()
    samples = systems.run(PROBLEM, method=method, **settings)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    planned = 2 * samples.replicas * 40 * 4 * (5 + 1)
    assert samples.values.nbytes < peak < 1.4 * planned


def test_lanes_stay_in_the_cache_of_a_core_and_fill_an_accelerator():
    def run(width, platform="cpu"):
        devices = (jax.devices()[0],) if platform == "cpu" else (Full(),)
        return Run(PROBLEM, PROBLEM.network, width, 10, 0, 100, 1, np.dtype(np.float32), devices)

    for width in (16, 1024, 16384, 10**6):
        lanes = jl.Stepwise(native=False).chain(run(width)).lanes
        assert lanes == 1 or lanes * 4 * 11 * width <= _memory.CACHE
        assert jl.Stepwise(lanes=3, native=False).chain(run(width)).lanes == 3
        on_device = jl.SStep(native=False).chain(run(width, "gpu"))
        assert on_device.lanes == 1024 or on_device.lanes * on_device.state > _memory.DEVICE / 2
    assert WIDTH * LANES < 100


def test_numbers_of_replicas_beyond_the_key_are_refused():
    with pytest.raises(ValueError, match="Argument `first` must keep replica numbers below"):
        systems.run(PROBLEM, first=_draws.REPLICA_LIMIT - 1, replicas=2)
