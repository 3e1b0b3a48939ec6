"""Your own activation

An activation that the package does not have, from its formula to a verdict. Take the algebraic sigmoid

    σ(u) = u/√(1 + u²),    σ'(u) = (1 + u²)^(−3/2),

which is smooth, bounded, with bounded derivatives and no polynomial: the theorem covers it.
"""

# %% The class
# σ and its derivative, in the namespace of the array that comes in, and what is known of σ.

from typing import ClassVar

import jax
import numpy as np

import jaxlimit as jl

REPLICAS = 8192


class Algebraic(jl.activations.AbstractActivation):
    """σ(u) = u/√(1 + u²)."""

    odd: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = True
    bounded: ClassVar[bool | None] = True
    polynomial: ClassVar[bool | None] = False

    def __call__(self, u):
        """u/√(1 + u²)."""
        return u / u.__array_namespace__().sqrt(1.0 + u * u)

    def derivative(self, u):
        """(1 + u²)^(−3/2)."""
        return (1.0 + u * u) ** -1.5


# %% Its kernel, and a proof
# There is no closed form for the Gaussian averages of this σ, so the kernel comes from quadrature, with an estimated
# error for each entry. The certificate says that it rests on these estimates.

rule = jl.kernels.Quadrature()
data = jl.data.sphere(points=5, inputs=3)
problem = jl.Problem(data, jl.networks.Shallow(Algebraic(), jl.Initial()))
limit = jl.SpectralLimit(problem, rule=rule)
proof = limit.certificate()
print(f"B is known to {limit.kernel.gram.radius.max():.0e}")
print(proof)

jl.plots.save(
    lambda ax: jl.plots.spectrum(
        limit.eigenvalues,
        proof.lower,
        proof.upper,
        ax,
        floor=proof.floor,
        status=proof.status.value,
        assumptions=proof.assumptions,
    ),
    "activation-spectrum",
)

# %% Simulated
# The output at one data point after training for two units of limit time, against the limit's Gaussian.

ts = [0.0, 1.0, 2.0]
samples = jl.simulate(problem, 256, ts, replicas=REPLICAS, key=jax.random.key(0))
law = limit.law(ts)
print(samples.method)
for statistic in (jl.statistics.MeanShift(), jl.statistics.VarianceRatio(), jl.statistics.KolmogorovSmirnov()):
    result = jl.statistics.equivalence(jl.compare(samples, law, statistic))
    print(f"{type(statistic).__name__}: {result.verdict.value}, {result.reason}")

mean, deviation = float(law.mean[-1, 0]), float(law.standard_deviation[-1, 0])
jl.plots.save(lambda ax: jl.plots.qq(samples.values[:, -1, 0], mean, deviation, ax), "activation-qq")

# %% The loss
# The mean loss over the networks, with twice its standard error, against the limit's prediction.

ts = np.linspace(0.0, 8.0, 17)
samples = jl.simulate(problem, 256, ts, replicas=REPLICAS // 8, key=jax.random.key(1))
losses = 0.5 * (samples.values - data.y) ** 2 @ data.weights
mean, error = losses.mean(axis=0), losses.std(axis=0, ddof=1) / np.sqrt(len(losses))
result = jl.statistics.curve_equivalence(mean, error, limit.loss(ts), margin=0.1)
print(f"{result.verdict.value}: {result.reason}")

jl.plots.save(lambda ax: jl.plots.loss(ts, mean, error, limit.loss(ts), ax=ax, width=256), "activation-loss")
