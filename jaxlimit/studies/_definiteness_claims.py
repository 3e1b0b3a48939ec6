"""What the theorem says of an activation on points, and the claim or the remark that a finding makes of it."""

import math
from typing import NamedTuple

import numpy as np

from jaxlimit._numerics import pairs
from jaxlimit._typing import Host
from jaxlimit.activations import AbstractActivation
from jaxlimit.claims import Claim, Remark, Verdict
from jaxlimit.networks import Shallow

ITO = "Ito 1996"
XAVIER = "arXiv 1907.04108; Ito 1996"
ELEMENTARY = "elementary: linearly dependent features"
PARALLEL = 1e-12


class Foretold(NamedTuple):
    """What is said of one activation on one set of points, why, and by whom."""

    definite: bool | None
    """positive definite, singular, or nothing said"""
    why: str
    source: str


class Finding(NamedTuple):
    """What one activation on one set of points turned out to be."""

    name: str
    foretold: Foretold
    positive: bool
    """the matrix alone was seen to be positive definite: proved, or at the level that `error` states"""
    singular: bool
    """it was proved not to be"""
    found: str
    """the outcome in a few words, for a remark"""
    observed: str
    error: str
    reason: str


def label(activation: AbstractActivation) -> str:
    """The activation as figures and claims call it."""
    return repr(activation).removesuffix("()")


def foretold(network: Shallow, x: Host, singular: tuple[str, ...]) -> Foretold:
    """What the theorem says of this network on these points, `singular` being the reasons named in their Gram."""
    if singular:
        more = f" (and {len(singular) - 1} more)" if len(singular) > 1 else ""
        return Foretold(False, singular[0] + more, ELEMENTARY)
    activation, law = network.activation, network.initial
    angles = pairs(x, x).theta[np.triu_indices(len(x), 1)]
    distinct = bool(x.any(axis=1).all()) and bool(np.all((angles > PARALLEL) & (angles < math.pi - PARALLEL)))
    conditions = {
        "σ is no polynomial": activation.polynomial is False,
        # Bounded, or with a bounded derivative, or homogeneous: each grows no faster than |u|.
        "σ grows slowly": bool(activation.bounded or activation.smooth or activation.homogeneous),
        "distinct directions": distinct,
        "w with full support": law.w.full_support,
        "output layer trained": network.train_output,
    }
    missing = [name for name, holds in conditions.items() if not holds]
    if missing:
        return Foretold(None, f"not given: {', '.join(missing)}", "")
    # Independence of the features σ(w·x_i) needs no smoothness (Ito). The Xavier theorem draws the same conclusion,
    # under its own assumptions: σ in C²_b, and a centred c of compact support.
    own = bool(activation.smooth and activation.bounded) and law.c.compact_support and law.c.mean == 0
    return Foretold(True, ", ".join(conditions), XAVIER if own else ITO)


def claim(finding: Finding) -> Claim | None:
    """HOLDS where theorem and finding agree; None where the theorem is silent.

    A matrix that is singular for a reason in the data may not look definite without it either.
    """
    definite, why, source = finding.foretold
    if definite is None:
        return None
    if definite:
        verdict = Verdict.HOLDS if finding.positive else Verdict.VIOLATED if finding.singular else Verdict.UNDECIDED
        statement, expected, reason = "B is positive definite", "positive definite", f"{why}; {finding.reason}"
    else:
        verdict = Verdict.VIOLATED if finding.positive else Verdict.HOLDS if finding.singular else Verdict.UNDECIDED
        statement, expected, reason = "B is singular", "λ_min = 0", why
    return Claim(finding.name, statement, source, expected, finding.observed, finding.error, verdict, reason)


def remark(finding: Finding) -> Remark | None:
    """What was found where the theorem is silent; None where it speaks."""
    if finding.foretold.definite is not None:
        return None
    reason = f"the theorem is silent ({finding.foretold.why}); {finding.reason}"
    return Remark(finding.name, finding.found, finding.observed, finding.error, reason)
