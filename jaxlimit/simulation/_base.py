"""What a method of simulating the chain must offer."""

from abc import abstractmethod
from collections.abc import Sequence

import equinox as eqx
import jax
import numpy as np

from jaxlimit.problem import Problem
from jaxlimit.simulation._state import Chain


class AbstractMethod(eqx.Module):
    """How `simulate` gets from one save time to the next; every method consumes the same draws."""

    @abstractmethod
    def lane_width(self, width: int, platform: str) -> int:
        """Replicas per lane: by the width and the kind of device only, never by the number of replicas."""

    @abstractmethod
    def chain(self, problem: Problem, width: int, dtype: np.dtype, devices: Sequence[jax.Device]) -> Chain:
        """What advances a lane, and what `Samples.method` will say."""
