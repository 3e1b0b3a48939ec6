"""The fluctuation of finite networks: against finite differences of a NumPy system, moment equations and simulation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import jaxlimit as jl
from tests import laws, systems
from tests.cases import ACTIVATIONS
from tests.oracle import assert_same

KEY = jax.random.key(11)
DATA = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
ALL = np.concatenate([systems.FULL_X, systems.FULL_AT])
ALPHA, COUNT = 1.5, 24
TS = [0.0, 0.5, 2.0]


def flow_of(epsilon, count=COUNT, initial=None, loss=None, train_output=True, dtype=jnp.float64):
    network = jl.networks.Shallow(jl.activations.Erf(), initial or jl.Initial(), train_output)
    problem = jl.Problem(DATA, network, loss=loss or jl.SquaredError(), learning_rate=ALPHA)
    return jl.EpsilonFlow(problem, epsilon, count, key=KEY, dtype=dtype)


def forced_flow(flow, masses, forcing, substeps=4, derivative=lambda g, y: g - y):
    """h at the ends of the cells of the grid, by RK4 on (c, w): mass p_i of every neuron, forcing of the residual.

    The output is the definition: h = h_0 + (Σ p_i c_i σ(w_i·x) − its start)/ε + the random start's own part.
    """
    case, epsilon = ACTIVATIONS["erf"], flow.epsilon
    c0, w0 = (np.asarray(v, np.float64) for v in flow.neurons)
    count, mean = len(c0), flow.problem.network.initial.c.mean
    first = c0[:, None] * case.sigma(w0 @ ALL.T)
    h0 = mean / epsilon * case.sigma(w0 @ ALL.T).mean(axis=0) + (masses - 1 / count) @ first / epsilon

    def output(c, w):
        return h0 + (masses @ (c[:, None] * case.sigma(w @ ALL.T)) - masses @ first) / epsilon

    def field(state, push):
        c, w = state
        e = DATA.weights * (push - ALPHA * derivative(output(c, w)[:5], DATA.y))
        u = w @ DATA.x.T
        return epsilon * (case.sigma(u) @ e), epsilon * (case.slope(u) * c[:, None] * e) @ DATA.x

    state, found = (c0, w0), [h0]
    dt = TS[-1] / len(forcing) / substeps
    for push in forcing:
        for _ in range(substeps):
            k = [field(state, push)]
            for ahead in (0.5, 0.5, 1.0):
                k.append(field(tuple(s + ahead * dt * v for s, v in zip(state, k[-1], strict=True)), push))
            state = tuple(s + dt / 6 * (a + 2 * b + 2 * c + d) for s, a, b, c, d in zip(state, *k, strict=True))
        found.append(output(*state))
    return np.array(found)


def initial_by_differences(flow, cells, step=1e-4):
    """Covariance over neurons of P ∂h/∂a_i by central differences, at all ends of cells."""
    count, none = flow.particles, np.zeros((cells, 5))
    shares = np.full(count, 1 / count)
    influences = []
    for i in range(count):
        moved = step / count * np.eye(count)[i]
        difference = forced_flow(flow, shares + moved, none) - forced_flow(flow, shares - moved, none)
        influences.append(count * difference / (2 * step))
    influences = np.array(influences)
    influences -= influences.mean(axis=0)
    return np.einsum("ita,itb->tab", influences, influences) / (count - 1)


def noise_by_differences(flow, cells, weights=DATA.weights, step=1e-4):
    """Multinomial covariance of the responses to impulses of the residuals, cell by cell, at the last time."""
    shares, length = np.full(flow.particles, 1 / flow.particles), TS[-1] / cells
    path = forced_flow(flow, shares, np.zeros((cells, 5)))
    total = np.zeros((7, 7))
    for k in range(cells):
        middle = 0.5 * (path[k] + path[k + 1])[:5]
        responses = []
        for m in range(5):
            push = np.zeros((cells, 5))
            push[k, m] = step / DATA.weights[m]  # the drive of point m enters with its weight
            both = [forced_flow(flow, shares, sign * push)[-1] for sign in (1, -1)]
            responses.append((both[0] - both[1]) / (2 * step * length) * ALPHA * (DATA.y - middle)[m])
        responses = np.array(responses)
        centred = responses - weights @ responses
        total += length * (weights[:, None] * centred).T @ centred
    return total


@pytest.mark.slow
@pytest.mark.parametrize("epsilon", [1.0, 0.4])
def test_the_part_of_the_start_is_that_of_finite_differences(epsilon):
    """Neuron by neuron, from a start that the network works against."""
    flow = flow_of(epsilon)
    found = flow.fluctuation(TS, systems.FULL_AT, steps=32)
    expected = initial_by_differences(flow, 4, step=1e-3)[[0, 1, 4]]
    assert_same(found.initial, expected, 2e-5 * np.max(np.abs(expected)))
    # The network works against its own start: what is left of it on the data is less.
    start, left = (np.diagonal(found.initial[k])[:5].mean() for k in (0, 2))
    assert left < start


@pytest.mark.slow
def test_the_noise_of_sgd_is_that_of_finite_differences():
    flow = flow_of(1.0)
    found = flow.fluctuation(TS, systems.FULL_AT, steps=8).sgd[2]
    expected = noise_by_differences(flow, 8)
    assert_same(found, expected, 1e-4 * np.max(np.abs(expected)))
    # The weights of π are not the uniform ones: a lost π is far off.
    lost = noise_by_differences(flow, 8, weights=np.full(5, 0.2))
    assert np.max(np.abs(lost - expected)) > 0.05 * np.max(np.abs(expected))


def own_kernels(flow):
    """B and the covariance of c σ of the particles themselves, on all points."""
    c, w = (np.asarray(v, np.float64) for v in flow.neurons)
    case = ACTIVATIONS["erf"]
    value, slope = case.sigma(w @ ALL.T), case.slope(w @ ALL.T) * c[:, None]
    kernel = (value.T @ value * flow.problem.network.train_output + (slope.T @ slope) * (ALL @ ALL.T)) / len(c)
    return kernel, np.cov((c[:, None] * value).T)


@pytest.mark.slow
@pytest.mark.parametrize("train_output", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_at_zero_the_noise_of_sgd_solves_its_moment_equations(train_output):
    """dP = −AP − PAᵀ + α²Cov_π[r_s B], r_s = e^{−As}ŷ, for the particles' own kernel; the grid says how far it is."""
    flow = flow_of(0.0, train_output=train_output)
    kernel, _ = own_kernels(flow)
    drift = np.zeros((7, 7))
    drift[:, :5] = ALPHA * kernel[:, :5] * DATA.weights
    values, vectors = np.linalg.eig(drift[:5, :5])
    weights = np.linalg.solve(vectors, DATA.y)

    def field(t, state):
        r = np.real(vectors @ (np.exp(-values * t) * weights))
        each = ALPHA * kernel[:, :5] * r
        mean = each @ DATA.weights
        moment = state.reshape(7, 7)
        noise = (each * DATA.weights) @ each.T - np.outer(mean, mean)
        return (noise - drift @ moment - moment @ drift.T).ravel()

    exact = scipy.integrate.solve_ivp(field, (0, TS[-1]), np.zeros(49), "DOP853", TS, rtol=1e-9, atol=1e-12).y.T
    exact = exact.reshape(3, 7, 7)
    found = flow.fluctuation(TS, systems.FULL_AT, initial=False, batch=3)
    difference = np.abs(3 * found.sgd - exact)
    assert np.max(difference) < 1e-3 * np.max(exact)
    assert not found.initial.any()
    left = np.diagonal(difference, axis1=1, axis2=2)[2]
    assert np.all(left < 3 * 3 * found.discretisation[2].max())
    assert not found.sgd[0].any()


