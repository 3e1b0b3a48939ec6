"""Fluctuations between the Xavier scaling and mean field: the limit of N^φ(h^N − h) for 1/2 < γ < 1."""

import math
from collections.abc import Iterator
from itertools import pairwise

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import positive_integer, random_key, require, save_times
from jaxlimit._numerics import decay_integral
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.kernels import AbstractRule
from jaxlimit.limits._base import REPEATS, AbstractKernelLimit, LinearKernel
from jaxlimit.limits._spectral import SpectralLimit
from jaxlimit.paths import GaussianPath
from jaxlimit.problem import Problem

NODES = 16
"""Gauss–Legendre nodes of a panel: exponentials of any rate are integrated to 1e-13 on the panels below."""
CHUNK = 2**20
"""Numbers in the arrays of the neurons that are taken together."""
EVEN = 1e-5
"""|σ'(u) − σ'(−u)| up to which σ counts as odd plus a constant, relative to the largest slope: float32 allows less."""
CUBES = 2**20
"""Draws of c where the law does not know its E c³."""


class Shift(eqx.Module):
    """The deterministic part of K_t on the data and then at the extra inputs, with its Monte Carlo standard error."""

    ts: Float[Host, " times"]
    value: Float[Host, "times points"]
    standard_error: Float[Host, "times points"]


