"""The law of a neuron."""

import equinox as eqx
import jax
from jaxtyping import Array, Float

from jaxlimit._arguments import instance, require
from jaxlimit._typing import RandomKey
from jaxlimit.initial._base import AbstractLaw
from jaxlimit.initial._normal import Normal
from jaxlimit.initial._uniform import Uniform


class Initial(eqx.Module):
    """Law μ_0 of a neuron (c, w): c independent of w, whose coordinates are independent unless a law draws all of w.

    The theorem asks for E c = 0 with compact support, and for w with finite moments
    (references: xavier).

        >>> import jax, jaxlimit as jl
        >>> law = jl.Initial(c=jl.initial.Uniform(-1, 1), w=jl.initial.Normal(0, 1))
        >>> c, w = law.sample(jax.random.key(0), width=4, inputs=3)
        >>> c.shape, w.shape
        ((4,), (4, 3))
    """

    c: AbstractLaw = Uniform()
    w: AbstractLaw = Normal()

    def __check_init__(self) -> None:
        """Both are laws (instances, not classes)."""
        instance("c", self.c, AbstractLaw)
        instance("w", self.w, AbstractLaw)
        require(self.c.inputs is None, "c", "have a law of one coordinate", f"it is {self.c}")

    def sample(
        self, key: RandomKey, width: int, inputs: int
    ) -> tuple[Float[Array, " neurons"], Float[Array, "neurons inputs"]]:
        """Float32 draws of c [neurons] and w [neurons, inputs] from separate streams of the key."""
        self.require_inputs(inputs)
        c = self.c.sample(jax.random.fold_in(key, 0), (width,))
        w = self.w.sample(jax.random.fold_in(key, 1), (width, inputs))
        return c, w

    def require_inputs(self, inputs: int) -> None:
        """Raise ``ValueError`` where w is drawn with another number of coordinates than the points have."""
        own = self.w.inputs
        fits = own is None or own == inputs
        require(fits, "network", f"draw w with {inputs} coordinates like the points", f"its law of w has {own}")
