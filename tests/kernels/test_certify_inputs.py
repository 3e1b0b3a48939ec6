"""What `certify` accepts, what it refuses, and how a Gram matrix brings its errors along."""

import math
from fractions import Fraction

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from numpy.testing import assert_array_equal

import jaxlimit as jl
from jaxlimit.kernels import Gram, _witness, certify
from tests import systems
from tests.cases import ACTIVATIONS, each
from tests.exact import (
    NOT_PD,
    UNDECIDED,
    erf_kernel,
    with_spectrum,
)


def test_structure_proves_what_rounding_hides():
    reason = "points 0 and 1 are parallel and the activation is homogeneous"
    singular = np.array([[1.0, 2.0], [2.0, 4.0 + 1e-15]])
    certificate = certify(Gram(singular, np.full((2, 2), 1e-14), singular=(reason,)))
    assert certificate.status is NOT_PD
    assert certificate.reason == reason
    assert certificate.upper == 0
    assert -1e-12 < certificate.lower <= 0
    contradiction = certify(Gram(np.eye(2), singular=(reason,)))
    assert contradiction.status is UNDECIDED
    assert "contradicts" in contradiction.reason


def test_one_monte_carlo_sample_is_no_bound():
    error = np.full((2, 2), 1e-3)
    certificate = certify(Gram(2 * np.eye(2), standard_error=error))
    assert certificate.status is UNDECIDED
    assert (certificate.lower, certificate.upper, certificate.floor) == (-math.inf, math.inf, math.inf)
    assert certificate.estimate == pytest.approx(2.0)
    assert "Monte Carlo" in certificate.reason
    assert certify(Gram(np.ones((2, 2)), standard_error=error, singular=("points 0 and 1 are equal",))).status is NOT_PD


@pytest.mark.parametrize("kind", [np.float32, jnp.float32, jnp.bfloat16, np.int8])
def test_narrow_types_are_cast_exactly(kind):
    narrow = (jnp if kind is jnp.bfloat16 or kind is jnp.float32 else np).asarray([[5, 2], [2, 3]], dtype=kind)
    certificate = certify(narrow)
    wide = certify(np.array([[5.0, 2.0], [2.0, 3.0]]))
    assert (certificate.lower, certificate.upper) == (wide.lower, wide.upper)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        (np.ones((2, 3)), "be square"),
        (np.ones(3), "dimension"),
        (np.ones((0, 0)), "not be empty"),
        (np.array([[1.0, 0.1], [0.2, 1.0]]), "be exactly symmetric"),
        (np.array([[1.0, np.nan], [np.nan, 1.0]]), "be finite"),
        (np.array([[np.inf]]), "be finite"),
        (np.eye(2) * 1j, "hold real numbers"),
        (np.array([[2**53 + 1]]), "be representable in float64"),
        (Gram(np.ones((2, 3))), "be square"),
    ],
)
def test_what_is_not_a_real_symmetric_matrix_is_refused(matrix, message):
    with pytest.raises(ValueError, match=f"Argument `gram` must {message}|Argument `gram` must .*{message}"):
        certify(matrix)


def test_a_radius_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="`radius` must have the shape"):
        Gram(np.eye(2), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="`standard_error` must be ≥ 0"):
        Gram(np.eye(2), standard_error=np.full((2, 2), np.nan))


def test_the_rayleigh_bound_is_above_the_exact_quotient_and_close_to_it():
    rng = np.random.default_rng(10)
    for n in (1, 5, 33, 60):
        matrix = with_spectrum(rng, np.append(np.linspace(0.2, 1.0, n - 1), 1e-14))
        x = np.linalg.eigh(matrix)[1][:, 0]
        rows, v = matrix.tolist(), [Fraction(entry) for entry in x.tolist()]
        form = sum(Fraction(rows[i][j]) * v[i] * v[j] for i in range(n) for j in range(n))
        exact = form / sum(entry * entry for entry in v)
        bound = _witness.quotient(matrix, x)[1]
        assert exact <= Fraction(bound)
        assert bound - float(exact) < 8 * (math.sqrt(n) + 2) * n * 2.0**-53


