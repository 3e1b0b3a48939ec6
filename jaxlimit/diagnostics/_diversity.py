"""Whether the neurons of a layer differ: what global convergence of multilayer networks rests on."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlimit._arguments import instance, positive_integer, positive_number, random_key, real_array, require
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.networks import Layers, Multilayer

MISSED = 0.05
"""Chance that more of the ball is farther away than `Covering` says."""
FAR = 1e30
"""Of a row in units of the ball: float32 holds it, and its square is infinite."""


class Spread(NamedTuple):
    """Standard deviation over the neurons of a layer of H_i(x) [points], and its standard error [points]."""

    value: Host
    standard_error: Host


class Covering(NamedTuple):
    """The largest distance from probes to their nearest neuron, and how much of the ball may lie farther away.

    The true covering radius is `radius` at least. With confidence 95% no more than the share `missed` of the ball's
    volume is farther than `radius` from every neuron.
    """

    radius: float
    missed: float


def neuron_spread(network: Multilayer, parameters: Layers, x: ArrayLike) -> tuple[Spread, ...]:
    """Standard deviation over the neurons of H_1(x), …, H_{L−1}(x), with averages 1/n: do neurons differ?

    With independent initial weights, and biases that are constant or none, it decays like n^{−1/2} at the start in
    every layer but the first: H_i stops depending on the neuron. Training makes neurons of layer L − 1 differ, by their
    w_L, and leaves those of layers 2, …, L − 2 alike. The standard error is that for independent neurons, given the
    layer below. Parameters of one network (`parameters.at` takes one of several); float64 on the host. Raises
    ``ValueError`` for layers of fewer than two neurons. Source: references `multilayer`.

        >>> import jax, numpy as np, jaxlimit as jl
        >>> normal, tanh = jl.initial.Normal, jl.activations.Tanh()
        >>> law = jl.initial.IndependentLayers((normal(0, 1), normal(1, 1), normal(1, 1)))
        >>> network = jl.networks.Multilayer((tanh, tanh), law)
        >>> parameters = network.init((256, 256), 3, jax.random.key(0))
        >>> first, second = jl.diagnostics.neuron_spread(network, parameters, np.eye(3)[:1])
        >>> bool(abs(first.value[0] - 1.0) < 4 * first.standard_error[0])
        True
    """
    found = []
    for values in _hidden(network, parameters, x):
        count = values.shape[1]
        require(count >= 2, "parameters", "have two neurons or more in each layer", f"one has {count}")
        centred = values - values.mean(axis=1, keepdims=True)
        variance = np.sum(centred**2, axis=1) / (count - 1)
        fourth = np.mean(centred**4, axis=1)
        deviation = np.sqrt(variance)
        error = np.sqrt(np.maximum(fourth - variance**2, 0.0) / count)
        found.append(Spread(deviation, error / (2.0 * np.where(deviation > 0, deviation, 1.0))))
    return tuple(found)


def feature_gram(network: Multilayer, parameters: Layers, x: ArrayLike, layer: int) -> Float[Host, "points points"]:
    """E_C[φ_i(H_i(x_a)) φ_i(H_i(x_b))] over the neurons C of hidden layer i = `layer`, 1 ≤ i ≤ L − 1.

    Its smallest eigenvalue stays positive at all finite times under the theorem's assumptions; `jaxlimit.certify`
    takes it. Averages over n neurons, exact for the network at hand. Raises ``ValueError`` for another layer.
    Source: references `multilayer`.

        >>> import jax, jaxlimit as jl
        >>> normal, tanh = jl.initial.Normal, jl.activations.Tanh()
        >>> law = jl.initial.IndependentLayers((normal(0, 1), normal(1, 1), normal(1, 1)))
        >>> network = jl.networks.Multilayer((tanh, tanh), law)
        >>> parameters = network.init((64, 64), 3, jax.random.key(0))
        >>> gram = jl.diagnostics.feature_gram(network, parameters, jl.data.sphere(4, 3).x, layer=2)
        >>> jl.certify(gram).status.name
        'PROVED_PD'
    """
    number = positive_integer("layer", layer)
    hidden = _hidden(network, parameters, x)
    require(number <= len(hidden), "layer", f"be at most {len(hidden)}", f"it is {number}")
    values = hidden[number - 1]
    features = np.asarray(network.activations[number - 1](values), np.float64)
    return features @ features.T / features.shape[1]


def covering_radius(w: ArrayLike, radius: float, *, key: RandomKey, probes: int = 4096) -> Covering:
    """How far a point of the ball |z| ≤ `radius` may be from the nearest row of w [neurons, inputs].

    Full support of w_1(C_1) at all finite times means that it falls to zero as the width grows, for every ball.
    Measured at `probes` uniform points of the ball, in units in which squares of float32 neither over- nor underflow:
    w and `radius` may have any size. Source: references `multilayer`.

        >>> import jax, jaxlimit as jl
        >>> w = jl.initial.Normal().sample(jax.random.key(0), (4096, 2))
        >>> found = jl.diagnostics.covering_radius(w, 1.0, key=jax.random.key(1))
        >>> found.radius < 0.25, found.missed < 1e-3
        (True, True)
    """
    rows, size = real_array("w", w, 2), positive_number("radius", radius)
    count = positive_integer("probes", probes)
    of_direction, of_length = jax.random.split(random_key(key))
    direction = np.asarray(jax.random.normal(of_direction, (count, rows.shape[1]), jnp.float32), np.float64)
    length = np.asarray(jax.random.uniform(of_length, (count, 1), jnp.float32), np.float64) ** (1 / rows.shape[1])
    # No probe is farther than this, up to √inputs, from its nearest row; rows that overflow are not the nearest.
    unit = max(size, float(np.min(np.max(np.abs(rows), axis=1))))
    points = (size / unit) * length * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    scaled = np.clip(rows / unit, -FAR, FAR)
    nearest = np.asarray(_nearest(jnp.asarray(points, jnp.float32), jnp.asarray(scaled, jnp.float32)), np.float64)
    return Covering(unit * float(np.max(nearest)), float(-np.expm1(np.log(MISSED) / count)))


@eqx.filter_jit
def _nearest(points: Float[Array, "probes inputs"], rows: Float[Array, "neurons inputs"]) -> Float[Array, " probes"]:
    """One probe at a time: differences do not cancel, and memory holds one row of them."""
    return jax.lax.map(lambda p: jnp.sqrt(jnp.min(jnp.sum((rows - p) ** 2, axis=1))), points, batch_size=64)


def _hidden(network: Multilayer, parameters: Layers, x: ArrayLike) -> list[Host]:
    """H_1, …, H_{L−1} on the host in float64."""
    instance("network", network, Multilayer)
    weights = [real_array("parameters", w, None) for w in instance("parameters", parameters, Layers).weights]
    biases = [real_array("parameters", b, None) for b in parameters.biases]
    one = "be of one network (choose one time and replica, as by `parameters.at(…)`)"
    require(weights[-1].ndim == 1, "parameters", one, f"w_{len(weights)} has shape {weights[-1].shape}")
    wanted = f"have {network.layers} layers, as the network has"
    require(len(weights) == network.layers, "parameters", wanted, f"it has {len(weights)}")
    points = real_array("x", x, 2)
    fits = weights[0].ndim == 2 and weights[0].shape[1] == points.shape[1]
    require(fits, "x", f"have the inputs of w_1, whose shape is {weights[0].shape}", f"it has {points.shape[1]}")
    found = [points @ weights[0].T + (biases[0] if biases else 0.0)]
    for i, w in enumerate(weights[1:-1]):
        above = np.asarray(network.activations[i](found[i]), np.float64) @ w / w.shape[0]
        found.append(above + (biases[i + 1] if biases else 0.0))
    return found
