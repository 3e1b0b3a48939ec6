"""The state of a lane: what replicas share, what steps change, how it starts and what is read off it."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, UInt
from optax import GradientTransformation

from jaxlimit._typing import RandomKey
from jaxlimit.networks import Neurons, Shallow
from jaxlimit.problem import Problem
from jaxlimit.simulation._draws import block_steps, index_block, parameters_key
from jaxlimit.simulation._product import AbstractProduct, FullProduct, full

SEEN = 16
"""Replicas that an accelerator observes at a time."""

Observe = Callable[[Any, Any], Any]
"""The user's observable: (parameters, start) → a pytree of arrays, both in original coordinates."""

Advance = Callable[..., tuple[Any, Float[Array, "lanes saves points"], Float[Array, "lanes saves"] | None, Any]]
"""(network, loss, observe, constants, keys, moving, fixed, stops, ends) → (moving, outputs, error, observed) of a lane.

From step stops[0] on; results are read off at each of stops[1:]. A call may stop before the save that it is on the way
to: ends[j] ≥ stops[j + 1] is that save. `moving` begins as `Moving`; what a method returns in its place, with the
fields `diverged` and `forced`, it gets back in the next call, or after a checkpoint the same numbers in a copy of it.
Its leaves are arrays; a call of no steps makes it from the start as any other call does.
"""


class Run(NamedTuple):
    """What a method has to know of a run: the problem at one width, with all but the number of replicas.

    `rank` is that of the data, `extra` the number of other points at which outputs are recorded, `steps` how many
    there are in all, and `saves` at how many different steps something is recorded. A step takes `batch` samples, or
    all points with their weights where it is None; `optimiser` makes of their gradient what moves the parameters,
    None for the step of SGD; `product` is another way to multiply than the usual one.
    """

    problem: Problem
    network: Any
    width: Any
    rank: int
    extra: int
    steps: int
    batch: int | None
    dtype: np.dtype
    devices: tuple[jax.Device, ...]
    saves: int = 1
    optimiser: GradientTransformation | None = None
    product: AbstractProduct | None = None

    @property
    def points(self) -> int:
        """Number of data points."""
        return self.problem.data.points

    @property
    def samples(self) -> int:
        """Points whose gradients a step takes."""
        return self.points if self.batch is None else self.batch

    @property
    def neurons(self) -> int:
        """Neurons of all hidden layers."""
        return int(np.sum(self.width))

    def numbers(self, inputs: int) -> int:
        """How many weights a replica has where inputs have so many coordinates."""
        layers = (inputs, *np.atleast_1d(self.width).tolist(), 1)
        return sum(below * own for below, own in pairwise(layers))

    @property
    def gamma(self) -> float:
        """γ of the scaling N^{−γ}; 1, where features move fastest, of a scaling that has none."""
        return float(getattr(self.problem.scaling, "gamma", 1.0))

    @property
    def on_cpus(self) -> bool:
        """Whether every device is a CPU."""
        return all(device.platform == "cpu" for device in self.devices)


class Chain(NamedTuple):
    """A method made ready for one problem, width, precision and set of devices.

    `name` is what `Samples.method` will say, `lanes` the number of replicas that advance in one call. Calls may be
    cut after any multiple of `unit` steps without changing a bit of the outputs. `seconds` is the cost per step and
    replica as the cost model has it, on one core or as a share of an accelerator; `state` the bytes a replica of a
    lane takes while it advances, `scratch` those a worker needs besides. `native` says whether numba compiles the loop,
    and not XLA; `product` is how XLA multiplies.
    """

    name: str
    advance: Advance
    lanes: int
    unit: int
    seconds: float
    state: int
    scratch: int
    native: bool = False
    product: AbstractProduct = FullProduct()


class Constants(NamedTuple):
    """What every replica shares, on one device: the data in their span, factors, how indices are drawn.

    `half` is 0 or 1 where the networks are one half of networks twice as wide, None where they are whole. Where
    `batch` is None a step takes all points, with these `weights`; else there are none. `output` and `increment`
    are what the family of the networks makes of the width: one number each, or one per layer. `product` is how steps
    and outputs multiply matrices; starts and observables are computed at full precision. `together` says that replicas
    of a lane advance together, as on accelerators.
    """

    x: Float[Array, "points rank"]
    y: Float[Array, " points"]
    at: Float[Array, "extra rank"]
    basis: Float[Array, "inputs rank"] | None
    remainder: Float[Array, "extra inputs"] | None
    bounds: UInt[Array, " m"]
    weights: Float[Array, " points"] | None
    output: Any
    increment: Any
    half: Int[Array, ""] | None
    batch: int | None
    inputs: int
    product: AbstractProduct = FullProduct()
    together: bool = False


class Moving(NamedTuple):
    """What steps change in a lane.

    The weights, and for each replica the first non-finite step (−1: none), the method's estimate of its error so
    far (0 for the exact chain), and how many blocks a tolerance would have wanted shorter than the shortest.
    """

    c: Float[Array, "lanes neurons"]
    w: Float[Array, "lanes rank neurons"]
    diverged: Int[Array, " lanes"]
    error: Float[Array, " lanes"]
    forced: Int[Array, " lanes"]


