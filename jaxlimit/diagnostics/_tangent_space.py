"""The derivative F_0 of a network's outputs at its start, applied chunk by chunk of neurons and never formed."""

from collections.abc import Iterator
from typing import NamedTuple

import equinox as eqx
import numpy as np

from jaxlimit._numerics import UNIT, symmetrised
from jaxlimit._typing import Host
from jaxlimit.kernels import Gram
from jaxlimit.networks import Shallow

STREAMED = 2**20
"""Numbers in an array of a chunk: beyond it they leave the caches."""

LEAST = 128
"""Parameters in a chunk at least: shorter products are slow."""


class Parameters(NamedTuple):
    """`Neurons`, or a difference of them, as NumPy arrays: c [*batch, neurons], w [*batch, neurons, inputs]."""

    c: Host
    w: Host


class Chunk(NamedTuple):
    """The neurons `where`, and their w_k·x_i [neurons, points]."""

    where: slice
    u: Host


class TangentSpace(eqx.Module):
    """F_0 [parameters, points] with the columns ∂f(x_i)/∂θ at `start`, f(x) = output · Σ_k c_k σ(w_k·x).

    θ is w where the network's output layer is not trained, and (c, w) where it is. All in float64 on the host.
    """

    network: Shallow
    start: Parameters
    x: Host
    output: float = eqx.field(static=True)

    def rows(self, copies: int = 1) -> int:
        """Parameters in a chunk, where each comes in that many copies."""
        return max(LEAST, STREAMED // (max(self.x.shape) * copies))

    def chunks(self, copies: int = 1) -> Iterator[Chunk]:
        """All neurons in turn."""
        rows = self.rows(copies)
        for first in range(0, self.start.c.size, rows):
            where = slice(first, min(first + rows, self.start.c.size))
            yield Chunk(where, self.start.w[where] @ self.x.T)

    def features(self, chunk: Chunk) -> Host:
        """σ(w_k·x_i) [neurons, points]."""
        return self.network.activation.on_host(chunk.u)

    def slopes(self, chunk: Chunk) -> Host:
        """c_k σ'(w_k·x_i) [neurons, points]."""
        return self.network.activation.derivative_on_host(chunk.u) * self.start.c[chunk.where, None]

    def values_and_gram(self) -> tuple[Host, Gram]:
        """f_0 [points], and F_0ᵀF_0 [points, points] with a bound of its rounding, features taken as they come.

        By Cauchy and Schwarz the moduli of N products v_ki v_kj sum to √(V_ii V_jj) at most, and in chunks of r a sum
        is off by (r + N/r)u of that; x_i·x_j is off by d·u·|x_i||x_j|. 1.01 and 16u pay for the rest.
        """
        neurons, points = self.start.c.size, len(self.x)
        values, total, moved = np.zeros(points), np.zeros((points, points)), np.zeros((points, points))
        for chunk in self.chunks():
            features, slopes = self.features(chunk), self.slopes(chunk)
            values += self.start.c[chunk.where] @ features
            moved += slopes.T @ slopes
            if self.network.train_output:
                total += features.T @ features
        inner = self.x @ self.x.T
        sizes = np.sqrt(np.diag(total)), np.sqrt(np.diag(moved)) * np.linalg.norm(self.x, axis=1)
        additions = self.rows() + -(-neurons // self.rows()) + self.x.shape[1] + 16
        moduli = np.outer(sizes[0], sizes[0]) + np.outer(sizes[1], sizes[1])
        square = self.output**2
        radius = 1.01 * additions * UNIT * square * moduli
        gram = Gram(
            symmetrised(square * (total + moved * inner)),
            radius,
            assumptions=("σ and σ' at the start are taken as float64 gives them",),
            semidefinite=True,
        )
        return self.output * values, gram

    def transposed(self, chunk: Chunk, move: Parameters) -> Host:
        """This chunk's part of F_0ᵀv [*batch, points], for these neurons' v."""
        found = np.einsum("...kn,kn->...n", move.w @ self.x.T, self.slopes(chunk))
        if self.network.train_output:
            found = found + move.c @ self.features(chunk)
        return self.output * found

    def image(self, chunk: Chunk, coefficients: Host) -> Parameters:
        """This chunk's part of F_0 α, for α [*batch, points]."""
        w = self.output * ((coefficients[..., None, :] * self.slopes(chunk)) @ self.x)
        if not self.network.train_output:
            return Parameters(np.zeros(w.shape[:-1]), w)
        return Parameters(self.output * (coefficients @ self.features(chunk).T), w)
