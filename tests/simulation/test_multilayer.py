"""Networks of several hidden layers: every replica of `simulate` is the oracle's path, and planted bugs are seen."""

import warnings
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.scalings import DeepPowerScaling, LayerwiseMeanField
from jaxlimit.simulation import _pieces, _state
from jaxlimit.simulation._families import family
from jaxlimit.simulation._multilayer import _kernel, _schedules
from tests import multilayer_oracle as oracle
from tests import systems
from tests.cases import ACTIVATIONS
from tests.oracle import assert_same, largest_difference

TOLERANCE = 1e-12
NORMAL = jl.initial.Normal
TANH, SIN = jl.activations.Tanh(), jl.activations.Sin()
DATA = {
    name: jl.Data(x, y, systems.uneven(len(y)))
    for name, x, y in (("full", systems.FULL_X, systems.FULL_Y), ("thin", systems.THIN_X, systems.THIN_Y))
}
EPSILON, TS = 0.1, (0.0, 0.3, 1.0, 2.5)
FUNCTIONS = {2: (oracle.TANH,), 3: (oracle.TANH, oracle.SIN), 4: (oracle.TANH, oracle.SIN, oracle.TANH)}
WIDTHS = {2: (6,), 3: (6, 5), 4: (6, 5, 4)}
HUBER = jl.Huber(0.7)
DERIVATIVE = lambda g, y: np.clip(g - y, -0.7, 0.7)  # noqa: E731
SLOW, SLOWER = pytest.mark.slow, [(3, 3), (2, None), (2, 1), (3, None), (3, 1), (4, 1), (4, 3)]
RISING = lambda t: 1.0 + 0.5 * t  # noqa: E731


def network(layers=3, biases=False, mean=0.5, **settings):
    laws = (NORMAL(0, 1), *(NORMAL(mean, 1),) * (layers - 1))
    law = jl.initial.IndependentLayers(laws, (NORMAL(0, 0.3),) * layers if biases else ())
    return jl.networks.Multilayer((TANH, SIN, TANH)[: layers - 1], law, **settings)


def problem(layers=3, data="full", scaling=None, loss=HUBER, alpha=1.0, **settings):
    scaling = LayerwiseMeanField(EPSILON) if scaling is None else scaling
    return jl.Problem(DATA[data], network(layers, **settings), scaling, loss, alpha)


def everything(now, start):
    """One function for all runs: a new one would be a new program."""
    return now, start


def run(question, **settings):
    width = WIDTHS[question.network.layers]
    return systems.run(question, width, **{"ts": TS, "replicas": 2, "observe": everything, **settings})


def replay(question, replica, batch, last=oracle.IDENTITY, rules=oracle.RULES, at=None, derivative=DERIVATIVE):
    net, width, key = question.network, WIDTHS[question.network.layers], jax.random.key(0)
    stops = [question.scaling.steps(t, width) for t in TS]
    weights, biases, indices = jl.simulation.draws(question, width, key, replica, stops[-1] + 2, batch)
    functions = (*FUNCTIONS[net.layers], last)
    indices = indices.reshape(len(indices), -1)
    settings = {"alpha": question.learning_rate, "rules": rules, "at": at, "train": net.trained}
    return oracle.chain(question.data, weights, biases, indices, stops, EPSILON, functions, derivative, **settings)


def assert_follows(question, batch, at=None, tolerance=TOLERANCE, oracle_settings=None, **settings):
    samples = run(question, batch=batch, at=at, **settings)
    for replica in range(samples.replicas):
        path = replay(question, replica, batch, at=at, **(oracle_settings or {}))
        assert_same(samples.values[replica], path.values, tolerance)
        now, start = samples.observed
        for found, expected in zip((*now.weights, *now.biases), (*path.weights, *path.biases), strict=True):
            assert_same(found[replica, -1], expected, tolerance)
        drawn = jl.simulation.draws(question, samples.width, jax.random.key(0), replica, 0)[0]
        for found, expected in zip(start.weights, drawn, strict=True):
            assert np.array_equal(found[replica, -1], expected.astype(found.dtype))
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 0.01
    return samples


