"""Where training goes

Of all parameters that fit the data, gradient descent of a wide network finds those nearest to where it began
([min_norm](../references.md#min_norm)): w* = w(0) + F_0(F_0ᵀF_0)⁻¹(Y − f_0), with the network's derivative F_0 at its
start. What a network of finite width does beside this is orthogonal to the range of F_0, and falls with the width.
"""

# %% A network and its own solution
# The data of the paper: points of one length, a bias, and a square to learn. Steps are those of the mean loss, η = 1;
# the paper's belong to the sum over points. The solution is computed for each network, from its own start.

import jax
import numpy as np

import jaxlimit as jl

WIDTHS = (250, 500, 1000, 2000)
REPLICAS = 16
STEPS = 200

settings = jl.studies.min_norm_settings(
    {"data": {"source": "polynomial", "points": 20, "inputs": 5, "power": 2, "bias": True}}
)
problem = jl.studies.min_norm_problem(settings)
key, ts = jax.random.key(0), [0, 1, 10, 50, STEPS]


def neurons(now, start):
    """Every weight is recorded."""
    return now


def paths(samples):
    """The parameters of every network along training, as NumPy arrays."""
    c, w = samples.observed
    return [jl.networks.Neurons(*pair) for pair in zip(c, w, strict=True)]


samples = jl.simulate(problem, WIDTHS[-1], ts, replicas=REPLICAS, key=key, batch=None, observe=neurons)
first = paths(samples)[0]
solution = jl.diagnostics.min_norm_solution(problem, jl.networks.Neurons(first.c[0], first.w[0]))
print(f"|w* − w(0)| = {solution.distance:.2f}; there the linearised network is exact to {solution.residual:.0e}")
for t, parallel, orthogonal, moved, _ in zip(ts, *solution.along(first), strict=True):
    print(f"step {t:3d}: |P(w − w*)|² = {parallel:7.4f}, |P⊥(w − w*)|² = {orthogonal:7.4f}, |w − w(0)| = {moved:.2f}")

# %%
# The part in the range of F_0 vanishes along training; the orthogonal part, which the first step does not have, stays.

# %% What stays falls with the width
# Like m^(−1/2) for ReLU, as neurons change sides, and like m^(−1) where σ is smooth. Each width has a key of its own.

shallow, law = jl.networks.Shallow, jl.Initial(c=jl.initial.Rademacher())
smooth = jl.Problem(problem.data, shallow(jl.activations.Erf(), law, train_output=False), problem.scaling)
seen = {}
for name, one in {"ReLU": problem, "erf": smooth}.items():
    seen[name] = []
    for position, width in enumerate(WIDTHS):
        own = jax.random.fold_in(key, position)
        found = jl.simulate(one, width, [0, STEPS], replicas=REPLICAS, key=own, batch=None, observe=neurons)
        starts = [jl.networks.Neurons(path.c[0], path.w[0]) for path in paths(found)]
        solutions = [jl.diagnostics.min_norm_solution(one, start) for start in starts]
        ends = [s.along(path).orthogonal[-1] for s, path in zip(solutions, paths(found), strict=True)]
        seen[name].append(np.array(ends))

# The rate is that of the root of what it is given; squares have twice the exponent.
fits = {name: jl.statistics.bootstrap_rate(WIDTHS, values) for name, values in seen.items()}
for name, fit in fits.items():
    print(f"{name}: |P⊥(w − w*)|² ~ m^{2 * fit.exponent:.2f}, 95% interval [{2 * fit.low:.2f}, {2 * fit.high:.2f}]")


def draw(ax):
    """Both series, with the slopes that the theory gives."""
    for name, predicted in (("ReLU", -0.5), ("erf", -1.0)):
        means = [values.mean() for values in seen[name]]
        bars = [values.std(ddof=1) / np.sqrt(REPLICAS) for values in seen[name]]
        fit, label = fits[name], r"$|P_\perp(w-w^*)|^2$ after training"
        ends = 2 * fit.exponent, 2 * fit.low, 2 * fit.high
        ax = jl.plots.rate(WIDTHS, means, bars, *ends, predicted, fit.coefficient**2, ax, ylabel=label, label=name)
    ax.set_xlabel("width $m$")
    return ax


jl.plots.save(draw, "min-norm-orthogonal")

# %% What the kernel foretells
# The loss along training from the spectrum of the kernel and the targets alone: Σ(1 − ηλ_i)^(2k)(v_i·(Y − f_0))², with
# each network's own f_0. η is the step over the number of points, because this sum has no mean.

kernel, points = jl.gram(problem.network, problem.data.x), problem.data.points
errors = problem.data.y - samples.values[:, :, :points]
foretold = np.stack(
    [jl.diagnostics.training_curve(kernel, start, problem.scaling.eta / points, ts).value for start in errors[:, 0]]
)
ratio = np.sum(errors**2, axis=2) / foretold
for k, t in enumerate(ts):
    expected, mean, doubt = foretold[:, k].mean(), ratio[:, k].mean(), ratio[:, k].std(ddof=1) / np.sqrt(REPLICAS)
    print(f"step {t:3d}: squared error {expected:8.4f} foretold; networks: {mean:.3f} ± {doubt:.3f} of it")
