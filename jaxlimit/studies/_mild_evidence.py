"""What the study of the early stage computes: networks of many widths and steps, and what is predicted of them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from jaxlimit._typing import Host, RandomKey
from jaxlimit.data import Data
from jaxlimit.diagnostics import (
    DescentRate,
    EmptyTrueLiving,
    PartitionConditions,
    Patterns,
    initial_descent_rate,
    neuron_partition,
    neuron_patterns,
)
from jaxlimit.initial import Initial, Normal
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Neurons, Shallow
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem
from jaxlimit.scalings import FixedStep
from jaxlimit.studies._mild_steps import small_step
from jaxlimit.studies._streams import stream

LARGE = 4.0
"""|w_k| over |c_k|, in root mean square, of the networks that do not satisfy |c_k| ≥ |w_k|, for contrast."""


FINER = 10
"""Steps in one of the problem's, where sets of neurons are followed: at η whole sets may change in a single step."""


class Early(NamedTuple):
    """Of one loss: the level, where training ends in t = ηk, predictions, and networks of every width and purpose."""

    name: str
    problem: Problem
    level: float
    end: float
    rates: tuple[DescentRate, ...]
    """By width."""
    small: tuple[float, ...]
    """By width, η of the one step that shows the rate at the start."""
    by_width: tuple[Samples, ...]
    narrow: tuple[Samples, ...]
    """As `by_width`, of widths of which nothing is claimed."""
    by_eta: tuple[Samples, ...]
    first_step: tuple[Samples, ...]
    """By width, one step of size `small`."""
    sets: Samples
    """With steps η/FINER until `unit`, as `contrast`."""
    contrast: Samples


class Evidence(NamedTuple):
    """Everything the study computed."""

    problem: Problem
    widths: tuple[int, ...]
    etas: tuple[float, ...]
    early: tuple[Early, ...]
    conditions: tuple[PartitionConditions, PartitionConditions]
    """Of the starts of networks that were trained: of those whose sets are followed, and of the widest ones."""
    start_widths: tuple[int, ...]
    starts: tuple[Samples, ...]
    empty: tuple[EmptyTrueLiving, ...]
    tail: Samples | None
    tail_eta: float


class Sets(NamedTuple):
    """The sets of every neuron, and the smallest c_k² − |w_k|²."""

    patterns: Patterns
    balance: Float[Array, ""]


class Observables(NamedTuple):
    """What is looked at during training, for one data set."""

    data: Data

    def sets(self, parameters: Neurons, start: Neurons) -> Sets:
        """Patterns and balance of a network."""
        balance = jnp.min(parameters.c**2 - jnp.sum(parameters.w**2, axis=1))
        return Sets(neuron_patterns(parameters, self.data), balance)

    def empty(self, parameters: Neurons, start: Neurons) -> Bool[Array, ""]:
        """Whether some point has no true-living neuron."""
        return jnp.any(neuron_partition(parameters, self.data).true_living == 0)


class Run(NamedTuple):
    """Networks of one problem and width, their draws, where they are saved in steps, and what is looked at."""

    problem: Problem
    width: int
    key: RandomKey
    stops: Any
    replicas: int
    observe: Any = None


def at_eta(problem: Problem, eta: float) -> Problem:
    """The same problem with another step."""
    scaling: Any = problem.scaling
    return replace(problem, scaling=FixedStep(eta, scaling.gamma))


def with_large_w(problem: Problem, width: int) -> Problem:
    """The same problem with centred normal w, at this width LARGE times as large as c."""
    network: Any = problem.network
    law = network.initial
    std = LARGE * math.sqrt(law.c.second_moment / problem.data.inputs) * float(width) ** law.width_power
    large = Initial(law.c, Normal(0.0, std), law.width_power)
    return replace(problem, network=Shallow(network.activation, large, network.train_output))


def step_of(problem: Problem) -> float:
    """η of a problem whose scaling is a FixedStep."""
    scaling: Any = problem.scaling
    return float(scaling.eta)


def steps_until(end: float, eta: float) -> float:
    """How many steps there are up to t = ηk = `end`, with step 0: a float, as they may be too many."""
    return float(np.ceil(end / eta)) + 1.0


def stops(end: float, eta: float) -> Any:
    """Every step k up to t = ηk = `end`."""
    return np.arange(steps_until(end, eta))


def untrained(problem: Problem) -> Problem:
    """The same problem where only starts are wanted: no step is taken, and none can be unstable."""
    return replace(problem, learning_rate=0.0)


class Prediction(NamedTuple):
    """Of one loss, before anything is simulated."""

    problem: Problem
    level: float
    unit: float
    end: float
    rates: tuple[DescentRate, ...]
    small: tuple[float, ...]

    @property
    def finer(self) -> Problem:
        """The problem with the steps with which sets are followed."""
        return at_eta(self.problem, step_of(self.problem) / FINER)

    @property
    def finer_stops(self) -> Any:
        """All of those steps until `unit`."""
        return stops(self.unit, step_of(self.finer))