@pytest.mark.parametrize(("layers", "batch"), [(4, None), *(pytest.param(*case, marks=SLOW) for case in SLOWER)])
def test_paths_are_those_of_the_oracle_inside_and_outside_the_span_of_the_data(layers, batch):
    question = problem(layers, "thin", alpha=1.5)
    samples = assert_follows(question, batch, systems.THIN_AT)
    assert samples.steps.tolist() == oracle.stops_of(TS, EPSILON)
    assert samples.width == WIDTHS[layers]
    assert samples.cost == sum(WIDTHS[layers]) * samples.steps[-1]


@pytest.mark.slow
@pytest.mark.parametrize("batch", [2, None])
def test_biases_schedules_and_an_output_function_are_followed(batch):
    """ξ_1 rises with time, ξ_2 is a number, ξ_3 falls."""
    falling = lambda t: jnp.exp(-t)  # noqa: E731
    scaling = LayerwiseMeanField(EPSILON, (RISING, 0.5, falling))
    rules = oracle.Rules(xi=(RISING, lambda t: 0.5, lambda t: np.exp(-t)))
    question = problem(scaling=scaling, biases=True, output=TANH)
    assert_follows(question, batch, oracle_settings={"rules": rules, "last": oracle.TANH})


@pytest.mark.slow
def test_layers_that_do_not_learn_stay_where_they_are():
    question = problem(biases=True, train=(False, True, False))
    now, start = assert_follows(question, None).observed
    for layer, moves in enumerate(question.network.trained):
        for found, before in ((now.weights, start.weights), (now.biases, start.biases)):
            assert np.array_equal(found[layer], before[layer]) != moves


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "derivative"),
    [
        (jl.SquaredError(), lambda g, y: g - y),
        (jl.PseudoHuber(), lambda g, y: (g - y) / np.sqrt(1 + (g - y) ** 2)),
        (jl.losses.BoundedQuadratic(), lambda g, y: 2 * (g - y) / (1 + (g - y) ** 2) ** 2),
    ],
)
def test_losses_are_followed_the_non_convex_one_too(loss, derivative):
    assert_follows(problem(loss=loss), None, oracle_settings={"derivative": derivative})


@pytest.mark.parametrize(
    ("layers", "batch"), [(3, None), *(pytest.param(*case, marks=SLOW) for case in [(2, None), (4, None), (4, 1)])]
)
def test_powers_of_the_widths_have_the_multipliers_of_the_papers(layers, batch):
    gammas = (0.6, 0.9, 0.75)[: layers - 1]
    rules = oracle.Rules(
        factors=lambda widths: [n**-g for n, g in zip(widths, gammas, strict=True)], rates=oracle.power_rates(gammas)
    )
    question = problem(layers, scaling=DeepPowerScaling(gammas), mean=0.0)
    samples = assert_follows(question, batch, oracle_settings={"rules": rules})
    assert samples.steps[-1] == int(2.5 * WIDTHS[layers][-1])


def test_the_oracle_with_one_hidden_layer_follows_the_shallow_network():
    """The two families agree through it: the multipliers of one hidden layer are those of `PowerScaling`."""
    gamma, width = 0.75, 24
    shallow = systems.problem(ACTIVATIONS["tanh"], DATA["full"], gamma=gamma)
    samples = systems.run(shallow, width, ts=TS, replicas=1, batch=None)
    c, w, _ = jl.simulation.draws(shallow, width, jax.random.key(0), 0, 0)
    rules = oracle.Rules(factors=lambda widths: [width**-gamma], rates=oracle.power_rates((gamma,)))
    stops = samples.steps.tolist()
    nothing = np.zeros((stops[-1], 0), int)
    functions = (oracle.TANH, oracle.IDENTITY)
    path = oracle.chain(DATA["full"], [w, c], [], nothing, stops, 1.0, functions, lambda g, y: g - y, rules=rules)
    assert_same(samples.values[0], path.values, TOLERANCE)


