"""Gaussian weights with a covariance."""

from functools import lru_cache
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.linalg
from jaxtyping import Array, Float

from jaxlimit._arguments import real_array, require
from jaxlimit._numerics import UNIT, square_root
from jaxlimit._typing import ArrayLike, Host, RandomKey
from jaxlimit.initial._base import AbstractLaw, Coordinates, flat

Rows = tuple[tuple[float, ...], ...]


class MultivariateNormal(AbstractLaw):
    """w ~ N(0, S) with S [inputs, inputs] symmetric and positive semi-definite; for w only.

    w = Lξ with S = LLᵀ and ξ ~ N(0, I), so that the duals of points x are those of z = Lᵀx under N(0, I); the
    factor x·x' of the kernel stays. What rounding of L and z does to an entry is part of its error bound. Full
    support where S is positive definite. Raises ``ValueError`` if S is not symmetric or has a negative
    eigenvalue beyond rounding. Kernels by closed form or quadrature need an S (without its vanishing rows) of
    condition number below about 1e12/inputs².

        >>> import numpy as np, jaxlimit as jl
        >>> law = jl.initial.MultivariateNormal([[2.0, 1.0], [1.0, 2.0]])
        >>> network = jl.networks.Shallow(jl.activations.Identity(), jl.Initial(c=jl.initial.Rademacher(), w=law))
        >>> jl.gram(network, np.array([[1.0, -1.0]])).value.round(12).tolist()
        [[4.0]]
    """

    rows: Rows = eqx.field(static=True)

    def __init__(self, covariance: ArrayLike):
        value = real_array("covariance", covariance, 2)
        require(value.shape[0] == value.shape[1], "covariance", "be square", f"its shape is {value.shape}")
        require(
            np.array_equal(value, value.T), "covariance", "be symmetric", "some entry differs from its mirror image"
        )
        values = np.linalg.eigvalsh(value)
        size = float(np.max(np.abs(values)))
        require(1e-200 <= size <= 1e200, "covariance", "be of norm between 1e-200 and 1e200", f"it is {size:g}")
        lowest = float(values[0])
        semidefinite = lowest >= -8 * value.shape[0] * UNIT * size
        require(semidefinite, "covariance", "be positive semi-definite", f"its lowest eigenvalue is {lowest:g}")
        # A tuple of numbers: laws are compared and hashed where compiled programs are looked up.
        self.rows = tuple(tuple(row) for row in value.tolist())

    def __repr__(self) -> str:
        return f"MultivariateNormal(covariance of {self.inputs} inputs)"

    @property
    def covariance(self) -> Float[Host, "inputs inputs"]:
        """S."""
        return np.array(self.rows)

    @property
    def inputs(self) -> int | None:
        """The size of S."""
        return len(self.rows)

    @property
    def mean(self) -> float:
        """Zero."""
        return 0.0

    @property
    def second_moment(self) -> float:
        """E |w|²/inputs, the average of the diagonal of S."""
        return float(np.trace(self.covariance)) / len(self.rows)

    @property
    def full_support(self) -> bool:  # type: ignore[override]
        """Whether S is positive definite, as far as rounding lets one see."""
        factor = _factor(self.rows)
        return factor.spread is not None and len(factor.kept) == len(self.rows)

    @property
    def atomless(self) -> bool:  # type: ignore[override]
        """As `full_support`: w·x = 0 for an x in the kernel of S."""
        return self.full_support

    def deviations(self, x: Float[Host, "points inputs"]) -> Float[Host, " points"]:
        """√(xᵀSx)."""
        return np.sqrt(np.maximum(np.einsum("ij,jk,ik->i", x, self.covariance, x, optimize=True), 0.0))

    @property
    def gaussian(self) -> bool:
        """It is."""
        return True

    def sample(self, key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Lξ in float32, one coordinate of ξ after the other: the sum's order does not depend on the width."""
        wanted = len(self.rows)
        require(shape[-1:] == (wanted,), "shape", f"end in {wanted}, the size of the covariance", f"it is {shape}")
        factor = _factor(self.rows)
        columns = np.zeros((wanted, factor.root.shape[1]), np.float32)
        columns[factor.kept] = factor.root
        normal = flat(jax.random.normal, key, (*shape[:-1], columns.shape[1]))

        def add(total: Array, part: tuple[Array, Array]) -> tuple[Array, None]:
            coordinate, column = part
            return total + coordinate[..., None] * column, None

        start = jnp.zeros(shape, jnp.float32)
        return jax.lax.scan(add, start, (jnp.moveaxis(normal, -1, 0), jnp.asarray(columns.T)))[0]

    def coordinates(self, x: Float[Host, "points inputs"]) -> Coordinates:
        """z = Lᵀx, with a bound of what is wrong with L and of the rounding of the product."""
        factor = _factor(self.rows)
        if factor.spread is None:
            raise ValueError(
                "Argument `network` must draw w with a covariance that is not nearly singular for this rule, but the "
                f"Cholesky factor of that of {self} is not accurate enough; jaxlimit.kernels.MonteCarlo takes it."
            )
        part = x[:, factor.kept]
        z = part @ factor.root
        rounding = 1.02 * (len(factor.kept) + 2) * UNIT * np.linalg.norm(np.abs(part) @ np.abs(factor.root), axis=1)
        norms = np.linalg.norm(z, axis=1)
        moved = factor.spread + np.divide(rounding, norms, out=np.zeros_like(norms), where=norms > 0)
        worst = int(np.argmax(moved))
        require(
            bool(moved[worst] < 0.01), "x", "have points whose w·x is not lost to rounding", f"point {worst} is not"
        )
        return Coordinates(z, 1.0, moved)


class _Factor(NamedTuple):
    """S restricted to the coordinates that do not vanish, as L Lᵀ."""

    kept: list[int]
    root: Host
    spread: float | None
    """|z − z*| ≤ spread·|z| where z* has exactly the covariance S; None where no such bound is small."""


@lru_cache(maxsize=8)
def _factor(rows: Rows) -> _Factor:
    """Cholesky's factor; the symmetric root where S is singular.

    S = LLᵀ + E = L(I + F)Lᵀ with ‖F‖ ≤ ‖E‖/σ_min(L)², so z* = (I + F)^{1/2}z has exactly the covariance S and
    differs from z = Lᵀx by at most 0.51‖F‖|z|: a relative error of every point and every difference of points.
    """
    whole = np.array(rows)
    kept = np.flatnonzero(np.diag(whole) > 0).tolist()
    value = whole[np.ix_(kept, kept)]
    d = len(kept)
    try:
        root = scipy.linalg.cholesky(value, lower=True)
    except np.linalg.LinAlgError:
        spread = None
    else:
        product = np.abs(root) @ np.abs(root.T)
        error = np.linalg.norm(value - root @ root.T) + 1.01 * (d + 2) * UNIT * np.linalg.norm(product)
        singular = scipy.linalg.svdvals(root)
        least = singular[-1] - 8 * d * UNIT * singular[0]
        share = error / least**2 if least > 0 else np.inf
        spread = 0.52 * float(share) if share < 0.001 else None
    if spread is None:
        root = square_root(value)
    return _Factor(kept, root, spread)
