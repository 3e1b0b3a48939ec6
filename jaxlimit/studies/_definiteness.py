"""Where the limit's kernel is positive definite and where it is not: the theorem's border, proved on both sides."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from jaxlimit._arguments import instance, items, real_array, require
from jaxlimit._numerics import pairs, with_bias
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations import AbstractActivation, Cos, Erf, Hermite, Identity, Relu, SinCos
from jaxlimit.claims import Claim, Report, Verdict, above, below
from jaxlimit.initial import Initial
from jaxlimit.kernels import AbstractRule, Certificate, CertificateStatus, Gram, certify, gram
from jaxlimit.networks import Shallow
from jaxlimit.studies._definiteness_panels import Approach, Bar, panels

SOURCE = "arXiv 1907.04108; Ito 1996"
PARALLEL = 1e-12
ACTIVATIONS = (Erf(), SinCos(), Cos(), Relu(), Identity(), Hermite(2))
APPROACHING = (Erf(), Relu())
ANGLES = tuple(10.0**-k for k in np.arange(1.0, 8.25, 0.5))
RATIOS = (1.0, 2.0)


class Case(NamedTuple):
    """One activation on one set of points: what the theorem says, and what is proved."""

    name: str
    expected: bool | None
    """positive definite, singular, or nothing said"""
    why: str
    certificate: Certificate
    alone: Certificate
    """of the matrix alone, without the structural reasons that the data give"""


def definiteness(
    x: ArrayLike,
    *,
    activations: Sequence[AbstractActivation] = ACTIVATIONS,
    initial: Initial | None = None,
    rule: AbstractRule | None = None,
    variants: bool = True,
) -> Report:
    """Put the theorem on positive definiteness to the test at its border, by proofs and not by simulation.

    Theorem: B is positive definite where σ is no polynomial and grows slowly, no x_i is a multiple of
    another and w has full support. For every activation and every variant of the points x [points,
    inputs] a claim says what it foretells (positive definite; singular, for a reason in the data; or
    nothing) and what `certify` proves: HOLDS where they agree, VIOLATED where the proof contradicts,
    UNDECIDED where the certificate is, or where the theorem is silent.

    Variants, unless `variants` is False: the points as given; a point repeated; the opposite of one added
    (singular for odd and even σ), and twice of one (singular for homogeneous σ); both again with a bias
    coordinate, the cure, with which distinct points suffice; and points in the plane, more of them than a
    polynomial of low degree has monomials. The panels show λ_min on each, and how it vanishes as two
    points become parallel. `rule` as in `gram`, for every activation. Source: references `ito1996`.

    Raises ``ValueError`` for points that `gram` refuses, for activations without a rule, and for Monte Carlo.

        >>> import jaxlimit as jl
        >>> x = jl.data.sphere(points=4, inputs=3).x
        >>> report = jl.studies.definiteness(x, activations=[jl.activations.Erf()])
        >>> [(claim.name, claim.verdict.value) for claim in report.claims][2]
        ('Erf, opposite point', 'HOLDS')
    """
    points = real_array("x", x, 2)
    chosen = items("activations", activations, "activations")
    require(len(chosen) > 0, "activations", "not be empty", "it has no member")
    law = Initial() if initial is None else instance("initial", initial, Initial)
    networks = [Shallow(instance("activations", one, AbstractActivation), law) for one in chosen]
    sets = _variants(points) if variants else {"as given": points}
    # The first network's Gram of the first set refuses bad points and missing rules before anything else is done.
    cases = [_case(network, name, members, rule) for network in networks for name, members in sets.items()]
    approaches = [_approach(Shallow(a, law), ratio, rule) for a in APPROACHING for ratio in RATIOS] if variants else []
    bars = [Bar(c.name, c.certificate.lower, c.alone.upper, c.alone.floor, c.expected is False) for c in cases]
    arrays = {"x": points, "angles": np.array(ANGLES)} if variants else {"x": points}
    for key in ("lower", "upper", "floor"):
        arrays[key] = np.array([getattr(case.alone, key) for case in cases])
    arrays["names"] = np.array([case.name for case in cases])
    return Report(
        title="Positive definiteness of the limit's kernel: what the theorem foretells and what is proved",
        source="Sirignano & Spiliopoulos, arXiv 1907.04108; Ito, Adv. Comput. Math. 5 (1996)",
        claims=tuple(_claim(case) for case in cases),
        panels=panels(bars, approaches),
        arrays=arrays,
        configuration={
            "study": "definiteness",
            "activations": [repr(one) for one in chosen],
            "initial": repr(law),
            "rule": "closed form" if rule is None else repr(rule),
            "points": points.shape[0],
            "inputs": points.shape[1],
            "variants": list(sets),
        },
    )


def _variants(x: Host) -> dict[str, Host]:
    opposite, parallel = np.concatenate([x, -x[:1]]), np.concatenate([x, 2.0 * x[:1]])  # both exact
    # Odd multiples of an irrational part of the half circle: no two directions alike, no three evenly spaced.
    turns = math.pi * np.mod((np.arange(8) + 0.5) * (math.sqrt(5.0) - 1.0) / 2.0, 1.0)
    return {
        "as given": x,
        "repeated point": np.concatenate([x, x[:1]]),
        "opposite point": opposite,
        "opposite point, bias": with_bias(opposite),
        "parallel point": parallel,
        "parallel point, bias": with_bias(parallel),
        "8 points in the plane": np.stack([np.cos(turns), np.sin(turns)], axis=1),
    }


def _case(network: Shallow, variant: str, x: Host, rule: AbstractRule | None) -> Case:
    kernel = gram(network, x, rule=rule)
    _require_bounds(kernel)
    alone = _certified_alone(kernel)
    certificate = certify(kernel) if kernel.singular else alone
    expected, why = _foretold(network, x, kernel)
    return Case(f"{_label(network.activation)}, {variant}", expected, why, certificate, alone)


def _certified_alone(kernel: Gram) -> Certificate:
    """What the matrix itself proves, without the structural reasons."""
    return certify(Gram(kernel.value, kernel.radius, kernel.standard_error, kernel.assumptions))


def _require_bounds(kernel: Gram) -> None:
    bounded = kernel.standard_error is None
    require(
        bounded, "rule", "bound its errors", "Monte Carlo entries carry standard errors, with which nothing is proved"
    )


def _label(activation: AbstractActivation) -> str:
    return repr(activation).removesuffix("()")


def _foretold(network: Shallow, x: Host, kernel: Gram) -> tuple[bool | None, str]:
    """What the theorem says of this activation on these points, and why."""
    if kernel.singular:
        more = f" (and {len(kernel.singular) - 1} more)" if len(kernel.singular) > 1 else ""
        return False, kernel.singular[0] + more
    activation = network.activation
    angles = pairs(x, x).theta[np.triu_indices(len(x), 1)]
    distinct = bool(x.any(axis=1).all()) and bool(np.all((angles > PARALLEL) & (angles < math.pi - PARALLEL)))
    conditions = {
        "σ is no polynomial": activation.polynomial is False,
        # Bounded, or with a bounded derivative, or homogeneous: each grows no faster than |u|.
        "σ grows slowly": bool(activation.bounded or activation.smooth or activation.homogeneous),
        "distinct directions": distinct,
        "w with full support": network.initial.w.full_support,
        "output layer trained": network.train_output,
    }
    missing = [name for name, holds in conditions.items() if not holds]
    return (None, f"not given: {', '.join(missing)}") if missing else (True, ", ".join(conditions))


def _claim(case: Case) -> Claim:
    """HOLDS where theorem and proof agree; a singular matrix may not look definite without its reason either."""
    status = case.certificate.status
    proved, refuted = status is CertificateStatus.PROVED_PD, status is CertificateStatus.PROVED_NOT_PD
    if case.expected is None:
        verdict, reason = Verdict.UNDECIDED, f"the theorem is silent ({case.why}); {status.value}"
        foretold = "nothing"
    elif case.expected:
        verdict = Verdict.HOLDS if proved else Verdict.VIOLATED if refuted else Verdict.UNDECIDED
        foretold, reason = "positive definite", f"{case.why}; {case.certificate.reason}"
    else:
        contradicted = case.alone.status is CertificateStatus.PROVED_PD
        verdict = Verdict.VIOLATED if contradicted else Verdict.HOLDS if refuted else Verdict.UNDECIDED
        foretold, reason = "λ_min = 0", case.why
    alone = case.alone
    assumed = f"; given: {'; '.join(alone.assumptions)}" if alone.assumptions else ""
    return Claim(
        case.name,
        "the kernel B is positive definite if and as far as the theorem says so",
        SOURCE,
        foretold,
        f"λ_min ∈ [{below(alone.lower, 4)}, {above(alone.upper, 4)}]",
        f"proved from the matrix alone, floor {alone.floor:.1e}{assumed}",
        verdict,
        reason,
    )


def _approach(network: Shallow, ratio: float, rule: AbstractRule | None) -> Approach:
    """λ_min for two points at every angle of ANGLES, one of them `ratio` times as long."""
    found = []
    for angle in ANGLES:
        x = np.array([[1.0, 0.0], [ratio * math.cos(angle), ratio * math.sin(angle)]])
        found.append(_certified_alone(gram(network, x, rule=rule)))
    label = f"{_label(network.activation)}, $|x_2| = {'' if ratio == 1.0 else f'{ratio:g}'}|x_1|$"
    lower, upper, floor = (np.array([getattr(c, name) for c in found]) for name in ("lower", "upper", "floor"))
    return Approach(label, np.array(ANGLES), lower, upper, floor)