class FluctuationLimit(AbstractKernelLimit):
    """K = lim N^φ(h^N − h) for 1/2 < γ < 1, φ = min(γ − 1/2, 1 − γ), h the deterministic `SpectralLimit`.

        γ < 3/4:  K_t = e^{−At}G with G ~ N(0, Σ)                   what is left of the network's own start
        γ > 3/4:  dK_t(x) = αE_π[(y − h_t(x')) ℓ_t(b_{x,x'})]dt − αE_π[K_t(x')B(x, x')]dt,  K_0 = 0
        γ = 3/4:  the sum of both

    with b_{x,x'}(c, w) = σ(w·x)σ(w·x') + c²σ'(w·x)σ'(w·x') x·x' a neuron's share of the kernel and
    ℓ_t(f) = α∫_0^t E_π[(y − h_s(x'))⟨∂_c f σ(w·x') + c σ'(w·x') x'·∇_w f, μ_0⟩]ds its motion: the first movement of
    the kernel, the derivative of `EpsilonFlow` in ε at 0. For E c = 0 and c independent of w only E c³ is left of it,

        ℓ_t(b_{x,x'}) = E c³ α∫_0^t E_π[r_s(x'') ⟨σ'(x'')(σ''(x)σ'(x') x·x'' + σ'(x)σ''(x') x'·x''), μ_0⟩] ds · x·x'

    It is `shift`, a mean over `neurons` draws of w with a standard error that `law` carries; integrals in time are
    exact to about 1e-13. With the rule `MonteCarlo`, `law` and `standard_error` count the draws of the kernel too.
    `vanishes` names the reason where it is zero: then for γ > 3/4 K = 0, and h^N − h is smaller than N^{γ−1}.

    `rule` as in `SpectralLimit`, whose refusals these are too. Raises ``ValueError`` for γ outside (1/2, 1), and from
    γ = 3/4 on for an activation that is not declared smooth. Source: references `normalisation`.

        >>> import jax, jaxlimit as jl
        >>> law = jl.Initial(c=jl.initial.Discrete([2.0, -1.0], [1 / 3, 2 / 3]))
        >>> network = jl.networks.Shallow(jl.activations.SinCos(), law)
        >>> problem = jl.Problem(jl.data.sphere(points=3, inputs=2), network, scaling=jl.PowerScaling(0.9))
        >>> limit = jl.FluctuationLimit(problem, key=jax.random.key(0))
        >>> round(limit.exponent, 12), limit.vanishes, limit.law([1.0]).mean.shape
        (0.1, '', (1, 3))
    """

    linear: SpectralLimit
    w: Float[Host, "neurons inputs"] = eqx.field(repr=False)
    cubes: Float[Host, " groups"] = eqx.field(repr=False)
    """E c³ from independent groups of draws; all the same where the law knows it"""

    def __init__(self, problem: Problem, rule: AbstractRule | None = None, neurons: int = 4096, *, key: RandomKey):
        self.linear = SpectralLimit(problem, rule)
        require(self.gamma > 0.5, "problem", "have 1/2 < γ < 1 for this limit", f"γ = {self.gamma:g}")
        network, count = self.linear.kernel.network, positive_integer("neurons", neurons)
        require(count >= REPEATS, "neurons", f"be at least {REPEATS} (for a standard error)", f"it is {count}")
        smooth = self.gamma < 0.75 or network.activation.smooth is True
        require(
            smooth,
            "problem",
            "have an activation that is declared smooth for γ ≥ 3/4 (the kernel's motion needs σ'')",
            f"it is {type(network.activation).__name__}",
        )
        _, w = network.init(count, problem.data.inputs, random_key(key))
        self.w = np.asarray(w, np.float64)
        self.cubes = _third_moment(self.linear, key)

    @property  # type: ignore[misc]
    def kernel(self) -> LinearKernel:  # type: ignore[override]
        """The kernel of `linear`."""
        return self.linear.kernel

    def with_rule(self, rule: AbstractRule | None) -> "FluctuationLimit":
        """The same limit, and the same neurons, with another rule for its kernel."""
        return eqx.tree_at(lambda limit: limit.linear, self, self.linear.with_rule(rule))

    @property
    def cube(self) -> float:
        """E c³."""
        return float(self.cubes.mean())

    @property
    def cube_error(self) -> float:
        """Standard error of `cube`, 0 where the law of c knows its third moment."""
        return float(self.cubes.std(ddof=1)) / math.sqrt(len(self.cubes))

    @property
    def gamma(self) -> float:
        """γ of the problem's scaling."""
        return self.linear.kernel.problem.scaling.gamma  # type: ignore[attr-defined]

    @property
    def exponent(self) -> float:
        """φ = min(γ − 1/2, 1 − γ): h^N − h is of order N^{−φ}."""
        return min(self.gamma - 0.5, 1.0 - self.gamma)

    @property
    def vanishes(self) -> str:
        """Why the kernel's first motion ℓ is zero, or "" where nothing says that it is.

        Known are E c = E c³ = 0 with c independent of w, and σ odd plus a constant (σ' is looked at in 64 points) with
        a symmetric law of w.
        """
        network = self.linear.kernel.network
        if self.cube == 0.0 and self.cube_error == 0.0:
            return "E c = E c³ = 0 with c independent of w"
        u = np.linspace(0.1, 6.4, 64)
        slopes = [np.asarray(network.activation.derivative(sign * u), np.float64) for sign in (1.0, -1.0)]
        even = network.activation.odd or np.max(np.abs(slopes[0] - slopes[1])) <= EVEN * np.max(np.abs(slopes))
        return "σ is odd plus a constant and the law of w symmetric" if even and network.initial.w.symmetric else ""

    def law(self, ts: ArrayLike, at: ArrayLike | None = None) -> GaussianPath:
        """Law of K_t on the data and then at the extra inputs; its mean is `shift`, for γ ≥ 3/4.

        It comes with repeats, hence with standard errors, where the shift or the kernel is a Monte Carlo mean: those of
        the shift are made of groups of its neurons, drawn apart.
        """
        if self.gamma < 0.75 or self.vanishes:
            return self.carrying(lambda limit: limit._moments(ts, at, limit._shift_value(ts, at)))
        motion = self._motion(save_times(ts), self._points(at))[0]
        law = self._moments(ts, at, self.cube * motion.mean(axis=0))
        groups = self.cubes[:, None, None] * motion
        # Groups spread √REPEATS times as far as their mean errs.
        errors = (groups - groups.mean(axis=0)) / math.sqrt(REPEATS)
        drawn = [limit._moments(ts, at, limit._shift_value(ts, at)) for limit in self.repeats()]
        others = drawn or [law] * REPEATS
        repeats = tuple(GaussianPath(o.ts, o.mean + e, o.covariance) for o, e in zip(others, errors, strict=True))
        return GaussianPath(law.ts, law.mean, law.covariance, repeats)

    def _moments(self, ts: ArrayLike, at: ArrayLike | None, shift: Host) -> GaussianPath:
        """The law about its shift, without the error of that."""
        start = self.linear.moments(ts, 1, at)  # at N = 1 its covariance is e^{−At}Σe^{−Aᵀt} for every γ
        covariance = start.covariance if self.gamma <= 0.75 else np.zeros_like(start.covariance)
        return GaussianPath(start.ts, shift, covariance)

    def path(
        self, h0: ArrayLike, ts: ArrayLike, at: ArrayLike | None = None, h0_at: ArrayLike | None = None
    ) -> Float[Host, "*batch times points"]:
        """K_t from a given start K_0 = h0 [*batch, points], with h0_at [*batch, extra] at the extra inputs."""
        moved = self.linear.path(h0, ts, at, h0_at)
        origin = self.linear.path(
            np.zeros_like(np.asarray(h0, float)),
            ts,
            at,
            None if h0_at is None else np.zeros_like(np.asarray(h0_at, float)),
        )
        return moved - origin + self._shift_value(ts, at)

    def shift(self, ts: ArrayLike, at: ArrayLike | None = None) -> Shift:
        """The deterministic K_t of γ > 3/4 from K_0 = 0, at every γ: the derivative of `EpsilonFlow` in ε at ε = 0.

        Zero with no error where `vanishes` says why.
        """
        times, x = save_times(ts), self._points(at)
        if self.vanishes:
            return Shift(times, np.zeros((times.size, len(x))), np.zeros((times.size, len(x))))
        groups, error = self._motion(times, x)
        mean = groups.mean(axis=0)
        return Shift(times, self.cube * mean, np.hypot(self.cube * error, self.cube_error * mean))

    def _points(self, at: ArrayLike | None) -> Host:
        """The data and then the extra inputs."""
        x, extra = self.linear.kernel.problem.data.x, self.linear.kernel.extra_points(at)
        return x if extra is None else np.concatenate([x, extra])

    def _motion(self, times: Host, x: Host) -> tuple[Host, Host]:
        """K_t/E c³ from each of `REPEATS` groups of neurons [groups, times, all]; the standard error of their mean."""
        together, count = max(1, CHUNK // len(x)), len(self.w)
        sums, squares = np.zeros((REPEATS, times.size, len(x))), np.zeros((times.size, len(x)))
        for group, own in enumerate(np.array_split(self.w, REPEATS)):
            for first in range(0, len(own), together):
                share = kernel_motion(self.linear, own[first : first + together], x, times)
                sums[group] += share.sum(axis=1)
                squares += np.sum(share**2, axis=1)
        mean = sums.sum(axis=0) / count
        error = np.sqrt(np.maximum(squares / count - mean**2, 0.0) / (count - 1))
        # Each counts as a REPEATS-th of all neurons, so that the mean over groups is that over neurons.
        return sums * (REPEATS / count), error

    def _shift_value(self, ts: ArrayLike, at: ArrayLike | None) -> Host:
        if self.gamma >= 0.75:
            return self.shift(ts, at).value
        return np.zeros((save_times(ts).size, len(self._points(at))))


def kernel_motion(
    linear: SpectralLimit, w: Float[Host, "neurons inputs"], x: Float[Host, "all inputs"], ts: Float[Host, " times"]
) -> Float[Host, "times neurons all"]:
    """Every neuron's share of K_t/E c³ on the points x, the data first.

    With r_s = e^{−As}ŷ and R_s = ∫_0^s r, a neuron's forcing is

        F_s(x) = α²[σ''(x) (x·Q)(x·P) + σ'(x) x·Z],    P = E_π[r σ' x'],  Q = E_π[R σ' x'],  Z = E_π[r σ'' (x'·Q) x']

    and K_t = ∫_0^t e^{−A(t−s)}F_s ds on the data, ∫_0^t (F_s(x) − A_xD φ_{t−s}(A)F_s) ds at an extra point.
    """
    data, network = linear.kernel.problem.data, linear.kernel.network
    points, weights, alpha = data.points, data.weights, linear.kernel.problem.learning_rate
    u = w @ x.T
    slopes = np.asarray(network.activation.derivative(u), np.float64)
    curves = _second_derivative(linear, u)
    own_slopes, own_curves, own = slopes[:, :points], curves[:, :points], x[:points]
    root = np.sqrt(weights)[:, None]
    left, right = linear.basis / root, linear.basis * root
    target, rates = data.y @ right, linear.eigenvalues
    cross = linear.kernel.cross_drift(x[points:]) @ left if len(x) > points else None
    found = np.zeros((ts.size, len(w), len(x)))
    for i, t in enumerate(ts):
        for s, weight in _nodes(float(np.max(np.abs(rates))), float(t)):
            r = weights * (left @ (np.exp(-rates * s) * target))
            moved = weights * (left @ (decay_integral(rates, np.full(1, s)) * target))
            p, q = (own_slopes * r) @ own @ x.T, (own_slopes * moved) @ own @ x.T
            z = (own_curves * r * q[:, :points]) @ own @ x.T
            forcing = alpha**2 * weight * (curves * q * p + slopes * z)
            inner = forcing[:, :points] @ right
            found[i, :, :points] += (inner * np.exp(-rates * (t - s))) @ left.T
            if cross is not None:
                carried = (inner * decay_integral(rates, np.full(1, t - s))) @ cross.T
                found[i, :, points:] += forcing[:, points:] - carried
    return found


def _nodes(rate: float, t: float) -> Iterator[tuple[float, float]]:
    """Nodes and weights of ∫_0^t on panels that halve towards both ends, where exponentials of these rates live."""
    if t == 0:
        return
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    halvings = 1 + max(0, math.ceil(math.log2(max(1.0, 2 * rate * t))))
    ends = t * np.concatenate([[0.0], 0.5 ** np.arange(halvings, 0, -1)])
    for start, stop in pairwise(np.concatenate([ends, t - ends[-2::-1]])):
        half = 0.5 * (stop - start)
        yield from zip((start + half * (1 + nodes)).tolist(), (half * weights).tolist(), strict=True)


def _second_derivative(linear: SpectralLimit, u: Host) -> Host:
    """σ''(u) by differentiating σ'; in float32 without the x64 flag, far below the Monte Carlo error."""
    given = jnp.asarray(u, jnp.result_type(float))
    return np.asarray(
        jax.jvp(linear.kernel.network.activation.derivative, (given,), (jnp.ones_like(given),))[1], np.float64
    )


def _third_moment(linear: SpectralLimit, key: RandomKey) -> Host:
    """E c³ from the law, `REPEATS` times, or from as many groups of draws."""
    law = linear.kernel.network.initial.c
    if law.third_moment is not None:
        return np.full(REPEATS, float(law.third_moment))
    cubes = np.asarray(law.sample(jax.random.fold_in(key, 2), (CUBES,)), np.float64) ** 3
    return cubes.reshape(REPEATS, -1).mean(axis=1)
