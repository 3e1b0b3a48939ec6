"""Tangents: every replica of `simulate` is the path of an oracle, coupled to its network, and planted bugs are seen."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlimit as jl
from jaxlimit.networks import Linearised, Neurons, Shallow, Tangent
from jaxlimit.simulation import _pieces, _state
from jaxlimit.simulation._choose import chosen_method
from jaxlimit.simulation._families import family
from jaxlimit.simulation._memory import features
from jaxlimit.simulation._state import Run
from tests import layer_cases, systems
from tests.cases import ACTIVATIONS
from tests.oracle import assert_same, drawn, largest_difference, replay

TOLERANCE, MARGIN = 1e-12, 1e6
CASE, KEY, WIDTH = ACTIVATIONS["erf"], jax.random.key(0), 12
DATA = jl.Data(systems.THIN_X, systems.THIN_Y, systems.uneven(3))
SQUARED, SQUARE, HUBER = jl.SquaredError(), (lambda g, y: g - y), (lambda g, y: np.clip(g - y, -0.3, 0.3))


@dataclass(frozen=True)
class Setting:
    """A scaling with its increment and the steps of its times, what a step takes, what learns, and the loss."""

    scaling: Any
    increment: float
    stops: tuple
    batch: int | None
    train_output: bool = True
    loss: Any = SQUARED
    derivative: Any = SQUARE

    @property
    def shallow(self):
        network = Shallow(CASE.activation, jl.Initial(), self.train_output)
        return jl.Problem(DATA, network, self.scaling, self.loss, 1.5)

    @property
    def problem(self):
        return jl.Problem(DATA, Linearised(self.shallow.network), self.scaling, self.loss, 1.5)


POWER, FIXED = jl.PowerScaling(0.75), jl.FixedStep(0.3)
SETTINGS = {
    "a sample": Setting(POWER, 1.5 * WIDTH**-1.25, (0, 3, 12, 30), 1),
    "all points, c frozen": Setting(POWER, 1.5 * WIDTH**-1.25, (0, 3, 12, 30), None, False),
    "all points, fixed step": Setting(FIXED, 1.5 * 0.3 * WIDTH**-0.5, (0, 1, 7, 20), None),
    "three samples, fixed step, c frozen, Huber": Setting(
        FIXED, 1.5 * 0.3 * WIDTH**-0.5, (0, 1, 7, 20), 3, False, jl.Huber(0.3), HUBER
    ),
}


def everything(now, start):
    """One function for all runs: a new one would be a new program."""
    return now, start


def times(setting):
    return setting.stops if setting.scaling is FIXED else [stop / WIDTH for stop in setting.stops]


def run(setting, problem=None, **settings):
    settings = {"batch": setting.batch, "replicas": 2, "observe": everything, "at": systems.THIN_AT, **settings}
    return systems.run(problem or setting.problem, WIDTH, times(setting), **settings)


@dataclass(frozen=True)
class Rules:
    """The tangent's formulae, of (at the start, now): another one is a planted bug."""

    features: Any = lambda start, now: start
    slopes: Any = lambda start, now: start
    weight: Any = lambda start, now: start
    values: Any = lambda f: f
    shares: Any = lambda weights: weights


def oracle(setting, replica, rules=None):
    """The chain of the tangent from the draws of the Shallow network, in original coordinates; outputs, c and w."""
    rules = rules or Rules()
    steps = setting.stops[-1]
    c_0, w_0, indices = drawn(setting.shallow, WIDTH, KEY, replica, steps, setting.batch)
    c_0, w_0 = np.asarray(c_0, np.float64), np.asarray(w_0, np.float64)
    seen, y, n = np.concatenate([DATA.x, systems.THIN_AT]), DATA.y, len(DATA.y)
    output, c, w, saved = WIDTH**-setting.scaling.gamma, c_0, w_0, []

    def plane(c, w):
        u_0, u = seen @ w_0.T, seen @ w.T
        f, s = rules.features(CASE.sigma(u_0), CASE.sigma(u)), rules.slopes(CASE.slope(u_0), CASE.slope(u))
        s = s * rules.weight(c_0, c)
        g = rules.values(CASE.sigma(u_0) @ c_0) + f @ (c - c_0) + np.sum(s * ((w - w_0) @ seen.T).T, axis=1)
        return f, s, output * g

    for k in range(steps + 1):
        f, s, g = plane(c, w)
        saved += [(g, c, w)] * (k in setting.stops)
        if k == steps:
            break
        shares = rules.shares(DATA.weights)
        if setting.batch:
            shares = np.bincount(np.atleast_1d(indices[k]), minlength=n) / setting.batch
        e = -setting.increment * shares * setting.derivative(g[:n], y)
        c, w = c + e @ f[:n] * setting.train_output, w + (e[:, None] * s[:n]).T @ DATA.x
    return tuple(np.array(part) for part in zip(*saved, strict=True))


