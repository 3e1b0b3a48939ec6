"""The memory planner: it says no before anything is computed, with the number that would fit, and is not far off."""

import re
import tracemalloc

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit._devices import facts, kinds, known_kind
from jaxlimit.simulation import _draws, _memory
from jaxlimit.simulation._lane import lane_keys, lanes_of
from jaxlimit.simulation._prepared import prepared
from jaxlimit.simulation._shallow import ShallowFamily
from jaxlimit.simulation._state import Run
from tests import systems
from tests.cases import ACTIVATIONS
from tests.devices import Accelerator
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


def test_an_accelerator_without_room_is_named():
    run = run_of(2**16, Accelerator(limit=1_000_000, used=900_000))
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


def run_of(width, *devices, rank=10):
    return Run(PROBLEM, PROBLEM.network, width, rank, 0, 100, 1, np.dtype(np.float32), devices)


WIDTHS = (16, 1024, 16384, 10**6)


def test_lanes_stay_in_the_cache_of_a_core():
    for width in WIDTHS:
        lanes = jl.Stepwise(native=False).chain(run_of(width, jax.devices()[0])).lanes
        assert lanes == 1 or lanes * 4 * 11 * width <= _memory.CACHE
        assert jl.Stepwise(lanes=3, native=False).chain(run_of(width, jax.devices()[0])).lanes == 3
    assert WIDTH * LANES < 100


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", ["NVIDIA H100 80GB HBM3", "Tesla T4", "TPU v5 lite", "a kind nobody knows"])
def test_lanes_fill_an_accelerator_by_the_facts_of_its_kind(kind, width):
    """Step by step: as few as keep it busy. In blocks: as many as its memory has room for, twice. Powers of two."""
    device = Accelerator(kind)
    known, run = facts([device]), run_of(width, device)
    chain = jl.Stepwise().chain(run)
    moving = _memory.PASSES * 4 * 11 * width / known.bandwidth
    busy = chain.lanes * moving / (_memory.LAUNCHES * known.launch)
    assert chain.lanes == 1 or busy <= _memory.BUSY
    # One more doubling would be too busy, too large, or beyond what need go together.
    assert 2 * busy > _memory.BUSY or 2 * chain.lanes > _memory.MOST_ON_DEVICE
    blocks = jl.SStep().chain(run)
    assert 2 * _memory.lane_bytes(run, blocks) <= known.memory
    twice = blocks._replace(lanes=2 * blocks.lanes)
    full = _memory.lane_bytes(run, twice) > 0.9 * _memory.SHARE * known.memory
    assert full or blocks.lanes == _memory.MOST_ON_DEVICE
    for one in (chain, blocks):
        assert one.lanes & (one.lanes - 1) == 0
    assert jl.Stepwise(lanes=3).chain(run).lanes == 3


def test_how_wide_lanes_are_does_not_depend_on_what_a_device_holds():
    """Bits depend on it: only the kind of device may decide."""
    lanes = {jl.SStep().chain(run_of(4096, Accelerator(limit=limit, used=10**9))).lanes for limit in (10**10, 10**12)}
    assert len(lanes) == 1


def test_of_several_kinds_the_least_figures_count():
    both = facts([Accelerator("Tesla T4"), Accelerator()])
    assert both == facts([Accelerator("Tesla T4")])
    assert kinds([Accelerator(), Accelerator(), *jax.devices()]) == "gpu NVIDIA H100 80GB HBM3 + cpu"


def test_the_longest_name_of_a_kind_counts():
    assert known_kind(Accelerator("NVIDIA H100 PCIe")) == "H100 PCIe"
    assert known_kind(Accelerator("NVIDIA GH200 480GB")) == "GH200"
    assert known_kind(Accelerator("TPU v5 lite", platform="tpu")) == "TPU v5 lite"
    assert known_kind(Accelerator("a kind nobody knows")) is None


