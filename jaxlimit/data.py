"""Data: a law π with finite support (x_m, y_m) and weights π_m, kept in float64 on the host."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import instance, items, natural_number, positive_integer, real_array, require
from jaxlimit._typing import ArrayLike, Host


class Data(eqx.Module):
    """A law π with finite support: inputs x [points, inputs], targets y [points], weights [points].

    Weights are positive and are normalised to sum to one; None means uniform. Raises ``ValueError``
    for data that are not finite and real, for shapes that do not match, for weights ≤ 0, and for a
    repeated input with different targets (no function fits both). A repeated input with equal targets
    is allowed: its Gram matrix is singular, and `certify` says so.

        >>> import jaxlimit as jl
        >>> data = jl.Data([[1.0, 0.0], [0.6, 0.8]], [1.0, -1.0])
        >>> data.points, data.inputs, data.weights.tolist()
        (2, 2, [0.5, 0.5])
    """

    x: Float[Host, "points inputs"]
    y: Float[Host, " points"]
    weights: Float[Host, " points"]

    def __init__(self, x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None):
        self.x = real_array("x", x, 2)
        self.y = real_array("y", y, 1)
        uniform = np.ones(self.y.shape[0])
        self.weights = uniform / uniform.sum() if weights is None else _normalised(weights)

    def __check_init__(self) -> None:
        """Shapes fit, and no input carries two targets."""
        points = self.x.shape[0]
        require(self.y.shape == (points,), "y", f"have shape ({points},) like x", f"it is {self.y.shape}")
        require(
            self.weights.shape == (points,), "weights", f"have shape ({points},) like x", f"it is {self.weights.shape}"
        )
        _, first = np.unique(self.x, axis=0, return_inverse=True)
        first = first.reshape(-1)
        for group in np.flatnonzero(np.bincount(first) > 1):
            members = np.flatnonzero(first == group)
            require(
                bool(np.all(self.y[members] == self.y[members[0]])),
                "y",
                "be the same at equal inputs",
                f"points {members.tolist()} are equal and have targets {self.y[members].tolist()}",
            )

    @property
    def points(self) -> int:
        """Number of data points M."""
        return self.x.shape[0]

    @property
    def inputs(self) -> int:
        """Number of coordinates d of a point."""
        return self.x.shape[1]

    def with_bias(self) -> "Data":
        """The same data with a coordinate 1 appended: distinct points then have distinct directions."""
        return Data(np.concatenate([self.x, np.ones((self.points, 1))], axis=1), self.y, self.weights)


def _normalised(weights: ArrayLike) -> Host:
    values = real_array("weights", weights, 1)
    require(bool(np.all(values > 0)), "weights", "be positive", f"the smallest is {values.min():g}")
    values = values / values.max()
    values = values / values.sum()
    require(bool(np.all(values > 0)), "weights", "stay positive when normalised", "the smallest underflows to zero")
    return values


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


def digits(classes: tuple[int, int] = (3, 8), points: int = 20, unit_norm: bool = True) -> Data:
    """Handwritten digits of two classes, 8 × 8 pixels: 64 inputs, targets −1 (first class) and +1.

    The first `points` images of the two classes, taken in turn from each until one runs out, from the
    test set of the UCI optical digits bundled with scikit-learn (the `data` extra). Inputs have unit
    norm unless told otherwise. Raises ``ValueError`` if the classes are not two different digits or
    the set holds fewer images, ``ImportError`` without scikit-learn. Source: references `digits`.

        >>> import jaxlimit as jl
        >>> data = jl.data.digits(classes=(3, 8), points=20)
        >>> data.points, data.inputs, sorted(set(data.y.tolist()))
        (20, 64, [-1.0, 1.0])
    """
    wanted = items("classes", classes, "digits")
    whole = all(isinstance(c, int | np.integer) and not isinstance(c, bool) for c in wanted)
    valid = whole and len(wanted) == 2 and wanted[0] != wanted[1] and all(c in range(10) for c in wanted)
    require(valid, "classes", "be two different digits from 0 to 9", f"it is {classes!r}")
    points, unit_norm = positive_integer("points", points), instance("unit_norm", unit_norm, bool)
    try:
        from sklearn.datasets import load_digits
    except ImportError as error:
        raise ImportError("data.digits reads scikit-learn's bundled images: pip install 'jaxlimit[data]'") from error
    bunch = load_digits()
    members = [np.flatnonzero(bunch.target == c) for c in wanted]
    available = sum(len(m) for m in members)
    require(points <= available, "points", f"be at most {available} for classes {wanted}", f"it is {points}")
    # In turn from each class: position within the class first, class second.
    rank = np.concatenate([2 * np.arange(len(m)) + side for side, m in enumerate(members)])
    chosen = np.concatenate(members)[np.argsort(rank, kind="stable")][:points]
    x = bunch.data[chosen].astype(np.float64)
    if unit_norm:
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
    return Data(x, np.where(bunch.target[chosen] == wanted[0], -1.0, 1.0))
