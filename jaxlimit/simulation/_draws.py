"""What chance gives a replica: its initial neurons and its sequence of data indices.

Replica r uses fold_in(fold_in(key, DOMAIN), r), so chunking, sharding and resuming change nothing. The
domain tag keeps its streams apart from whatever else the user draws from the same key.
"""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt

from jaxlimit._arguments import natural_number, optional_positive_integer, positive_integer, random_key, require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.networks import AbstractNetwork, Linearised
from jaxlimit.problem import Problem

DOMAIN = 0x6A61786C  # "jaxl"
PARAMETERS, INDICES = 0, 1
REPLICA_LIMIT = 2**32
"""Replica numbers are folded into the key as 32-bit integers."""
FEW = 128
"""With fewer data points than this, comparing with every threshold is faster than a search."""
BLOCK = 1024
"""Sample indices are drawn about this many at a time: never all ⌊Nt⌋ of them."""


def block_steps(batch: int) -> int:
    """Steps whose indices are drawn together: whole steps, BLOCK indices where a batch is not larger than that."""
    return max(1, BLOCK // batch)


def replica_key(key: RandomKey, replica: int | Int[Array, ""]) -> RandomKey:
    """The key of replica number `replica`."""
    return jax.random.fold_in(jax.random.fold_in(key, DOMAIN), replica)


def parameters_key(replica: RandomKey) -> RandomKey:
    """The stream of a replica's initial parameters."""
    return jax.random.fold_in(replica, PARAMETERS)


def _own_key(key: RandomKey, replica: int) -> RandomKey:
    """`replica_key` of checked arguments."""
    number = natural_number("replica", replica)
    require(number < REPLICA_LIMIT, "replica", "be below 2³²", f"it is {number}")
    return replica_key(random_key(key), number)


def start_key(key: RandomKey, replica: int) -> RandomKey:
    """The key from which replica number `replica` of `simulate` draws its start: `network.init(width, inputs, it)`.

    It depends on no width, and a wider network begins with a narrower one's neurons: particles drawn from it contain
    the replica's own.

        >>> import jax, numpy as np, jaxlimit as jl
        >>> problem = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> c, _, _ = jl.simulation.draws(problem, 8, jax.random.key(0), replica=5, steps=0)
        >>> wide = problem.network.init(64, 3, jl.simulation.start_key(jax.random.key(0), 5))
        >>> bool(np.allclose(wide.c[:8], c, rtol=1e-6))
        True
    """
    return parameters_key(_own_key(key, replica))


def thresholds(weights: Float[Host, " points"]) -> UInt[Host, " points_less_one"]:
    """Where 32 random bits pass from one data point to the next: ⌊2³² (π_1 + … + π_m)⌋, m < M.

    Integers, so that indices do not depend on the precision of the run; a weight is off by less than
    2⁻³¹.
    """
    cumulative = np.cumsum(weights)[:-1] / np.sum(weights)
    return np.minimum(np.floor(cumulative * 2.0**32), 2.0**32 - 1).astype(np.uint32)


def index_block(
    replica: RandomKey, block: int | Int[Array, ""], bounds: UInt[Array, " m"], batch: int = 1
) -> Int[Array, "steps batch"]:
    """Data indices of the steps of one block, `block_steps(batch)` from block·block_steps(batch) on: draws from π."""
    stream = jax.random.fold_in(jax.random.fold_in(replica, INDICES), block)
    # Drawn flat: the same bits, in half the time of a shape with a short last axis.
    bits = jax.random.bits(stream, (block_steps(batch) * batch,), jnp.uint32)
    method = "compare_all" if bounds.shape[0] < FEW else "scan"
    indices = jnp.searchsorted(bounds, bits, side="right", method=method).astype(jnp.int32)
    return indices.reshape(-1, batch)


def draws(
    problem: Problem, width: Any, key: RandomKey, replica: int, steps: int, batch: int | None = 1
) -> tuple[Any, Any, Int[Host, "..."]]:
    """What replica number `replica` of `simulate` uses: c [neurons], w [neurons, inputs], indices [steps].

    For replaying one path elsewhere, in original coordinates. Parameters are float32 (a float64 run
    casts them exactly); indices do not depend on the precision. With `batch` > 1 they are [steps, batch]; with
    `batch=None` nothing is drawn for a step on all points, and they are [steps, 0]. For a `Multilayer` network, whose
    width is a tuple, the first two are the tuples of weights and of biases; a `Linearised` one has the draws of its
    network.

        >>> import jax, jaxlimit as jl
        >>> problem = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> c, w, indices = jl.simulation.draws(problem, width=8, key=jax.random.key(0), replica=5, steps=20)
        >>> c.shape, w.shape, indices.shape
        ((8,), (8, 3), (20,))
    """
    width = tuple(positive_integer("width", n) for n in width) if np.ndim(width) else positive_integer("width", width)
    count = natural_number("steps", steps)
    own = _own_key(key, replica)
    batch = optional_positive_integer("batch", batch)
    parameters = _start(drawn(problem.network), width, problem.data.inputs, parameters_key(own))
    first, second = jax.tree.map(np.asarray, tuple(parameters))
    if batch is None:
        return first, second, np.zeros((count, 0), np.int32)
    bounds = jnp.asarray(thresholds(problem.data.weights))
    blocks = [np.asarray(index_block(own, b, bounds, batch)) for b in range(-(-count // block_steps(batch)))]
    indices = np.concatenate([np.zeros((0, batch), np.int32), *blocks])[:count]
    return first, second, indices[:, 0] if batch == 1 else indices


def drawn(network: AbstractNetwork) -> AbstractNetwork:
    """The network whose parameters are drawn, and seen by observables: itself, or that of which it is the tangent."""
    return network.network if isinstance(network, Linearised) else network


@eqx.filter_jit
def _start(network: AbstractNetwork, width: Any, inputs: int, key: RandomKey) -> Any:
    """Compiled like the simulation: in one program XLA rounds mean + std·z once, in two programs twice."""
    return network.init(width, inputs, key)
