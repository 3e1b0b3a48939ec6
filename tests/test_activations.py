"""Activations: values and derivatives against NumPy and mpmath, and every declared fact seen to be true."""

import math

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.special

import jaxlimit as jl
from jaxlimit.activations import AbstractActivation, AbstractClosedFormActivation
from tests.cases import ACTIVATIONS, each

GRID = np.concatenate([np.linspace(-6, 6, 241), [-40.0, -1e-3, -1e-8, 1e-8, 1e-3, 40.0]])
FACTS = ("odd", "even", "constant_even_part", "linear_odd_part", "homogeneous", "smooth", "bounded", "polynomial")
everywhere = pytest.mark.parametrize(
    "array",
    [
        pytest.param(np.asarray, id="numpy"),
        pytest.param(lambda u: jnp.asarray(u, jnp.float64), id="float64"),
        pytest.param(lambda u: jnp.asarray(u, jnp.float32), id="float32"),
    ],
)


def tolerance(u):
    """A few rounding units of the type; the argument itself may be rounded."""
    return 64 * np.finfo(np.asarray(u).dtype).eps


class Sine(AbstractActivation):
    """A user's activation, written with jax.numpy only and without a derivative."""

    def __call__(self, u):
        return jnp.sin(u)


@everywhere
@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_values_and_derivatives_are_right_on_host_and_device(case, array):
    u = array(GRID)
    for function, reference in ((case.activation, case.sigma), (case.activation.derivative, case.slope)):
        result = function(u)
        assert result.dtype == u.dtype
        assert type(result) is type(u)
        expected = reference(np.asarray(u, np.float64))
        assert np.max(np.abs(np.asarray(result, np.float64) - expected) / (1 + np.abs(expected))) <= tolerance(u)


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_the_derivative_is_the_derivative(case):
    with mpmath.workdps(40):
        for u in (-3.7, -0.8, -1e-3, 0.4, 2.2, 6.0):
            expected = mpmath.diff(case.precise, mpmath.mpf(u))
            assert abs(case.activation.derivative(np.float64(u)) - expected) < 1e-14 * (1 + abs(expected))


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_automatic_differentiation_agrees_with_the_stated_derivative(case):
    u = jnp.asarray(GRID[np.abs(GRID) > 0], jnp.float64)
    automatic = jax.jvp(case.activation, (u,), (jnp.ones_like(u),))[1]
    stated = case.activation.derivative(u)
    assert float(jnp.max(jnp.abs(automatic - stated) / (1 + jnp.abs(stated)))) < 1e-14


def test_a_users_activation_gets_its_derivative_by_differentiation():
    for u in (jnp.asarray(GRID), jnp.asarray(GRID, jnp.float32), GRID):
        derivative = Sine().derivative(u)
        assert derivative.dtype == u.dtype
        assert np.max(np.abs(np.asarray(derivative) - np.cos(np.asarray(u)))) <= tolerance(u)


@pytest.mark.parametrize("fact", FACTS)
@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_declared_facts_are_those_of_the_table(case, fact):
    assert getattr(case.activation, fact) is getattr(case, fact)


def test_what_a_user_does_not_declare_is_unknown():
    assert [getattr(Sine(), fact) for fact in FACTS] == [False] * 5 + [None] * 3


@everywhere
@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_declared_facts_are_true(case, array):
    sigma, slope, u = case.activation, case.activation.derivative, array(GRID)
    # Bitwise: the sign symmetry of whole paths rests on it.
    assert np.array_equal(sigma(-u), -sigma(u)) is case.odd
    assert np.array_equal(sigma(-u), sigma(u)) is case.even
    if case.odd:
        assert np.array_equal(slope(-u), slope(u))
    if case.even:
        assert np.array_equal(slope(-u), -slope(u))
    if case.homogeneous:
        assert np.array_equal(sigma(4 * u), 4 * sigma(u))
        assert np.array_equal(slope(4 * u), slope(u))
    else:
        assert not np.allclose(sigma(4 * u), 4 * sigma(u))
    if not (case.odd or case.even):
        near = u[np.abs(np.asarray(u)) <= 6]
        total, difference = (np.asarray(sigma(near) + s * sigma(-near), np.float64) for s in (1, -1))
        multiple = difference - np.asarray(near, np.float64) * difference[240] / 6.0  # the last of the even grid is 6
        assert bool(np.ptp(total) < 12 * tolerance(u)) is case.constant_even_part
        assert bool(np.max(np.abs(multiple)) < 12 * tolerance(u)) is case.linear_odd_part
    far = array(np.array([1e3, 1e6, 1e9]))
    largest = float(np.max(np.abs(np.asarray(sigma(far)))))
    assert largest <= 10 if case.bounded else largest >= 1e6
    # A slope that jumps within 2e-4 is no bounded second derivative.
    near = array(np.linspace(-3, 3, 61))
    jump = np.abs(np.asarray(slope(near + 1e-4), np.float64) - np.asarray(slope(near - 1e-4), np.float64))
    assert bool(np.max(jump) < 1e-3 * (1 + np.max(np.abs(np.asarray(slope(near), np.float64))))) is case.smooth
    # A polynomial of degree below 12 has no twelfth difference.
    nodes = np.asarray(sigma(array(np.linspace(-21, 20, 13))), np.float64)
    assert bool(abs(np.diff(nodes, 12)[0]) < 1e-3 * np.max(np.abs(nodes))) is case.polynomial


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_infinities_and_nan_are_not_hidden(case):
    """A replica that leaves the finite numbers must stay visible; −∞ is 0 for the rectifier."""
    far = np.array([-np.inf, np.inf])
    with np.errstate(invalid="ignore"):
        assert np.isnan(case.activation(np.array([np.nan])))
        assert np.isnan(case.activation.derivative(np.array([np.nan]))) or case.homogeneous
        values, expected = case.activation(far), case.sigma(far)
    lost = ~np.isfinite(expected)
    assert np.array_equal(values[~lost], expected[~lost])
    assert not np.any(np.isfinite(values[lost]))


