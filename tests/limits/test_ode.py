"""The solver's limit: within its stated error of the exact solution, honest when it gives up, and open to any loss."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import jaxlimit as jl
from jaxlimit.losses import AbstractLoss
from jaxlimit.paths import Draws
from tests import laws, systems
from tests.cases import ACTIVATIONS, LOSSES, each, most_slow

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
    starts = ode.sample([0.0], 4000, jax.random.key(5)).values[:, 0]  # only t = 0: nothing to solve, and no trap
    covariance = spectral.law([0.0]).covariance[0]
    scale = np.sqrt(np.diag(covariance))
    laws.assert_mean(starts / scale, 0.0, detectable=0.15)
    products = starts[:, :, None] * starts[:, None, :] / np.outer(scale, scale)
    laws.assert_mean(products, covariance / np.outer(scale, scale), detectable=0.25)


def test_sampled_paths_follow_the_equation_from_their_own_starts():
    ode, spectral = both(jnp.float64)
    paths = ode.sample(TS, 8, jax.random.key(6)).values
    assert paths.shape == (8, 4, 5)
    assert np.max(np.abs(paths[:, 0])) > 0.1
    assert relative_error(paths, spectral.path(paths[:, 0], TS)) <= ode.error
    assert not np.array_equal(paths, ode.sample(TS, 8, jax.random.key(7)).values)


@pytest.mark.parametrize("gamma", [0.6, 0.75])
def test_between_the_ends_of_the_scalings_every_path_starts_at_zero(gamma):
    problem = systems.problem(CASE, DATA, gamma=gamma)
    ode = jl.OdeLimit(problem, dtype=jnp.float64)
    paths = ode.sample(TS, 8, jax.random.key(0)).values
    assert not paths[:, 0].any()
    assert relative_error(paths, jl.SpectralLimit(problem).law(TS).mean) <= ode.error


def test_the_achieved_error_of_the_linear_equation_is_that_against_the_exact_solution():
    ode, spectral = both(jnp.float64)
    found = ode.solve(START, TS, systems.FULL_AT, START_AT)
    exact = spectral.path(START, TS, at=systems.FULL_AT, h0_at=START_AT)
    assert np.array_equal(found.values, ode.path(START, TS, at=systems.FULL_AT, h0_at=START_AT))
    assert np.array_equal(found.error, np.max(np.abs(found.values - exact), axis=-1))
    assert 0 < found.error.max() <= found.stated == ode.error * np.max(np.abs(exact))
    assert found.steps.shape == (2,)
    assert np.all(found.steps > 10)
    assert (found.reference, found.solver) == ("the exact solution", "Tsit5")


def with_loss(loss, y, alpha=2.0, **settings):
    data = jl.Data(DATA.x, y, DATA.weights)
    network = jl.networks.Shallow(CASE.activation, jl.Initial())
    return jl.OdeLimit(jl.Problem(data, network, loss=loss, learning_rate=alpha), dtype=jnp.float64, **settings)


@pytest.mark.parametrize("case", most_slow(each(LOSSES)[1:]))
def test_every_loss_agrees_with_radau_and_says_how_well(case):
    """The estimate of the error from a second solve is right to a tenth; the stated bound holds; stiff and mild."""
    y = np.sign(DATA.y) if case.signs else DATA.y
    kernel, _ = systems.textbook_kernels("erf", DATA.x, DATA.x)
    for alpha in (2.0, 200.0):
        ode = with_loss(case.loss, y, alpha, tolerance=1e-6)
        found = ode.solve(START[0], TS)

        def field(_, h, alpha=alpha):
            return -alpha * kernel @ (DATA.weights * case.derivative(h, y))

        exact = scipy.integrate.solve_ivp(field, (0, 40), START[0], "Radau", TS, rtol=1e-11, atol=1e-12).y.T
        truth = np.max(np.abs(found.values - exact), axis=-1)
        assert np.all(truth <= found.stated)
        assert np.all(np.abs(found.error - truth) <= 0.1 * np.max(truth) + 1e-9)
        assert found.reference == "a second solve at tolerance 1e-08 in float64"


@pytest.mark.slow
@pytest.mark.parametrize(
    "solver", [diffrax.Tsit5(), diffrax.Dopri8(), diffrax.Kvaerno5()], ids=lambda s: type(s).__name__
)
def test_the_stated_error_bounds_the_achieved_one_for_every_solver(solver):
    for alpha in (1.0, 300.0):
        ode = with_loss(LOSSES["pseudo-Huber"].loss, DATA.y, alpha, solver=solver, tolerance=1e-6, max_steps=20_000)
        found = ode.solve(START[0], TS)
        assert found.error.max() <= found.stated
        assert found.solver == type(solver).__name__


@pytest.mark.slow
def test_each_halving_of_the_tolerance_reduces_the_achieved_error():
    """Where accuracy and not growth limits the step, the error is proportional to the tolerance."""
    tolerances, ts = 1e-5 / 2.0 ** np.arange(4), np.linspace(0.02, 2.0, 40)
    errors = [both(jnp.float64, 100.0, tolerance=e)[0].solve(START, ts).error.max() for e in tolerances]
    assert np.all(np.diff(errors) < 0)
    assert 4 < errors[0] / errors[-1] < 16


def test_the_exponential_loss_of_one_point_falls_like_the_inverse_of_time():
    """dh = λe^{−h}dt for y = 1, so e^h = e^{h_0} + λt and the loss is 1/(e^{h_0} + λt)."""
    data = jl.Data([[1.0, 0.0]], [1.0])
    ode = jl.OdeLimit(jl.Problem(data, jl.networks.Shallow(CASE.activation), loss=jl.Exponential()), dtype=jnp.float64)
    rate, ts = ode.kernel.gram.value[0, 0], [0.0, 1.0, 100.0, 1e4]
    found = ode.solve([0.5], ts)
    assert np.max(np.abs(found.values[:, 0] - np.log(np.exp(0.5) + rate * np.array(ts)))) <= found.stated
    assert np.exp(-found.values[-1, 0]) * rate * ts[-1] == pytest.approx(1.0, abs=1e-3)


def test_a_tolerance_without_room_for_a_finer_solve_is_refused():
    with pytest.raises(ValueError, match="Argument `tolerance` must exceed"):
        with_loss(jl.PseudoHuber(), DATA.y, tolerance=2e-15).solve(START[0], [0.0])


def test_sampled_paths_are_samples_with_the_solvers_bound_and_no_network():
    ode, spectral = both(jnp.float64)
    paths = ode.sample(TS, 8, jax.random.key(6), at=systems.FULL_AT)
    assert paths.values.shape == (8, 4, 7)
    start = paths.values[:, 0]
    exact = spectral.path(start[:, :5], TS, systems.FULL_AT, start[:, 5:])
    assert np.all(np.max(np.abs(paths.values - exact), axis=2) <= paths.error)
    assert np.all(paths.error < 1e-5)
    assert (paths.method, paths.width, paths.cost, paths.diverged, paths.repeats) == ("OdeLimit", np.inf, 0, 0, ())
    assert len(paths.draws.shared(Draws.of("OdeLimit.sample", jax.random.key(6), range(6)))) == 6
    assert np.array_equal(paths.ts, TS)


def huber(alpha):
    """Residuals of both kinds: |h − y| is below and above δ = 0.3 all the time."""
    data = jl.Data(systems.FULL_X, systems.FULL_Y)
    return jl.Problem(data, jl.networks.Shallow(CASE.activation), loss=jl.Huber(0.3), learning_rate=alpha)


@pytest.mark.slow
def test_networks_with_hubers_loss_follow_their_limit_and_a_wrong_learning_rate_is_noticed():
    """N = 512 against the solver's paths: false-alarm rate 1e-6; laws of half the rate and of the square differ."""
    ts, statistic = [0.0, 2.0, 6.0], jl.statistics.EnergyDistance()
    settings = {"replicas": 2048, "key": jax.random.key(3), "at": systems.FULL_AT, "devices": jax.devices()[:1]}
    samples = jl.simulate(huber(2.0), 512, ts, **settings)
    plain = jl.Problem(huber(2.0).data, huber(2.0).network, learning_rate=2.0)

    def p_values(problem):
        paths = jl.OdeLimit(problem).sample(ts, 2048, jax.random.key(4), at=systems.FULL_AT)
        return jl.statistics.compare_samples(samples, paths, statistic).p_value

    assert len(ts) * np.min(p_values(huber(2.0))) > 1e-6
    for wrong in (huber(1.0), plain):
        found = p_values(wrong)
        assert found[0] > 1e-6
        assert found[-1] < 1e-12
