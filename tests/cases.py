"""Every variant of the package in one table, with what is known of it from elsewhere.

A battery of tests runs on each line; `test_completeness.py` fails if a public class has no line. The
references are NumPy, SciPy and mpmath: nothing here calls the package for an answer.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special
import scipy.stats

import jaxlimit as jl
from tests import duals, layer_cases
from tests.statistics.alterations import StatisticCase, by_direction, by_frequency, shifted_apart, stretched


@dataclass(frozen=True)
class ActivationCase:
    """σ and σ' in NumPy and in mpmath, the kernel rule it needs, and the facts it must declare."""

    activation: Any
    rule: Any
    sigma: Callable
    slope: Callable
    precise: Callable
    odd: bool
    homogeneous: bool
    smooth: bool
    bounded: bool
    polynomial: bool
    even: bool = False
    constant_even_part: bool = False
    linear_odd_part: bool = False
    dual: Callable | None = None
    """mpmath: E σ(u)σ(u') from a = Var u, b = Var u', r = Cov(u, u'), in a form other than the package's."""
    dual_derivative: Callable | None = None
    """mpmath: E σ'(u)σ'(u'), which is the derivative of `dual` in r."""


@dataclass(frozen=True)
class LawCase:
    """A law of one coordinate: its first two moments, and its distribution function or its atoms."""

    law: Any
    mean: float
    second_moment: float
    compact: bool
    full: bool
    cdf: Callable | None = None
    atoms: dict = field(default_factory=dict)


@dataclass(frozen=True)
class LossCase:
    """ℓ(g, y) and ∂ℓ/∂g in NumPy, where their formulae are good, the bound of ∂²ℓ/∂g², and whether targets are ±1."""

    loss: Any
    value: Callable
    derivative: Callable
    curvature: float | None = 1.0
    signs: bool = False


