"""The law of a neuron."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from jaxlimit._arguments import finite_number, instance, plain, require
from jaxlimit._typing import RandomKey
from jaxlimit.initial._base import AbstractLaw
from jaxlimit.initial._normal import Normal
from jaxlimit.initial._uniform import Uniform


class Initial(eqx.Module):
    """Law μ_0 of a neuron (c, w): c independent of w, whose coordinates are independent unless a law draws all of w.

    The theorem asks for E c = 0 with compact support, and for w with finite moments
    (references: xavier). `width_power` p multiplies c by N^p, so that the start c_i = ±N^{−1/2} of a network without
    a factor in front is written as it stands: ``Initial(c=Rademacher(), width_power=-0.5)``. Moments are those of
    the law `c` itself; what speaks of infinite width wants p = 0, and says so.

        >>> import jax, jaxlimit as jl
        >>> law = jl.Initial(c=jl.initial.Uniform(-1, 1), w=jl.initial.Normal(0, 1))
        >>> c, w = law.sample(jax.random.key(0), width=4, inputs=3)
        >>> c.shape, w.shape
        ((4,), (4, 3))
    """

    c: AbstractLaw = Uniform()
    w: AbstractLaw = Normal()
    width_power: float = eqx.field(static=True, converter=plain, default=0.0)

    def __check_init__(self) -> None:
        """Both are laws (instances, not classes)."""
        instance("c", self.c, AbstractLaw)
        instance("w", self.w, AbstractLaw)
        require(self.c.inputs is None, "c", "have a law of one coordinate", f"it is {self.c}")
        power = finite_number("width_power", self.width_power)
        require(-2.0 <= power <= 2.0, "width_power", "lie in [-2, 2]", f"it is {power:g}")

    def sample(
        self, key: RandomKey, width: int, inputs: int
    ) -> tuple[Float[Array, " neurons"], Float[Array, "neurons inputs"]]:
        """Float32 draws of c [neurons], times N^`width_power`, and of w [neurons, inputs], from separate streams."""
        self.require_inputs(inputs)
        c = self.c.sample(jax.random.fold_in(key, 0), (width,))
        if self.width_power:
            c = c * jnp.asarray(float(width) ** self.width_power, c.dtype)
        w = self.w.sample(jax.random.fold_in(key, 1), (width, inputs))
        return c, w

    def require_same_at_every_width(self) -> None:
        """Raise ``ValueError`` where c depends on the width."""
        same, found = self.width_power == 0, f"its width_power is {self.width_power:g}"
        require(same, "network", "have initial weights that do not depend on the width here", found)

    def require_inputs(self, inputs: int) -> None:
        """Raise ``ValueError`` where w is drawn with another number of coordinates than the points have."""
        own = self.w.inputs
        fits = own is None or own == inputs
        require(fits, "network", f"draw w with {inputs} coordinates like the points", f"its law of w has {own}")
