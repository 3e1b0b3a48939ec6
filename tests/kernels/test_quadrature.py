"""Kernels by quadrature: right within their own error, against closed forms, mpmath and rules of other kinds."""

import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.activations import AbstractActivation
from jaxlimit.kernels import ClosedForm, Quadrature, _quadrature
from tests import systems
from tests.cases import ACTIVATIONS

POINTS = systems.FULL_X
VARIANCE = 1 / 3


def network(case):
    return jl.networks.Shallow(case.activation, jl.Initial())


@pytest.mark.parametrize("scale", [1e-3, 0.1, 1.0, 3.0, 10.0, 100.0])
def test_quadrature_agrees_with_the_closed_form_within_its_own_error(scale):
    x = scale * POINTS / np.linalg.norm(POINTS, axis=1, keepdims=True)
    x = np.concatenate([x, x[:1] * (1 + 1e-9), -x[1:2]])  # nearly equal and opposite points too
    exact, found = (jl.gram(network(ACTIVATIONS["erf"]), x, rule=rule) for rule in (ClosedForm(), Quadrature()))
    assert np.all(np.abs(found.value - exact.value) <= found.radius + exact.radius)
    assert np.max(found.radius) < 1e-11 * (1 + scale**2)
    assert any("estimate" in assumption for assumption in found.assumptions)


def test_quadrature_refuses_what_it_could_not_finish():
    with pytest.raises(ValueError, match="Argument `rule` must need at most"):
        jl.gram(network(ACTIVATIONS["tanh"]), [[1e5, 0.0]], [[6e4, 8e4]], rule=Quadrature())


@pytest.mark.parametrize("scale", [0.1, 1.0, 10.0])
def test_quadrature_of_tanh_agrees_with_an_independent_rule(scale):
    case = ACTIVATIONS["tanh"]
    x = scale * POINTS[:3]
    x /= max(1.0, np.max(np.linalg.norm(x, axis=1)) / 10)
    found = jl.gram(network(case), x, rule=case.rule)
    for i, p in enumerate(x):
        for j, q in enumerate(x[: i + 1]):
            value, slope = systems.integrated_duals(case, p, q)
            assert abs(found.value[i, j] - (value + VARIANCE * slope * (p @ q))) <= found.radius[i, j] + 1e-13


@pytest.mark.parametrize("norm", [0.01, 1.0, 1.85, 4.0, 10.0])
def test_quadrature_of_tanh_agrees_with_mpmath_on_the_diagonal(norm):
    found = jl.gram(network(ACTIVATIONS["tanh"]), np.array([[norm, 0.0]]), rule=Quadrature())
    with mpmath.workdps(25):
        density = lambda z: mpmath.exp(-z * z / 2) / mpmath.sqrt(2 * mpmath.pi)  # noqa: E731
        panels = mpmath.linspace(0, 12, 61)
        value = 2 * mpmath.quad(lambda z: mpmath.tanh(norm * z) ** 2 * density(z), panels, maxdegree=4)
        slope = 2 * mpmath.quad(lambda z: mpmath.sech(norm * z) ** 4 * density(z), panels, maxdegree=4)
        exact = value + slope * mpmath.mpf(norm) ** 2 / 3
    assert abs(found.value[0, 0] - exact) <= found.radius[0, 0]


@pytest.mark.parametrize(("degree", "norm"), [(3, 16.0), (4, 4.0)])
def test_the_planar_rule_reaches_far_enough_for_unbounded_activations(monkeypatch, degree, norm):
    """Grids of 8.5 standard deviations all miss the same tail of u^2k: they agree, and on a wrong number."""
    monkeypatch.setattr(_quadrature, "series", lambda *arguments: None)
    hermite = jl.networks.Shallow(jl.activations.Hermite(degree), jl.Initial())
    x = np.array([[norm, 0.0]])
    exact = jl.gram(hermite, x)

    def worst():
        found = jl.gram(hermite, x, rule=Quadrature())
        return np.max(np.abs(found.value - exact.value) / (found.radius + exact.radius))

    assert worst() <= 1
    monkeypatch.setattr(_quadrature, "CUT", 8.5)
    assert worst() > 3


def test_orthogonal_points_in_the_plane_warn_of_nothing(monkeypatch):
    """Entries below the diagonal are mirrored, not integrated: ∞·0 there once was a warning (an error in tests)."""
    monkeypatch.setattr(_quadrature, "series", lambda *arguments: None)
    found = jl.gram(network(ACTIVATIONS["tanh"]), np.eye(3), rule=Quadrature())
    assert np.array_equal(found.value, found.value.T)
    assert np.max(found.radius) < 1e-11


