"""What a network must offer: a family indexed by its width."""

from abc import abstractmethod
from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from jaxlimit._typing import RandomKey


class AbstractNetwork(eqx.Module):
    """A sequence of networks, one for every width; the scaling in the width is not part of it."""

    @abstractmethod
    def init(self, width: Any, inputs: int, key: RandomKey) -> Any:
        """Initial parameters (float32) at this width for data with this many inputs."""

    @abstractmethod
    def apply(self, parameters: Any, x: Float[Array, "points inputs"]) -> Float[Array, " points"]:
        """The unscaled output on each row of x."""
