"""The multilayer limit: an independent flow, mean field at one hidden layer, and how networks reach it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

import jaxlimit as jl
from jaxlimit.initial import AbstractEmbedding
from tests import multilayer_oracle as oracle
from tests import systems

NORMAL, TANH = jl.initial.Normal, jl.activations.Tanh()
KEY = jax.random.key(3)
THIN = jl.Data(systems.THIN_X, systems.THIN_Y, systems.uneven(3))
HUBER = lambda g, y: np.clip(g - y, -1, 1)  # noqa: E731
TS = [0.0, 0.5, 2.0]


def problem(layers=3, epsilon=0.05, xi=1.0, biases=False, data=THIN, **settings):
    laws = (NORMAL(0, 1), *(NORMAL(1, 1),) * (layers - 1))
    law = jl.initial.IndependentLayers(laws, (NORMAL(0, 0.3),) * layers if biases else ())
    network = jl.networks.Multilayer((TANH,) * (layers - 1), law, **settings)
    return jl.Problem(data, network, jl.LayerwiseMeanField(epsilon, xi), jl.Huber(), 1.5)


def flow(question, start, ts, at, xi, train):
    """dw_i/dt by SciPy: the oracle's step with ε = 1 is −the right-hand side, so it is taken as a difference."""
    arrays = [np.asarray(a, np.float64) for a in (*start.weights, *start.biases)]
    layers, shapes = len(start.weights), [a.shape for a in arrays]
    functions = (oracle.TANH,) * (layers - 1) + (oracle.IDENTITY,)
    nothing, factors = np.zeros((1, 0), int), [1 / w.shape[0] for w in start.weights[1:]]

    def unpack(flat):
        pieces = np.split(flat, np.cumsum([int(np.prod(s)) for s in shapes])[:-1])
        return [piece.reshape(shape) for piece, shape in zip(pieces, shapes, strict=True)]

    def field(t, flat):
        now = unpack(flat)
        rules = oracle.Rules(xi=tuple((lambda _, f=f: f(t)) for f in xi))
        settings = {"alpha": question.learning_rate, "rules": rules, "train": train}
        path = oracle.chain(question.data, now[:layers], now[layers:], nothing, [1], 1.0, functions, HUBER, **settings)
        moved = (np.ravel(a - b) for a, b in zip((*path.weights, *path.biases), now, strict=True))
        return np.concatenate(list(moved))

    flat = np.concatenate([np.ravel(a) for a in arrays])
    solution = scipy.integrate.solve_ivp(field, (0, ts[-1]), flat, t_eval=ts, rtol=1e-10, atol=1e-12)
    seen = np.concatenate([question.data.x, at])
    found = [unpack(column) for column in solution.y.T]
    values = [oracle.outputs(seen, now[:layers], now[layers:], functions, factors)[1] for now in found]
    return np.array(values), found


RISING = lambda t: 1.0 + 0.5 * t  # noqa: E731
SLOWER = [pytest.param(layers, layers == 4, marks=pytest.mark.slow) for layers in (3, 4)]


@pytest.mark.parametrize(("layers", "biases"), [(2, False), *SLOWER])
def test_particles_follow_the_equation_inside_and_outside_the_span_of_the_data(layers, biases):
    """Biases, a schedule that depends on time, a layer that does not learn."""
    xi = (RISING, 0.5, *(1.0,) * (layers - 2))
    train = (*(True,) * (layers - 1), layers == 2)
    question = problem(layers, xi=xi, biases=biases, train=train)
    limit = jl.MultilayerLimit(question, (7, 6, 5)[: layers - 1], key=KEY, dtype=jnp.float64)
    functions = tuple(f if callable(f) else (lambda t, f=f: f) for f in xi)
    values, parameters = flow(question, limit.start, TS, systems.THIN_AT, functions, train)
    path = limit.path(None, TS, systems.THIN_AT)
    assert np.max(np.abs(path - values)) < 1e-7
    assert np.max(np.abs(path[-1] - path[0])) > 0.05
    found = limit.parameters(TS)
    for mine, theirs in zip((*found.weights, *found.biases), parameters[-1], strict=True):
        assert np.max(np.abs(mine[-1] - theirs)) < 1e-7


