"""The function that a wide network ends at, and the path of its training error there."""

from typing import Any, NamedTuple

import numpy as np

from jaxlimit._arguments import instance, items, natural_number, positive_number, real_array, require
from jaxlimit._numerics import UNIT, norm_bound
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.data import Data
from jaxlimit.diagnostics._solve import definite, solve, without_power
from jaxlimit.kernels import AbstractRule, Certificate, Gram, gram
from jaxlimit.networks import AbstractNetwork


class KernelRegression(NamedTuple):
    """f_KR [points2], a bound of its error [points2] given `assumptions`, and the certificate of H."""

    value: Host
    error: Host
    certificate: Certificate
    assumptions: tuple[str, ...]


class TrainingCurve(NamedTuple):
    """|y − u(k)|² at the given steps, and how far it may be off: the radius of H and the usual size of rounding."""

    value: Host
    error: Host


def kernel_regression(
    network: AbstractNetwork, data: Data, at: ArrayLike, rule: AbstractRule | None = None
) -> KernelRegression:
    """f_KR(x) = h(x)ᵀH^{-1}Y at the rows of `at` [points2, inputs], with H and h from `gram` of the network.

    What a wide network is trained to whose start is zero: a network with a start f_0 of its own ends near
    f_0(x) + h(x)ᵀH^{-1}(Y − f_0). Interpolates: f_KR(x_i) = y_i. The weights of the data do not matter, and neither
    does a factor of H. With α ≈ H^{-1}Y and ρ ≥ |Y − Hα| the error is at most r·|α| + |h||ρ|/λ_min(H) and rounding,
    r the radius of h. Raises ``ValueError`` where H is not proved positive definite, as with entries by Monte Carlo,
    and for a `width_power`. Source: references `min_norm`, `arora2019`.

        >>> import numpy as np, jaxlimit as jl
        >>> network, data = jl.networks.Shallow(jl.activations.Erf()), jl.data.sphere(points=4, inputs=3)
        >>> found = jl.diagnostics.kernel_regression(network, data, data.x)
        >>> bool(np.all(np.abs(found.value - data.y) <= found.error)), bool(found.error.max() < 1e-11)
        (True, True)
    """
    data, points = instance("data", data, Data), real_array("at", at, 2)
    fits = points.shape[1] == data.inputs
    require(fits, "at", f"have {data.inputs} inputs like the data", f"its shape is {points.shape}")
    shallow = without_power(network)
    own = gram(shallow, data.x, rule=rule)
    certificate = definite("data", own)
    alpha, defect = solve(own, data.y)
    cross = gram(shallow, points, data.x, rule=rule)
    radius = np.zeros_like(cross.value) if cross.radius is None else cross.radius
    size = np.linalg.norm(np.abs(cross.value) + radius, axis=1)
    rounding = (data.points + 2) * UNIT * (np.abs(cross.value) @ np.abs(alpha))
    error = radius @ np.abs(alpha) + size * np.linalg.norm(defect) / certificate.lower + rounding
    assumptions = tuple(dict.fromkeys(own.assumptions + cross.assumptions))
    return KernelRegression(cross.value @ alpha, 1.01 * error, certificate, assumptions)


def training_curve(gram: Gram | ArrayLike, y: ArrayLike, eta: float, steps: Any) -> TrainingCurve:
    """|y − u(k)|² = Σ_i (1 − ηλ_i)^{2k} (v_i·y)² at the given steps k, with the eigenpairs λ_i, v_i of H = `gram`.

    The solution of u(k + 1) = u(k) + ηH(y − u(k)), u(0) = 0: gradient descent with step η on ½|y − u|², the SUM over
    points, of a linear model whose features have the inner products H. For a start f_0 put y − f_0. With
    `FixedStep(η_0, γ)`, whose step belongs to the mean loss, H = F_0ᵀF_0 (`min_norm_solution(...).gram`) takes
    η = η_0/n for n points of equal weight, and the kernel of the limit (`jaxlimit.gram`) η = η_0 N^{1−2γ}/n. Grows
    without bound where ηλ > 2. Raises ``ValueError`` for entries by Monte Carlo, a matrix that is not square or not
    symmetric, shapes that do not fit, and values beyond float64. Source: references `arora2019`.

        >>> import numpy as np, jaxlimit as jl
        >>> jl.diagnostics.training_curve(np.diag([1.0, 0.5]), [1.0, 1.0], eta=1.0, steps=[0, 1, 2]).value.tolist()
        [2.0, 0.25, 0.0625]
    """
    given = gram if isinstance(gram, Gram) else Gram(real_array("gram", gram, 2))
    matrix, target = real_array("gram", given.value, 2), real_array("y", y, 1)
    require(given.standard_error is None, "gram", "have bounds of its errors", "it has standard errors of Monte Carlo")
    points = len(matrix)
    require(matrix.shape == (points, points), "gram", "be square", f"its shape is {matrix.shape}")
    require(np.array_equal(matrix, matrix.T), "gram", "be exactly symmetric", "some entry differs from its mirror")
    fits = target.shape == (points,)
    require(fits, "y", f"have shape ({points},) like the matrix", f"it is {target.shape}")
    rate = positive_number("eta", eta)
    k = np.array([natural_number("steps", step) for step in items("steps", steps, "integers")], np.float64)
    require(k.size > 0, "steps", "not be empty", "it is")
    values, vectors = np.linalg.eigh(matrix)
    size = float(np.max(np.abs(values)))
    off = rate * ((0.0 if given.radius is None else norm_bound(given.radius)) + 4 * points * UNIT * size)
    contraction, norm = np.abs(1.0 - rate * values), float(np.linalg.norm(target))
    with np.errstate(over="ignore", invalid="ignore"):
        curve = np.sum((contraction[None, :] ** k[:, None] * (target @ vectors)[None, :]) ** 2, axis=1)
        # A^k − B^k is a sum of k terms with one factor A − B each, of norm `off`; and powers round k times.
        largest = float(np.max(contraction)) + off
        moved = k * (off + 4 * UNIT) * largest ** np.maximum(k - 1.0, 0.0) * norm + 4 * points * UNIT * np.sqrt(curve)
        error = 2.0 * np.sqrt(curve) * moved + moved**2
    finite = bool(np.all(np.isfinite(curve) & np.isfinite(error)))
    require(finite, "steps", "keep the curve within float64", f"it has overflowed: the largest η|λ| is {rate * size:g}")
    return TrainingCurve(curve, error)
