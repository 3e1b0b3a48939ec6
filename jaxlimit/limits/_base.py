"""What a limit must offer, and the kernel that the linear limits share."""

import dataclasses
from abc import abstractmethod
from collections.abc import Callable
from typing import Self

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import instance, real_array, require
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations import AbstractActivation
from jaxlimit.data import Data
from jaxlimit.initial import AbstractLaw
from jaxlimit.kernels import AbstractRule, Block, Gram, MonteCarlo, gram, initial_covariance
from jaxlimit.networks import Shallow
from jaxlimit.paths import GaussianPath, spread
from jaxlimit.problem import Problem
from jaxlimit.scalings import PowerScaling

REPEATS = 16
"""Further sets of draws of a random kernel: their spread is a standard error of 15 degrees of freedom, good to 18%."""
STRIDE = 0x9E3779B9
"""Between the seeds of repeats: 2³² over the golden ratio, far from the small numbers that people choose."""


class AbstractLimit(eqx.Module):
    """The answer to a problem at N = ∞."""

    @abstractmethod
    def path(
        self, h0: ArrayLike, ts: ArrayLike, at: ArrayLike | None = None, h0_at: ArrayLike | None = None
    ) -> Float[Host, "*batch times points"]:
        """The limit equation solved from the given start."""


class Repeat(AbstractRule):
    """Other draws for a kernel that is a Monte Carlo estimate. They are there to show a spread, and have no repeats."""

    rule: MonteCarlo

    def prepare(self, activation: AbstractActivation, law: AbstractLaw, x: Host, x2: Host) -> Block:
        """As its rule."""
        return self.rule.prepare(activation, law, x, x2)


class AbstractKernelLimit(AbstractLimit):
    """A limit that is solved from the kernel B on the data: what its error is where B is a Monte Carlo estimate."""

    kernel: eqx.AbstractVar["LinearKernel"]

    @abstractmethod
    def with_rule(self, rule: AbstractRule | None) -> Self:
        """The same limit with another rule for its kernel."""

    def repeats(self) -> list[Self]:
        """The same limit from `REPEATS` further sets of draws, independent of its own and of each other.

        Empty where the kernel has no standard errors. They cost `REPEATS` more kernels. Raises ``ValueError`` where
        the rule has standard errors but is not `MonteCarlo`, the one whose draws can be repeated.
        """
        return [self.with_rule(rule) for rule in self.kernel.repeated_rules()]

    def standard_error(self, answer: Callable[[Self], ArrayLike]) -> Host:
        """Standard error of any answer of this limit where its kernel comes from `MonteCarlo`, else zeros.

        The standard deviation of answer(limit) over `repeats`, in the shape of the answer: with 15 degrees of freedom,
        all nonlinearity included. It leaves out a bias of order 1/neurons. `law` carries its own.
        Raises ``ValueError`` as `repeats`.

            >>> import numpy as np, jaxlimit as jl
            >>> network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
            >>> problem = jl.Problem(jl.Data([[1.0, 0.0], [0.6, 0.8]], [1.0, -1.0]), network)
            >>> limit = jl.SpectralLimit(problem, rule=jl.kernels.MonteCarlo(10_000))
            >>> error = limit.standard_error(lambda limit: limit.path([0.0, 0.0], [1.0]))
            >>> error.shape, bool(0 < error.min() < error.max() < 0.01)
            ((1, 2), True)
        """
        found = [np.asarray(answer(limit), np.float64) for limit in self.repeats()]
        return spread(found, found[0] if found else np.asarray(answer(self)))

    def carrying(self, answer: Callable[[Self], GaussianPath]) -> GaussianPath:
        """A law of this limit with those of its repeats."""
        law, repeats = answer(self), tuple(answer(limit) for limit in self.repeats())
        return GaussianPath(law.ts, law.mean, law.covariance, repeats)


