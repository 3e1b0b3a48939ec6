"""An optimiser of optax replaces the step: held against optax in a plain loop of Python on the same draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import jaxlimit as jl
from jaxlimit.activations import AbstractActivation
from jaxlimit.networks import Neurons
from jaxlimit.simulation import _pieces
from jaxlimit.simulation._optimiser import state_bytes
from jaxlimit.simulation._state import Run
from tests import systems
from tests.cases import ACTIVATIONS, SCALINGS, each, most_slow
from tests.oracle import assert_same, drawn, largest_difference
from tests.systems import LANES, WIDTH, parameters

CASE = ACTIVATIONS["erf"]
TOLERANCE = 1e-11
"""float64: Adam divides by roots of sums of squares, which amplifies rounding where gradients are small."""

TS = (0.0, 0.29, 1.0)

OPTIMISERS = {
    "adam": optax.adam(1e-2),
    "momentum": optax.sgd(1e-2, momentum=0.9),
    "nesterov": optax.sgd(1e-2, momentum=0.9, nesterov=True),
    "schedule": optax.sgd(lambda step: jnp.where(step < 9, 0.05, 0.02)),
    "clipped, decaying": optax.chain(optax.clip_by_global_norm(0.01), optax.adamw(1e-2, weight_decay=0.1)),
    "by layer": optax.partition({"slow": optax.sgd(1e-3), "fast": optax.adam(1e-2)}, Neurons("slow", "fast")),
}


def problem_on(**settings):
    data = jl.Data(systems.THIN_X, systems.THIN_Y, systems.uneven(3))
    return systems.problem(CASE, data, **settings)


def run(problem, optimiser, **settings):
    settings = {"ts": TS, "replicas": 2, "at": systems.THIN_AT, "observe": parameters, **settings}
    return systems.run(problem, optimiser=optimiser, **settings)


def looped(problem, optimiser, replica, stops, batch):
    """Outputs, c and w at the stops: gradients in NumPy by hand, then `optimiser.update`, one step after another."""
    c, w, indices = drawn(problem, WIDTH, jax.random.key(0), replica, max(stops), batch)
    now = Neurons(np.asarray(c, np.float64), np.asarray(w, np.float64))
    x, y, factor = problem.data.x, problem.data.y, WIDTH**-problem.scaling.gamma
    state, saved, points = optimiser.init(now), [], np.concatenate([x, systems.THIN_AT])
    update = jax.jit(optimiser.update)
    for k in range(max(stops) + 1):
        if k in stops:
            saved.append((factor * CASE.sigma(points @ now.w.T) @ now.c, now.c, now.w))
        if k == max(stops):
            break
        rows, shares = (np.arange(3), problem.data.weights) if batch is None else (np.atleast_1d(indices[k]), 1 / batch)
        u = x[rows] @ now.w.T
        e = shares * (factor * CASE.sigma(u) @ now.c - y[rows])
        of_c = factor * e @ CASE.sigma(u) * problem.network.train_output
        of_w = factor * now.c[:, None] * ((e[:, None] * CASE.slope(u)).T @ x[rows])
        with jax.numpy_dtype_promotion("standard"):
            updates, state = update(Neurons(of_c, of_w), state, now)
        if not problem.network.train_output:
            updates = updates._replace(c=np.zeros_like(of_c))
        now = Neurons(*(np.asarray(p + u) for p, u in zip(now, updates, strict=True)))
    return (np.array(part) for part in zip(*saved, strict=True))


def assert_follows(samples, problem, optimiser, batch=1, tolerance=TOLERANCE):
    for replica in range(samples.replicas):
        values, c, w = looped(problem, optimiser, replica, samples.steps.tolist(), batch)
        assert_same(samples.values[replica], values, tolerance)
        assert_same(samples.observed["c"][replica], c, tolerance)
        assert_same(samples.observed["w"][replica], w, tolerance)
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 1e-3


@pytest.mark.parametrize(
    "name", ["adam", *(pytest.param(name, marks=pytest.mark.slow) for name in OPTIMISERS if name != "adam")]
)
def test_an_optimiser_does_what_it_does_in_a_plain_loop(name):
    samples = run(problem_on(), OPTIMISERS[name])
    assert samples.method == "Stepwise(native=False, optimiser=…)"
    assert_follows(samples, problem_on(), OPTIMISERS[name])


@pytest.mark.slow
@pytest.mark.parametrize("batch", [3, None])
@pytest.mark.parametrize("name", ["adam", "clipped, decaying"])
def test_batches_and_full_batches_go_through_it(name, batch):
    assert_follows(run(problem_on(), OPTIMISERS[name], batch=batch), problem_on(), OPTIMISERS[name], batch)


@pytest.mark.parametrize("scaling", most_slow(each(SCALINGS)))
def test_sgd_at_the_rate_of_the_scaling_is_the_chain(scaling):
    """optax.sgd(α N^{−2(1−γ)}), the learning rate of the problem itself playing no part."""
    problem = problem_on(gamma=scaling.gamma, alpha=2.0)
    ignored = problem_on(gamma=scaling.gamma, alpha=0.5)
    samples = run(ignored, lambda width: optax.sgd(2.0 * scaling.learning_rate(width)))
    assert_same(samples.values, run(problem, None).values, 1e-12)


def test_frozen_output_weights_stay_under_decay_too():
    problem = problem_on(train_output=False)
    optimiser = OPTIMISERS["clipped, decaying"]
    samples = run(problem, optimiser)
    c = samples.observed["c"]
    assert np.array_equal(c, np.broadcast_to(c[:, :1], c.shape))
    assert_follows(samples, problem, optimiser)


def test_adam_leaves_the_span_of_the_data_and_sgd_does_not():
    """What SGD adds to w is a sum of data points; Adam divides coordinate by coordinate, which turns it."""
    basis = np.linalg.svd(systems.THIN_X)[2][3:]

    def moved(samples):
        w = samples.observed["w"]
        return np.max(np.abs((w[:, -1] - w[:, 0]) @ basis.T)), np.max(np.abs(w[:, -1] - w[:, 0]))

    outside, _ = moved(run(problem_on(), None))
    assert outside < 1e-14
    outside, everywhere = moved(run(problem_on(), OPTIMISERS["adam"]))
    assert outside > 0.05 * everywhere


def test_float32_stays_float32():
    """Under strict promotion, which the loop keeps: only optax itself may mix types."""
    samples = run(problem_on(), OPTIMISERS["adam"], dtype=jnp.float32)
    assert samples.values.dtype == samples.observed["w"].dtype == np.float32
    assert_same(samples.values, run(problem_on(), OPTIMISERS["adam"]).values, 1e-3)


@pytest.mark.slow
def test_pieces_and_lanes_change_nothing(monkeypatch):
    whole = run(problem_on(), OPTIMISERS["adam"], replicas=3)
    monkeypatch.setattr(_pieces, "PIECE_SECONDS", 1e-12)
    assert systems.same_bits(run(problem_on(), OPTIMISERS["adam"], replicas=3), whole, 3)


def test_a_function_of_the_width_is_called_once_and_an_object_compiles_once():
    traces, widths = [], []

    class Counting(AbstractActivation):
        def __call__(self, u):
            traces.append(1)
            return jnp.tanh(u)

        def derivative(self, u):
            return 1.0 - jnp.tanh(u) ** 2

    def by_width(width):
        widths.append(width)
        return OPTIMISERS["momentum"]

    problem = jl.Problem(problem_on().data, jl.networks.Shallow(Counting()))
    run(problem, by_width, observe=None)
    assert widths == [WIDTH]
    seen = len(traces)
    run(problem, OPTIMISERS["momentum"], observe=None, seed=1)
    assert len(traces) == seen


def test_the_memory_of_its_state_is_counted():
    problem = problem_on()
    run_of = Run(problem, problem.network, 1000, 5, 0, 10, 1, np.dtype(np.float32), (jax.devices()[0],))
    assert state_bytes(OPTIMISERS["adam"], run_of) == 2 * 4 * 1000 * 6 + 4
    assert state_bytes(optax.sgd(0.1), run_of) == 0
    plain, adam = (jl.Stepwise(native=False).chain(run_of._replace(optimiser=o)) for o in (None, OPTIMISERS["adam"]))
    assert adam.state - plain.state >= 2 * 4 * 1000 * 6


def promoted(state_too):
    """A transformation that turns float32 into float64."""

    def update(gradients, state, parameters=None):
        wide = jax.tree.map(lambda g: g.astype(jnp.float64), gradients)
        return (gradients, wide) if state_too else (wide, state)

    return optax.GradientTransformation(lambda p: jax.tree.map(jnp.zeros_like, p), update)


@pytest.mark.parametrize(
    ("optimiser", "method", "message"),
    [
        ("adam", None, "`optimiser` must be an optax transformation, or a function .* it is a str"),
        (
            lambda width: 0.1,
            None,
            f"`optimiser` must be an optax transformation.* at width {WIDTH} it returned a float",
        ),
        (
            optax.lbfgs(),
            None,
            "`optimiser` must work on .gradients, state, parameters. of this network, but it raised Type",
        ),
        (
            optax.masked(optax.adam(1e-3), {"a": True}),
            None,
            "`optimiser` must work on .gradients, state, parameters. of this network",
        ),
        (optax.adam, None, r"`optimiser` must be .* but optax\.adam itself would .*mean optax\.adam\(rate\)\?"),
        (functools.partial(optax.sgd, momentum=0.9), None, r"`optimiser` must be .* but optax\.sgd itself would"),
        (lambda width: {}[width], None, "`optimiser` must work on .* but it raised KeyError"),
        (promoted(True), None, "`optimiser` must keep shapes and precision of its state"),
        (promoted(False), None, "`optimiser` must keep shapes and precision of its updates"),
        (OPTIMISERS["adam"], jl.Stepwise(native=True), "`native` must be False or None here, but optimisers"),
        (OPTIMISERS["adam"], jl.SStep(), r"`method` must be Stepwise\(\) with an optimiser"),
    ],
)
def test_what_cannot_be_is_refused(optimiser, method, message):
    with pytest.raises(ValueError, match=f"^Argument {message}"):
        run(problem_on(), optimiser, method=method, dtype=jnp.float32)


def test_a_rate_that_sgd_refuses_is_left_to_the_optimiser_and_divergence_is_reported():
    problem = systems.problem(ACTIVATIONS["relu"], jl.Data(systems.FULL_X, systems.FULL_Y), alpha=1e6)
    with pytest.warns(UserWarning, match="2 of 2 replicas diverged"):
        samples = systems.run(problem, ts=(4.0,), replicas=2, optimiser=optax.sgd(1e6), method=jl.Stepwise(lanes=LANES))
    assert np.all(samples.diverged_at > 0)
