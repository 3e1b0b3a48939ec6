"""The flow of particles: at ε = 0 a matrix exponential, at every ε > 0 a NumPy system of neurons, at 1 mean field."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import jaxlimit as jl
from tests import systems
from tests.cases import ACTIVATIONS, LOSSES, each, most_slow

KEY = jax.random.key(3)
COUNT = 40
TS = [0.0, 0.7, 2.0]
START = np.array([0.5, -1.0, 2.0, 0.1, 0.3])
START_AT = np.array([0.7, -0.2])
FULL = jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5))
THIN = jl.Data(systems.THIN_X, systems.THIN_Y, systems.uneven(3))


def flow_of(epsilon, data=FULL, name="erf", count=COUNT, dtype=jnp.float64, train_output=True, loss=None, **settings):
    network = jl.networks.Shallow(ACTIVATIONS[name].activation, jl.Initial(), train_output)
    problem = jl.Problem(data, network, loss=jl.SquaredError() if loss is None else loss, learning_rate=1.5)
    return jl.EpsilonFlow(problem, epsilon, count, key=KEY, dtype=dtype, **settings)


def neurons_of(data, count=COUNT):
    """The particles' start in float64: drawn as a network's are."""
    network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
    return (np.asarray(v, np.float64) for v in network.init(count, data.inputs, KEY))


def numpy_flow(epsilon, data, name, h0, ts, at, train_output=True, derivative=None, steps=400, alpha=1.5):
    """RK4 on (c, w) in original coordinates, with h = h_0 + (mean c σ(w·x) − its start)/ε: the definition itself."""
    case, x = ACTIVATIONS[name], np.concatenate([data.x, at])
    derivative = derivative or (lambda g, y: g - y)
    c0, w0 = neurons_of(data)
    first = c0 @ case.sigma(w0 @ x.T) / len(c0)

    def output(c, w):
        return h0 + (c @ case.sigma(w @ x.T) / len(c) - first) / epsilon

    def field(state):
        c, w = state
        e = -alpha * data.weights * derivative(output(c, w)[: data.points], data.y)
        u = w @ data.x.T
        push = case.sigma(u) @ e if train_output else np.zeros(len(c))
        return epsilon * push, epsilon * (case.slope(u) * c[:, None] * e) @ data.x

    def add(state, move, dt):
        return tuple(s + dt * m for s, m in zip(state, move, strict=True))

    state, found, dt = (c0, w0), [], ts[-1] / steps
    for k in range(steps + 1):
        found += [output(*state)] * sum(abs(k * dt - t) < 1e-9 for t in ts)
        if k == steps:
            break
        k1 = field(state)
        k2 = field(add(state, k1, dt / 2))
        k3 = field(add(state, k2, dt / 2))
        k4 = field(add(state, k3, dt))
        for move, weight in ((k1, 1), (k2, 2), (k3, 2), (k4, 1)):
            state = add(state, move, weight * dt / 6)
    return np.array(found), state


def linear_flow(kernel, data, h0, t, alpha=1.5):
    """h_t of dh = αBΠ(y − h)dt on all points by one exponential; only the data drive."""
    size, points = len(h0), data.points
    generator = np.zeros((size + 1, size + 1))
    generator[:size, :points] = -alpha * kernel[:, :points] * data.weights
    generator[:size, size] = -generator[:size, :points] @ data.y
    return (scipy.linalg.expm(generator * t) @ np.append(h0, 1.0))[:size]


@pytest.mark.parametrize(
    ("data", "at", "train_output"),
    [
        pytest.param(THIN, systems.THIN_AT, True, id="outside the span"),
        pytest.param(FULL, systems.FULL_AT, False, id="input weights alone", marks=pytest.mark.slow),
    ],
)
def test_at_zero_it_is_the_exponential_of_the_particles_own_kernel(data, at, train_output):
    flow = flow_of(0.0, data, train_output=train_output, tolerance=1e-11)
    parameters = jl.networks.Neurons(*map(jnp.asarray, neurons_of(data)))
    kernel = np.asarray(jl.empirical_gram(flow.problem.network, parameters, np.concatenate([data.x, at])))
    found = flow.path(START[: data.points], TS, at, START_AT)
    start = np.concatenate([START[: data.points], START_AT])
    for value, t in zip(found, TS, strict=True):
        assert np.max(np.abs(value - linear_flow(kernel, data, start, t))) < 1e-8


@pytest.mark.parametrize("epsilon", [1.0, 0.3])
@pytest.mark.parametrize(
    ("data", "at", "name", "train_output"),
    [
        (THIN, systems.THIN_AT, "tanh", True),
        pytest.param(FULL, systems.FULL_AT, "erf", True, marks=pytest.mark.slow),
        pytest.param(THIN, systems.THIN_AT, "erf", False, marks=pytest.mark.slow),
    ],
)
def test_it_is_the_system_of_neurons_of_numpy(epsilon, data, at, name, train_output):
    """From a given start and from the particles' own; the extra points lie inside the span and outside."""
    flow = flow_of(epsilon, data, name, train_output=train_output)
    start, start_at = START[: data.points], START_AT
    expected, _ = numpy_flow(epsilon, data, name, np.concatenate([start, start_at]), TS, at, train_output)
    assert np.max(np.abs(flow.path(start, TS, at, start_at) - expected)) < flow.error
    own = flow.start(at)
    c, w = neurons_of(data)
    x = np.concatenate([data.x, at])
    assert np.max(np.abs(own - c @ ACTIVATIONS[name].sigma(w @ x.T) / COUNT / epsilon)) < 1e-14 / epsilon
    expected, _ = numpy_flow(epsilon, data, name, own, TS, at, train_output)
    found = flow.path(None, TS, at)
    assert np.max(np.abs(found - expected)) < flow.error
    assert np.max(np.abs(expected[-1] - expected[0])) > 0.05


