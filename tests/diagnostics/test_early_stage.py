"""Hitting times, the first descent and the chance of an empty true-living set, against networks and loops."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from tests.diagnostics.aligned import aligned_data, signed_problem

KEY = jax.random.key(1)
LOSSES = {
    "square": (jl.SquaredError(), 1.0),
    "logistic": (jl.losses.Logistic(), 0.25),
    "exponential": (jl.losses.Exponential(), 1.0),
}


@pytest.mark.parametrize(
    "name",
    ["square", pytest.param("logistic", marks=pytest.mark.slow), pytest.param("exponential", marks=pytest.mark.slow)],
)
def test_one_small_step_descends_at_the_predicted_rate(name):
    """200 networks of width 64, step 10⁻³: mean within 5 standard errors (6e-7), deviation within 5/√400."""
    loss, square = LOSSES[name]
    problem, width, eta, replicas = signed_problem(loss, 0.003, 1e-3), 64, 1e-3, 200
    rate = jl.diagnostics.initial_descent_rate(problem, width, key=jax.random.key(5))
    x, y = problem.data.x, problem.data.y
    inner = np.clip(x @ x.T, -1.0, 1.0)
    kernel = inner * (np.pi - np.arccos(inner)) / (2 * np.pi)
    assert rate.hidden == pytest.approx(-square * y @ kernel @ y / len(y) ** 2, rel=1e-7)
    assert rate.value == rate.hidden + rate.output
    settings = {"batch": None, "dtype": jnp.float64, "devices": jax.devices()[:1]}
    samples = jl.simulate(problem, width, [0.0, 1.0], replicas=replicas, key=KEY, **settings)
    found = np.diff(jl.diagnostics.training_loss(problem, samples), axis=1)[:, 0] / eta
    deviation = np.std(found, ddof=1)
    # A step of 10⁻³ has a second order of that size.
    assert abs(found.mean() - rate.value) < 5 * deviation / replicas**0.5 + eta * abs(rate.value)
    low, high = rate.interval(replicas)
    assert low < found.mean() < high
    assert high - low < 0.05 * abs(rate.value)
    assert abs(deviation / rate.deviation - 1) < 0.25
    assert rate.deviation_error < 0.03 * rate.deviation


def test_the_rate_is_that_of_the_gradient_whatever_scaling_law_weights_and_activation():
    """|∇L|² by autodiff in 400 networks: smooth σ, uneven weights, N^{−0.7}, c uniform, and an output that is not 0."""
    x, width, gamma = aligned_data(5, 3).x, 200, 0.7
    data = jl.Data(x, [1.0, -2.0, 0.5, 1.5, -1.0], [1.0, 2.0, 3.0, 1.0, 1.0])
    for trained in (True, False):
        network = jl.networks.Shallow(
            jl.activations.Erf(), jl.Initial(jl.initial.Uniform(), jl.initial.Normal()), trained
        )
        problem = jl.Problem(data, network, jl.FixedStep(0.1, gamma))
        rate = jl.diagnostics.initial_descent_rate(problem, width, key=jax.random.key(2))

        def descent(key, network=network, trained=trained):
            def loss(c, w):
                outputs = network.apply(jl.networks.Neurons(c, w), jnp.asarray(x, jnp.float32)) * width**-gamma
                return (
                    jnp.sum(jnp.asarray(data.weights, jnp.float32) * (outputs - jnp.asarray(data.y, jnp.float32)) ** 2)
                    / 2
                )

            of_c, of_w = jax.grad(loss, (0, 1))(*network.init(width, 3, key))
            return -jnp.sum(of_w**2) - (jnp.sum(of_c**2) if trained else 0.0)

        found = np.asarray(jax.jit(jax.vmap(descent))(jax.random.split(KEY, 400)), np.float64)
        low, high = rate.interval(400)
        assert low < found.mean() < high
        # Without what the output at the start adds to the second order, the interval is too narrow here.
        assert abs(found.mean() - rate.value) < rate.error + 5 * found.std() / 20
        assert abs(found.std() / rate.deviation - 1) < 0.3


def samples_of(values, steps, width=8):
    values = np.asarray(values, np.float64)
    steps = np.asarray(steps)
    return jl.Samples(steps.astype(float), values, None, steps, np.full(len(values), -1), "Stepwise", width, 1)


def test_hitting_times_are_whole_saved_steps_and_say_when_they_were_missed():
    """Losses ½g² of one point with target 0: the level is met with equality, never, at the start, and after a loss."""
    problem = signed_problem(jl.SquaredError(), 0.02, 0.1, jl.Data([[1.0, 0.0]], [0.0]))
    outputs = [[2.0, 1.0, 0.5], [2.0, 2.0, 2.0], [1.0, 3.0, 3.0], [2.0, np.nan, np.inf]]
    values = np.stack([np.asarray(outputs), np.zeros((4, 3))], axis=-1)  # an extra input, which does not count
    found = jl.diagnostics.hitting_times(problem, samples_of(values, [0, 4, 7]), 0.5)
    assert found.steps.tolist() == [4, -1, 0, -1]
    assert found.after.tolist() == [0, 7, -1, 7]
    loss = jl.diagnostics.training_loss(problem, samples_of(values, [0, 4, 7]))
    assert np.array_equal(loss, np.square(outputs) / 2, equal_nan=True)


def test_a_dip_between_saves_is_not_seen():
    """The loss of SGD is not monotone: it is at the level at step 2, and again from step 4 on."""
    problem = signed_problem(jl.SquaredError(), 0.02, 0.1, jl.Data([[1.0, 0.0]], [0.0]))
    outputs, steps = np.array([2.0, 2.0, 1.0, 2.0, 1.0])[None, :, None], np.arange(5)
    every = jl.diagnostics.hitting_times(problem, samples_of(outputs, steps), 0.5)
    some = jl.diagnostics.hitting_times(problem, samples_of(outputs[:, [0, 1, 3, 4]], steps[[0, 1, 3, 4]]), 0.5)
    assert (int(every.steps[0]), int(every.after[0])) == (2, 1)
    assert (int(some.steps[0]), int(some.after[0])) == (4, 3)


class Shifted(jl.losses.AbstractLoss):
    """½(g − y)² − 1, which is negative near its target."""

    def value(self, prediction, target):
        return (prediction - target) ** 2 / 2 - 1.0

    def derivative(self, prediction, target):
        return prediction - target


def test_a_level_below_zero_is_for_losses_that_are_negative():
    samples = samples_of(np.full((1, 1, 2), 1.0), [0])
    found = jl.diagnostics.hitting_times(replace(PROBLEM, loss=Shifted()), samples, -0.5)
    assert found.steps.tolist() == [0]


def flat(loss, level, cases, replicas=32):
    """η·T with its standard error for every (width, η)."""
    found = []
    for width, eta, last in cases:
        problem = signed_problem(loss, 0.003, eta)
        stops = np.arange(0.0, last / eta + 1)
        one = jax.devices()[:1]
        samples = jl.simulate(problem, width, stops, replicas=replicas, key=KEY, batch=None, devices=one)
        times = jl.diagnostics.hitting_times(problem, samples, level)
        assert np.all(times.steps > 0)
        assert np.array_equal(times.after, times.steps - 1)
        # T is rounded up to a whole step: a uniform half of one is taken off.
        found.append((eta * (times.steps.mean() - 0.5), eta * times.steps.std(ddof=1) / replicas**0.5))
    return np.asarray(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("loss", "level", "last"),
    [(jl.SquaredError(), 0.05, 8.0), (jl.losses.Logistic(), 0.1, 20.0), (jl.losses.Exponential(), 0.1, 20.0)],
)
def test_eta_times_the_hitting_time_is_flat_in_width_and_eta(loss, level, last):
    """n = 20, d = 10, std 0.003; N = 10, 100, 1000 and η = 0.5, 0.1. Up to 10 per cent for the square loss at η = 0.5.

    A width of 10 costs fluctuations of order 10^{−1/2} of the rate, and their square in the mean; the step η = 0.5 is
    not small against times of 3.5.
    """
    cases = [(10, 0.5, last), (100, 0.5, last), (1000, 0.5, last), (10, 0.1, last), (100, 0.1, last)]
    found = flat(loss, level, cases)
    middle = np.mean(found[:, 0])
    assert np.all(np.abs(found[:, 0] - middle) < 0.1 * middle + 4 * found[:, 1])


@pytest.mark.slow
def test_the_exponential_loss_falls_like_one_over_t_log_t():
    """t·L·log t over t = 10³ … 5·10⁴, η = 0.5, 32 neurons: flat within 5 per cent, where L falls fifty-fold."""
    problem, stops = signed_problem(jl.losses.Exponential(), 0.003, 0.5), np.array([2e3, 6e3, 2e4, 1e5])
    samples = jl.simulate(problem, 32, stops, replicas=4, key=KEY, batch=None)
    t = 0.5 * stops
    constant = t * jl.diagnostics.training_loss(problem, samples) * np.log(t)
    assert np.ptp(constant) < 0.05 * constant.mean()


def empty_share(problem, width, networks):
    """The share of starts in which some point has no true-living neuron."""

    def one(key):
        found = jl.diagnostics.neuron_partition(problem.network.init(width, problem.data.inputs, key), problem.data)
        return jnp.any(found.true_living == 0)

    return float(np.mean(jax.jit(jax.vmap(one))(jax.random.split(KEY, networks))))


ANGLE = np.array([[1.0, 0.0], [0.6, 0.8]])
SMALL = {
    "one point": (ANGLE[:1], [1.0], 0.75**3),
    "same label": (ANGLE, [1.0, 1.0], 2 * 0.75**3 - (0.75 - np.arccos(0.6) / (4 * np.pi)) ** 3),
    "two labels": (ANGLE, [1.0, -1.0], 2 * 0.75**3 - 0.5**3),
}


@pytest.mark.parametrize("name", SMALL)
def test_the_chance_of_an_empty_set_is_exact_for_two_points(name):
    """And is that of 20,000 starts within 5 standard errors, false alarms 6e-7."""
    x, y, expected = SMALL[name]
    problem = signed_problem(jl.SquaredError(), 0.02, 0.1, jl.Data(x, y))
    found = jl.diagnostics.empty_true_living(problem, 3)
    assert found.lower == pytest.approx(expected, rel=1e-12)
    assert found.upper == pytest.approx(expected, rel=1e-12)
    assert found.bound == len(y) * 0.75**3
    assert abs(empty_share(problem, 3, 20_000) - expected) < 5 * np.sqrt(expected * (1 - expected) / 20_000)


def test_the_chance_of_an_empty_set_lies_between_its_bounds():
    problem, networks = signed_problem(jl.SquaredError(), 0.02, 0.1), 20_000
    found = jl.diagnostics.empty_true_living(problem, 12)
    share = empty_share(problem, 12, networks)
    noise = 5 * np.sqrt(share * (1 - share) / networks)
    assert found.lower - noise < share < found.upper + noise
    assert found.upper < 0.7 * found.bound
    assert jl.diagnostics.empty_true_living(problem, 10**6).upper > 0


def test_the_early_stage_holds_all_of_it():
    problem = signed_problem(jl.losses.Logistic(), 0.02, 0.5)
    samples = jl.simulate(problem, 16, [0, 1, 2], replicas=2, key=KEY, batch=None)
    found = jl.diagnostics.early_stage(problem, samples, 0.69, key=KEY)
    assert np.array_equal(found.loss, jl.diagnostics.training_loss(problem, samples))
    assert found.hitting.steps.tolist() == jl.diagnostics.hitting_times(problem, samples, 0.69).steps.tolist()
    assert found.rate == jl.diagnostics.initial_descent_rate(problem, 16, key=KEY)
    assert found.empty == jl.diagnostics.empty_true_living(problem, 16)


NORMAL = jl.initial.Normal()


def with_laws(c, w=NORMAL, x=ANGLE, y=(1.0, 1.0)):
    return jl.Problem(jl.Data(x, y), jl.networks.Shallow(jl.activations.Relu(), jl.Initial(c, w)))


PROBLEM = with_laws(jl.initial.Rademacher())
rate, empty = jl.diagnostics.initial_descent_rate, jl.diagnostics.empty_true_living
UNIFORM = jl.initial.Uniform(-1, 1)
REFUSED = {
    "a mean of c": ("problem", lambda: rate(with_laws(jl.initial.Dirac(1.0)), 4, key=KEY)),
    "width": ("width", lambda: rate(PROBLEM, 0, key=KEY)),
    "no closed form": ("rule", lambda: rate(with_laws(UNIFORM, UNIFORM), 4, key=KEY)),
    "c may be zero": ("problem", lambda: empty(with_laws(jl.initial.Discrete([-1, 0, 1], [0.25, 0.5, 0.25])), 4)),
    "w is not normal": ("problem", lambda: empty(with_laws(jl.initial.Rademacher(), UNIFORM), 4)),
    "a point at zero": ("problem", lambda: empty(with_laws(UNIFORM, x=[[0.0, 0.0], [1.0, 0.0]]), 4)),
    "w·x is zero for a law of less than full rank": (
        "problem",
        lambda: empty(
            with_laws(jl.initial.Rademacher(), jl.initial.MultivariateNormal(np.diag([1.0, 0.0])), x=np.eye(2)), 4
        ),
    ),
    "other points": (
        "samples",
        lambda: jl.diagnostics.training_loss(PROBLEM, samples_of(np.zeros((1, 1, 1)), [0])),
    ),
    "a limit": (
        "samples",
        lambda: jl.diagnostics.hitting_times(PROBLEM, samples_of(np.zeros((1, 1, 2)), [0], np.inf), 0.1),
    ),
    "a level of zero": (
        "level",
        lambda: jl.diagnostics.hitting_times(PROBLEM, samples_of(np.zeros((1, 1, 2)), [0]), 0.0),
    ),
    "level": (
        "level",
        lambda: jl.diagnostics.hitting_times(PROBLEM, samples_of(np.zeros((1, 1, 2)), [0]), "low"),
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name):
    argument, attempt = REFUSED[name]
    with pytest.raises(ValueError, match=rf"^Argument `{argument}` must .+, but .+\.$"):
        attempt()
