"""What the multilayer study covers: laws, steps and networks of other depth, refused by name where they do not fit."""

import dataclasses
from collections.abc import Sequence
from typing import Any

from jaxlimit._arguments import instance, require
from jaxlimit._typing import Host
from jaxlimit.initial import AbstractEmbedding, AbstractLaw, CorrelatedLayers, IndependentLayers, Normal
from jaxlimit.networks import Multilayer
from jaxlimit.problem import Problem
from jaxlimit.scalings import LayerwiseMeanField

ROUNDING = 1e-6
"""Of a step: networks that stand so near to a save time stand at it."""


def laws(problem: Problem) -> tuple[AbstractLaw, AbstractLaw, AbstractLaw, CorrelatedLayers]:
    """Laws of w_1, of the middle, of w_L, and the correlated one beside them; refuses what the theorem does not cover.

    No biases: where they are random they tell neurons apart whatever the weights do.
    """
    network = instance(
        "problem", instance("problem", problem, Problem).network, Multilayer, "have a Multilayer network"
    )
    wanted = "have the scaling LayerwiseMeanField: the theorem is on averages over neurons"
    scaling = instance("problem", problem.scaling, LayerwiseMeanField, wanted)
    deep = "have two hidden layers or more: for one see the study mean_field"
    require(network.layers >= 3, "problem", deep, f"it has {network.layers - 1}")
    learn = "have layers that all learn, as in the theorem"
    require(all(network.trained), "problem", learn, "some do not")
    still = [xi for xi in scaling.schedules(network.layers) if not callable(xi) and xi == 0]
    require(not still, "problem", learn, f"its scaling has ξ = {scaling.xi}")
    require(problem.learning_rate > 0, "problem", "have a learning rate above 0: nothing would move", "it is 0")
    initial: AbstractEmbedding = network.initial
    if isinstance(initial, CorrelatedLayers):
        alike = Normal(initial.mean or 1.0, 1.0)
        return initial.first, alike, initial.last, dataclasses.replace(initial, biases=())
    means = initial.means(network.layers)[1:]
    fit = "have independent middle and last weights with a mean: with mean zero gradients vanish with the width"
    require(all(means), "problem", fit, f"their means are {means}")
    independent = instance("problem", initial, IndependentLayers, "have IndependentLayers or CorrelatedLayers")
    first, middle, last = independent.weights[0], independent.weights[1], independent.weights[-1]
    return first, middle, last, CorrelatedLayers(mean=middle.mean, first=first, last=last)


def require_reached(problem: Problem, finer: Sequence[Problem], times: Host) -> None:
    """Networks of every step stand at every time: else they are up to a step away from it, and the rate is of that."""
    for one, name in ((problem, "ts"), *((one, "resolutions") for one in finer)):
        scaling: Any = one.scaling
        step = scaling.epsilon
        away = [t for t in times.tolist() if abs(scaling.steps(t, (1,)) * step - t) > ROUNDING * step]
        if name == "ts":
            wanted = f"hold whole multiples of the step ε = {step:g} of the problem"
        else:
            wanted = "hold numbers n such that all of `ts` are whole multiples of the step 1/n"
            away = [f"{t:g} with n = {1 / step:g}" for t in away]
        require(not away, name, wanted, f"{away[0] if away else ''} is none")


def with_step(problem: Problem, epsilon: float) -> Problem:
    """The same problem with steps of another size."""
    scaling: Any = problem.scaling
    return dataclasses.replace(problem, scaling=dataclasses.replace(scaling, epsilon=epsilon))


def with_network(problem: Problem, network: Multilayer) -> Problem:
    """Another depth; schedules that differ between layers are those of one depth only, and give way to 1."""
    scaling: Any = problem.scaling
    if isinstance(scaling.xi, tuple):
        scaling = dataclasses.replace(scaling, xi=1.0)
    return dataclasses.replace(problem, network=network, scaling=scaling)
