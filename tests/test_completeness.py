"""Every public concrete class has a line in the table of cases, so that every battery of tests runs on it."""

import inspect

import pytest

import jaxlimit as jl
from jaxlimit.statistics import AbstractStatistic
from tests import cases, layer_cases


def concrete(room, base):
    """Public classes of a room below `base` that are not abstract."""
    found = (kind for name, kind in vars(room).items() if inspect.isclass(kind) and not name.startswith("_"))
    return {kind for kind in found if issubclass(kind, base) and not inspect.isabstract(kind)}


ROOMS = {
    "activations": (
        jl.activations,
        jl.activations.AbstractActivation,
        {type(case.activation) for case in cases.ACTIVATIONS.values()},
    ),
    "initial": (
        jl.initial,
        jl.initial.AbstractLaw,
        {type(law) for law in [*(case.law for case in cases.LAWS.values()), *cases.VECTOR_LAWS.values()]},
    ),
    "losses": (jl.losses, jl.losses.AbstractLoss, {type(case.loss) for case in cases.LOSSES.values()}),
    "embeddings": (jl.initial, jl.initial.AbstractEmbedding, {type(e) for e in layer_cases.EMBEDDINGS.values()}),
    "scalings": (
        jl.scalings,
        jl.scalings.AbstractScaling,
        {type(s) for s in [*cases.SCALINGS.values(), *cases.STEPS.values(), *layer_cases.LAYERWISE_SCALINGS.values()]},
    ),
    "networks": (jl.networks, jl.networks.AbstractNetwork, {type(n) for n in cases.NETWORKS.values()}),
    "kernels": (jl.kernels, jl.kernels.AbstractRule, {type(rule) for rule in cases.RULES.values()}),
    "simulation": (jl.simulation, jl.simulation.AbstractMethod, {type(method) for method in cases.METHODS.values()}),
    "limits": (jl.limits, jl.limits.AbstractLimit, set(cases.LIMITS.values())),
    "statistics": (jl.statistics, AbstractStatistic, {type(case.statistic) for case in cases.STATISTICS.values()}),
}


@pytest.mark.parametrize("room", ROOMS)
def test_every_public_class_has_a_case(room):
    module, base, tabled = ROOMS[room]
    public = concrete(module, base)
    assert public, f"no concrete class was found in {room}: the search is broken"
    missing = sorted(kind.__name__ for kind in public - tabled)
    assert not missing, f"tests/cases.py has no line for {', '.join(missing)}"


@pytest.mark.parametrize("room", ROOMS)
def test_no_case_is_left_over_from_a_class_that_is_gone(room):
    module, base, tabled = ROOMS[room]
    assert not {kind.__name__ for kind in tabled - concrete(module, base)}


def test_a_missing_line_is_noticed():
    module, base, tabled = ROOMS["activations"]
    assert concrete(module, base) - (tabled - {jl.activations.Tanh}) == {jl.activations.Tanh}