class Fixed(NamedTuple):
    """What a lane keeps from its start: w_0 along the extra points' remainders; if observed, the start and its w_0
    in the span of the data.

    Kept out of the loop over steps: carried along, it costs a copy of w at every step. `real` counts the
    replicas that are wanted; the others pad the lane, and a method may leave them where they are.
    """

    frozen: Float[Array, "lanes extra neurons"] | None
    start: Neurons | None
    projected: Float[Array, "lanes rank neurons"] | None
    real: Int[Array, ""]


@eqx.filter_jit
def begin(
    network: Shallow, constants: Constants, keys: RandomKey, real: Array, width: int, keep_start: bool, together: bool
) -> tuple[Moving, Fixed]:
    """Draw the initial neurons in original coordinates, then project: extra points never change the draws.

    w is kept as [rank, neurons]: a step then streams along the neurons. Replicas that only pad the lane stay zero,
    unless all are drawn `together`.
    """
    dtype, inputs = constants.x.dtype, constants.inputs

    def one(key: RandomKey) -> tuple[Array, Array, Array | None, Neurons | None]:
        if constants.half is None:
            c, w = network.init(width, inputs, parameters_key(key))
        else:
            pair = network.init(2 * width, inputs, parameters_key(key))
            c, w = (jax.lax.dynamic_slice_in_dim(a, constants.half * width, width) for a in pair)
        c, w = c.astype(dtype), w.astype(dtype)
        reduced = w.T if constants.basis is None else full(constants.basis.T, w.T)
        frozen = None if constants.remainder is None else full(constants.remainder, w.T)
        return c, reduced, frozen, Neurons(c, w) if keep_start else None

    if together:
        c, w, frozen, start = jax.vmap(one)(keys)
    else:
        # One after the other: a batched draw of normals is several times slower on a CPU.
        empty = jax.tree.map(lambda a: jnp.zeros(keys.shape + a.shape, a.dtype), jax.eval_shape(one, keys[0]))
        place = lambda r, lane: jax.tree.map(lambda all_, new: all_.at[r].set(new), lane, one(keys[r]))  # noqa: E731
        c, w, frozen, start = jax.lax.fori_loop(0, real, place, empty)
    none = jnp.zeros(keys.shape, jnp.int32)
    projected = None if start is None or constants.basis is None else w
    return Moving(c, w, none - 1, jnp.zeros(keys.shape, dtype), none), Fixed(frozen, start, projected, real)


def recorded(
    network: Shallow, observe: Observe | None, constants: Constants, moving: Moving, fixed: Fixed
) -> tuple[Float[Array, "lanes points"], Any]:
    """What a save time records: outputs on the data and on the extra points, and the observable."""
    seen = None if observe is None else _observed(observe, constants, moving, fixed)
    return _outputs(network, constants, moving, fixed), seen


def _outputs(network: Shallow, constants: Constants, moving: Moving, fixed: Fixed) -> Float[Array, "lanes points"]:
    """N^{−γ} Σ_i c_i σ(w_i·x) on the data, then on the extra points, whose part outside the span is frozen."""
    u = constants.product(constants.x, moving.w)
    if constants.at.shape[0]:
        extra = constants.product(constants.at, moving.w)
        u = jnp.concatenate([u, extra if fixed.frozen is None else extra + fixed.frozen], axis=1)
    # An activation may promote to float64 where x64 is on; the run keeps the precision it was asked for.
    features = network.activation(u).astype(u.dtype)
    return constants.output * jax.vmap(constants.product)(features, moving.c)


def _observed(observe: Observe, constants: Constants, moving: Moving, fixed: Fixed) -> Any:
    """The observable of every replica, in original coordinates: w_0 plus the move within the span."""

    def one(replica: tuple[Array, Array, Neurons, Array | None]) -> Any:
        c, w, start, projected = replica
        if projected is None or constants.basis is None:
            return observe(Neurons(c, w.T), start)
        return observe(Neurons(c, start.w + full(constants.basis, w - projected).T), start)

    # One replica after the other: batches of small matrix products are several times slower on a CPU. An accelerator
    # sees some at a time, as an observable may take as many features of each as it has memory for.
    some = SEEN if constants.together else None
    return jax.lax.map(one, (moving.c, moving.w, fixed.start, fixed.projected), batch_size=some)


def indices_of(constants: Constants, key: RandomKey, block: Array) -> Int[Array, "steps batch"]:
    """One block of a replica's data indices; one half of a network takes every other step of the whole one's."""
    batch = constants.batch or 0  # a step on all points draws nothing, and comes nowhere near here
    if constants.half is None:
        return index_block(key, block, constants.bounds, batch)
    both = jnp.stack([index_block(key, 2 * block + part, constants.bounds, batch) for part in (0, 1)])
    return both.reshape(block_steps(batch), 2, batch)[:, constants.half]


@eqx.filter_jit
def lane_indices(constants: Constants, keys: RandomKey, block: Array) -> Int[Array, "lanes steps batch"]:
    """One block of data indices for every replica of a lane."""
    return jax.vmap(lambda key: indices_of(constants, key, block))(keys)
