"""What the kernel and the targets alone say of the error on new points."""

import math
from typing import NamedTuple

import numpy as np

from jaxlimit._arguments import instance, positive_number, require
from jaxlimit._numerics import UNIT
from jaxlimit.activations import Relu
from jaxlimit.data import Data
from jaxlimit.diagnostics._solve import definite, solve, without_power
from jaxlimit.initial import Normal, Rademacher
from jaxlimit.kernels import AbstractRule, Certificate, gram, initial_covariance
from jaxlimit.networks import AbstractNetwork, Shallow

ROUNDED = 1e-12
"""Norms that are 1 to this accuracy count as 1."""

SMALL = 0.1
"""RMS of f_0 over that of the targets that counts as small: f_0 moves the trained function, and so a Lipschitz loss, by
about as much. The theorem asks for O(λ_0 δ/√n) without its constant."""


class GeneralisationBound(NamedTuple):
    """The leading term of the bound: lower ≤ √(2 yᵀH^{-1}y/n) ≤ value, proved given `assumptions`.

    The theorem adds O(`failure`) = O(√(log(n/(λδ))/n)), here with the proved lower bound λ of λ_min(H): the constant is
    not in the papers, so that value + failure is no bound in numbers. `trivial` is the loss of predicting 0, the mean
    of min(|y|, 1) over the data: a `value` above it says nothing. `outside` lists what of network and data the theorem
    does not cover, as far as that can be seen: that the points were drawn independently cannot be checked.
    """

    value: float
    lower: float
    failure: float
    trivial: float
    certificate: Certificate
    outside: tuple[str, ...]
    assumptions: tuple[str, ...]


def generalisation_bound(
    network: AbstractNetwork, data: Data, rule: AbstractRule | None = None, delta: float = 0.01
) -> GeneralisationBound:
    """√(2 yᵀH^{-1}y/n) for the H of `gram`, enclosed: the leading term of a bound of a wide network's population loss.

    The theorem: n independent points on the unit sphere with targets |y| ≤ 1; ReLU, c = ±1 fixed, w Gaussian and so
    small that f_0 is, trained by full gradient descent at sufficient width. Every 1-Lipschitz loss with values in
    [0, 1] that is 0 at g = y then has population mean ≤ √(2 yᵀH^{-1}y/n) + O(√(log(n/(λ_0 δ))/n)), but for a chance δ.
    For other networks and data the number is computed as well, and `outside` says so. H of ReLU does not depend on the
    size of w, and so `value` does not either; the trained network, which ends at f_0(x) + h(x)ᵀH^{-1}(y − f_0), does.
    The start counts as small where the RMS of f_0 over the data at γ = 1/2, by `initial_covariance`, is a tenth of that
    of y at most. With α ≈ H^{-1}y and ρ = y − Hα,

        yᵀH^{-1}y = yᵀα + αᵀρ + ρᵀH^{-1}ρ,   0 ≤ ρᵀH^{-1}ρ ≤ |ρ|²/λ_min.

    Raises ``ValueError`` where H is not proved positive definite, as with entries by Monte Carlo, for δ outside (0, 1)
    and for a `width_power`. Source: references `arora2019`, `min_norm`.

        >>> import jaxlimit as jl
        >>> initial = jl.Initial(c=jl.initial.Rademacher(), w=jl.initial.Normal(0, 0.01))
        >>> network = jl.networks.Shallow(jl.activations.Relu(), initial, train_output=False)
        >>> found = jl.diagnostics.generalisation_bound(network, jl.data.polynomial(points=50, inputs=2, power=1))
        >>> found.lower <= found.value < 0.4, found.trivial > found.value, found.outside
        (True, True, ())
    """
    data, chance = instance("data", data, Data), positive_number("delta", delta)
    require(chance < 1, "delta", "lie between 0 and 1", f"it is {chance:g}")
    shallow = without_power(network)
    kernel = gram(shallow, data.x, rule=rule)
    certificate = definite("data", kernel)
    alpha, defect = solve(kernel, data.y)
    n, parts = data.points, np.abs(alpha)
    off = float(parts @ defect) + (n + 2) * UNIT * float(parts @ np.abs(data.y))
    middle, second = float(data.y @ alpha), float(defect @ defect) / certificate.lower
    upper, lower = middle + 1.01 * (off + second), max(middle - 1.01 * off, 0.0)
    return GeneralisationBound(
        # four roundings of half a unit each
        math.sqrt(2.0 * upper / n) * (1.0 + 8 * UNIT),
        math.sqrt(2.0 * lower / n) * (1.0 - 8 * UNIT),
        math.sqrt(max(math.log(n / (certificate.lower * chance)), 0.0) / n),
        float(np.mean(np.minimum(np.abs(data.y), 1.0))),
        certificate,
        _outside(shallow, data, rule),
        kernel.assumptions,
    )


def _outside(network: Shallow, data: Data, rule: AbstractRule | None) -> tuple[str, ...]:
    """What the theorem does not speak of."""
    c, w = network.initial.c, network.initial.w
    unit = bool(np.all(np.abs(np.linalg.norm(data.x, axis=1) - 1.0) <= ROUNDED))
    found = {
        "the activation is not ReLU": isinstance(network.activation, Relu),
        "the output layer is trained": not network.train_output,
        "c is not ±1": isinstance(c, Rademacher) and c.scale == 1.0,
        "w is not centred Gaussian": isinstance(w, Normal) and w.mean == 0.0,
        "points are not on the unit sphere": unit,
        "targets exceed 1": bool(np.all(np.abs(data.y) <= 1.0)),
        "points have unequal weights": float(np.ptp(data.weights)) <= ROUNDED / data.points,
    }
    return tuple(reason for reason, covered in found.items() if not covered) + _large_start(network, data, rule)


def _large_start(network: Shallow, data: Data, rule: AbstractRule | None) -> tuple[str, ...]:
    """Why f_0 is not small, if it is not."""
    mean = network.initial.c.mean
    if mean != 0:
        return (f"the start is not small: f_0 grows like √N, as E c is {mean:g}",)
    start = initial_covariance(network, data.x, rule=rule)
    radius = 0.0 if start.radius is None else np.diag(start.radius)
    size, target = float(np.sqrt(np.mean(np.diag(start.value) + radius))), float(np.sqrt(np.mean(data.y**2)))
    if size <= SMALL * target:
        return ()
    return (f"the start is not small: the RMS of f_0 is {size:.2g}, that of the targets {target:.2g}",)