@pytest.mark.slow
def test_float32_follows_the_same_path():
    question = problem(4, biases=True)
    single = run(question, dtype=jnp.float32, batch=2)
    double = run(question, batch=2)
    assert single.values.dtype == np.float32
    assert largest_difference(single.values, double.values) < 2e-5


def test_the_mean_loss_falls_along_minus_its_gradient():
    """One step of all points moves w_i by −rate_i times the numerical derivative of the mean of r²/(1 + r²)."""
    question = problem(biases=True, loss=jl.losses.BoundedQuadratic())
    net, width, data = question.network, WIDTHS[3], question.data
    weights, biases, _ = jl.simulation.draws(question, width, jax.random.key(0), 0, 0)
    start = [np.asarray(a, np.float64) for a in (*weights, *biases)]
    functions, factors = (*FUNCTIONS[3], oracle.IDENTITY), [1 / n for n in width]

    def loss(arrays):
        g = oracle.outputs(data.x, arrays[:3], arrays[3:], functions, factors)[1]
        return data.weights @ (1 - 1 / (1 + (g - data.y) ** 2))

    samples = run(question, ts=[EPSILON], batch=None)
    now, _ = samples.observed
    rates = (*oracle.mean_field_rates(width, EPSILON), *(EPSILON * n for n in (*width, 1)))
    for number, (found, rate) in enumerate(zip((*now.weights, *now.biases), rates, strict=True)):
        for place in np.ndindex(start[number].shape):
            h, ends = 1e-5, []
            for sign in (1, -1):
                arrays = [a.copy() for a in start]
                arrays[number][place] += sign * h
                ends.append(loss(arrays))
            expected = start[number][place] - rate * (ends[0] - ends[1]) / (2 * h)
            assert abs(found[(0, 0, *place)] - expected) < 1e-8
    assert net.layers == 3


def lost(factor):
    def rates(widths, epsilon):
        found = oracle.mean_field_rates(widths, epsilon)
        found[1] /= widths[factor]
        return found

    return rates


XI = (RISING, lambda t: 1.0, lambda t: 1.0)
BUGS = {
    "n_1 lost": {"rates": lost(0)},
    "n_2 lost": {"rates": lost(1)},
    "a sum for an average": {"factors": lambda widths: [1 / widths[0], 1.0]},
    "widths exchanged": {"factors": lambda widths: [1 / widths[1], 1 / widths[0]]},
    "the bias's n_i lost": {"bias_rates": lambda widths, epsilon: [epsilon] * 3},
    "another layer's schedule": {"xi": (XI[1], XI[0], XI[2])},
    "no schedule": {"xi": ()},
    "the time of the next step": {"time": lambda k, epsilon: (k + 1) * epsilon},
    "gradients at new weights": {"old": False},
}


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_seen(bug, honest):
    question, values = honest
    rules = replace(oracle.Rules(xi=XI), **BUGS[bug])
    assert largest_difference(values, replay(question, 0, None, rules=rules).values) > 1e5 * TOLERANCE


@pytest.fixture(scope="module")
def honest():
    question = problem(biases=True, scaling=LayerwiseMeanField(EPSILON, XI_OF_JAX))
    values = run(question, batch=None).values[0]
    assert_same(values, replay(question, 0, None, rules=oracle.Rules(xi=XI)).values, TOLERANCE)
    return question, values


XI_OF_JAX = (RISING, 1.0, 1.0)


def test_replicas_depend_on_the_key_and_their_number_alone():
    question = problem()
    five = run(question, replicas=5)
    assert systems.same_bits(five, run(question, replicas=4, method=jl.Stepwise(lanes=2)), 4)
    later = run(question, replicas=2, first=2)
    assert np.array_equal(later.values, five.values[2:4])


@pytest.mark.slow
def test_long_runs_are_cut_without_changing_a_bit(monkeypatch):
    question = problem()
    whole = run(question)
    done = []
    monkeypatch.setattr(_pieces, "PIECE_SECONDS", 1e-5)
    cut = run(question, progress=lambda now, total: done.append(now / total))
    assert systems.same_bits(whole, cut, 2)
    assert len(done) > 4
    assert done[-1] == 1.0


