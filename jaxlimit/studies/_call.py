"""One call of `simulate`, as a value: what a study wants simulated, before anybody decides where and when."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._lanes import Checkpoint, Progress
from jaxlimit._typing import ArrayLike, RandomKey
from jaxlimit.networks import Linearised
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem
from jaxlimit.simulation import AbstractMethod, Plan, plan, simulate
from jaxlimit.studies._described import described


class Call(NamedTuple):
    """The arguments of `simulate`, in its words."""

    problem: Problem
    width: Any
    ts: ArrayLike
    replicas: int
    key: RandomKey
    method: AbstractMethod | None = None
    at: ArrayLike | None = None
    observe: Callable[[Any, Any], Any] | None = None
    batch: int | None = 1
    optimiser: Any = None
    dtype: Any = jnp.float32
    devices: Sequence[jax.Device] | None = None

    @property
    def work(self) -> float:
        """Operations of all replicas on parameters, and as many for the start as for a step."""
        layers = (1, *np.atleast_1d(self.width).tolist(), 1)
        steps = self.problem.scaling.steps(float(np.asarray(self.ts)[-1]), self.width)
        return float(self.replicas) * float(np.dot(layers[:-1], layers[1:])) * (1.0 + steps)

    def simulated(self, progress: Progress | None = None) -> Samples:
        """The samples, of all replicas at once."""
        arguments = {**self._shared(), "replicas": self.replicas, "method": self.method}
        return simulate(self.problem, self.width, self.ts, **arguments, progress=progress)

    def part(
        self, method: AbstractMethod, first: int, stop: int, progress: Progress | None, checkpoint: Checkpoint | None
    ) -> Samples:
        """The samples of replicas first, …, stop − 1 by this method."""
        arguments = {**self._shared(), "first": first, "replicas": stop - first, "method": method}
        return simulate(self.problem, self.width, self.ts, **arguments, progress=progress, checkpoint=checkpoint)

    def foreseen(self, method: AbstractMethod | None) -> Plan:
        """What a run by this method would do; ``ValueError`` where it would be refused."""
        return plan(self.problem, self.width, self.ts, **self._shared(), method=method)

    def observed(self) -> Any:
        """Shapes and types of what is observed of one replica at one time; None where nothing is."""
        if self.observe is None:
            return None
        network: Any = self.problem.network
        seen = network.network if isinstance(network, Linearised) else network
        inputs = self.problem.data.inputs
        drawn = jax.eval_shape(lambda: seen.init(self.width, inputs, jax.random.key(0)))
        start = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, np.dtype(self.dtype)), drawn)
        return jax.eval_shape(self.observe, start, start)

    def described(self) -> dict[str, Any]:
        """All that the bits depend on as plain values, but for what the method leaves to the machine.

        Devices and the number of replicas are no part of it. Raises ``ValueError`` for what has no public name.
        """
        given = {name: getattr(self, name) for name in ("problem", "width", "key", "method", "observe", "batch")}
        tree = {name: described(name, value) for name, value in given.items()}
        arrays = {"ts": self.ts, "at": self.at}
        for name, value in arrays.items():
            tree[name] = described(name, None if value is None else np.asarray(value, np.float64))
        seen = [[leaf.dtype.name, list(leaf.shape)] for leaf in jax.tree.leaves(self.observed())]
        return {
            **tree,
            "optimiser": described("optimiser", self.optimiser),
            "dtype": np.dtype(self.dtype).name,
            "observed": seen,
        }

    def _shared(self) -> dict[str, Any]:
        names = ("key", "at", "observe", "batch", "optimiser", "dtype", "devices")
        return {name: getattr(self, name) for name in names}
