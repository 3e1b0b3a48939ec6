"""ε = N^{−(1−γ)}: which flow of particles belongs to a scaling at a width."""

import math

from jaxlimit._arguments import instance, positive_integer, require
from jaxlimit.problem import Problem
from jaxlimit.scalings import AbstractScaling, PowerScaling

SAME = 1e-6
"""Relative difference up to which two ε are one number: that of float32, and far below every other error."""


def epsilon_at(scaling: AbstractScaling, width: int) -> float:
    """ε = N^{−(1−γ)}, how far the parameters of a network of width N move in units of what its output asks for.

    It is N^{−1/2} at γ = 1/2 and 1 in mean field, at every width. Source: references `normalisation`.

        >>> import jaxlimit as jl
        >>> [jl.limits.epsilon_at(jl.PowerScaling(gamma), 256) for gamma in (0.5, 0.75, 1.0)]
        [0.0625, 0.25, 1.0]
    """
    power = instance("scaling", scaling, PowerScaling)
    return float(positive_integer("width", width)) ** (power.gamma - 1.0)


def require_epsilon(problem: Problem, epsilon: float, width: int) -> int:
    """The width, where the law of the problem's networks at it is that around the flow with this ε, to leading order.

    Raises ``ValueError`` where it is not.
    """
    kind = "have a PowerScaling for a law at finite width"
    scaling = instance("problem", problem.scaling, PowerScaling, kind)
    found, gamma = epsilon_at(scaling, width), scaling.gamma
    wanted = f"be one where epsilon_at(problem.scaling, width) is the flow's ε = {epsilon:g}"
    same = math.isclose(found, epsilon, rel_tol=SAME)
    require(same, "width", wanted, f"at width {width} and γ = {gamma:g} it is {found:g}")
    wanted = "have γ > 1/2 for a law at finite width (at 1/2 the start is random to leading order)"
    require(gamma > 0.5, "problem", wanted, f"γ = {gamma:g}")
    mean: float = problem.network.initial.c.mean  # type: ignore[attr-defined]
    wanted = "have E c = 0 for a law at finite width where γ < 1 (h_0 grows like N^{1−γ})"
    require(gamma == 1.0 or mean == 0.0, "problem", wanted, f"E c = {mean:g}")
    return int(width)
