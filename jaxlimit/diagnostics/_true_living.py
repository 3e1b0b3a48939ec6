"""How likely it is that at the start no neuron is true-living for some point, which then nobody learns."""

from typing import NamedTuple

import numpy as np
from scipy.sparse.csgraph import minimum_spanning_tree

from jaxlimit._arguments import instance, positive_integer, require
from jaxlimit._numerics import pairs
from jaxlimit.initial import Rademacher
from jaxlimit.networks import Shallow
from jaxlimit.problem import Problem

FLAT = 1e-7
"""Deviation of w·x over |x|, relative to the largest, that may be rounding of a covariance of less than full rank."""
SMALLEST = float(np.finfo(np.float64).tiny)
"""No upper bound is smaller."""


class EmptyTrueLiving(NamedTuple):
    """P(some point has no true-living neuron) lies in [`lower`, `upper`]; `bound` is the union bound n(3/4)^N.

    For one and two points `lower` and `upper` are the probability itself, to rounding.
    """

    lower: float
    upper: float
    bound: float


def empty_true_living(problem: Problem, width: int) -> EmptyTrueLiving:
    """The chance that at the start some point has no true-living neuron: c_k y_i > 0 and w_k·x_i > 0 for no k.

    A neuron is true-living for a point with probability 1/4, so that p_i = (3/4)^N, and the union bound is n(3/4)^N.
    Two points at the angle θ have none both with probability p_ij = (3/4 − θ/4π)^N if their labels agree, 2^{−N} if
    not. With these `upper` = Σp_i − Σ_{ij in a tree} p_ij for the best tree (Hunter), and `lower` is the larger of
    Σp_i − Σ_{i<j} p_ij (Bonferroni) and Σ_i p_i²/Σ_j p_ij (de Caen). It must be a `Shallow` network whose w is a
    centred Gaussian and whose c is symmetric and never 0; points and targets are not zero. Raises ``ValueError``
    otherwise. Source: references `mild`.

        >>> import jaxlimit as jl
        >>> network = jl.networks.Shallow(jl.activations.Relu(), jl.Initial(c=jl.initial.Rademacher()))
        >>> problem = jl.Problem(jl.Data([[1.0, 0.0], [0.0, 1.0]], [1.0, 1.0]), network)
        >>> found = jl.diagnostics.empty_true_living(problem, 2)
        >>> round(found.lower, 12), round(found.upper, 12), found.bound
        (0.734375, 0.734375, 1.125)
    """
    network = instance("problem", instance("problem", problem, Problem).network, Shallow, "have a Shallow network")
    width, law, data = positive_integer("width", width), network.initial, problem.data
    require(law.w.gaussian, "problem", "draw w from a centred Gaussian", f"its law of w is {law.w}")
    even = law.c.symmetric and (law.c.atomless or isinstance(law.c, Rademacher))
    require(even, "problem", "draw c from a symmetric law that is never 0", f"its law of c is {law.c}")
    empty = (data.y == 0) | ~data.x.any(axis=1)
    require(not bool(empty.any()), "problem", "have no zero among points and targets", f"{int(empty.sum())} are zero")
    z, std, moved = law.w.coordinates(data.x)
    sizes = np.linalg.norm(z, axis=1) / np.linalg.norm(data.x, axis=1)
    flat = int(np.sum(sizes <= FLAT * np.max(sizes)))
    require(not flat, "problem", "draw a w·x that varies at every point", f"at {flat} it does not, but for rounding")
    theta, alike = pairs(z, z, std, moved, moved).theta, np.equal.outer(np.sign(data.y), np.sign(data.y))
    single = 0.75**width
    ratio = (np.where(alike, 0.75 - theta / (4.0 * np.pi), 0.5) / 0.75) ** width  # p_ij / p_i
    np.fill_diagonal(ratio, 1.0)
    # The tree with the largest sum is that with the smallest one of 2 − ratio, where no edge is 0.
    tree = minimum_spanning_tree(np.triu(2.0 - ratio, 1)).data
    upper = single * float(data.points - np.sum(2.0 - tree))
    bonferroni = single * float(data.points - np.sum(np.triu(ratio, 1)))
    de_caen = single * float(np.sum(1.0 / ratio.sum(axis=1)))
    # A power that underflows is no impossibility.
    upper, bound = max(upper, SMALLEST), max(data.points * single, SMALLEST)
    return EmptyTrueLiving(max(bonferroni, de_caen), min(upper, 1.0), bound)
