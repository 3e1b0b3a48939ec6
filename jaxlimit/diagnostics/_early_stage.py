"""The early stage of training: the loss of every replica, when it has fallen to a level, and what is predicted."""

from typing import Any, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Float, Int

from jaxlimit._arguments import finite_number, instance, require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.diagnostics._descent import DescentRate, initial_descent_rate
from jaxlimit.diagnostics._true_living import EmptyTrueLiving, empty_true_living
from jaxlimit.kernels import AbstractRule
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem


class HittingTimes(NamedTuple):
    """The first saved step at which the loss is at most the level, [replicas]; −1 where it is at no save.

    At step `after`, the save before (−1 where it was below from the start), and at all saves up to it the loss was
    above the level. If the loss is monotone between saves, as of full gradient descent with small steps, the level was
    first reached in (`after`, `steps`]; otherwise it may have been reached earlier, between two saves, and left again.
    So too where `steps` is −1, and `after` is the last save.
    """

    steps: Int[Host, " replicas"]
    after: Int[Host, " replicas"]


class EarlyStage(eqx.Module):
    """Loss [replicas, times] at the save times, hitting times of `level`, and what is predicted of the start."""

    loss: Float[Host, "replicas times"]
    level: float
    hitting: HittingTimes
    rate: DescentRate
    empty: EmptyTrueLiving


def training_loss(problem: Problem, samples: Samples) -> Float[Host, "replicas times"]:
    """L = Σ_i π_i ℓ(g(x_i), y_i) of every replica at every save time, float64; columns beyond the data do not count.

    Raises ``ValueError`` for samples with fewer points than the data.

        >>> import jax, jaxlimit as jl
        >>> problem = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> samples = jl.simulate(problem, 64, [0.0, 4.0], replicas=3, key=jax.random.key(0))
        >>> jl.diagnostics.training_loss(problem, samples).shape
        (3, 2)
    """
    data, values = instance("problem", problem, Problem).data, instance("samples", samples, Samples).values
    loss: Any = problem.loss
    enough = values.shape[2] >= data.points
    require(enough, "samples", f"hold the {data.points} points of the data", f"they hold {values.shape[2]}")
    with np.errstate(over="ignore", invalid="ignore"):  # replicas that diverged
        each = loss.value(values[..., : data.points].astype(np.float64), data.y)
        return np.asarray(each, np.float64) @ data.weights


def hitting_times(problem: Problem, samples: Samples, level: float) -> HittingTimes:
    """The first saved step at which the training loss is at most `level`, replica by replica, in whole steps.

    In the early stage it is of order 1/η whatever the width: η·T is flat in both. Nothing is interpolated: save every
    step to have the exact hitting time, above all of SGD, whose loss dips below the level and comes back. A replica
    that diverged before counts as one that never hits. Raises ``ValueError`` for paths of a limit, which have no steps,
    and for a level ≤ 0 where the loss is not negative. Source: references `mild`.

        >>> import jax, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Relu(), jl.Initial())
        >>> problem = jl.Problem(jl.data.sphere(4, 3), network, jl.FixedStep(0.5))
        >>> samples = jl.simulate(problem, 64, [0, 1, 2], replicas=2, key=jax.random.key(0), batch=None)
        >>> jl.diagnostics.hitting_times(problem, samples, 1e-9).steps.tolist()
        [-1, -1]
    """
    return _hits(problem, training_loss(problem, samples), samples, finite_number("level", level))


def early_stage(
    problem: Problem, samples: Samples, level: float, *, key: RandomKey, rule: AbstractRule | None = None
) -> EarlyStage:
    """Loss and hitting times of `simulate`'s samples, beside the predicted descent and the chance of a dead start.

    See `training_loss`, `hitting_times`, `initial_descent_rate` and `empty_true_living`, whose errors it raises; the
    width is that of the samples. Predictions are for a `Shallow` network. Source: references `mild`.

        >>> import jax, jaxlimit as jl
        >>> law = jl.Initial(jl.initial.Rademacher(), jl.initial.Normal(0, 0.02), width_power=-0.5)
        >>> network = jl.networks.Shallow(jl.activations.Relu(), law)
        >>> problem = jl.Problem(jl.data.sphere(4, 3), network, jl.FixedStep(0.5, gamma=0))
        >>> samples = jl.simulate(problem, 64, range(20), replicas=2, key=jax.random.key(0), batch=None)
        >>> found = jl.diagnostics.early_stage(problem, samples, 0.4, key=jax.random.key(1))
        >>> found.loss.shape, found.hitting.steps.shape, found.rate.value < 0, found.empty.upper < 1e-7
        ((2, 20), (2,), True, True)
    """
    loss = training_loss(problem, samples)
    hitting = _hits(problem, loss, samples, finite_number("level", level))
    rate = initial_descent_rate(problem, samples.width, key=key, rule=rule)
    return EarlyStage(loss, float(level), hitting, rate, empty_true_living(problem, samples.width))


def _hits(problem: Problem, loss: Host, samples: Samples, level: float) -> HittingTimes:
    """First saves at or below the level; NaN is not below."""
    networks = samples.width != float("inf")
    require(networks, "samples", "be of networks, which make steps", "they are paths of a limit")
    targets: Any = problem.data.y
    seen = np.append(np.asarray(problem.loss.value(targets, targets), np.float64), loss[loss < np.inf])
    least = float(np.min(seen))
    require(level > 0 or least < 0, "level", "be positive for a loss that is not negative", f"it is {level:g}")
    steps = np.append(samples.steps.astype(np.int64), -1)
    hit = loss <= level
    first = np.where(hit.any(axis=1), np.argmax(hit, axis=1), loss.shape[1])
    return HittingTimes(steps[first], steps[first - 1])
