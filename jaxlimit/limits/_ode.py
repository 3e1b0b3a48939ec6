"""The limit equation by a differential equation solver: the independent second solution."""

import math
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.lax import Precision
from jaxtyping import Array, Float, Int

from jaxlimit._arguments import (
    float_dtype,
    positive_integer,
    random_key,
    save_times,
)
from jaxlimit._numerics import symmetric_square_root
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.kernels import AbstractRule
from jaxlimit.limits._base import AbstractKernelLimit, LinearKernel
from jaxlimit.limits._integrate import (
    X64,
    chosen_solver,
    chosen_tolerance,
    finer_tolerance,
    integrate,
    require_finished,
    widest,
)
from jaxlimit.limits._spectral import SpectralLimit
from jaxlimit.losses import AbstractLoss, SquaredError
from jaxlimit.paths import Draws, Samples
from jaxlimit.problem import Problem


class OdeSolution(eqx.Module):
    """Paths `values` [*batch, times, points + extra] and their achieved `error` [*batch, times].

    `error` is the largest difference from `reference` over the points at that time: for `SquaredError` from the exact
    solution, for other losses from a second, finer solve of the same equation. The first is the true error up to
    rounding, the second an estimate of it. `steps` [*batch] counts the solver's steps, rejected ones included; that
    every path was finished is the solver's own verdict, and an exception where it was not. `stated` is the bound
    promised beforehand, `OdeLimit.error` times max(1, |h|).
    """

    ts: Float[Host, " times"]
    values: Float[Host, "*batch times points"]
    error: Float[Host, "*batch times"]
    steps: Int[Host, "*batch"]
    stated: float = eqx.field(static=True)
    reference: str = eqx.field(static=True)
    solver: str = eqx.field(static=True)


