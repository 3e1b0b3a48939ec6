"""What the minimum-norm study computes: networks beside their own solutions, their limit, and the proved bound."""

from dataclasses import replace
from typing import Any, NamedTuple, cast

import equinox as eqx
import jax
import numpy as np

from jaxlimit._arguments import require
from jaxlimit._numerics import norm_bound
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation, Relu
from jaxlimit.data import Data
from jaxlimit.diagnostics import (
    GeneralisationBound,
    Lyapunov,
    generalisation_bound,
    kernel_regression,
    min_norm_solution,
)
from jaxlimit.initial import Normal
from jaxlimit.kernels import AbstractRule, Certificate, CertificateStatus, certify, empirical_gram, gram
from jaxlimit.networks import AbstractNetwork, Neurons
from jaxlimit.paths import Samples
from jaxlimit.problem import Problem

NEAR_ZERO = 1e-3
"""Deviation of w in the networks that are trained on labels: f_0 is as small."""


class Rounding(NamedTuple):
    """At worst: `relative` times |θ| and max_k |w_k|, the largest along training [replicas].

    A step rounds every weight to the nearest number of the run's precision, by ε/2 of it at most. Steps that are about
    as large as ε|w| all round alike and those that are smaller are lost, so that this is no random walk: `relative` is
    ε·steps/2. Ten steps or more cover what the host adds in float64.
    """

    relative: float
    whole: Host
    largest: Host


class Paths(NamedTuple):
    """The networks of one width that stayed finite and whose solution exists; `lost` counts the others.

    `values` [replicas, times, points + held out]; `along` is each network's place seen from its own w*, [replicas,
    times]; `distance` is |w* − w(0)| [replicas]. `kernel` is ‖A_t − A_0‖/‖A_0‖ and `off` ‖A_t − H‖/‖H‖ [replicas,
    times] of the kernel A = F_tᵀF_t on the data; `gaps` are outputs less those of the twin, like `values`.
    """

    width: int
    values: Host
    along: Lyapunov
    distance: Host
    lost: int
    method: str
    kernel: Host
    off: Host | None
    gaps: Host | None
    rounding: Rounding


class Series(NamedTuple):
    """The networks of one activation, by width."""

    problem: Problem
    activation: AbstractActivation
    paths: tuple[Paths, ...]

    @property
    def name(self) -> str:
        """That of the activation."""
        return type(self.activation).__name__


class Limit:
    """What a wide network does by its kernel H alone, after k steps of size η on the sum over points.

    With H = Σ λ_i v_i v_iᵀ and z_i = v_i·(Y − f_0) its error is Σ_i (1 − ηλ_i)^k z_i v_i, it has moved by the square
    root of Σ_i (1 − (1 − ηλ_i)^k)² z_i²/λ_i, and at x it is f_0(x) + Σ_i (1 − (1 − ηλ_i)^k) (h(x)·v_i) z_i/λ_i, which
    tends to kernel regression.
    """

    certificate: Certificate

    def __init__(self, problem: Problem, steps: Host, at: Host | None, rule: AbstractRule | None):
        data, scaling = problem.data, cast(Any, problem.scaling)
        own = gram(problem.network, data.x, rule=rule)
        known = own.standard_error is None
        require(known, "rule", "bound its errors", "it is Monte Carlo, which has standard errors")
        self.certificate = certify(own)
        proved = self.certificate.status is CertificateStatus.PROVED_PD and self.certificate.lower > 0
        require(proved, "problem", "have a kernel that is proved positive definite", f"of this one: {self.certificate}")
        self.radius = 0.0 if own.radius is None else norm_bound(own.radius)
        self.eta = problem.learning_rate * scaling.eta / data.points
        self.y = data.y
        self.kernel = own.value
        self.values, self.vectors = np.linalg.eigh(own.value)
        self.left = (1.0 - self.eta * self.values) ** np.asarray(steps, np.float64)[:, None]
        self.cross = None if at is None else gram(problem.network, at, data.x, rule=rule).value @ self.vectors

    def squares(self, start: Host) -> Host:
        """|Y − u(k)|² [replicas, times] from f_0 [replicas, points]."""
        return cast(Host, self._along(start) ** 2 @ (self.left**2).T)

    def moved(self, start: Host) -> Host:
        """|w(k) − w(0)| [replicas, times]."""
        return np.sqrt((self._along(start) ** 2 / self.values) @ ((1.0 - self.left) ** 2).T)

    def outputs(self, start: Host, at: Host) -> Host:
        """Outputs after the last step [replicas, held out], from f_0 there [replicas, held out] and on the data."""
        found = (self._along(start) * (1.0 - self.left[-1]) / self.values) @ cast(Host, self.cross).T
        return cast(Host, at + found)

    def _along(self, start: Host) -> Host:
        return cast(Host, (self.y - start) @ self.vectors)


class Noise(NamedTuple):
    """A share of labels drawn anew: the bound, and the loss min(|f_KR − y|, 1) on held-out points with its error."""

    share: float
    bound: GeneralisationBound
    loss: float
    error: float


