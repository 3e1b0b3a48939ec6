"""The first fluctuation between the scalings: against the equation with all its terms, and against the flow in ε."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import jaxlimit as jl
from tests import laws, systems
from tests.cases import ACTIVATIONS
from tests.limits.test_epsilon_flow import linear_flow
from tests.oracle import assert_same

KEY = jax.random.key(5)
DATA = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
ALL = np.concatenate([systems.FULL_X, systems.FULL_AT])
TS = [0.0, 0.4, 2.0]
ALPHA = 1.3
SKEW = jl.initial.Discrete([2.0, -1.0], [1 / 3, 2 / 3])
ATOMS = np.array([2.0, -1.0, -1.0])
SKEWED = jl.Initial(c=SKEW)


def problem_of(gamma, activation=None, initial=SKEWED, train_output=True, alpha=ALPHA):
    network = jl.networks.Shallow(activation or jl.activations.SinCos(), initial, train_output)
    return jl.Problem(DATA, network, scaling=jl.PowerScaling(gamma), learning_rate=alpha)


def limit_of(gamma, activation=None, initial=SKEWED, neurons=18, train_output=True, alpha=ALPHA, rule=None):
    return jl.FluctuationLimit(
        problem_of(gamma, activation, initial, train_output, alpha), rule=rule, neurons=neurons, key=KEY
    )


def full_tensor(c, w, train_output=True):
    """⟨∂_c b_{x,x'} σ(w·x'') + c σ'(w·x'') x''·∇_w b_{x,x'}, μ⟩ for sin + cos by autodiff, every term."""
    sigma, slope = (lambda u: jnp.sin(u) + jnp.cos(u)), (lambda u: jnp.cos(u) - jnp.sin(u))
    x = jnp.asarray(ALL)

    def share(c, w):
        u = x @ w
        kernel = c**2 * jnp.outer(slope(u), slope(u)) * (x @ x.T)
        return kernel + jnp.outer(sigma(u), sigma(u)) * float(train_output)

    def one(c, w):
        by_c, by_w = jax.jacfwd(share, argnums=(0, 1))(c, w)
        u = x[:5] @ w
        moved = jnp.einsum("abd,ed->abe", by_w, x[:5]) * c * slope(u)
        return moved + by_c[..., None] * sigma(u) * float(train_output)

    return np.asarray(jnp.mean(jax.vmap(one)(jnp.asarray(c), jnp.asarray(w)), axis=0))


def fluctuation_by_the_equation(kernel, tensor, start=None, alpha=ALPHA):
    """K [times, all] by DOP853 on (h, ∫r, K): the equation as it is printed."""
    drift = alpha * kernel[:, :5] * DATA.weights

    def field(_, state):
        h, total, k = state[:7], state[7:12], state[12:]
        r = DATA.y - h[:5]
        motion = alpha * tensor[:, :5] @ (DATA.weights * total)
        return np.concatenate([drift @ r, r, alpha * motion @ (DATA.weights * r) - drift @ k[:5]])

    state = np.concatenate([np.zeros(12), np.zeros(7) if start is None else start])
    return scipy.integrate.solve_ivp(field, (0, TS[-1]), state, "DOP853", TS, rtol=1e-11, atol=1e-13).y[12:].T


def copies(w):
    """Every w with each of the three values of c: E c = 0, E c³ = 2 and independence hold exactly."""
    return np.tile(ATOMS, len(w)), np.repeat(w, 3, axis=0)


def sin_cos_kernel():
    """B of sin + cos with E c² = 2."""
    square = np.sum((ALL[:, None] - ALL[None]) ** 2, axis=2)
    return np.exp(-0.5 * square) * (1 + 2.0 * ALL @ ALL.T)


def test_the_shift_solves_the_printed_equation():
    """The same draws of w; the oracle keeps the terms that vanish with E c. At extra points too."""
    limit = limit_of(0.9)
    expected = fluctuation_by_the_equation(sin_cos_kernel(), full_tensor(*copies(limit.w)))
    found = limit.shift(TS, systems.FULL_AT)
    assert_same(found.value, expected, 1e-8 * np.max(np.abs(expected)))
    assert np.max(np.abs(expected[-1])) > 0.01
    assert np.array_equal(limit.law(TS, systems.FULL_AT).mean, found.value)
    # Planted bugs are far off: the other sign, and a lost term of the tensor.
    for wrong in (-full_tensor(*copies(limit.w)), full_tensor(*copies(limit.w), train_output=False)[:, :, ::-1]):
        assert np.max(np.abs(fluctuation_by_the_equation(sin_cos_kernel(), wrong) - found.value)) > 0.2 * np.max(
            np.abs(expected)
        )


@pytest.mark.slow
def test_the_equation_is_the_derivative_of_the_flow_in_epsilon():
    """(h^{(ε)} − h^{(0)})/ε → K, extrapolated from two ε: the particles' own kernel and tensor, to 1e-5."""
    w = limit_of(0.9).w
    c, w = copies(w)
    flow = jl.EpsilonFlow(problem_of(0.9), 0.0, len(c), key=KEY, dtype=jnp.float64, tolerance=1e-12)
    neurons = jl.networks.Neurons(jnp.asarray(c), jnp.asarray(w))
    paths = []
    for epsilon in (0.0, 1e-3, 2e-3):
        one = jl.EpsilonFlow(problem_of(0.9), epsilon, len(c), key=KEY, dtype=jnp.float64, tolerance=1e-12)
        one = eqx.tree_at(lambda f: f.neurons, one, neurons)
        paths.append(one.path(np.zeros(5), TS, systems.FULL_AT, np.zeros(2)))
    assert flow.particles == len(c)
    derivative = (4 * paths[1] - paths[2] - 3 * paths[0]) / 2e-3
    sigma, slope = np.sin(w @ ALL.T) + np.cos(w @ ALL.T), (np.cos(w @ ALL.T) - np.sin(w @ ALL.T)) * c[:, None]
    kernel = (sigma.T @ sigma + (slope.T @ slope) * (ALL @ ALL.T)) / len(c)
    assert np.max(np.abs(paths[0][-1] - linear_flow(kernel, DATA, np.zeros(7), TS[-1], ALPHA))) < 1e-9
    expected = fluctuation_by_the_equation(kernel, full_tensor(c, w))
    assert_same(derivative, expected, 1e-4 * np.max(np.abs(expected)))


@pytest.mark.parametrize("gamma", [0.6, 0.75, 0.9])
def test_each_side_of_three_quarters_has_its_own_law(gamma):
    """Below, a Gaussian; above, a shift; at 3/4 their sum."""
    limit = limit_of(gamma)
    law, shift = limit.law(TS, systems.FULL_AT), limit.shift(TS, systems.FULL_AT)
    start = np.exp(-0.5 * np.sum((ALL[:, None] - ALL[None]) ** 2, axis=2)) * 2.0
    for i, t in enumerate(TS):
        exact = systems.exponential_law(sin_cos_kernel(), start, DATA.y, DATA.weights, ALPHA, t, extra=2).covariance
        assert_same(law.covariance[i], exact * (gamma <= 0.75), 1e-11)
    assert np.array_equal(law.mean, shift.value * (gamma >= 0.75))
    assert limit.exponent == pytest.approx(min(gamma - 0.5, 1 - gamma))


def test_a_given_start_is_carried_by_the_linear_equation():
    limit, start = limit_of(0.9), np.array([0.5, -1.0, 2.0, 0.1, 0.3, 0.7, -0.2])
    expected = fluctuation_by_the_equation(sin_cos_kernel(), full_tensor(*copies(limit.w)), start)
    found = limit.path(start[:5], TS, systems.FULL_AT, start[5:])
    assert_same(found, expected, 1e-8)
    assert_same(limit.path(np.zeros((2, 5)), TS)[1], limit.shift(TS).value, 1e-12)


def test_stiff_kernels_are_integrated_too():
    limit = limit_of(0.9, alpha=300.0)
    tensor = full_tensor(*copies(limit.w))
    expected = fluctuation_by_the_equation(sin_cos_kernel(), tensor, alpha=300.0)
    assert_same(limit.shift(TS, systems.FULL_AT).value, expected, 1e-6 * np.max(np.abs(expected)))


@pytest.mark.slow
def test_the_standard_error_is_the_spread_over_draws():
    """The mean of many small sets is that of all, and the stated error the right one of one of them."""
    values, errors = [], []
    for seed in range(60):
        found = jl.FluctuationLimit(problem_of(0.9), neurons=50, key=jax.random.key(seed)).shift([1.0])
        values.append(found.value[0])
        errors.append(found.standard_error[0])
    whole = jl.FluctuationLimit(problem_of(0.9), neurons=50_000, key=jax.random.key(99)).shift([1.0])
    laws.assert_mean(np.array(values), whole.value[0], detectable=1.5 * np.max(errors))
    ratio = np.std(values, axis=0, ddof=1) / np.sqrt(np.mean(np.square(errors), axis=0))
    assert np.all((ratio > 0.6) & (ratio < 1.6))
    assert np.all(whole.standard_error < 0.05 * np.mean(errors))


def test_the_law_carries_the_errors_of_its_shift_and_of_its_kernel():
    """Groups of neurons tell what the shift's own variance tells, to the 15 degrees of freedom that they are."""
    limit = limit_of(0.75, neurons=320)
    law, shift = limit.law(TS, systems.FULL_AT), limit.shift(TS, systems.FULL_AT)
    ratio = law.mean_standard_error[1:] / shift.standard_error[1:]
    # A chi-square of 15 degrees of freedom lies within these with probability 1 − 1e-6; 14 of them, not independent.
    assert np.all((ratio > 0.25) & (ratio < 2.0))
    assert np.array_equal(law.mean, shift.value)
    assert np.max(law.covariance_standard_error) < 1e-14
    drawn = limit_of(0.75, neurons=320, rule=jl.kernels.MonteCarlo(2000))
    both, below = drawn.law(TS), limit_of(0.6, rule=jl.kernels.MonteCarlo(2000)).law(TS)
    assert np.all(both.covariance_standard_error[1:] > 0)
    assert_same(both.covariance_standard_error, below.covariance_standard_error, 1e-12)
    known = limit.law(TS)
    assert np.all(np.abs(both.covariance - known.covariance) < 6 * both.covariance_standard_error + 1e-12)
    assert np.all(np.abs(both.mean - known.mean) < 6 * both.mean_standard_error + 1e-12)
    assert not below.mean.any()
    assert limit_of(0.6).law(TS).repeats == ()


class Lopsided(jl.initial.AbstractLaw):
    """SKEW without its third moment."""

    def sample(self, key, shape):
        return SKEW.sample(key, shape)

    @property
    def mean(self):
        return 0.0

    @property
    def second_moment(self):
        return 2.0


def test_a_third_moment_that_the_law_does_not_know_is_drawn():
    known, drawn = limit_of(0.9), limit_of(0.9, initial=jl.Initial(c=Lopsided()))
    assert (known.cube, known.cube_error) == (pytest.approx(2.0, rel=1e-12), 0.0)
    assert abs(drawn.cube - 2.0) < 5 * drawn.cube_error < 0.05
    one, other = known.shift(TS), drawn.shift(TS)
    expected = np.hypot(one.standard_error * drawn.cube / 2, one.value / 2 * drawn.cube_error)
    assert_same(other.standard_error, expected, 1e-12)


@pytest.mark.parametrize(
    ("activation", "initial", "reason"),
    [
        (jl.activations.SinCos(), jl.Initial(), "E c³ = 0"),
        (jl.activations.SinCos(), jl.Initial(c=jl.initial.Discrete([1.0, 0.0, -1.0], [0.25, 0.5, 0.25])), "E c³ = 0"),
        (jl.activations.Erf(), SKEWED, "odd plus a constant"),
        (jl.activations.Probit(), SKEWED, "odd plus a constant"),
        (jl.activations.SinCos(), SKEWED, ""),
        (jl.activations.GaussianBump(), SKEWED, ""),
        (jl.activations.Probit(), jl.Initial(c=SKEW, w=jl.initial.Normal(0.5, 1.0)), ""),
    ],
)
def test_the_cases_where_it_vanishes_are_named(activation, initial, reason):
    rule = None if initial.w.symmetric else jl.kernels.MonteCarlo(1000)
    limit = limit_of(0.9, activation, initial, neurons=200, rule=rule)
    assert reason in limit.vanishes
    assert bool(limit.vanishes) == bool(reason)
    found = limit.shift(TS)
    assert bool(found.value.any()) == (not reason)
    assert bool(found.standard_error.any()) == (not reason)


@pytest.mark.slow
def test_where_it_vanishes_the_flow_in_epsilon_has_no_first_order():
    """Erf with skewed c: antithetic copies of w make the particles' own law symmetric, and h^{(ε)} is of order ε²."""
    _, w = jl.networks.Shallow(jl.activations.Erf()).init(6, 3, KEY)
    c, w = copies(np.concatenate([w, -np.asarray(w)]).astype(float))
    moves = []
    for epsilon in (0.0, 1e-3, 2e-3):
        problem = problem_of(0.9, jl.activations.Erf())
        one = jl.EpsilonFlow(problem, epsilon, len(c), key=KEY, dtype=jnp.float64, tolerance=1e-12)
        one = eqx.tree_at(lambda f: f.neurons, one, jl.networks.Neurons(jnp.asarray(c), jnp.asarray(w)))
        moves.append(one.path(np.zeros(5), [2.0]))
    assert np.max(np.abs(4 * moves[1] - moves[2] - 3 * moves[0])) / 2e-3 < 1e-4
    assert np.max(np.abs(moves[2] - moves[0])) > 1e-8


@pytest.mark.slow
def test_simulated_networks_are_shifted_by_it():
    """Mean of h^N at γ = 0.8 is h + εK + O(ε²): K extrapolated from two widths, within 5 standard errors and 15%.

    The limit's path from the network's own h_0, whose mean is known, is subtracted: most of the chance goes with it.
    """
    gamma, ts, replicas, widths = 0.8, [0.0, 2.0], 4000, (128, 1024)
    limit = limit_of(gamma, neurons=20_000)
    shift, slopes, doubts = limit.shift(ts[1:]).value[0], [], []
    epsilons = [jl.limits.epsilon_at(jl.PowerScaling(gamma), width) for width in widths]
    for width, epsilon in zip(widths, epsilons, strict=True):
        settings = {"batch": None, "devices": jax.devices()[:1]}
        values = jl.simulate(problem_of(gamma), width, ts, replicas=replicas, key=KEY, **settings).values
        moved = (values - limit.linear.path(values[:, 0], ts))[:, 1] / epsilon
        slopes.append(moved.mean(axis=0))
        doubts.append(moved.std(axis=0) / np.sqrt(replicas))
    weight = epsilons[0] / (epsilons[0] - epsilons[1])
    found, doubt = weight * slopes[1] + (1 - weight) * slopes[0], np.hypot(weight * doubts[1], (1 - weight) * doubts[0])
    assert np.all(np.abs(found - shift) < 5 * doubt + 0.15 * np.max(np.abs(shift)))
    assert np.max(np.abs(shift)) > 10 * np.max(doubt)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("problem", lambda: limit_of(0.5)),
        ("problem", lambda: limit_of(1.0)),
        ("problem", lambda: limit_of(0.9, jl.activations.Relu())),
        ("neurons", lambda: limit_of(0.9, neurons=15)),
        ("at", lambda: limit_of(0.9).law(TS, [[1.0]])),
        ("ts", lambda: limit_of(0.9).law([1.0, 0.0])),
    ],
)
def test_bad_arguments_are_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call()


def test_below_three_quarters_a_kinked_activation_will_do():
    assert ACTIVATIONS["relu"].activation.smooth is False
    assert limit_of(0.6, jl.activations.Relu()).law(TS).covariance[0].any()