def predict(
    problem: Problem, loss: AbstractLoss, widths: Sequence[int], share: float, horizon: float, key: RandomKey
) -> Prediction:
    """The level of the loss, the rate at the start for every width, and when to stop.

    At the rate of the start the loss would fall to the level in the `unit` t = (L(0) − level)/|dL/dt(0)|; training
    goes on for `horizon` times as long.
    """
    given = replace(problem, loss=loss)
    data, value = given.data, loss.value
    at_zero: Any = value(np.zeros_like(data.y), data.y)  # type: ignore[arg-type]
    first = float(np.asarray(at_zero, np.float64) @ data.weights)
    rates = tuple(initial_descent_rate(given, width, key=jax.random.fold_in(key, width)) for width in widths)
    slowest = min(-rate.value for rate in rates)
    unit = (1.0 - share) * first / slowest
    small = tuple(small_step(given, width) for width in widths)
    return Prediction(given, share * first, unit, horizon * unit, rates, small)


class Plan(NamedTuple):
    """Which networks the study trains, and with which draws."""

    key: RandomKey
    widths: tuple[int, ...]
    etas: tuple[float, ...]
    replicas: int
    descent_replicas: int
    step_width: int
    partition_width: int
    narrow: tuple[int, ...] = ()

    def of_sets(self) -> RandomKey:
        """The draws of the networks whose sets are followed."""
        return jax.random.fold_in(self.key, 1)

    def at(self, *labels: float) -> RandomKey:
        """Draws of their own for every width or step: fits and verdicts take their errors as independent."""
        return stream(self.key, *labels)

    def training(self, one: Prediction, data: Data) -> list[Run]:
        """The networks of one loss: over the steps, over the widths, one small step, with their sets, with a large w.

        Other losses have the same draws: no claim joins two of them.
        """
        given, looked, count = one.problem, Observables(data), self.replicas
        every, two = stops(one.end, step_of(given)), np.arange(2.0)
        steps = [
            Run(at_eta(given, eta), self.step_width, self.at(4, eta), stops(one.end, eta), count) for eta in self.etas
        ]
        widths = [Run(given, width, self.at(2, width), every, count) for width in (*self.widths, *self.narrow)]
        first = [
            Run(at_eta(given, small), width, self.at(3, width), two, self.descent_replicas)
            for width, small in zip(self.widths, one.small, strict=True)
        ]
        chosen = [
            Run(problem, self.partition_width, self.of_sets(), one.finer_stops, count, looked.sets)
            for problem in (one.finer, with_large_w(one.finer, self.partition_width))
        ]
        return [*steps, *widths, *first, *chosen]

    def gathered(self, one: Prediction, found: Sequence[Samples]) -> Early:
        """What came of `training`."""
        etas, widths, narrow = len(self.etas), len(self.widths), len(self.narrow)
        of_steps, rest = found[:etas], found[etas:-2]
        of_widths, of_narrow, of_first = rest[:widths], rest[widths : widths + narrow], rest[widths + narrow :]
        name = type(one.problem.loss).__name__
        return Early(
            name,
            one.problem,
            one.level,
            one.end,
            one.rates,
            one.small,
            by_width=tuple(of_widths),
            narrow=tuple(of_narrow),
            by_eta=tuple(of_steps),
            first_step=tuple(of_first),
            sets=found[-2],
            contrast=found[-1],
        )

    def starts(self, problem: Problem) -> list[Run]:
        """The starts of the networks whose sets are followed, and of the widest ones."""
        given, widest, none = untrained(problem), self.widths[-1], np.zeros(1)
        return [
            Run(given, self.partition_width, self.of_sets(), none, self.replicas, neurons),
            Run(given, widest, self.at(2, widest), none, self.replicas, neurons),
        ]


def neurons(parameters: Neurons, start: Neurons) -> Neurons:
    """The neurons themselves, as an observable."""
    return parameters


def set_shares(one: Early) -> dict[str, Host]:
    """The share of neurons in each set [replicas, times], mean over the points; NaN in networks that diverged."""
    patterns, data = one.sets.observed.patterns, one.problem.data
    # Replica by replica: bits are eight times as many as bytes.
    found = [_in_sets(sign, living, data) for sign, living in zip(patterns.sign, patterns.living, strict=True)]
    kept = np.where((one.sets.diverged_at < 0)[:, None, None], np.array(found), np.nan)
    return {name: kept[:, :, k] for k, name in enumerate(("true-living", "true-dead", "false-living", "false-dead"))}


def _in_sets(sign: Host, living: Host, data: Data) -> Host:
    """[times, sets] of one network."""
    true = sign[..., None] * np.sign(data.y)
    sees = np.unpackbits(living, axis=-1, count=data.points).astype(bool)
    members = ((true > 0) & sees, (true > 0) & ~sees, (true < 0) & sees, (true < 0) & ~sees)
    return np.stack([member.mean(axis=(1, 2)) for member in members], axis=1)
