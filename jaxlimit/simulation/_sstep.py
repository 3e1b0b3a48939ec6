"""SStep: the same chain, many steps at a time, because within a block a wide network is its own linearisation."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from jaxlimit._arguments import positive_integer
from jaxlimit._typing import Host
from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Shallow
from jaxlimit.problem import Problem
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._draws import BLOCK, index_block
from jaxlimit.simulation._state import Chain, Constants, Fixed, Moving, Observe, product, recorded

FRACTION = 1 / 256
"""Of N^{2−γ}, the number of steps after which features have moved by O(1): the default block."""


class SStep(AbstractMethod):
    """s-step SGD: blocks of steps of the chain in the M outputs, then one move of the parameters.

    With H = σ(Xw) [M, N], D = c σ'(Xw), K = HHᵀ + DDᵀ ⊙ XXᵀ at the start of a block, step k of the block
    at data index i has the error

        e_k = −∂ℓ/∂g (g_i + d_i, y_i),      d ← d + κ K_{·i} e_k,      κ = α N^{−2},

    and with E_m = Σ_{k: i_k = m} e_k the block moves c by α N^{γ−2} HᵀE and w by α N^{γ−2} Xᵀ(E ⊙ D). The
    samples are those of `Stepwise`, so the two agree path by path, up to the motion of the features within a
    block. A block costs a few matrix products whatever its length: the cost per unit of limit time falls
    from N² towards N.

    `block` is the number of steps per block, None for min(N/4, N^{2−γ}/256); the error is of first order in
    it. Save times cut blocks exactly. `Samples.error` adds up, block by block, the largest difference between
    the outputs a block predicted and those it reached: an estimate, right within a small factor for smooth
    σ at γ = 1/2, low by two to three at γ = 1. In float32 it also holds the rounding of outputs, about
    10⁻⁷ a block. `lanes` as in `Stepwise`.

    Raises ``ValueError`` for a block or lanes < 1. Source: references `xavier`.

        >>> import jax, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> problem = jl.Problem(jl.data.sphere(points=4, inputs=3), network)
        >>> samples = jl.simulate(problem, 4096, [1.0], replicas=2, key=jax.random.key(0), method=jl.SStep(block=256))
        >>> samples.method, bool(samples.error.max() < 1e-4)
        ('SStep(block=256)', True)
    """

    block: int | None = eqx.field(static=True, default=None)
    lanes: int | None = eqx.field(static=True, default=None)

    def __check_init__(self) -> None:
        """Blocks and lanes are whole and positive."""
        for name, value in (("block", self.block), ("lanes", self.lanes)):
            if value is not None:
                positive_integer(name, value)

    def block_length(self, width: int, gamma: float) -> int:
        """Steps per block at this width and scaling N^{−γ}."""
        return max(1, min(width // 4, int(FRACTION * width ** (2 - gamma)))) if self.block is None else self.block

    def chain(self, problem: Problem, width: int, dtype: np.dtype, devices: Sequence[jax.Device]) -> Chain:
        """What advances a lane, and what `Samples.method` will say."""
        block = self.block_length(width, getattr(problem.scaling, "gamma", 1.0))
        points = problem.data.points
        products = 4 * points * width * (min(points, problem.data.inputs) + points) / 2e10
        return Chain(f"SStep(block={block})", partial(_advance, jnp.int32(block)), block, 4e-8 + products / block)


class Features(NamedTuple):
    """H = σ(Xw) and D = c σ'(Xw) on the data, both [points, neurons]."""

    h: Float[Array, "points neurons"]
    d: Float[Array, "points neurons"]


class Progress(NamedTuple):
    """Where a replica stands: the next step, its parameters, first non-finite step, error so far, outputs foretold."""

    step: Int[Array, ""]
    c: Float[Array, " neurons"]
    w: Float[Array, "rank neurons"]
    diverged: Int[Array, ""]
    error: Float[Array, ""]
    foretold: Float[Array, " points"]


