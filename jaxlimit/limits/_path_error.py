"""How far a network of finite width is from the limit started at its own h_0: the leading order in 1/N."""

import math
from itertools import pairwise

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import require
from jaxlimit._devices import require_room_for_draws
from jaxlimit._numerics import decay_integral
from jaxlimit._typing import Host, RandomKey
from jaxlimit.networks import Shallow

CHUNK = 2**18
"""Numbers in the matrices of the neurons that are taken together."""
NODES = 16
"""Gauss–Legendre nodes of a panel: exponentials of any rate are integrated to 1e-13 on the panels below."""
SKEWNESS = 6.0
"""Standard errors at which E c³ counts as different from zero, where its law does not know it: 2e-9 false alarms,
were the mean of the cubes Gaussian."""


class FiniteWidthError(eqx.Module):
    """Predicted covariance of h^N_t − h_t, both started at the network's own h_0, to leading order in 1/N.

    Points are the data, then the extra inputs.

    `sgd` and `kernel` [times, points, points] are its two independent parts: the sampling noise of SGD, computed to
    about 1e-13 of its size (zero for the full batch), and the distance of the network's initial kernel from B, a
    Monte Carlo mean over `neurons` neurons whose diagonal has the standard error `kernel_standard_error`
    [times, points]. Terms of higher order are not in it: relative to what is, they are of order 1/N at γ = 1/2
    and N^{4γ−3} above, so that the prediction is sharp for γ < 3/4 only.
    """

    ts: Float[Host, " times"]
    sgd: Float[Host, "times points points"]
    kernel: Float[Host, "times points points"]
    kernel_standard_error: Float[Host, "times points"]
    width: int = eqx.field(static=True)
    batch: int | None = eqx.field(static=True)
    neurons: int = eqx.field(static=True)

    @property
    def covariance(self) -> Float[Host, "times points points"]:
        """Both parts together."""
        return self.sgd + self.kernel

    @property
    def square(self) -> Float[Host, "times points"]:
        """E|h^N_t − h_t|² at each time and point, of standard error `kernel_standard_error`."""
        return np.diagonal(self.covariance, axis1=1, axis2=2)

    @property
    def pooled(self) -> tuple[float, float]:
        """√mean of `square` over times and points, as `statistics.pathwise` pools, and a bound of its standard error.

        The bound takes the errors of all times and points as fully dependent.
        """
        mean = float(np.mean(self.square))
        return math.sqrt(mean), float(np.mean(self.kernel_standard_error)) / (2 * math.sqrt(mean)) if mean > 0 else 0.0


class Modes(eqx.Module):
    """The flow in its eigenbasis: ρ_t = e^{−Λt}ρ_0 for ρ = Qᵀ Π^{1/2}(ŷ − h), and E ρ_0ρ_0ᵀ = second."""

    eigenvalues: Float[Host, " points"]
    basis: Float[Host, "points points"]
    root: Float[Host, " points"]
    """√π"""
    second: Float[Host, "points points"]
    factor: Float[Host, "points points"]
    """FFᵀ = second: with it E r_m² is a sum of squares, never a difference."""
    cross: Float[Host, "extra points"]
    """G = αB(x, ·)Π^{1/2}Q at the extra inputs: dh(x) = Gρ dt."""

    @property
    def left(self) -> Float[Host, "points points"]:
        """Π^{−1/2}Q: values at the data from coordinates."""
        return self.basis / self.root[:, None]

    def to_points(self, noise: Float[Host, "*batch points points"]) -> Float[Host, "*batch all all"]:
        """What `sampling_noise` is at the data, Π^{−1/2}QΛ, and at the extra inputs, G.

        At an extra input dh = Gρ dt + dM(x), with ρ driven by the same noise z through Λ: together
        Gz − G∫ΛΦz, where Φ(τ) = ∫_0^τ e^{−Λu}du, which is G e^{−Λτ}z.
        """
        rows = np.concatenate([self.left * self.eigenvalues, self.cross])
        found = rows @ noise @ rows.T
        return 0.5 * (found + np.swapaxes(found, -1, -2))

    def divided(self, t: float) -> Float[Host, "points points"]:
        """∫_0^t e^{−λ_a(t−s)} e^{−λ_b s} ds, the divided difference of −e^{−λt}; t e^{−λt} where λ_a = λ_b."""
        low = np.minimum.outer(self.eigenvalues, self.eigenvalues)
        gap = np.abs(np.subtract.outer(self.eigenvalues, self.eigenvalues))
        return np.exp(-low * t) * decay_integral(gap, np.full(1, t))

    def accumulated(self, t: float) -> Float[Host, "points points"]:
        """∫_0^t of `divided`: (φ_t(low) − divided)/high with φ_t(s) = (1 − e^{−st})/s, low ≤ high the two eigenvalues.

        Where high·t < 1 this loses digits, and the integrand is smooth: Gauss and Legendre's rule is exact there.
        """
        high = np.maximum.outer(self.eigenvalues, self.eigenvalues)
        low = np.minimum.outer(self.eigenvalues, self.eigenvalues)
        mild = high * t < 1
        closed = (decay_integral(low, np.full(1, t)) - self.divided(t)) / np.where(mild, 1.0, high)
        nodes, weights = np.polynomial.legendre.leggauss(NODES)
        smooth = sum(
            0.5 * t * weight * self.divided(0.5 * t * (1 + node)) for node, weight in zip(nodes, weights, strict=True)
        )
        return np.where(mild, smooth, closed)


