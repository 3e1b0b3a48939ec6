"""How matrices are multiplied in a run: at full precision, unless somebody asks what less of it would do."""

from abc import abstractmethod

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array

from jaxlimit._arguments import natural_number, require

EXPONENT_BITS = 8
"""Of float32, TF32 and bfloat16 alike."""


class AbstractProduct(eqx.Module):
    """A way to multiply the matrices of a run."""

    @abstractmethod
    def __call__(self, left: Array, right: Array) -> Array:
        """left @ right."""


class FullProduct(AbstractProduct):
    """At the precision of the run, whatever the device would rather do: what every method takes by itself.

    >>> import jax.numpy as jnp, jaxlimit as jl
    >>> one = jnp.asarray([[1.001]], jnp.float32)
    >>> float(jl.simulation.FullProduct()(one, one)[0, 0])
    1.0020010471343994
    """

    def __call__(self, left: Array, right: Array) -> Array:
        """`Precision.HIGHEST`."""
        return jnp.matmul(left, right, precision=Precision.HIGHEST)


full = FullProduct()
"""For starts, observables and selections, which do not depend on how a run multiplies."""


class DeviceProduct(AbstractProduct):
    """As the device multiplies float32 where nobody asks: TF32 on recent GPUs, bfloat16 on TPUs, float32 on CPUs.

    For an audit of what that would change, not for results: TF32 products moved means by 2.9e-4 where replicas scatter
    by 3.6e-4, which a test takes for a violation of the theorem.

        >>> import jaxlimit as jl
        >>> jl.Stepwise(native=False, product=jl.simulation.DeviceProduct())
        Stepwise(native=False, product=DeviceProduct())
    """

    def __call__(self, left: Array, right: Array) -> Array:
        """`Precision.DEFAULT`, also where JAX's configuration has another default."""
        return jnp.matmul(left, right, precision=Precision.DEFAULT)


class RoundedProduct(AbstractProduct):
    """Of numbers rounded to `mantissa` bits, added up in full precision: the short products of accelerators, anywhere.

    10 bits make TF32 and 7 make bfloat16, with the exponents of float32: what their units do to the factors, on every
    device. Only how sums are ordered may differ. For an audit, as `DeviceProduct`. Raises ``ValueError`` for more than
    23 bits, as float32 has.

        >>> import jax.numpy as jnp, jaxlimit as jl
        >>> one = jnp.asarray([[1.001]], jnp.float32)
        >>> [float(jl.simulation.RoundedProduct(bits)(one, one)[0, 0]) for bits in (7, 10)]
        [1.0, 1.0019540786743164]
    """

    mantissa: int = eqx.field(static=True)

    def __check_init__(self) -> None:
        """Bits are counted."""
        bits = natural_number("mantissa", self.mantissa)
        require(bits <= 23, "mantissa", "be at most 23", f"it is {bits}")

    def __call__(self, left: Array, right: Array) -> Array:
        """Both rounded to the nearest, then as `FullProduct`."""
        short = (jax.lax.reduce_precision(one, EXPONENT_BITS, self.mantissa) for one in (left, right))
        return jnp.matmul(*short, precision=Precision.HIGHEST)