@pytest.mark.slow
def test_near_zero_the_start_decays_like_in_the_linear_limit():
    """ε² times the part of the start is e^{−At}Σe^{−Aᵀt} up to terms of order ε."""
    flow, t = flow_of(1e-5), TS[2]
    kernel, start = own_kernels(flow)
    found = 1e-10 * flow.fluctuation([t], systems.FULL_AT, sgd=False).initial[0]
    exact = systems.exponential_law(kernel, start, DATA.y, DATA.weights, ALPHA, t, extra=2).covariance
    assert_same(found, exact, 1e-4 * np.max(np.abs(exact)))


@pytest.mark.slow
def test_the_parts_switch_off_and_add_up():
    flow = flow_of(1.0, dtype=jnp.float32)
    both, start = flow.fluctuation(TS, steps=8), flow.fluctuation(TS, steps=8, batch=None)
    alone = flow.fluctuation(TS, steps=8, initial=False, batch=2)
    assert np.array_equal(start.covariance, both.initial)
    assert_same(2 * alone.covariance, both.sgd, 1e-5)
    assert not start.sgd_standard_error.any()
    assert not alone.initial_standard_error.any()
    assert np.array_equal(both.law.covariance, both.initial + both.sgd)
    assert not both.law.mean.any()
    assert np.allclose(np.diagonal(both.law.covariance_standard_error, axis1=1, axis2=2), both.standard_error)
    assert np.all(both.standard_error <= both.initial_standard_error + both.sgd_standard_error + 1e-12)
    assert (both.steps, both.particles, both.batch, both.epsilon) == (8, COUNT, 1, 1.0)


def test_a_mean_of_the_output_weights_starts_the_limit_elsewhere():
    """E c ≠ 0 in mean field: the start is E c · mean σ, and c's own fluctuation is in the covariance."""
    law = jl.Initial(c=jl.initial.Uniform(0.0, 1.0))
    flow = flow_of(1.0, initial=law)
    found = flow.fluctuation(TS, systems.FULL_AT, steps=32, sgd=False)
    expected = initial_by_differences(flow, 4, step=1e-3)[[0, 1, 4]]
    assert_same(found.initial, expected, 2e-5 * np.max(np.abs(expected)))