@pytest.mark.slow
def test_the_particles_themselves_are_those_of_numpy_in_original_coordinates():
    flow = flow_of(1.0, THIN)
    _, state = numpy_flow(1.0, THIN, "erf", flow.start(), TS, np.zeros((0, 5)))
    found = flow.trajectories(None, TS)
    start = tuple(neurons_of(THIN))
    for value, first, last in zip(found, start, state, strict=True):
        assert np.array_equal(value[0], first)
        assert np.max(np.abs(value[-1] - last)) < flow.error
        assert np.max(np.abs(value[-1] - first)) > 0.1
    # g = mean c σ(w·x) at every time: at ε = 1 the output is no state of its own.
    outputs = np.mean(found.c[..., None] * ACTIVATIONS["erf"].sigma(found.w @ THIN.x.T), axis=1)
    assert np.max(np.abs(outputs - flow.path(None, TS))) < flow.error


@pytest.mark.parametrize("case", most_slow(each(LOSSES)[1:]))
def test_any_loss(case):
    y = np.sign(FULL.y) if case.signs else FULL.y
    data = jl.Data(FULL.x, y, FULL.weights)
    flow = flow_of(0.5, data, loss=case.loss)
    expected, _ = numpy_flow(0.5, data, "erf", START, TS, np.zeros((0, 3)), derivative=case.derivative)
    assert np.max(np.abs(flow.path(START, TS) - expected)) < 3 * flow.error


@pytest.mark.slow
def test_many_starts_are_one_by_one_and_the_solve_states_its_error():
    starts = np.stack([START, np.zeros(5)])
    for dtype in (jnp.float32, jnp.float64):
        flow = flow_of(0.5, dtype=dtype)
        found = flow.solve(starts, TS)
        assert found.values.dtype == np.dtype(dtype)
        assert found.values.shape == (2, 3, 5)
        assert np.array_equal(found.values[1], flow.path(starts[1], TS))
        expected = np.stack([numpy_flow(0.5, FULL, "erf", h0, TS, np.zeros((0, 3)))[0] for h0 in starts])
        truth = np.max(np.abs(found.values - expected), axis=-1)
        assert np.all(truth <= found.stated)
        assert np.all(np.abs(truth - found.error) <= 0.2 * truth.max() + 1e-9)
        assert found.reference.endswith("in float64")


@pytest.mark.slow
def test_a_lost_epsilon_would_be_noticed():
    """The oracle moves by far more than the tolerance when ε does."""
    flow, other = (flow_of(epsilon).path(START, TS) for epsilon in (1.0, 0.9))
    assert np.max(np.abs(flow - other)) > 1e-3


@pytest.mark.slow
def test_epsilon_is_continuous_at_zero():
    """h^{(ε)} − h^{(0)} is of first order: no cancellation down to 1e-12."""
    base = flow_of(0.0, tolerance=1e-12).path(START, TS)
    moves = [np.max(np.abs(flow_of(e, tolerance=1e-12).path(START, TS) - base)) / e for e in (1e-6, 1e-3)]
    assert moves[0] == pytest.approx(moves[1], rel=0.01)
    assert np.max(np.abs(flow_of(1e-12).path(START, TS) - base)) < 1e-9


