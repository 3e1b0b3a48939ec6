"""Certificates against an oracle in integer arithmetic: a matrix of floats is definite or it is not.

Every floating-point matrix is a matrix of rational numbers, so Sylvester's criterion decides it without
any rounding. Nothing below needs to know how far a rounded A = Q diag Qᵀ is from its intended spectrum:
the oracle judges the matrix that `certify` was given.
"""

import math
from fractions import Fraction
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg
from numpy.testing import assert_array_equal

from jaxlimit.kernels import CertificateStatus, Gram, _cholesky, certify
from tests.exact import (
    NOT_PD,
    PD,
    UNDECIDED,
    assert_true,
    erf_kernel,
    exactly_pd,
    known_inertia,
    with_spectrum,
)


def random_matrices(count, seed):
    """Sizes 1 to 6; λ_min = ±10^−k for k = 0 … 18 to rounding, or inertia known exactly, down to ±2^−40 and 0."""
    rng = np.random.default_rng(seed)
    for index in range(count):
        n, sign = int(rng.integers(1, 7)), (-1.0) ** (index // 2)
        if index % 2:
            lowest = 0.0 if index % 22 == 1 else sign * 2.0 ** -int(rng.integers(0, 41))
            yield known_inertia(rng, n, lowest)
        else:
            smallest = 10.0 ** -int(rng.integers(0, 19))
            yield with_spectrum(rng, np.append(rng.uniform(smallest, 1.0, n - 1), sign * smallest))


def test_the_oracle_knows_the_inertia_of_exact_factorisations():
    rng = np.random.default_rng(1)
    for k in range(41):
        assert exactly_pd(known_inertia(rng, 5, 2.0**-k).tolist())
        assert not exactly_pd(known_inertia(rng, 5, -(2.0**-k)).tolist())
    assert not exactly_pd(known_inertia(rng, 5, 0.0).tolist())


def check_random_matrices(count, seed):
    seen = dict.fromkeys(CertificateStatus, 0)
    for matrix in random_matrices(count, seed):
        certificate = certify(matrix)
        assert_true(certificate, matrix)
        seen[certificate.status] += 1
    return seen


def test_nothing_false_is_proved_about_random_matrices():
    seen = check_random_matrices(600, seed=2)
    # Vacuous truth is excluded: both proofs occur often, and honest doubt is for the last few digits only.
    assert seen[PD] > 200
    assert seen[NOT_PD] > 200
    assert 0 < seen[UNDECIDED] < 100


@pytest.mark.slow
def test_nothing_false_is_proved_about_ten_thousand_random_matrices():
    seen = check_random_matrices(10_000, seed=3)
    assert seen[PD] > 3000
    assert seen[NOT_PD] > 3000
    assert 0 < seen[UNDECIDED] < 2000


@pytest.mark.parametrize("n", [1, 2, 9, 40])
@pytest.mark.parametrize("smallest", [1.0, 1e-3, 1e-8, 1e-12, -1e-12, -1e-8, -0.3])
def test_the_bounds_of_the_lowest_eigenvalue_are_valid_and_tight(n, smallest):
    matrix = with_spectrum(np.random.default_rng(n), np.append(np.linspace(abs(smallest), 1.0, n - 1), smallest))
    certificate = certify(matrix)
    assert_true(certificate, matrix)
    assert certificate.status is (PD if smallest > 0 else NOT_PD)
    assert certificate.upper - certificate.lower <= 8 * certificate.floor + 1e-3 * abs(smallest)
    assert abs(certificate.estimate - smallest) <= 8 * certificate.floor + 1e-3 * abs(smallest)


def test_the_bounds_hold_and_are_tight_for_a_kernel_with_clustered_eigenvalues():
    matrix = erf_kernel(300)
    certificate = certify(matrix)
    # LAPACK's backward error, n·u·‖A‖, is 1e-11 here: below both margins.
    reference = scipy.linalg.eigvalsh(matrix)[0]
    assert certificate.status is PD
    assert reference * (1 - 1e-3) < certificate.lower <= reference + 1e-11
    assert reference - 1e-11 <= certificate.upper < reference * (1 + 1e-3)


def test_the_floor_is_where_proofs_end():
    """Ten floors above zero is proved, a hundredth of a floor on either side is not."""
    rng = np.random.default_rng(4)
    rest = np.linspace(0.5, 1.0, 29)
    floor = certify(with_spectrum(rng, np.append(rest, 0.5))).floor
    assert floor < 1e-13
    assert certify(with_spectrum(rng, np.append(rest, 10 * floor))).status is PD
    assert certify(with_spectrum(rng, np.append(rest, -10 * floor))).status is NOT_PD
    undecided = certify(with_spectrum(rng, np.append(rest, floor / 100)))
    assert undecided.status is UNDECIDED
    assert undecided.lower < 0 < undecided.upper < 3 * floor


def naive_traps():
    """Matrices that are exactly not positive definite although LAPACK's Cholesky completes on them."""
    rng = np.random.default_rng(5)
    for index in range(3000):
        matrix = with_spectrum(rng, np.append(rng.uniform(0.1, 1.0, 2 + index % 4), -(10.0 ** rng.uniform(-18, -16))))
        try:
            np.linalg.cholesky(matrix)
        except np.linalg.LinAlgError:
            continue
        if not exactly_pd(matrix.tolist()):
            yield matrix


def test_a_completed_cholesky_alone_would_prove_falsely():
    traps = list(naive_traps())
    assert len(traps) >= 20
    assert all(certify(matrix).status is not PD for matrix in traps)


def test_dropping_the_rounding_term_is_caught_by_the_traps(monkeypatch):
    monkeypatch.setattr(_cholesky.Shifted, "rounding", lambda self, s: 0.0)
    assert any(certify(matrix).status is PD for matrix in naive_traps())


@pytest.mark.parametrize("n", [60, 500])
def test_the_backward_error_of_this_machines_cholesky_stays_inside_the_theorem(n):
    """|A − shift·I − LLᵀ|_ij ≤ √(α_i α_j a_ii a_jj) on entries drawn at random, in rational arithmetic."""
    shifted = _cholesky.Shifted(erf_kernel(n) / 2, None)
    factor = shifted.factor(0.0)
    assert factor is not None
    diagonal = np.nextafter(shifted.diagonal - factor.shift, -np.inf)
    rng = np.random.default_rng(6)
    for i, j in zip(rng.integers(n, size=150), rng.integers(n, size=150), strict=True):
        i, j = max(i, j), min(i, j)
        entry = diagonal[i] if i == j else shifted.matrix[i, j]
        terms = zip(factor.triangle[i, : j + 1].tolist(), factor.triangle[j, : j + 1].tolist(), strict=True)
        product = sum((Fraction(a) * Fraction(b) for a, b in terms), Fraction(0))
        bound = math.sqrt(shifted.alpha[i] * shifted.alpha[j] * shifted.diagonal[i] * shifted.diagonal[j])
        assert abs(float(Fraction(entry.item()) - product)) <= bound


def test_perturbations_inside_the_radius_never_flip_a_proof():
    """Dyadic entries make A ± E exact; E is the radius signed against the proof, and at random."""
    rng = np.random.default_rng(7)
    seen = dict.fromkeys(CertificateStatus, 0)
    for index in range(120):
        n = 2 + index % 4
        rough = with_spectrum(rng, np.append(rng.uniform(0.3, 1.0, n - 1), rng.uniform(-0.01, 0.01)))
        matrix = np.round(rough * 2.0**30) / 2.0**30
        radius = np.full((n, n), 2.0 ** -int(rng.integers(8, 16)))
        certificate = certify(Gram(matrix, radius))
        seen[certificate.status] += 1
        direction = np.sign(np.linalg.eigh(matrix)[1][:, 0])
        noise = np.triu(rng.choice([-1.0, 1.0], (n, n)))
        for signs in (-np.outer(direction, direction), np.outer(direction, direction), noise + np.triu(noise, 1).T):
            assert_true(certificate, matrix + signs * radius)
    assert min(seen.values()) >= 10


def test_a_radius_that_reaches_zero_leaves_the_question_open():
    matrix = np.diag([1.0, 1e-3])
    assert certify(Gram(matrix, np.full((2, 2), 1e-4))).status is PD
    certificate = certify(Gram(matrix, np.full((2, 2), 1e-3), assumptions=("an estimate",)))
    assert certificate.status is UNDECIDED
    assert certificate.floor >= 1e-3
    assert "an estimate" in str(certificate)
    assert "floor" in certificate.reason
    assert certify(Gram(-matrix, np.full((2, 2), 1e-4))).status is NOT_PD


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_the_identity_is_proved_to_eleven_digits(n):
    certificate = certify(np.eye(n))
    assert certificate.status is PD
    assert 1 - 1e-11 <= certificate.lower < 1 <= certificate.upper <= 1 + 1e-14


@pytest.mark.parametrize("n", [1, 2, 7, 100])
def test_the_zero_matrix_is_exactly_singular(n):
    certificate = certify(np.zeros((n, n)))
    assert certificate.status is NOT_PD
    assert certificate.upper == 0
    assert abs(certificate.lower) < 1e-300
    assert certificate.witness @ certificate.witness > 0


def test_rank_one_integers_have_an_exact_witness():
    v = np.array([3.0, -7.0, 11.0, 2.0])
    certificate = certify(np.outer(v, v))
    assert certificate.status is NOT_PD
    assert certificate.upper == 0
    assert -1e-12 < certificate.lower <= 0
    assert_array_equal(np.outer(v, v) @ certificate.witness, np.zeros(4))


@pytest.mark.parametrize("sign", [1.0, -1.0])
@pytest.mark.parametrize("scale", [1.0, 2.0**-700, 2.0**700, 2.0**-1060])
def test_repeated_and_mirrored_rows_are_named(sign, scale):
    """Points 1 and 4 have equal features, or opposite ones (odd activation, x and −x)."""
    kernel = erf_kernel(6)
    fold = np.eye(6)
    fold[4] = sign * fold[1]
    folded = fold @ kernel @ fold.T * scale
    certificate = certify(folded)
    assert certificate.status is NOT_PD
    assert certificate.upper == 0
    assert "1 and 4" in certificate.reason
    assert_array_equal(certificate.witness, sign * np.eye(6)[1] - np.eye(6)[4])
    # With a radius, the same numbers may belong to distinct points: nothing exact can be said.
    assert certify(Gram(folded, 1e-10 * np.abs(folded))).status is UNDECIDED


@pytest.mark.parametrize("n", range(1, 21))
def test_hilbert_matrices_of_growing_size(n):
    """As rounded, and within the radius of that rounding, where the exact matrix is positive definite."""
    exact = [[Fraction(1, i + j + 1) for j in range(n)] for i in range(n)]
    rounded = np.array([[float(entry) for entry in row] for row in exact])
    certificate = certify(rounded)
    assert_true(certificate, rounded)
    within = certify(Gram(rounded, 2.0**-53 * rounded))
    assert_true(within, exact)
    # λ_min falls thirtyfold with every n: 1e-13 at n = 10, 3e-15 at n = 11, near the floor, 1e-16 at n = 12.
    assert within.status is PD if n <= 10 else within.status is not NOT_PD
    assert within.status is UNDECIDED if n >= 12 else within.lower > -1e-14


@pytest.mark.parametrize("exponent", [-660, -300, 300, 660])
@pytest.mark.parametrize("smallest", [1e-6, 1e-17, -1e-17, -1e-6])
def test_powers_of_two_scale_the_certificate_and_change_no_verdict(exponent, smallest):
    matrix = with_spectrum(np.random.default_rng(8), [1.0, 0.7, 0.4, smallest])
    plain, scaled = certify(matrix), certify(np.ldexp(matrix, exponent))
    assert scaled.status is plain.status
    for name in ("lower", "upper", "estimate", "floor"):
        assert getattr(scaled, name) == math.ldexp(getattr(plain, name), exponent)


def test_subnormal_and_enormous_entries_prove_nothing_false():
    rng = np.random.default_rng(9)
    for exponent in (-1074, -1060, -1030, 1000, 1022):
        for smallest in (1e-2, 1e-13, -1e-13, -1e-2):
            matrix = np.ldexp(with_spectrum(rng, [0.9, 0.5, 0.3, smallest]), exponent)
            assert_true(certify(matrix), matrix)
    huge = np.array([[-1.7e308, 1.7e308], [1.7e308, -1.7e308]])
    assert certify(huge).status is NOT_PD
    for tiny in (5e-324, 1e-310, -5e-324):
        matrix = np.array([[1e200, 0.0], [0.0, tiny]])
        assert_true(certify(matrix), matrix)


def test_a_factor_that_is_not_a_number_proves_nothing(monkeypatch):
    broken = SimpleNamespace(dpotrf=lambda a, **_: (a * np.nan, 0), dpotrs=_cholesky.lapack.dpotrs)
    monkeypatch.setattr(_cholesky, "lapack", broken)
    certificate = certify(np.diag([2.0, 3.0]))
    assert certificate.status is UNDECIDED
    assert certificate.upper >= 2
