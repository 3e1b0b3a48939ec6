"""Activations: values and derivatives against NumPy and mpmath, and every declared fact seen to be true."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.activations import AbstractActivation, AbstractClosedFormActivation
from tests.cases import ACTIVATIONS, each

GRID = np.concatenate([np.linspace(-6, 6, 241), [-40.0, -1e-3, -1e-8, 1e-8, 1e-3, 40.0]])
FACTS = ("odd", "homogeneous", "smooth", "bounded", "polynomial")
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
            assert abs(case.activation.derivative(np.float64(u)) - expected) < 1e-14


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_automatic_differentiation_agrees_with_the_stated_derivative(case):
    u = jnp.asarray(GRID[np.abs(GRID) > 0], jnp.float64)
    automatic = jax.jvp(case.activation, (u,), (jnp.ones_like(u),))[1]
    assert float(jnp.max(jnp.abs(automatic - case.activation.derivative(u)))) < 1e-14


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
    assert [getattr(Sine(), fact) for fact in FACTS] == [False, False, None, None, None]


@everywhere
@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_declared_facts_are_true(case, array):
    sigma, slope, u = case.activation, case.activation.derivative, array(GRID)
    # Bitwise: the sign symmetry of whole paths rests on it.
    assert np.array_equal(sigma(-u), -sigma(u)) is case.odd
    if case.odd:
        assert np.array_equal(slope(-u), slope(u))
    if case.homogeneous:
        assert np.array_equal(sigma(4 * u), 4 * sigma(u))
        assert np.array_equal(slope(4 * u), slope(u))
    else:
        assert not np.allclose(sigma(4 * u), 4 * sigma(u))
    far = array(np.array([1e3, 1e6, 1e9]))
    largest = float(np.max(np.abs(np.asarray(sigma(far)))))
    assert largest <= 10 if case.bounded else largest >= 1e6
    # A slope that jumps within 2e-4 is no bounded second derivative.
    near = array(np.linspace(-3, 3, 61))
    jump = np.abs(np.asarray(slope(near + 1e-4), np.float64) - np.asarray(slope(near - 1e-4), np.float64))
    assert bool(np.max(jump) < 1e-3) is case.smooth
    # A polynomial of degree below 12 has no twelfth difference.
    nodes = np.asarray(sigma(array(np.linspace(-2.1, 2, 13))), np.float64)
    assert bool(abs(np.diff(nodes, 12)[0]) < 1e-3 * np.max(np.abs(nodes))) is case.polynomial


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_infinities_and_nan_are_not_hidden(case):
    """A replica that leaves the finite numbers must stay visible; −∞ is 0 for the rectifier."""
    assert np.isnan(case.activation(np.array([np.nan])))
    values = case.activation(np.array([-np.inf, np.inf]))
    assert np.array_equal(values, case.sigma(np.array([-np.inf, np.inf])))


def test_abstract_activations_cannot_be_made():
    for kind in (AbstractActivation, AbstractClosedFormActivation):
        with pytest.raises(TypeError):
            kind()


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_equal_activations_are_equal(case):
    """Compiled programs are found again by this equality."""
    assert case.activation == type(case.activation)()
    assert case.activation != jl.activations.AbstractActivation
