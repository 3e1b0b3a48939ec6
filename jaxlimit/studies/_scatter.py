"""What the scatter of networks says, and how many of them it takes."""

import math

import numpy as np

from jaxlimit._typing import Host
from jaxlimit.statistics import ErrorAtWidth

FEWEST_NETWORKS = 8
"""Of one kind, for a verdict that rests on their scatter: with fewer its intervals are wrong too often."""


def mean_of(values: Host) -> ErrorAtWidth:
    """Their mean and its standard error; nothing that a rate would take where there are not two."""
    if values.size < 2:
        return ErrorAtWidth(0.0, 0.0)
    return ErrorAtWidth(float(np.mean(values)), float(np.std(values, ddof=1)) / math.sqrt(values.size))
