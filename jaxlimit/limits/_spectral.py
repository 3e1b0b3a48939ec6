"""The linear limit solved exactly in the eigenbasis of its kernel."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import instance, save_times
from jaxlimit._numerics import UNIT, decay_integral
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.kernels import AbstractRule, Certificate, Gram, certify
from jaxlimit.limits._base import AbstractLimit, LinearKernel
from jaxlimit.losses import SquaredError
from jaxlimit.paths import GaussianPath
from jaxlimit.problem import Problem


class SpectralLimit(AbstractLimit):
    """The limit dh = A(ŷ − h)dt, h_0 ~ N(0, Σ), exactly, in float64 on the host.

    A_ij = α B(x_i, x_j) π_j is symmetric in the π-weighted inner product, so with S = Π^{1/2} αB Π^{1/2}
    = QΛQᵀ every answer is a sum of exponentials: E h_t = (I − e^{−At})ŷ and Cov h_t = e^{−At} Σ e^{−Aᵀt}.
    At a test point x, h_t(x) = h_0(x) + A_xD φ_t(A)(ŷ − h_0|D) with φ_t(s) = (1 − e^{−st})/s, which is t
    at s = 0: singular A is handled. For 1/2 < γ < 1 the limit is deterministic: h_0 = 0, covariance zero.

    `rule=None` takes the closed form of the kernel. Raises ``ValueError`` for a loss other than
    `SquaredError`, for γ = 1, for E c ≠ 0, or if the kernel needs a rule. The error against the exact
    solution is about 1e-15·√(π_max/π_min) plus the error of the kernel's entries (`gram.radius`) times t.
    Source: references `xavier`, `normalisation`.

        >>> import numpy as np, jaxlimit as jl
        >>> data = jl.Data([[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]], [1.0, -1.0, 0.5])
        >>> limit = jl.SpectralLimit(jl.Problem(data, jl.networks.Shallow(jl.activations.Erf(), jl.Initial())))
        >>> limit.law([2.0]).mean.round(9).tolist()
        [[0.092514072, -0.092514072, -0.077939454]]
    """

    kernel: LinearKernel
    eigenvalues: Float[Host, " points"]
    basis: Float[Host, "points points"] = eqx.field(repr=False)

    def __init__(self, problem: Problem, rule: AbstractRule | None = None):
        self.kernel = LinearKernel(problem, rule)
        instance("problem", problem.loss, SquaredError, "have the loss SquaredError (OdeLimit solves the others)")
        self.eigenvalues, self.basis = np.linalg.eigh(self.symmetric().value)

    def symmetric(self) -> Gram:
        """S = Π^{1/2} αB Π^{1/2}, similar to A, with the radius of its entries."""
        problem = self.kernel.problem
        if problem.learning_rate == 0:
            return Gram(np.zeros_like(self.kernel.gram.value))
        scaled = self.kernel.gram.scaled(np.sqrt(problem.learning_rate * problem.data.weights))
        # The factors themselves are rounded: the square root of a product of two numbers, on both sides.
        rounding = 4 * UNIT * np.abs(scaled.value)
        radius = rounding if scaled.radius is None else scaled.radius + rounding
        return Gram(scaled.value, radius, scaled.standard_error, scaled.assumptions, scaled.singular)

    @property
    def matrix(self) -> Float[Host, "points points"]:
        """A_ij = α B(x_i, x_j) π_j."""
        return self.kernel.drift()

    def certificate(self) -> Certificate:
        """Proof or disproof that A is positive definite, with a proved interval for λ_min(A)."""
        return certify(self.symmetric())

    def path(
        self, h0: ArrayLike, ts: ArrayLike, at: ArrayLike | None = None, h0_at: ArrayLike | None = None
    ) -> Float[Host, "*batch times points"]:
        """h_t from a given start h0 [*batch, points], with h0_at [*batch, extra] at the extra inputs.

        Returns [*batch, times, points + extra]. Started at a network's own h^N_0 this is the path the
        network follows as N grows.
        """
        extra = self.kernel.extra_points(at)
        start = self.kernel.start(h0, extra, h0_at)
        propagator, offset = self._flow(save_times(ts), extra)
        return np.einsum("tpq,...q->...tp", propagator, start, optimize=True) + offset

    def law(self, ts: ArrayLike, at: ArrayLike | None = None) -> GaussianPath:
        """Mean and covariance of h_t at each time, on the data and jointly on the extra inputs."""
        times, extra = save_times(ts), self.kernel.extra_points(at)
        propagator, offset = self._flow(times, extra)
        start = self.kernel.joint_covariance(extra)
        covariance = propagator @ start @ np.swapaxes(propagator, 1, 2)
        return GaussianPath(times, offset, 0.5 * (covariance + np.swapaxes(covariance, 1, 2)))

    def loss(self, ts: ArrayLike) -> Float[Host, " times"]:
        """E ½E_π(y − h_t)² under the law: half the π-average of squared bias plus variance."""
        law, data = self.law(ts), self.kernel.problem.data
        return 0.5 * ((data.y - law.mean) ** 2 + law.standard_deviation**2) @ data.weights

    def _flow(self, ts: Host, extra: Host | None) -> tuple[Host, Host]:
        """h_t = propagator_t h_0 + offset_t on data and extra points: [times, all, all], [times, all]."""
        root = np.sqrt(self.kernel.problem.data.weights)
        left, right = self.basis / root[:, None], (self.basis * root[:, None]).T
        decay = np.exp(-ts[:, None] * self.eigenvalues)
        on_data = (left * decay[:, None, :]) @ right  # e^{−At}
        if extra is None:
            return on_data, self.kernel.problem.data.y - on_data @ self.kernel.problem.data.y
        # φ_t(A) in the same basis; e^{−At} = I − Aφ_t(A) extends to the extra points through A_xD.
        integral = decay_integral(self.eigenvalues, ts[:, None])
        gain = self.kernel.cross_drift(extra) @ ((left * integral[:, None, :]) @ right)
        points, more = root.size, extra.shape[0]
        propagator = np.zeros((ts.size, points + more, points + more))
        propagator[:, :points, :points] = on_data
        propagator[:, points:, :points] = -gain
        propagator[:, points:, points:] = np.eye(more)
        y = self.kernel.problem.data.y
        return propagator, np.concatenate([y - on_data @ y, gain @ y], axis=1)