@pytest.mark.parametrize(
    "kind", ["NVIDIA RTX A4000", "NVIDIA T400 4GB", "NVIDIA H100 80GB HBM3 MIG 1g.10gb", "NVIDIA RTX 4090 Laptop GPU"]
)
def test_a_part_of_a_kind_is_not_taken_for_it(kind):
    """An A4000 has a third of the memory of an A40, and a slice of an H100 an eighth of the whole."""
    assert known_kind(Accelerator(kind)) is None
    assert facts([Accelerator(kind)]).memory == 16e9


def test_a_lane_too_wide_for_a_device_is_refused_with_the_width_that_fits():
    device = Accelerator(limit=10**9)
    run = run_of(2**16, device)

    def refused(lanes):
        chain = jl.SStep(lanes=lanes).chain(run)
        _memory.require_room(run, chain, 10**4, 8, _memory.lane_bytes(run, chain), 2)

    with pytest.raises(ValueError, match=r"must fit into the 1 GB .* but 2 lanes of 1000 replicas .*`lanes=") as found:
        refused(1000)
    fits = int(re.search(r"`lanes=(\d+)`", str(found.value)).group(1))
    refused(fits)
    with pytest.raises(ValueError, match="must fit into"):
        refused(fits + 1)


def out_of_memory(*_):
    raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes.")


def test_a_device_that_runs_out_of_memory_is_told_of_lanes_that_fit(monkeypatch):
    """The error of JAX names bytes; what a user can change is the width of lanes."""
    monkeypatch.setattr(ShallowFamily, "begin", out_of_memory)
    with pytest.raises(MemoryError, match=r"ran out of memory with lanes of 8 .*take `lanes=4` of the method") as found:
        systems.run(PROBLEM, method=jl.Stepwise(lanes=8, native=False))
    assert "RESOURCE_EXHAUSTED" in str(found.value.__cause__)
    with pytest.raises(MemoryError, match="not even one goes there"):
        systems.run(PROBLEM, method=jl.Stepwise(lanes=1, native=False))


def test_lanes_that_fit_follow_from_what_was_compiled():
    """A device of 1 GB holds two lanes: of 100 replicas in 2 GB, 25 would fit."""
    device = Accelerator(limit=10**9)
    run = run_of(64, device)
    chain = jl.Stepwise(lanes=100).chain(run)
    with (
        pytest.raises(MemoryError, match="`lanes=25`"),
        _memory.shortage_named(run, chain, device, lambda: 2 * 10**9),
    ):
        out_of_memory()
    with pytest.raises(jax.errors.JaxRuntimeError), _memory.shortage_named(run, chain, device, lambda: None):
        raise jax.errors.JaxRuntimeError("INTERNAL: something else")


@pytest.mark.parametrize("observe", [None, systems.parameters], ids=["", "observed"])
@pytest.mark.parametrize("method", [jl.Stepwise(lanes=4, native=False), jl.SStep(lanes=4, native=False)])
def test_the_bytes_of_a_compiled_lane_are_near_those_foretold(method, observe):
    """What is observed, of 3 inputs at 5 times, is most of it where it is."""
    ts, rest = np.linspace(0.0, 0.01, 5), (observe, 1, None, jnp.float32, None, 0)
    given = prepared(PROBLEM, 4096, ts, 4, jax.random.key(0), method, None, *rest)
    device = jax.devices()[0]
    lanes = lanes_of(given, None, None, lambda _: None)(device)
    keys = lane_keys(lanes.base, np.arange(4, dtype=np.uint32))
    moving, fixed = lanes.programs.begun(keys, np.int32(4))
    found = lanes.programs.lane_bytes(keys, moving, fixed, lanes.there[0])
    assert 0.3 < found / given.lane < 1.5


def test_numbers_of_replicas_beyond_the_key_are_refused():
    with pytest.raises(ValueError, match="Argument `first` must keep replica numbers below"):
        systems.run(PROBLEM, first=_draws.REPLICA_LIMIT - 1, replicas=2)
