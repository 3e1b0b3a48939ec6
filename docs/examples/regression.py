"""Regression on real data

Ten measurements of 442 patients, and how far their diabetes has progressed a year later
([diabetes](../references.md#diabetes)). Networks learn from 60 patients and predict the other 382. The limit gives the
joint law of all 442 outputs at every time, so the test error of wide networks is known without training one.
"""

# %% The error foretold
# Targets have variance 1: who predicts the mean for everybody is off by about 1. The expected error of one network at
# one patient is (E h − y)² + Var h; the variance comes from the random start, and an average of many networks is
# spared it. The law itself is exact; ± is one standard error over the 382 patients, who stand for all others.

import jax
import numpy as np

import jaxlimit as jl

REPLICAS = 8192

patients = jl.data.diabetes()
known, new = slice(60), slice(60, None)
data = jl.Data(patients.x[known], patients.y[known])
problem = jl.Problem(data, jl.networks.Shallow(jl.activations.Erf(), jl.Initial()), learning_rate=10.0)
limit = jl.SpectralLimit(problem)
print(limit.certificate())

ts = np.geomspace(0.05, 50.0, 13)
law = limit.law(ts, at=patients.x[new])
variance = law.standard_deviation**2
foretold = (law.mean - patients.y) ** 2 + variance
for t in range(0, ts.size, 2):
    error = foretold[t, new]
    print(
        f"t = {ts[t]:5.2f}: error on known patients {foretold[t, known].mean():.3f}, on new ones {error.mean():.3f}"
        f" ± {error.std(ddof=1) / np.sqrt(error.size):.3f}, of which {variance[t, new].mean():.3f} from the start"
    )

# %% Training too long
# A is positive definite, so on the known patients more training always pays. On the new ones it does not. Errors at two
# times are those of the same patients, so the difference is known better than either; the best time was chosen on them
# too, which flatters it a little.

best = int(foretold[:, new].mean(axis=1).argmin())
lost = foretold[-1, new] - foretold[best, new]
print(f"from t = {ts[best]:.2f} to t = {ts[-1]:g}: {lost.mean():+.3f} ± {lost.std(ddof=1) / np.sqrt(lost.size):.3f}")

# %% Networks
# Thousands of networks of width 512, trained by SGD up to a tenth of that time, against the errors foretold.

early = ts < 5.1
seen = jl.simulate(
    problem, 512, ts[early], replicas=REPLICAS, key=jax.random.key(0), at=patients.x[new], method=jl.Stepwise()
)
curves = {}
for name, group in (("known patients", known), ("new patients", new)):
    each = ((seen.values - patients.y) ** 2)[:, :, group].mean(axis=2)
    curves[name] = each.mean(axis=0), each.std(axis=0, ddof=1) / np.sqrt(REPLICAS), foretold[:, group].mean(axis=1)
    mean, doubt, predicted = curves[name]
    result = jl.statistics.curve_equivalence(mean, doubt, predicted[early], margin=0.05)
    print(f"{name}: {result.verdict.value}, {result.reason}")


def drawn(ax):
    """The house's figure of a loss for both groups, and what the limit says of later times."""
    for name, (mean, doubt, predicted) in curves.items():
        jl.plots.loss(ts[early], mean, doubt, predicted[early], ax=ax, width=512)
        ax.plot(ts, predicted, color=ax.lines[-1].get_color(), linewidth=1.4)
        ax.annotate(name, (ts[-4], predicted[-4]), (0, 7), textcoords="offset points", fontsize=8)
    ax.legend(*(found[1:3] for found in ax.get_legend_handles_labels()), fontsize=8, frameon=False)
    ax.set(xscale="log", ylabel="mean squared error", ylim=(0.0, 1.2))


jl.plots.save(drawn, "regression-error")

# %% The law, patient by patient
# The errors agree; do the laws behind them? Early they do. Later training has undone what the start brought, and the
# law is narrow: then the noise of SGD, whose variance falls only with the width, like α/N, is no longer small beside
# it, and width 512 is too narrow for a law within 0.05. The errors above hardly notice: by about a percent at most.

for last in (0.51, 5.1):
    kept = slice(int(np.sum(ts < last)))
    part = seen.during(kept)
    result = jl.statistics.equivalence(jl.compare(part, law.during(kept), jl.statistics.KolmogorovSmirnov()))
    print(f"to t = {part.ts[-1]:.1f}: {result.verdict.value}, {result.reason}")
