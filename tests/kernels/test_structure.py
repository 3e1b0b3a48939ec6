"""Data whose exact kernel is singular: found, named and refuted; near misses are not accused."""

import itertools
from fractions import Fraction
from typing import ClassVar

import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.kernels import CertificateStatus
from jaxlimit.kernels._structure import singularities
from tests.cases import ACTIVATIONS, each

ERF, RELU, TANH = (ACTIVATIONS[name] for name in ("erf", "relu", "tanh"))
SIGNED = {name: case for name, case in ACTIVATIONS.items() if case.odd or case.even}
SAFE = np.array([[1.0, 0.2, -0.3], [0.1, -0.8, 0.5], [-0.6, 0.4, 0.9]])


def certificate(case, x):
    network = jl.networks.Shallow(case.activation, jl.Initial())
    return jl.certify(jl.gram(network, np.asarray(x), rule=case.rule))


def assert_singular(case, x, reason):
    # Polynomials may have more points than monomials besides.
    reasons = [r for r in singularities(case.activation, np.asarray(x)) if r == reason or "monomials" not in r]
    assert reasons == [reason]
    found = certificate(case, x)
    assert found.status is CertificateStatus.PROVED_NOT_PD
    assert reason in found.reason
    assert found.upper <= 0


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_points_in_general_position_are_proved_positive_definite(case):
    assert singularities(case.activation, SAFE) == ()
    assert certificate(case, SAFE).status is CertificateStatus.PROVED_PD


@pytest.mark.parametrize("case", each(SIGNED))
def test_opposite_points_with_an_odd_or_even_activation(case):
    parity = "odd" if case.odd else "even"
    assert_singular(case, [*SAFE, -SAFE[1]], f"points 1 and 3 are opposite and the activation is {parity}")


CONSTANT = {name: case for name, case in ACTIVATIONS.items() if case.constant_even_part}
LINEAR = {name: case for name, case in ACTIVATIONS.items() if case.linear_odd_part}
TWO_PAIRS = np.array([SAFE[0], SAFE[1], -SAFE[0], -SAFE[1], SAFE[2]])


@pytest.mark.parametrize("case", each(CONSTANT))
def test_two_opposite_pairs_with_a_constant_even_part(case):
    """σ(u) + σ(−u) = 2σ(0) for either pair, and their slopes cancel: the features of all four have a vanishing sum."""
    reason = "points 0 and 2 are opposite, so are points 1 and 3, and the even part of the activation is constant"
    assert_singular(case, TWO_PAIRS, reason)
    one, spoilt = TWO_PAIRS[:3], TWO_PAIRS.copy()
    spoilt[3, 1] = np.nextafter(spoilt[3, 1], 2.0)
    for x in (one, spoilt):
        assert singularities(case.activation, x) == ()
    assert certificate(case, one).status is CertificateStatus.PROVED_PD
    assert certificate(case, spoilt).status is CertificateStatus.UNDECIDED


@pytest.mark.parametrize("case", each(CONSTANT))
def test_the_origin_between_opposite_points_with_a_constant_even_part(case):
    reason = "points 0 and 1 are opposite, point 2 is zero, and the even part of the activation is constant"
    assert_singular(case, [SAFE[0], -SAFE[0], np.zeros(3), SAFE[1]], reason)
    assert certificate(case, [SAFE[0], np.zeros(3), SAFE[1]]).status is CertificateStatus.PROVED_PD


@pytest.mark.parametrize("case", each(LINEAR))
def test_more_opposite_pairs_than_inputs_with_a_linear_odd_part(case):
    """σ(u) − σ(−u) and the slopes with it are linear in x: as many pairs as inputs are independent, one more is not."""
    x = np.concatenate([SAFE, [[0.5, 0.6, -0.2]]])
    assert_singular(
        case,
        np.concatenate([x, -x]),
        "4 pairs of opposite points exceed the 3 inputs, and the odd part of the activation is linear",
    )
    assert singularities(case.activation, np.concatenate([x[:3], -x[:3]])) == ()
    assert certificate(case, np.concatenate([x[:3], -x[:3]])).status is CertificateStatus.PROVED_PD


@pytest.mark.parametrize("case", each({**CONSTANT, **LINEAR}))
def test_repeated_points_are_not_counted_as_further_pairs(case):
    """Four pairs of indices, but of two points alone."""
    reasons = singularities(case.activation, np.array([SAFE[0], SAFE[0], -SAFE[0], -SAFE[0]])[:, :1])
    assert reasons[:2] == ("points 0 and 1 are equal", "points 2 and 3 are equal")
    assert not any("pairs of" in reason or "so are" in reason for reason in reasons)


