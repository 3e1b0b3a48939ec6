"""Mean field: a law of large numbers, and what is left of chance

With the factor 1/N in front, neurons act on each other through their law alone
([mean_field](../references.md#mean_field)). As N → ∞ the output converges to a deterministic g_t, and features move:
what the factor 1/√N forbids. At width N the output is off by N^(−1/2), and the central limit theorem says how:
N·Var g^N_t has a limit too, with one part from the random start and one from the samples of SGD.
"""

# %% The limit
# The equation for the law of a neuron has no closed form; particles solve it. ± is what their finite number and the
# solver leave.

import jax
import numpy as np

import jaxlimit as jl

WIDTHS = (64, 128, 256, 512)
REPLICAS = 8192

data = jl.Data([[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]], [1.0, -1.0, 0.5])
network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial(c=jl.initial.Uniform(-1, 1), w=jl.initial.Normal(0, 1)))
problem = jl.Problem(data, network, scaling=jl.MeanField(), learning_rate=2.0)
limit = jl.MeanFieldLimit(problem, 4096, key=jax.random.key(0))

ts = np.linspace(0.0, 2.0, 5)
solution = limit.solve(ts)
for t in (2, 4):
    print(f"g at t = {ts[t]:g}: {solution.values[t].round(3)} ± {solution.error[t].max():.3f}")

# %% Large numbers
# Networks trained step by step against the one limit. The distance falls like N^(−1/2).

errors = []
for width in WIDTHS:
    paths = jl.simulate(problem, width, ts, replicas=256, key=jax.random.key(width), method=jl.Stepwise()).values
    errors.append(jl.statistics.pathwise(paths, np.broadcast_to(solution.values, paths.shape)).pooled)
fit = jl.rate(WIDTHS, errors)
print(f"exponent {fit.exponent:.3f}, 95% interval [{fit.low:.3f}, {fit.high:.3f}]")
print(jl.statistics.rate_verdict(fit, predicted=-0.5).verdict.value)

# %% The central limit theorem
# The variance foretold at one width, from its two sources, against thousands of networks: the ratio of variances at
# every time and point lies within a tenth of 1.

fluctuation = limit.fluctuation(ts)
for t in (2, 4):
    start, sgd = (np.trace(part[t]) for part in (fluctuation.initial, fluctuation.sgd))
    doubt = fluctuation.standard_error[t].max()
    print(f"N·Var at t = {ts[t]:g}, summed: {start:.3f} from the start, {sgd:.3f} from SGD (± {doubt:.3f} a point)")

width = WIDTHS[-1]
samples = jl.simulate(problem, width, ts, replicas=REPLICAS, key=jax.random.key(1), method=jl.Stepwise())
law = jl.paths.GaussianPath(ts, solution.values, fluctuation.covariance / width)
result = jl.statistics.equivalence(jl.compare(samples, law, jl.statistics.VarianceRatio()))
print(f"{result.verdict.value}, {result.reason}")

# %%
# Outputs at the second point: the band is the law foretold, which shrinks like 1/√N about the limit.

jl.plots.save(
    lambda ax: jl.plots.paths(ts, samples.values[:, :, 1], law.mean[:, 1], law.standard_deviation[:, 1], ax),
    "mean-field-paths",
)