def test_scaling_a_gram_keeps_the_exact_matrix_inside_the_radius():
    rng = np.random.default_rng(11)
    factors = np.sqrt(rng.uniform(0.1, 3.0, 5))
    matrix = erf_kernel(5)
    for radius in (None, np.full((5, 5), 1e-15)):
        scaled = Gram(matrix, radius, assumptions=("given",), singular=("why",)).scaled(factors)
        assert_array_equal(scaled.value, scaled.value.T)
        assert scaled.assumptions == ("given",)
        assert scaled.singular == ("why",)
        for i in range(5):
            for j in range(5):
                product = Fraction(factors[i].item()) * Fraction(factors[j].item())
                spread = 0 if radius is None else Fraction(radius[i, j].item())
                for end in (Fraction(matrix[i, j].item()) - spread, Fraction(matrix[i, j].item()) + spread):
                    distance = abs(end * product - Fraction(scaled.value[i, j].item()))
                    assert distance <= Fraction(scaled.radius[i, j].item())
                assert scaled.radius[i, j] <= 1.01 * spread * product + 1e-15 * abs(scaled.value[i, j])


def test_scaling_by_powers_of_two_stays_exact():
    scaled = Gram(erf_kernel(3), standard_error=np.ones((3, 3))).scaled([0.5, 0.5, 2.0])
    assert scaled.radius is None
    assert scaled.maximal_radius == 0
    assert_array_equal(scaled.standard_error, np.outer([0.5, 0.5, 2.0], [0.5, 0.5, 2.0]))
    for factors in ([1.0], [1.0, -1.0, 1.0], [0.0, 1.0, 1.0]):
        with pytest.raises(ValueError, match="Argument `factors` must"):
            Gram(erf_kernel(3)).scaled(factors)


CLOSED = {name: case for name, case in ACTIVATIONS.items() if case.dual is not None}
HARD = {  # norms and angles of five points in the plane
    "norms": ([1e-3, 0.03, 1.0, 10.0, 100.0], [0.0, 0.5, 1.1, 1.9, 2.7]),
    "small": ([1e-3, 1e-3, 2e-3, 3e-3, 5e-3], [0.0, 1e-3, 0.7, 1.5, 2.5]),
    "large and close": ([100.0, 100.0, 99.0, 50.0, 100.0], [0.0, 1e-9, 1e-5, 1e-3, 3.1]),
    "nearly parallel": ([1.0, 1.0, 1.0, 2.0, 1.0], [0.0, 1e-12, 1e-7, 1e-5, 1e-2]),
    "nearly opposite": ([1.0, 1.0, 3.0, 1.0, 1.0], [0.0, math.pi - 1e-12, math.pi - 1e-6, 1e-9, 1.5]),
}


def precise_smallest(case, x, variance):
    """λ_min of the exact kernel of these float64 points, in 60 digits."""
    kernel = mpmath.matrix(len(x))
    for i in range(len(x)):
        for j in range(i + 1):
            a, b, r = systems.precise_moments(x[i], x[j])
            kernel[i, j] = kernel[j, i] = case.dual(a, b, r) + variance * case.dual_derivative(a, b, r) * r
    return min(mpmath.eigsy(kernel, eigvals_only=True))


@pytest.mark.parametrize("points", HARD)
@pytest.mark.parametrize("case", each(CLOSED))
def test_the_smallest_eigenvalue_of_the_exact_kernel_is_inside_the_proved_interval(case, points):
    norms, angles = (np.array(v) for v in HARD[points])
    x = norms[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    network = jl.networks.Shallow(case.activation, jl.Initial(c=jl.initial.Rademacher(0.5)))  # E c² = 1/4 exactly
    certificate = certify(jl.gram(network, x))
    with mpmath.workdps(60):
        exact = precise_smallest(case, x, mpmath.mpf(1) / 4)
        assert mpmath.mpf(certificate.lower) <= exact + mpmath.mpf(10) ** -50
        assert exact <= mpmath.mpf(certificate.upper) + mpmath.mpf(10) ** -50
    # The interval says something: it is no wider than a few floors.
    assert certificate.upper - certificate.lower <= 8 * certificate.floor + 1e-3 * abs(certificate.upper)
