"""Every function of the package that is compiled for a device is known, and some test lowers it for accelerators."""

import importlib
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.simulation import _checks, _draws, _multilayer
from jaxlimit.studies import _min_norm_evidence, _multilayer_evidence
from tests.lane_program import DATA
from tests.layer_cases import EMBEDDINGS
from tests.lowering import foreign

ROOMS = ("diagnostics", "initial", "kernels", "limits", "networks", "simulation", "statistics", "studies")

LOWERED = {
    "a lane": {
        "simulation._blocks._advance",
        "simulation._lane.lane_keys",
        "simulation._linearised._advance",
        "simulation._linearised._tangent",
        "simulation._multilayer._advance",
        "simulation._multilayer._begin",
        "simulation._optimiser._advance",
        "simulation._shallow._advance",
        "simulation._state.begin",
        "simulation._state.lane_indices",
        "simulation._streamed.advance",
    },
    "limits": {
        "limits._influence._covariances",
        "limits._multilayer._solve",
        "limits._ode._solve",
        "limits._particles.solve",
    },
    "statistics": {"statistics._characteristic._cos_sin", "statistics._characteristic._sums"},
    "diagnostics": {"diagnostics._diversity._nearest"},
    "below": {
        "limits._multilayer._drawn",
        "simulation._checks._largest_diagonal",
        "simulation._checks._matrix",
        "simulation._draws._start",
        "simulation._multilayer._kernel",
        "studies._min_norm_evidence._kernels",
        "studies._multilayer_evidence._outputs",
    },
}
"""By the tests that lower them."""

ON_CPUS = {
    "simulation._blocks_native._draw",
    "simulation._blocks_native._record",
    "simulation._native._record",
}
"""Called between native loops, which accelerators have none of."""


def compiled(rooms):
    """Functions of modules that have been given to `jax.jit` or `equinox.filter_jit`, where they are at home."""
    found = {}
    for room in rooms:
        package = importlib.import_module(f"jaxlimit.{room}")
        for module in (
            importlib.import_module(m.name) for m in pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
        ):
            for name, value in vars(module).items():
                if callable(value) and hasattr(value, "lower") and hasattr(value, "__wrapped__"):
                    own = value.__wrapped__.__module__ == module.__name__
                    found.setdefault(value, []).append((not own, f"{module.__name__}.{name}".removeprefix("jaxlimit.")))
    return {min(homes)[1] for homes in found.values()}


def test_every_compiled_function_is_lowered_somewhere():
    known = set().union(*LOWERED.values())
    assert compiled(ROOMS) - ON_CPUS == known


def test_a_compiled_function_that_nobody_lowers_would_be_seen(monkeypatch):
    def new(x):
        return x

    new.__module__ = _checks.__name__
    monkeypatch.setattr(_checks, "_new", jax.jit(new), raising=False)
    assert "simulation._checks._new" in compiled(ROOMS)


NETWORK = jl.networks.Shallow(jl.activations.Erf())
DEEP = jl.networks.Multilayer((jl.activations.Tanh(),) * 3, EMBEDDINGS["independent, biases"])
X = jnp.asarray(DATA.x, jnp.float32)
KEY = jax.random.key(0)


def several(parameters, times):
    """Shapes of parameters at several times."""
    return jax.tree.map(lambda leaf: jax.ShapeDtypeStruct((times, *leaf.shape), leaf.dtype), parameters)


def kernel_of_layers(key, x):
    width = (8, 6, 7)
    problem = jl.Problem(DATA, DEEP, jl.LayerwiseMeanField(0.1), jl.Huber())
    numbers = jax.tree.map(jnp.float32, _multilayer.MultilayerFamily().factors(problem, width))
    return _multilayer._kernel(DEEP, (None,) * 4, width, x, numbers, key)


OTHERS = {
    "stability, one sample": (lambda k, x: _checks._largest_diagonal(NETWORK, jnp.float32(1.5), k, x), (KEY, X)),
    "stability, all points": (lambda k, x: _checks._matrix(NETWORK, jnp.float32(1.5), k, x), (KEY, X)),
    "stability, several layers": (kernel_of_layers, (KEY, X)),
    "draws": (lambda k: _draws._start(NETWORK, 64, 3, k), (KEY,)),
    "draws of several layers": (lambda k: _draws._start(DEEP, (8, 6, 7), 3, k), (KEY,)),
    "kernels of a study": (
        lambda p, x: _min_norm_evidence._kernels(NETWORK, p, x),
        (several(jax.eval_shape(lambda: NETWORK.init(64, 3, KEY)), 4), X),
    ),
    "outputs of a study": (
        lambda p, x: _multilayer_evidence._outputs(DEEP, p, x),
        (several(jax.eval_shape(lambda: DEEP.init((8, 6, 7), 3, KEY)), 4), X),
    ),
}


@pytest.mark.parametrize("name", OTHERS)
def test_what_runs_beside_the_lanes_lowers(name):
    function, arguments = OTHERS[name]
    assert foreign(function, np.float32, *arguments) == []
