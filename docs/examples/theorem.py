"""The theorem in a few lines

Networks of width N with one hidden layer, the factor 1/√N in front and the learning rate α/N converge, as N → ∞, to
a linear equation with a Gaussian start ([xavier](../references.md#xavier)):

    dh_t = A(ŷ − h_t) dt,    h_0 ~ N(0, Σ).

Here is the question, asked at width N and at N = ∞, and the answers compared.
"""

# %%
import jax
import numpy as np

import jaxlimit as jl

WIDTHS = (64, 128, 256, 512, 1024)
REPLICAS = 8192

data = jl.Data([[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]], [1.0, -1.0, 0.5])
network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial(c=jl.initial.Uniform(-1, 1), w=jl.initial.Normal(0, 1)))
problem = jl.Problem(data, network, scaling=jl.Xavier(), learning_rate=1.0)
limit = jl.SpectralLimit(problem)
print(limit.certificate())

# %% The law at one width
# Thousands of independent networks of width 512, each trained by its own samples, against the Gaussian law of the
# limit: at every time and at every point. `detectable` is the distance that this number of networks could not have
# missed.

ts = np.linspace(0.0, 2.0, 9)
law = limit.law(ts)
samples = jl.simulate(problem, 512, ts, replicas=REPLICAS, key=jax.random.key(0), method=jl.Stepwise())
for statistic in (jl.statistics.MeanShift(), jl.statistics.VarianceRatio(), jl.statistics.KolmogorovSmirnov()):
    comparison = jl.compare(samples, law, statistic)
    result = jl.statistics.equivalence(comparison)
    distance, detectable = comparison.distance.max(), comparison.detectable.max()
    print(
        f"{comparison.statistic}: {result.verdict.value}, {distance:.3f} (detectable {detectable:.3f}), {result.reason}"
    )

jl.plots.save(
    lambda ax: jl.plots.paths(ts, samples.values[:, :, 1], law.mean[:, 1], law.standard_deviation[:, 1], ax, target=-1),
    "theorem-paths",
)

# %% The rate in the width
# The limit started at the same outputs as the network, path by path. The theorem's proof gives an error of order
# N^(−1/2).

errors = []
for width in WIDTHS:
    paths = jl.simulate(problem, width, ts, replicas=256, key=jax.random.key(width), method=jl.Stepwise()).values
    errors.append(jl.statistics.pathwise(paths, limit.path(paths[:, 0], ts)).pooled)
fit = jl.rate(WIDTHS, errors)
print(f"exponent {fit.exponent:.3f}, 95% interval [{fit.low:.3f}, {fit.high:.3f}]")
print(jl.statistics.rate_verdict(fit, predicted=-0.5).verdict.value)

distances, bars = [e.distance for e in errors], [e.standard_error for e in errors]
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
        ylabel="RMS $|h^N_t - h_t|$",
    ),
    "theorem-rate",
)
