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

    lanes: eqx.AbstractVar[int | None]

    def lane_width(self, width: int, platform: str) -> int:
        """Replicas per lane: by the width and the kind of device only, never by the number of replicas.

        Unless told otherwise: a lane's state stays in a CPU's cache, and fills an accelerator.
        """
        if self.lanes is not None:
            return self.lanes
        neurons, most = (16384, 64) if platform == "cpu" else (2**24, 1024)
        return max(1, min(most, neurons // width))

    @abstractmethod
    def chain(self, problem: Problem, width: int, dtype: np.dtype, devices: Sequence[jax.Device]) -> Chain:
        """What advances a lane, and what `Samples.method` will say."""
