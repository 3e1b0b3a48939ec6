"""A lower confidence bound of λ_min of the limit's kernel from independent kernels of finite networks."""

import math

import equinox as eqx
import jax
import numpy as np
import scipy.stats

from jaxlimit._arguments import (
    finite_number,
    instance,
    positive_integer,
    positive_number,
    random_key,
    real_array,
    require,
)
from jaxlimit._devices import require_room_for_draws
from jaxlimit._numerics import UNIT
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.kernels._certify import outward
from jaxlimit.kernels._weights import roots
from jaxlimit.networks import AbstractNetwork, Shallow

CHUNK = 2048
"""Neurons at a time: features of a chunk stay in the caches for a few hundred points."""

LEAST_LEVEL = 1e-100
"""Quantiles of Student's law are right down to it, with few degrees of freedom not much farther."""

MOST = 0.95
"""Fraction of its capital that a bet may risk: one value near 0 does not ruin the gambler."""


class LambdaMinReplicates(eqx.Module):
    """Smallest eigenvalues of independent kernels of finite networks.

    `values` [replicas] are ≥ 0; each is within `rounding` of the exact smallest eigenvalue of its kernel.
    """

    values: Host
    rounding: float = eqx.field(static=True)


class LambdaMinConfidence(eqx.Module):
    """Lower confidence bounds of λ_min(K) at one level; K is the kernel of the limit, E K_m = K.

    `finite_sample` exceeds λ_min(K) with probability at most `level` at any number of replicas;
    `asymptotic` does so only in the limit of many. `mean` ± `standard_error` is that of λ_min(K_m), which
    lies below λ_min(K) on average; both bounds have had `rounding` subtracted.
    """

    finite_sample: float = eqx.field(static=True)
    asymptotic: float = eqx.field(static=True)
    mean: float = eqx.field(static=True)
    standard_error: float = eqx.field(static=True)
    replicas: int = eqx.field(static=True)
    level: float = eqx.field(static=True)
    rounding: float = eqx.field(static=True)


def lambda_min_confidence(
    replicates: LambdaMinReplicates | ArrayLike, level: float = 0.05, rounding: float = 0.0
) -> LambdaMinConfidence:
    """Lower confidence bounds of λ_min(K) from R independent positive semidefinite matrices with mean K.

    λ_min is concave, so E λ_min(K_m) ≤ λ_min(K) (Jensen) and a lower bound of that mean is one of λ_min(K).
    One λ_min(K_m) alone is no bound: it lies above λ_min(K) about as often as not where K_m scatters little.
    Finite-sample: for a true mean m and X_t ≥ 0 the capital ∏(1 + λ_t (X_t − m)), with bets λ_t in
    [0, 1/m] chosen before X_t, is a non-negative martingale and reaches 1/level with probability at most
    `level`; the bound is the smallest m against which it does not. The bets are
    min(√(2 log(1/level)/(R s²_{t−1})), 0.95/m), with the sample variance s² so far. Asymptotic: mean −
    t_{R−1} s/√R. Source: references `betting`.

    `replicates` is what `lambda_min_replicates` returns, an array of smallest eigenvalues [replicas], or
    the matrices themselves [replicas, points, points]. Values below 0, which can only be rounding, are
    taken as 0 and must not lie below −`rounding`. Raises ``ValueError`` otherwise, for fewer than two
    replicas, and for a level outside [1e-100, 1).

        >>> from jaxlimit.kernels import lambda_min_confidence
        >>> found = lambda_min_confidence([0.11, 0.09, 0.10, 0.12, 0.08, 0.10, 0.09, 0.11] * 8)
        >>> found.finite_sample < found.asymptotic < found.mean
        True
    """
    if isinstance(replicates, LambdaMinReplicates):
        values, name = real_array("replicates", replicates.values, 1), "replicates.rounding"
        rounding = positive_number(name, replicates.rounding, zero=True)
    else:
        values = real_array("replicates", replicates, None)
        rounding = positive_number("rounding", rounding, zero=True)
    fits = values.ndim == 1 or (values.ndim == 3 and values.shape[1] == values.shape[2] > 0)
    require(fits, "replicates", "have shape [replicas] or [replicas, points, points]", f"it is {values.shape}")
    level, count = finite_number("level", level), len(values)
    require(0.0 < level < 1.0, "level", "lie between 0 and 1", f"it is {level:g}")
    require(level >= LEAST_LEVEL, "level", f"be at least {LEAST_LEVEL:g}, for quantiles", f"it is {level:g}")
    require(count >= 2, "replicates", "be at least 2 (for a standard error)", f"there are {count}")
    # Everything scales, and a power of two does so exactly: near 1 no square under- or overflows.
    exponent = math.frexp(max(float(np.max(np.abs(values))), rounding))[1]
    values, rounding = np.ldexp(values, -exponent), math.ldexp(rounding, -exponent)
    if values.ndim == 3:
        symmetric = np.array_equal(values, values.swapaxes(1, 2))
        require(symmetric, "replicates", "hold symmetric matrices", "some entry differs from its mirror image")
        rounding += values.shape[1] * 2 * UNIT * float(np.max(np.abs(values).sum(axis=2)))
        values = np.linalg.eigvalsh(values)[:, 0]

    def scaled(number: float, towards: float = -math.inf) -> float:
        return outward(number, exponent, towards)

    lowest, owed = float(values.min()), scaled(rounding, math.inf)
    must = f"be ≥ 0 up to the rounding {owed:g}"
    require(lowest >= -rounding, "replicates", must, f"one is {scaled(lowest):g}")
    values = np.maximum(values, 0.0)
    mean, error = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(count)
    asymptotic = mean - float(scipy.stats.t.isf(level, count - 1)) * error
    bounds = scaled(_by_betting(values, level) - rounding), scaled(asymptotic - rounding)
    return LambdaMinConfidence(*bounds, scaled(mean), scaled(error, math.inf), count, level, owed)


