"""Between Xavier and mean field

With the factor N^(−γ) in front and the learning rate α/N^(2(1−γ)), γ runs from 1/2 (Xavier) to 1 (mean field)
([normalisation](../references.md#normalisation)). For γ > 1/2 the limit is deterministic, and the variance of a network
falls like N^(1−2γ): a large γ costs nothing in the mean and buys certainty. That is the limit. At the widths that one
can train, the noise of SGD is as large as what the limit speaks of, and the flow in ε = N^(−(1−γ)) says by how much.
"""

# %% What is foretold
# Two answers for the variance at width N: of the limit alone, N^(1−2γ) e^(−At) Σ e^(−Aᵀt), and of the flow, which adds
# what finitely many neurons and the samples of SGD do.

import jax
import numpy as np

import jaxlimit as jl

GAMMAS = (0.6, 0.7, 0.8, 0.9, 1.0)
REPLICAS = 4096
WIDTH = 256

data = jl.Data([[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]], [1.0, -1.0, 0.5])
network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial(c=jl.initial.Uniform(-1, 1), w=jl.initial.Normal(0, 1)))
ts, key = [0.0, 2.0], jax.random.key(0)


def scaled(gamma):
    """The problem with the factor N^(−γ)."""
    return jl.Problem(data, network, scaling=jl.PowerScaling(gamma), learning_rate=2.0)


limit_alone, foretold, doubts = [], [], []
for gamma in GAMMAS:
    # γ < 1 keeps the linear limit; at γ = 1 the same formula is what one would get by carrying it on.
    law = jl.SpectralLimit(scaled(min(gamma, 0.99))).moments(ts, 1)
    limit_alone.append(WIDTH ** (1 - 2 * gamma) * np.trace(law.covariance[-1]) / 3)
    flow = jl.EpsilonFlow(scaled(gamma), jl.limits.epsilon_at(jl.PowerScaling(gamma), WIDTH), 4096, key=key)
    fluctuation = flow.fluctuation(ts)
    foretold.append(np.trace(fluctuation.covariance[-1]) / 3 / WIDTH)
    doubts.append(np.mean(fluctuation.standard_error[-1]) / WIDTH)

# %% What networks do
# The variance over networks, averaged over the three points, in units of what each answer says: ± one standard error.

variances, errors = [], []
for k, gamma in enumerate(GAMMAS):
    values = jl.simulate(scaled(gamma), WIDTH, ts, replicas=REPLICAS, key=jax.random.fold_in(key, k)).values[:, -1]
    squares = ((values - values.mean(axis=0)) ** 2).mean(axis=1) * REPLICAS / (REPLICAS - 1)
    variances.append(squares.mean())
    errors.append(squares.std(ddof=1) / np.sqrt(REPLICAS))
    ratio, doubt = variances[k] / foretold[k], np.hypot(errors[k] / foretold[k], doubts[k] / foretold[k])
    print(f"γ = {gamma:g}: {ratio:.3f} ± {doubt:.3f} of the flow's, {variances[k] / limit_alone[k]:.2f} of the limit's")

# %%
# On the scale of logarithms the limit is a straight line. Networks leave it early, their variance is thirty times as
# large at the other end, and the flow goes with them.

jl.plots.save(
    lambda ax: jl.plots.against_gamma(
        GAMMAS, variances, errors, foretold, limit_alone, ax, ylabel=f"variance at width {WIDTH}", log=True
    ),
    "normalisation-variance",
)

# %% The first correction to the mean
# Above γ = 3/4 the distance of a network to the limit is mostly a shift of order N^(γ−1): the kernel begins to move. It
# vanishes for symmetric laws, as here, and says so; it does not for a skewed c and an activation that is not odd.

print(jl.FluctuationLimit(scaled(0.9), key=key).vanishes)
skewed = jl.Initial(c=jl.initial.Discrete([2.0, -1.0], [1 / 3, 2 / 3]), w=jl.initial.Normal(0, 1))
problem = jl.Problem(data, jl.networks.Shallow(jl.activations.SinCos(), skewed), scaling=jl.PowerScaling(0.9))
shift = jl.FluctuationLimit(problem, key=key).shift([2.0])
for point in range(3):
    print(
        f"point {point}: h^N − h is about {shift.value[0, point]:+.3f} ± {shift.standard_error[0, point]:.3f} N^(−0.1)"
    )
