"""The linear limit of many data points, without an eigendecomposition: Lanczos' exponential."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import instance, natural_number, positive_integer, positive_number, require, save_times
from jaxlimit._arguments import items as members
from jaxlimit._numerics import UNIT
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.kernels import AbstractRule, initial_covariance
from jaxlimit.limits._base import AbstractKernelLimit, LinearKernel
from jaxlimit.limits._lanczos import Actions, exponential_actions
from jaxlimit.losses import SquaredError
from jaxlimit.paths import GaussianPath
from jaxlimit.problem import Problem

ROOM = 2.0**28
"""Bytes for the Krylov spaces of the starts that are taken together."""


class KrylovSolution(eqx.Module):
    """Paths `values` [*batch, times, points + extra] with a bound `error` [*batch, times] for each, and how it was met.

    The bound is on the norm √E_π|·|² over the data; at one point p of the data divide it by √π_p. At an extra
    point x multiply it by t and by α(E_π B(x, ·)²)^{1/2}. `dimension` [*batch] is that of the Krylov spaces.
    """

    ts: Float[Host, " times"]
    values: Float[Host, "*batch times points"]
    error: Float[Host, "*batch times"]
    dimension: Float[Host, "*batch"]


class KrylovLimit(AbstractKernelLimit):
    """The limit dh = A(ŷ − h)dt, h_0 ~ N(0, Σ), for thousands of data points, in float64 on the host.

    S = Π^{1/2} αB Π^{1/2} is symmetric and similar to A; e^{−St}v and φ_t(S)v are taken in the Krylov space of S and
    v by Lanczos' method with full reorthogonalisation: k products with S, 2kn² operations, where the
    eigendecomposition of `SpectralLimit` takes about 9n³. E h_t needs one space, a path one, and a covariance one for
    each chosen point. The space grows until a bound of the error, which holds for every S ⪰ 0 and is computed along
    with the answer, is within `tolerance` times the norm of the start; beyond `max_dimension` a ``RuntimeError`` says
    so. k grows like √(λ_max t), and needs no gap in the spectrum: singular A is no special case.

    With the rule `MonteCarlo` laws carry their standard error, and `standard_error` gives that of every other answer.
    Memory is about 32n² bytes (B and Σ with their radii), 3.2 GB at 10,000 points. Refuses what `SpectralLimit`
    refuses. Source: references `xavier`, `lanczos`.

        >>> import numpy as np, jaxlimit as jl
        >>> data = jl.Data([[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]], [1.0, -1.0, 0.5])
        >>> limit = jl.KrylovLimit(jl.Problem(data, jl.networks.Shallow(jl.activations.Erf(), jl.Initial())))
        >>> limit.law([2.0], points=[0, 2]).mean.round(9).tolist()
        [[0.092514072, -0.077939454]]
    """

    kernel: LinearKernel
    tolerance: float = eqx.field(static=True)
    max_dimension: int = eqx.field(static=True)

    def __init__(
        self,
        problem: Problem,
        rule: AbstractRule | None = None,
        tolerance: float = 1e-10,
        max_dimension: int = 300,
    ):
        self.kernel = LinearKernel(problem, rule)
        instance("problem", problem.loss, SquaredError, "have the loss SquaredError (OdeLimit solves the others)")
        self.tolerance = positive_number("tolerance", tolerance)
        require(1e-13 <= self.tolerance < 1, "tolerance", "lie between 1e-13 and 1", f"it is {self.tolerance:g}")
        self.max_dimension = positive_integer("max_dimension", max_dimension)

    def with_rule(self, rule: AbstractRule | None) -> "KrylovLimit":
        """The same limit with another rule for its kernel."""
        return KrylovLimit(self.kernel.problem, rule, self.tolerance, self.max_dimension)

    def path(
        self, h0: ArrayLike, ts: ArrayLike, at: ArrayLike | None = None, h0_at: ArrayLike | None = None
    ) -> Float[Host, "*batch times points"]:
        """h_t from a given start h0 [*batch, points], with h0_at [*batch, extra] at the extra inputs.

        Returns [*batch, times, points + extra]; `solve` returns the bound of its error as well.
        """
        return self.solve(h0, ts, at, h0_at).values

    def solve(
        self, h0: ArrayLike, ts: ArrayLike, at: ArrayLike | None = None, h0_at: ArrayLike | None = None
    ) -> KrylovSolution:
        """`path` with the bound of its error and the dimensions that it took. Raises ``RuntimeError`` as the class."""
        extra, times = self.kernel.extra_points(at), save_times(ts)
        start = self.kernel.start(h0, extra, h0_at)
        data = self.kernel.problem.data
        root, batch = np.sqrt(data.weights), start.shape[:-1]
        flat = start.reshape(-1, start.shape[-1])
        values = np.empty((len(flat), times.size, start.shape[-1]))
        errors, dimensions = np.empty((len(flat), times.size)), np.empty(len(flat), int)
        cross = None if extra is None else self.kernel.cross_drift(extra) / root
        gap = root[:, None] * (flat[:, : data.points] - data.y).T
        for part, actions in self._actions(gap, times):
            moved = np.moveaxis(actions.decay, 2, 0) / root + data.y
            values[part, :, : data.points] = moved
            if cross is not None:
                values[part, :, data.points :] = flat[part, None, data.points :] - (
                    np.moveaxis(actions.integral, 2, 0) @ cross.T
                )
            # h − ŷ is what is small; h itself is rounded where it is put together.
            rounding = 4 * UNIT * (np.linalg.norm(root * data.y) + np.linalg.norm(gap[:, part], axis=0))
            errors[part], dimensions[part] = actions.bound.T + rounding[:, None], actions.dimension
        return KrylovSolution(
            times,
            values.reshape(*batch, *values.shape[1:]),
            errors.reshape(*batch, times.size),
            dimensions.reshape(batch),
        )

    def law(self, ts: ArrayLike, points: ArrayLike = (), at: ArrayLike | None = None) -> GaussianPath:
        """Mean and covariance of h_t at chosen points: the data points of these numbers, then the extra inputs.

        h_t(p) is linear in h_0 through u_t = e^{−Aᵀt}e_p, so Cov = uᵀΣu: one Krylov space for each point, never an
        n×n matrix for each time. Error: the mean at a data point is within tolerance·|ŷ|_π/√π_p, and the standard
        deviation within tolerance·√(λ_max(Π^{1/2}ΣΠ^{1/2})/π_p), λ_max ≤ E_π Σ(x, x); at an extra point
        1/√π_p becomes t·α(E_π B(x, ·)²)^{1/2}. With the rule `MonteCarlo` the law comes with repeats, hence with
        standard errors: 17 solutions instead of one. Raises ``ValueError`` if no point is chosen.
        """
        return self.carrying(lambda limit: limit._law(ts, points, at))

    def _law(self, ts: ArrayLike, points: ArrayLike, at: ArrayLike | None) -> GaussianPath:
        """`law` of these draws of the kernel alone."""
        times, extra = save_times(ts), self.kernel.extra_points(at)
        data, size = self.kernel.problem.data, self.kernel.problem.data.points
        chosen = np.array([natural_number("points", p) for p in members("points", points, "point numbers")], int)
        require(bool(np.all(chosen < size)), "points", f"hold numbers below {size}", f"it is {chosen.tolist()}")
        total = chosen.size + (0 if extra is None else len(extra))
        require(total > 0, "points", "name a data point, or `at` an input", "both are empty")
        root = np.sqrt(data.weights)
        zero = None if extra is None else np.zeros(len(extra))
        whole = self.path(np.zeros(size), times, extra, zero)
        mean = np.concatenate([whole[:, chosen], whole[:, size:]], axis=1)
        covariance = np.zeros((times.size, total, total))
        if not self.kernel.random_start:
            return GaussianPath(times, mean, covariance)
        starts = np.zeros((size, total))
        starts[chosen, np.arange(chosen.size)] = 1.0 / root[chosen]
        if extra is not None:
            starts[:, chosen.size :] = self.kernel.cross_drift(extra).T / root[:, None]
        u = np.empty((times.size, size, total))
        for part, actions in self._actions(starts, times):
            on_data = np.arange(total)[part] < chosen.size
            u[:, :, part] = root[:, None] * np.where(on_data, actions.decay, -actions.integral)
        start = self.kernel.covariance.value
        if extra is not None:
            network, rule = self.kernel.network, self.kernel.rule
            mixed = initial_covariance(network, extra, data.x, rule=rule).value
            own = initial_covariance(network, extra, rule=rule).value
        for i in range(times.size):
            found = u[i].T @ (start @ u[i])
            if extra is not None:
                there = u[i].T @ mixed.T
                found[:, chosen.size :] += there
                found[chosen.size :] += there.T
                found[chosen.size :, chosen.size :] += own
            covariance[i] = 0.5 * (found + found.T)
        return GaussianPath(times, mean, covariance)

    def _actions(self, starts: Host, ts: Host) -> list[tuple[slice, Actions]]:
        """Those of all starts, as many at a time as there is room for."""
        problem, gram = self.kernel.problem, self.kernel.gram.value
        root = np.sqrt(problem.learning_rate * problem.data.weights)[:, None]
        size, count = starts.shape
        together = max(1, int(ROOM / (8.0 * size * min(size, self.max_dimension))))
        found = []
        for first in range(0, count, together):
            part = slice(first, min(count, first + together))
            actions = exponential_actions(
                lambda v: root * (gram @ (root * v)), starts[:, part], ts, self.tolerance, self.max_dimension
            )
            if actions is None:
                raise RuntimeError(
                    f"A Krylov space of dimension {self.max_dimension} does not reach the tolerance "
                    f"{self.tolerance:g} at t = {ts[-1]:g}: raise `max_dimension` or `tolerance`, ask for smaller "
                    "times, or use SpectralLimit."
                )
            found.append((part, actions))
        return found
