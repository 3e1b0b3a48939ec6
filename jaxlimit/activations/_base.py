"""What an activation must offer, and what it gets for free."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from jaxlimit._arguments import require
from jaxlimit._numerics import Pairs
from jaxlimit._typing import ArrayLike, Host

Scalar = Callable[[Any], tuple[Any, Any]]
"""One number ↦ (value, slope)."""


class AbstractActivation(eqx.Module):
    """σ, elementwise, and its derivative.

    `__call__` receives JAX arrays on the device and float64 NumPy arrays on the host; written with
    the array's own namespace it serves both, and then host-side quadrature needs no x64 flag.

    Class attributes state what is known of σ; None means "not declared" and is reported as such:
    `odd` (σ(−u) = −σ(u)), `even` (σ(−u) = σ(u)), `homogeneous` (σ(ru) = rσ(u) for r > 0), `smooth` (twice
    continuously differentiable, with bounded derivatives unless it is a polynomial), `bounded`, `polynomial`.
    Of σ that is neither odd nor even, `constant_even_part` says that ½(σ(u) + σ(−u)) is a constant, and
    `linear_odd_part` that ½(σ(u) − σ(−u)) is a multiple of u.
    """

    odd: ClassVar[bool] = False
    even: ClassVar[bool] = False
    constant_even_part: ClassVar[bool] = False
    linear_odd_part: ClassVar[bool] = False
    homogeneous: ClassVar[bool] = False
    smooth: ClassVar[bool | None] = None
    bounded: ClassVar[bool | None] = None
    polynomial: ClassVar[bool | None] = None

    @abstractmethod
    def __call__(self, u: ArrayLike) -> ArrayLike:
        """σ(u), elementwise."""

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """σ'(u), elementwise; by forward-mode differentiation unless overridden.

        Differentiation is done by JAX and in its precision: kernels, which are computed on the host in float64, then
        need JAX_ENABLE_X64=1.
        """
        return jax.jvp(self, (u,), (jnp.ones_like(u),))[1]

    def on_host(self, u: Host) -> Host:
        """σ(u) in float64 for a float64 array; ValueError where it comes in another precision."""
        return _in_float64(self(u), "σ", "write it with the array's own namespace")

    def derivative_on_host(self, u: Host) -> Host:
        """σ'(u) in float64 for a float64 array; ValueError where it comes in another precision."""
        inherited = type(self).derivative is AbstractActivation.derivative
        if inherited:
            self.require_traceable()
        remedy = "define `derivative`" if inherited else "write `derivative` with the array's own namespace"
        return _in_float64(self.derivative(u), "σ'", remedy)

    def require_traceable(self) -> None:
        """One trial without numbers; ValueError where σ or σ' calls NumPy or Python on the arrays of JAX."""
        try:
            jax.eval_shape(lambda u: (self(u), self.derivative(u)), jax.ShapeDtypeStruct((1,), jnp.float32))
        except jax.errors.JAXTypeError as error:
            raise ValueError(
                "Argument `activation` must be written for arrays of NumPy and of JAX (with functions of "
                f"u.__array_namespace__(), not of numpy or math), but {type(self).__name__} fails on a JAX array."
            ) from error

    def monomials(self, inputs: int) -> int | None:
        """How many monomials in the coordinates of x span σ(w·x) and σ'(w·x)x for every w.

        More points than that have a singular kernel. None, the default: no such number is known, as for
        every σ that is not a polynomial.
        """
        return None

    def scalar(self, dtype: np.dtype) -> Scalar | None:
        """u ↦ (σ(u), σ'(u)) for ONE number of this precision in plain arithmetic, for compilers of native code.

        None, the default: this activation is left to XLA. No branches but `a if test else b`, `min` and
        `max`, so that a compiler can treat many neurons at once; NaN must come out as NaN.
        """
        return None


def _in_float64(values: Any, what: str, remedy: str) -> Host:
    array = np.asarray(values)
    must = f"compute {what} in float64 on the host ({remedy}, or set JAX_ENABLE_X64=1)"
    require(array.dtype == np.float64, "activation", must, f"{what} came in {array.dtype}")
    return array


class AbstractClosedFormActivation(AbstractActivation):
    """An activation whose Gaussian duals are known in closed form.

    With (u, u') centred Gaussian, Var u = a, Var u' = b, Cov(u, u') = r, state E σ(u)σ(u') and
    E σ'(u)σ'(u') for ONE pair, as NumPy expressions in `pair.a`, `pair.b`, `pair.r`, `pair.theta`,
    `pair.sine`: they then hold for all pairs at once. Each comes with a derived bound of its own
    rounding error.
    """

    @abstractmethod
    def dual(self, pair: Pairs) -> Host:
        """E σ(u)σ(u')."""

    @abstractmethod
    def dual_derivative(self, pair: Pairs) -> Host:
        """E σ'(u)σ'(u')."""

    @abstractmethod
    def dual_error(self, pair: Pairs) -> Host:
        """Bound of the error of `dual` in float64, entry by entry."""

    @abstractmethod
    def dual_derivative_error(self, pair: Pairs) -> Host:
        """Bound of the error of `dual_derivative` in float64, entry by entry."""
