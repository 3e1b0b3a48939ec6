"""Angles between points: within their stated bound at every angle, by whichever way they are computed."""

import mpmath
import numpy as np
import pytest

from jaxlimit import _numerics

MIXED = {  # share of pairs closer than 60°, which decides how distances are computed
    "apart": lambda rng, d: rng.standard_normal((24, d)),
    "one kind": lambda rng, d: np.abs(rng.standard_normal((24, d))),
    "one direction": lambda rng, d: 1.0 + 1e-3 * rng.standard_normal((24, d)),
    "pairs": lambda rng, d: np.repeat(rng.standard_normal((12, d)), 2, axis=0) + 1e-9 * rng.standard_normal((24, d)),
    "both sides": lambda rng, d: rng.choice([-1.0, 1.0], (24, 1)) * np.abs(rng.standard_normal((24, d))),
    "repeated": lambda rng, d: np.abs(rng.standard_normal((2, d)))[rng.integers(0, 2, 24)],
}


def precise_angle(p, q):
    p, q = ([mpmath.mpf(float(v)) for v in vector] for vector in (p, q))
    first, second = (mpmath.sqrt(mpmath.fdot(v, v)) for v in (p, q))
    minus = [a / first - b / second for a, b in zip(p, q, strict=True)]
    plus = [a / first + b / second for a, b in zip(p, q, strict=True)]
    return 2 * mpmath.atan2(mpmath.sqrt(mpmath.fdot(minus, minus)), mpmath.sqrt(mpmath.fdot(plus, plus)))


@pytest.mark.parametrize("inputs", [2, 30, pytest.param(784, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", MIXED)
def test_angles_are_within_their_bound(kind, inputs):
    x = MIXED[kind](np.random.default_rng(inputs), inputs)
    found = _numerics.pairs(x, x[:9])
    with mpmath.workdps(50):
        for place in range(0, 24 * 9, 5 if inputs < 100 else 31):
            i, j = divmod(place, 9)
            exact = precise_angle(x[i], x[j])
            assert abs(mpmath.mpf(float(found.theta[i, j])) - exact) <= found.angular
            assert abs(mpmath.mpf(float(found.sine[i, j])) - mpmath.sin(exact)) <= found.angular


def test_moving_the_origin_is_what_images_of_one_kind_take(monkeypatch):
    """Neither whole differences nor half the digits: the way in between is really taken, and is not the plain root."""
    monkeypatch.setattr(_numerics.scipy.spatial.distance, "cdist", None)
    x = MIXED["one kind"](np.random.default_rng(0), 300)
    found = _numerics.pairs(x, x)
    cosine = found.r / np.sqrt(found.a * found.b)
    assert np.mean(cosine > 0.5) > 0.9
    assert np.any(found.minus != np.sqrt(np.maximum(2.0 - 2.0 * cosine, 0.0)))
    assert np.max(np.abs(np.diag(found.minus))) == 0.0
