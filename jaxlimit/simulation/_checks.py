"""What `simulate` checks before it computes, and what it finds out about diverged replicas after."""

import math
import warnings
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlimit._arguments import STEP_LIMIT, require
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.kernels import empirical_gram
from jaxlimit.networks import AbstractNetwork, Neurons
from jaxlimit.problem import Problem
from jaxlimit.scalings import AbstractScaling, FixedStep, PowerScaling
from jaxlimit.simulation._draws import parameters_key, replica_key

STABILITY_NEURONS = 1024
"""Neurons of replica 0 by which the stability of a step is judged."""


SPECTRUM_POINTS = 1024
"""With more points than this, steps on all of them are judged by a bound of the largest eigenvalue."""


def _power(problem: Problem, width: int) -> Host:
    """What makes of c as drawn for `STABILITY_NEURONS` neurons those of this width; an array, so that it is data."""
    initial: Any = problem.network.initial  # type: ignore[attr-defined]
    return np.asarray((width / STABILITY_NEURONS) ** initial.width_power, np.float32)


def _some_neurons(network: Any, power: ArrayLike, inputs: int, key: RandomKey) -> Neurons:
    """The first neurons of replica 0, as they are at the width of the run."""
    c, w = network.init(STABILITY_NEURONS, inputs, parameters_key(replica_key(key, 0)))
    return Neurons(c * jnp.asarray(power, c.dtype), w)


@eqx.filter_jit
def _matrix(network: AbstractNetwork, power: ArrayLike, key: RandomKey, x: ArrayLike) -> Float[Array, "points points"]:
    return empirical_gram(network, _some_neurons(network, power, x.shape[1], key), x)


def _largest_eigenvalue(problem: Problem, power: Host, key: RandomKey, x: Host) -> float:
    """Of B diag(π); infinite where an entry is not finite."""
    matrix, root = np.asarray(_matrix(problem.network, power, key, x), np.float64), np.sqrt(problem.data.weights)
    finite = bool(np.all(np.isfinite(matrix)))
    return float(np.linalg.eigvalsh(root[:, None] * matrix * root)[-1]) if finite else math.inf


@eqx.filter_jit
def _largest_diagonal(network: AbstractNetwork, power: ArrayLike, key: RandomKey, x: ArrayLike) -> Float[Array, ""]:
    parameters = _some_neurons(network, power, x.shape[1], key)
    # One point at a time: only the diagonal is wanted, and it needs no array of points × width.
    return jnp.max(jax.lax.map(lambda row: empirical_gram(network, parameters, row[None])[0, 0], x))


def require_representable(x: Host, y: Host, extra: Host, kind: np.dtype) -> None:
    """The cast to the run's precision must neither overflow nor turn a point into zero."""
    for name, array in (("problem.data.x", x), ("problem.data.y", y[:, None]), ("at", extra)):
        largest = np.max(np.abs(array), axis=1, initial=0.0)
        limits = np.finfo(kind)
        fits = (largest == 0) | ((largest >= float(limits.tiny)) & (largest <= float(limits.max)))
        require(
            bool(np.all(fits)),
            name,
            f"be representable in {kind}",
            f"row {int(np.argmin(fits))} has largest entry {largest[int(np.argmin(fits))]:.3g}" if fits.size else "",
        )


def check_observable(
    observe: Callable[[Any, Any], Any], network: AbstractNetwork, width: Any, inputs: int, kind: np.dtype
) -> int:
    """Trace the observable once, without computing: every leaf must be numbers. Returns their bytes."""
    wrong: list[str] = []

    def traced(now: Any, start: Any) -> Any:
        found = observe(now, start)
        for leaf in jax.tree.leaves(found):
            dtype = getattr(leaf, "dtype", np.dtype(type(leaf)) if isinstance(leaf, int | float | complex) else None)
            if dtype is None:
                wrong.append(f"a {type(leaf).__name__}")
            elif not (jnp.issubdtype(dtype, jnp.number) or jnp.issubdtype(dtype, jnp.bool_)):
                wrong.append(f"an array of {dtype}")
        return None if wrong else found

    drawn = jax.eval_shape(lambda: network.init(width, inputs, jax.random.key(0)))
    start = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, kind), drawn)
    shapes = jax.eval_shape(traced, start, start)
    require(not wrong, "observe", "return a pytree of arrays of numbers", f"it returned {', '.join(wrong)}")
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in jax.tree.leaves(shapes))


def diverged_at(diverged: Host, values: Host, steps: Host) -> Host:
    """The step of the first non-finite residual or, if earlier, of the first save with a non-finite output; else −1.

    The steps between the last finite residual and a save can overflow with no residual to show it.
    """
    lost = ~np.all(np.isfinite(values), axis=2)
    saved = np.where(np.any(lost, axis=1), steps[np.argmax(lost, axis=1)], STEP_LIMIT)
    first = np.minimum(np.where(diverged >= 0, diverged.astype(np.int64), STEP_LIMIT), saved)
    return np.where(first < STEP_LIMIT, first, -1)


def check_stability(problem: Problem, width: int, key: RandomKey, batch: int | None) -> None:
    """A step multiplies its own residual by 1 − sℓ''B(x, x): beyond 2 the chain explodes.

    s = α · learning rate · N · output², which is α/N for N^{−γ} and αηN^{1−2γ} for a fixed step. B is estimated from
    the first neurons of replica 0, whatever the law or the activation: a few per cent are enough to tell a step from
    one that explodes. Where no bound of ℓ'' is known there is nothing to check.
    """
    curvature = problem.loss.curvature
    if curvature is None:
        return
    x, power = problem.data.x.astype(np.float32), _power(problem, width)
    if batch is None and problem.data.points <= SPECTRUM_POINTS:
        # A step on all points multiplies residuals by I − α max|ℓ''| B diag(π)/N.
        largest, bound = _largest_eigenvalue(problem, power, key, x), "λ_max(B diag π)"
    else:
        # No eigenvalue of B diag(π) is larger than the largest B(x, x).
        largest, bound = float(_largest_diagonal(problem.network, power, key, x)), "max_m B(x_m, x_m)"
    scaling = problem.scaling
    size = problem.learning_rate * scaling.learning_rate(width) * scaling.output(width) ** 2 * width
    where = f"α = {problem.learning_rate:g} at width {width}"
    if isinstance(scaling, FixedStep):
        factor, remedy = "α η N^{1−2γ}", "lower η"
        where += f" and η = {scaling.eta:g}"
    else:
        factor, remedy = "α/N", "lower it or widen the network"
    require_stable(size * curvature * largest, f"{factor} max |ℓ''| {bound}", where, remedy)


def require_stable(step: float, what: str, where: str, remedy: str) -> None:
    """Raise ``ValueError`` where a step multiplies residuals by more than −1: `what` names the factor."""
    require(
        math.isfinite(step) and step <= 2.0,
        "learning_rate",
        f"keep a step stable, {what} ≤ 2",
        f"{where} gives {step:.3g}: {remedy}",
    )


def warn_without_limit(scaling: AbstractScaling, network: Any) -> None:
    """Experiments with E c ≠ 0 are published, so they run; but nothing they do converges for γ < 1."""
    mean = network.initial.c.mean
    if mean != 0.0 and isinstance(scaling, PowerScaling) and scaling.gamma < 1.0:
        warnings.warn(
            f"E c = {mean:g} ≠ 0: the outputs at the start grow with the width and have no limit for γ < 1.",
            stacklevel=5,
        )
