"""What a method of simulating the chain must offer."""

from abc import abstractmethod
from typing import ClassVar

import equinox as eqx

from jaxlimit.paths import Samples
from jaxlimit.simulation._state import Chain, Run


class AbstractMethod(eqx.Module):
    """How `simulate` gets from one save time to the next; every method consumes the same draws."""

    lanes: eqx.AbstractVar[int | None]

    neurons_per_lane: ClassVar[int] = 16384
    """Neurons of a lane that a CPU's cache holds."""

    def lane_width(self, width: int, platform: str) -> int:
        """Replicas per lane: by the width and the kind of device only, never by the number of replicas.

        Unless told otherwise: a lane's state stays in a CPU's cache, and fills an accelerator.
        """
        if self.lanes is not None:
            return self.lanes
        neurons, most = (self.neurons_per_lane, 64) if platform == "cpu" else (2**24, 1024)
        return max(1, min(most, neurons // width))

    @abstractmethod
    def chain(self, run: Run) -> Chain:
        """What advances a lane, and what `Samples.method` will say."""

    def review(self, samples: Samples) -> None:
        """Warn of what a user must know before using the samples; nothing, unless a method says more."""