@pytest.mark.slow
@pytest.mark.parametrize("low", [-1.0, 0.0])
def test_the_standard_errors_are_right_to_a_factor(low):
    """Spread of the diagonal over 24 independent sets of particles against what is stated of one of them.

    With E c ≠ 0 the start, too, is another one for each.
    """
    network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial(c=jl.initial.Uniform(low, 2.0 + low)))
    problem = jl.Problem(DATA, network, learning_rate=ALPHA)
    runs = [
        jl.EpsilonFlow(problem, 1.0, 256, key=jax.random.key(seed)).fluctuation([1.0], steps=8) for seed in range(24)
    ]
    for part in ("initial", "sgd"):
        spread = np.std([np.diagonal(getattr(run, part)[0]) for run in runs], axis=0, ddof=1)
        stated = np.sqrt(np.mean([getattr(run, part + "_standard_error")[0] ** 2 for run in runs], axis=0))
        assert np.all((spread / stated > 0.5) & (spread / stated < 2.0))


@pytest.mark.slow
@pytest.mark.parametrize("gamma", [1.0, 0.8])
def test_simulated_networks_fluctuate_as_predicted(gamma):
    """N·Cov h^N_t at N = 300, pooled over points and both times; what would be seen is a fifth."""
    width, replicas, ts = 300, 3000, [0.5, 2.0]
    network = jl.networks.Shallow(jl.activations.Erf())
    problem = jl.Problem(DATA, network, scaling=jl.PowerScaling(gamma), learning_rate=ALPHA)
    flow = jl.EpsilonFlow(problem, jl.limits.epsilon_at(problem.scaling, width), 8192, key=KEY)
    for batch in (1, None):
        found = flow.fluctuation(ts, batch=batch, sgd=True)
        settings = {"method": jl.Stepwise(), "devices": jax.devices()[:1]}
        sampled = jl.simulate(problem, width, ts, replicas=replicas, key=KEY, batch=batch, **settings)
        # Standardised by the prediction, the mean square over points and times is 1.
        mean = sampled.values.mean(axis=0)
        ratio = np.mean(
            width * (sampled.values - mean) ** 2 / np.diagonal(found.covariance, axis1=1, axis2=2), axis=(1, 2)
        )
        doubt = np.mean(found.standard_error / np.diagonal(found.covariance, axis1=1, axis2=2))
        laws.assert_mean(ratio * replicas / (replicas - 1), 1.0, detectable=0.2)
        assert doubt < 0.03
        # In mean field each source is needed: the other alone is farther away than what would be seen.
        if batch == 1 and gamma == 1.0:
            share = np.diagonal(found.sgd, axis1=1, axis2=2) / np.diagonal(found.covariance, axis1=1, axis2=2)
            assert 0.2 < np.mean(share) < 0.8


def test_many_save_times_and_odd_steps_leave_a_stated_error():
    """The two grids differ in every gap, so that the estimate is never 0 by coincidence: it meets the true error."""
    flow, ts = flow_of(1.0), np.linspace(0.4, 4.0, 10)
    coarse, fine = flow.fluctuation(ts, steps=1), flow.fluctuation(ts, steps=400)
    assert (coarse.steps, fine.steps) == (20, 400)
    assert np.array_equal(coarse.covariance, flow.fluctuation(ts, steps=19).covariance)
    error = np.abs(np.diagonal(coarse.covariance - fine.covariance, axis1=1, axis2=2))
    assert np.all(coarse.discretisation > 0)
    assert np.max(error) < 3 * np.max(coarse.discretisation) < 100 * np.max(error)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("initial", lambda: flow_of(0.0).fluctuation(TS)),
        ("particles", lambda: flow_of(1.0, count=12).fluctuation(TS)),
        ("particles", lambda: flow_of(1.0, count=12).particle_error(None, TS)),
        ("batch", lambda: flow_of(1.0).fluctuation(TS, batch=0)),
        ("steps", lambda: flow_of(1.0).fluctuation(TS, steps=0)),
        ("ts", lambda: flow_of(1.0).fluctuation([])),
        ("ts", lambda: flow_of(1.0).fluctuation([1e39])),
        ("initial", lambda: flow_of(1.0).fluctuation(TS, initial=5)),
        ("sgd", lambda: flow_of(1.0).fluctuation(TS, sgd=None)),
        (
            "problem",
            lambda: flow_of(0.0, initial=jl.Initial(c=jl.initial.Uniform(0.0, 1.0))).fluctuation(TS, initial=False),
        ),
    ],
)
def test_bad_arguments_are_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call()


def test_a_grid_that_is_too_coarse_is_an_error():
    network = jl.networks.Shallow(jl.activations.Erf())
    problem = jl.Problem(DATA, network, learning_rate=1e6)
    flow = jl.EpsilonFlow(problem, 0.1, COUNT, key=KEY)
    with pytest.raises(RuntimeError, match="raise `steps`"):
        flow.fluctuation([1.0], steps=40)
