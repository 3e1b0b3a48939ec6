"""What a law must offer."""

import math
from abc import abstractmethod
from collections.abc import Callable
from typing import ClassVar, NamedTuple

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlimit._typing import Host, RandomKey


class Coordinates(NamedTuple):
    """Points in coordinates in which w is isotropic: w·x has the law of ξ·z with ξ ~ N(0, s² I)."""

    z: Host
    """[points, inputs], float64"""
    std: float
    """s"""
    moved: float | Host
    """bound of the error of z in norm, relative to |z|, [points]; 0 where z is exact"""


class AbstractLaw(eqx.Module):
    """Law of one real coordinate, or of all of w: how to draw it, its first moments and its support.

    The coordinates of w are independent draws, unless `inputs` says how many of them the law draws together.
    `atomless` says that w·x takes no value with positive probability, for every x ≠ 0; it is not claimed by default.
    """

    compact_support: ClassVar[bool] = False
    full_support: ClassVar[bool] = False
    atomless: ClassVar[bool] = False

    @abstractmethod
    def sample(self, key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Independent float32 draws of the given shape."""

    @property
    @abstractmethod
    def mean(self) -> float:
        """E z."""

    @property
    @abstractmethod
    def second_moment(self) -> float:
        """E z²."""

    @property
    def third_moment(self) -> float | None:
        """E z³; None, the default, where it is not known. Symmetric laws have 0."""
        return 0.0 if self.symmetric else None

    @property
    def inputs(self) -> int | None:
        """The number of coordinates of w that are drawn together; None, the default, for one at a time."""
        return None

    def deviations(self, x: Float[Host, "points inputs"]) -> Float[Host, " points"]:
        """The size of w·x for every point: √(E z²)·|x|."""
        return np.linalg.norm(x, axis=1) * np.sqrt(self.second_moment)

    @property
    def gaussian(self) -> bool:
        """Whether w is a centred Gaussian, for which closed forms and quadrature are made."""
        return False

    @property
    def symmetric(self) -> bool:
        """Whether −z is known to have the law of z; a centred Gaussian has."""
        return self.gaussian

    def coordinates(self, x: Float[Host, "points inputs"]) -> Coordinates:
        """The points in coordinates in which w is isotropic; ValueError unless w is a centred Gaussian."""
        raise ValueError(
            "Argument `network` must draw w from a centred Gaussian law, Normal(0, std) or MultivariateNormal(S), "
            f"for this rule, but its law of w is {self}; jaxlimit.kernels.MonteCarlo takes any law."
        )


def flat(draw: Callable[..., Array], key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
    """Drawn along one axis: the same numbers, in half the time of a shape with a short last axis."""
    return draw(key, (math.prod(shape),), dtype=jnp.float32).reshape(shape)
