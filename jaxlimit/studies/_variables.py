"""Samples as the variables of a block."""

from collections.abc import Sequence

import jax
import numpy as np

from jaxlimit.paths import Samples

Variables = dict[str, tuple[tuple[str, ...], np.ndarray]]
"""Name → (names of dimensions, array)."""

OBSERVED = "observed."
"""What names of variables that are leaves of observables begin with."""


def variables(samples: Samples, names: Sequence[str] | None = None) -> Variables:
    """What the samples are made of; leaves of observables go by `names`, None by their numbers."""
    found: Variables = {
        "values": (("replica", "time", "point"), samples.values),
        "diverged_at": (("replica",), samples.diverged_at),
        "ts": (("time",), samples.ts),
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
