"""Claims on what training leaves as it was: the kernel, and so the network beside its tangent twin.

After any fixed number of steps every neuron has moved by O(m^(−1/2)). For ReLU, and w·x of bounded density, a share
O(m^(−1/2)) of the neurons changes sides at a point; for Lipschitz σ' every term of the mean moves by O(m^(−1/2)). So
‖A_t − A_0‖ = O(m^(−1/2)) for both. Outputs f of the network and g of its tangent obey, up to the factor of time,
d(f − g)/dt = −A_0(f − g) − (A_t − A_0)(f − Y), and kernels with a new point say the same there: |f − g| = O(m^(−1/2)).
Where σ is smooth and E c³ = 0 the first orders cancel, and both fall like m^(−1).
"""

import numpy as np

from jaxlimit._typing import Host
from jaxlimit.claims import Claim, number
from jaxlimit.studies._min_norm_evidence import Evidence, Series
from jaxlimit.studies._min_norm_rates import MARGIN, Fit, at_most, kernel_moved, lost, observed
from jaxlimit.studies._scatter import mean_of

FROZEN = -0.5
"""Exponent in the width of the bounds of both: nothing is said against falling faster."""


def frozen(evidence: Evidence, kernels: tuple[Fit, ...], twin: Fit) -> list[Claim]:
    """One claim on the kernel of each series, and where there are twins one on them."""
    found = [_kernel(evidence, *one) for one in zip(evidence.series, kernels, strict=True)]
    return [*found, _twin(evidence, twin)] if gaps_of(evidence) else found


def gaps_of(evidence: Evidence) -> tuple[Host, ...]:
    """RMS over data and held-out points of network less twin, by width [networks, times]."""
    gaps = [one.gaps for one in evidence.own.paths if one.gaps is not None]
    return tuple(np.sqrt(np.mean(gap**2, axis=2)) for gap in gaps)


def largest_gaps(evidence: Evidence) -> list[Host]:
    """The largest square of `gaps_of` along training, by width [networks]."""
    return [np.max(gap**2, axis=1) for gap in gaps_of(evidence)]


def _kernel(evidence: Evidence, series: Series, fit: Fit) -> Claim:
    first, last = series.paths[0], series.paths[-1]
    text, error = observed(fit, mean_of(last.kernel[:, -1]))
    if last.off is not None and len(last.off):
        start, end = (mean_of(last.off[:, position]) for position in (0, -1))
        text += f"; ‖A − H‖/‖H‖ = {number(start.distance)} at the start and {number(end.distance)} at the end"
        error += f"; of the distance to H ± {number(end.standard_error, 1)}"
    return Claim(
        f"kernel {series.name}",
        f"the network's own kernel A_t = F_tᵀF_t stays that of its start: ‖A_t − A_0‖/‖A_0‖ after training falls like "
        f"m^(−1/2) or faster, widths {first.width} to {last.width}",
        "every neuron moves by O(m^(−1/2)) (arXiv 2105.06569)",
        f"exponent in m at most {FROZEN:g} + {MARGIN:g}",
        text,
        error,
        *lost(series.paths, *at_most(fit, FROZEN)),
    )


def _twin(evidence: Evidence, fit: Fit) -> Claim:
    gap, points = evidence.own.paths[-1].gaps, evidence.problem.data.points
    text, error = observed(fit, mean_of(np.sqrt(largest_gaps(evidence)[-1])))
    if gap is not None and len(gap):
        places = {"the data": gap[:, -1, :points], "held-out points": gap[:, -1, points:]}
        ends = {name: mean_of(np.sqrt(np.mean(part**2, axis=1))) for name, part in places.items() if part.shape[1]}
        text += "; at the end " + ", ".join(f"{number(one.distance)} on {name}" for name, one in ends.items())
    return Claim(
        "tangent twin",
        "outputs stay those of the network linearised at its own start and trained beside it: the largest RMS distance "
        "along training falls like m^(−1/2) or faster",
        "from ‖A_t − A_0‖ = O(m^(−1/2)); arXiv 2105.06569 has |w − w*| = O(m^(−1/4)), of the flow",
        f"exponent in m at most {FROZEN:g} + {MARGIN:g}",
        text,
        error,
        *lost(evidence.own.paths, *at_most(fit, FROZEN, kernel_moved(evidence.own.paths, fit))),
    )
