"""The identity: a linear network."""

from typing import Any, ClassVar

import numpy as np

from jaxlimit._numerics import Pairs, namespace
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations._base import AbstractClosedFormActivation, Scalar


class Identity(AbstractClosedFormActivation):
    """σ(u) = u: odd, homogeneous, a polynomial; E σσ' = r and E σ̇σ̇' = 1.

    The theorem's must-fail case: the kernel (1 + E c²) x·x' of more points than inputs is singular.

        >>> import numpy as np, jaxlimit as jl
        >>> float(jl.activations.Identity()(np.float64(0.5)))
        0.5
    """

    odd: ClassVar[bool] = True
    homogeneous: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = True
    bounded: ClassVar[bool | None] = False
    polynomial: ClassVar[bool | None] = True

    def __call__(self, u: ArrayLike) -> ArrayLike:
        """u."""
        return u

    def derivative(self, u: ArrayLike) -> ArrayLike:
        """1, and NaN for NaN."""
        return namespace(u).where(u == u, namespace(u).ones_like(u), u)

    def dual(self, pair: Pairs) -> Host:
        """r."""
        return pair.r

    def dual_derivative(self, pair: Pairs) -> Host:
        """1."""
        return np.ones_like(pair.r)

    def dual_error(self, pair: Pairs) -> Host:
        """That of r."""
        return pair.relative * pair.scale

    def dual_derivative_error(self, pair: Pairs) -> Host:
        """None."""
        return np.zeros_like(pair.r)

    def monomials(self, inputs: int) -> int | None:
        """The coordinates themselves."""
        return inputs

    def scalar(self, dtype: np.dtype) -> Scalar | None:
        """u and 1, in either precision."""
        return _single if dtype == np.float32 else _double


def _double(u: Any) -> tuple[Any, Any]:
    return u, 1.0


ONE = np.float32(1.0)


def _single(u: Any) -> tuple[Any, Any]:
    return u, ONE
