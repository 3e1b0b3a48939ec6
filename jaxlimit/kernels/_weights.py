"""Weights π of the points, as they enter Π^{1/2} B Π^{1/2}."""

import numpy as np

from jaxlimit._arguments import real_array, require
from jaxlimit._typing import ArrayLike, Host


def roots(weights: ArrayLike | None, points: int) -> Host:
    """√π [points]; ones where no weights are given. Weights are positive and are taken as they are."""
    if weights is None:
        return np.ones(points)
    values = real_array("weights", weights, 1)
    require(values.shape == (points,), "weights", f"have shape ({points},) like x", f"it is {values.shape}")
    require(bool(np.all(values > 0)), "weights", "be positive", f"the smallest is {values.min():g}")
    return np.sqrt(values)