@pytest.mark.parametrize("case", each({**CONSTANT, **LINEAR}))
def test_the_named_combinations_of_features_vanish(case):
    """The claim itself, at random w and c, by the NumPy functions of the table."""
    rng = np.random.default_rng(0)
    w, c = rng.standard_normal((50, 3)), rng.uniform(-1, 1, (50, 1))

    def features(x):
        return np.concatenate([case.sigma(w @ x)[:, None], c * case.slope(w @ x)[:, None] * x], axis=1)

    if case.constant_even_part:
        total = features(SAFE[0]) + features(-SAFE[0]) - features(SAFE[1]) - features(-SAFE[1])
        origin = features(SAFE[0]) + features(-SAFE[0]) - 2 * features(np.zeros(3))
        assert max(np.max(np.abs(total)), np.max(np.abs(origin))) < 1e-14
    else:
        x = np.array([*SAFE, [0.5, 0.6, -0.2]])
        weights = np.append(np.linalg.solve(SAFE.T, x[3]), -1.0)
        total = sum(a * (features(p) - features(-p)) for a, p in zip(weights, x, strict=True))
        assert np.max(np.abs(total)) < 1e-13


@pytest.mark.parametrize(
    ("name", "point"),
    [("probit", -SAFE[:1]), ("logistic", -SAFE[:1]), ("cos", np.zeros((1, 3))), ("probit", np.zeros((1, 3)))],
)
def test_one_opposite_point_or_the_origin_where_only_inner_weights_learn(name, point):
    case = ACTIVATIONS[name]
    x = np.concatenate([SAFE, point])
    assert certificate(case, x).status is CertificateStatus.PROVED_PD  # the output layer tells them apart
    network = jl.networks.Shallow(case.activation, jl.Initial(), train_output=False)
    gram = jl.gram(network, x, rule=case.rule)
    assert jl.certify(gram).status is CertificateStatus.PROVED_NOT_PD
    assert np.linalg.eigvalsh(gram.value)[0] < 1e-10


def test_opposite_points_are_no_obstacle_for_the_rectifier():
    assert singularities(RELU.activation, np.array([*SAFE, -SAFE[1]])) == ()
    assert certificate(RELU, [*SAFE, -SAFE[1]]).status is CertificateStatus.PROVED_PD


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_repeated_points(case):
    assert_singular(case, [*SAFE, SAFE[2]], "points 2 and 3 are equal")


@pytest.mark.parametrize("factor", [2.0, 0.125, 3.0])
def test_parallel_points_with_the_rectifier(factor):
    """Small integers: multiples are exact in floating point."""
    x = np.array([[1.0, 2.0, -3.0], [4.0, -1.0, 2.0], [-2.0, 5.0, 1.0]])
    assert_singular(RELU, [*x, factor * x[0]], "points 0 and 3 are parallel and the activation is homogeneous")


def test_parallel_points_are_no_obstacle_for_a_bounded_activation():
    assert singularities(ERF.activation, np.array([*SAFE, 2 * SAFE[0]])) == ()
    assert certificate(ERF, [*SAFE, 2 * SAFE[0]]).status is CertificateStatus.PROVED_PD


def test_parallelism_is_decided_in_exact_arithmetic():
    """3·(0.1, 0.3, 0.7) rounds each coordinate on its own: the points are nearly, not exactly, parallel."""
    p = np.array([0.1, 0.3, 0.7])
    q = 3 * p
    assert Fraction(p[0]) * Fraction(q[1]) != Fraction(p[1]) * Fraction(q[0])
    assert singularities(RELU.activation, np.array([p, q])) == ()
    # The difference is far below what Cholesky can see, so nothing is proved either way.
    assert certificate(RELU, [p, q]).status is CertificateStatus.UNDECIDED
    # 2p is exact.
    assert_singular(RELU, [p, 2 * p], "points 0 and 1 are parallel and the activation is homogeneous")


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_one_unit_in_the_last_place_is_not_called_equal_or_opposite(case):
    for sign in (1.0, -1.0):
        near = sign * SAFE[0]
        near[1] = np.nextafter(near[1], 2.0)
        x = np.array([*SAFE, near])
        reasons = singularities(case.activation, x)
        assert all("monomials" in reason for reason in reasons)
        status = certificate(case, x).status
        if reasons:
            expected = CertificateStatus.PROVED_NOT_PD
        elif sign > 0 or case.odd or case.even:
            expected = CertificateStatus.UNDECIDED
        else:
            expected = CertificateStatus.PROVED_PD
        assert status is expected


