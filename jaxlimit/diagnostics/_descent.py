"""How fast the training loss starts to fall, from the kernel of the start."""

from typing import Any, NamedTuple

import jax
import numpy as np

from jaxlimit._arguments import instance, positive_integer, positive_number, random_key, require
from jaxlimit._typing import Host, RandomKey
from jaxlimit.initial import Initial, Rademacher
from jaxlimit.kernels import AbstractRule, Gram, gram, initial_covariance
from jaxlimit.networks import Shallow
from jaxlimit.problem import Problem

NEURONS = 16_384
"""Draws of one neuron behind the standard deviation of the rate, which they give to about one per cent."""

SMALL = 1e-3
"""Step of the central differences that give the second and third derivative of ℓ at g = 0, to about 10⁻⁶."""


class DescentRate(NamedTuple):
    """dL/dt at the start, where t = αη·k for k steps of size η of the mean loss at the learning rate α.

    A step changes L by αη·`value` where it is small. With ReLU no w_k may move by more than a small part of itself, so
    that αη·s|c_k| is far below the standard deviation of w, for the factor s of the output: with s|c_k| = N^{−1/2} that
    is αη ≪ std·√N. Neurons that change sides in a larger step make it lower L by less.

    `value` = `hidden` + `output`, the parts of w and of c; `error` bounds what the kernel's entries owe, and adds the
    size of the second order in the network's output at the start, which is not zero, and which `value` takes for zero.
    `deviation` is the standard deviation over starts at this width, to leading order in width^{−1/2}, with the standard
    error `deviation_error` of its Monte Carlo.
    """

    value: float
    hidden: float
    output: float
    error: float
    deviation: float
    deviation_error: float

    def interval(self, replicas: int = 1, deviations: float = 5.0) -> tuple[float, float]:
        """Where the mean rate of so many replicas lies: value ± (error + deviations·deviation/√replicas).

        >>> import jaxlimit as jl
        >>> rate = jl.diagnostics.DescentRate(-0.5, -0.4, -0.1, 0.0, 0.01, 0.0)
        >>> rate.interval(replicas=4, deviations=2.0)
        (-0.51, -0.49)
        """
        count, times = positive_integer("replicas", replicas), positive_number("deviations", deviations)
        half = self.error + times * self.deviation / count**0.5
        return self.value - half, self.value + half


def initial_descent_rate(
    problem: Problem, width: int, *, key: RandomKey, rule: AbstractRule | None = None
) -> DescentRate:
    """How fast full-batch gradient descent of a `Shallow` network starts to lower the loss.

    dL/dt(0) = −Σ_ij π_i π_j ℓ'_i ℓ'_j K_ij with ℓ'_i = ∂ℓ/∂g(0, y_i), and K = s²N(N^{2p} B_w + B_c) for the factor s of
    the output, `width_power` p, and the kernel's parts B_w of w and B_c of c (zero with `train_output=False`). With
    c = ±N^{−1/2}, s = 1 and equal weights the part of w is −ℓ'(0)² n^{−2} yᵀH^∞y, where ℓ'(0)² is 1 for the squared
    error and the exponential loss and 1/4 for the logistic one. `rule` is that of `gram`; `key` draws neurons for the
    standard deviation. Raises ``ValueError`` for other networks and where E c ≠ 0, as the output then does not start
    near zero. Source: references `mild`.

        >>> import jax, jaxlimit as jl
        >>> law = jl.Initial(jl.initial.Rademacher(), jl.initial.Normal(0, 0.01), width_power=-0.5)
        >>> network = jl.networks.Shallow(jl.activations.Relu(), law)
        >>> problem = jl.Problem(jl.Data([[1.0, 0.0]], [1.0]), network, jl.FixedStep(0.1, gamma=0))
        >>> rate = jl.diagnostics.initial_descent_rate(problem, 100, key=jax.random.key(0))
        >>> round(rate.hidden, 12), round(rate.output, 12), round(rate.deviation, 2)
        (-0.5, -0.005, 0.05)
    """
    network = instance("problem", instance("problem", problem, Problem).network, Shallow, "have a Shallow network")
    width, key, law = positive_integer("width", width), random_key(key), network.initial
    require(law.c.mean == 0, "problem", "start with E c = 0", f"it is {law.c.mean:g}")
    loss: Any = problem.loss
    x, y, weights, sigma = problem.data.x, problem.data.y, problem.data.weights, network.activation
    of_c = problem.scaling.output(width) ** 2 * width
    of_w = of_c * float(width) ** (2 * law.width_power)
    # The laws of c and w without the power of the width, and with signs for c, whose kernel is E σσ' alone.
    own, signs = Initial(law.c, law.w), Initial(Rademacher(), law.w)
    hidden = gram(Shallow(sigma, own, train_output=False), x, rule=rule)
    start = of_w * initial_covariance(Shallow(sigma, own), x, rule=rule).value
    output = initial_covariance(Shallow(sigma, signs), x, rule=rule)
    learnt = of_c if network.train_output else 0.0
    kernel = of_w * hidden.value + learnt * output.value
    below, at, above = (np.asarray(loss.derivative(np.full_like(y, g), y), np.float64) for g in (-SMALL, 0.0, SMALL))
    first, second = weights * at, weights * (above - below) / (2 * SMALL)
    third = weights * (above - 2 * at + below) / SMALL**2
    # E ℓ'_i ℓ'_j to second order in the output at the start, whose covariance is `start`.
    shift = second @ (kernel * start) @ second + (third * np.diag(start)) @ kernel @ first
    doubt = np.abs(first) @ (of_w * _doubt(hidden) + learnt * _doubt(output)) @ np.abs(first)
    of_hidden, of_output = -of_w * float(first @ hidden.value @ first), -learnt * float(first @ output.value @ first)
    # The rate is the mean over the neurons of −sample, to leading order.
    of_key_c, of_key_w = jax.random.split(key)
    c = np.asarray(law.c.sample(of_key_c, (NEURONS,)), np.float64) * float(width) ** law.width_power
    u = np.asarray(law.w.sample(of_key_w, (NEURONS, problem.data.inputs)), np.float64) @ x.T
    features, slopes = sigma.on_host(u), c[:, None] * sigma.derivative_on_host(u)
    sample = of_c * np.sum(((slopes * first) @ x) ** 2, axis=1) + learnt * (features @ first) ** 2
    sample += 2.0 * problem.scaling.output(width) * width * c * (features @ (second * (kernel @ first)))
    deviation, its_error = _deviation(sample)
    scale = width**-0.5
    return DescentRate(
        of_hidden + of_output, of_hidden, of_output, float(abs(shift) + doubt), scale * deviation, scale * its_error
    )


def _doubt(kernel: Gram) -> Host:
    """What an entry may be off: its radius, and the standard error of a Monte Carlo one."""
    found = np.zeros_like(kernel.value)
    for doubt in (kernel.radius, kernel.standard_error):
        found = found if doubt is None else found + doubt
    return found


def _deviation(sample: Host) -> tuple[float, float]:
    """Standard deviation of a sample and its standard error."""
    squares = (sample - sample.mean()) ** 2
    deviation = float(np.sqrt(squares.mean()))
    return deviation, float(np.std(squares) / (2.0 * max(deviation, 1e-300) * np.sqrt(len(sample))))
