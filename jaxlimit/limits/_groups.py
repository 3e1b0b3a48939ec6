"""Disjoint groups of particles: what they spread is the Monte Carlo error of an answer from all of them."""

import math
from collections.abc import Iterable

import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import require
from jaxlimit._typing import Host
from jaxlimit.paths import GaussianPath

GROUPS = 8
"""Of particles; below 2 particles in each there is no error."""


def group_size(name: str, particles: int) -> int:
    """Particles of one group; ``ValueError`` for fewer than 16 of them together."""
    wanted = f"be at least {2 * GROUPS} for a standard error"
    require(particles >= 2 * GROUPS, name, wanted, f"it is {particles}")
    return particles // GROUPS


def standard_error(groups: Float[Host, "groups times points"]) -> Float[Host, "times points"]:
    """Of the answer from all particles: groups of an eighth of them spread √8 times as far."""
    return groups.std(axis=0, ddof=1) / math.sqrt(len(groups))


def with_groups(law: GaussianPath, groups: Iterable[GaussianPath]) -> GaussianPath:
    """A law from all particles with those of their groups as repeats, each drawn towards it: law + (group − law)/√8.

    So the repeats' standard deviation is the standard error of the law, and their covariances stay positive
    semidefinite, as means of two that are. Their own mean differs from the law by what is of order 1/particles, more
    than the law does: `compare` counts it.
    """
    share = 1.0 / math.sqrt(GROUPS)
    repeats = tuple(
        GaussianPath(
            law.ts,
            law.mean + share * (group.mean - law.mean),
            law.covariance + share * (group.covariance - law.covariance),
        )
        for group in groups
    )
    return GaussianPath(law.ts, law.mean, law.covariance, repeats)


def deterministic(ts: Float[Host, " times"], path: Host) -> GaussianPath:
    """A law without variance from a path [times, points] of any dtype."""
    mean = np.asarray(path, np.float64)
    return GaussianPath(ts, mean, np.zeros((*mean.shape, mean.shape[1])))
