"""An independent simulation of networks with several hidden layers: float64 NumPy, sums over neurons written out.

Nothing of the package but the draws. The formulae are data, so that a planted bug is one replaced formula.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

TANH = np.tanh, lambda u: 1 / np.cosh(u) ** 2
SIN = np.sin, np.cos
IDENTITY = lambda u: u, lambda u: np.ones_like(u)


def mean_field_rates(widths, epsilon):
    """ε n_{i−1} n_i with n_0 = n_L = 1."""
    n = (1, *widths, 1)
    return [epsilon * n[i] * n[i + 1] for i in range(len(n) - 1)]


def power_rates(gammas):
    """The multipliers of MATHS 2b, as printed there."""

    def rates(n, _):
        g = gammas
        if len(n) == 1:
            return [n[0] ** -(2 - 2 * g[0])] * 2
        if len(n) == 2:
            return [
                n[0] ** -(1 - 2 * g[0]) * n[1] ** -(3 - 2 * g[1]),
                n[0] ** -(1 - 2 * g[0]) * n[1] ** -(2 - 2 * g[1]),
                n[1] ** -(2 - 2 * g[1]),
            ]
        return [
            n[0] ** -(1 - 2 * g[0]) * n[1] ** -(2 - 2 * g[1]) * n[2] ** -(3 - 2 * g[2]),
            n[0] ** -(1 - 2 * g[0]) * n[1] ** -(1 - 2 * g[1]) * n[2] ** -(3 - 2 * g[2]),
            n[1] ** -(1 - 2 * g[1]) * n[2] ** -(2 - 2 * g[2]),
            n[2] ** -(2 - 2 * g[2]),
        ]

    return lambda n, epsilon: rates([float(k) for k in n], epsilon)


@dataclass(frozen=True)
class Rules:
    """w_i ← w_i − α ξ_i(t) rate_i ∂(mean ℓ)/∂w_i at t = kε, with factors in front of the sums over neurons."""

    factors: Callable = lambda widths: [1 / n for n in widths]
    rates: Callable = mean_field_rates
    bias_rates: Callable = lambda widths, epsilon: [epsilon * n for n in (*widths, 1)]
    xi: tuple = ()
    time: Callable = lambda k, epsilon: k * epsilon
    old: bool = True
    """Whether gradients are taken at the old weights of the layers above."""


RULES = Rules()


class Path(NamedTuple):
    """Outputs [times, points + extra], and the parameters at the last time."""

    values: np.ndarray
    weights: list
    biases: list


def outputs(x, weights, biases, functions, factors):
    """[H_1, …, H_L] and the output, for the rows of x."""
    u = x @ weights[0].T + (biases[0] if biases else 0.0)
    hidden = [u]
    for i, w in enumerate(weights[1:]):
        u = factors[i] * (functions[i][0](u) @ w) + (biases[i + 1] if biases else 0.0)
        hidden.append(u)
    return hidden, functions[-1][0](u)


def chain(
    data, weights, biases, indices, stops, epsilon, functions, derivative, alpha=1.0, rules=RULES, at=None, train=None
):
    """The loop; `functions` are (φ_i, φ_i') for i = 1, …, L; `indices` [steps, batch], or [steps, 0] for all points."""
    weights = [np.asarray(w, np.float64) for w in weights]
    biases = [np.asarray(b, np.float64) for b in biases]
    widths = [w.shape[0] for w in weights[1:]]
    factors, layers = rules.factors(widths), len(weights)
    rates, of_biases = rules.rates(widths, epsilon), rules.bias_rates(widths, epsilon)
    xi = rules.xi or (lambda t: 1.0,) * layers
    train = train or (True,) * layers
    seen = data.x if at is None else np.concatenate([data.x, at])
    saved, k = [], 0
    for stop in stops:
        while k < stop:
            rows = indices[k]
            shares = np.full(len(rows), 1 / len(rows)) if len(rows) else data.weights
            rows = rows if len(rows) else np.arange(data.points)
            x, y = data.x[rows], data.y[rows]
            hidden, g = outputs(x, weights, biases, functions, factors)
            t = rules.time(k, epsilon)
            delta = (shares * derivative(g, y) * functions[-1][1](hidden[-1]))[:, None]
            new, after = list(weights), list(biases)
            for i in range(layers - 1, -1, -1):
                below = functions[i - 1][0](hidden[i - 1]) if i else x
                gradient = np.einsum("mi,mj->ij", below, delta) * (factors[i - 1] if i else 1.0)
                gradient = gradient[:, 0] if i == layers - 1 else gradient if i else gradient.T
                if train[i]:
                    new[i] = weights[i] - alpha * xi[i](t) * rates[i] * gradient
                    if biases:
                        change = delta.sum(axis=0)
                        after[i] = biases[i] - alpha * xi[i](t) * of_biases[i] * (
                            change[0] if i == layers - 1 else change
                        )
                if i:
                    w = (weights if rules.old else new)[i]
                    back = delta @ (w[None, :] if i == layers - 1 else w.T)
                    delta = factors[i - 1] * back * functions[i - 1][1](hidden[i - 1])
            weights, biases, k = new, after, k + 1
        saved.append(outputs(seen, weights, biases, functions, factors)[1])
    return Path(np.array(saved), weights, biases)


def stops_of(ts, epsilon):
    """⌊t/ε⌋ of decimal numbers."""
    return [int(Fraction(str(t)) / Fraction(str(epsilon))) for t in ts]
