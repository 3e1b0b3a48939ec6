"""Rules that evaluate the Gaussian duals of an activation, and the exact one."""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx
import numpy as np

from jaxlimit._arguments import instance, require
from jaxlimit._numerics import Pairs, pairs
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation, AbstractClosedFormActivation
from jaxlimit.initial import AbstractLaw, Coordinates


class Duals(NamedTuple):
    """E σσ' and E σ̇σ̇' for a block of pairs [rows, columns], each with an entrywise error.

    Random estimates also come with the variances of both and with their covariance.
    """

    value: Host
    derivative: Host
    value_error: Host
    derivative_error: Host
    assumptions: tuple[str, ...]
    value_variance: Host | None = None
    derivative_variance: Host | None = None
    covariance: Host | None = None


Block = Callable[[slice, slice], Duals]
"""The duals of some rows of x with some rows of x2. Blocks are asked for one by one, from several threads."""


class AbstractRule(eqx.Module):
    """A way to evaluate E σ(w·x)σ(w·x') and E σ'(w·x)σ'(w·x') over the law of w."""

    @abstractmethod
    def prepare(self, activation: AbstractActivation, law: AbstractLaw, x: Host, x2: Host) -> Block:
        """What needs to be done once for all pairs of rows of x and x2; ValueError where the rule does not apply."""


class ClosedForm(AbstractRule):
    """The activation's own closed form; needs w ~ N(0, s² I) or N(0, S) and ships a derived bound for every entry.

    Source: references `duals`.

        >>> import numpy as np, jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
        >>> gram = jl.gram(network, np.eye(2), rule=jl.kernels.ClosedForm())
        >>> bool(gram.radius.max() < 1e-14)
        True
    """

    def prepare(self, activation: AbstractActivation, law: AbstractLaw, x: Host, x2: Host) -> Block:
        """Closed forms, with no assumption beyond float64 arithmetic being IEEE 754."""
        name = type(activation).__name__
        if not isinstance(activation, AbstractClosedFormActivation):
            raise ValueError(f"Argument `rule` must be Quadrature() for {name}, but it has no closed form.")
        ours, theirs = both_coordinates(law, x, x2)

        def block(rows: slice, columns: slice) -> Duals:
            pair = pairs_of(ours, theirs, rows, columns)
            return Duals(
                activation.dual(pair),
                activation.dual_derivative(pair),
                activation.dual_error(pair),
                activation.dual_derivative_error(pair),
                (),
            )

        return block


def both_coordinates(law: AbstractLaw, x: Host, x2: Host) -> tuple[Coordinates, Coordinates]:
    """Coordinates in which w is isotropic, of either set of points; one object where they are one."""
    ours = law.coordinates(x)
    return ours, ours if x2 is x else law.coordinates(x2)


def pairs_of(ours: Coordinates, theirs: Coordinates, rows: slice, columns: slice) -> Pairs:
    """The geometry of some points with some others."""
    moved, moved2 = (
        one.moved[part] if isinstance(one.moved, np.ndarray) else one.moved
        for one, part in ((ours, rows), (theirs, columns))
    )
    return pairs(ours.z[rows], theirs.z[columns], ours.std, moved, moved2)


def rule_for(activation: AbstractActivation, law: AbstractLaw, rule: AbstractRule | None) -> AbstractRule:
    """The given rule, or the closed form where there is one; never a silent fallback to an approximation."""
    if rule is not None:
        return instance("rule", rule, AbstractRule, "be a kernel rule")
    exact = isinstance(activation, AbstractClosedFormActivation) and law.gaussian
    require(
        exact,
        "rule",
        "be given, for example jaxlimit.kernels.Quadrature() or, for any law and any activation, MonteCarlo(neurons)",
        f"no closed form is known for {type(activation).__name__} with w drawn from {law}",
    )
    return ClosedForm()
