"""batch=None is gradient descent on E_π: the Euler scheme of the flow of the network's own neurons, by every method."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import jaxlimit as jl
from jaxlimit.simulation import antithetic
from jaxlimit.simulation._choose import chosen_method
from jaxlimit.simulation._state import Run
from tests import systems
from tests.cases import ACTIVATIONS
from tests.oracle import assert_same, chain, drawn, largest_difference, replay
from tests.systems import LANES, parameters

TOLERANCE = 1e-12
"""float64, as with samples."""

CASE = ACTIVATIONS["erf"]


def problem_on(data="full", **settings):
    x, y = (systems.FULL_X, systems.FULL_Y) if data == "full" else (systems.THIN_X, systems.THIN_Y)
    return systems.problem(CASE, jl.Data(x, y, systems.uneven(len(y))), **settings)


def run(problem, **settings):
    return systems.run(problem, **{"batch": None, "replicas": 2, "observe": parameters, **settings})


def assert_follows(samples, problem, at=None, batch=None, tolerance=TOLERANCE):
    for replica in range(samples.replicas):
        path = replay(problem, CASE, samples.width, jax.random.key(0), replica, samples.ts, at, batch=batch)
        assert_same(samples.values[replica], path.values, tolerance)
        assert_same(samples.observed["c"][replica], path.c, tolerance)
        assert_same(samples.observed["w"][replica], path.w, tolerance)
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 0.01


STEPS_OF_ONE = {
    "stepwise": jl.Stepwise(lanes=LANES),
    "blocks, native": jl.SStep(1, lanes=LANES, native=True),
    "blocks, XLA": jl.SStep(1, order=2, lanes=LANES, native=False),
}


@pytest.mark.parametrize(
    "gamma", [pytest.param(0.5, marks=pytest.mark.slow), 0.75, pytest.param(1.0, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("method", STEPS_OF_ONE)
def test_paths_are_those_of_gradient_descent_with_the_weights(method, gamma):
    """On data of rank 3 in 5 dimensions, at points inside and outside their span."""
    problem = problem_on("thin", gamma=gamma)
    samples = run(problem, method=STEPS_OF_ONE[method], at=systems.THIN_AT)
    assert_follows(samples, problem, systems.THIN_AT)


@pytest.mark.slow
def test_float32_frozen_output_weights_and_full_rank_are_followed():
    single = run(problem_on(), dtype=jnp.float32)
    assert single.values.dtype == np.float32
    assert_follows(single, problem_on(), tolerance=2e-5)
    for method in STEPS_OF_ONE.values():
        problem = problem_on(train_output=False)
        samples = run(problem, method=method)
        assert_follows(samples, problem)
        assert np.array_equal(samples.observed["c"][:, -1], samples.observed["c"][:, 0])


@pytest.mark.slow
@pytest.mark.parametrize("batch", [3, 40])
def test_batches_are_followed_with_the_weights_at_points_outside_the_span(batch):
    problem = problem_on("thin", gamma=0.75)
    for method in STEPS_OF_ONE.values():
        assert_follows(run(problem, method=method, batch=batch, at=systems.THIN_AT), problem, systems.THIN_AT, batch)


def test_no_samples_are_drawn():
    c, w, indices = jl.simulation.draws(problem_on(), 8, jax.random.key(0), 1, 20, batch=None)
    sampled = jl.simulation.draws(problem_on(), 8, jax.random.key(0), 1, 20)
    assert indices.shape == (20, 0)
    assert np.array_equal(c, sampled[0])
    assert np.array_equal(w, sampled[1])


def flow(problem, c, w, t):
    """Outputs at time t of dc = αN^{γ−1} E_π[e σ], dw = αN^{γ−1} E_π[e c σ' x] from these neurons, by SciPy."""
    x, y, weights, gamma, width = problem.data.x, problem.data.y, problem.data.weights, problem.scaling.gamma, c.size

    def outputs(state):
        c, w = state[:width], state[width:].reshape(width, -1)
        return c, w, width**-gamma * CASE.sigma(x @ w.T) @ c

    def field(_, state):
        c, w, g = outputs(state)
        e = problem.learning_rate * width ** (gamma - 1) * weights * (y - g)
        u = x @ w.T
        return np.concatenate([e @ CASE.sigma(u), (((e[:, None] * CASE.slope(u)).T @ x) * c[:, None]).ravel()])

    start = np.concatenate([c, w.ravel()]).astype(np.float64)
    solved = scipy.integrate.solve_ivp(field, (0, t), start, rtol=1e-11, atol=1e-13)
    return outputs(solved.y[:, -1])[2]


def test_the_error_against_the_flow_of_its_own_neurons_is_of_order_one_over_the_width():
    """At γ = 1, with neurons repeated the flow is the same, and Euler's step is shorter: its error halves."""
    problem = problem_on(gamma=1.0, alpha=3.0)
    c, w, _ = drawn(problem, systems.WIDTH, jax.random.key(0), 0, 0)
    exact = flow(problem, c, w, 1.0)
    samples = run(problem, ts=(0.0, 0.29, 0.5, 1.0))
    errors = [np.max(np.abs(samples.values[0, -1] - exact))]
    for copies in (2, 4):
        width = copies * systems.WIDTH
        none = np.zeros((width, 0), int)
        path = chain(problem, CASE, np.tile(c, copies), np.tile(w, (copies, 1)), none, [width])
        errors.append(np.max(np.abs(path.values[-1] - exact)))
    assert errors[0] > 1e-3
    assert np.all(np.abs(np.array(errors[:-1]) / errors[1:] - 2) < 0.2)


@pytest.mark.parametrize("order", [1, 2])
def test_native_blocks_are_those_of_xla(order):
    problem = problem_on(gamma=0.75, alpha=3.0)
    ours, theirs = (
        run(problem, method=jl.SStep(7, order, lanes=LANES, native=native), width=300, ts=(0.0, 0.31, 2.0))
        for native in (True, False)
    )
    assert_same(ours.values, theirs.values, 1e-11)
    assert_same(ours.error / theirs.error[:, -1:], theirs.error / theirs.error[:, -1:], 1e-6)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*beyond the tolerance:UserWarning")
@pytest.mark.parametrize("order", [1, 2])
def test_a_tolerance_is_kept_or_said_to_be_missed(order):
    """Errors of gradient descent are alike from step to step: they add up, and are foretold the better."""
    data = jl.data.sphere(points=20, inputs=10)
    settings = {"width": 1024, "ts": (1.0, 2.0), "replicas": 2, "seed": 977, "batch": None}
    for gamma, alpha in ((0.5, 20.0), (0.75, 1.0), (1.0, 20.0)):
        problem = systems.problem(ACTIVATIONS["tanh"], data, gamma=gamma, alpha=alpha)
        exact = systems.run(problem, method=jl.SStep(1, native=True), **settings)
        for tolerance in (1e-2, 1e-3, 1e-4):
            method = jl.SStep(order=order, tolerance=tolerance, native=True)
            samples = systems.run(problem, method=method, **settings)
            error = np.max(np.abs(samples.values - exact.values), axis=(1, 2))
            assert np.all(error <= np.maximum(tolerance, np.max(samples.error, axis=1)))


def test_halves_of_networks_descend_by_themselves():
    problem = problem_on(gamma=1.0)
    pair = antithetic(
        problem,
        systems.WIDTH,
        (1.0,),
        replicas=1,
        key=jax.random.key(0),
        batch=None,
        method=jl.Stepwise(lanes=1),
        dtype=jnp.float64,
    )
    c, w, _ = drawn(problem, systems.WIDTH, jax.random.key(0), 0, 0)
    half = systems.WIDTH // 2
    path = chain(problem, CASE, c[half:], w[half:], np.zeros((half, 0), int), [half])
    assert_same(pair.second.values[0], path.values, TOLERANCE)


def test_method_none_knows_what_a_step_on_all_points_costs():
    """Blocks save passes over the neurons; the recursion in the outputs costs M² a step."""
    problem = systems.problem(CASE, jl.data.sphere(points=20, inputs=10))

    def run_of(batch, width=4096, dtype=np.float32):
        return Run(problem, problem.network, width, 10, 0, 2 * width, batch, np.dtype(dtype), (jax.devices()[0],))

    assert isinstance(chosen_method(run_of(None)), jl.SStep)
    assert isinstance(chosen_method(run_of(None, dtype=np.float64)), jl.Stepwise)
    assert isinstance(chosen_method(run_of(None, width=512)), jl.Stepwise)
    one, all_ = (jl.Stepwise(native=False).chain(run_of(batch)) for batch in (1, None))
    assert 5 < all_.seconds / one.seconds < 20
    assert all_.scratch == 3 * 20 * 4096 * 4


def test_the_native_loop_of_steps_takes_samples():
    assert run(problem_on(), dtype=jnp.float32, method=jl.Stepwise(lanes=LANES)).method == "Stepwise(native=False)"
    with pytest.raises(ValueError, match="Argument `native` must be False or None here, but the native loop takes one"):
        run(problem_on(), method=jl.Stepwise(native=True))


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_a_step_is_stable_up_to_the_largest_eigenvalue(share):
    """α λ_max(B diag π)/N = 2: further than the largest diagonal entry allows one sample to go."""
    data = systems.GOLDEN_DATA
    matrix = jl.gram(jl.networks.Shallow(jl.activations.Erf()), data.x).value
    largest = float(np.linalg.eigvalsh(matrix)[-1]) / 3
    assert largest < 0.6 * np.max(np.diag(matrix))
    problem = systems.problem(CASE, data, alpha=share * 2 * 64 / largest)
    settings = {"width": 64, "ts": (0.0,), "observe": None}
    if share < 1:
        assert run(problem, **settings).values.shape == (2, 1, 3)
    else:
        with pytest.raises(ValueError, match=r"Argument `learning_rate` must keep a step stable, .* λ_max"):
            run(problem, **settings)