class OdeLimit(AbstractKernelLimit):
    """The limit dh/dt = −αBΠ ∂ℓ/∂g(h, ŷ) by diffrax, for any loss; with `SquaredError`, A(ŷ − h).

    Tsit5 with an adaptive step unless another diffrax solver is given. Explicit steps are bounded by
    stability to about 3.3/λ_max(A), so λ_max·t up to 10⁵ is cheap; for stiffer kernels give
    ``diffrax.Kvaerno5()`` (in float32 its steps may collapse on mild ones, which is then reported).
    `tolerance` is the relative and absolute tolerance per step, 1e-5 in float32 and 1e-9 in float64 by
    default; the global error stays within 100 times that (tested against the exact solution). float64
    needs the x64 flag. Every solve checks the solver's own verdict and raises ``RuntimeError`` if it
    gave up. With the rule `MonteCarlo`, `standard_error` gives what the draws of the kernel add to any answer.
    Source: references `xavier`, `diffrax`.

        >>> import numpy as np, jaxlimit as jl
        >>> data = jl.Data([[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]], [1.0, -1.0, 0.5])
        >>> problem = jl.Problem(data, jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
        >>> [round(float(h), 3) for h in jl.OdeLimit(problem).path(np.zeros(3), [0.0, 2.0])[1]]
        [0.093, -0.093, -0.078]
    """

    kernel: LinearKernel
    dtype: np.dtype = eqx.field(static=True)
    tolerance: float = eqx.field(static=True)
    solver: diffrax.AbstractSolver
    max_steps: int = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        rule: AbstractRule | None = None,
        dtype: np.dtype | type = jnp.float32,
        tolerance: float | None = None,
        solver: diffrax.AbstractSolver | None = None,
        max_steps: int = 100_000,
    ):
        self.kernel = LinearKernel(problem, rule)
        self.dtype = float_dtype(dtype)
        self.tolerance, self.solver = chosen_tolerance(tolerance, self.dtype), chosen_solver(solver)
        self.max_steps = positive_integer("max_steps", max_steps)

    def with_rule(self, rule: AbstractRule | None) -> "OdeLimit":
        """The same limit with another rule for its kernel."""
        return OdeLimit(self.kernel.problem, rule, self.dtype, self.tolerance, self.solver, self.max_steps)

    @property
    def error(self) -> float:
        """Stated bound of the global error, relative to max(1, |h|): 100 times the tolerance."""
        return 100.0 * self.tolerance

    def path(
        self, h0: ArrayLike, ts: ArrayLike, at: ArrayLike | None = None, h0_at: ArrayLike | None = None
    ) -> Float[Host, "*batch times points"]:
        """h_t from a given start h0 [*batch, points], with h0_at [*batch, extra] at the extra inputs.

        Returns a NumPy array [*batch, times, points + extra] in this limit's dtype.
        """
        return self._solved(h0, ts, at, h0_at, self.dtype, self.tolerance)[0]

    def solve(
        self, h0: ArrayLike, ts: ArrayLike, at: ArrayLike | None = None, h0_at: ArrayLike | None = None
    ) -> OdeSolution:
        """`path` with the error that it achieved, computed and not assumed, and the number of steps.

        The error is max over the points of |h_t − reference|. The reference is `SpectralLimit` for `SquaredError`. For
        any other loss it is a second solve at a tolerance 100 times smaller, in float64 where the x64 flag is set;
        without it float32 cannot go below 10 of its units, and `reference` says what was done.
        Raises ``RuntimeError`` where a solve gave up, as `path` does.

            >>> import numpy as np, jaxlimit as jl
            >>> data = jl.Data([[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]], [1.0, -1.0, 0.5])
            >>> ode = jl.OdeLimit(jl.Problem(data, jl.networks.Shallow(jl.activations.Erf(), jl.Initial())))
            >>> solution = ode.solve(np.zeros(3), [0.0, 2.0])
            >>> solution.reference, bool(np.all(solution.error <= solution.stated))
            ('the exact solution', True)
        """
        values, steps = self._solved(h0, ts, at, h0_at, self.dtype, self.tolerance)
        if isinstance(self.kernel.problem.loss, SquaredError):
            exact = SpectralLimit(self.kernel.problem, self.kernel.rule).path(h0, ts, at, h0_at)
            reference = "the exact solution"
        else:
            wide = widest(self.dtype)
            finer = finer_tolerance(self.tolerance, wide, X64)
            exact, _ = self._solved(h0, ts, at, h0_at, wide, finer)
            reference = f"a second solve at tolerance {finer:.2g} in {wide.name}"
        error = np.max(np.abs(np.asarray(values, np.float64) - np.asarray(exact, np.float64)), axis=-1)
        stated = self.error * max(1.0, float(np.max(np.abs(exact), initial=0.0)))
        name = type(self.solver).__name__
        return OdeSolution(save_times(ts), values, error, steps, stated, reference, name)

    def _solved(
        self,
        h0: ArrayLike,
        ts: ArrayLike,
        at: ArrayLike | None,
        h0_at: ArrayLike | None,
        dtype: np.dtype,
        tolerance: float,
    ) -> tuple[Float[Host, "*batch times points"], Int[Host, "*batch"]]:
        """Paths and the steps that they took."""
        extra = self.kernel.extra_points(at)
        start = self.kernel.start(h0, extra, h0_at)
        times = save_times(ts)
        drift = self.kernel.drift()
        if extra is not None:
            drift = np.concatenate([drift, self.kernel.cross_drift(extra)])
        flat = jnp.asarray(start.reshape(-1, start.shape[-1]), dtype)
        arrays = (jnp.asarray(drift, dtype), jnp.asarray(self.kernel.problem.data.y, dtype))
        values, finished, steps = _solve(
            flat,
            jnp.asarray(times, dtype),
            *arrays,
            self.kernel.problem.loss,
            self.solver,
            tolerance,
            self.max_steps,
        )
        require_finished(finished, times[-1], self.solver, tolerance, self.max_steps)
        batch = start.shape[:-1]
        return np.asarray(values).reshape(*batch, times.size, start.shape[-1]), np.asarray(steps).reshape(batch)

    def sample(self, ts: ArrayLike, replicas: int, key: RandomKey, at: ArrayLike | None = None) -> Samples:
        """Independent paths with h_0 ~ N(0, Σ) (h_0 = 0 for γ > 1/2), on the data and then at the extra inputs.

        What `compare_samples` sets against `simulate` where the law is not Gaussian, at the replicas of both. `error`
        is the stated bound of the solver's, `OdeLimit.error` times max(1, |h|) over a path's points; `width` is ∞
        and `steps` are 0. With the rule `MonteCarlo` the samples come with repeats, the same normals with other
        draws of the kernel: 17 solutions instead of one. Raises ``RuntimeError`` as `path`.

            >>> import jax, jaxlimit as jl
            >>> problem = jl.Problem(
            ...     jl.data.sphere(points=3, inputs=2), jl.networks.Shallow(jl.activations.Erf()), loss=jl.Huber(0.5)
            ... )
            >>> samples = jl.simulate(problem, 128, [0.0, 1.0], replicas=300, key=jax.random.key(0))
            >>> paths = jl.OdeLimit(problem).sample([0.0, 1.0], 1000, jax.random.key(1))
            >>> found = jl.statistics.compare_samples(samples, paths, jl.statistics.EnergyDistance())
            >>> bool((found.p_value > 0.001).all())
            True
        """
        count, stream = positive_integer("replicas", replicas), random_key(key)
        first, *repeats = (limit._sample(ts, count, stream, at) for limit in (self, *self.repeats()))
        return eqx.tree_at(lambda samples: samples.repeats, first, tuple(repeats)) if repeats else first

    def _sample(self, ts: ArrayLike, count: int, key: RandomKey, at: ArrayLike | None) -> Samples:
        """`sample` from these draws of the kernel alone."""
        extra, size = self.kernel.extra_points(at), self.kernel.problem.data.points
        # Eigenvectors have free signs, and turn where eigenvalues are equal: the same normals would not couple repeats.
        root = symmetric_square_root(self.kernel.joint_covariance(extra))
        normal = jax.random.normal(key, (count, len(root)), jnp.float32)
        start = np.asarray(normal, np.float64) @ root
        values = self.path(start[:, :size], ts, extra, None if extra is None else start[:, size:])
        times = save_times(ts)
        largest = np.max(np.abs(np.asarray(values, np.float64)), axis=2)
        return Samples(
            ts=times,
            values=values,
            observed=None,
            steps=np.zeros(times.size, int),
            diverged_at=np.full(count, -1),
            method=type(self).__name__,
            width=math.inf,
            lanes=count,
            error=self.error * np.maximum(1.0, largest),
            draws=Draws.of("OdeLimit.sample", key, range(count)),
        )


@eqx.filter_jit
def _solve(
    h0: Float[Array, "paths all"],
    ts: Float[Array, " times"],
    drift: Float[Array, "all points"],
    y: Float[Array, " points"],
    loss: AbstractLoss,
    solver: diffrax.AbstractSolver,
    tolerance: float,
    max_steps: int,
) -> tuple[Float[Array, "paths times all"], Array, Array]:
    def field(t: Any, h: Array, args: Any) -> Array:
        # At full precision: an accelerator's short products would show as a distance from the limit.
        return jnp.matmul(-drift, loss.derivative(h[: y.size], y), precision=Precision.HIGHEST)

    def one(start: Array) -> tuple[Array, Array, Array]:
        controller = diffrax.PIDController(rtol=tolerance, atol=tolerance)
        return integrate(field, start, ts, solver, controller, max_steps)

    return jax.vmap(one)(h0)
