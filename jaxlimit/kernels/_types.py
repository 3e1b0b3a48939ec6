"""A kernel matrix together with what is known of its error."""

import equinox as eqx
import numpy as np

from jaxlimit._arguments import real_array, require
from jaxlimit._numerics import UNIT
from jaxlimit._typing import ArrayLike, Host

SMALLEST_NORMAL = 2.0**-1022
"""Used where theory asks for 2^−1074: right also on machines that flush subnormal numbers to zero."""


class Gram(eqx.Module):
    """Kernel matrix of two sets of points, entry by entry with its doubt.

    `value` [points, points2] is float64 on the host. `radius` bounds |value − exact| entry by entry;
    None says that `value` is exact as given. `standard_error` is that of Monte Carlo entries, else None.
    `assumptions` lists what `radius` takes for granted; empty says that the bound is derived. `singular`
    lists structural reasons why the exact matrix is singular, and `semidefinite` says that it has no negative
    eigenvalue, as the products of features have none. Raises ``ValueError`` if a radius or a
    standard error does not have the shape of `value`, or is negative or NaN.

        >>> import numpy as np
        >>> from jaxlimit.kernels import Gram
        >>> Gram(np.eye(2), radius=np.full((2, 2), 1e-15)).maximal_radius
        1e-15
    """

    value: Host
    radius: Host | None = None
    standard_error: Host | None = None
    assumptions: tuple[str, ...] = eqx.field(static=True, default=())
    singular: tuple[str, ...] = eqx.field(static=True, default=())
    semidefinite: bool = eqx.field(static=True, default=False)

    def __check_init__(self) -> None:
        """Radius and standard error belong to the value, entry by entry."""
        for name in ("radius", "standard_error"):
            bound = getattr(self, name)
            if bound is not None:
                fits = np.shape(bound) == np.shape(self.value)
                shapes = f"its shape is {np.shape(bound)} and that of `value` is {np.shape(self.value)}"
                require(fits, name, "have the shape of `value`", shapes)
                require(bool(np.all(np.asarray(bound) >= 0)), name, "be ≥ 0", "some entries are negative or NaN")

    @property
    def maximal_radius(self) -> float:
        """The largest entry of `radius`; 0 if the value is exact."""
        return 0.0 if self.radius is None else float(np.max(self.radius, initial=0.0))

    def scaled(self, factors: ArrayLike) -> "Gram":
        """The Gram of D·exact·D with D = diag(factors), factors [points] > 0; points2 must be points.

        With g_ij = f_i f_j the value is v_ij g_ij, symmetric if v is. Two roundings per entry enter the
        radius, unless every product is exact (powers of two). Reasons for singularity are kept, since a
        congruence keeps the rank.

            >>> import numpy as np
            >>> from jaxlimit.kernels import Gram
            >>> Gram(np.eye(2)).scaled([2.0, 0.5]).value.tolist()
            [[4.0, 0.0], [0.0, 0.25]]
        """
        f = real_array("factors", factors, 1)
        square = self.value.shape == (f.size, f.size)
        require(
            square, "factors", "have one entry per point of a square Gram", f"shapes are {f.shape}, {self.value.shape}"
        )
        require(bool(np.all(f > 0)), "factors", "be > 0", f"the smallest is {f.min():g}")
        g = np.outer(f, f)
        value = self.value * g
        radius = None if self.radius is None else self.radius * g
        powers_of_two = bool(np.all(np.frexp(f)[0] == 0.5))
        if not (powers_of_two and np.array_equal(value / g, self.value)):
            # (1 + δ)² from the two products, at most two more from those of the radius; the last term is underflow
            rounding = 4 * UNIT * np.abs(value) + SMALLEST_NORMAL
            radius = rounding if radius is None else (radius + rounding) * (1.0 + 8 * UNIT)
        error = None if self.standard_error is None else self.standard_error * g
        return Gram(value, radius, error, self.assumptions, self.singular, self.semidefinite)
