"""A factor for every layer: mean field at any depth."""

import math
from abc import abstractmethod
from collections.abc import Callable
from itertools import pairwise
from typing import Any, TypeAlias

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxlimit._arguments import finite_number, items, plain, positive_integer, positive_number, require
from jaxlimit.scalings._base import AbstractScaling, whole_steps

Widths: TypeAlias = tuple[int, ...]
"""(n_1, …, n_{L−1}): neurons of the hidden layers."""

Schedule: TypeAlias = float | Callable[[Any], Any]
"""ξ: a number, or a function of limit time written for traced scalars, as the schedules of optax are."""


class AbstractLayerwiseScaling(AbstractScaling):
    """Factors for networks of several hidden layers, one per layer; the width is a tuple (n_1, …, n_{L−1}).

    `output` has L − 1 members, the factors of the sums over the neurons of layers 1, …, L − 1; `learning_rate` has
    L, the multipliers of the plain gradient in w_1, …, w_L.
    """

    @abstractmethod
    def output(self, width: Widths) -> tuple[float, ...]:
        """Factors in front of Σ w_{i+1} φ_i(H_i), i = 1, …, L − 1."""

    @abstractmethod
    def learning_rate(self, width: Widths) -> tuple[float, ...]:
        """Factors on α for the gradient step in w_1, …, w_L."""

    @abstractmethod
    def step_time(self, width: Widths) -> float:
        """Limit time of one step."""

    def bias_learning_rate(self, width: Widths) -> tuple[float, ...] | None:
        """Factors on α for the gradient step in the biases of layers 1, …, L; None, the default: none are known."""
        return None

    def schedules(self, layers: int) -> tuple[Schedule, ...]:
        """ξ_1, …, ξ_L, by which the steps of the layers are multiplied at their time; 1 unless a scaling says more."""
        return (1.0,) * layers

    def steps(self, t: float, width: Widths) -> int:
        """⌊t/step_time⌋, where a quotient within rounding of an integer counts as that integer."""
        return whole_steps(float(t) / self.step_time(width), f"t = {t:g} at width {width}")


class LayerwiseMeanField(AbstractLayerwiseScaling):
    """Averages 1/n_{i−1} in every layer, and steps of size ε: t = kε.

    With n_0 = n_L = 1 the plain gradient in w_i is multiplied by ε ξ_i(t) n_{i−1} n_i, in the bias of layer i by ε
    ξ_i(t) n_i, so that every weight moves by O(ε). `xi` is one schedule for all layers or a tuple (ξ_1, …, ξ_L) of
    numbers ≥ 0 and functions of limit time (schedules of optax will do). Raises ``ValueError`` for ε ≤ 0, for no ξ and
    for one that is neither, that JAX cannot trace, or that is negative at t = 0; later values are not looked at.
    Source: references `multilayer`.

        >>> import jaxlimit as jl
        >>> scaling = jl.scalings.LayerwiseMeanField(epsilon=0.01)
        >>> scaling.output((4, 8)), scaling.learning_rate((4, 8)), scaling.steps(0.29, (4, 8))
        ((0.25, 0.125), (0.04, 0.32, 0.08), 29)
    """

    epsilon: float = eqx.field(static=True, converter=plain, default=0.01)
    xi: Schedule | tuple[Schedule, ...] = eqx.field(
        static=True, default=1.0, converter=lambda given: tuple(given) if isinstance(given, list) else given
    )

    def __check_init__(self) -> None:
        """ε is positive, ξ a number ≥ 0 or a function, for every layer."""
        positive_number("epsilon", self.epsilon)
        several = isinstance(self.xi, tuple)
        require(self.xi != (), "xi", "have a member per layer, or be one for all", "it is empty")
        for i, one in enumerate(self.xi if isinstance(self.xi, tuple) else (self.xi,), 1):
            _require_schedule(one, f"have as ξ_{i}" if several else "be")

    def output(self, width: Widths) -> tuple[float, ...]:
        """1/n_i."""
        return tuple(1.0 / n for n in checked(width))

    def learning_rate(self, width: Widths) -> tuple[float, ...]:
        """ε n_{i−1} n_i."""
        return tuple(self.epsilon * below * own for below, own in pairwise((1, *checked(width), 1)))

    def bias_learning_rate(self, width: Widths) -> tuple[float, ...]:
        """ε n_i."""
        return tuple(self.epsilon * own for own in (*checked(width), 1))

    def step_time(self, width: Widths) -> float:
        """ε."""
        return self.epsilon

    def schedules(self, layers: int) -> tuple[Schedule, ...]:
        """The ξ_i; ``ValueError`` where there is another number of them than layers."""
        found = self.xi if isinstance(self.xi, tuple) else (self.xi,) * layers
        require(len(found) == layers, "xi", f"have {layers} members, one per layer", f"it has {len(found)}")
        return found


def _require_schedule(one: Any, of: str) -> None:
    """Neither a number ≥ 0 nor a function that JAX traces to one, which starts at 0 or above: ``ValueError``."""
    if not callable(one):
        wanted = f"{of} a number ≥ 0 or a function of limit time"
        require(finite_number("xi", one, wanted) >= 0, "xi", wanted, f"it is {one!r}")
        return
    wanted = f"{of} a function of limit time that JAX can trace (jax.numpy for numpy or math, jnp.where for if)"
    try:
        found = jax.eval_shape(one, jax.ShapeDtypeStruct((), jnp.float32))
    except TypeError as error:  # what JAX raises of tracers that are taken for numbers, and Python of other arguments
        raise ValueError(f"Argument `xi` must {wanted}, but a trial raised {type(error).__name__}.") from error
    shape = getattr(found, "shape", None)
    require(shape == (), "xi", f"{of} a function to one number", f"it returns {found if shape is None else shape}")
    start = float(one(jnp.zeros(())))
    require(0 <= start < math.inf, "xi", f"{of} a function that is finite and ≥ 0", f"it is {start:g} at t = 0")


def checked(width: Any) -> Widths:
    """The widths of the hidden layers as a tuple of positive integers."""
    found = items("width", width, "positive integers, one per hidden layer")
    require(len(found) > 0, "width", "have a member per hidden layer", "it is empty")
    return tuple(positive_integer("width", n) for n in found)
