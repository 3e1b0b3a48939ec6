"""Which method `method=None` means: the exact chain, or blocks that are as exact in float32 and cheaper."""

import numpy as np

from jaxlimit.scalings import PowerScaling
from jaxlimit.simulation._base import AbstractMethod
from jaxlimit.simulation._control import SHORTEST
from jaxlimit.simulation._families import family
from jaxlimit.simulation._sstep import SStep
from jaxlimit.simulation._state import Run
from jaxlimit.simulation._stepwise import Stepwise

TOLERANCE = 1e-4
"""What rounding does to the float32 chain at γ = 1/2 and N = 16,384, and much more than it does at γ > 1/2."""

ENOUGH = {1: 32 * SHORTEST, 2: 4 * SHORTEST}
"""Blocks of an order are likely to be allowed to be long enough where so many steps are expected: what is expected of
a length is rough, at first order within a factor of ten."""

NARROW = 1024
"""Below this width a step moves features too much for what is expected of lengths."""

GAIN = 2.0
"""Blocks must be so many times cheaper by the cost model, whose ratios a benchmark finds right within about 2.5."""


def chosen_method(run: Run) -> AbstractMethod:
    """`Stepwise`, or `SStep` within TOLERANCE in float32 where it costs less than half; float64 asks for the chain."""
    exact = Stepwise()
    if run.optimiser is not None or not family(run.network).in_blocks:
        return exact
    if not isinstance(run.problem.scaling, PowerScaling):
        return exact
    if run.dtype != np.float32 or run.width < NARROW:
        return exact
    offers = (SStep(order=order, tolerance=TOLERANCE) for order in (1, 2))
    able = [offer for offer in offers if offer.likely_length(run) >= ENOUGH[offer.order]]
    cheapest = min(able, key=lambda offer: offer.chain(run).seconds, default=exact)
    return cheapest if GAIN * cheapest.chain(run).seconds < exact.chain(run).seconds else exact
