"""Nothing is sent to a device or fetched from it unasked while a lane goes through its steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.simulation._lane import lane_keys, lanes_of
from jaxlimit.simulation._prepared import prepared
from tests.gpu.sizes import KEY, METHODS, TS, data, elsewhere, named, parameters


@pytest.mark.parametrize(("name", "size"), named(METHODS, quick=()))
def test_a_lane_asks_for_every_transfer_and_its_calls_for_none(name, size):
    """With plain laws, whose numbers are part of the program."""
    network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
    question, method = jl.Problem(data(size), network), METHODS[name](size)
    replicas, more = size.lanes + 1, (elsewhere(size), parameters, 1, None, jnp.float32, jax.devices()[:1], 0)
    given = prepared(question, size.width, TS, replicas, KEY, method, *more)
    device = jax.devices()[0]
    lanes = lanes_of(given, None, None, lambda _: None)(device)
    before = lanes.through(1, lambda: None)  # constants of a program are sent once, when it is compiled
    with jax.transfer_guard("disallow"):
        after = lanes.through(1, lambda: None)
        keys = lane_keys(lanes.base, jax.device_put(np.arange(size.lanes, dtype=np.uint32), device))
        start = lanes.programs.begun(keys, jax.device_put(np.int32(size.lanes), device))
    assert all(np.array_equal(a, b) for a, b in zip(jax.tree.leaves(before), jax.tree.leaves(after), strict=True))
    with jax.transfer_guard("disallow_explicit"):
        jax.block_until_ready(lanes.programs.advanced(keys, *start, lanes.there[0]))
    with jax.transfer_guard("disallow"), pytest.raises(jax.errors.JaxRuntimeError, match="Disallowed host-to-device"):
        lanes.programs.begun(keys, np.int32(size.lanes))
