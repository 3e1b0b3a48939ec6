"""What `simulate` asks of a kind of networks; everything else of a run is the same for every kind."""

from abc import abstractmethod
from typing import Any, ClassVar, NamedTuple

import equinox as eqx
import numpy as np
from jaxtyping import Array
from optax import GradientTransformation

from jaxlimit._typing import RandomKey
from jaxlimit.problem import Problem
from jaxlimit.simulation._optimiser import Optimiser
from jaxlimit.simulation._state import Chain, Constants, Run


class Factors(NamedTuple):
    """What becomes of the widths: `Constants.output` and `Constants.increment`, as float64 numbers."""

    output: Any
    increment: Any


class AbstractFamily(eqx.Module):
    """One kind of networks, as a run sees it: its width, its factors, its start and its step.

    `in_blocks` says whether `SStep` knows it.
    """

    in_blocks: ClassVar[bool] = False

    @abstractmethod
    def width(self, problem: Problem, width: Any) -> Any:
        """The width checked, once the scaling has been found to be one for this kind."""

    @abstractmethod
    def transformation(
        self, optimiser: Optimiser | None, width: Any, inputs: int, dtype: np.dtype
    ) -> GradientTransformation | None:
        """The optimiser at this width, checked; None where there is none."""

    @abstractmethod
    def factors(self, problem: Problem, width: Any) -> Factors:
        """What multiplies sums over neurons, and the moves of parameters."""

    @abstractmethod
    def check(self, problem: Problem, width: Any, key: RandomKey, batch: int | None, sgd: bool) -> None:
        """Refuse steps beyond stability, where they are SGD, and warn of what has no limit."""

    @abstractmethod
    def begin(
        self, network: Any, constants: Constants, keys: RandomKey, real: Array, width: Any, keep_start: bool, all_: bool
    ) -> tuple[Any, Any]:
        """The start of a lane: what steps change, with the fields `diverged` and `forced`, and what they do not."""

    @abstractmethod
    def stepwise(self, run: Run, lanes: int | None, native: bool | None) -> Chain:
        """The exact chain, in lanes of so many replicas and compiled as `native` says, None for what suits."""
