"""Laws of finitely many values."""

import math
from typing import ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from jaxlimit._arguments import finite_number, plain, positive_number, real_array, require
from jaxlimit._typing import ArrayLike, RandomKey
from jaxlimit.initial._base import AbstractLaw


class Rademacher(AbstractLaw):
    """±scale with probability one half each. Compact support.

    >>> import jaxlimit as jl
    >>> jl.initial.Rademacher().mean, jl.initial.Rademacher().second_moment
    (0.0, 1.0)
    """

    scale: float = eqx.field(static=True, converter=plain, default=1.0)
    compact_support: ClassVar[bool] = True

    def __check_init__(self) -> None:
        """The scale must be positive."""
        positive_number("scale", self.scale)

    def sample(self, key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Random signs times the scale."""
        # With a probability in float32: of one in Python the signs would depend on the x64 flag.
        heads = jax.random.bernoulli(key, jnp.float32(0.5), (math.prod(shape),)).reshape(shape)
        return jnp.where(heads, jnp.float32(self.scale), jnp.float32(-self.scale))

    @property
    def mean(self) -> float:
        """Zero by symmetry."""
        return 0.0

    @property
    def symmetric(self) -> bool:
        """Yes."""
        return True

    @property
    def second_moment(self) -> float:
        """scale²."""
        return self.scale**2


class Discrete(AbstractLaw):
    """The values v_j with probabilities p_j. Compact support.

    With 2 and −1, of probabilities 1/3 and 2/3, E z = 0 and E z³ ≠ 0: what the fluctuations of the scalings
    between 1/√N and 1/N need in order to be seen (references: normalisation). Draws compare 32 random bits with
    the cumulative probabilities, which they meet to 2⁻³². Raises ``ValueError`` unless there are as many
    probabilities as values, all positive, with sum 1 (to 1e-9; they are normalised).

        >>> import jaxlimit as jl
        >>> law = jl.initial.Discrete([2.0, -1.0], [1 / 3, 2 / 3])
        >>> round(law.mean, 12), round(law.second_moment, 12)
        (0.0, 2.0)
    """

    values: tuple[float, ...] = eqx.field(static=True)
    probabilities: tuple[float, ...] = eqx.field(static=True)
    compact_support: ClassVar[bool] = True

    def __init__(self, values: ArrayLike, probabilities: ArrayLike):
        self.values = tuple(real_array("values", values, 1).tolist())
        given = tuple(real_array("probabilities", probabilities, 1).tolist())
        fits = len(given) == len(self.values)
        require(fits, "probabilities", f"be {len(self.values)} numbers like `values`", f"there are {len(given)}")
        require(min(given) > 0, "probabilities", "be > 0", f"the smallest is {min(given):g}")
        total = math.fsum(given)
        require(abs(total - 1.0) <= 1e-9, "probabilities", "have sum 1", f"it is {total:.12g}")
        self.probabilities = tuple(p / total for p in given)

    def sample(self, key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """Random values."""
        bits = jax.random.bits(key, (math.prod(shape),), jnp.uint32)
        ends = np.floor(np.cumsum(self.probabilities)[:-1] * 2.0**32)
        bounds = jnp.asarray(np.minimum(ends, 2.0**32 - 1).astype(np.uint32))
        chosen = jnp.searchsorted(bounds, bits, side="right", method="compare_all")
        return jnp.asarray(self.values, jnp.float32)[chosen].reshape(shape)

    @property
    def mean(self) -> float:
        """Σ p_j v_j; exactly zero where it is zero to rounding."""
        terms = [p * v for p, v in zip(self.probabilities, self.values, strict=True)]
        total = math.fsum(terms)
        return 0.0 if abs(total) <= 1e-15 * math.fsum(map(abs, terms)) else total

    @property
    def symmetric(self) -> bool:
        """If every value has its opposite, with the same probability to rounding."""
        mass: dict[float, float] = {}
        for value, probability in zip(self.values, self.probabilities, strict=True):
            mass[value] = mass.get(value, 0.0) + probability
        return all(math.isclose(p, mass.get(-value, 0.0), rel_tol=1e-15) for value, p in mass.items())

    @property
    def second_moment(self) -> float:
        """Σ p_j v_j²."""
        return math.fsum(p * v * v for p, v in zip(self.probabilities, self.values, strict=True))

    @property
    def third_moment(self) -> float:
        """Σ p_j v_j³; exactly zero where it is zero to rounding."""
        terms = [p * v**3 for p, v in zip(self.probabilities, self.values, strict=True)]
        total = math.fsum(terms)
        return 0.0 if abs(total) <= 1e-15 * math.fsum(map(abs, terms)) else total


class Dirac(AbstractLaw):
    """One value with probability 1. Compact support.

    >>> import jaxlimit as jl
    >>> jl.initial.Dirac(2.0).second_moment
    4.0
    """

    value: float = eqx.field(static=True, converter=plain)
    compact_support: ClassVar[bool] = True

    def __check_init__(self) -> None:
        """The value must be finite."""
        finite_number("value", self.value)

    def sample(self, key: RandomKey, shape: tuple[int, ...]) -> Float[Array, "..."]:
        """The value."""
        return jnp.full(shape, self.value, jnp.float32)

    @property
    def mean(self) -> float:
        """The value."""
        return float(self.value)

    @property
    def symmetric(self) -> bool:
        """If it is zero."""
        return self.value == 0

    @property
    def second_moment(self) -> float:
        """Its square."""
        return float(self.value) ** 2
