"""A device without room: lanes that are too wide are refused beforehand, or end in an error, and named ones run.

On an accelerator all but about a GiB is taken first, so that lanes need not be enormous.
"""

import gc
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit._devices import available_on_device
from jaxlimit.simulation import _memory, _prepared
from jaxlimit.simulation._shallow import ShallowFamily
from tests.gpu.sizes import KEY, sizes

GIB, ON_CPU = 2**30, 10**6
"""Bytes that are left free on an accelerator, and that a CPU is taken to have."""


@pytest.fixture(scope="module")
def question():
    network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
    return jl.Problem(jl.data.sphere(4, 3), network)


@pytest.fixture
def little_room(monkeypatch):
    """Takes memory until about a GiB is left; gives it back."""
    device, taken = jax.devices()[0], []
    if device.platform == "cpu":
        monkeypatch.setattr(_memory, "available_on_device", lambda _: ON_CPU)
    try:
        if device.platform != "cpu":
            gc.collect()
            if available_on_device(device) is None:
                pytest.skip(f"{device} does not tell its memory")
            for part in (GIB, GIB // 16):
                while available_on_device(device) > GIB + part:
                    taken.append(jax.block_until_ready(jnp.zeros(part // 4, jnp.float32, device=device)))
        yield
    finally:
        for array in taken:
            array.delete()


def run(question, width, lanes):
    """A few steps of one full lane."""
    method, given = jl.Stepwise(lanes=lanes), {"devices": jax.devices()[:1], "key": KEY}
    return jl.simulate(question, width, [0.0, 8 / width], replicas=lanes, method=method, **given)


def named(question, width, lanes, error):
    """The lanes that an error names, None where there is none; what its traceback holds of the run is let go."""
    try:
        samples = run(question, width, lanes)
    except error as refusal:
        said = str(refusal)
    else:
        assert np.all(np.isfinite(samples.values))
        return None
    gc.collect()
    return int(re.search(r"`lanes=(\d+)`", said).group(1))


@pytest.mark.parametrize(("width", "lanes"), sizes((64, 1024), (16384, 65536)))
def test_lanes_too_wide_are_refused_before_anything_runs_and_those_that_fit_run(width, lanes, question, little_room):
    fits = named(question, width, lanes, ValueError)
    assert 1 <= fits < lanes
    assert named(question, width, fits, ValueError) is None


@pytest.mark.parametrize(("width", "lanes"), sizes((64, 16), (16384, 4096)))
def test_a_device_that_runs_out_names_lanes_that_run(width, lanes, question, little_room, monkeypatch):
    """Where nothing is foreseen: each error names fewer lanes, and soon they run."""
    monkeypatch.setattr(_prepared, "require_room", lambda *_: None)
    if jax.default_backend() == "cpu":
        monkeypatch.setattr(ShallowFamily, "begin", exhausted(ShallowFamily.begin, most=lanes // 4))
    tried = [lanes]
    while len(tried) < 8 and (fewer := named(question, width, tried[-1], MemoryError)) is not None:
        assert 1 <= fewer < tried[-1]
        tried.append(fewer)
    assert 2 <= len(tried) < 8, tried


def exhausted(begin, most):
    """What XLA says of more replicas than these."""

    def begun(self, network, constants, keys, *rest):
        if keys.shape[0] > most:
            raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory while trying to allocate 1 bytes.")
        return begin(self, network, constants, keys, *rest)

    return begun
