"""Data that are made: NumPy's PCG64 draws the same numbers on every machine."""

from collections.abc import Callable

import numpy as np

from jaxlimit._arguments import instance, natural_number, positive_integer, positive_number, real_array, require
from jaxlimit._numerics import erf
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.data._data import Data


def sphere(points: int, inputs: int, seed: int = 0) -> Data:
    """Independent uniform points on the unit sphere in R^inputs with random targets ±1.

    The draw is NumPy's PCG64 from `seed`, the same on every machine.

        >>> import jaxlimit as jl
        >>> jl.data.sphere(points=5, inputs=3).x.shape
        (5, 3)
    """
    rng = np.random.default_rng(natural_number("seed", seed))
    x = rng.standard_normal((positive_integer("points", points), positive_integer("inputs", inputs)))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Data(x, rng.choice([-1.0, 1.0], size=points))


def teacher(
    points: int,
    inputs: int,
    function: Callable[[Host], ArrayLike] | None = None,
    noise: float = 0.0,
    unit_norm: bool = True,
    seed: int = 0,
) -> Data:
    """Independent random points with targets from a known function: uniform on the unit sphere in R^inputs.

    With `unit_norm=False` they are standard Gaussian. y = f(x) + noise·z with z standard normal, independent.
    `function` maps x [points, inputs] to f(x) [points];
    None takes a network of four neurons, f(x) = ½ Σ_k a_k erf(b_k·x) with a_k = ±1 in turn and b_k ~ N(0, I).
    Inputs, teacher and noise are separate streams of NumPy's PCG64 from `seed`, the same on every machine:
    more points extend the data, and the noise changes nothing else. Raises ``ValueError`` for a function that
    does not return one finite number per point. Source: references `teacher`.

        >>> import jaxlimit as jl
        >>> data = jl.data.teacher(points=6, inputs=3, function=lambda x: x[:, 0] ** 2)
        >>> bool((data.y == data.x[:, 0] ** 2).all())
        True
    """
    points, inputs = positive_integer("points", points), positive_integer("inputs", inputs)
    unit_norm = instance("unit_norm", unit_norm, bool)
    seed, noise = natural_number("seed", seed), positive_number("noise", noise, zero=True)
    require(function is None or callable(function), "function", "be a function", f"it is a {type(function).__name__}")
    # Streams of the seed, apart from the one that `sphere` draws from.
    ours, teachers, errors = (np.random.default_rng([seed, stream]) for stream in (1, 2, 3))
    x = ours.standard_normal((points, inputs))
    x = on_sphere(x) if unit_norm else x
    if function is None:
        y = 0.5 * erf(x @ teachers.standard_normal((4, inputs)).T) @ np.array([1.0, -1.0, 1.0, -1.0])
    else:
        y = real_array("function(x)", function(x), 1)
    require(y.shape == (points,), "function", f"return {points} numbers, one per point", f"it returned {y.shape}")
    return Data(x, y + noise * errors.standard_normal(points))


def polynomial(points: int, inputs: int, power: int, seed: int = 0) -> Data:
    """Independent uniform points on the unit sphere in R^inputs with targets y = (β·x)^power, |β| = 1.

    Wide networks learn it from polynomially many points. ReLU without a bias and with fixed output weights has p = 1
    and even p in its kernel; for odd p > 1 append a coordinate 1 (`Data.with_bias`). Points are those of `teacher` with
    this seed, and β is drawn from a stream of its own: more points extend the data. Source: references `arora2019`,
    `min_norm`.

        >>> import jaxlimit as jl
        >>> linear, cubic = (jl.data.polynomial(points=5, inputs=3, power=p) for p in (1, 3))
        >>> bool(abs(linear.y**3 - cubic.y).max() < 1e-15)
        True
    """
    inputs, power = positive_integer("inputs", inputs), positive_integer("power", power)
    beta = np.random.default_rng([natural_number("seed", seed), 4]).standard_normal(inputs)
    beta /= np.linalg.norm(beta)
    return teacher(points, inputs, lambda x: np.clip(x @ beta, -1.0, 1.0) ** power, seed=seed)


def on_sphere(x: Host) -> Host:
    """Points divided by their norms."""
    return x / np.linalg.norm(x, axis=1, keepdims=True)
