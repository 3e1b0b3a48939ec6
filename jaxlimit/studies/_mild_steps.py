"""Steps of the study of the early stage, beside the kernel of the start: which are small, which are unstable."""

import math
from typing import Any

import numpy as np

from jaxlimit.initial import Initial, Rademacher
from jaxlimit.kernels import gram, initial_covariance
from jaxlimit.networks import Shallow
from jaxlimit.problem import Problem

SECOND_ORDER = 1e-3
"""η max|ℓ''| λ_max(K diag π) of the one step that shows the rate at the start: its second order, beside the first."""

KINK = 1e-2
"""How far w·x may go in that step, in its standard deviations: as many neurons, or fewer, pass the kink of ReLU."""

CENTRAL = 1e-3
"""Half the distance of the central difference for ℓ'' at g = 0."""


def largest_eigenvalue(problem: Problem, width: int) -> float:
    """λ_max(K diag π) of the kernel K of `initial_descent_rate`: a step multiplies residuals by 1 − ηℓ''λ."""
    network: Any = problem.network
    law, sigma, x = network.initial, network.activation, problem.data.x
    of_c = problem.scaling.output(width) ** 2 * width
    kernel = gram(Shallow(sigma, Initial(law.c, law.w), train_output=False), x).value
    kernel = of_c * float(width) ** (2 * law.width_power) * kernel
    if network.train_output:
        kernel = kernel + of_c * initial_covariance(Shallow(sigma, Initial(Rademacher(), law.w)), x).value
    root = np.sqrt(problem.data.weights)
    return float(np.linalg.eigvalsh(root[:, None] * kernel * root)[-1])


def small_step(problem: Problem, width: int) -> float:
    """The η after which dL/dt is still that of the start: L bends by ℓ'' and, where w is small, at ReLU's kinks.

    The first asks for η ≪ 1/(max|ℓ''| λ_max(K diag π)); the second that w_k·x_i moves, by
    η s|c_k| Σ_j π_j|ℓ'_j||x_i·x_j| or less for the factor s of the output, much less than its standard deviation: for
    c = ±N^{−1/2} and s = 1 that is η ≪ std·√N.
    """
    network: Any = problem.network
    loss: Any = problem.loss
    data, law = problem.data, network.initial
    below, at, above = (np.asarray(loss.derivative(np.full_like(data.y, g), data.y)) for g in (-CENTRAL, 0.0, CENTRAL))
    bend = loss.curvature or float(np.max(np.abs(above - below))) / (2.0 * CENTRAL)
    size = problem.scaling.output(width) * math.sqrt(law.c.second_moment) * float(width) ** law.width_power
    moves = size * (np.abs(data.x @ data.x.T) @ (data.weights * np.abs(at)))
    kink = KINK * float(np.min(law.w.deviations(data.x) / moves))
    return min(SECOND_ORDER / max(bend * largest_eigenvalue(problem, width), 1e-300), kink)
