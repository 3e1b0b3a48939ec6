"""The mean-field limit as a system of particles, with its law of large numbers and its central limit theorem."""

import diffrax
import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import instance, require
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.limits._base import AbstractLimit
from jaxlimit.limits._epsilon_flow import EpsilonFlow
from jaxlimit.limits._groups import group_size
from jaxlimit.limits._influence import Fluctuation
from jaxlimit.networks import Neurons
from jaxlimit.paths import GaussianPath
from jaxlimit.problem import Problem
from jaxlimit.scalings import PowerScaling


class MeanFieldSolution(eqx.Module):
    """The limit `values` [times, points] of the output, and how far finitely many particles and the solver leave it.

    `error` [times, points] is the standard error from the particles, estimated from 8 disjoint groups of them, each
    from its own start; `solver_error` [times] the largest difference over the points from a second, finer solve for
    the same particles.
    """

    ts: Float[Host, " times"]
    values: Float[Host, "times points"]
    error: Float[Host, "times points"]
    solver_error: Float[Host, " times"]
    particles: int = eqx.field(static=True)


class MeanFieldLimit(AbstractLimit):
    """The limit at γ = 1: the law μ_t of a neuron, by particles that train under the population gradient.

        dc = αE_π[e σ(w·x)] dt,    dw = αE_π[e c σ'(w·x) x] dt,    e = −∂ℓ/∂g(g_t, y),    g_t = ⟨c σ(w·x), μ_t⟩

    are the characteristics of ∂_t μ = −div(μ v). g^N_t → g_t with errors of order N^{−1/2}, from the sample of the
    start and from SGD, whose law is that of `fluctuation`. The limit starts at g_0 = E c · E σ(w·x), which is 0 where
    E c = 0: the part E σ is the particles' mean, and their own chance fluctuation of c does not enter,
    g_t = g_0 + mean_i(c_i σ(w_i·x) at t − at 0). What is left is of order particles^{−1/2}: `solve` says how much.

    It is `EpsilonFlow` at ε = 1, whose other arguments these are. Raises ``ValueError`` unless the problem's scaling is
    `MeanField()` and its network `Shallow`; ``RuntimeError`` where the solver gives up. Source: references
    `mean_field`.

        >>> import jax, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> problem = jl.Problem(jl.data.sphere(points=3, inputs=2), network, scaling=jl.MeanField())
        >>> limit = jl.MeanFieldLimit(problem, 512, key=jax.random.key(0))
        >>> solution = limit.solve([0.0, 1.0])
        >>> solution.values.shape, bool((solution.error[1] < 0.05).all())
        ((2, 3), True)
    """

    flow: EpsilonFlow

    def __init__(
        self,
        problem: Problem,
        particles: int = 4096,
        *,
        key: RandomKey,
        dtype: np.dtype | type = jnp.float32,
        tolerance: float | None = None,
        solver: diffrax.AbstractSolver | None = None,
        max_steps: int = 100_000,
    ):
        scaling = instance("problem", problem, Problem).scaling
        mean_field = isinstance(scaling, PowerScaling) and scaling.gamma == 1.0
        require(mean_field, "problem", "have the scaling MeanField() for this limit", f"its scaling is {scaling}")
        self.flow = EpsilonFlow(
            problem,
            1.0,
            particles,
            key=key,
            dtype=dtype,
            tolerance=tolerance,
            solver=solver,
            max_steps=max_steps,
        )

    def start(self, at: ArrayLike | None = None) -> Float[Host, " all"]:
        """g_0 = E c · mean_i σ(w_i·x) on the data and then at the extra inputs: 0 where E c = 0."""
        return self.flow.limit_start(at)

    def path(
        self,
        h0: ArrayLike | None,
        ts: ArrayLike,
        at: ArrayLike | None = None,
        h0_at: ArrayLike | None = None,
    ) -> Float[Host, "*batch times points"]:
        """g_t from a given start h0 [*batch, points], with h0_at [*batch, extra] at the extra inputs; None is `start`.

        Returns [*batch, times, points + extra]: the particles' own movement is added to the start.
        """
        return self.flow.path(*self._given(h0, at, h0_at, ts))

    def law(self, ts: ArrayLike, at: ArrayLike | None = None) -> GaussianPath:
        """g_t on the data and then at the extra inputs, deterministic, with repeats: see `EpsilonFlow.law`."""
        return self.flow.law(ts, at)

    def solve(self, ts: ArrayLike, at: ArrayLike | None = None) -> MeanFieldSolution:
        """`law` with the errors that it has, the particles' and the solver's.

        Where E c ≠ 0 the start E c · mean_i σ(w_i·x) is a mean over the particles too, so the error at t = 0 is not
        zero. Raises ``ValueError`` for fewer than 16 particles, and for a tolerance without room for a finer solve.
        """
        group_size("particles", self.flow.particles)
        solution = self.flow.solve(*self._given(None, at, None, ts))
        error = self.law(ts, at).mean_standard_error
        return MeanFieldSolution(solution.ts, solution.values, error, solution.error, self.flow.particles)

    def particles(self, ts: ArrayLike) -> Neurons:
        """A sample of μ_t at these times: c [times, particles] and w [times, particles, inputs], float64 NumPy arrays.

        The same particles at all times, in original coordinates: for distances of μ_t to μ_0.
        """
        return self.flow.trajectories(*self._given(None, None, None, ts))

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
        """The central limit theorem: the covariance of √N(g^N_t − g_t), its two sources apart.

        See `EpsilonFlow.fluctuation`. Source: references `mean_field`.
        """
        return self.flow.fluctuation(ts, at, initial=initial, sgd=sgd, batch=batch, steps=steps)

    def finite_width(
        self,
        ts: ArrayLike,
        width: int,
        at: ArrayLike | None = None,
        *,
        batch: int | None = 1,
        steps: int | None = None,
    ) -> GaussianPath:
        """The law of g^N_t at width N to leading order: mean g_t, and the covariance of `fluctuation` over N.

        The mean of g^N_t itself differs from g_t by what is of order 1/N. See `EpsilonFlow.finite_width`, also for how
        many particles it takes.
        """
        return self.flow.finite_width(ts, width, at, batch=batch, steps=steps)

    def _given(
        self, h0: ArrayLike | None, at: ArrayLike | None, h0_at: ArrayLike | None, ts: ArrayLike
    ) -> tuple[ArrayLike, ArrayLike, ArrayLike | None, ArrayLike | None]:
        """Arguments of the flow's `path`, with the limit's start where none is given."""
        if h0 is not None:
            return h0, ts, at, h0_at
        require(h0_at is None, "h0_at", "be None where `h0` is", "it is given")
        points, start = self.flow.problem.data.points, self.start(at)
        return start[:points], ts, at, None if at is None else start[points:]