@eqx.filter_jit
def _advance(
    block: Array,
    network: Shallow,
    loss: AbstractLoss,
    observe: Observe | None,
    constants: Constants,
    keys: Array,
    moving: Moving,
    fixed: Fixed,
    stops: Int[Host, " saves_plus_one"],
) -> tuple[Moving, Float[Array, "lanes saves points"], Float[Array, "lanes saves"], Any]:
    """The contract of `advance`; block lengths and steps are data, so one compilation serves them all."""
    gram = product(constants.x, constants.x.T)

    def save(carry: Moving, ends: tuple[Array, Array]) -> tuple[Moving, Any]:
        first, last = ends

        def one(replica: tuple[Array, Array, Array, Array, Array]) -> tuple[Array, Array, Array, Array, Array]:
            key, c, w, diverged, error = replica
            unknown = jnp.full(constants.y.shape, jnp.nan, c.dtype)
            start = Progress(first, c, w, diverged, error, unknown)
            step = partial(_block, network, loss, constants, gram, key, block, last)
            end = jax.lax.while_loop(lambda state: state.step < last, step, start)
            return end.c, end.w, end.diverged, end.error, end.foretold

        # One replica after the other: batches of small matrix products are several times slower on a CPU.
        c, w, diverged, error, foretold = jax.lax.map(one, (keys, *carry))
        now = Moving(c, w, diverged, error)
        values, seen = recorded(network, observe, constants, now, fixed)
        error = error + _surprise(values[:, : constants.y.size], foretold)
        return now._replace(error=error), (values, error, seen)

    moving, saved = jax.lax.scan(save, moving, (jnp.asarray(stops[:-1]), jnp.asarray(stops[1:])))
    values, error, seen = jax.tree.map(lambda a: jnp.moveaxis(a, 0, 1), saved)
    return moving, values, error, seen


def _block(
    network: Shallow,
    loss: AbstractLoss,
    constants: Constants,
    gram: Array,
    key: Array,
    block: Array,
    last: Array,
    now: Progress,
) -> Progress:
    """One block of one replica."""
    stop = jnp.minimum(last, now.step + block)
    features = _features(network, constants, now.c, now.w)
    outputs = constants.output * product(features.h, now.c)
    kernel = _kernel(network, features, gram)
    total, displacement, diverged = _recursion(loss, constants, key, now.step, stop, outputs, kernel, now.diverged)
    c, w = _moved(network, constants, features, total, now.c, now.w)
    error = now.error + _surprise(outputs, now.foretold)
    return Progress(stop, c, w, diverged, error, outputs + displacement)


def _features(network: Shallow, constants: Constants, c: Array, w: Array) -> Features:
    u = product(constants.x, w)
    # An activation may promote to float64 where x64 is on; the run keeps the precision it was asked for.
    return Features(network.activation(u).astype(u.dtype), c * network.activation.derivative(u).astype(u.dtype))


def _kernel(network: Shallow, features: Features, gram: Array) -> Float[Array, "points points"]:
    """K = HHᵀ + DDᵀ ⊙ XXᵀ; without HHᵀ where the output layer is frozen."""
    inner = product(features.d, features.d.T) * gram
    return inner + product(features.h, features.h.T) if network.train_output else inner


def _moved(
    network: Shallow, constants: Constants, features: Features, total: Array, c: Array, w: Array
) -> tuple[Array, Array]:
    """The parameters after errors that add up to `total` [points]."""
    w = w + constants.increment * product(constants.x.T, total[:, None] * features.d)
    return (c + constants.increment * product(total, features.h) if network.train_output else c), w


def _recursion(
    loss: AbstractLoss,
    constants: Constants,
    key: Array,
    first: Array,
    stop: Array,
    outputs: Array,
    kernel: Array,
    diverged: Array,
) -> tuple[Array, Array, Array]:
    """Steps first ≤ k < stop in the outputs alone: summed errors, displacement of the outputs, first non-finite step.

    The displacement is carried, not the outputs: small moves of large outputs would round away.
    """
    scaled = constants.increment * constants.output * kernel

    def part(b: Array, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        indices = index_block(key, b, constants.bounds)

        def body(k: Array, inner: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
            total, moved, lost = inner
            i = indices[k - b * BLOCK]
            residual = -loss.derivative(outputs[i] + moved[i], constants.y[i])
            lost = jnp.where((lost < 0) & ~jnp.isfinite(residual), k, lost)
            return total.at[i].add(residual), moved + scaled[i] * residual, lost

        return jax.lax.fori_loop(jnp.maximum(first, b * BLOCK), jnp.minimum(stop, (b + 1) * BLOCK), body, carry)

    zero = jnp.zeros_like(outputs)
    return jax.lax.fori_loop(first // BLOCK, (stop + BLOCK - 1) // BLOCK, part, (zero, zero, diverged))


def _surprise(outputs: Array, foretold: Array) -> Array:
    """max |actual − foretold|; nothing was foretold where it is NaN throughout, at the start."""
    gap = jnp.max(jnp.abs(outputs - foretold), axis=-1)
    return jnp.where(jnp.all(jnp.isnan(foretold), axis=-1), 0.0, gap).astype(outputs.dtype)
