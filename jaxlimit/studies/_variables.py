"""Samples as the variables of a block, and a block from the state that it has kept."""

from collections.abc import Callable, Sequence

import jax
import numpy as np

from jaxlimit.paths import Samples
from jaxlimit.simulation import Checkpoint
from jaxlimit.sweeps import BlockCheckpoint

Variables = dict[str, tuple[tuple[str, ...], np.ndarray]]
"""Name → (names of dimensions, array)."""

OBSERVED = "observed."
"""What names of variables that are leaves of observables begin with."""


def variables(samples: Samples, names: Sequence[str] | None = None) -> Variables:
    """What the samples are made of; leaves of observables go by `names`, None by their numbers."""
    found: Variables = {
        "values": (("replica", "time", "point"), samples.values),
        "diverged_at": (("replica",), samples.diverged_at),
        "t": (("time",), samples.ts),  # `ts` may be an axis
        "steps": (("time",), samples.steps),
    }
    if samples.error is not None:
        found["error"] = (("replica", "time"), samples.error)
    if samples.forced is not None:
        found["forced"] = (("replica",), samples.forced)
    leaves = jax.tree.leaves(samples.observed)
    for name, leaf in zip(names or map(str, range(len(leaves))), leaves, strict=True):
        own = tuple(f"{name}_{i}" for i in range(np.ndim(leaf) - 2))
        found[OBSERVED + name] = (("replica", "time", *own), np.asarray(leaf))
    return found


def resumed(simulated: Callable[[Checkpoint | None], Samples], checkpoint: Checkpoint | None) -> Samples:
    """The samples from the state that was kept, or from the start where that is another run's.

    A revision that cuts runs differently finds states that it cannot go on from; with them in the way a block would
    fail for ever.
    """
    try:
        return simulated(checkpoint)
    except ValueError as error:
        if not (str(error).startswith("Argument `checkpoint`") and isinstance(checkpoint, BlockCheckpoint)):
            raise
        checkpoint.clear()
    return simulated(checkpoint)