@pytest.mark.parametrize("case", [p for p in each(ACTIVATIONS) if p.values[0].odd or p.values[0].homogeneous])
def test_the_origin_has_no_features_where_sigma_vanishes_there(case):
    assert_singular(case, [*SAFE, np.zeros(3)], "point 3 is zero")


def test_a_bias_coordinate_separates_what_was_parallel_or_opposite():
    data = jl.Data([*SAFE, -SAFE[0], 2 * SAFE[1], np.zeros(3)], np.arange(6.0))
    for case in (ERF, RELU, TANH):
        assert certificate(case, data.x).status is CertificateStatus.PROVED_NOT_PD
        assert certificate(case, data.with_bias().x).status is CertificateStatus.PROVED_PD


def test_every_reason_is_listed():
    x = np.array([SAFE[0], SAFE[0], -SAFE[0], np.zeros(3)])
    assert singularities(TANH.activation, x) == (
        "points 0 and 1 are equal",
        "points 0 and 2 are opposite and the activation is odd",
        "point 3 is zero",
    )


@pytest.mark.parametrize("case", each(LINEAR))
def test_more_opposite_pairs_than_their_points_have_dimensions(case):
    """Three pairs in a plane of three inputs; one unit in the last place lifts a point out of it."""
    x = np.array([SAFE[0], SAFE[1], [1.0, 0.5, 0.25]])
    x[:, 2] = 0.0
    x = x @ np.array([[1.0, 0, 0], [0, 1, 0.5], [0, 0, 1]])  # exactly: halves
    reason = "3 pairs of opposite points exceed the 2 dimensions that they span"
    assert_singular(case, np.concatenate([x, -x]), f"{reason}, and the odd part of the activation is linear")
    x[0, 2] = np.nextafter(x[0, 2], 2.0)
    assert singularities(case.activation, np.concatenate([x, -x])) == ()


ATOMS, MASSES = [-2.0, -1.0, 0.0, 1.0, 2.0], [0.1, 0.2, 0.4, 0.2, 0.1]
ATOMIC = {
    "Discrete": (jl.initial.Discrete(ATOMS, MASSES), dict(zip(ATOMS, MASSES, strict=True))),
    "Rademacher": (jl.initial.Rademacher(), {-1.0: 0.5, 1.0: 0.5}),
    "Dirac": (jl.initial.Dirac(1.0), {1.0: 1.0}),
}
PLANE = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def enumerated(case, x, masses):
    """The exact kernel for c = ±1 and two independent coordinates of w with these masses, by summing over all w."""
    total = np.zeros((len(x), len(x)))
    for (first, p), (second, q) in itertools.product(masses.items(), repeat=2):
        u = x @ np.array([first, second])
        value, slope = case.sigma(u), case.slope(u)
        total += p * q * (np.outer(value, value) + np.outer(slope, slope) * (x @ x.T))
    return total


@pytest.mark.parametrize("name", ATOMIC)
@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_no_kernel_of_a_discrete_law_is_called_singular_that_is_not(case, name):
    """Atoms may sit where σ' is a convention: Σ a_k(features of x_k less those of −x_k) need not vanish there."""
    law, masses = ATOMIC[name]
    network = jl.networks.Shallow(case.activation, jl.Initial(c=jl.initial.Rademacher(), w=law))
    candidates = [[*PLANE, *-PLANE], [*PLANE[:2], *-PLANE[:2]], [*PLANE, 2 * PLANE[0]], [*PLANE, [0.0, 0.0]]]
    for points in candidates:
        x = np.array(points)
        eigenvalues = np.linalg.eigvalsh(enumerated(case, x, masses))
        certificate = jl.certify(jl.gram(network, x, rule=jl.kernels.MonteCarlo(64)))
        if eigenvalues[0] > 1e-9:
            assert certificate.status is CertificateStatus.UNDECIDED


def test_the_rectifier_with_atoms_is_not_singular_where_it_would_be_without():
    law, masses = ATOMIC["Discrete"]
    x = np.concatenate([PLANE, -PLANE])
    assert np.linalg.eigvalsh(enumerated(RELU, x, masses))[0] > 0.05
    assert singularities(RELU.activation, x, atomless=law.atomless) == ()
    assert "3 pairs" in singularities(RELU.activation, x)[0]
    # Smooth σ have no conventions.
    smooth = ACTIVATIONS["softplus"]
    assert np.linalg.eigvalsh(enumerated(smooth, x, masses))[0] < 1e-14
    assert "3 pairs" in singularities(smooth.activation, x, atomless=law.atomless)[0]


