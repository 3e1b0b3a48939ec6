"""The solver's limit: within its stated error of the exact solution, honest when it gives up, and open to any loss."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import jaxlimit as jl
from jaxlimit.losses import AbstractLoss
from tests import laws, systems
from tests.cases import ACTIVATIONS

CASE = ACTIVATIONS["erf"]
DATA = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
START = np.array([[0.5, -1.0, 2.0, 0.1, 0.3], [0.0, 0.0, 0.0, 0.0, 0.0]])
START_AT = np.array([[0.7, -0.2], [0.0, 1.0]])
TS = [0.0, 0.3, 2.0, 40.0]


def both(dtype, alpha=1.0, data=DATA, **settings):
    problem = systems.problem(CASE, data, alpha=alpha)
    return jl.OdeLimit(problem, dtype=dtype, **settings), jl.SpectralLimit(problem)


def relative_error(found, exact):
    return np.max(np.abs(found - exact)) / max(1.0, np.max(np.abs(exact)))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
@pytest.mark.parametrize("alpha", [1.0, 1e4])
def test_paths_stay_within_the_stated_error_of_the_exact_solution(dtype, alpha):
    """Mild, and stiff: λ_max·t up to 10⁵."""
    ode, spectral = both(dtype, alpha)
    found = ode.path(START, TS, at=systems.FULL_AT, h0_at=START_AT)
    assert found.dtype == np.dtype(dtype)
    assert found.shape == (2, 4, 7)
    error = relative_error(found, spectral.path(START, TS, at=systems.FULL_AT, h0_at=START_AT))
    assert error <= ode.error
    # The stated error means something: 1e-3 in float32, 1e-7 in float64.
    assert ode.error == pytest.approx(1e-3 if dtype == jnp.float32 else 1e-7)


@pytest.mark.slow
def test_an_implicit_solver_serves_stiff_kernels():
    """λ_max·t = 10⁷, where stability would cost an explicit solver millions of steps."""
    ode, spectral = both(jnp.float64, 1e6, solver=diffrax.Kvaerno5(), max_steps=2000)
    assert relative_error(ode.path(START, TS), spectral.path(START, TS)) <= ode.error


@pytest.mark.slow
def test_a_smaller_tolerance_gives_a_smaller_error():
    errors = []
    for tolerance in (1e-4, 1e-7):
        ode, spectral = both(jnp.float64, tolerance=tolerance)
        errors.append(relative_error(ode.path(START, TS), spectral.path(START, TS)))
        assert errors[-1] <= ode.error == pytest.approx(100 * tolerance)
    assert errors[0] > 30 * errors[1]


def test_a_singular_kernel_is_solved():
    data = jl.Data([[1.0, 0.2], [-1.0, -0.2], [0.3, 0.8]], [1.0, 0.5, -1.0])
    ode, spectral = both(jnp.float64, data=data)
    assert relative_error(ode.path(np.zeros(3), TS), spectral.path(np.zeros(3), TS)) <= ode.error


def test_giving_up_is_an_error_and_not_an_infinity():
    ode, _ = both(jnp.float64, alpha=1e4, max_steps=5)
    with pytest.raises(RuntimeError, match=r"gave up on 2 of 2 paths before t = 40: raise `max_steps` \(now 5\)"):
        ode.path(START, TS)


class PseudoHuber(AbstractLoss):
    """√(1 + (g − y)²) − 1: a user's loss, whose limit is not linear."""

    def value(self, prediction, target):
        return jnp.sqrt(1.0 + (prediction - target) ** 2) - 1.0

    def derivative(self, prediction, target):
        return (prediction - target) / jnp.sqrt(1.0 + (prediction - target) ** 2)


def test_other_losses_agree_with_an_independent_solver():
    base = systems.problem(CASE, DATA, alpha=2.0)
    ode = jl.OdeLimit(jl.Problem(DATA, base.network, loss=PseudoHuber(), learning_rate=2.0), dtype=jnp.float64)
    x = np.concatenate([DATA.x, systems.FULL_AT])
    kernel, _ = systems.textbook_kernels("erf", x, DATA.x)

    def field(t, h):
        e = h[:5] - DATA.y
        return -2.0 * kernel @ (DATA.weights * e / np.sqrt(1 + e * e))

    start = np.concatenate([START[0], START_AT[0]])
    exact = scipy.integrate.solve_ivp(field, (0, 40), start, "DOP853", TS, rtol=1e-12, atol=1e-13).y.T
    found = ode.path(START[0], TS, at=systems.FULL_AT, h0_at=START_AT[0])
    assert relative_error(found, exact) <= ode.error
    # And it is not the linear equation.
    assert relative_error(jl.OdeLimit(base, dtype=jnp.float64).path(START[0], TS), exact[:, :5]) > 0.01


def test_sampled_starts_have_the_covariance_of_the_limit():
    ode, spectral = both(jnp.float64)
    starts = ode.sample([0.0], 4000, jax.random.key(5))[:, 0]  # only t = 0: nothing to solve, and no trap
    covariance = spectral.law([0.0]).covariance[0]
    scale = np.sqrt(np.diag(covariance))
    laws.assert_mean(starts / scale, 0.0, detectable=0.15)
    products = starts[:, :, None] * starts[:, None, :] / np.outer(scale, scale)
    laws.assert_mean(products, covariance / np.outer(scale, scale), detectable=0.25)


def test_sampled_paths_follow_the_equation_from_their_own_starts():
    ode, spectral = both(jnp.float64)
    paths = ode.sample(TS, 8, jax.random.key(6))
    assert paths.shape == (8, 4, 5)
    assert np.max(np.abs(paths[:, 0])) > 0.1
    assert relative_error(paths, spectral.path(paths[:, 0], TS)) <= ode.error
    assert not np.array_equal(paths, ode.sample(TS, 8, jax.random.key(7)))


@pytest.mark.parametrize("gamma", [0.6, 0.75])
def test_between_the_ends_of_the_scalings_every_path_starts_at_zero(gamma):
    problem = systems.problem(CASE, DATA, gamma=gamma)
    ode = jl.OdeLimit(problem, dtype=jnp.float64)
    paths = ode.sample(TS, 8, jax.random.key(0))
    assert not paths[:, 0].any()
    assert relative_error(paths, jl.SpectralLimit(problem).law(TS).mean) <= ode.error
