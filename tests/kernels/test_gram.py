"""Kernels of the limit: golden values, mpmath on the hardest pairs of points, and their definition."""

import mpmath
import numpy as np
import pytest
import scipy.integrate

import jaxlimit as jl
from jaxlimit._numerics import pairs
from jaxlimit.activations._determinant import determinant_with_error
from jaxlimit.kernels import initial_covariance
from tests import systems
from tests.cases import ACTIVATIONS, each

CLOSED = {name: case for name, case in ACTIVATIONS.items() if case.dual is not None}
POINTS = systems.FULL_X
VARIANCE = 1 / 3
UNIT = 2.0**-53


def network(case, std=1.0, c=None, train_output=True):
    initial = jl.Initial(c=jl.initial.Uniform() if c is None else c, w=jl.initial.Normal(0.0, std))
    return jl.networks.Shallow(case.activation, initial, train_output)


@pytest.mark.parametrize("name", systems.GOLDEN)
def test_the_kernel_has_its_golden_values_to_all_printed_digits(name):
    case = ACTIVATIONS[name]
    value = jl.gram(network(case), systems.GOLDEN_DATA.x, rule=case.rule).value
    golden = systems.GOLDEN[name].kernel
    systems.assert_printed([value[pair] for pair in golden], golden.values())


# The hardest pairs: norms from 1e-3 to 100, angles down to 1e-12 from 0 and from π, up to 784 inputs.

NORMS = (1e-3, 0.3, 1.0, 7.0, 100.0)
ANGLES = (0.0, 1e-12, 1e-9, 1e-5, 0.3, np.pi / 2, 3.0, np.pi - 1e-6, np.pi - 1e-12, np.pi)


def hard_pairs(inputs, norms=NORMS):
    """Left points along one direction, right points at the given angles from it; all in float64, then exact."""
    rng = np.random.default_rng(inputs)
    along, across = np.linalg.qr(rng.standard_normal((inputs, 2)))[0].T
    left = np.array([norm * along for norm in norms])
    right = np.array([norm * (np.cos(t) * along + np.sin(t) * across) for norm in norms for t in ANGLES])
    return left, right


def precise_kernels(case, p, q, std=1.0, variance=VARIANCE):
    """B and Σ for one pair in mpmath: |x·x'| times the second dual is exact, since x·x' is r/std²."""
    a, b, r = systems.precise_moments(p, q, std)
    value = case.dual(a, b, r)
    v = mpmath.mpf(variance)
    return value + v * case.dual_derivative(a, b, r) * r / mpmath.mpf(float(std)) ** 2, v * value