def test_the_law_is_deterministic_with_the_error_of_its_particles():
    """Repeats are the paths of groups, drawn towards that of all; `solve` adds what is of order 1/n."""
    limit = jl.MultilayerLimit(problem(), (24, 16), key=KEY)
    law, solution = limit.law(TS, systems.THIN_AT), limit.solve(TS, systems.THIN_AT)
    assert not law.covariance.any()
    assert np.array_equal(law.mean, limit.path(None, TS, systems.THIN_AT))
    assert np.array_equal(law.mean, solution.values)
    bias = np.mean([one.mean - law.mean for one in law.repeats], axis=0) * np.sqrt(8) / 7
    assert np.all(law.mean_standard_error > 0)
    assert np.allclose(np.hypot(law.mean_standard_error, bias), solution.error, rtol=1e-6)


class Pairs(AbstractEmbedding):
    """The neurons of `Initial` in the form of two layers."""

    initial: jl.Initial = jl.Initial()

    @property
    def biases(self):
        return ()

    def means(self, layers):
        return self.initial.w.mean, self.initial.c.mean

    def require_layers(self, layers):
        assert layers == 2

    def sample(self, key, widths, inputs):
        return self.weights_of(key, widths, inputs), ()

    def weights_of(self, key, widths, inputs):
        c, w = self.initial.sample(key, widths[0], inputs)
        return w, c


@pytest.mark.slow
def test_one_hidden_layer_is_the_mean_field_limit():
    """The same particles with the same start: two solvers of one equation, one of them written for it."""
    initial = jl.Initial(c=jl.initial.Uniform(-1, 2), w=NORMAL())
    deep = jl.Problem(THIN, jl.networks.Multilayer((TANH,), Pairs(initial)), jl.LayerwiseMeanField(), jl.Huber())
    shallow = jl.Problem(THIN, jl.networks.Shallow(TANH, initial), jl.MeanField(), jl.Huber())
    limit = jl.MultilayerLimit(deep, (64,), key=KEY, dtype=jnp.float64)
    other = jl.MeanFieldLimit(shallow, 64, key=KEY, dtype=jnp.float64)
    mine = limit.path(None, TS)
    assert np.max(np.abs(mine - other.path(mine[0], TS))) < 1e-7
    assert np.max(np.abs(mine[-1] - mine[0])) > 0.05


@pytest.mark.slow
def test_the_stated_error_is_that_of_the_particles_and_of_the_solver():
    """Against 4096 neurons: 2 σ would be exceeded now and then, 4 σ (pooled over points) is not."""
    question = problem(data=jl.data.sphere(4, 3))
    ts = [0.0, 1.0]
    solution = jl.MultilayerLimit(question, (128, 128), key=KEY).solve(ts)
    truth = np.mean([jl.MultilayerLimit(question, (512, 512), key=jax.random.key(s)).law(ts).mean for s in range(6)], 0)
    off = solution.values - truth
    pooled = np.sqrt(np.mean(off**2) / np.mean(solution.error**2))
    assert 0.2 < pooled < 4.0
    assert solution.error.shape == (2, 4)
    assert np.all(solution.solver_error < 1e-4)


@pytest.mark.slow
def test_a_wider_network_contains_the_narrower_one():
    question = problem(4)
    wide, narrow = (jl.MultilayerLimit(question, n, key=KEY).start for n in ((9, 8, 7), (4, 5, 6)))
    w1, w2, w3, w4 = wide.weights
    for mine, theirs in zip((w1[:4], w2[:4, :5], w3[:5, :6], w4[:6]), narrow.weights, strict=True):
        assert np.array_equal(mine, theirs)


