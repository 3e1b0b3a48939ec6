"""Where the limit's kernel is positive definite and where it is not: the theorem's border, proved on both sides."""

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import numpy as np

from jaxlimit._arguments import instance, items, real_array, require
from jaxlimit._numerics import with_bias
from jaxlimit._typing import ArrayLike, Host
from jaxlimit.activations import (
    AbstractActivation,
    AbstractClosedFormActivation,
    Cos,
    Erf,
    Hermite,
    Identity,
    Relu,
    SinCos,
)
from jaxlimit.claims import Report, enclosure
from jaxlimit.initial import Initial
from jaxlimit.kernels import AbstractRule, Certificate, CertificateStatus, ClosedForm, Gram, MonteCarlo, certify, gram
from jaxlimit.networks import Shallow
from jaxlimit.studies._definiteness_claims import Finding, claim, foretold, label, remark
from jaxlimit.studies._definiteness_panels import Approach, Bar, panels

ACTIVATIONS = (Erf(), SinCos(), Cos(), Relu(), Identity(), Hermite(2))
APPROACHING = (Erf(), Relu())
ANGLES = tuple(10.0**-k for k in np.arange(1.0, 8.25, 0.5))
RATIOS = (1.0, 2.0)
FOUND = {
    CertificateStatus.PROVED_PD: "proved positive definite",
    CertificateStatus.PROVED_NOT_PD: "proved not positive definite",
    CertificateStatus.UNDECIDED: "undecided",
}


