"""Rules that evaluate the Gaussian duals of an activation, and the exact one."""

from abc import abstractmethod
from collections.abc import Callable
from typing import NamedTuple

import equinox as eqx

from jaxlimit._arguments import instance, require
from jaxlimit._numerics import pairs
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation, AbstractClosedFormActivation
from jaxlimit.initial import AbstractLaw, Normal


class Duals(NamedTuple):
    """E σσ' and E σ̇σ̇' for a block of pairs [rows, columns], each with an entrywise error."""

    value: Host
    derivative: Host
    value_error: Host
    derivative_error: Host
    assumptions: tuple[str, ...]


Block = Callable[[slice, slice], Duals]
"""The duals of some rows of x with some rows of x2. Blocks are asked for one by one, from several threads."""


class AbstractRule(eqx.Module):
    """A way to evaluate E σ(w·x)σ(w·x') and E σ'(w·x)σ'(w·x') over the law of w."""

    @abstractmethod
    def prepare(self, activation: AbstractActivation, law: AbstractLaw, x: Host, x2: Host) -> Block:
        """What needs to be done once for all pairs of rows of x and x2; ValueError where the rule does not apply."""


class ClosedForm(AbstractRule):
    """The activation's own closed form; needs w ~ N(0, s² I) and ships a derived bound for every entry.

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
        std = centred_std(law, "have a closed form")

        def block(rows: slice, columns: slice) -> Duals:
            pair = pairs(x[rows], x2[columns], std)
            return Duals(
                activation.dual(pair),
                activation.dual_derivative(pair),
                activation.dual_error(pair),
                activation.dual_derivative_error(pair),
                (),
            )

        return block


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