class Runs(dict):
    """The runs by their names, each made once when it is asked for."""

    def __missing__(self, name):
        self[name] = run(SETTINGS[name])
        return self[name]


@pytest.fixture(scope="module")
def samples():
    return Runs()


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=pytest.mark.slow if name == "all points, c frozen" else ()) for name in SETTINGS],
)
def test_paths_are_those_of_the_oracle_inside_and_outside_the_span_of_the_data(samples, name):
    setting, found = SETTINGS[name], samples[name]
    now, start = found.observed
    assert isinstance(now, Neurons)
    assert isinstance(start, Neurons)
    for replica in range(2):
        values, c, w = oracle(setting, replica)
        assert_same(found.values[replica], values, TOLERANCE)
        assert_same(now.c[replica], c, TOLERANCE)
        assert_same(now.w[replica], w, TOLERANCE)
    assert found.steps.tolist() == list(setting.stops)
    assert found.method == "Stepwise(native=False)"
    assert largest_difference(found.values[:, -1], found.values[:, 0]) > 0.1
    assert np.array_equal(now.c[:, -1], start.c[:, 0]) != setting.train_output


BUGS = {
    "features move": Rules(features=lambda start, now: now),
    "slopes move": Rules(slopes=lambda start, now: now),
    "c in the place of its start": Rules(weight=lambda start, now: now),
    "no output at the start": Rules(values=lambda f: 0 * f),
    "uniform weights": Rules(shares=lambda weights: np.full(len(weights), 1 / len(weights))),
}


@pytest.mark.parametrize("bug", BUGS)
def test_a_wrong_formula_is_caught(samples, bug):
    name = "all points, fixed step"
    wrong, _, _ = oracle(SETTINGS[name], 1, BUGS[bug])
    assert largest_difference(samples[name].values[1, 1:], wrong[1:]) > MARGIN * TOLERANCE


def test_the_network_itself_is_caught(samples):
    """Features that move: the chain of the twin, with the same draws, is another one, alike at the start alone."""
    setting = SETTINGS["a sample"]
    path = replay(setting.shallow, CASE, WIDTH, KEY, 1, times(setting), systems.THIN_AT)
    found = samples["a sample"].values[1]
    assert_same(found[0], path.values[0], TOLERANCE)
    assert largest_difference(found[1:], path.values[1:]) > MARGIN * TOLERANCE


def test_twins_start_from_the_same_bits_and_draws_are_those_of_the_network(samples):
    setting = SETTINGS["a sample"]
    network = run(setting, setting.shallow, method=jl.Stepwise(lanes=systems.LANES, native=False))
    for ours, theirs in zip(samples["a sample"].observed[1], network.observed[1], strict=True):
        assert np.array_equal(ours, theirs)
    ours, theirs = (jl.simulation.draws(problem, WIDTH, KEY, 1, 20) for problem in (setting.problem, setting.shallow))
    assert all(np.array_equal(one, other) for one, other in zip(ours, theirs, strict=True))


def test_residuals_of_gradient_descent_are_powers_of_the_kernel_at_the_start(samples):
    """f_k − y = (I − αηN^{1−2γ} B_N diag π)^k (f_0 − y): the kernel is that of its own file, and never moves."""
    setting, found = SETTINGS["all points, fixed step"], samples["all points, fixed step"]
    start, network = jax.tree.map(lambda a: a[:, 0], found.observed[1]), setting.shallow.network
    kernels = np.asarray(jl.empirical_gram(network, start, DATA.x))
    for values, kernel in zip(found.values[:, :, :3], kernels, strict=True):
        step = np.eye(3) - 1.5 * 0.3 * kernel * DATA.weights
        for stop, value in zip(setting.stops, values, strict=True):
            assert_same(value - DATA.y, np.linalg.matrix_power(step, stop) @ (values[0] - DATA.y), TOLERANCE)


@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_apply_is_the_tangent_of_apply(name):
    """Against forward differentiation by JAX."""
    shallow = Shallow(ACTIVATIONS[name].activation)
    start, end = (jax.tree.map(jnp.float64, shallow.init(WIDTH, 3, jax.random.key(seed))) for seed in (1, 2))
    x, move = jnp.asarray(systems.FULL_X), jax.tree.map(jnp.subtract, end, start)
    value, slope = jax.jvp(lambda p: shallow.apply(p, x), (start,), (move,))
    network = Linearised(shallow)
    assert_same(network.apply(Tangent(end, start), x), np.asarray(value + slope), TOLERANCE)
    drawn = network.init(WIDTH, 3, jax.random.key(1))
    assert all(np.array_equal(one, other) for one, other in zip(drawn.now, drawn.start, strict=True))
    assert all(np.array_equal(one, np.float32(other)) for one, other in zip(drawn.start, start, strict=True))