class LinearKernel(eqx.Module):
    """Kernel B and start covariance Σ of the problem on its data, and the drift matrix A = α B diag(π).

    Raises ``ValueError`` where the problem has no such limit: γ = 1, E c ≠ 0, or a network that is not
    `Shallow`. Source: references `xavier`, `normalisation`.
    """

    problem: Problem
    network: Shallow
    rule: AbstractRule | None
    random_start: bool = eqx.field(static=True)
    """Whether h_0 is random: at γ = 1/2 it is N(0, Σ), above it vanishes."""
    gram: Gram
    covariance: Gram

    def __init__(self, problem: Problem, rule: AbstractRule | None = None):
        instance("problem", problem, Problem)
        scaling = problem.scaling
        linear = isinstance(scaling, PowerScaling) and scaling.gamma < 1.0
        require(linear, "problem", "have a scaling N^−γ with γ < 1 for this limit", f"its scaling is {scaling}")
        network = instance("problem", problem.network, Shallow, "have a Shallow network")
        mean = network.initial.c.mean
        require(
            mean == 0.0,
            "problem",
            "have an initial law with E c = 0 (otherwise h_0 grows like N^{1−γ})",
            f"E c = {mean:g}",
        )
        self.problem, self.network = problem, network
        self.random_start = scaling.gamma == 0.5  # type: ignore[attr-defined]
        self.rule = rule
        self.gram = gram(network, problem.data.x, rule=rule)
        self.covariance = initial_covariance(network, problem.data.x, rule=rule)

    def repeated_rules(self) -> list[AbstractRule]:
        """Rules for other draws of this kernel, or none; for whom and what is refused see `AbstractKernelLimit`."""
        if self.gram.standard_error is None or isinstance(self.rule, Repeat):
            return []
        rule = instance("rule", self.rule, MonteCarlo, "be MonteCarlo where the kernel is random, to draw it again")
        seeds = [(rule.seed + k * STRIDE) % 2**32 for k in range(1, REPEATS + 1)]
        return [Repeat(dataclasses.replace(rule, seed=seed)) for seed in seeds]

    def drift(self) -> Float[Host, "points points"]:
        """A_ij = α B(x_i, x_j) π_j."""
        return self.problem.learning_rate * self.gram.value * self.problem.data.weights[None, :]

    def cross_drift(self, at: Float[Host, "extra inputs"]) -> Float[Host, "extra points"]:
        """α B(x, x_j) π_j for the extra points x."""
        data = self.problem.data
        cross = gram(self.network, at, data.x, rule=self.rule).value
        return self.problem.learning_rate * cross * data.weights[None, :]

    def joint_covariance(
        self, at: Float[Host, "extra inputs"] | None, width: int | None = None
    ) -> Float[Host, "all all"]:
        """Covariance of h_0 on the data, then on the extra points: N^{1−2γ}Σ at a width N, its limit for None.

        Neurons are independent and E c = 0, so this is exact at every width. The limit is Σ at γ = 1/2
        and zero above.
        """
        data, network = self.problem.data, self.network
        if width is None:
            factor = float(self.random_start)
        else:
            gamma: float = self.problem.scaling.gamma  # type: ignore[attr-defined]
            factor = float(width) ** (1.0 - 2.0 * gamma)
        size = data.points + (0 if at is None else at.shape[0])
        if factor == 0:
            return np.zeros((size, size))
        if at is None:
            return factor * self.covariance.value
        cross = initial_covariance(network, at, data.x, rule=self.rule).value
        own = initial_covariance(network, at, rule=self.rule).value
        return factor * np.block([[self.covariance.value, cross.T], [cross, own]])

    def extra_points(self, at: ArrayLike | None) -> Float[Host, "extra inputs"] | None:
        """The extra inputs checked: [extra, inputs] in float64, or None."""
        return extra_points(self.problem.data, at)

    def start(self, h0: ArrayLike, at: Host | None, h0_at: ArrayLike | None) -> Float[Host, "*batch all"]:
        """h_0 on the data and on the extra points, joined along the last axis."""
        return joined_start(self.problem.data, h0, at, h0_at)


def extra_points(data: Data, at: ArrayLike | None) -> Float[Host, "extra inputs"] | None:
    """The extra inputs checked: [extra, inputs] in float64, or None."""
    if at is None:
        return None
    points = real_array("at", at, 2)
    fits = points.shape[1] == data.inputs
    require(fits, "at", f"have {data.inputs} inputs like the data", f"it has {points.shape[1]}")
    return points


def joined_start(data: Data, h0: ArrayLike, at: Host | None, h0_at: ArrayLike | None) -> Float[Host, "*batch all"]:
    """h_0 on the data and on the extra points, checked and joined along the last axis."""
    h0 = real_array("h0", h0, None)
    fits = h0.ndim >= 1 and h0.shape[-1] == data.points
    require(fits, "h0", f"have {data.points} points on its last axis", f"it is {h0.shape}")
    require((at is None) == (h0_at is None), "h0_at", "be given exactly when `at` is", "only one of them is")
    if at is None:
        return h0
    extra = real_array("h0_at", h0_at, None)
    wanted = (*h0.shape[:-1], at.shape[0])
    require(extra.shape == wanted, "h0_at", f"have shape {wanted}", f"it is {extra.shape}")
    return np.concatenate([h0, extra], axis=-1)
