"""Coupled paths: the root mean square of the difference, with its standard error."""

import math

import equinox as eqx
import numpy as np
from jaxtyping import Float

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.statistics._rate import ErrorAtWidth


class PathError(eqx.Module):
    """RMS difference `distance` [times] with `standard_error` [times].

    `squares` [replicas, times] holds each replica's mean square over the points, from which both come.
    """

    distance: Float[Host, " times"]
    standard_error: Float[Host, " times"]
    squares: Float[Host, "replicas times"]

    @property
    def replicas(self) -> int:
        """Number of independent pairs of paths."""
        return self.squares.shape[0]

    @property
    def pooled(self) -> ErrorAtWidth:
        """RMS over replicas, points AND save times.

        The times of one replica are correlated, so each replica is averaged over times first and the
        standard error comes from replica to replica.
        """
        distance, error = _root_mean(np.mean(self.squares, axis=1, keepdims=True))
        return ErrorAtWidth(float(distance[0]), float(error[0]))

    @property
    def at_width(self) -> ErrorAtWidth:
        """The pooled error, as `rate` takes it."""
        return self.pooled


def pathwise(values: ArrayLike, reference: ArrayLike) -> PathError:
    """√(mean over replicas and points of (values − reference)²) at every save time.

    `values` [replicas, times, points]; `reference` the same, replica by replica (coupled paths), or
    [times, points], one path for all (a deterministic limit). With q_r the mean square of replica r
    over points and R replicas, distance = √q̄ and its standard error, by the delta method, is
    sd(q)/(2 √R √q̄). There is no noise floor but rounding. Raises ``ValueError`` for values that are
    not finite, shapes that do not fit, and fewer than two replicas (no standard error).

        >>> import numpy as np
        >>> from jaxlimit.statistics import pathwise
        >>> values = np.array([[[3.0, 1.0]], [[1.0, -1.0]]])
        >>> error = pathwise(values, np.zeros((1, 2)))
        >>> round(float(error.distance[0]), 6), round(float(error.standard_error[0]), 6)
        (1.732051, 0.57735)
    """
    paths = real_array("values", values, 3)
    other = real_array("reference", reference, None)
    fits = other.shape in (paths.shape, paths.shape[1:])
    wanted = f"have shape {paths.shape} or {paths.shape[1:]} like `values`"
    require(fits, "reference", wanted, f"it is {other.shape}")
    require(paths.shape[0] >= 2, "values", "hold at least 2 replicas", f"it holds {paths.shape[0]}")
    squares = np.mean(np.square(paths - other), axis=2)
    distance, error = _root_mean(squares)
    return PathError(distance, error, squares)


def _root_mean(squares: Host) -> tuple[Host, Host]:
    """√mean over replicas with its delta-method standard error; both are zero where all paths agree."""
    distance = np.sqrt(np.mean(squares, axis=0))
    error = np.std(squares, axis=0, ddof=1) / math.sqrt(squares.shape[0])
    return distance, np.divide(error, 2.0 * distance, out=np.zeros_like(error), where=distance > 0)