def test_apply_on_what_is_observed_is_the_output(samples):
    setting, found = SETTINGS["a sample"], samples["a sample"]
    now, start = jax.tree.map(lambda a: jnp.asarray(a[1, -1]), found.observed)
    x = jnp.asarray(np.concatenate([DATA.x, systems.THIN_AT]))
    value = WIDTH**-0.75 * setting.problem.network.apply(Tangent(now, start), x)
    assert_same(value, found.values[1, -1], TOLERANCE)


@pytest.mark.slow
@pytest.mark.parametrize(("law", "power"), [("symmetric", 1.0), ("skew", 0.5)])
def test_twins_come_together_as_the_width_grows(law, power):
    """At γ = 1/2 they are N^{−1/2} E c³ + O(1/N) apart, from 64 to 1024 neurons a factor of 4, or 16 where E c³ = 0.

    Second derivatives of f^N along a neuron's move, of order N^{−1/2} c_i, add up to N^{−1/2} E c³. The logarithm of
    the factor, from 64 replicas, has a standard deviation of 0.15 or so: the interval is four of them (false alarms
    1e-4 over keys) to either side, and the other power is nine away.
    """
    c = {"symmetric": jl.initial.Rademacher(), "skew": jl.initial.Discrete((2.0, -1.0), (1 / 3, 2 / 3))}[law]
    data = jl.Data(systems.FULL_X, systems.FULL_Y)
    shallow = jl.Problem(data, Shallow(jl.activations.SinCos(), jl.Initial(c=c)))
    linear = jl.Problem(data, Linearised(shallow.network))
    settings = {"replicas": 64, "batch": None, "method": jl.Stepwise(native=False)}
    apart = []
    for width in (64, 1024):
        first, second = (systems.run(p, width, (0.0, 1.0), seed=3, **settings) for p in (shallow, linear))
        assert_same(first.values[:, 0], second.values[:, 0], TOLERANCE)
        apart.append(np.sqrt(np.mean((first.values - second.values)[:, 1] ** 2)))
    assert abs(np.log(apart[0] / apart[1]) - power * np.log(16)) < 0.6


@pytest.mark.slow
def test_float32_follows_float64(samples):
    single = run(SETTINGS["a sample"], dtype=jnp.float32)
    assert single.values.dtype == np.float32
    assert_same(single.values, samples["a sample"].values, 2e-5)


def test_pieces_replicas_and_devices_change_no_bit(samples, monkeypatch):
    setting = SETTINGS["a sample"]
    monkeypatch.setattr(_pieces, "PIECE_SECONDS", 1e-12)
    done = []
    cut = run(setting, replicas=3, devices=jax.devices()[:2], progress=lambda now, total: done.append(now / total))
    assert systems.same_bits(samples["a sample"], cut, 2)
    assert len(done) > 4
    assert done[-1] == 1.0
    last = run(setting, replicas=1, first=2)
    assert np.array_equal(last.values[0], cut.values[2])


