"""The law of the data."""

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import finite_number, natural_number, positive_number, real_array, require
from jaxlimit._numerics import with_bias
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
        return Data(with_bias(self.x), self.y, self.weights)

    def with_signs(self, threshold: float | None = None) -> "Data":
        """The same data with labels in place of targets: 1 for y > threshold and −1 for others.

        None takes the median of the targets, which parts them into halves where no two are equal. Points to test on
        take the threshold of those trained on. Raises ``ValueError`` for a threshold that is not finite, and if no
        target exceeds the median.

            >>> import jaxlimit as jl
            >>> jl.Data([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]], [0.2, 3.0, 1.0]).with_signs().y.tolist()
            [-1.0, 1.0, -1.0]
        """
        level = float(np.median(self.y)) if threshold is None else finite_number("threshold", threshold)
        above = self.y > level
        some = threshold is not None or bool(np.any(above))
        require(
            some, "threshold", "be given where no target exceeds the median", f"the median is the largest, {level:g}"
        )
        return Data(self.x, np.where(above, 1.0, -1.0), self.weights)

    def with_label_noise(self, share: float, seed: int = 0) -> "Data":
        """The same data with ⌊share · points⌋ of its labels ±1 drawn anew, +1 or −1 with equal chance.

        Half of these keep their label. Which points they are and what they get is NumPy's PCG64 from `seed`; a larger
        share redraws the same points in the same way, and further ones. Raises ``ValueError`` for targets other than
        ±1, a share outside [0, 1], and if equal inputs come out with different labels.

            >>> import jaxlimit as jl
            >>> data = jl.data.sphere(points=100, inputs=3)
            >>> int((data.with_label_noise(0.2).y != data.y).sum()) <= 20
            True
        """
        part = positive_number("share", share, zero=True)
        require(part <= 1.0, "share", "lie in [0, 1]", f"it is {part:g}")
        signs = bool(np.all(np.abs(self.y) == 1.0))
        require(signs, "y", "hold labels −1 and 1, of which noise can draw others", "it has other targets")
        rng = np.random.default_rng([natural_number("seed", seed), 5])
        order, drawn = rng.permutation(self.points), rng.choice([-1.0, 1.0], size=self.points)
        # 0.1 · 30 is 3 and not 2, whatever float64 makes of it.
        chosen, y = order[: int(part * self.points + 1e-9)], self.y.copy()
        y[chosen] = drawn[chosen]
        return Data(self.x, y, self.weights)


def _normalised(weights: ArrayLike) -> Host:
    values = real_array("weights", weights, 1)
    require(bool(np.all(values > 0)), "weights", "be positive", f"the smallest is {values.min():g}")
    values = values / values.max()
    values = values / values.sum()
    require(bool(np.all(values > 0)), "weights", "stay positive when normalised", "the smallest underflows to zero")
    return values
