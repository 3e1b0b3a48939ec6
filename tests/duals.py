"""Gaussian duals of activations in mpmath, in forms other than the package's: a part of the table of cases."""

import mpmath
import numpy as np


def erf(a, b, r):
    return 2 / mpmath.pi * mpmath.asin(2 * r / mpmath.sqrt((1 + 2 * a) * (1 + 2 * b)))


def erf_derivative(a, b, r):
    return 4 / mpmath.pi / mpmath.sqrt((1 + 2 * a) * (1 + 2 * b) - 4 * r * r)


def angle(a, b, r):
    return mpmath.acos(max(-1, min(1, r / mpmath.sqrt(a * b))))


def relu(a, b, r):
    return (mpmath.sqrt(max(0, a * b - r * r)) + r * (mpmath.pi - angle(a, b, r))) / (2 * mpmath.pi)


def relu_derivative(a, b, r):
    return (mpmath.pi - angle(a, b, r)) / (2 * mpmath.pi)


def probit(a, b, r):
    return mpmath.mpf(1) / 4 + mpmath.asin(r / mpmath.sqrt((1 + a) * (1 + b))) / (2 * mpmath.pi)


def decayed(function):
    return lambda a, b, r: mpmath.exp(-(a + b) / 2) * function(r)


def bump(a, b, r):
    return 1 / mpmath.sqrt((1 + a) * (1 + b) - r * r)


def density(u):
    return np.exp(-0.5 * u * u) / np.sqrt(2 * np.pi)