ACTIVATIONS = {
    "erf": ActivationCase(
        jl.activations.Erf(),
        None,
        sigma=scipy.special.erf,
        slope=lambda u: 2 / np.sqrt(np.pi) * np.exp(-(u**2)),
        precise=mpmath.erf,
        odd=True,
        homogeneous=False,
        smooth=True,
        bounded=True,
        polynomial=False,
        dual=duals.erf,
        dual_derivative=duals.erf_derivative,
    ),
    "relu": ActivationCase(
        jl.activations.Relu(),
        None,
        sigma=lambda u: np.maximum(u, 0.0),
        slope=lambda u: np.heaviside(u, 0.0),
        precise=lambda u: max(u, mpmath.mpf(0)),
        odd=False,
        homogeneous=True,
        smooth=False,
        bounded=False,
        polynomial=False,
        linear_odd_part=True,
        dual=duals.relu,
        dual_derivative=duals.relu_derivative,
    ),
    "tanh": ActivationCase(
        jl.activations.Tanh(),
        jl.kernels.Quadrature(),
        sigma=np.tanh,
        slope=lambda u: 1 / np.cosh(u) ** 2,
        precise=mpmath.tanh,
        odd=True,
        homogeneous=False,
        smooth=True,
        bounded=True,
        polynomial=False,
    ),
    "probit": ActivationCase(
        jl.activations.Probit(),
        None,
        sigma=scipy.special.ndtr,
        slope=duals.density,
        precise=mpmath.ncdf,
        odd=False,
        homogeneous=False,
        smooth=True,
        bounded=True,
        polynomial=False,
        constant_even_part=True,
        dual=duals.probit,
        dual_derivative=lambda a, b, r: 1 / (2 * mpmath.pi * mpmath.sqrt((1 + a) * (1 + b) - r * r)),
    ),
    "sin": ActivationCase(
        jl.activations.Sin(),
        None,
        sigma=np.sin,
        slope=np.cos,
        precise=mpmath.sin,
        odd=True,
        homogeneous=False,
        smooth=True,
        bounded=True,
        polynomial=False,
        dual=duals.decayed(mpmath.sinh),
        dual_derivative=duals.decayed(mpmath.cosh),
    ),
    "cos": ActivationCase(
        jl.activations.Cos(),
        None,
        sigma=np.cos,
        slope=lambda u: -np.sin(u),
        precise=mpmath.cos,
        odd=False,
        homogeneous=False,
        smooth=True,
        bounded=True,
        polynomial=False,
        even=True,
        dual=duals.decayed(mpmath.cosh),
        dual_derivative=duals.decayed(mpmath.sinh),
    ),
    "sin + cos": ActivationCase(
        jl.activations.SinCos(),
        None,
        sigma=lambda u: np.sin(u) + np.cos(u),
        slope=lambda u: np.cos(u) - np.sin(u),
        precise=lambda u: mpmath.sin(u) + mpmath.cos(u),
        odd=False,
        homogeneous=False,
        smooth=True,
        bounded=True,
        polynomial=False,
        dual=duals.decayed(mpmath.exp),
        dual_derivative=duals.decayed(mpmath.exp),
    ),
    "identity": ActivationCase(
        jl.activations.Identity(),
        None,
        sigma=lambda u: u,
        slope=lambda u: np.where(np.isnan(u), u, 1.0),
        precise=lambda u: u,
        odd=True,
        homogeneous=True,
        smooth=True,
        bounded=False,
        polynomial=True,
        dual=lambda a, b, r: r,
        dual_derivative=lambda a, b, r: mpmath.mpf(1),
    ),
    "Hermite 2": ActivationCase(
        jl.activations.Hermite(2),
        None,
        sigma=lambda u: (u**2 - 1) / np.sqrt(2),
        slope=lambda u: np.sqrt(2) * u,
        precise=lambda u: (u**2 - 1) / mpmath.sqrt(2),
        odd=False,
        homogeneous=False,
        smooth=True,
        bounded=False,
        polynomial=True,
        even=True,
        dual=lambda a, b, r: (a * b + 2 * r * r - a - b + 1) / 2,  # Isserlis
        dual_derivative=lambda a, b, r: 2 * r,
    ),
    "Hermite 3": ActivationCase(
        jl.activations.Hermite(3),
        None,
        sigma=lambda u: (u**3 - 3 * u) / np.sqrt(6),
        slope=lambda u: (3 * u**2 - 3) / np.sqrt(6),
        precise=lambda u: (u**3 - 3 * u) / mpmath.sqrt(6),
        odd=True,
        homogeneous=False,
        smooth=True,
        bounded=False,
        polynomial=True,
        dual=lambda a, b, r: (9 * a * b * r + 6 * r**3 - 9 * (a + b) * r + 9 * r) / 6,
        dual_derivative=lambda a, b, r: (9 * a * b + 18 * r**2 - 9 * (a + b) + 9) / 6,
    ),
    "logistic": ActivationCase(
        jl.activations.Logistic(),
        jl.kernels.Quadrature(),
        sigma=scipy.special.expit,
        slope=lambda u: scipy.special.expit(u) * scipy.special.expit(-u),
        precise=lambda u: 1 / (1 + mpmath.exp(-u)),
        odd=False,
        homogeneous=False,
        smooth=True,
        bounded=True,
        polynomial=False,
        constant_even_part=True,
    ),
    "gelu": ActivationCase(
        jl.activations.Gelu(),
        jl.kernels.Quadrature(),
        sigma=lambda u: u * scipy.special.ndtr(u),
        slope=lambda u: scipy.special.ndtr(u) + u * duals.density(u),
        precise=lambda u: u * mpmath.ncdf(u),
        odd=False,
        homogeneous=False,
        smooth=True,
        bounded=False,
        polynomial=False,
        linear_odd_part=True,
    ),
    "softplus": ActivationCase(
        jl.activations.Softplus(),
        jl.kernels.Quadrature(),
        sigma=lambda u: np.maximum(u, 0) + np.log1p(np.exp(-np.abs(u))),
        slope=scipy.special.expit,
        precise=lambda u: mpmath.log1p(mpmath.exp(u)),
        odd=False,
        homogeneous=False,
        smooth=True,
        bounded=False,
        polynomial=False,
        linear_odd_part=True,
    ),
    "Gaussian bump": ActivationCase(
        jl.activations.GaussianBump(),
        None,
        sigma=lambda u: np.exp(-0.5 * u * u),
        slope=lambda u: -u * np.exp(-0.5 * u * u),
        precise=lambda u: mpmath.exp(-u * u / 2),
        odd=False,
        homogeneous=False,
        smooth=True,
        bounded=True,
        polynomial=False,
        even=True,
        dual=duals.bump,
        dual_derivative=lambda a, b, r: r * duals.bump(a, b, r) ** 3,
    ),
}

CHAINS = {name: ACTIVATIONS[name] for name in ("erf", "relu", "tanh")}
"""A simulation knows σ by its values and slopes alone: a smooth one, a kinked one and one without closed form."""

THREE = jl.initial.Discrete([2.0, -1.0, 0.5], [0.25, 0.625, 0.125])

LAWS = {
    "normal": LawCase(jl.initial.Normal(), 0.0, 1.0, compact=False, full=True, cdf=scipy.stats.norm.cdf),
    "normal, shifted": LawCase(
        jl.initial.Normal(0.5, 2.0), 0.5, 4.25, compact=False, full=True, cdf=scipy.stats.norm(0.5, 2.0).cdf
    ),
    "uniform": LawCase(jl.initial.Uniform(), 0.0, 1 / 3, compact=True, full=False, cdf=scipy.stats.uniform(-1, 2).cdf),
    "uniform, shifted": LawCase(
        jl.initial.Uniform(-1.0, 3.0), 1.0, 7 / 3, compact=True, full=False, cdf=scipy.stats.uniform(-1, 4).cdf
    ),
    "rademacher": LawCase(jl.initial.Rademacher(0.5), 0.0, 0.25, compact=True, full=False, atoms={-0.5: 0.5, 0.5: 0.5}),
    "discrete": LawCase(THREE, -0.0625, 1.65625, compact=True, full=False, atoms={2.0: 0.25, -1.0: 0.625, 0.5: 0.125}),
    "point": LawCase(jl.initial.Dirac(0.5), 0.5, 0.25, compact=True, full=False, atoms={0.5: 1.0}),
}