class Sine(AbstractActivation):
    """A user's activation, written with jax.numpy only."""

    def __call__(self, u):
        return jnp.sin(u)


def test_quadrature_serves_a_users_activation():
    """sin has closed duals: e^{−(a+b)/2} sinh r and e^{−(a+b)/2} cosh r."""
    sine = jl.networks.Shallow(Sine(), jl.Initial())
    found = jl.gram(sine, POINTS, rule=Quadrature())
    squares, r = np.sum(POINTS**2, axis=1), POINTS @ POINTS.T
    decay = np.exp(-0.5 * (squares[:, None] + squares[None, :]))
    assert np.max(np.abs(found.value - decay * (np.sinh(r) + VARIANCE * np.cosh(r) * r))) < 1e-13
    with pytest.raises(ValueError, match="Argument `rule` must be given"):
        jl.gram(sine, POINTS)


class FastSine(AbstractActivation):
    """sin(25u), on the host: it repeats itself within one step of a coarse rule."""

    def __call__(self, u):
        return np.sin(25 * u)

    def derivative(self, u):
        return 25 * np.cos(25 * u)


@pytest.mark.parametrize("scale", [0.1, 1.0, 2.0, 4.0])
def test_quadrature_of_a_fast_oscillation_is_right_within_its_own_error(scale):
    """Rules with steps 1, 1/2, 1/4 of each other agree on a wrong value here (at scale 2 they are off by 1000)."""
    angles = np.linspace(0.0, 0.2, 5)
    x = scale * np.column_stack([np.cos(angles), np.sin(angles)])
    fast = jl.networks.Shallow(FastSine(), jl.Initial(c=jl.initial.Rademacher()))
    found = jl.gram(fast, x, rule=Quadrature())
    y = 25 * x
    less, more = (np.exp(-0.5 * np.sum((y[:, None] + s * y) ** 2, axis=2)) for s in (-1, 1))
    exact = 0.5 * (less - more) + 0.5 * (less + more) * (y @ y.T)
    # The angle between nearly equal points is only known to rounding, which the radius does not contain.
    assert np.all(np.abs(found.value - exact) <= found.radius + 1e-14 * np.max(exact))
    assert np.max(found.radius) < 1e-10


GROWING = [name for name, case in ACTIVATIONS.items() if case.rule is not None]


@pytest.mark.parametrize(
    "norm", [1e-3, 1.0, pytest.param(10.0, marks=pytest.mark.slow), pytest.param(100.0, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("name", GROWING)
def test_quadrature_holds_its_error_as_inputs_grow(name, norm):
    """On the diagonal and at angles 0.3 and 3, against mpmath and against Gauss-Legendre panels in the plane."""
    case = ACTIVATIONS[name]
    x = norm * np.array([[1.0, 0.0], [np.cos(0.3), np.sin(0.3)], [np.cos(3.0), np.sin(3.0)]])
    x = x[:2] if norm > 10 else x  # opposite long points take half a minute
    found = jl.gram(network(case), x, rule=Quadrature())
    panels = max(80, int(24 * norm))
    if norm <= 10:
        for i, j in ((0, 1), (0, 2)):
            value, slope = systems.integrated_duals(case, x[i], x[j], panels=panels, nodes=12)
            exact = value + VARIANCE * slope * (x[i] @ x[j])
            assert abs(found.value[i, j] - exact) <= found.radius[i, j] + 1e-13 * (1 + norm**2)
    t, weights = np.polynomial.legendre.leggauss(20)
    edges = np.linspace(-14.0, 14.0, 28 * max(4, int(norm)) + 1)
    half = 0.5 * (edges[1] - edges[0])
    z = (0.5 * (edges[1:] + edges[:-1])[:, None] + half * t).ravel()
    mass = np.tile(half * weights, len(edges) - 1) * np.exp(-0.5 * z * z) / np.sqrt(2 * np.pi)
    with np.errstate(over="ignore"):  # 1/cosh² of a large number is 0
        exact = mass @ case.sigma(norm * z) ** 2 + VARIANCE * norm**2 * (mass @ case.slope(norm * z) ** 2)
    assert abs(found.value[0, 0] - exact) <= found.radius[0, 0] + 1e-13 * (1 + norm**2)
    assert np.max(found.radius) < 1e-10 * (1 + norm**2)
