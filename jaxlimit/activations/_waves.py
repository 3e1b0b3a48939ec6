"""What the duals of trigonometric activations are made of: Gaussian functions of the distance of two points.

With m² = Var(u − u') and p² = Var(u + u') = m² + 4r, E cos(u − u') = e^{−m²/2} and E cos(u + u') = e^{−p²/2}.
"""

import numpy as np

from jaxlimit._numerics import UNIT, Pairs
from jaxlimit._typing import Host

TINY = 2.0**-1020
"""Above every number that exp may round to zero."""


def cosine(pair: Pairs) -> Host:
    """E cos u cos u' = e^{−(a+b)/2} cosh r = ½(e^{−m²/2} + e^{−p²/2}), without overflow."""
    return 0.5 * np.exp(-0.5 * pair.nearest**2) * (1.0 + np.exp(-2.0 * np.abs(pair.r)))


def sine(pair: Pairs) -> Host:
    """E sin u sin u' = e^{−(a+b)/2} sinh r = ½(e^{−m²/2} − e^{−p²/2}), without overflow or cancellation."""
    return np.copysign(0.5 * np.exp(-0.5 * pair.nearest**2) * -np.expm1(-2.0 * np.abs(pair.r)), pair.r)


def cosine_error(pair: Pairs) -> Host:
    """The errors of both terms, and a few roundings."""
    near, far = _errors(pair)
    share = np.exp(-2.0 * np.abs(pair.r))
    return 1.01 * (0.5 * ((1.0 + share) * near + far) + 8 * UNIT * cosine(pair)) + TINY


def sine_error(pair: Pairs) -> Host:
    """1 − e^{−2|r|} multiplies the error of e^{−m²/2}, so that small entries keep their relative accuracy."""
    near, far = _errors(pair)
    rest = -np.expm1(-2.0 * np.abs(pair.r))
    return 1.01 * (0.5 * (rest * near + far) + 8 * UNIT * np.abs(sine(pair))) + TINY


def gaussian_error(square: Host, moved: Host) -> Host:
    """Bound of the change of e^{−s/2} ≤ 1 when s ≥ 0 moves by up to `moved`, and of its rounding."""
    return np.exp(np.minimum(0.5 * (moved - square), 0.0)) * -np.expm1(-0.5 * moved) + 4 * UNIT * np.exp(-0.5 * square)


def _errors(pair: Pairs) -> tuple[Host, Host]:
    """Of e^{−q²/2}, q the smaller of m and p; and of e^{−2|r|} times its exact value.

    The identity p² = m² + 4r holds for the exact numbers whichever sign r was computed with. So the second
    is e^{−q²/2 − 2|r|}(1 − e^{−2δr}), at the lowest exponent within the errors, and at most 1.
    """
    square, moved = pair.nearest**2, pair.nearest_square_error
    shift = 2.0 * pair.relative * pair.scale
    exponent = 0.5 * (moved - square) - 2.0 * np.abs(pair.r) + shift
    return gaussian_error(square, moved), np.exp(np.minimum(exponent, 0.0)) * -np.expm1(-shift)