def coupled(cases, ts, batch, reference, replicas):
    """RMS over neurons and replicas of w − w_limit for every layer, and of the outputs, at the last time.

    `cases` are questions and widths; ε is no part of their limit, which is solved once for each replica.
    """
    layers = range(len(reference) + 1)
    settings = {"key": KEY, "batch": batch, "observe": lambda now, _: now, "devices": jax.devices()[:1]}
    runs = [jl.simulate(question, (n,) * len(reference), ts, replicas=replicas, **settings) for question, n in cases]
    squares = np.zeros((len(cases), len(reference) + 2))
    for r in range(replicas):
        limit = jl.MultilayerLimit(cases[0][0], reference, key=jl.simulation.start_key(KEY, r))
        exact = [w[-1] for w in limit.parameters(ts).weights]
        x = cases[0][0].data.x.astype(np.float32)
        outputs = np.asarray(limit.network.apply(jl.networks.Layers(tuple(exact), ()), x))
        for row, run, (_, n) in zip(squares, runs, cases, strict=True):
            row[0] += np.mean((run.values[r, -1] - outputs) ** 2)
            for i in layers:
                part = exact[i][:n, :n] if 0 < i < layers[-1] else exact[i][:n]
                row[i + 1] += np.mean((run.observed.weights[i][r, -1] - part) ** 2)
    return np.sqrt(squares / replicas)


@pytest.mark.slow
def test_networks_reach_the_limit_neuron_by_neuron_like_the_root_of_the_width():
    """Slopes −1/2 in n for the output, w_1, w_2 and w_3, with all points at every step (ε small enough).

    32 replicas, each dominated by one direction: a log distance has a standard error of 1/√64, a slope (four widths
    over a factor 8) one of 0.07; reference networks of 8 times the largest width add less than 0.1 to it.
    """
    question, widths = problem(epsilon=0.01, data=jl.data.sphere(6, 3)), (16, 32, 64, 128)
    distances = coupled([(question, n) for n in widths], [2.0], None, (1024, 1024), 32)
    slopes = np.polyfit(np.log(widths), np.log(distances), 1)[0]
    assert np.all(np.abs(slopes + 0.5) < 0.3), slopes


@pytest.mark.slow
@pytest.mark.parametrize(("batch", "order", "largest", "replicas"), [(None, 1.0, 0.1, 3), (1, 0.5, 0.02, 96)])
def test_steps_reach_the_flow_of_the_same_particles(batch, order, largest, replicas):
    """The limit of the very neurons that are simulated: what is left is ε, or √ε with fresh samples.

    Without samples smaller steps would only show the rounding of float32. With them a log distance has a standard
    error of 1/√192, a slope over a factor 16 one of 0.04.
    """
    epsilons, n = (largest, largest / 4, largest / 16), 48
    cases = [(problem(epsilon=epsilon, data=jl.data.sphere(6, 3)), n) for epsilon in epsilons]
    distances = coupled(cases, [2.0], batch, (n, n), replicas)
    slopes = np.polyfit(np.log(epsilons), np.log(distances), 1)[0]
    assert np.all(np.abs(slopes - order) < (0.05 if batch is None else 0.2)), slopes


REFUSED = {
    "a shallow network": ("problem", lambda: jl.Problem(THIN, jl.networks.Shallow(TANH)), (8, 8), {}),
    "powers": ("problem", lambda: jl.Problem(THIN, problem().network, jl.DeepPowerScaling((0.5, 1))), (8, 8), {}),
    "a whole number": ("neurons", problem, 8, {}),
    "one layer too few": ("neurons", problem, (8,), {}),
    "none": ("neurons", problem, (8, 0), {}),
    "a tolerance": ("tolerance", problem, (8, 8), {"tolerance": 2.0}),
    "a solver": ("solver", problem, (8, 8), {"solver": "Tsit5"}),
    "a schedule too few": ("xi", lambda: problem(xi=(1.0,)), (8, 8), {}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name):
    argument, question, neurons, settings = REFUSED[name]
    with pytest.raises(ValueError, match=rf"^Argument `{argument}` must .+, but .+\.$"):
        jl.MultilayerLimit(question(), neurons, key=KEY, **settings)


def test_a_given_start_and_few_neurons_are_refused_and_a_solver_that_gives_up_says_so():
    limit = jl.MultilayerLimit(problem(), (8, 8), key=KEY, max_steps=2)
    with pytest.raises(ValueError, match="Argument `h0` must be None"):
        limit.path(np.zeros(3), TS)
    for answer in (limit.solve, limit.law):
        with pytest.raises(ValueError, match="Argument `neurons` must be 16 or more"):
            answer(TS)
    with pytest.raises(RuntimeError, match="The solver gave up before t = 2"):
        limit.path(None, TS)
