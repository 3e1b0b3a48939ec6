"""Compilation: once for each shape in a process, and once for all processes that share JAX's persistent cache."""

import contextlib
import json
import os
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

import jaxlimit as jl
from tests import systems

ROOT = Path(__file__).resolve().parents[1]
COMPILED = "/jax/core/compile/backend_compile_duration"
"""What JAX reports of every program it has no executable of in memory, whether the persistent cache has one or not."""


@contextlib.contextmanager
def compilations():
    """The names of the programs that JAX asks XLA for."""
    names: list[str] = []

    def listen(event, _seconds, **details):
        if event == COMPILED:
            names.append(str(details.get("fun_name")))

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


def shallow():
    return jl.networks.Shallow(jl.activations.Erf(), jl.Initial())


DATA = jl.Data(systems.FULL_X, systems.FULL_Y)
PROBLEM = jl.Problem(DATA, shallow())
WIDTH = 1021
"""Of no other test, so that the first run here compiles; wide enough for blocks whose length depends on numbers."""
OTHERS = {
    "save times": {"ts": (0.01, 0.02, 0.03)},
    "key": {"seed": 1},
    "replicas": {"replicas": 5},
    "first": {"first": 7},
    "learning rate": {"problem": jl.Problem(DATA, shallow(), learning_rate=4.0)},
    "scaling": {"problem": jl.Problem(DATA, shallow(), jl.PowerScaling(0.75))},
    "data": {"problem": jl.Problem(jl.Data(-systems.FULL_X, 2 * systems.FULL_Y), shallow())},
    "weights": {"problem": jl.Problem(jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5)), shallow())},
}
"""What is data to a program. Save times are as many as before, and data have their shape and their rank."""


def run(method, *, problem=PROBLEM, width=WIDTH, **settings):
    given = {"ts": (0.5, 1.0, 1.5), "replicas": 3, "dtype": jnp.float32, "method": method, **settings}
    return systems.run(problem, width, **given)


METHODS = [
    jl.Stepwise(lanes=2, native=False),
    jl.SStep(lanes=2, native=False),
    pytest.param(jl.SStep(lanes=2, native=False, order=2, tolerance=1e-2), marks=pytest.mark.slow),
]


@pytest.mark.parametrize("method", METHODS, ids=str)
def test_other_numbers_of_the_same_shapes_compile_nothing_and_another_width_does(method):
    with compilations() as at_first:
        run(method)
    assert at_first, f"JAX no longer reports {COMPILED}"
    for what, change in OTHERS.items():
        with compilations() as more:
            run(method, **change)
        assert not more, f"another {what} compiled {more}"
    with compilations() as wider:
        run(method, width=WIDTH + 1)
    assert wider


@pytest.mark.slow
def test_every_further_device_compiles_the_programs_of_a_lane_once():
    """XLA compiles for a device: three programs more for each, whatever the number of lanes."""
    lanes = 13  # of no other test: keys of a lane do not depend on the width
    method, settings = jl.Stepwise(lanes=lanes, native=False), {"width": WIDTH + 2, "ts": (0.0, 0.01)}

    def compiled_on(devices):
        with compilations() as names:
            run(method, devices=jax.devices()[:devices], replicas=6 * lanes * devices, **settings)
        return names

    alone, two, four = map(compiled_on, (1, 2, 4))
    assert alone
    assert len(set(two)) == len(two) == 3
    assert Counter(four) == Counter(2 * two)
    assert not compiled_on(4)


SCRIPT = """
import collections, hashlib, json, os, sys
import jax, jax.numpy as jnp, numpy as np
import jaxlimit as jl

events = collections.Counter()
jax.monitoring.register_event_listener(lambda event, **_: events.update([event.rsplit("/", 1)[-1]]))

def counted():
    found = {name: events[name] for name in ("compile_requests_use_cache", "cache_hits", "cache_misses")}
    events.clear()
    return found

network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
problem = jl.Problem(jl.data.sphere(4, 3), network)
key, ts = jax.random.key(0), [0.0, 1.0]
seen = hashlib.sha256()

def see(*arrays):
    for array in arrays:
        seen.update(np.asarray(array).tobytes())

for method in (jl.Stepwise(native=False), jl.SStep(native=False), jl.SStep(native=False, order=2, tolerance=1e-2)):
    samples = jl.simulate(problem, 64, ts, replicas=5, key=key, method=method, observe=lambda now, start: now)
    see(samples.values, samples.observed.w)
law = jl.SpectralLimit(problem).law(ts)
for statistic in (jl.statistics.KolmogorovSmirnov(), jl.statistics.EnergyDistance(), jl.statistics.BuresWasserstein()):
    see(jl.compare(samples, law, statistic, key=key).distance)
see(jl.empirical_gram(network, network.init(64, 3, key), problem.data.x))
found = {"package": counted(), "seen": seen.hexdigest()}
# What no process shares: a constant of its own within a program.
jax.jit(lambda x: x + float(os.getpid()))(np.ones(3, np.float32))
print(json.dumps({**found, "planted": counted()}))
"""


def in_a_process(cache, seed):
    """What `SCRIPT` counts in a process of its own, with this seed of Python's hashes and this cache."""
    kept = {
        "JAX_COMPILATION_CACHE_DIR": str(cache),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("JAX_", "XLA_"))}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(SCRIPT)]
    env = {**bare, **kept, "PYTHONHASHSEED": str(seed), "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600, check=False, cwd=cache.parent)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_second_process_compiles_nothing_that_the_cache_has(tmp_path):
    """What differs between processes, ids of objects and the order of sets among it, must stay out of programs."""
    cache = tmp_path / "cache"
    first = in_a_process(cache, 1)
    entries = {path.name for path in cache.iterdir()}
    second = in_a_process(cache, 2)
    asked = first["package"]["compile_requests_use_cache"]
    assert asked > 10
    assert first["package"]["cache_misses"] + first["package"]["cache_hits"] == asked
    assert second["package"] == {"compile_requests_use_cache": asked, "cache_hits": asked, "cache_misses": 0}
    # One entry more, for the constant that was planted: had the package one of that kind, it would have been seen.
    planted = {path.name for path in cache.iterdir()} - entries
    assert len(planted) == second["planted"]["cache_misses"] == 1
    assert first["seen"] == second["seen"]
