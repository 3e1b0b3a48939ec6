"""Networks of several layers

Two hidden layers of n neurons each, averages 1/n in both ([multilayer](../references.md#multilayer)). The limit is a
flow of functions w_i(c_{i−1}, c_i) of the neurons, and a network of finite width is a sample of it: with the same
initial draw, each of its neurons stays within about n^(−1/2) of its own neuron in the limit, plus what the length ε of
a step costs.
"""

# %% The limit and its networks
# `MultilayerLimit` solves the flow for many neurons. With the key of replica r they begin with those that replica r of
# `simulate` draws, so networks are compared with their own limit, output by output and neuron by neuron. Middle and
# last weights have a mean: without one gradients vanish with the width.

import jax
import numpy as np

import jaxlimit as jl

WIDTHS = (8, 16, 32)
REPLICAS = 24
NEURONS = 256

tanh, normal = jl.activations.Tanh(), jl.initial.Normal
network = jl.networks.Multilayer((tanh, tanh), jl.initial.IndependentLayers((normal(0, 1), normal(1, 1), normal(1, 1))))
problem = jl.Problem(jl.data.sphere(6, 3), network, scaling=jl.LayerwiseMeanField(0.01), loss=jl.Huber())
key, ts = jax.random.key(0), [0.0, 1.0, 2.0]

starts = [jl.simulation.start_key(key, r) for r in range(REPLICAS)]
limits = [jl.MultilayerLimit(problem, (NEURONS, NEURONS), key=start) for start in starts]
outputs = np.stack([limit.law(ts).mean for limit in limits])
weights = [limit.parameters(ts).weights for limit in limits]
for i in range(3):
    moved = [np.sqrt(np.mean((w[i][-1] - w[i][0]) ** 2)) for w in weights]
    doubt = np.std(moved, ddof=1) / np.sqrt(REPLICAS)
    print(f"RMS movement of the weights of layer {i + 1}: {np.mean(moved):.3f} ± {doubt:.3f}")

# %% How networks come near
# All points at every step, ε = 0.01: what is left is the width. RMS over replicas, save times, and data or neurons.


def whole(parameters, start):
    """Every weight is recorded."""
    return parameters


def part(w, n):
    """The first n neurons in every layer, as one row for each time."""
    kept = w[:, :n, :n] if w.shape[1:] == (NEURONS, NEURONS) else w[:, :n]
    return kept.reshape(len(w), -1)


errors = {"output": [], "layer 1": [], "layer 2": [], "layer 3": []}
for n in WIDTHS:
    samples = jl.simulate(problem, (n, n), ts, replicas=REPLICAS, key=key, batch=None, observe=whole)
    errors["output"].append(jl.statistics.pathwise(samples.values, outputs).pooled)
    for i, found in enumerate(samples.observed.weights):
        flat = np.asarray(found, np.float64).reshape(REPLICAS, len(ts), -1)
        expected = np.stack([part(w[i], n) for w in weights])
        errors[f"layer {i + 1}"].append(jl.statistics.pathwise(flat, expected).pooled)

fits = {name: jl.rate(WIDTHS, found) for name, found in errors.items()}
for name, fit in fits.items():
    print(f"{name}: exponent {fit.exponent:.2f}, 95% interval [{fit.low:.2f}, {fit.high:.2f}]")

# %%
# The outputs. Over so few widths, and with 256 neurons for infinitely many, the interval is what counts: it contains
# −1/2.

fit = fits["output"]
distances, bars = [e.distance for e in errors["output"]], [e.standard_error for e in errors["output"]]
jl.plots.save(
    lambda ax: jl.plots.rate(
        WIDTHS,
        distances,
        bars,
        fit.exponent,
        fit.low,
        fit.high,
        -0.5,
        fit.coefficient,
        ax,
        ylabel="RMS distance of outputs to the limit",
    ),
    "multilayer-rate",
)