class Clipped(jl.activations.AbstractActivation):
    """σ(u) = min(max(u, −1), 1), odd, with σ'(1) = 1 and σ'(−1) = 0."""

    odd: ClassVar[bool] = True
    smooth: ClassVar[bool | None] = False

    def __call__(self, u):
        return u.__array_namespace__().clip(u, -1.0, 1.0)

    def derivative(self, u):
        return ((u > -1) & (u <= 1)).astype(u.dtype)


def test_an_odd_activation_with_kinks_has_no_even_slope_there():
    """w = ±1 puts w·x on the kinks: of the four features of ±x, in the order of (c, w), the slopes alone differ."""
    sigma, x = Clipped(), np.array([[1.0], [-1.0]])
    u = np.array([1.0, -1.0]) * x
    kernel = 0.5 * (sigma(u) @ sigma(u).T + (x @ x.T) * (sigma.derivative(u) @ sigma.derivative(u).T))
    assert np.linalg.eigvalsh(kernel)[0] > 0.4
    for law, reasons in ((jl.initial.Rademacher(), 0), (jl.initial.Uniform(), 1)):
        network = jl.networks.Shallow(sigma, jl.Initial(c=jl.initial.Rademacher(), w=law))
        assert len(jl.gram(network, x, rule=jl.kernels.MonteCarlo(64)).singular) == reasons


def test_a_thousand_points_on_a_line_have_few_reasons():
    """Each kind is told in a few words: not one for every pair, of which there are half a million."""
    line = np.linspace(-1.0, 1.0, 1000)[:, None]
    for case in ACTIVATIONS.values():
        for x in (line, np.repeat(line[::2], 2, axis=0), np.round(line, 2), np.zeros((1000, 1))):
            reasons = singularities(case.activation, x)
            assert len(reasons) <= 30
            assert sum(map(len, reasons)) <= 3000
    assert singularities(RELU.activation, line)[0] == (
        "points 0 and 1 and 498 more are parallel and the activation is homogeneous"
    )
    assert singularities(ERF.activation, np.zeros((1000, 1))) == (
        "points 0 and 1 and 998 more are equal",
        "point 0 is zero",
    )
    assert singularities(TANH.activation, np.repeat(SAFE[0, :1] + np.arange(20.0), 2)[:, None]) == (
        *(f"points {2 * k} and {2 * k + 1} are equal" for k in range(8)),
        "12 more reasons like this",
    )


def test_minus_zero_is_zero():
    x = np.array([[0.0, 1.0], [-0.0, 1.0], [0.0, -1.0], [-0.0, -0.0]])
    assert singularities(ERF.activation, x) == (
        "points 0 and 1 are equal",
        "points 0 and 2 are opposite and the activation is odd",
        "point 3 is zero",
    )


def test_what_holds_of_slopes_alone_is_not_said_of_the_covariance_of_the_start():
    """σ(w·x) of opposite points and of the origin are independent for Φ, though their slopes are not."""
    for name, point in (("probit", -SAFE[0]), ("cos", np.zeros(3))):
        x = np.array([SAFE[0], point])
        network = jl.networks.Shallow(ACTIVATIONS[name].activation, jl.Initial(), train_output=False)
        assert jl.certify(jl.gram(network, x)).status is CertificateStatus.PROVED_NOT_PD
        assert jl.certify(jl.kernels.initial_covariance(network, x)).status is CertificateStatus.PROVED_PD


def test_cross_blocks_make_no_claim():
    network = jl.networks.Shallow(ERF.activation, jl.Initial())
    assert jl.gram(network, SAFE, SAFE).singular == ()


@pytest.mark.parametrize(("degree", "inputs", "monomials"), [(0, 2, 1), (1, 3, 3), (2, 2, 4), (3, 2, 6), (2, 3, 7)])
def test_more_points_than_monomials(degree, inputs, monomials):
    """As many points as monomials of degree k, k − 2, … have a non-singular kernel, one more has not."""
    x = np.random.default_rng(0).standard_normal((monomials + 1, inputs))
    network = jl.networks.Shallow(jl.activations.Hermite(degree), jl.Initial())
    kernel = jl.gram(network, x)
    found = jl.certify(kernel)
    reason = (
        f"{monomials + 1} points exceed the {monomials} monomials that span the features of a polynomial activation"
    )
    assert kernel.singular == (reason,)
    assert found.status is CertificateStatus.PROVED_NOT_PD
    assert reason in found.reason
    fewer = jl.gram(network, x[:-1])
    assert fewer.singular == ()
    assert jl.certify(fewer).status is CertificateStatus.PROVED_PD
