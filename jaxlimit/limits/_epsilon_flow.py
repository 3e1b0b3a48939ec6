"""One flow for all scalings: ε = N^{−(1−γ)} as a free number, from the Xavier limit at 0 to mean field at 1."""

from typing import Any

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from jaxlimit._arguments import (
    finite_number,
    float_dtype,
    instance,
    positive_integer,
    random_key,
    require,
    save_times,
)
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.limits._base import AbstractLimit, extra_points, joined_start
from jaxlimit.limits._epsilon import require_epsilon
from jaxlimit.limits._groups import GROUPS, deterministic, group_size, standard_error, with_groups
from jaxlimit.limits._influence import Fluctuation, fluctuation
from jaxlimit.limits._integrate import (
    X64,
    chosen_solver,
    chosen_tolerance,
    finer_tolerance,
    require_finished,
    widest,
)
from jaxlimit.limits._ode import OdeSolution
from jaxlimit.limits._particles import Particles, particles, solve
from jaxlimit.networks import Neurons, Shallow
from jaxlimit.paths import GaussianPath
from jaxlimit.problem import Problem


class EpsilonFlow(AbstractLimit):
    """The flow of a network's parameters under the population gradient, with ε = N^{−(1−γ)} as a number of its own.

        dc_i = ε αE_π[e σ(w_i·x)] dt,    dw_i = ε αE_π[e c_i σ'(w_i·x) x] dt,    e = −∂ℓ/∂g(h, y)
        h_t = h_0 + ε^{−1} (mean_i c_i σ(w_i·x) − its value at t = 0)

    over `particles` neurons from the network's own initial law: a width N enters through ε alone, so that the whole
    family of scalings costs the same. At ε = 0 (the derivative is taken, nothing cancels) the particles do not move
    and h is the linear limit with their own empirical kernel; at ε = 1 it is mean field. `epsilon_at` gives the ε of
    a scaling at a width; the problem's own scaling is read by `finite_width` alone.

    The equation is solved by diffrax; `dtype`, `tolerance`, `solver` and `max_steps` are those of `OdeLimit`, and so
    is the stated `error` of 100 tolerances. What finitely many particles leave is of order particles^{−1/2} and is
    told by `particle_error`. Particles are draws of `network.init`, so more of them begin with fewer.

    Raises ``ValueError`` for an ε outside [0, 1], for a network that is not `Shallow`, and for bad arguments;
    ``RuntimeError`` where the solver gives up. Source: references `normalisation`, `mean_field`, `diffrax`.

        >>> import jax, jaxlimit as jl
        >>> problem = jl.Problem(jl.data.sphere(points=3, inputs=2), jl.networks.Shallow(jl.activations.Erf()))
        >>> flow = jl.EpsilonFlow(problem, 0.25, 256, key=jax.random.key(0))
        >>> flow.path([0.0, 0.0, 0.0], [0.0, 1.0]).shape
        (2, 3)
    """

    problem: Problem
    epsilon: float = eqx.field(static=True)
    neurons: Neurons = eqx.field(repr=False)
    dtype: np.dtype = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    solver: diffrax.AbstractSolver
    max_steps: int = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        epsilon: float,
        particles: int = 4096,
        *,
        key: RandomKey,
        dtype: np.dtype | type = jnp.float32,
        tolerance: float | None = None,
        solver: diffrax.AbstractSolver | None = None,
        max_steps: int = 100_000,
    ):
        self.problem = instance("problem", problem, Problem)
        network = instance("problem", problem.network, Shallow, "have a Shallow network")
        network.initial.require_same_at_every_width()
        wanted = "be a number in [0, 1], such as jaxlimit.limits.epsilon_at(scaling, width)"
        self.epsilon = finite_number("epsilon", epsilon, wanted)
        require(0.0 <= self.epsilon <= 1.0, "epsilon", wanted, f"it is {self.epsilon:g}")
        count = positive_integer("particles", particles)
        self.dtype = float_dtype(dtype)
        self.tolerance, self.solver = chosen_tolerance(tolerance, self.dtype), chosen_solver(solver)
        self.max_steps = positive_integer("max_steps", max_steps)
        self.neurons = network.init(count, problem.data.inputs, random_key(key))

    @property
    def particles(self) -> int:
        """Number of particles."""
        return self.neurons.c.size

    @property
    def error(self) -> float:
        """Stated bound of the solver's global error, relative to max(1, |h|): 100 times the tolerance."""
        return 100.0 * self.tolerance

    def start(self, at: ArrayLike | None = None) -> Float[Host, " all"]:
        """The particles' own output ε^{−1} mean_i c_i σ(w_i·x), on the data and then at the extra inputs.

        Raises ``ValueError`` at ε = 0, where there is none.
        """
        population, _ = self._population(extra_points(self.problem.data, at), self.dtype)
        return self._own_start(population)

    def limit_start(self, at: ArrayLike | None = None) -> Float[Host, " all"]:
        """ε^{−1} E c · mean_i σ(w_i·x), on the data and then at the extra inputs: 0 where E c = 0.

        The limit's own start, without the chance fluctuation of the particles' c. Raises ``ValueError`` at ε = 0 if
        E c ≠ 0, where h_0 is infinite.
        """
        return self._limit_start(self._population(extra_points(self.problem.data, at), self.dtype)[0])

    def path(
        self,
        h0: ArrayLike | None,
        ts: ArrayLike,
        at: ArrayLike | None = None,
        h0_at: ArrayLike | None = None,
    ) -> Float[Host, "*batch times points"]:
        """h_t from a given start h0 [*batch, points], with h0_at [*batch, extra] at the extra inputs.

        None is the particles' own `start`. Returns [*batch, times, points + extra] in this limit's dtype.
        """
        return self._solved(h0, ts, at, h0_at, self.dtype, self.tolerance)[0]

    def solve(
        self,
        h0: ArrayLike | None,
        ts: ArrayLike,
        at: ArrayLike | None = None,
        h0_at: ArrayLike | None = None,
    ) -> OdeSolution:
        """`path` with the error of the solver for these particles, from a second solve, and the number of steps.

        The second solve has a tolerance 100 times smaller, in float64 where the x64 flag is set. Another choice of
        particles is not in this error: see `particle_error`.

            >>> import jax, jaxlimit as jl
            >>> problem = jl.Problem(jl.data.sphere(points=3, inputs=2), jl.networks.Shallow(jl.activations.Erf()))
            >>> solution = jl.EpsilonFlow(problem, 1.0, 256, key=jax.random.key(0)).solve(None, [0.0, 1.0])
            >>> bool((solution.error <= solution.stated).all())
            True
        """
        values, steps = self._solved(h0, ts, at, h0_at, self.dtype, self.tolerance)
        wide = widest(self.dtype)
        finer = finer_tolerance(self.tolerance, wide, X64)
        exact, _ = self._solved(h0, ts, at, h0_at, wide, finer)
        error = np.max(np.abs(np.asarray(values, np.float64) - np.asarray(exact, np.float64)), axis=-1)
        stated = self.error * max(1.0, float(np.max(np.abs(exact))))
        reference = f"a second solve at tolerance {finer:.2g} in {wide.name}"
        return OdeSolution(save_times(ts), values, error, steps, stated, reference, type(self.solver).__name__)

    def trajectories(
        self, h0: ArrayLike | None, ts: ArrayLike, at: ArrayLike | None = None, h0_at: ArrayLike | None = None
    ) -> Neurons:
        """The particles at these times: c [times, particles] and w [times, particles, inputs], float64 NumPy arrays.

        In original coordinates, as accurate as the solve, for one start h0 [points].
        """
        population, basis = self._population(extra_points(self.problem.data, at), self.dtype)
        starts, batch = self._starts(population, h0, at, h0_at)
        require(batch == (), "h0", "be one start [points]", f"it has the leading axes {batch}")
        state, _ = self._run(population, starts, save_times(ts), self.dtype, self.tolerance, whole=True)
        moved = np.asarray(state.w[0], np.float64)
        moved = moved if basis is None else moved @ basis.T
        c, w = (np.asarray(v, np.float64) for v in self.neurons)
        return Neurons(c + self.epsilon * np.asarray(state.c[0], np.float64), w + self.epsilon * moved)  # type: ignore[arg-type]

    def particle_error(
        self,
        h0: ArrayLike | None,
        ts: ArrayLike,
        at: ArrayLike | None = None,
        h0_at: ArrayLike | None = None,
    ) -> Float[Host, "*batch times points"]:
        """Standard error of `path`: how far these particles are from infinitely many, of order particles^{−1/2}.

        From the spread of the paths of 8 disjoint groups of them, so known itself to a quarter of its size. A given h0
        counts as exact; one that comes from particles, like `limit_start`, has an error too: see `law`. What is of
        order 1/particles is not in it. Raises ``ValueError`` for fewer than 16 particles.
        """
        paths = [flow.path(h0, ts, at, h0_at) for flow in self._groups()]
        return standard_error(np.asarray(paths, np.float64))

    def law(self, ts: ArrayLike, at: ArrayLike | None = None) -> GaussianPath:
        """h_t from `limit_start`, on the data and then at the extra inputs: deterministic, its covariance is zero.

        It comes with repeats from 8 disjoint groups of particles, each from its own start, hence with
        `mean_standard_error`. Raises ``ValueError`` as `limit_start` and `particle_error`.

            >>> import jax, jaxlimit as jl
            >>> problem = jl.Problem(jl.data.sphere(points=3, inputs=2), jl.networks.Shallow(jl.activations.Erf()))
            >>> law = jl.EpsilonFlow(problem, 0.25, 256, key=jax.random.key(0)).law([1.0])
            >>> bool((0 < law.mean_standard_error).all()), bool((law.mean_standard_error < 0.1).all())
            (True, True)
        """
        times, points = save_times(ts), self.problem.data.points

        def one(flow: EpsilonFlow) -> GaussianPath:
            start = flow.limit_start(at)
            return deterministic(times, flow.path(start[:points], times, at, None if at is None else start[points:]))

        groups = self._groups()
        return with_groups(one(self), map(one, groups))

    def finite_width(
        self,
        ts: ArrayLike,
        width: int,
        at: ArrayLike | None = None,
        *,
        batch: int | None = 1,
        steps: int | None = None,
    ) -> GaussianPath:
        """The law of h^N_t at width N to leading order: the mean of `law`, and the covariance of `fluctuation` over N.

        With repeats from the groups of particles, so that `compare` counts their error: a mean within a tenth of a
        standard deviation of h^N_t takes more than 100·N particles. How wide a network must be: see `fluctuation`.

        Raises ``ValueError`` unless ε is `epsilon_at` of the problem's scaling, a `PowerScaling`, at this width; for
        E c ≠ 0 where γ < 1, as h_0 grows like N^{1−γ}; and at γ = 1/2, where the start is random to leading order
        (`SpectralLimit.moments` and `OdeLimit.sample` serve it). Else as `fluctuation`. Source: references
        `mean_field`, `normalisation`.

            >>> import jax, jaxlimit as jl
            >>> network, scaling = jl.networks.Shallow(jl.activations.Erf()), jl.PowerScaling(0.8)
            >>> problem = jl.Problem(jl.data.sphere(points=3, inputs=2), network, scaling=scaling)
            >>> flow = jl.EpsilonFlow(problem, jl.limits.epsilon_at(scaling, 64), 256, key=jax.random.key(0))
            >>> law = flow.finite_width([1.0], 64)
            >>> bool((law.mean_standard_error < law.standard_deviation).all())
            True
        """
        size = require_epsilon(self.problem, self.epsilon, width)
        found = self.fluctuation(ts, at, batch=batch, steps=steps).law
        law = self.law(ts, at)
        own, *repeats = (
            GaussianPath(law.ts, path.mean, noise.covariance / size)
            for path, noise in zip((law, *law.repeats), (found, *found.repeats), strict=True)
        )
        return GaussianPath(own.ts, own.mean, own.covariance, tuple(repeats))

    def fluctuation(
        self,
        ts: ArrayLike,
        at: ArrayLike | None = None,
        *,
        initial: bool = True,
        sgd: bool = True,
        batch: int | None = 1,
        steps: int | None = None,
    ) -> Fluctuation:
        """Covariance of √N(h^N_t − h_t) to leading order, on the data and then at the extra inputs: two parts.

        A network of width N is N draws of a particle, and its SGD the flow with a noise: with the influence I(c, w)
        of a neuron on h_t and the response G(t, s) of h_t to the residuals at time s, both linearised about the flow,

            initial = Cov_{μ_0} I        sgd = ∫_0^t Cov_π[G_m(t, s) αe_m(s)] ds / batch

        `initial=False` and `sgd=False` switch a part off; `batch` as in `simulate`, None has no noise of SGD. Both hold
        for every ε > 0: as ε → 0 the initial part grows like ε^{−2}e^{−At}Σe^{−Aᵀt}, and in mean field these are the
        two sources of the central limit theorem. The limit starts at ε^{−1} E c · mean σ(w·x), which is 0 where
        E c = 0, so that the particles' own random start does not enter. Everything comes from reverse passes through a
        fixed Runge–Kutta grid, one for each time and point; `steps`, 4λ_max t but at least 32 unless
        given, is rounded up so that every gap between save times has an even number.

        What is missing is of relative order N^{−1/2}ε^{−1} and less, and for the loss a third derivative. In mean field
        with σ = sin + cos, α = 3 and c of 3 or −1, N times the variance of networks was up to 1.32 times the prediction
        at N = 128, 1.11 times at 256, and between 0.98 and 1.06 times at 512; 4096 particles leave standard errors of
        3% to 12% in the prediction there. Take wide networks where neurons move far.

        Raises ``ValueError`` for fewer than 16 particles, and at ε = 0 with `initial`, where that part is infinite;
        ``RuntimeError`` for a grid that is unstable. Source: references `mean_field`, `normalisation`; the influence
        functions are derived here.

            >>> import jax, jaxlimit as jl
            >>> problem = jl.Problem(jl.data.sphere(points=3, inputs=2), jl.networks.Shallow(jl.activations.Erf()))
            >>> found = jl.EpsilonFlow(problem, 1.0, 256, key=jax.random.key(0)).fluctuation([1.0])
            >>> found.initial.shape, bool((found.law.standard_deviation > 0.1).all())
            ((1, 3, 3), True)
        """
        require(self.epsilon > 0 or not initial, "initial", "be False at ε = 0", "the spread of h_0 grows like ε^{−1}")
        instance("initial", initial, bool), instance("sgd", sgd, bool)
        samples = None if batch is None else positive_integer("batch", batch)
        grid = None if steps is None else positive_integer("steps", steps)
        times = save_times(ts)
        population, _ = self._population(extra_points(self.problem.data, at), self.dtype)
        return fluctuation(population, self.epsilon, self._limit_start, times, initial, sgd, samples, grid)

    def _groups(self) -> "list[EpsilonFlow]":
        """The same flow with each group of its particles; ``ValueError`` for fewer than 16 of them."""
        size = group_size("particles", self.particles)
        return [self._part(k * size, size) for k in range(GROUPS)]

    def _part(self, first: int, size: int) -> "EpsilonFlow":
        """The same flow with some of its particles."""
        c, w = self.neurons
        chosen = Neurons(c[first : first + size], w[first : first + size])
        return eqx.tree_at(lambda flow: flow.neurons, self, chosen)

    def _population(self, at: Host | None, dtype: np.dtype) -> tuple[Particles, Host | None]:
        """The particles in this dtype on the data and on the checked extra points."""
        network: Shallow = self.problem.network  # type: ignore[assignment]
        return particles(self.problem, network, self.neurons, at, dtype)

    def _limit_start(self, population: Particles) -> Host:
        mean: float = self.problem.network.initial.c.mean  # type: ignore[attr-defined]
        if mean == 0.0:
            return np.zeros(len(population.x))
        require(self.epsilon > 0, "problem", "have E c = 0 at ε = 0 (h_0 grows like E c/ε)", f"E c = {mean:g}")
        return mean / self.epsilon * np.mean(np.asarray(population.features(), np.float64), axis=0)

    def _own_start(self, population: Particles) -> Host:
        require(self.epsilon > 0, "h0", "be given at ε = 0", "the particles' own ε^{−1} mean c σ has no limit there")
        mean = np.mean(np.asarray(population.c[:, None] * population.features(), np.float64), axis=0)
        return mean / self.epsilon

    def _starts(
        self, population: Particles, h0: ArrayLike | None, at: ArrayLike | None, h0_at: ArrayLike | None
    ) -> tuple[Host, tuple[int, ...]]:
        """Starts [paths, all], and their leading axes."""
        if h0 is None:
            require(h0_at is None, "h0_at", "be None where `h0` is", "it is given")
            return self._own_start(population)[None], ()
        start = joined_start(self.problem.data, h0, extra_points(self.problem.data, at), h0_at)
        return start.reshape(-1, start.shape[-1]), start.shape[:-1]

    def _solved(
        self,
        h0: ArrayLike | None,
        ts: ArrayLike,
        at: ArrayLike | None,
        h0_at: ArrayLike | None,
        dtype: np.dtype,
        tolerance: float,
    ) -> tuple[Float[Host, "*batch times points"], Int[Host, "*batch"]]:
        """Paths and the steps that they took."""
        times = save_times(ts)
        population, _ = self._population(extra_points(self.problem.data, at), dtype)
        starts, batch = self._starts(population, h0, at, h0_at)
        values, steps = self._run(population, starts, times, dtype, tolerance)
        return np.asarray(values).reshape(*batch, *values.shape[1:]), steps.reshape(batch)

    def _run(
        self,
        population: Particles,
        starts: Host,
        times: Host,
        dtype: np.dtype,
        tolerance: float,
        whole: bool = False,
    ) -> tuple[Any, Int[Host, " paths"]]:
        """What was asked for and the steps of every path; RuntimeError where the solver gave up."""
        values, finished, steps = solve(
            population,
            jnp.asarray(self.epsilon, dtype),
            jnp.asarray(starts, dtype),
            jnp.asarray(times, dtype),
            self.solver,
            tolerance,
            self.max_steps,
            whole,
        )
        require_finished(finished, times[-1], self.solver, tolerance, self.max_steps)
        return values, np.asarray(steps)
