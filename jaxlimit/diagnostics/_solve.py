"""Linear systems with a kernel matrix that is proved positive definite, and how far a solution is from exact."""

from typing import NamedTuple

import numpy as np
import scipy.linalg

from jaxlimit._arguments import instance, require
from jaxlimit._numerics import UNIT
from jaxlimit._typing import Host
from jaxlimit.kernels import Certificate, CertificateStatus, Gram, certify
from jaxlimit.networks import AbstractNetwork, Shallow

LARGEST = 1e100
"""Of targets: products of two, and with kernels, stay far within float64, where roundings are relative."""


class Solution(NamedTuple):
    """α ≈ H^{-1}y [points], and a bound of |y − Hα| [points] for every matrix H within the radius of the Gram."""

    coefficients: Host
    defect: Host


def definite(name: str, gram: Gram) -> Certificate:
    """The certificate of the Gram; ValueError unless λ_min is proved to exceed a positive number."""
    certificate = certify(gram)
    proved = certificate.status is CertificateStatus.PROVED_PD and certificate.lower > 0
    require(proved, name, "have a kernel that is proved positive definite", f"of this one: {certificate}")
    return certificate


def without_power(network: AbstractNetwork) -> Shallow:
    """The network; ValueError where its c depends on the width, which N = ∞ has not."""
    shallow = instance("network", network, Shallow)
    must = "have width_power 0 (with c fixed, γ − width_power in the scaling makes the same network)"
    require(shallow.initial.width_power == 0, "network", must, f"it is {shallow.initial.width_power:g}")
    return shallow


def solve(gram: Gram, y: Host) -> Solution:
    """For a Gram that `definite` has seen.

    A sum of n products and y is off by (n + 2)u of the sum of their moduli, in any order; 1.01 pays for the rounding
    of these bounds. ``ValueError`` for targets whose squares would leave the range of float64.
    """
    matrix, largest = gram.value, float(np.max(np.abs(y)))
    within = largest == 0.0 or 1.0 / LARGEST <= largest <= LARGEST
    require(within, "data", f"have targets between {1 / LARGEST:g} and {LARGEST:g}", f"the largest is {largest:g}")
    coefficients = Solver(matrix)(y)
    sizes = np.abs(coefficients)
    rounding = (len(y) + 2) * UNIT * (np.abs(matrix) @ sizes + np.abs(y))
    radius = 0.0 if gram.radius is None else gram.radius @ sizes
    return Solution(coefficients, 1.01 * (np.abs(y - matrix @ coefficients) + rounding + radius))


class Solver:
    """b [..., points] ↦ H^{-1}b by Cholesky, with one step of refinement: H is factored once."""

    def __init__(self, matrix: Host) -> None:
        self.matrix = matrix
        self.factor = scipy.linalg.cholesky(matrix, lower=True)

    def __call__(self, b: Host) -> Host:
        """H^{-1}b."""
        first = self._once(b)
        return first + self._once(b - first @ self.matrix)

    def square(self, b: Host) -> Host:
        """bᵀH^{-1}b [...], as the square of L^{-1}b: never negative."""
        half = scipy.linalg.solve_triangular(self.factor, np.atleast_2d(b).T, lower=True)
        return np.sum(half**2, axis=0).reshape(b.shape[:-1])

    def _once(self, b: Host) -> Host:
        solved = scipy.linalg.cho_solve((self.factor, True), np.atleast_2d(b).T)
        return solved.T.reshape(b.shape)
