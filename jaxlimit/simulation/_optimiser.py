"""Steps that an optimiser of optax takes in place of SGD: the one place that calls it.

It sees the parameters as users do, `Neurons` of one replica in original coordinates, and its state is carried with
them. Matrices lie transposed in that state, as w does: a step then streams along the neurons.
"""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from jaxlimit._arguments import require
from jaxlimit._typing import Host
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Neurons, Shallow
from jaxlimit.simulation._state import Advance, Constants, Fixed, Moving, Observe, Run, recorded
from jaxlimit.simulation._steps import first_lost, over_steps, pull

Optimiser: TypeAlias = optax.GradientTransformation | Callable[[int], optax.GradientTransformation]
"""A transformation, or a function of the width that makes one."""


class Trained(NamedTuple):
    """What steps change in a lane: `Moving`, and the state of the optimiser, replicas first."""

    c: Float[Array, "lanes neurons"]
    w: Float[Array, "lanes inputs neurons"]
    diverged: Int[Array, " lanes"]
    error: Float[Array, " lanes"]
    forced: Int[Array, " lanes"]
    state: Any


def at_width(
    optimiser: Optimiser | None, width: int, inputs: int, dtype: np.dtype
) -> optax.GradientTransformation | None:
    """The transformation at this width, after one step of it has been traced without computing."""
    if optimiser is None:
        return None
    given = isinstance(optimiser, optax.GradientTransformation)
    wanted = "be an optax transformation, or a function of the width that returns one"
    require(given or callable(optimiser), "optimiser", wanted, f"it is a {type(optimiser).__name__}")
    # A constructor would take the width for its learning rate without a word, with other arguments bound as well.
    bare = optimiser.func if isinstance(optimiser, partial) else optimiser
    own = not given and str(getattr(bare, "__module__", "")).split(".")[0] == "optax"
    name = getattr(bare, "__name__", "")
    but = f"optax.{name} itself would take the width as its learning rate (did you mean optax.{name}(rate)?)"
    require(not own, "optimiser", wanted, but)
    found = optimiser if given else _called(lambda: optimiser(width))
    kind = isinstance(found, optax.GradientTransformation)
    require(kind, "optimiser", wanted, f"at width {width} it returned a {type(found).__name__}")
    start = _parameters(width, inputs, dtype)
    state, updates, after = _called(lambda: jax.eval_shape(lambda p: _traced(found, p), start))
    for what, old, new in (("state", state, after), ("updates", start, updates)):
        before, later = ([(leaf.shape, str(leaf.dtype)) for leaf in jax.tree.leaves(tree)] for tree in (old, new))
        changed = f"a step turns {before} into {later}" if len(before) < 8 else "a step changes them"
        require(before == later, "optimiser", f"keep shapes and precision of its {what}", changed)
    return found


def _called(function: Callable[[], Any]) -> Any:
    """Its result; whatever a user's own code raises is said to be the optimiser's."""
    try:
        return function()
    except Exception as error:
        raise ValueError(
            f"Argument `optimiser` must work on (gradients, state, parameters) of this network, but it raised "
            f"{type(error).__name__}: {error}."
        ) from error


def state_bytes(optimiser: optax.GradientTransformation, run: Run) -> int:
    """What the optimiser keeps of a replica."""
    leaves = jax.tree.leaves(
        jax.eval_shape(partial(_init, optimiser), _parameters(run.width, run.problem.data.inputs, run.dtype))
    )
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def chain(optimiser: optax.GradientTransformation, together: bool) -> Advance:
    """What advances a lane; the same contract as that of SGD."""
    return partial(_advance, optimiser, together)


@eqx.filter_jit
def _advance(
    optimiser: optax.GradientTransformation,
    together: bool,
    network: Shallow,
    loss: AbstractLoss,
    observe: Observe | None,
    constants: Constants,
    keys: Array,
    moving: Moving | Trained,
    fixed: Fixed,
    stops: Int[Host, " saves_plus_one"],
    ends: Int[Host, " saves"],
) -> tuple[Trained, Float[Array, "lanes saves points"], None, Any]:
    """Gradients of the mean loss of a step's samples in (c, w), with g^N = N^{−γ} Σ c σ(w·x), go to the optimiser."""
    if isinstance(moving, Trained):
        lane = moving
    else:
        begin = lambda c, w: _turned(_init(optimiser, Neurons(c, w.T)))  # noqa: E731
        lane = Trained(*moving, state=jax.vmap(begin)(moving.c, moving.w))

    def step(k: Array, indices: Array | None, now: Trained) -> Trained:
        of_c, of_w, finite = pull(network, loss, constants, -constants.output, now.c, now.w, indices)
        gradients = Neurons(of_c if network.train_output else jnp.zeros_like(of_c), of_w.T)
        parameters = Neurons(now.c, now.w.T)
        updates, state = _update(optimiser, gradients, _turned(now.state), parameters)
        if not network.train_output:  # not by a decay of weights either
            updates = updates._replace(c=jnp.zeros_like(updates.c))
        c, w = optax.apply_updates(parameters, updates)
        return now._replace(c=c, w=w.T, diverged=first_lost(now.diverged, finite, k), state=_turned(state))

    def save(carry: Trained, bounds: tuple[Array, Array]) -> tuple[Trained, tuple[Array, Any]]:
        carry = over_steps(step, together, constants, keys, *bounds, carry)
        return carry, recorded(network, observe, constants, Moving(*carry[:5]), fixed)

    lane, saved = jax.lax.scan(save, lane, (jnp.asarray(stops[:-1]), jnp.asarray(stops[1:])))
    values, seen = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), saved)
    return lane, values, None, seen


# optax mixes types on purpose (counters, schedules) and returns what it was given: standard promotion for it alone.


def _init(optimiser: optax.GradientTransformation, parameters: Neurons) -> Any:
    with jax.numpy_dtype_promotion("standard"):
        return jax.tree.map(jnp.asarray, optimiser.init(parameters))


def _update(
    optimiser: optax.GradientTransformation, gradients: Neurons, state: Any, parameters: Neurons
) -> tuple[Neurons, Any]:
    with jax.numpy_dtype_promotion("standard"):
        return optimiser.update(gradients, state, parameters)


def _traced(optimiser: optax.GradientTransformation, parameters: Neurons) -> tuple[Any, Any, Any]:
    state = _init(optimiser, parameters)
    updates, after = _update(optimiser, parameters, state, parameters)
    return state, updates, after


def _parameters(width: int, inputs: int, dtype: np.dtype) -> Any:
    """Shapes of the parameters of a replica, as `Neurons`."""
    shapes: Any = jax.ShapeDtypeStruct((width,), dtype), jax.ShapeDtypeStruct((width, inputs), dtype)
    return Neurons(*shapes)


def _turned(state: Any) -> Any:
    """Matrices transposed; twice is nothing."""
    return jax.tree.map(lambda leaf: leaf.T if jnp.ndim(leaf) == 2 else leaf, state)
