"""Two classes that a ReLU network's early stage of training asks for."""

import numpy as np

from jaxlimit._arguments import natural_number, positive_integer
from jaxlimit.data._data import Data
from jaxlimit.data._synthetic import on_sphere


def aligned(points: int, inputs: int, seed: int = 0) -> Data:
    """Two classes on opposite sides of the origin, labelled ±1: y_i y_j x_i·x_j > 0 for all points.

    y_i x_i are independent uniform points on the positive orthant of the unit sphere in R^inputs, and the labels are
    independent random signs, from streams of their own of NumPy's PCG64: more points extend the data. This is what
    the monotone sets of `diagnostics.partition_conditions` ask for. Source: references `mild`.

        >>> import jaxlimit as jl
        >>> data = jl.data.aligned(points=6, inputs=3)
        >>> bool(((data.y[:, None] * data.x) >= 0).all()), sorted(set(data.y.tolist()))
        (True, [-1.0, 1.0])
    """
    points, inputs = positive_integer("points", points), positive_integer("inputs", inputs)
    # Streams of the seed, apart from those of the other functions.
    ours, labels = (np.random.default_rng([natural_number("seed", seed), stream]) for stream in (5, 6))
    z = np.abs(on_sphere(ours.standard_normal((points, inputs))))
    y = labels.choice([-1.0, 1.0], size=points)
    return Data(z * y[:, None], y)