def test_abstract_activations_cannot_be_made():
    for kind in (AbstractActivation, AbstractClosedFormActivation):
        with pytest.raises(TypeError):
            kind()


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_equal_activations_are_equal(case):
    """Compiled programs are found again by this equality."""
    settings = {"degree": case.activation.degree} if hasattr(case.activation, "degree") else {}
    assert case.activation == type(case.activation)(**settings)
    assert hash(case.activation) == hash(type(case.activation)(**settings))
    assert case.activation != jl.activations.AbstractActivation


# Hermite polynomials.


@everywhere
@pytest.mark.parametrize("degree", [0, 1, 4, 7, 20])
def test_hermite_polynomials_are_those_of_scipy_normalised(degree, array):
    u = array(np.linspace(-4, 4, 41))
    exact = np.asarray(u, np.float64)
    scale = math.sqrt(math.factorial(degree))
    expected = scipy.special.eval_hermitenorm(degree, exact) / scale
    slope = degree * scipy.special.eval_hermitenorm(max(degree - 1, 0), exact) / scale
    for found, reference in (
        (jl.activations.Hermite(degree)(u), expected),
        (jl.activations.Hermite(degree).derivative(u), slope),
    ):
        assert found.dtype == u.dtype
        assert np.max(np.abs(np.asarray(found, np.float64) - reference)) <= tolerance(u) * (
            1 + np.max(np.abs(reference))
        )


def test_hermite_polynomials_are_orthonormal():
    z, weights = np.polynomial.hermite_e.hermegauss(40)
    values = np.array([jl.activations.Hermite(k)(z) for k in range(12)])
    assert np.max(np.abs((values * weights / weights.sum()) @ values.T - np.eye(12))) < 1e-12


def test_the_facts_of_hermite_polynomials_depend_on_the_degree():
    facts = [[getattr(jl.activations.Hermite(k), fact) for fact in FACTS] for k in range(4)]
    assert facts == [
        [False, True, False, False, False, True, True, True],
        [True, False, False, False, True, True, False, True],
        [False, True, False, False, False, True, False, True],
        [True, False, False, False, False, True, False, True],
    ]


@pytest.mark.parametrize("degree", [-1, 1.5, "2", None, True, 129])
def test_a_degree_is_a_natural_number(degree):
    with pytest.raises(ValueError, match="Argument `degree` must"):
        jl.activations.Hermite(degree)


@pytest.mark.parametrize(("degree", "inputs"), [(0, 3), (1, 4), (2, 3), (3, 2), (5, 2)])
def test_the_features_of_a_polynomial_span_as_many_monomials_as_stated(degree, inputs):
    """Rank of σ(w·x) and of the coordinates of σ'(w·x)x at many random w and x."""
    rng = np.random.default_rng(degree)
    x, w = rng.standard_normal((120, inputs)), rng.standard_normal((60, inputs))
    sigma = jl.activations.Hermite(degree)
    u = x @ w.T
    gradients = (sigma.derivative(u)[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    assert np.linalg.matrix_rank(np.concatenate([sigma(u), gradients], axis=1), tol=1e-8) == sigma.monomials(inputs)
    assert jl.activations.Identity().monomials(inputs) == inputs
    assert jl.activations.Tanh().monomials(inputs) is None


class Arctan(AbstractActivation):
    """arctan(u) without `derivative`, with the array's own namespace."""

    def __call__(self, u):
        return u.__array_namespace__().arctan(u)


class NumpyArctan(AbstractActivation):
    """The same with NumPy, which knows nothing of the arrays of JAX."""

    def __call__(self, u):
        return np.arctan(u)


def test_a_derivative_by_jax_serves_kernels_in_double_precision_and_says_what_to_do_in_single():
    u = np.linspace(-3.0, 3.0, 7)
    assert np.allclose(Arctan().derivative_on_host(u), 1 / (1 + u * u), rtol=1e-15, atol=0)
    network, x, rule = jl.networks.Shallow(Arctan()), np.eye(2), jl.kernels.Quadrature()
    assert jl.certify(jl.gram(network, x, rule=rule)).status.value == "PROVED_PD"
    message = r"must compute σ' in float64 on the host \(define `derivative`, or set JAX_ENABLE_X64=1\), but σ' came in"
    for rule in (jl.kernels.Quadrature(), jl.kernels.MonteCarlo(10)):
        with jax.enable_x64(False), pytest.raises(ValueError, match=message):
            jl.gram(network, x, rule=rule)


def test_numpy_in_an_activation_is_named_where_jax_calls_it():
    network, key = jl.networks.Shallow(NumpyArctan()), jax.random.key(0)
    for call in (
        lambda: jl.gram(network, np.eye(2), rule=jl.kernels.Quadrature()),
        lambda: jl.empirical_gram(network, network.init(4, 2, key), np.eye(2)),
        lambda: jl.simulate(jl.Problem(jl.Data(np.eye(2), [1.0, -1.0]), network), 8, [0.0], replicas=1, key=key),
    ):
        with pytest.raises(ValueError, match=r"Argument `activation` must .+u\.__array_namespace__\(\), not of numpy"):
            call()
