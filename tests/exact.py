"""Exact oracles for positive definiteness in integer arithmetic, and matrices to try them on."""

import math
from fractions import Fraction

import numpy as np

from jaxlimit.kernels import CertificateStatus

PD, NOT_PD, UNDECIDED = CertificateStatus.PROVED_PD, CertificateStatus.PROVED_NOT_PD, CertificateStatus.UNDECIDED


def exactly_pd(matrix, shift=0.0):
    """Whether matrix − shift·I is positive definite: all leading minors > 0, by Bareiss' elimination in integers."""
    rows = [[Fraction(entry) for entry in row] for row in matrix]
    for i in range(len(rows)):
        rows[i][i] -= Fraction(shift)
    common = math.lcm(*(entry.denominator for row in rows for entry in row))
    m = [[int(entry * common) for entry in row] for row in rows]
    previous = 1
    for k in range(len(m)):
        if m[k][k] <= 0:
            return False
        for i in range(k + 1, len(m)):
            for j in range(i, len(m)):
                m[i][j] = m[j][i] = (m[k][k] * m[i][j] - m[i][k] * m[k][j]) // previous
        previous = m[k][k]
    return True


def assert_true(certificate, matrix):
    """Status and both bounds are true statements about the matrix (a list of lists or an array)."""
    rows = matrix.tolist() if isinstance(matrix, np.ndarray) else matrix
    if certificate.status is not UNDECIDED:
        assert exactly_pd(rows) == (certificate.status is PD), certificate
    # One step outwards, since λ_min may equal a bound.
    below, above = np.nextafter(certificate.lower, -math.inf).item(), np.nextafter(certificate.upper, math.inf).item()
    assert exactly_pd(rows, below), certificate
    assert not exactly_pd(rows, above), certificate


def orthogonal(rng, n):
    return np.linalg.qr(rng.standard_normal((n, n)))[0]


def with_spectrum(rng, spectrum):
    """Q diag Qᵀ, rounded and made exactly symmetric."""
    q = orthogonal(rng, len(spectrum))
    a = (q * spectrum) @ q.T
    return np.triu(a) + np.triu(a, 1).T


def known_inertia(rng, n, lowest):
    """LDLᵀ with L unit lower triangular in small integers and D = diag(1, …, lowest): exact in float64.

    By Sylvester's law it is positive definite if and only if lowest > 0, which may be 2^−40.
    """
    lower = np.tril(rng.integers(-3, 4, (n, n)), -1) + np.eye(n)
    d = np.ones(n)
    d[rng.integers(n)] = lowest
    return (lower * d) @ lower.T


def erf_kernel(points, inputs=10, seed=0):
    x = np.random.default_rng(seed).standard_normal((points, inputs))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    g = np.clip(x @ x.T, -1, 1)
    kernel = 2 / np.pi * np.arcsin(2 * g / 3) + 4 / np.pi / np.sqrt(9 - 4 * g * g) * g
    return np.triu(kernel) + np.triu(kernel, 1).T
