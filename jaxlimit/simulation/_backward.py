"""Forward and backward through the layers of one replica, written out: no differentiation, and the old weights only."""

from typing import Any, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from jaxlimit.losses import AbstractLoss
from jaxlimit.networks import Multilayer
from jaxlimit.simulation._product import AbstractProduct
from jaxlimit.simulation._state import Constants

Weights = tuple[Float[Array, "..."], ...]


class Pass(NamedTuple):
    """What layer i received and made of it: φ_{i−1}(H_{i−1}) [points, n_{i−1}] and H_i [points, n_i]."""

    below: Any
    above: Any


def forward(
    network: Multilayer, product: AbstractProduct, x: Array, weights: Weights, biases: Weights, factors: Any
) -> list[Pass]:
    """All layers on each row of x; w_1 is [inputs, n_1]."""
    found = passes(network, product, product(x, weights[0]), weights, biases, factors)
    return [Pass(x, found[0].above), *found[1:]]


def passes(
    network: Multilayer, product: AbstractProduct, first: Array, weights: Weights, biases: Weights, factors: Any
) -> list[Pass]:
    """The same from w_1 x on: H_i = f_{i−1} φ_{i−1}(H_{i−1}) w_i + b_i."""
    found = [Pass(None, first + biases[0] if biases else first)]
    for i, w in enumerate(weights[1:]):
        u = found[i].above
        # An activation may promote to float64 where x64 is on; the run keeps the precision it was asked for.
        features = jnp.asarray(network.activations[i](u)).astype(u.dtype)
        above = factors[i] * product(features, w)
        found.append(Pass(features, above + biases[i + 1] if biases else above))
    return found


def slope(network: Multilayer, last: Array) -> Array:
    """φ_L'(H_L)."""
    return jnp.asarray(network.output.derivative(last)).astype(last.dtype)


def deltas(
    network: Multilayer, product: AbstractProduct, last: Array, weights: Weights, passed: list[Pass], factors: Any
) -> list[Array]:
    """Δ_1, …, Δ_L from Δ_L [points]: Δ_{i−1} = f_{i−1} Δ_i w_iᵀ ∘ φ'_{i−1}(H_{i−1}), [points, n_{i−1}]."""
    found = [last]
    for i in range(len(weights) - 1, 0, -1):
        u, above = passed[i - 1].above, found[0]
        back = above[:, None] * weights[i] if above.ndim == 1 else product(above, weights[i].T)
        found.insert(0, factors[i - 1] * back * jnp.asarray(network.activations[i - 1].derivative(u)).astype(u.dtype))
    return found


def moved(
    network: Multilayer,
    loss: AbstractLoss,
    constants: Constants,
    rates: Any,
    weights: Weights,
    biases: Weights,
    indices: Array | None,
) -> tuple[Weights, Weights, Bool[Array, ""]]:
    """Weights and biases after a step on these points, and whether every ∂ℓ/∂g is finite."""
    x, y = (constants.x, constants.y) if indices is None else (constants.x[indices], constants.y[indices])
    product = constants.product
    passed = forward(network, product, x, weights, biases, constants.output)
    last = passed[-1].above
    residual = -loss.derivative(jnp.asarray(network.output(last)).astype(last.dtype), y)
    shares = 1.0 / float(y.shape[0]) if constants.weights is None else constants.weights
    down = deltas(network, product, shares * residual * slope(network, last), weights, passed, constants.output)
    new, after = list(weights), list(biases)
    for i, delta in enumerate(down):
        if network.trained[i]:
            new[i] = weights[i] + rates.weights[i] * product(passed[i].below.T, delta)
            if biases:
                after[i] = biases[i] + rates.biases[i] * jnp.sum(delta, axis=0)
    return tuple(new), tuple(after), jnp.all(jnp.isfinite(residual))


def timed(rates: Any, schedules: tuple[Any, ...], k: Array, dtype: Any) -> Any:
    """The rates of step k, at limit time k · time: those of layers whose ξ is a function of time."""
    t = k.astype(dtype) * rates.time
    now = [None if xi is None else jnp.asarray(xi(t)).astype(dtype) for xi in schedules]
    scaled = lambda all_: tuple(r if xi is None else r * xi for r, xi in zip(all_, now, strict=True))  # noqa: E731
    return rates._replace(weights=scaled(rates.weights), biases=scaled(rates.biases))
