"""What `simulate` runs on an accelerator, from the keys of a lane to its results, as one function of arrays."""

import jax
import jax.numpy as jnp
import numpy as np

import jaxlimit as jl
from jaxlimit.simulation._lane import Programs, constants, lane_keys, shared
from jaxlimit.simulation._pieces import pieces
from jaxlimit.simulation._prepared import prepared
from tests import systems
from tests.cases import ACTIVATIONS

WIDTH, LANES, TS = 64, 3, (0.0, 0.1, 2.0)
DATA = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
SIGNS = jl.Data(systems.FULL_X, np.sign(systems.FULL_Y), systems.uneven(5))


class Accelerator:
    """A device of which nothing is known but that it is no CPU."""

    platform = "gpu"
    device_kind = "none that is known"

    def memory_stats(self):
        return None


def problem_of(name="erf", data=DATA, scaling=None, loss=None, initial=None):
    network = jl.networks.Shallow(ACTIVATIONS[name].activation, initial or jl.Initial())
    scaling, loss = scaling or jl.PowerScaling(0.75), loss or jl.SquaredError()
    return jl.Problem(data, network, scaling, loss, learning_rate=0.5)


def lane_program(
    problem,
    method,
    *,
    width=WIDTH,
    ts=TS,
    dtype=np.float32,
    batch=1,
    at=None,
    observe=None,
    optimiser=None,
    half=None,
    replicas=LANES,
):
    """(function, arguments): the programs of lane 0, with all of the run that a device is sent as arguments."""
    key = jax.random.key(0)
    given = prepared(problem, width, ts, replicas, key, method, at, observe, batch, optimiser, dtype, None, 0)
    run = given.run._replace(devices=(Accelerator(),))
    given = given._replace(run=run, chain=given.method.chain(run))
    cut = pieces(given.steps, given.chain)

    def lane(key, numbers, wanted, host, cut):
        programs = Programs(given, constants(given, host))
        keys = lane_keys(key, numbers)
        moving, fixed = programs.begun(keys, wanted)
        found = []
        for piece in cut:
            moving, saved = programs.advanced(keys, moving, fixed, piece)
            found.append(saved)
        return found, moving.diverged, moving.forced

    sent = jax.tree.map(jnp.asarray, (shared(given, half), cut))
    return lane, (key, jnp.arange(given.chain.lanes, dtype=jnp.uint32), jnp.int32(replicas), *sent)
