"""A network and the two of half its width that it contains: what a multilevel estimator over widths is made of."""

from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from jaxlimit._arguments import instance, positive_integer, require
from jaxlimit._lanes import Progress
from jaxlimit._typing import ArrayLike, RandomKey
from jaxlimit.networks import Shallow
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._prepared import prepared
from jaxlimit.simulation._simulate import train


class Antithetic(eqx.Module):
    """Networks of width N, and replica by replica the two of width N/2 made of their neurons and their samples.

    `cost` is the number of neuron-steps of one replica, all three networks counted.
    """

    fine: Samples
    first: Samples
    second: Samples

    @property
    def cost(self) -> int:
        """Σ width × steps: 3/2 of what the wide network alone costs step by step."""
        return sum(samples.cost for samples in (self.fine, self.first, self.second))


def antithetic(
    problem: Problem,
    width: int,
    ts: ArrayLike,
    *,
    replicas: int,
    key: RandomKey,
    method: AbstractMethod | None = None,
    at: ArrayLike | None = None,
    batch: int | None = 1,
    dtype: Any = jnp.float32,
    devices: Sequence[jax.Device] | None = None,
    first: int = 0,
    progress: Progress | None = None,
) -> Antithetic:
    """`simulate` at an even width N, with the networks of width N/2 of each replica's two halves.

    The first half trains neurons 0 … N/2 − 1 on samples 0, 2, 4, …, the second the other neurons on samples
    1, 3, 5, …: each is by itself a network of width N/2 as `simulate` would train it, and the two share nothing.
    To first order in the fluctuations of neurons and samples the wide network is their average, so

        f(h^N_t) − ½ (f(h'_t) + f(h''_t))

    is an order smaller than f(h^N_t) − E f(h^N_t): `statistics.multilevel` makes an estimator of it, worth
    its while at γ = 1, where outputs themselves average over neurons. Arguments are those of `simulate`; `fine`
    is what it returns. Raises ``ValueError`` as it does, and for an odd width. Source: references `antithetic`.

        >>> import jax, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
        >>> problem = jl.Problem(jl.data.sphere(4, 3), network, scaling=jl.MeanField())
        >>> pair = jl.simulation.antithetic(problem, 64, [1.0], replicas=50, key=jax.random.key(0))
        >>> mean = 0.5 * (pair.first.values + pair.second.values)
        >>> bool((pair.fine.values - mean).std() < 0.2 * pair.fine.values.std())
        True
    """
    network = instance("problem", instance("problem", problem, Problem).network, Shallow, "have a Shallow network")
    width = positive_integer("width", width)
    require(width % 2 == 0, "width", "be even", f"it is {width}")
    # Halves of a wide network are networks of half the width only where neurons do not know the width.
    network.initial.require_same_at_every_width()

    def networks(width: int, half: int | None, part: Progress | None) -> Samples:
        given = prepared(problem, width, ts, replicas, key, method, at, None, batch, None, dtype, devices, first)
        return train(given, part, None, half)

    def third(number: int) -> Progress | None:
        # The wide network is half of the work, each of the narrow ones a quarter at most.
        before, share = ((0.0, 0.5), (0.5, 0.25), (0.75, 0.25))[number]
        return None if progress is None else lambda done, total: progress(before + share * done / total, 1.0)

    runs = ((width, None), (width // 2, 0), (width // 2, 1))
    return Antithetic(*(networks(n, half, third(number)) for number, (n, half) in enumerate(runs)))