VECTOR_LAWS = {
    "normal with a covariance": jl.initial.MultivariateNormal([[2.0, 0.6, 0.0], [0.6, 1.0, -0.3], [0.0, -0.3, 0.5]])
}
"""Laws of all of w, in three coordinates."""

LOSSES = {
    "squared error": LossCase(jl.SquaredError(), lambda g, y: 0.5 * (y - g) ** 2, lambda g, y: g - y),
    "Huber": LossCase(
        jl.Huber(0.7),
        lambda g, y: np.where(np.abs(g - y) <= 0.7, 0.5 * (g - y) ** 2, 0.7 * (np.abs(g - y) - 0.35)),
        lambda g, y: np.where(np.abs(g - y) <= 0.7, g - y, 0.7 * np.sign(g - y)),
    ),
    "pseudo-Huber": LossCase(
        jl.PseudoHuber(0.7),
        lambda g, y: 0.49 * (np.sqrt(1 + ((g - y) / 0.7) ** 2) - 1),
        lambda g, y: (g - y) / np.sqrt(1 + ((g - y) / 0.7) ** 2),
    ),
    "logistic": LossCase(
        jl.Logistic(),
        lambda g, y: np.log(1 + np.exp(-y * g)),
        lambda g, y: -y / (1 + np.exp(y * g)),
        curvature=0.25,
        signs=True,
    ),
    "exponential": LossCase(
        jl.Exponential(), lambda g, y: np.exp(-y * g), lambda g, y: -y * np.exp(-y * g), curvature=None, signs=True
    ),
    "bounded quadratic": LossCase(
        jl.BoundedQuadratic(),
        lambda g, y: (y - g) ** 2 / (1 + (y - g) ** 2),
        lambda g, y: 2 * (g - y) / (1 + (y - g) ** 2) ** 2,
        curvature=2.0,
    ),
}

SCALINGS = {f"gamma {gamma:g}": jl.PowerScaling(gamma) for gamma in (0.5, 0.6, 0.75, 1.0)}

STEPS = {"fixed step": jl.FixedStep(0.25), "fixed step, no factor": jl.FixedStep(0.1, gamma=0.0)}

NETWORKS = {
    "shallow": jl.networks.Shallow(jl.activations.Erf(), jl.Initial()),
    "linearised": jl.networks.Linearised(jl.networks.Shallow(jl.activations.Erf())),
    **layer_cases.NETWORKS,
}

RULES = {
    "closed form": jl.kernels.ClosedForm(),
    "quadrature": jl.kernels.Quadrature(),
    "Monte Carlo": jl.kernels.MonteCarlo(20_000),
}

METHODS = {
    "stepwise": jl.Stepwise(native=False),
    "stepwise, native": jl.Stepwise(native=True),
    "s-step": jl.SStep(block=16),
}

LIMITS = {
    "spectral": jl.SpectralLimit,
    "krylov": jl.KrylovLimit,
    "ode": jl.OdeLimit,
    "epsilon flow": jl.EpsilonFlow,
    "mean field": jl.MeanFieldLimit,
    "fluctuation": jl.FluctuationLimit,
    "multilayer": jl.MultilayerLimit,
}

STATISTICS = {
    "mean shift": StatisticCase(jl.statistics.MeanShift()),
    "variance ratio": StatisticCase(jl.statistics.VarianceRatio(), stretched),
    "Kolmogorov-Smirnov": StatisticCase(jl.statistics.KolmogorovSmirnov(), shifted_apart),
    "energy distance": StatisticCase(jl.statistics.EnergyDistance(features=24), by_frequency),
    "kernel discrepancy": StatisticCase(jl.statistics.KernelDiscrepancy(features=24), by_frequency),
    "whitened moments": StatisticCase(jl.statistics.WhitenedMoments()),
    "Bures-Wasserstein": StatisticCase(jl.statistics.BuresWasserstein()),
    "sliced": StatisticCase(jl.statistics.Sliced(directions=12, permutations=99), by_direction),
}


def each(table):
    """Parametrise a test over a table: `@pytest.mark.parametrize("case", each(ACTIVATIONS))`."""
    return [pytest.param(case, id=name) for name, case in table.items()]


def most_slow(cases):
    """The first case always, the others with the slow tests: each is a program to compile."""
    first, *others = cases
    return [first, *(pytest.param(*case.values, id=case.id, marks=pytest.mark.slow) for case in others)]