@pytest.mark.slow
def test_replicas_together_agree_with_replicas_in_turn():
    """What an accelerator runs, here: batches of products."""
    question = problem(4, "thin", biases=True)
    in_turn = run(question, at=systems.THIN_AT, batch=2)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_state.Run, "on_cpus", property(lambda self: False))
        together = run(question, at=systems.THIN_AT, batch=2)
    assert_same(together.values, in_turn.values, TOLERANCE)


@pytest.mark.slow
def test_a_replica_that_explodes_is_recorded():
    data = jl.Data(systems.FULL_X, np.sign(systems.FULL_Y))
    question = jl.Problem(data, network(), LayerwiseMeanField(EPSILON), jl.losses.Exponential(), 1e30)
    with pytest.warns(UserWarning, match="diverged"):
        samples = run(question, batch=None, dtype=jnp.float32)
    assert samples.diverged == 2


@pytest.mark.parametrize("batch", [None, 1])
def test_steps_beyond_stability_are_refused_and_smaller_ones_are_not(batch):
    question = problem(loss=jl.SquaredError(), alpha=1.0)
    with pytest.raises(ValueError, match=r"Argument `learning_rate` must keep a step stable, .* lower it, or the step"):
        run(replace_alpha(question, 1e3), batch=batch)
    run(question, batch=batch)


def replace_alpha(question, alpha):
    return jl.Problem(question.data, question.network, question.scaling, question.loss, alpha)


def test_the_kernel_of_a_step_is_what_a_small_step_does():
    """g(x) after one tiny step on all points is g − α K diag(π) ℓ'."""
    question = problem(biases=True, loss=jl.SquaredError(), scaling=LayerwiseMeanField(1e-6, 0.5), output=TANH)
    factors = jax.tree.map(np.float32, family(question.network).factors(question, WIDTHS[3]))
    samples = run(question, ts=[0.0, 1e-6], batch=None, replicas=1)
    key = jax.random.key(0)
    kernel = np.asarray(
        _kernel(question.network, _schedules(question), WIDTHS[3], DATA["full"].x.astype(np.float32), factors, key)
    )
    before, after = samples.values[0]
    expected = -kernel @ (DATA["full"].weights * (before - DATA["full"].y))
    assert np.allclose(after - before, expected, rtol=1e-4, atol=1e-12)


REFUSED = {
    "blocks": ("method", {"method": jl.SStep(lanes=2)}),
    "native": ("native", {"method": jl.Stepwise(native=True)}),
    "a whole number": ("width", {"width": 6}),
    "too many widths": ("width", {"width": (6, 5, 4)}),
    "a width of zero": ("width", {"width": (6, 0)}),
    "an optimiser": ("optimiser", {"optimiser": object()}),
    "one factor": ("problem", {"problem": jl.Problem(DATA["full"], network())}),
    "a schedule too few": ("xi", {"problem": problem(scaling=LayerwiseMeanField(0.1, (1.0, 1.0)))}),
    "γ too few": ("width", {"problem": problem(scaling=DeepPowerScaling((0.5,)))}),
    "biases without a rate": ("problem", {"problem": problem(biases=True, scaling=DeepPowerScaling((0.5, 0.5)))}),
    "shallow with layers": (
        "problem",
        {"problem": jl.Problem(DATA["full"], jl.networks.Shallow(TANH), LayerwiseMeanField()), "width": 4},
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name):
    argument, settings = REFUSED[name]
    settings = {"problem": problem(), "width": WIDTHS[3], "ts": TS, "replicas": 2, "key": jax.random.key(0), **settings}
    with pytest.raises(ValueError, match=rf"^Argument `{argument}` must .+, but .+\.$"):
        jl.simulate(settings.pop("problem"), settings.pop("width"), settings.pop("ts"), **settings)


def test_means_that_make_sums_grow_are_warned_of():
    with pytest.warns(UserWarning, match="E w_2 = 0.5 ≠ 0"):
        run(problem(scaling=DeepPowerScaling((0.6, 1.0))))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(problem(scaling=DeepPowerScaling((1.0, 1.0))))
