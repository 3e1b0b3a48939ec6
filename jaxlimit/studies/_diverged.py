"""What becomes of a claim on networks some of which diverged."""

import dataclasses
from collections.abc import Iterable

import jax
import numpy as np
from jaxtyping import Bool

from jaxlimit._typing import Host
from jaxlimit.claims import Claim, Verdict
from jaxlimit.paths import Samples


def finite(samples: Samples) -> Bool[Host, " replicas"]:
    """Which networks stayed finite, in their outputs and in what was observed of them."""
    kept = np.asarray(samples.diverged_at) < 0
    for leaf in jax.tree.leaves(samples.observed):
        array = np.asarray(leaf)
        kept = kept & np.all(np.isfinite(array.reshape(len(array), -1)), axis=1)
    return kept


def lost(runs: Iterable[tuple[str, Bool[Host, " replicas"]]]) -> str:
    """How many networks diverged and where, from a name and the networks that stayed finite; "" where all did."""
    found = [f"{np.sum(~kept)} of {kept.size} at {where}" for where, kept in runs if not np.all(kept)]
    return f"networks diverged: {', '.join(found)}" if found else ""


def lost_of(runs: Iterable[Samples]) -> str:
    """`lost`, of simulations of different widths."""
    return lost((f"N = {samples.width}", finite(samples)) for samples in runs)


def unless_lost(claim: Claim, said: str) -> Claim:
    """UNDECIDED where networks diverged: those that are left are the tame ones, not a sample of all."""
    if not said:
        return claim
    return dataclasses.replace(claim, verdict=Verdict.UNDECIDED, reason=f"{said}; the others alone say nothing")