class Case(NamedTuple):
    """One activation on one set of points: what the theorem says of it, and what is proved."""

    finding: Finding
    certificate: Certificate
    alone: Certificate
    """of the matrix alone, without the structural reasons that the data give"""
    refusal: ValueError | None = None
    """why the rule gives no kernel"""


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
    another and w has full support; smoothness is not needed. For every activation and every variant of the
    points x [points, inputs] on which it speaks, a claim says what it foretells (positive definite; or
    singular, for a reason in the data) and what `certify` proves: HOLDS where they agree, VIOLATED where the
    proof contradicts, UNDECIDED where the certificate is. Where it is silent there is no claim: `remarks` say
    what is proved all the same.

    Variants, unless `variants` is False: the points as given; a point repeated; the opposite of one added
    (singular for odd and even σ), and twice of one (singular for homogeneous σ); both again with a bias
    coordinate, the cure, with which distinct points suffice; and points in the plane, more of them than a
    polynomial of low degree has monomials. The panels show λ_min on each, and how it vanishes as two
    points become parallel. Activations with a closed form have that; `rule` is for those without one, and the
    `error` of each case says which was used. A case for which the rule is refused (a tolerance that is not reached)
    is UNDECIDED and the others are not lost. Source: references `ito1996`.

    Raises ``ValueError`` for points that `gram` refuses, for an activation without closed form where `rule` is
    None, where the rule is refused for every case, and for Monte Carlo, with which nothing is proved
    (`sampled_definiteness` gives confidence bounds).

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
    rules = [_rule(network, rule) for network in networks]
    sets = _variants(points) if variants else {"as given": points}
    # The first network's Gram of the first set refuses bad points before anything else is done.
    pairs = list(zip(networks, rules, strict=True))
    cases = [_case(network, name, members, own) for network, own in pairs for name, members in sets.items()]
    refusals = [case.refusal for case in cases if case.refusal is not None]
    if len(refusals) == len(cases):
        raise refusals[0]
    approaching = [Shallow(activation, law) for activation in APPROACHING] if variants else []
    approaches = [_approach(network, ratio, _rule(network, rule)) for network in approaching for ratio in RATIOS]
    bars = [_bar(case) for case in cases if case.refusal is None]
    findings = [case.finding for case in cases]
    arrays = {"x": points, "angles": np.array(ANGLES)} if variants else {"x": points}
    for key in ("lower", "upper", "floor"):
        arrays[key] = np.array([getattr(case.alone, key) for case in cases])
    arrays["names"] = np.array([finding.name for finding in findings])
    arrays["silent"] = np.array([finding.foretold.definite is None for finding in findings])
    return Report(
        title="Positive definiteness of the limit's kernel: what the theorem foretells and what is proved",
        source="Sirignano & Spiliopoulos, arXiv 1907.04108; Ito, Adv. Comput. Math. 5 (1996)",
        claims=tuple(one for one in map(claim, findings) if one is not None),
        panels=panels(bars, approaches),
        arrays=arrays,
        configuration={
            "study": "definiteness",
            "activations": [repr(one) for one in chosen],
            "initial": repr(law),
            "rules": [_named(own) for own in rules],
            "points": points.shape[0],
            "inputs": points.shape[1],
            "variants": list(sets),
        },
        remarks=tuple(one for one in map(remark, findings) if one is not None),
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


def _rule(network: Shallow, rule: AbstractRule | None) -> AbstractRule:
    """The closed form where there is one, else the given rule, which must be able to prove something."""
    if rule is not None:
        _require_bounds(not isinstance(instance("rule", rule, AbstractRule, "be a kernel rule"), MonteCarlo))
    activation, law = network.activation, network.initial.w
    if isinstance(activation, AbstractClosedFormActivation) and law.gaussian:
        return ClosedForm()
    why = f"no closed form is known for it with w drawn from {law}"
    if rule is None or isinstance(rule, ClosedForm):
        require(False, "rule", f"be given for {label(activation)}, for example jaxlimit.kernels.Quadrature()", why)
    return cast(AbstractRule, rule)


def _named(rule: AbstractRule) -> str:
    return "closed form" if isinstance(rule, ClosedForm) else repr(rule).removesuffix("()")


def _case(network: Shallow, variant: str, x: Host, rule: AbstractRule) -> Case:
    try:
        kernel = gram(network, x, rule=rule)
    except ValueError as refusal:
        if str(refusal).startswith("Argument `rule`"):
            return _refused_case(network, variant, x, rule, refusal)
        raise
    _require_bounds(kernel.standard_error is None)
    alone = _certified_alone(kernel)
    certificate = certify(kernel) if kernel.singular else alone
    singular = certificate.status is CertificateStatus.PROVED_NOT_PD
    interval = "[{}, {}]".format(*enclosure(alone.lower, alone.upper))
    observed, by = f"λ_min ∈ {interval}", "from the matrix alone"
    if singular and kernel.singular:
        observed, by = f"0, structurally: {kernel.singular[0]}; numerically in {interval}", "by structure"
    assumed = f"; given: {'; '.join(alone.assumptions)}" if alone.assumptions else ""
    finding = Finding(
        f"{label(network.activation)}, {variant}",
        foretold(network, x, kernel.singular),
        alone.status is CertificateStatus.PROVED_PD,
        singular,
        FOUND[certificate.status],
        observed,
        f"proved {by}; entries by {_named(rule)}, floor {alone.floor:.1e}{assumed}",
        certificate.reason,
    )
    return Case(finding, certificate, alone)


def _refused_case(network: Shallow, variant: str, x: Host, rule: AbstractRule, refusal: ValueError) -> Case:
    """Without a matrix: what the points alone say. The two neurons are looked at by nobody."""
    kernel = gram(network, x, rule=MonteCarlo(2))
    certificate = certify(kernel)
    finding = Finding(
        f"{label(network.activation)}, {variant}",
        foretold(network, x, kernel.singular),
        False,
        bool(kernel.singular),
        FOUND[certificate.status],
        f"0, structurally: {kernel.singular[0]}" if kernel.singular else "no matrix",
        f"{_named(rule)} was refused",
        str(refusal).rstrip("."),
    )
    return Case(finding, certificate, _certified_alone(kernel), refusal)


def _bar(case: Case) -> Bar:
    finding, alone = case.finding, case.alone
    definite, given = finding.foretold.definite, bool(alone.assumptions)
    lower = case.certificate.lower
    return Bar(finding.name, lower, alone.upper, alone.floor, definite is False, definite is None, given)


def _require_bounds(bounded: bool) -> None:
    proof = "Monte Carlo entries carry standard errors, with which nothing is proved"
    instead = "jaxlimit.studies.sampled_definiteness, or `jaxlimit certify` with data, gives confidence bounds"
    require(bounded, "rule", "bound its errors", f"{proof}; {instead}")


def _certified_alone(kernel: Gram) -> Certificate:
    """What the matrix itself proves, without the structural reasons."""
    return certify(Gram(kernel.value, kernel.radius, kernel.standard_error, kernel.assumptions))


def _approach(network: Shallow, ratio: float, rule: AbstractRule | None) -> Approach:
    """λ_min for two points at every angle of ANGLES, one of them `ratio` times as long."""
    found = []
    for angle in ANGLES:
        x = np.array([[1.0, 0.0], [ratio * math.cos(angle), ratio * math.sin(angle)]])
        found.append(_certified_alone(gram(network, x, rule=rule)))
    name = f"{label(network.activation)}, $|x_2| = {'' if ratio == 1.0 else f'{ratio:g}'}|x_1|$"
    lower, upper, floor = (np.array([getattr(c, name) for c in found]) for name in ("lower", "upper", "floor"))
    return Approach(name, np.array(ANGLES), lower, upper, floor)