@pytest.mark.parametrize(
    "inputs", [2, pytest.param(10, marks=pytest.mark.slow), pytest.param(784, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("case", each(CLOSED))
def test_radii_of_closed_forms_contain_the_exact_values_on_the_hardest_pairs(case, inputs):
    left, right = hard_pairs(inputs)
    rademacher = network(case, c=jl.initial.Rademacher())  # E c² = 1 is exact in float64
    kernel, start = jl.gram(rademacher, left, right), initial_covariance(rademacher, left, right)
    with mpmath.workdps(80):
        for i, p in enumerate(left):
            for j, q in enumerate(right):
                for gram, exact in zip((kernel, start), precise_kernels(case, p, q, variance=1.0), strict=True):
                    error = abs(mpmath.mpf(float(gram.value[i, j])) - exact)
                    assert error <= mpmath.mpf(float(gram.radius[i, j])), (i, j, float(error), gram.radius[i, j])
    assert kernel.assumptions == ()


@pytest.mark.parametrize("case", each(CLOSED))
def test_radii_hold_for_square_grams_with_other_laws(case):
    """Entries above and below the diagonal, the diagonal itself, std ≠ 1 and E c² = 1/3 as rounded."""
    x = np.concatenate(hard_pairs(3))[:20]
    gram = jl.gram(network(case, std=0.7), x)
    with mpmath.workdps(80):
        for i, p in enumerate(x):
            for j, q in enumerate(x):
                exact, _ = precise_kernels(case, p, q, std=0.7, variance=jl.initial.Uniform().second_moment)
                assert abs(mpmath.mpf(float(gram.value[i, j])) - exact) <= mpmath.mpf(float(gram.radius[i, j]))


FARTHEST = (1.01e-50, 1e-20, 1e20, 0.99e50)


@pytest.mark.parametrize("case", each(CLOSED))
def test_radii_and_certificates_hold_for_every_norm_that_is_accepted(case):
    """Nothing underflows or overflows, no radius becomes zero or NaN, and nothing false is proved."""
    rademacher = network(case, c=jl.initial.Rademacher())
    for norm in FARTHEST:
        (point,), others = hard_pairs(3, (norm,))
        gram = jl.gram(rademacher, np.array([point]), others)
        assert np.all(gram.radius > 0)
        across = others[ANGLES.index(0.3)]
        square = jl.gram(rademacher, np.array([point, across]))
        found = jl.certify(square)
        with mpmath.workdps(300):  # D of erf is a sum of terms between 1 and 1e200
            for j, q in enumerate(others):
                exact = precise_kernels(case, point, q, variance=1.0)[0]
                assert abs(mpmath.mpf(float(gram.value[0, j])) - exact) <= mpmath.mpf(float(gram.radius[0, j])), norm
            ends = ((point, point), (point, across), (across, across))
            a, r, b = (precise_kernels(case, *pair, variance=1.0)[0] for pair in ends)
            lowest = (a + b) / 2 - mpmath.sqrt(((a - b) / 2) ** 2 + r**2)
            assert mpmath.mpf(found.lower) <= lowest <= mpmath.mpf(found.upper), norm
        if case.homogeneous:  # the certificate of a homogeneous activation does not depend on the norm
            assert found.status is jl.kernels.CertificateStatus.PROVED_PD
        opposite = jl.certify(jl.gram(rademacher, np.array([point, -point])))
        singular = jl.kernels.CertificateStatus.PROVED_NOT_PD
        assert (opposite.status is singular) is (case.odd or case.even)


@pytest.mark.parametrize("name", ["erf", "probit"])
@pytest.mark.parametrize("exponent", [70, 100, 150])
def test_radii_hold_for_long_parallel_points_whose_computed_angle_is_rounding(name, exponent):
    """Where 1/√D is propagated to first order the bound is too small by up to 10²⁴: D itself moves by a factor.

    Small integers times powers of two are exactly parallel, so D = 1 + f(a + b) with f = 2 for erf, 1 for Φ.
    """
    factor, front = {"erf": (2.0, 4 / np.pi), "probit": (1.0, 1 / (2 * np.pi))}[name]
    slopes, worst = network(CLOSED[name], c=jl.initial.Rademacher(), train_output=False), 0.0
    for direction in ((1, 2, 3), (2, -3, 5), (1, 7, -4), (5, 3, 1), (11, 2, -7)):
        for multiple in (3, 5, 7, 11):
            p = np.array([direction]) * 2.0**exponent
            q = multiple * p
            gram, inner = jl.gram(slopes, p, q), float((p @ q.T)[0, 0])
            exact = front * inner / np.sqrt(1.0 + factor * float((p @ p.T)[0, 0] + (q @ q.T)[0, 0]))
            error = abs(gram.value[0, 0] - exact)
            assert error <= gram.radius[0, 0] + 1e-15 * exact
            det = determinant_with_error(pairs(p, q), factor)
            linear = 1.01 * front * inner * (0.5 * det.error / det.value + 8 * UNIT) / np.sqrt(det.value)
            worst = max(worst, error / linear[0, 0])
    assert worst > 1.05  # the first-order bound fails here


@pytest.mark.parametrize("norm", [0.99e-50, 1e-200, 1.01e50, 1e200])
def test_norms_beyond_the_accepted_ones_are_refused(norm):
    with pytest.raises(ValueError, match="Argument `x2` must have points that are zero or of norm between 1e-50 and"):
        jl.gram(network(ACTIVATIONS["erf"]), POINTS, [[0.0, norm, 0.0]])


@pytest.mark.parametrize("std", [1e-60, 1e60])
def test_norms_beyond_the_accepted_ones_are_refused_in_units_of_w_too(std):
    """At 1e-170 a matrix was once proved not to be positive definite that is."""
    small = jl.networks.Shallow(jl.activations.Relu(), jl.Initial(w=jl.initial.Normal(0.0, std)))
    with pytest.raises(ValueError, match="norm times the standard deviation of w"):
        jl.gram(small, [[1.0, 0.0], [0.6, 0.8]])
    with pytest.raises(ValueError, match="Argument `std` must lie between"):
        jl.initial.Normal(0.0, std**3)


@pytest.mark.parametrize("case", each(CLOSED))
def test_radii_are_tight_for_generic_points(case):
    """A bound no one can use is no bound: a few hundred rounding units of |x||x'|, uniformly in the angle."""
    x = np.random.default_rng(0).standard_normal((60, 3))
    gram = jl.gram(network(case), x)
    norms = np.linalg.norm(x, axis=1)
    size = 0.1 + np.outer(norms, norms)
    # A polynomial of degree k grows like the k-th power, and its error like its derivative.
    degree = getattr(case.activation, "degree", 1)
    assert np.max(gram.radius / (UNIT * size**degree)) < 400 * degree
    assert np.min(gram.radius) > 0


@pytest.mark.parametrize("case", each(CLOSED))
def test_the_second_dual_is_the_derivative_of_the_first(case):
    """E σ'σ' = d/dr E σσ': the reference formulae by differentiation, the package against the references."""
    pairs = [(1.0, 2.0, 0.3), (0.5, 0.7, -0.4), (3.0, 0.1, 0.2), (2.0, 2.0, 1.9)]
    with mpmath.workdps(40):
        for a, b, r in pairs:
            slope = mpmath.diff(lambda s, a=a, b=b: case.dual(mpmath.mpf(a), mpmath.mpf(b), s), mpmath.mpf(r))
            assert abs(slope - case.dual_derivative(mpmath.mpf(a), mpmath.mpf(b), mpmath.mpf(r))) < 1e-25
            x = np.array([[np.sqrt(a), 0.0], [r / np.sqrt(a), np.sqrt(b - r * r / a)]])
            frozen = jl.gram(network(case, c=jl.initial.Rademacher(), train_output=False), x).value[0, 1]
            assert abs(frozen / (x[0] @ x[1]) - slope) < 1e-13


def by_quadrature(case, p, q):
    """Both duals by adaptive quadrature in the plane of the two points, split where σ has its kink."""
    along, across = p @ q / np.linalg.norm(p), np.linalg.norm(q - p @ q / (p @ p) * p)
    density = lambda z: np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)  # noqa: E731

    def dual(f):
        def inner(z):
            kink = float(np.clip(-along * z / across, -8.9, 8.9))
            value = lambda s: f(along * z + across * s) * density(s)  # noqa: E731
            return sum(scipy.integrate.quad(value, *ends, epsabs=1e-11)[0] for ends in ((-9, kink), (kink, 9)))

        value = lambda z: f(np.linalg.norm(p) * z) * inner(z) * density(z)  # noqa: E731
        return sum(scipy.integrate.quad(value, *ends, epsabs=1e-10)[0] for ends in ((-9, 0), (0, 9)))

    return dual(case.sigma), dual(case.slope)


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_kernels_agree_with_adaptive_quadrature_of_their_definition(case):
    p, q = POINTS[0], POINTS[2]
    value, slope = by_quadrature(case, p, q)
    kernel = jl.gram(network(case), np.array([p, q]), rule=case.rule).value[0, 1]
    assert abs(kernel - (value + VARIANCE * slope * (p @ q))) < 1e-8
    start = initial_covariance(network(case), np.array([p, q]), rule=case.rule).value[0, 1]
    assert abs(start - VARIANCE * value) < 1e-8


@pytest.mark.parametrize("std", [1.0, 0.4, 2.5])
@pytest.mark.parametrize("name", ["erf", "relu"])
def test_closed_forms_are_the_textbook_ones(name, std):
    case = CLOSED[name]
    kernel, start = systems.textbook_kernels(name, POINTS, POINTS, VARIANCE, std)
    assert np.max(np.abs(jl.gram(network(case, std), POINTS).value - kernel)) < 1e-13
    assert np.max(np.abs(initial_covariance(network(case, std), POINTS).value - start)) < 1e-13


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_a_frozen_output_layer_leaves_the_second_term_only(case):
    """B = E σσ' + E c² E σ̇σ̇' x·x' in both of its parts, and E c² enters each where it should."""
    for c in (jl.initial.Uniform(), jl.initial.Rademacher(2.0)):
        whole, second = (
            jl.gram(network(case, c=c, train_output=trained), POINTS, rule=case.rule).value for trained in (True, False)
        )
        start = initial_covariance(network(case, c=c), POINTS, rule=case.rule).value
        assert np.max(np.abs(whole - second - start / c.second_moment)) < 1e-13
    unit = jl.gram(network(case, c=jl.initial.Rademacher(), train_output=False), POINTS, rule=case.rule).value
    assert np.max(np.abs(second - 4 * unit)) < 1e-13


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_square_grams_are_exactly_symmetric_and_contain_the_cross_blocks(case):
    square = jl.gram(network(case), POINTS, rule=case.rule)
    assert np.array_equal(square.value, square.value.T)
    assert np.array_equal(square.radius, square.radius.T)
    cross = jl.gram(network(case), POINTS[:2], POINTS[2:], rule=case.rule)
    assert cross.value.shape == cross.radius.shape == (2, 3)
    assert np.all(np.abs(cross.value - square.value[:2, 2:]) <= cross.radius + square.radius[:2, 2:])
    flipped = jl.gram(network(case), POINTS[2:], POINTS[:2], rule=case.rule)
    assert np.all(np.abs(cross.value - flipped.value.T) <= cross.radius + flipped.radius.T)


def test_float64_input_stays_float64():
    """The difference is below float32's resolution and must be seen."""
    x = np.array([[1.0, 0.0], [1.0 + 2.0**-40, 0.0]])
    value = jl.gram(network(ACTIVATIONS["relu"]), x).value
    assert value.dtype == np.float64
    assert value[1, 1] > value[0, 0]


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_the_origin_is_a_point_like_any_other(case):
    """B(0, x) = σ(0) E σ(w·x): the row vanishes where σ(0) = 0, and nothing is NaN."""
    found = jl.gram(network(case), np.array([[0.0, 0.0], [0.6, 0.8]]), rule=case.rule)
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    mean = case.sigma(z) @ weights / weights.sum()
    expected = case.sigma(np.zeros(1)) * [case.sigma(np.zeros(1))[0], 0.0 if case.odd else mean]
    slack = 0.0 if case.odd else 1e-2 if not case.smooth else 1e-9
    assert np.all(np.abs(found.value[0] - expected) <= found.radius[0] + slack)
    assert np.all(np.isfinite(found.value))
    assert np.all(np.isfinite(found.radius))


@pytest.mark.parametrize("degree", [0, 1, 2, 3, 4, 7, 12])
def test_duals_of_hermite_polynomials_hold_at_every_degree(degree):
    """Against the moments of a pair of Gaussians by Gauss-Hermite quadrature, which is exact for polynomials."""
    x = 0.9 * POINTS
    found = jl.gram(jl.networks.Shallow(jl.activations.Hermite(degree), jl.Initial(c=jl.initial.Rademacher())), x)
    z, weights = np.polynomial.hermite_e.hermegauss(degree + 1)
    weights = weights / weights.sum()
    sigma = jl.activations.Hermite(degree)
    for i, p in enumerate(x):
        for j, q in enumerate(x):
            along = p @ q / np.linalg.norm(p)
            across = np.sqrt(max(0.0, q @ q - along**2))
            u, v = np.linalg.norm(p) * z, along * z[:, None] + across * z[None, :]
            value, slope = ((f(u) * weights) @ (f(v) @ weights) for f in (sigma, sigma.derivative))
            scale = max(1.0, np.max(found.value))
            assert abs(found.value[i, j] - (value + slope * (p @ q))) <= 1e-12 * scale


def test_powers_that_overflow_are_refused():
    with pytest.raises(ValueError, match="Argument `x` must be short enough for powers of degree 20"):
        jl.gram(jl.networks.Shallow(jl.activations.Hermite(10)), [[1e40, 0.0]])


@pytest.mark.parametrize("name", ["probit", "sin", "Gaussian bump"])
def test_small_entries_keep_their_relative_accuracy(name):
    """Short points for sin and the bump's slopes, long and opposite ones for Φ: the radius is relative there too."""
    case = CLOSED[name]
    x = np.array([[1e3, 0.0], [-1e3, 1e-1]]) if name == "probit" else np.array([[1e-6, 0.0], [3e-7, 2e-6]])
    trained = name != "Gaussian bump"
    start = jl.gram(network(case, c=jl.initial.Rademacher(), train_output=trained), x)
    assert start.radius[0, 1] <= 1e-9 * abs(start.value[0, 1])
