"""The linear limit solved exactly in the eigenbasis of its kernel."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import instance, positive_integer, random_key, require, save_times
from jaxlimit._numerics import UNIT, decay_integral, square_root
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.kernels import AbstractRule, Certificate, Gram, certify
from jaxlimit.limits._base import AbstractKernelLimit, LinearKernel
from jaxlimit.limits._path_error import FiniteWidthError, Modes, kernel_fluctuation, sampling_noise
from jaxlimit.losses import SquaredError
from jaxlimit.paths import GaussianPath
from jaxlimit.problem import Problem


class SpectralLimit(AbstractKernelLimit):
    """The limit dh = A(ŷ − h)dt, h_0 ~ N(0, Σ), exactly, in float64 on the host.

    A_ij = α B(x_i, x_j) π_j is symmetric in the π-weighted inner product, so with S = Π^{1/2} αB Π^{1/2}
    = QΛQᵀ every answer is a sum of exponentials: E h_t = (I − e^{−At})ŷ and Cov h_t = e^{−At} Σ e^{−Aᵀt}.
    At a test point x, h_t(x) = h_0(x) + A_xD φ_t(A)(ŷ − h_0|D) with φ_t(s) = (1 − e^{−st})/s, which is t
    at s = 0: singular A is handled. For 1/2 < γ < 1 the limit is deterministic: h_0 = 0, covariance zero.

    `rule=None` takes the closed form of the kernel. Raises ``ValueError`` for a loss other than
    `SquaredError`, for γ = 1, for E c ≠ 0, or if the kernel needs a rule. The error against the exact
    solution is about 1e-15·√(π_max/π_min) plus the error of the kernel's entries (`gram.radius`) times t. With the rule
    `MonteCarlo` laws carry their standard error, and `standard_error` gives that of every other answer.
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

    def with_rule(self, rule: AbstractRule | None) -> "SpectralLimit":
        """The same limit with another rule for its kernel."""
        return SpectralLimit(self.kernel.problem, rule)

    def symmetric(self) -> Gram:
        """S = Π^{1/2} αB Π^{1/2}, similar to A, with the radius of its entries."""
        problem = self.kernel.problem
        if problem.learning_rate == 0:
            return Gram(np.zeros_like(self.kernel.gram.value))
        scaled = self.kernel.gram.scaled(np.sqrt(problem.learning_rate * problem.data.weights))
        # The factors themselves are rounded: the square root of a product of two numbers, on both sides.
        rounding = 4 * UNIT * np.abs(scaled.value)
        radius = rounding if scaled.radius is None else scaled.radius + rounding
        known = scaled.assumptions, scaled.singular, scaled.semidefinite
        return Gram(scaled.value, radius, scaled.standard_error, *known)

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
        network follows as N grows; `moments` are then its mean and covariance.
        """
        extra, times = self.kernel.extra_points(at), save_times(ts)
        start = self.kernel.start(h0, extra, h0_at)
        right, parts = self._flow(times, extra)
        y = self.kernel.problem.data.y
        rest = [y, start[..., None, y.size :]]
        gap = (start[..., : y.size] - y) @ right
        moved = [_from_basis(gap, *part) for part in parts]
        for part, offset in zip(moved, rest, strict=False):
            part += offset
        return moved[0] if extra is None else np.concatenate(moved, axis=-1)

    def law(self, ts: ArrayLike, at: ArrayLike | None = None) -> GaussianPath:
        """Mean and covariance of h_t at each time, on the data and jointly on the extra inputs.

        With the rule `MonteCarlo` the law comes with repeats, hence with `mean_standard_error` and
        `covariance_standard_error`: 17 solutions instead of one.
        """
        return self.carrying(lambda limit: limit._moments(ts, at, None))

    def moments(self, ts: ArrayLike, width: int, at: ArrayLike | None = None) -> GaussianPath:
        """Mean and covariance of `path` started at the own h_0 of networks of this width N, exact at every width.

        Neurons are independent and E c = 0, so E h^N_0 = 0 and Cov h^N_0 = N^{1−2γ}Σ, and a linear
        equation carries both:

            mean = (I − e^{−At})ŷ,    covariance = N^{1−2γ} e^{−At} Σ e^{−Aᵀt}

        on the data, and jointly on the extra inputs. The third and higher moments are those of a
        Gaussian only as N → ∞; at γ = 1/2 this is `law(ts)` for every N. It is what
        `statistics.controlled_moments` needs to know of such paths. For the errors see the class; draws
        of h^N_0 itself are float32. Raises ``ValueError`` for a width that is no positive integer.
        Source: references `xavier`, `normalisation`.

            >>> import numpy as np, jaxlimit as jl
            >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
            >>> problem = jl.Problem(jl.Data([[1.0, 0.0]], [1.0]), network, scaling=jl.PowerScaling(0.75))
            >>> limit = jl.SpectralLimit(problem)
            >>> wide, wider = (limit.moments([1.0], width).covariance.item() for width in (100, 400))
            >>> round(wide / wider, 12), limit.law([1.0]).covariance.item()
            (2.0, 0.0)
        """
        size = positive_integer("width", width)
        return self.carrying(lambda limit: limit._moments(ts, at, size))

    def path_error(
        self,
        ts: ArrayLike,
        width: int,
        *,
        key: RandomKey,
        batch: int | None = 1,
        neurons: int = 4096,
        at: ArrayLike | None = None,
    ) -> FiniteWidthError:
        """Predicted covariance of h^N_t − h_t, both started at the network's own h_0, to leading order in 1/N.

        With r_s = ŷ − h_s for the h_0 of this width (`moments`), and δB = B_N − B at the start,

            sgd    = α²/(N·batch) ∫_0^t e^{−A(t−s)} Cov_π[r_s B(·, x)] e^{−Aᵀ(t−s)} ds
            kernel = Cov α∫_0^t e^{−A(t−s)} δB Π r_s ds

        on the data, both of order 1/N for every γ: two independent parts, each zero if you set it to zero. At an extra
        input x the error is driven by that on the data, de_t(x) = [α δB(x, ·)Π r_t − αB(x, ·)Π e_t]dt + noise, where a
        sample m adds αB(x, x_m)r_m: sampling noise there is that of the data with ∫_0^t e^{−λ_a(t−s)}… read off by
        αB(x, ·)Π^{1/2}Q instead of Π^{−1/2}QΛ. The covariances are joint, data first. `batch`
        as in `simulate`; None, the full batch, has no sampling noise. `kernel` is a Monte Carlo mean over `neurons`
        draws of (c, w), with its standard error. The parameters' own movement enters at higher order: what is
        missing is about 1/N of the whole at γ = 1/2, and N^{4γ−3} above.

        Raises ``ValueError`` for γ ≥ 3/4, where the movement of the kernel is no smaller, for E c³ ≠ 0 unless σ
        is odd and the law of w symmetric (else the kernel drifts), and for bad arguments. Source: references
        `xavier`, `normalisation`; the kernel's part is derived here.

            >>> import jax, jaxlimit as jl
            >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
            >>> limit = jl.SpectralLimit(jl.Problem(jl.data.sphere(points=4, inputs=3), network))
            >>> error = limit.path_error([1.0], 256, key=jax.random.key(0))
            >>> rms, doubt = error.pooled
            >>> 0.010 < rms < 0.025, doubt < 0.01 * rms
            (True, True)
        """
        size, key, count = positive_integer("width", width), random_key(key), positive_integer("neurons", neurons)
        samples = None if batch is None else positive_integer("batch", batch)
        require(count >= 2, "neurons", "be at least 2 (for a standard error)", f"it is {count}")
        problem = self.kernel.problem
        gamma: float = problem.scaling.gamma  # type: ignore[attr-defined]
        require(
            gamma < 0.75,
            "problem",
            "have γ < 3/4 (above, the movement of the kernel is no smaller than its fluctuation)",
            f"γ = {gamma:g}",
        )
        times, extra = save_times(ts), self.kernel.extra_points(at)
        y, root = problem.data.y, np.sqrt(problem.data.weights)
        # E r_0 r_0ᵀ is mean² plus covariance: at γ = 1/2 the start is as large as the targets.
        residual = self.kernel.joint_covariance(None, size) + np.outer(y, y)
        right = root[:, None] * self.basis
        second = right.T @ residual @ right
        left = self.basis / root[:, None]
        cross = np.zeros((0, y.size)) if extra is None else self.kernel.cross_drift(extra) @ left
        modes = Modes(self.eigenvalues, self.basis, root, second, square_root(second), cross)
        x = problem.data.x if extra is None else np.concatenate([problem.data.x, extra])
        alpha, shape = problem.learning_rate, (times.size, y.size, y.size)
        sgd = np.zeros(shape) if samples is None else np.stack([sampling_noise(modes, float(t)) for t in times])
        kernel, doubt = kernel_fluctuation(self.kernel.network, x, modes, alpha, times, count, key)
        sgd = modes.to_points(sgd) / (size * (samples or 1))
        return FiniteWidthError(times, sgd, kernel / size, doubt / size, size, samples, count)

    def finite_width(
        self,
        ts: ArrayLike,
        width: int,
        *,
        key: RandomKey,
        batch: int | None = 1,
        neurons: int = 4096,
        at: ArrayLike | None = None,
    ) -> GaussianPath:
        """Mean and covariance of h^N_t itself, with the noise of SGD, for 1/2 < γ < 3/4; on data and extra inputs.

            mean = (I − e^{−At})ŷ,    covariance = N^{1−2γ} e^{−At} Σ e^{−Aᵀt} + `path_error`'s

        `moments` are those of the limit's path from the network's own h_0; this adds what the network differs from
        it. The two are uncorrelated to this order only above γ = 1/2: at 1/2 their covariance is of order 1/N
        too, with terms that nobody has computed here, and ``ValueError`` is raised. What is left out is of relative
        order 1/N and, in units of the second part, N^{4γ−3}; the Monte Carlo doubt is that of
        `path_error`, and under the rule `MonteCarlo` that of `moments` beside it. Source: references `normalisation`.

            >>> import jax, jaxlimit as jl
            >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
            >>> problem = jl.Problem(jl.data.sphere(points=4, inputs=3), network, scaling=jl.PowerScaling(0.7))
            >>> limit = jl.SpectralLimit(problem)
            >>> law, start = limit.finite_width([1.0], 256, key=jax.random.key(0)), limit.moments([1.0], 256)
            >>> bool((law.standard_deviation > start.standard_deviation).all())
            True
        """
        require(
            not self.kernel.random_start,
            "problem",
            "have γ > 1/2 for a law at finite width (`path_error` serves γ = 1/2)",
            "at γ = 1/2 the start and the error are correlated at the same order",
        )
        error = self.path_error(ts, width, key=key, batch=batch, neurons=neurons, at=at).covariance
        start = self.moments(ts, width, at)
        # The error is small itself: what other draws of the kernel change in it is of higher order.
        first, *repeats = (GaussianPath(law.ts, law.mean, law.covariance + error) for law in (start, *start.repeats))
        return GaussianPath(first.ts, first.mean, first.covariance, tuple(repeats))

    def loss(self, ts: ArrayLike) -> Float[Host, " times"]:
        """E ½E_π(y − h_t)² under the law: half the π-average of squared bias plus variance."""
        law, data = self._moments(ts, None, None), self.kernel.problem.data
        return 0.5 * ((data.y - law.mean) ** 2 + law.standard_deviation**2) @ data.weights

    def _moments(self, ts: ArrayLike, at: ArrayLike | None, width: int | None) -> GaussianPath:
        """The law for h_0 as at this width, or as in the limit; K_t maps coordinates of h_0 to h_t."""
        times, extra = save_times(ts), self.kernel.extra_points(at)
        start = self.kernel.joint_covariance(extra, width)
        right, parts = self._flow(times, extra)
        y = self.kernel.problem.data.y
        mean = np.concatenate([_from_basis(-(y @ right), *part) for part in parts], axis=-1)
        mean[:, : y.size] += y
        covariance = np.zeros((times.size, *start.shape))
        if not start.any():
            return GaussianPath(times, mean, covariance)
        # In the eigenbasis once, not at every time: two products of matrices are left for each.
        inner, mixed = right.T @ start[: y.size, : y.size] @ right, right.T @ start[: y.size, y.size :]
        for i in range(times.size):
            flow = np.concatenate([rates[i] * matrix for rates, matrix in parts])
            found = (flow @ inner) @ flow.T
            found[:, y.size :] += flow @ mixed
            found[y.size :] += (flow @ mixed).T
            found[y.size :, y.size :] += start[y.size :, y.size :]
            covariance[i] = 0.5 * (found + found.T)
        return GaussianPath(times, mean, covariance)

    def _flow(self, ts: Host, extra: Host | None) -> tuple[Host, list[tuple[Host, Host]]]:
        """Coordinates z = (h_0 − ŷ)·right, and (rates [times, points], matrix) of what is left of z at each time.

        h_t = ŷ + matrix(e^{−Λt} z) on the data and h_t = h_0 + matrix(−φ_t(Λ) z) on the extra points:
        e^{−At} itself, a product of matrices for every time, is never formed.
        """
        root = np.sqrt(self.kernel.problem.data.weights)[:, None]
        left, right = self.basis / root, self.basis * root
        parts = [(np.exp(-ts[:, None] * self.eigenvalues), left)]
        if extra is not None:
            parts.append((-decay_integral(self.eigenvalues, ts[:, None]), self.kernel.cross_drift(extra) @ left))
        return right, parts


def _from_basis(z: Host, rates: Host, matrix: Host) -> Host:
    """matrix(rates_t z) for every z [*batch, points] and time: [*batch, times, all], as ONE product of matrices.

    The rates multiply whichever is smaller, all z or the matrix.
    """
    times, points = rates.shape
    flat = z.reshape(-1, points)
    if len(flat) > len(matrix):
        found = flat @ (rates[:, None, :] * matrix).reshape(-1, points).T
    else:
        found = (flat[:, None, :] * rates).reshape(-1, points) @ matrix.T
    return found.reshape(*z.shape[:-1], times, len(matrix))
