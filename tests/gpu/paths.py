"""Independent paths in float64 NumPy of what is no plain chain of a network with one hidden layer."""

import numpy as np

import jaxlimit as jl
from tests import multilayer_oracle
from tests.gpu.sizes import KEY, TANH
from tests.oracle import Path, drawn

RATE, B1, B2, EPS = 1e-2, 0.9, 0.999, 1e-8
"""Of Adam."""

EPSILON = 0.1
"""The step of the layers' own time."""


def start_of(question, width, replica, ts):
    """c and w at the start, the samples of the steps, and the numbers of steps at the save times."""
    stops = [question.scaling.steps(t, width) for t in ts]
    c, w, indices = drawn(question, width, KEY, replica, stops[-1] + 1)
    return np.asarray(c, np.float64), np.asarray(w, np.float64), indices, stops


def adam(question, width, replica, ts):
    """Kingma & Ba's rule with corrected moments, on the gradient of the loss at one sample, in all coordinates."""
    c, w, indices, stops = start_of(question, width, replica, ts)
    x, y, factor, saved = question.data.x, question.data.y, width**-question.scaling.gamma, []
    now, first, second = np.column_stack([c, w]), 0.0, 0.0
    for k in range(stops[-1] + 1):
        c, w = now[:, 0], now[:, 1:]
        saved += [(factor * np.tanh(x @ w.T) @ c, c, w)] * stops.count(k)
        i = indices[k]
        u = w @ x[i]
        e = factor * (factor * c @ TANH.sigma(u) - y[i])
        gradient = e * np.column_stack([TANH.sigma(u), np.outer(c * TANH.slope(u), x[i])])
        first, second = B1 * first + (1 - B1) * gradient, B2 * second + (1 - B2) * gradient**2
        root = np.sqrt(second / (1 - B2 ** (k + 1))) + EPS
        now = now - RATE * first / (1 - B1 ** (k + 1)) / root
    return Path(*map(np.array, zip(*saved, strict=True)))


def tangent(question, width, replica, ts):
    """The chain of the network's first-order expansion around its start; `question` is that of the network itself."""
    c_0, w_0, indices, stops = start_of(question, width, replica, ts)
    x, y, gamma = question.data.x, question.data.y, question.scaling.gamma
    rate, saved = question.learning_rate * width ** (gamma - 2), []
    u = x @ w_0.T
    features, slopes, c, w = TANH.sigma(u), c_0 * TANH.slope(u), c_0, w_0
    for k in range(stops[-1] + 1):
        outputs = width**-gamma * (features @ c + np.sum(slopes * (x @ (w - w_0).T), axis=1))
        saved += [(outputs, c, w)] * stops.count(k)
        i = indices[k]
        e = rate * (y[i] - outputs[i])
        c, w = c + e * features[i], w + e * np.outer(slopes[i], x[i])
    return Path(*map(np.array, zip(*saved, strict=True)))


def layers(question, width, replica, ts, batch):
    """Two hidden layers, tanh and sine, in the layerwise mean-field scaling."""
    stops = multilayer_oracle.stops_of(ts, EPSILON)
    weights, biases, indices = jl.simulation.draws(question, width, KEY, replica, stops[-1] + 1, batch)
    functions = multilayer_oracle.TANH, multilayer_oracle.SIN, multilayer_oracle.IDENTITY
    indices = indices.reshape(len(indices), -1)
    given = question.data, weights, biases, indices, stops, EPSILON, functions
    return multilayer_oracle.chain(*given, lambda g, y: g - y)
