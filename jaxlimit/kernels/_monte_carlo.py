"""Duals by independent draws of w, with standard errors: any law and any activation."""

import equinox as eqx
import jax
import numpy as np

from jaxlimit._arguments import natural_number, positive_integer, require
from jaxlimit._numerics import UNIT
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation
from jaxlimit.initial import AbstractLaw
from jaxlimit.kernels._rules import AbstractRule, Block, Duals

CHUNK = 2048
"""Neurons drawn together; part of what a seed means, since every chunk has a key of its own."""

ASSUMED = "entries of MonteCarlo are averages of {} draws of w: their errors are the standard errors, not the radius"


class MonteCarlo(AbstractRule):
    """Averages of σ(w·x)σ(w·x') and σ'(w·x)σ'(w·x') over `neurons` independent draws of w, in float64.

    For every initial law of w and every activation; c is integrated out. The Gram carries the standard error
    of every entry, √(Var f/neurons) with f = σσ' + E[c²] σ'σ'x·x', from the sample variances of both terms and
    their covariance. Errors of different entries are dependent: they come from the same draws, which depend on
    `seed` and the inputs' number alone, so that a Gram, a cross Gram and `initial_covariance` fit together.
    The smallest eigenvalue of one sample bounds nothing (it is too low on average), so certificates are
    UNDECIDED. Limits solved with it are solved with 16 further seeds, whose spread is the standard error of their
    laws; `standard_error` of a limit gives that of any other answer, and comparisons count it.
    Draws are those of the initial law, rounded to float32. Raises ``ValueError`` for fewer
    than two neurons.

        >>> import numpy as np, jaxlimit as jl
        >>> uniform = jl.initial.Uniform(-1.0, 1.0)
        >>> network = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial(w=uniform))
        >>> gram = jl.gram(network, np.eye(2), rule=jl.kernels.MonteCarlo(10_000))
        >>> bool(gram.standard_error.max() < 0.01), jl.certify(gram).status.value
        (True, 'UNDECIDED')
    """

    neurons: int = eqx.field(static=True)
    seed: int = eqx.field(static=True, default=0)

    def __check_init__(self) -> None:
        """A variance needs two draws."""
        neurons = positive_integer("neurons", self.neurons)
        require(neurons >= 2, "neurons", "be at least 2, or there is no standard error", f"it is {neurons}")
        seed = natural_number("seed", self.seed)
        require(seed < 2**32, "seed", "be below 2^32", f"it is {seed}")

    def prepare(self, activation: AbstractActivation, law: AbstractLaw, x: Host, x2: Host) -> Block:
        """All sums over neurons, in chunks; the returned function reads them off."""
        sums = np.zeros((5, len(x), len(x2)))
        sizes = np.zeros((2, 2, max(len(x), len(x2))))
        key = jax.random.key(self.seed)
        for number in range(-(-self.neurons // CHUNK)):
            draws = law.sample(jax.random.fold_in(key, number), (CHUNK, x.shape[1]))
            w = np.asarray(draws, np.float64)[: self.neurons - number * CHUNK]
            ours = _features(activation, w, x)
            theirs = ours if x2 is x else _features(activation, w, x2)
            squares = [(value * value, slope * slope, value * slope) for value, slope in (ours, theirs)]
            for total, left, right in zip(sums, (*ours, *squares[0]), (*theirs, *squares[1]), strict=True):
                total += left.T @ right
            for side, (value, slope, _) in enumerate(squares):
                sizes[side, 0, : value.shape[1]] += value.sum(axis=0)
                sizes[side, 1, : slope.shape[1]] += slope.sum(axis=0)
        means, n = sums / self.neurons, self.neurons
        value, derivative = means[:2]
        # Var and Cov of the averages; rounding may leave a vanishing difference below zero.
        value_variance = np.maximum(means[2] - value * value, 0.0) / (n - 1)
        derivative_variance = np.maximum(means[3] - derivative * derivative, 0.0) / (n - 1)
        covariance = (means[4] - value * derivative) / (n - 1)
        # Sums of n products in any order, by Cauchy and Schwarz; and of the pre-activations nothing is said.
        left, right = np.sqrt(sizes[0, :, : len(x)] / n), np.sqrt(sizes[1, :, : len(x2)] / n)
        rounding = 1.01 * (CHUNK + n / CHUNK + 4) * UNIT * left[:, :, None] * right[:, None, :]
        assumptions = (ASSUMED.format(n),)

        def block(rows: slice, columns: slice) -> Duals:
            at = rows, columns
            return Duals(
                value[at],
                derivative[at],
                rounding[0][at],
                rounding[1][at],
                assumptions,
                value_variance[at],
                derivative_variance[at],
                covariance[at],
            )

        return block


def _features(activation: AbstractActivation, w: Host, x: Host) -> tuple[Host, Host]:
    """σ(w·x) and σ'(w·x) [neurons, points]."""
    u = w @ x.T
    return activation.on_host(u), activation.derivative_on_host(u)