def test_the_epsilon_of_a_scaling_at_a_width():
    assert jl.limits.epsilon_at(jl.Xavier(), 400) == pytest.approx(0.05, rel=1e-15)
    assert jl.limits.epsilon_at(jl.MeanField(), 400) == 1.0


def finite_width(gamma, epsilon=None, initial=None, count=COUNT, scaling=None, width=16):
    network = jl.networks.Shallow(jl.activations.Erf(), initial or jl.Initial())
    problem = jl.Problem(THIN, network, scaling=scaling or jl.PowerScaling(gamma))
    epsilon = jl.limits.epsilon_at(jl.PowerScaling(gamma), width) if epsilon is None else epsilon
    flow = jl.EpsilonFlow(problem, epsilon, count, key=KEY)
    return flow, flow.finite_width(TS, width, systems.THIN_AT, steps=8)


def test_the_law_at_a_finite_width_is_the_flow_and_its_fluctuation_with_the_errors_of_both():
    flow, law = finite_width(0.75)
    at, fluctuation = systems.THIN_AT, flow.fluctuation(TS, systems.THIN_AT, steps=8)
    assert np.array_equal(law.mean, np.asarray(flow.path(np.zeros(3), TS, at, np.zeros(len(at))), np.float64))
    assert np.array_equal(law.covariance, fluctuation.covariance / 16)
    assert np.array_equal(law.mean_standard_error, flow.law(TS, at).mean_standard_error)
    # The start is 0 for E c = 0, so that no given one is the same.
    error = flow.particle_error(np.zeros(3), TS, at, np.zeros(len(at)))
    assert np.allclose(law.mean_standard_error, error, rtol=1e-6, atol=1e-9)
    errors = np.diagonal(law.covariance_standard_error, axis1=1, axis2=2)
    assert np.allclose(errors, fluctuation.standard_error / 16, rtol=1e-9)
    assert not law.mean_standard_error[0].any()
    assert np.all(errors > 0)
    # Repeats are laws themselves.
    for one in law.repeats:
        assert np.array_equal(one.covariance, np.swapaxes(one.covariance, 1, 2))
        assert np.all(np.linalg.eigvalsh(one.covariance) > 0)


def test_an_epsilon_of_another_kind_is_told_where_one_comes_from():
    with pytest.raises(
        ValueError, match=r"Argument `epsilon` must .*jaxlimit\.limits\.epsilon_at.*but it is PowerScaling"
    ):
        flow_of(jl.PowerScaling(0.75))


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("width", lambda: finite_width(0.75, epsilon=0.4)),
        ("width", lambda: finite_width(0.75, epsilon=0.5, width=0)),
        ("problem", lambda: finite_width(0.5)),
        ("problem", lambda: finite_width(0.75, initial=jl.Initial(c=jl.initial.Uniform(0.0, 1.0)))),
        ("particles", lambda: finite_width(0.75, count=15)),
        ("epsilon", lambda: flow_of(1.5)),
        ("epsilon", lambda: flow_of(-0.1)),
        ("particles", lambda: flow_of(0.5, count=0)),
        ("tolerance", lambda: flow_of(0.5, tolerance=2.0)),
        ("solver", lambda: flow_of(0.5, solver="Tsit5")),
        ("h0", lambda: flow_of(0.0).path(None, TS)),
        ("h0", lambda: flow_of(0.0).start()),
        ("h0", lambda: flow_of(0.5).path([0.0], TS)),
        ("h0_at", lambda: flow_of(0.5).path(None, TS, systems.FULL_AT, START_AT)),
        ("h0_at", lambda: flow_of(0.5).path(START, TS, systems.FULL_AT)),
        ("at", lambda: flow_of(0.5).path(None, TS, [[1.0]])),
        ("ts", lambda: flow_of(0.5).path(None, [1.0, 0.5])),
        ("h0", lambda: flow_of(0.5).trajectories(np.zeros((2, 5)), TS)),
        ("scaling", lambda: jl.limits.epsilon_at("mean field", 4)),
    ],
)
def test_bad_arguments_are_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call()


def test_giving_up_is_an_error():
    with pytest.raises(RuntimeError, match=r"gave up on 1 of 1 paths before t = 2: raise `max_steps` \(now 2\)"):
        flow_of(0.5, max_steps=2).path(START, TS)
