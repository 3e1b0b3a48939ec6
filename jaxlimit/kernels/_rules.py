"""Rules that evaluate the Gaussian duals of an activation: exactly, or by quadrature with an estimate."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import numpy as np

from jaxlimit._arguments import instance, positive_number, require
from jaxlimit._numerics import UNIT, gaussian_trapezoid, pairs, symmetrised
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation, AbstractClosedFormActivation
from jaxlimit.initial import AbstractLaw, Normal

REFINEMENT = 0.5 * (1.0 + 5.0**0.5)
"""Steps shrink by the golden ratio: no two of them are commensurate, so no oscillation fools three in a row."""


class Duals(NamedTuple):
    """E σσ' and E σ̇σ̇' for every pair [points, points2], each with an entrywise error."""

    value: Host
    derivative: Host
    value_error: Host
    derivative_error: Host
    assumptions: tuple[str, ...]


class AbstractRule(eqx.Module):
    """A way to evaluate E σ(w·x)σ(w·x') and E σ'(w·x)σ'(w·x') over the law of w."""

    @abstractmethod
    def duals(self, activation: AbstractActivation, law: AbstractLaw, x: Host, x2: Host) -> Duals:
        """Both duals on every pair of rows of x and x2, with errors; ValueError where the rule does not apply."""


class ClosedForm(AbstractRule):
    """The activation's own closed form; needs w ~ N(0, s² I) and ships a derived bound for every entry.

    Source: references `duals`.

        >>> import numpy as np, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> gram = jl.gram(network, np.eye(2), rule=jl.kernels.ClosedForm())
        >>> bool(gram.radius.max() < 1e-14)
        True
    """

    def duals(self, activation: AbstractActivation, law: AbstractLaw, x: Host, x2: Host) -> Duals:
        """Closed forms, with no assumption beyond float64 arithmetic being IEEE 754."""
        name = type(activation).__name__
        if not isinstance(activation, AbstractClosedFormActivation):
            raise ValueError(f"Argument `rule` must be Quadrature() for {name}, but it has no closed form.")
        std = centred_std(law, "have a closed form")
        pair = pairs(x, x2, std)
        return Duals(
            activation.dual(pair),
            activation.dual_derivative(pair),
            activation.dual_error(pair),
            activation.dual_derivative_error(pair),
            (),
        )


class Quadrature(AbstractRule):
    """Trapezoid rule on the two-dimensional Gaussian, the step refined until three results agree.

    With u = |x| s z_1, u' = |x'| s (cos θ z_1 + sin θ z_2) and z standard normal, the rule converges
    geometrically for σ analytic near the real axis; its step shrinks like 1/max(1, s|x|), because a
    fixed degree fails as |x| grows. The reported error of an entry is the larger of the last two
    changes, an estimate of an earlier result's error and therefore generous; it stays an estimate, and
    certificates name it as such. Needs w ~ N(0, s² I). `tolerance` is absolute. Raises ``ValueError``
    for a kinked σ (whose duals need a closed form) and when the tolerance is not reached.

        >>> import numpy as np, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
        >>> round(float(jl.gram(network, np.eye(2), rule=jl.kernels.Quadrature()).value[0, 0]), 10)
        0.5490954579
    """

    tolerance: float = eqx.field(static=True, default=1e-12)

    def __check_init__(self) -> None:
        """The tolerance must be positive."""
        positive_number("tolerance", self.tolerance)

    def duals(self, activation: AbstractActivation, law: AbstractLaw, x: Host, x2: Host) -> Duals:
        """Pairs are grouped by the step they need, so one long vector does not slow all the others."""
        require(activation.smooth is not False, "rule", "be ClosedForm() for a kinked activation", "it is Quadrature()")
        pair = pairs(x, x2, centred_std(law, "be integrated by this rule"))
        shape = pair.theta.shape
        flat = [np.broadcast_to(v, shape).ravel() for v in (pair.a, pair.b, pair.theta, pair.sine)]
        geometry = np.stack([np.sqrt(flat[0]), np.sqrt(flat[1]), np.cos(flat[2]), flat[3]])
        keep = np.triu(np.ones(shape, dtype=bool)).ravel() if x2 is x else np.ones(flat[0].size, dtype=bool)
        level = np.ceil(np.log2(np.maximum(1.0, np.maximum(geometry[0], geometry[1])))).astype(int)
        results = np.zeros((4, flat[0].size))
        for doubling in np.unique(level[keep]):
            members = np.flatnonzero(keep & (level == doubling))
            results[:, members] = self._refined(activation, geometry[:, members], 0.5 / 2.0**doubling)
        tables = results.reshape(4, *shape)
        value, derivative, value_error, derivative_error = map(symmetrised, tables) if x2 is x else tables
        assumed = "entry errors of Quadrature are estimates (last change of the refined rule), not bounds"
        return Duals(value, derivative, value_error, derivative_error, (assumed,))

    def _refined(self, activation: AbstractActivation, geometry: Host, step: float) -> Host:
        coarse = _trapezoid(activation, geometry, step)
        before = np.full_like(coarse, np.inf)
        for _ in range(8):
            step /= REFINEMENT
            fine = _trapezoid(activation, geometry, step)
            last = np.abs(fine - coarse)
            change, before = np.maximum(last, before), last
            # Sums of positive weights times O(|σ|²) terms round at a few units of the largest term.
            scale = 1.0 + np.abs(fine)
            if bool(np.all(change <= self.tolerance * scale)):
                return np.concatenate([fine, change + 64 * UNIT * scale])
            coarse = fine
        largest = float(np.max(geometry[:2]))
        raise ValueError(
            f"Argument `rule` must reach its tolerance {self.tolerance:g}, but entries still change by "
            f"{float(np.max(change)):.1e} at norm {largest:.3g}: rescale the inputs or raise `tolerance`."
        )


def _trapezoid(activation: AbstractActivation, geometry: Host, step: float, chunk: int = 2**21) -> Host:
    """E σσ' and E σ̇σ̇' [2, pairs] on the product grid, in chunks of pairs that fit in cache-sized memory."""
    z, weights = gaussian_trapezoid(step)
    out = np.empty((2, geometry.shape[1]))
    at_once = max(1, chunk // z.size**2)
    for first in range(0, geometry.shape[1], at_once):
        left, right, cosine, sine = geometry[:, first : first + at_once, None]
        u = left * z
        v = (right * cosine * z)[:, :, None] + (right * sine * z)[:, None, :]
        functions: tuple[Callable[[Any], Any], ...] = (activation, activation.derivative)
        for row, function in enumerate(functions):
            inner = _host(function(v)) @ weights
            out[row, first : first + at_once] = np.einsum("pz,pz,z->p", _host(function(u)), inner, weights)
    return out


def _host(values: Any) -> Host:
    array = np.asarray(values)
    require(
        array.dtype == np.float64,
        "activation",
        "compute in float64 on the host (use the array's own namespace, or set JAX_ENABLE_X64=1)",
        f"it returned {array.dtype}",
    )
    return array


def centred_std(law: AbstractLaw, purpose: str) -> float:
    """The standard deviation s of w ~ N(0, s² I); ValueError for any other law."""
    if not isinstance(law, Normal) or law.mean != 0.0:
        raise ValueError(f"Argument `network` must draw w from Normal(0, std) to {purpose}, but its law of w is {law}.")
    return law.std


def rule_for(activation: AbstractActivation, law: AbstractLaw, rule: AbstractRule | None) -> AbstractRule:
    """The given rule, or the closed form where there is one; never a silent fallback to an approximation."""
    if rule is not None:
        return instance("rule", rule, AbstractRule, "be a kernel rule")
    exact = isinstance(activation, AbstractClosedFormActivation) and isinstance(law, Normal) and law.mean == 0.0
    require(
        exact,
        "rule",
        "be given, for example jaxlimit.kernels.Quadrature()",
        f"no closed form is known for {type(activation).__name__} with w drawn from {law}",
    )
    return ClosedForm()
