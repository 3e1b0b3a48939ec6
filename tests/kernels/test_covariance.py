"""Weights w ~ N(0, S): closed forms and quadrature hold with their error bounds, against S in exact arithmetic."""

import jax
import mpmath
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.kernels import ClosedForm, Quadrature, initial_covariance
from tests import laws
from tests.cases import ACTIVATIONS, VECTOR_LAWS

CLOSED = ("erf", "relu", "sin", "cos", "sin + cos", "probit", "Hermite 3", "Gaussian bump")
X = np.array([[1.0, 0.2, -0.3], [1.0, 0.2, -0.3 + 1e-9], [0.1, -0.8, 0.5], [-0.1, 0.8, -0.5 + 1e-7], [0.0, 0.0, 0.0]])


def covariance(condition, inputs=3, seed=0):
    """A dense covariance of a given condition number, with eigenvalues from 1 down."""
    turn = np.linalg.qr(np.random.default_rng(seed).standard_normal((inputs, inputs)))[0]
    value = (turn * np.geomspace(1.0, 1.0 / condition, inputs)) @ turn.T
    return np.triu(value) + np.triu(value, 1).T


def network(case, law):
    return jl.networks.Shallow(case.activation, jl.Initial(c=jl.initial.Rademacher(), w=law))


def exact_kernels(case, law, p, q):
    """B and Σ in mpmath from xᵀSx, xᵀSx', x'ᵀSx' and x·x'."""
    rows = [[mpmath.mpf(v) for v in row] for row in law.rows]
    p, q = ([mpmath.mpf(float(v)) for v in point] for point in (p, q))
    form = lambda s, t: mpmath.fsum(s[i] * rows[i][j] * t[j] for i in range(len(s)) for j in range(len(t)))  # noqa: E731
    a, b, r = form(p, p), form(q, q), form(p, q)
    value = case.dual(a, b, r)
    return value + case.dual_derivative(a, b, r) * mpmath.fdot(p, q), value


@pytest.mark.parametrize("condition", [1.0, 30.0, 1e6, 1e9])
@pytest.mark.parametrize("name", CLOSED)
def test_radii_contain_the_exact_values(name, condition):
    """Nearly equal and nearly opposite points among them; the origin, where angles mean nothing, apart."""
    case, law = ACTIVATIONS[name], jl.initial.MultivariateNormal(covariance(condition))
    x = X if name != "relu" else X[:-1]
    kernel, start = jl.gram(network(case, law), x), initial_covariance(network(case, law), x)
    assert kernel.assumptions == ()
    with mpmath.workdps(60):
        for i, p in enumerate(x):
            for j, q in enumerate(x):
                for gram, exact in zip((kernel, start), exact_kernels(case, law, p, q), strict=True):
                    error = abs(mpmath.mpf(float(gram.value[i, j])) - exact)
                    assert error <= mpmath.mpf(float(gram.radius[i, j])), (i, j, float(error), gram.radius[i, j])
    assert np.max(kernel.radius) < 1e-13 * condition * 10


def test_a_multiple_of_the_identity_is_the_normal_law():
    case = ACTIVATIONS["erf"]
    one = jl.gram(network(case, jl.initial.MultivariateNormal(0.49 * np.eye(3))), X)
    other = jl.gram(network(case, jl.initial.Normal(0.0, 0.7)), X)
    assert np.all(np.abs(one.value - other.value) <= one.radius + other.radius)
    assert np.max(one.radius) < 1e-13


def test_coordinates_that_never_move_w_drop_out():
    """S with a vanishing row: the duals are those of fewer inputs, and x·x' is that of all."""
    case = ACTIVATIONS["tanh"]
    law = jl.initial.MultivariateNormal(np.diag([1.0, 0.0, 2.0]))
    x = X[:1]
    fewer = jl.initial.MultivariateNormal(np.diag([1.0, 2.0]))
    whole = initial_covariance(network(case, law), x, rule=Quadrature())
    part = initial_covariance(network(case, fewer), x[:, [0, 2]], rule=Quadrature())
    assert abs(whole.value[0, 0] - part.value[0, 0]) <= whole.radius[0, 0] + part.radius[0, 0]
    with pytest.raises(ValueError, match="Argument `x` must have points that are zero or of norm times"):
        jl.gram(network(case, law), [[0.0, 1.0, 0.0]], rule=Quadrature())


@pytest.mark.parametrize("name", ["erf", "sin", "probit"])
def test_quadrature_agrees_with_the_closed_form(name):
    case, (law,) = ACTIVATIONS[name], VECTOR_LAWS.values()
    exact, found = (jl.gram(network(case, law), 2 * X, rule=rule) for rule in (ClosedForm(), Quadrature()))
    assert np.all(np.abs(exact.value - found.value) <= exact.radius + found.radius)
    assert np.max(found.radius) < 1e-10


def test_nearly_singular_covariances_are_left_to_monte_carlo():
    case = ACTIVATIONS["erf"]
    for value in (np.ones((3, 3)), covariance(1e14)):
        with pytest.raises(ValueError, match=r"Argument `network` must draw w with a covariance that is not nearly"):
            jl.gram(network(case, jl.initial.MultivariateNormal(value)), X)
        found = jl.gram(network(case, jl.initial.MultivariateNormal(value)), X, rule=jl.kernels.MonteCarlo(1000))
        assert np.all(np.isfinite(found.value))


@pytest.mark.slow
def test_simulations_with_a_covariance_start_from_it():
    """h_0 of replicas has the covariance Σ of this law: the path from draws to limit in one check."""
    case, (law,) = ACTIVATIONS["erf"], VECTOR_LAWS.values()
    data = jl.Data(X[[0, 2]], [1.0, -1.0])
    problem = jl.Problem(data, network(case, law))
    samples = jl.simulate(problem, 64, [0.0], replicas=4096, key=jax.random.key(0), devices=jax.devices()[:1])
    start = initial_covariance(network(case, law), data.x)
    values = np.asarray(samples.values[:, 0], np.float64)
    products = np.stack([values[:, i] * values[:, j] for i, j in ((0, 0), (0, 1), (1, 1))], axis=1)
    laws.assert_mean(products, start.value[[0, 0, 1], [0, 1, 1]], detectable=0.12)
