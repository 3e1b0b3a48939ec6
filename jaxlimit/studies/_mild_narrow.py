"""Networks that are too narrow for the theorem: how many of them reach the level, and when."""

import math

import numpy as np

from jaxlimit.claims import Remark, number
from jaxlimit.diagnostics import hitting_times
from jaxlimit.studies._mild_evidence import Early, step_of


def narrow_networks(one: Early) -> Remark:
    """η·T over the networks that reached the level, and how many did: no claim, as some points may have no neuron."""
    eta, parts, all_ = step_of(one.problem), [], True
    for samples in one.narrow:
        found = hitting_times(one.problem, samples, one.level).steps
        kept = found[found >= 0].astype(np.float64)
        all_ = all_ and len(kept) == len(found)
        text = f"N = {samples.width}: {len(kept)} of {len(found)}"
        if len(kept) >= 2:
            error = eta * math.hypot(float(kept.std(ddof=1)) / math.sqrt(len(kept)), 1.0 / math.sqrt(12.0))
            text += f", η·T = {number(eta * max(float(kept.mean()) - 0.5, 0.0))} ± {number(error, 1)}"
        parts.append(text)
    return Remark(
        f"narrow networks, {one.name}",
        "all reach the level" if all_ else "some do not reach the level",
        "; ".join(parts),
        "standard errors over the networks that did",
        "a width below the order of log n: with probability up to n(3/4)^N some point has no true-living neuron",
    )
