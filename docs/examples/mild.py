"""Mildly parameterised: what the first steps do

Convergence of wide networks is often proved for widths that are a high power of the number of points. Ma and Wang
([mild](../references.md#mild)) ask for a width of order log n only, and promise less: that the loss falls by a constant
in the first Θ(1/η) steps. Their proof follows which neurons see which points. All of it can be looked at.
"""

# %% The setting
# f = Σ a_k relu(b_k·x), both trained by gradient descent on all points; a_k = ±N^(−1/2), and b_k so small that
# |a_k| > |b_k|. The two classes lie on opposite sides of the origin, y_i y_j x_i·x_j > 0.

import jax
import numpy as np

import jaxlimit as jl

WIDTHS = (16, 32, 64, 128, 256)
REPLICAS = 32

data = jl.data.aligned(points=20, inputs=10)


def problem(eta, std=0.01):
    """The logistic loss, with steps of size η and b ~ N(0, std²)."""
    law = jl.Initial(c=jl.initial.Rademacher(), w=jl.initial.Normal(0, std), width_power=-0.5)
    network = jl.networks.Shallow(jl.activations.Relu(), law)
    return jl.Problem(data, network, scaling=jl.FixedStep(eta, gamma=0.0), loss=jl.losses.Logistic())


# %% Who is in charge of a point
# Neuron k is true-living for point i if a_k y_i > 0 and b_k·x_i > 0: it sees the point and pushes it the right way.
# Gradient descent only ever adds to the true-living and false-dead neurons. The shares are means over all networks and
# points.

ETA, STEPS, WIDTH = 0.05, 480, 64
KINDS = ("true-living", "true-dead", "false-living", "false-dead")
observed = jl.simulate(
    problem(ETA),
    WIDTH,
    np.arange(STEPS + 1),
    replicas=REPLICAS,
    key=jax.random.key(0),
    batch=None,
    observe=lambda now, start: (jl.diagnostics.neuron_partition(now, data), jl.diagnostics.neuron_patterns(now, data)),
).observed
shares, patterns = observed
for step in (0, 2, 5, 10, STEPS):
    found = [part[:, step].mean() / WIDTH for part in shares]
    print(f"step {step:3d}:", ", ".join(f"{kind} {share:.2f}" for kind, share in zip(KINDS, found, strict=False)))

changes = jl.diagnostics.partition_changes(patterns, data)
print("violations:", changes.violations.sum(), "undecided by rounding:", changes.undecided.sum())

first = 31
ts = ETA * np.arange(first)
parts = {kind: part[:, :first].mean(axis=2) / WIDTH for kind, part in zip(KINDS, shares, strict=False)}
jl.plots.save(lambda ax: jl.plots.partition(ts, parts, ax, ylabel="share of neurons"), "mild-partition")

# %%
# With |b_k| five times |a_k| in root mean square the theorem says nothing, and the sets are not monotone: signs of a
# flip.

large = jl.simulate(
    problem(ETA, std=5 / np.sqrt(WIDTH * data.inputs)),
    WIDTH,
    np.arange(STEPS + 1),
    replicas=REPLICAS,
    key=jax.random.key(0),
    batch=None,
    observe=lambda now, start: jl.diagnostics.neuron_patterns(now, data),
).observed
broken = jl.diagnostics.partition_changes(large, data)
print("signs of a that flip:", bool(broken.flips.sum() > 0), "- monotone:", bool(broken.violations.sum() == 0))
print(broken.first)

# %% How fast, and when
# The loss starts to fall at −ℓ'(0)² n⁻² yᵀH^∞y per unit of ηk, whatever the width, so that η·T does not depend on it: T
# is the first step at which a tenth of the loss is left.

level, errors = 0.1 * np.log(2.0), []
for width in WIDTHS:
    rate = jl.diagnostics.initial_descent_rate(problem(ETA), width, key=jax.random.key(1))
    samples = jl.simulate(
        problem(ETA), width, np.arange(STEPS + 1), replicas=REPLICAS, key=jax.random.key(width), batch=None
    )
    steps = jl.diagnostics.hitting_times(problem(ETA), samples, level).steps
    # A step is all that T is known to.
    mean, error = ETA * float(steps.mean() - 0.5), ETA * float(np.hypot(steps.std() / REPLICAS**0.5, 12**-0.5))
    errors.append(jl.statistics.ErrorAtWidth(mean, error))
    print(f"N = {width:4d}: dL/dt(0) = {rate.value:.4f} ± {rate.deviation:.4f}, η·T = {mean:.2f} ± {error:.2f}")
fit = jl.rate(WIDTHS, errors)
print(f"exponent {fit.exponent:.3f}, {jl.statistics.rate_verdict(fit, predicted=0.0).verdict.value}")

# %%
# The whole study, for three losses, with figures: `jaxlimit run mild`.

jl.plots.save(
    lambda ax: jl.plots.rate(
        WIDTHS,
        [e.distance for e in errors],
        [e.standard_error for e in errors],
        fit.exponent,
        fit.low,
        fit.high,
        predicted=0.0,
        ax=ax,
        ylabel=r"$\eta\,T$",
        label="logistic loss",
    ),
    "mild-hitting-times",
)