@pytest.mark.slow
@pytest.mark.parametrize("name", SETTINGS)
def test_replicas_together_agree_with_replicas_in_turn(samples, name):
    """What an accelerator runs, here: batches of products."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_state.Run, "on_cpus", property(lambda self: False))
        together = run(SETTINGS[name])
    assert_same(together.values, samples[name].values, TOLERANCE)
    for ours, theirs in zip(*(jax.tree.leaves(s.observed) for s in (together, samples[name])), strict=True):
        assert_same(ours, theirs, TOLERANCE)


@pytest.mark.slow
def test_a_replica_that_explodes_is_recorded():
    """The exponential loss has no bound of its curvature, so the step is not refused before."""
    data = jl.Data(systems.FULL_X, np.sign(systems.FULL_Y))
    network = Linearised(Shallow(jl.activations.Relu()))
    problem = jl.Problem(data, network, jl.FixedStep(1e6, 0.0), jl.losses.Exponential())
    with pytest.warns(UserWarning, match="diverged"):
        samples = jl.simulate(problem, WIDTH, [0, 50], replicas=2, key=KEY, batch=None)
    assert samples.diverged > 0


def run_of(problem, extra=0):
    return Run(problem, problem.network, 4096, 3, extra, 8192, 1, np.dtype(np.float32), (jax.devices()[0],))


def test_method_none_is_the_chain_and_counts_the_features_that_it_keeps():
    linear = SETTINGS["a sample"].problem
    assert isinstance(chosen_method(run_of(linear)), jl.Stepwise)
    bare, seen = (jl.Stepwise(native=False).chain(run_of(linear, extra)).state for extra in (0, 100))
    assert seen - bare == 2 * features(run_of(linear), 100)
    assert bare > 2 * features(run_of(linear), 3)


@pytest.mark.parametrize("share", [0.9, 1.1])
def test_a_step_is_stable_up_to_the_largest_eigenvalue(share):
    """αη λ_max(B diag π) = 2, where B is that of the network at the start, estimated to some per cent."""
    shallow, root = SETTINGS["a sample"].shallow.network, np.sqrt(DATA.weights)
    largest = np.linalg.eigvalsh(root[:, None] * jl.gram(shallow, DATA.x).value * root)[-1]
    problem = jl.Problem(DATA, Linearised(shallow), jl.FixedStep(share * 2 / largest))
    check = lambda: family(problem.network).check(problem, 64, KEY, None, sgd=True)  # noqa: E731
    if share < 1:
        check()
    else:
        with pytest.raises(ValueError, match=r"Argument `learning_rate` must keep a step stable, .* λ_max"):
            check()


def test_a_mean_of_c_without_a_limit_is_warned_of():
    problem = jl.Problem(DATA, Linearised(Shallow(CASE.activation, jl.Initial(c=jl.initial.Uniform(0.0, 1.0)))))
    with pytest.warns(UserWarning, match="E c = 0.5 ≠ 0"):
        family(problem.network).check(problem, WIDTH, KEY, 1, sgd=True)


NETWORK = Linearised(Shallow(CASE.activation, jl.Initial(c=jl.initial.Rademacher())))


def simulated(problem=None, width=8, **settings):
    return jl.simulate(problem or jl.Problem(DATA, NETWORK), width, [0.0], replicas=1, key=KEY, **settings)


def limit(kind, scaling):
    return lambda: kind(jl.Problem(DATA, NETWORK, scaling))


REFUSED = {
    "the tangent of several layers": ("network", lambda: Linearised(layer_cases.NETWORKS["multilayer"])),
    "the tangent of a tangent": ("network", lambda: Linearised(NETWORK)),
    "the tangent of a class": ("network", lambda: Linearised(Shallow)),
    "blocks": ("method", lambda: simulated(method=jl.SStep(4))),
    "the native loop": ("native", lambda: simulated(method=jl.Stepwise(native=True))),
    "an optimiser": ("optimiser", lambda: simulated(optimiser=optax.sgd(0.1))),
    "a tuple of widths": ("width", lambda: simulated(width=(8, 8))),
    "a factor per layer": ("problem", lambda: simulated(jl.Problem(DATA, NETWORK, jl.LayerwiseMeanField(0.1)))),
    "halves": (
        "problem",
        lambda: jl.simulation.antithetic(jl.Problem(DATA, NETWORK), 8, [0.0], replicas=1, key=KEY),
    ),
    "its kernel": ("network", lambda: jl.gram(NETWORK, DATA.x)),
    "its covariance": ("network", lambda: jl.kernels.initial_covariance(NETWORK, DATA.x)),
    "its empirical kernel": ("network", lambda: jl.empirical_gram(NETWORK, NETWORK.init(8, 5, KEY), DATA.x)),
    "sets of its neurons": (
        "network",
        lambda: jl.kernels.lambda_min_replicates(NETWORK, DATA.x, neurons=8, replicas=2, key=KEY),
    ),
    "the spectral limit": ("problem", limit(jl.SpectralLimit, jl.Xavier())),
    "the Krylov limit": ("problem", limit(jl.KrylovLimit, jl.Xavier())),
    "the solver's limit": ("problem", limit(jl.OdeLimit, jl.Xavier())),
    "the fluctuation limit": ("problem", limit(lambda problem: jl.FluctuationLimit(problem, key=KEY), POWER)),
    "the flow in ε": ("problem", limit(lambda problem: jl.EpsilonFlow(problem, 0.1, key=KEY), jl.MeanField())),
    "the limit of mean field": ("problem", limit(lambda problem: jl.MeanFieldLimit(problem, key=KEY), jl.MeanField())),
    "the limit of several layers": (
        "problem",
        limit(lambda problem: jl.MultilayerLimit(problem, (8,), key=KEY), jl.LayerwiseMeanField(0.1)),
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_by_name(what):
    name, attempt = REFUSED[what]
    with pytest.raises(ValueError, match=rf"^Argument `{name}` must .+, but .+\.$"):
        attempt()
