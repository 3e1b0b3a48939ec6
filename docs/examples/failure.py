"""Where the theorem fails

The theorem promises two things: networks follow a linear equation as N → ∞, and, where A is positive definite, that
equation reaches zero loss. The first holds far more widely than the second. Here are two problems in which λ_min(A) = 0
is *proved*, no network of this kind fits the targets at any width, and the loss stops at a height known beforehand.
"""

# %% An odd σ, at x and −x
# With an odd σ and no bias every network is an odd function: g(−x) = −g(x). Ask it for the value 1 at both ends.

import jax
import numpy as np

import jaxlimit as jl

REPLICAS = 2048

opposite = jl.Data([[1.0, 0.0], [-1.0, 0.0], [0.6, 0.8]], [1.0, 1.0, -0.5])
odd = jl.Problem(opposite, jl.networks.Shallow(jl.activations.Erf(), jl.Initial()), learning_rate=4.0)
proof = jl.SpectralLimit(odd).certificate()
print(proof.status.value, "since", proof.reason)

# %% How high the plateau is
# Whatever A cannot move stays: h_0 + A(…) leaves the part of ŷ − h_0 in the kernel of A where it was. Here that is the
# direction v = (1, 1, 0), and h_0, being odd, has no part in it. What is left of the loss is
#
#     ½ Σ_m π_m ((ŷ_1 + ŷ_2)/2)², over the two points: ½ · ⅓ · (1 + 1) = ⅓.
#
# No average is involved: the limit of every single start ends there. Networks of width 256 stay a little above it, by
# more than their standard error: that is the noise of SGD at finite width, which keeps stirring what cannot be fitted.


def trained(problem, width, ts, key):
    """The limit's loss, and the mean loss of networks of this width with its standard error."""
    samples = jl.simulate(problem, width, ts, replicas=REPLICAS, key=key, method=jl.Stepwise())
    losses = 0.5 * (samples.values - problem.data.y) ** 2 @ problem.data.weights
    return jl.SpectralLimit(problem).loss(ts), losses.mean(axis=0), losses.std(axis=0, ddof=1) / np.sqrt(REPLICAS)


def drawn(ax, predicted, mean, error, plateau):
    """The house's figure of a loss, with the plateau."""
    jl.plots.loss(ts, mean, error, predicted, ax=ax, width=256)
    ax.axhline(plateau, color="black", linestyle=":", linewidth=1.1)
    place = {"xytext": (0, -3), "textcoords": "offset points", "ha": "right", "va": "top"}
    ax.annotate(f"plateau {plateau:.4f}", (ts[-1], plateau), fontsize=8, **place)


ts = np.linspace(0.0, 4.0, 25)
predicted, mean, error = trained(odd, 256, ts, jax.random.key(0))
print(f"loss at t = {ts[-1]:g}: {mean[-1]:.5f} ± {error[-1]:.5f}, limit {predicted[-1]:.5f}, plateau {1 / 3:.5f}")
verdict = jl.statistics.curve_equivalence(mean, error, predicted, margin=0.05)
print(f"the networks follow the limit: {verdict.verdict.value}, {verdict.reason}")

jl.plots.save(lambda ax: drawn(ax, predicted, mean, error, 1 / 3), "failure-odd")

# %% ReLU, at x and 2x
# ReLU is homogeneous, so g(2x) = 2g(x). Ask for 1 and for −1: the best value g(x) = a minimises
# (1 − a)² + (−1 − 2a)², so a = −1/5, and the loss stops at ½ · ½ · (36 + 9)/25 = 9/20.

parallel = jl.Data([[0.6, 0.8], [1.2, 1.6]], [1.0, -1.0])
relu = jl.Problem(parallel, jl.networks.Shallow(jl.activations.Relu(), jl.Initial()), learning_rate=1.0)
proof = jl.SpectralLimit(relu).certificate()
print(proof.status.value, "since", proof.reason)

predicted, mean, error = trained(relu, 256, ts, jax.random.key(1))
print(f"loss at t = {ts[-1]:g}: {mean[-1]:.5f} ± {error[-1]:.5f}, limit {predicted[-1]:.5f}, plateau {9 / 20:.5f}")
verdict = jl.statistics.curve_equivalence(mean, error, predicted, margin=0.05)
print(f"the networks follow the limit: {verdict.verdict.value}, {verdict.reason}")

jl.plots.save(lambda ax: drawn(ax, predicted, mean, error, 9 / 20), "failure-parallel")

# %% What helps
# A bias: a coordinate 1 appended to the inputs. Then distinct points have distinct directions, and A is positive
# definite again.

for problem in (odd, relu):
    biased = jl.Problem(problem.data.with_bias(), problem.network, learning_rate=problem.learning_rate)
    print(jl.SpectralLimit(biased).certificate())
