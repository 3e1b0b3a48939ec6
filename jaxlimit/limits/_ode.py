"""The limit equation by a differential equation solver: the independent second solution."""

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlimit._arguments import (
    float_dtype,
    instance,
    positive_integer,
    positive_number,
    random_key,
    require,
    save_times,
)
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.kernels import AbstractRule
from jaxlimit.limits._base import AbstractLimit, LinearKernel
from jaxlimit.losses import AbstractLoss
from jaxlimit.problem import Problem


class OdeLimit(AbstractLimit):
    """The limit dh/dt = −αBΠ ∂ℓ/∂g(h, ŷ) by diffrax, for any loss; with `SquaredError`, A(ŷ − h).

    Tsit5 with an adaptive step unless another diffrax solver is given. Explicit steps are bounded by
    stability to about 3.3/λ_max(A), so λ_max·t up to 10⁵ is cheap; for stiffer kernels give
    ``diffrax.Kvaerno5()`` (in float32 its steps may collapse on mild ones, which is then reported).
    `tolerance` is the relative and absolute tolerance per step, 1e-5 in float32 and 1e-9 in float64 by
    default; the global error stays within 100 times that (tested against the exact solution). float64
    needs the x64 flag. Every solve checks the solver's own verdict and raises ``RuntimeError`` if it
    gave up.
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
        default = 1e-9 if self.dtype == np.float64 else 1e-5
        self.tolerance = default if tolerance is None else positive_number("tolerance", tolerance)
        require(self.tolerance < 1, "tolerance", "lie between 0 and 1", f"it is {self.tolerance:g}")
        chosen = diffrax.Tsit5() if solver is None else solver
        self.solver = instance("solver", chosen, diffrax.AbstractSolver, "be a diffrax solver")
        self.max_steps = positive_integer("max_steps", max_steps)

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
        extra = self.kernel.extra_points(at)
        start = self.kernel.start(h0, extra, h0_at)
        times = save_times(ts)
        drift = self.kernel.drift()
        if extra is not None:
            drift = np.concatenate([drift, self.kernel.cross_drift(extra)])
        flat = jnp.asarray(start.reshape(-1, start.shape[-1]), self.dtype)
        arrays = (jnp.asarray(drift, self.dtype), jnp.asarray(self.kernel.problem.data.y, self.dtype))
        values, finished = _solve(
            flat,
            jnp.asarray(times, self.dtype),
            *arrays,
            self.kernel.problem.loss,
            self.solver,
            self.tolerance,
            self.max_steps,
        )
        failed = int(np.sum(~np.asarray(finished)))
        if failed:
            raise RuntimeError(
                f"The solver gave up on {failed} of {flat.shape[0]} paths before t = {times[-1]:g}: "
                f"raise `max_steps` (now {self.max_steps}) or `tolerance` (now {self.tolerance:g}), or choose another "
                f"`solver` (now {type(self.solver).__name__})."
            )
        return np.asarray(values).reshape(*start.shape[:-1], times.size, start.shape[-1])

    def sample(self, ts: ArrayLike, replicas: int, key: RandomKey) -> Float[Host, "replicas times points"]:
        """Independent paths with h_0 ~ N(0, Σ) (h_0 = 0 for γ > 1/2)."""
        count = positive_integer("replicas", replicas)
        values, vectors = np.linalg.eigh(self.kernel.joint_covariance(None))
        normal = jax.random.normal(random_key(key), (count, values.size), jnp.float32)
        return self.path(np.asarray(normal, np.float64) @ (vectors * np.sqrt(np.maximum(values, 0.0))).T, ts)


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
) -> tuple[Float[Array, "paths times all"], Array]:
    def field(t: Any, h: Array, args: Any) -> Array:
        return -drift @ loss.derivative(h[: y.size], y)

    def one(start: Array) -> tuple[Array, Array]:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(field),
            solver,
            t0=jnp.zeros((), ts.dtype),
            # A positive end even when only t = 0 is asked for; saved values do not depend on it.
            t1=jnp.maximum(ts[-1], jnp.finfo(ts.dtype).eps),
            dt0=None,
            y0=start,
            saveat=diffrax.SaveAt(ts=ts),
            stepsize_controller=diffrax.PIDController(rtol=tolerance, atol=tolerance),
            max_steps=max_steps,
            throw=False,
        )
        return solution.ys, solution.result == diffrax.RESULTS.successful

    return jax.vmap(one)(h0)