def _by_betting(values: Host, level: float) -> float:
    """The smallest m against which the capital never reaches 1/level; it falls with m, so by bisection."""
    count, target = values.size, -math.log(level)
    before = np.arange(count)
    # s² of what came before each value; no bet on the first two, of which nothing is known.
    square = np.concatenate([[0.0], np.cumsum(values**2)[:-1]])
    total = np.concatenate([[0.0], np.cumsum(values)[:-1]])
    variance = (square - total**2 / np.maximum(before, 1)) / np.maximum(before - 1, 1)
    # Cancellation leaves a little: any number that depends on earlier values alone is a fair bet.
    variance = np.maximum(variance, 1e-12 * square / np.maximum(before, 1))
    bets = np.zeros(count)
    np.divide(2.0 * target, count * variance, out=bets, where=(before >= 2) & (variance > 0))
    bets = np.sqrt(bets)

    def rejected(m: float) -> bool:
        steps = np.log1p(np.minimum(bets, MOST / m) * (values - m))
        return bool(np.max(np.cumsum(steps)) >= target)

    low, high = 0.0, float(values.max())
    if high == 0.0:
        return 0.0
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if rejected(middle) else (low, middle)
    return low


def lambda_min_replicates(
    network: AbstractNetwork,
    x: ArrayLike,
    neurons: int,
    replicas: int,
    key: RandomKey,
    weights: ArrayLike | None = None,
) -> LambdaMinReplicates:
    """Smallest eigenvalues of the kernels K_m of independent initial networks with this many neurons.

    K_m = Π^{1/2} B_N Π^{1/2} with B_N as in `empirical_gram`, so that E K_m is the kernel of the limit;
    without weights Π is the identity. On the host in float64, whatever JAX runs in; replica r draws with
    fold_in(key, r), in float32, cast exactly. `rounding` = (N + 8M + 16)·2^−53·max trace K_m covers the
    sums over neurons and the eigenvalue's own error for M points. Any law of w with finite moments will
    do: no closed form and no quadrature is involved. Raises ``ValueError`` where the weights of one network do
    not fit into the memory, or the activation does not compute in float64.

        >>> import jax, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
        >>> data = jl.data.sphere(points=3, inputs=4)
        >>> found = jl.kernels.lambda_min_replicates(network, data.x, neurons=256, replicas=32, key=jax.random.key(0))
        >>> bound = jl.kernels.lambda_min_confidence(found)
        >>> 0 < bound.finite_sample < bound.mean
        True
    """
    shallow, points = instance("network", network, Shallow), real_array("x", x, 2)
    shallow.initial.require_same_at_every_width()
    neurons, replicas = positive_integer("neurons", neurons), positive_integer("replicas", replicas)
    key, root = random_key(key), roots(weights, len(points))
    require_room_for_draws(neurons, points.shape[1])
    draw = jax.jit(lambda r: shallow.init(neurons, points.shape[1], jax.random.fold_in(key, r)))
    inner = points @ points.T
    values, largest = np.empty(replicas), 0.0
    for replica in range(replicas):
        c, w = (np.asarray(drawn) for drawn in draw(replica))
        kernel = np.zeros(inner.shape)
        for first in range(0, neurons, CHUNK):
            part = slice(first, first + CHUNK)
            u = points @ w[part].T.astype(np.float64)
            slopes = shallow.activation.derivative_on_host(u) * c[part]
            kernel += slopes @ slopes.T * inner
            if shallow.train_output:
                features = shallow.activation.on_host(u)
                kernel += features @ features.T
        kernel *= np.outer(root, root) / neurons
        values[replica], largest = np.linalg.eigvalsh(kernel)[0], max(largest, float(np.trace(kernel)))
    rounding = (neurons + 8 * len(points) + 16) * UNIT * largest
    return LambdaMinReplicates(np.maximum(values, 0.0), rounding)
