"""The programs that the limits run on a device, caught where they would be compiled: {name: (function, arrays)}.

Run as a script it lowers them and prints what is foreign in them. diffrax checks its save times by a call of Python, on
the host, in a branch that is never taken; jax.export refuses that, so the script is for EQX_ON_ERROR=off, which leaves
the checks out.
"""

import json
import sys
from pathlib import Path

import equinox as eqx
import jax
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import diffrax

import jaxlimit as jl
from jaxlimit.limits import _epsilon_flow, _influence, _multilayer, _ode
from tests.lowering import foreign

KEY, TS = jax.random.key(0), (0.0, 1.0)
DATA = jl.Data([[1.0, 0.2, -0.3], [0.1, -0.8, 0.5], [-0.6, 0.4, 0.9]], [1.0, -0.5, 0.25], [1.0, 2.0, 3.0])
AT = np.array([[0.3, 0.3, 0.3]])
NETWORK = jl.networks.Shallow(jl.activations.Erf())
XAVIER, HUBER = jl.Problem(DATA, NETWORK), jl.Problem(DATA, NETWORK, loss=jl.Huber(0.5))
MEAN_FIELD = jl.Problem(DATA, NETWORK, jl.MeanField())


def deep(embedding):
    network = jl.networks.Multilayer((jl.activations.Tanh(),) * 2, embedding)
    return jl.Problem(DATA, network, jl.LayerwiseMeanField(0.1), jl.Huber())


def layers():
    normal = jl.initial.Normal
    return jl.initial.IndependentLayers((normal(), normal(1, 1), normal(1, 1)), (normal(),) * 3)


LIMITS = {
    "ode": (_ode, "_solve", lambda kind: jl.OdeLimit(HUBER, dtype=kind).path(np.zeros(3), TS, AT, np.zeros(1))),
    "ode, implicit": (
        _ode,
        "_solve",
        lambda kind: jl.OdeLimit(HUBER, dtype=kind, solver=diffrax.Kvaerno5()).path(np.zeros((2, 3)), TS),
    ),
    "epsilon flow": (
        _epsilon_flow,
        "solve",
        lambda kind: jl.EpsilonFlow(XAVIER, 0.25, 64, key=KEY, dtype=kind).path(None, TS, AT),
    ),
    "mean field, particles": (
        _epsilon_flow,
        "solve",
        lambda kind: jl.MeanFieldLimit(MEAN_FIELD, 64, key=KEY, dtype=kind).particles(TS),
    ),
    "multilayer": (
        _multilayer,
        "_solve",
        lambda kind: jl.MultilayerLimit(deep(layers()), (8, 6), key=KEY, dtype=kind).path(None, TS, AT),
    ),
    "multilayer, parameters": (
        _multilayer,
        "_solve",
        lambda kind: jl.MultilayerLimit(deep(layers()), (8, 6), key=KEY, dtype=kind).parameters(TS),
    ),
    "fluctuation": (
        _influence,
        "_covariances",
        lambda kind: jl.MeanFieldLimit(MEAN_FIELD, 64, key=KEY, dtype=kind).fluctuation(TS, AT, steps=4),
    ),
}


class CaughtError(Exception):
    """The arguments of a program."""


def program(name, dtype):
    """What this limit would compile, as a function of its arrays, and these."""
    module, function, call = LIMITS[name]
    real = getattr(module, function)

    def catch(*arguments):
        raise CaughtError(arguments)

    setattr(module, function, catch)
    try:
        call(dtype)
    except CaughtError as caught:
        (arguments,) = caught.args
    finally:
        setattr(module, function, real)
    arrays, rest = eqx.partition(arguments, eqx.is_array)
    return lambda arrays: real(*eqx.combine(arrays, rest)), arrays


if __name__ == "__main__":
    kind = np.dtype(sys.argv[1])
    made = {name: program(name, kind) for name in LIMITS}
    print(json.dumps({name: foreign(function, kind, arrays) for name, (function, arrays) in made.items()}))