class Evidence(NamedTuple):
    """Everything the study computed; the first series is that of the problem itself."""

    problem: Problem
    series: tuple[Series, ...]
    limit: Limit
    widths: tuple[int, ...]
    steps: Host
    replicas: int
    noise: tuple[Noise, ...]

    @property
    def own(self) -> Series:
        """The problem's own networks."""
        return self.series[0]


def parameters(now: Neurons, start: Neurons) -> Neurons:
    """The neurons themselves, as an observable."""
    return now


def beside_solutions(
    problem: Problem, samples: Samples, limit: Limit | None = None, twins: Samples | None = None
) -> Paths:
    """Every network seen from the solution nearest to its own start, which is the first save.

    Beside the kernel of `limit`, and the same replicas of `twins`, linearised at their start, where these are given.
    """
    values, seen, distances, kept = np.asarray(samples.values, np.float64), [], [], []
    moves, offs, sizes, times = [], [], [], samples.steps.size
    for r in range(samples.replicas):
        path = jax.tree.map(lambda leaf, r=r: leaf[r], samples.observed)
        if samples.diverged_at[r] >= 0 or (twins is not None and twins.diverged_at[r] >= 0):
            continue
        try:
            found = min_norm_solution(problem, jax.tree.map(lambda leaf: leaf[0], path))
        except ValueError:  # F_0ᵀF_0 is not proved positive definite at this width
            continue
        kernels = np.asarray(_kernels(problem.network, path, problem.data.x), np.float64)
        sizes.append(_sizes(path, problem.network.train_output))  # type: ignore[attr-defined]
        moves.append(_relative(kernels, kernels[0]))
        offs.append(np.zeros(times) if limit is None else _relative(kernels, limit.kernel))
        seen.append(found.along(path))
        distances.append(found.distance)
        kept.append(r)
    nothing = Lyapunov(*[np.zeros((0, times))] * 4)
    along = Lyapunov(*map(np.stack, zip(*seen, strict=True))) if seen else nothing
    gaps = None if twins is None else values[kept] - np.asarray(twins.values, np.float64)[kept]
    shape, lost = (len(kept), times), samples.replicas - len(kept)
    off = None if limit is None else np.reshape(offs, shape)
    move, distance = np.reshape(moves, shape), np.array(distances)
    relative = 0.5 * float(np.finfo(samples.observed.w.dtype).eps * samples.steps[-1])
    rounding = Rounding(relative, *(relative * np.reshape(sizes, (len(kept), 2))).T)
    return Paths(samples.width, values[kept], along, distance, lost, samples.method, move, off, gaps, rounding)


def _sizes(path: Neurons, output: bool) -> tuple[float, float]:
    """The largest |θ| and |w_k| of one network along training, θ the parameters that are trained."""
    squares = np.sum(np.asarray(path.w, np.float64) ** 2, axis=-1)
    whole = np.sum(squares, axis=-1) + (np.sum(np.asarray(path.c, np.float64) ** 2, axis=-1) if output else 0.0)
    return float(np.sqrt(np.max(whole))), float(np.sqrt(np.max(squares)))


@eqx.filter_jit
def _kernels(network: AbstractNetwork, parameters: Neurons, x: Host) -> jax.Array:
    """Of one network, [times, points, points]: as precise as its parameters, in float32 to 1e-6 of its size or so."""
    return empirical_gram(network, parameters, x)


def _relative(kernels: Host, other: Host) -> Host:
    """Distances in the Frobenius norm over that of the other [times]."""
    return cast(Host, np.linalg.norm(kernels - other, axis=(1, 2)) / np.linalg.norm(other))


def near_zero(network: AbstractNetwork) -> AbstractNetwork:
    """The network with a start near zero and the same H: that of ReLU does not depend on the scale of w."""
    given: Any = network
    law = given.initial.w
    same = isinstance(given.activation, Relu) and not given.train_output and isinstance(law, Normal) and law.mean == 0.0
    start = replace(given.initial, w=Normal(0.0, min(law.std, NEAR_ZERO))) if same else given.initial
    return cast(AbstractNetwork, replace(given, initial=start))


def with_noise(
    network: AbstractNetwork, data: Data, held_out: Data, share: float, delta: float, rule: AbstractRule | None
) -> Noise:
    """The bound from noisy labels, beside the loss of kernel regression on points whose labels are as noisy.

    The network is the one `near_zero`. Half of the labels drawn anew are kept, so that the loss is (1 − s/2) ℓ(f, y) +
    (s/2) ℓ(f, −y) without chance.
    """
    network, noisy = near_zero(network), data.with_label_noise(share)
    found = kernel_regression(network, noisy, held_out.x, rule)
    losses = [np.minimum(np.abs(found.value - sign * held_out.y), 1.0) for sign in (1.0, -1.0)]
    each = (1.0 - 0.5 * share) * losses[0] + 0.5 * share * losses[1]
    # The loss is 1-Lipschitz in the prediction.
    error = float(np.std(each, ddof=1)) / each.size**0.5 + float(np.max(found.error))
    return Noise(share, generalisation_bound(network, noisy, rule, delta), float(np.mean(each)), error)