def sampling_noise(modes: Modes, t: float) -> Float[Host, "points points"]:
    """N·batch times the covariance of ∫_0^t e^{−Λ(t−s)} dz_s, z the noise of drawing from π: see `Modes.to_points`.

    With residuals r, one sample m moves h by αB(·, x_m)r_m: Λz in eigencoordinates with z = Q_m r_m/√π_m, and Gz at
    extra inputs. So the covariance of z per unit time is Qᵀ diag(E r²) Q − E ρρᵀ. The second term integrates in
    closed form; the first on panels that halve towards both ends of [0, t], where the exponentials live.
    """
    rates, q = modes.eigenvalues, modes.basis
    total = np.zeros_like(modes.second)
    if t == 0:
        return total
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    halvings = 1 + max(0, math.ceil(math.log2(max(1.0, 2 * abs(rates).max() * t))))
    ends = t * np.concatenate([[0.0], 0.5 ** np.arange(halvings, 0, -1)])
    edges = np.concatenate([ends, t - ends[-2::-1]])
    for start, stop in pairwise(edges):
        half = 0.5 * (stop - start)
        for node, weight in zip(start + half * (1 + nodes), half * weights, strict=True):
            squares = np.sum(((q * np.exp(-rates * node)) @ modes.factor) ** 2, axis=1) / modes.root**2
            moved = q * np.exp(-rates * (t - node))
            total += (moved * (weight * squares)[:, None]).T @ moved
    decay = np.exp(-rates * t)
    return total - t * np.outer(decay, decay) * modes.second


def kernel_fluctuation(
    network: Shallow, x: Host, modes: Modes, alpha: float, ts: Host, neurons: int, key: RandomKey
) -> tuple[Float[Host, "times all all"], Float[Host, "times all"]]:
    """N times the covariance of α∫_0^t e^{−A(t−s)}(B_N − B)Π r_s ds, and the standard error of its diagonal.

    B_N is a mean over independent neurons, so this is the covariance of one neuron's share. Its matrix in the
    eigenbasis has mean Λ, and the integral multiplies entry ab by `Modes.divided`. `x` holds the data, then extra
    inputs: there the neuron's row has mean G, moves with φ_t(Λ), and the error on the data is taken off with
    `Modes.accumulated`.
    """
    require_room_for_draws(neurons, x.shape[1])
    c, w = (np.asarray(v) for v in network.init(neurons, x.shape[1], key))
    _require_no_drift(network, c.astype(np.float64))
    inner, points, every = x @ x[: modes.root.size].T, modes.root.size, len(x)
    right = np.sqrt(alpha) * modes.root[:, None] * modes.basis
    divided = [modes.divided(float(t)) for t in ts]
    accumulated = [modes.accumulated(float(t)) for t in ts] if every > points else [modes.cross] * ts.size
    total, squares = np.zeros((ts.size, every, every)), np.zeros((2, ts.size, every))
    together = max(1, CHUNK // (every * points))
    for first in range(0, neurons, together):
        part = slice(first, first + together)
        u = w[part].astype(np.float64) @ x.T
        slopes = network.activation.derivative_on_host(u) * c[part, None]
        b = slopes[:, :, None] * slopes[:, None, :points] * inner
        if network.train_output:
            features = network.activation.on_host(u)
            b += features[:, :, None] * features[:, None, :points]
        half = b @ right
        own = np.swapaxes(half[:, :points], 1, 2) @ right - np.diag(modes.eigenvalues)
        there = np.sqrt(alpha) * half[:, points:] - modes.cross
        for i, t in enumerate(ts):
            shifts = modes.left @ ((own * divided[i]) @ modes.factor)
            if every > points:
                moved = there * decay_integral(modes.eigenvalues, np.full(1, t)) - modes.cross @ (own * accumulated[i])
                shifts = np.concatenate([shifts, moved @ modes.factor], axis=1)
            flat = np.swapaxes(shifts, 0, 1).reshape(every, -1)
            total[i] += flat @ flat.T
            each = np.sum(flat.reshape(every, len(b), -1) ** 2, axis=2)
            squares[:, i] += each.sum(axis=1), np.sum(each**2, axis=1)
    mean, mean_square = squares / neurons
    spread = np.sqrt(np.maximum(mean_square - mean**2, 0.0) * neurons / max(1, neurons - 1))
    return total / neurons, spread / math.sqrt(neurons)


def _require_no_drift(network: Shallow, c: Host) -> None:
    """The kernel's own motion is of higher order only if E c³ = 0, or σ and the law of w are symmetric."""
    known, cubes = network.initial.c.third_moment, c**3
    symmetric = network.activation.odd and network.initial.w.symmetric
    if known is None:
        skewed = abs(cubes.mean()) > SKEWNESS * cubes.std(ddof=1) / math.sqrt(len(c))
        found = f"{len(c)} draws of c have a mean cube of {cubes.mean():.3g}"
    else:
        skewed, found = known != 0.0, f"E c³ = {known:.3g}"
    require(
        bool(symmetric or not skewed),
        "problem",
        "have an odd activation and a symmetric law of w, or E c³ = 0 (else the kernel drifts at the same order)",
        found,
    )
