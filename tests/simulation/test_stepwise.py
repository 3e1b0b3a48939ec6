"""Stepwise is the chain: path by path equal to a NumPy loop on the same draws, and symmetric where the chain is."""

import os
import subprocess
import sys
import textwrap

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit._span import span
from jaxlimit.activations import AbstractActivation
from jaxlimit.losses import AbstractLoss
from tests import systems
from tests.cases import ACTIVATIONS, CHAINS, LAWS, LOSSES, SCALINGS, each, most_slow
from tests.oracle import assert_same, drawn, largest_difference, replay
from tests.systems import TS, WIDTH, parameters, run
from tests.transformed import Transformed

TOLERANCE = 1e-12
"""float64: 60 steps add rounding of a few units each, and nothing in these chains amplifies it."""

SINGLE = 2e-5
"""float32: the path is the same, the arithmetic is not; 2e-5 is 170 rounding units after 60 steps."""

DATA = {
    "full rank": (systems.FULL_X, systems.FULL_Y, systems.FULL_AT),
    "rank 3 of 5": (systems.THIN_X, systems.THIN_Y, systems.THIN_AT),
}


def problem_on(case, data="full rank", uneven=True, **settings):
    x, y, _ = DATA[data]
    return systems.problem(case, jl.Data(x, y, systems.uneven(len(y)) if uneven else None), **settings)


def standard(problem, **settings):
    """Everything recorded, at points inside and outside the span: one set of shapes, so one compilation."""
    at = systems.THIN_AT if problem.data.inputs == 5 else systems.FULL_AT
    return run(problem, at=at, observe=parameters, replicas=2, **settings), at


def assert_follows(outcome, problem, case, tolerance, derivative=lambda g, y: g - y):
    """Outputs and parameters of every replica are those of the oracle, in original coordinates."""
    samples, at = outcome
    for replica in range(samples.replicas):
        key = jax.random.key(0)
        path = replay(problem, case, samples.width, key, replica, samples.ts, at, derivative=derivative)
        assert_same(samples.values[replica], path.values, tolerance)
        assert_same(samples.observed["c"][replica], path.c, tolerance)
        assert_same(samples.observed["w"][replica], path.w, tolerance)
        for start in drawn(problem, samples.width, key, replica, 0)[:2]:
            seen = samples.observed["start"].c if start.ndim == 1 else samples.observed["start"].w
            assert_same(seen[replica], np.broadcast_to(start, seen.shape[1:]), 0.0)


@pytest.mark.parametrize("scaling", each(SCALINGS))
@pytest.mark.parametrize("uneven", [False, True], ids=["uniform", "weighted"])
@pytest.mark.parametrize(
    ("case", "data"),
    [
        *(pytest.param(case, "full rank", id=f"{name}-full rank") for name, case in CHAINS.items()),
        *(
            pytest.param(case, "rank 3 of 5", id=f"{name}-rank 3 of 5", marks=pytest.mark.slow)
            for name, case in CHAINS.items()
        ),
    ],
)
def test_paths_are_those_of_the_oracle(case, data, uneven, scaling):
    problem = problem_on(case, data, uneven, gamma=scaling.gamma)
    outcome = standard(problem)
    samples, _ = outcome
    assert samples.values.dtype == np.float64
    assert samples.steps.tolist() == [0, 6, 24, 60]
    assert_follows(outcome, problem, case, TOLERANCE)
    # Something has been learnt: the comparison is not of two frozen networks.
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 0.01


class Quartic(AbstractLoss):
    """¼ (g − y)⁴: a user's loss."""

    def value(self, prediction, target):
        return 0.25 * (prediction - target) ** 4

    def derivative(self, prediction, target):
        return (prediction - target) ** 3


def test_frozen_output_weights_other_laws_and_a_users_loss_are_followed():
    """All at once on data of rank 3 in 5 dimensions, in one compilation; one by one in the slow tests."""
    case = ACTIVATIONS["erf"]
    initial = jl.Initial(c=jl.initial.Rademacher(0.7), w=jl.initial.Normal(0.3, 1.3))
    base = problem_on(case, "rank 3 of 5", train_output=False, initial=initial)
    problem = jl.Problem(base.data, base.network, loss=Quartic())
    outcome = standard(problem)
    assert_follows(outcome, problem, case, TOLERANCE, derivative=lambda g, y: (g - y) ** 3)
    c, w = outcome[0].observed["c"], outcome[0].observed["w"]
    assert np.array_equal(c, np.broadcast_to(c[:, :1], c.shape))
    assert largest_difference(w[:, -1], w[:, 0]) > 0.01


@pytest.mark.slow
def test_the_output_layer_can_be_frozen():
    case = ACTIVATIONS["erf"]
    problem = problem_on(case, "rank 3 of 5", train_output=False)
    outcome = standard(problem)
    assert_follows(outcome, problem, case, TOLERANCE)
    c = outcome[0].observed["c"]
    assert np.array_equal(c, np.broadcast_to(c[:, :1], c.shape))


@pytest.mark.parametrize("case", most_slow(each(CHAINS)))
def test_float32_follows_the_same_path(case):
    problem = problem_on(case)
    outcome = standard(problem, dtype=jnp.float32)
    assert outcome[0].values.dtype == np.float32
    assert_follows(outcome, problem, case, SINGLE)


LAW_PAIRS = [
    ("normal", "normal, shifted"),
    ("uniform, shifted", "uniform"),
    ("rademacher", "uniform, shifted"),
    ("point", "discrete"),
]


def test_the_pairs_of_laws_are_all_laws():
    assert {name for pair in LAW_PAIRS for name in pair} == set(LAWS)


@pytest.mark.slow
@pytest.mark.parametrize(("c", "w"), LAW_PAIRS)
def test_every_initial_law_is_followed(c, w):
    """At γ = 1, where E c ≠ 0 is no obstacle; below it is one, and a warning says so."""
    case = ACTIVATIONS["tanh"]
    initial = jl.Initial(c=LAWS[c].law, w=LAWS[w].law)
    problem = problem_on(case, initial=initial, gamma=1.0)
    assert_follows(standard(problem), problem, case, TOLERANCE)
    if initial.c.mean:
        with pytest.warns(UserWarning, match=f"E c = {initial.c.mean:g} ≠ 0"):
            standard(problem_on(case, initial=initial, gamma=0.75))


@pytest.mark.parametrize(
    ("loss", "derivative"),
    [
        *most_slow([pytest.param(case.loss, case.derivative, id=name) for name, case in LOSSES.items()]),
        pytest.param(Quartic(), lambda g, y: (g - y) ** 3, id="a user's", marks=pytest.mark.slow),
    ],
)
def test_every_loss_is_followed(loss, derivative):
    case = ACTIVATIONS["erf"]
    base = problem_on(case)
    signs = jl.Data(base.data.x, np.sign(base.data.y), base.data.weights)  # some losses are made for labels ±1
    problem = jl.Problem(signs, base.network, loss=loss)
    assert_follows(standard(problem), problem, case, TOLERANCE, derivative)


def test_more_steps_than_one_block_of_indices():
    case = ACTIVATIONS["erf"]
    problem = problem_on(case)
    outcome = standard(problem, ts=(42.0, 43.0, 90.0, 100.0))  # 1024 steps fall between the first and the second
    assert outcome[0].steps.tolist() == [1008, 1032, 2160, 2400]
    assert_follows(outcome, problem, case, 10 * TOLERANCE)


def test_save_times_may_share_a_step():
    case = ACTIVATIONS["erf"]
    problem = problem_on(case)
    outcome = standard(problem, ts=(0.0, 0.01, 0.05, 0.06))
    samples, _ = outcome
    assert samples.steps.tolist() == [0, 0, 1, 1]
    assert np.array_equal(samples.values[:, 0], samples.values[:, 1])
    assert np.array_equal(samples.values[:, 2], samples.values[:, 3])
    assert_follows(outcome, problem, case, TOLERANCE)


def test_save_times_do_not_change_what_is_saved():
    problem = problem_on(ACTIVATIONS["erf"])
    other, _ = standard(problem, ts=(0.125, 1.0, 1.5, 2.5))
    assert np.array_equal(other.values[:, [1, 3]], standard(problem)[0].values[:, [2, 3]])


@pytest.mark.slow
def test_coordinates_that_vanish_on_the_data_never_move():
    case = ACTIVATIONS["erf"]
    padded = jl.Data(np.column_stack([systems.FULL_X[:3], np.zeros((3, 2))]), systems.FULL_Y[:3])
    problem = systems.problem(case, padded)
    outcome = standard(problem)
    w = outcome[0].observed["w"]
    assert np.array_equal(w[..., 3:], np.broadcast_to(w[:, :1, :, 3:], w[..., 3:].shape))
    assert largest_difference(w[:, -1, :, :3], w[:, 0, :, :3]) > 0.01
    assert_follows(outcome, problem, case, TOLERANCE)


def test_a_huge_point_does_not_hide_the_directions_of_ordinary_ones():
    """Inner products of data and extra points survive the reduction to the span, each to its own rounding."""
    x = np.array([[0.8e20, 0.6e20, 0, 0, 0], [0.6, 0.8, 0, 0, 0], [0, 1e-20, 2e-20, 0, 0], np.zeros(5)])
    at = np.array([[0.3, 0.1, -0.2, 0.9, -0.4], [-0.3, 0.2, 0.5, 0.0, 0.0]])
    reduced = span(x, at)
    assert reduced.basis.shape == (5, 3)
    sizes = np.linalg.norm(x, axis=1)
    for points, coordinates in ((x, reduced.x), (at, reduced.at)):
        allowed = 1e-14 * np.outer(np.linalg.norm(points, axis=1), sizes)
        assert np.all(np.abs(coordinates @ reduced.x.T - points @ x.T) <= allowed)
    assert np.all(np.abs(reduced.remainder @ x.T) <= 1e-14 * sizes)
    assert_same(reduced.at @ reduced.basis.T + reduced.remainder, at, 1e-15)


def transformed(sign_c=1.0, sign_w=1.0, order=None, turn=None):
    """The default initial law after a symmetry; all of them are data to one compiled program."""
    order = np.arange(WIDTH) if order is None else order
    turn = np.eye(3) if turn is None else turn
    c, w = jl.initial.Uniform(), jl.initial.Normal()
    return jl.Initial(
        Transformed(c, np.array(sign_c), order, turn),
        Transformed(w, np.array(sign_w), order, turn),
    )


@pytest.mark.parametrize(
    ("case", "dtype"),
    most_slow(
        [
            *(pytest.param(case, jnp.float64, id=name) for name, case in CHAINS.items()),
            pytest.param(ACTIVATIONS["erf"], jnp.float32, id="erf-float32"),
        ]
    ),
)
class TestSymmetries:
    """Signs are exact in floating point, so sign symmetries hold bit by bit; the others hold to rounding."""

    def test_negating_c_and_the_targets_negates_the_outputs_bitwise(self, case, dtype):
        negated = jl.Data(systems.FULL_X, -systems.FULL_Y, systems.uneven(5))
        samples, _ = standard(systems.problem(case, negated, initial=transformed(sign_c=-1.0)), dtype=dtype)
        assert np.array_equal(samples.values, -standard(problem_on(case), dtype=dtype)[0].values)

    def test_negating_both_layers_of_an_odd_activation_changes_nothing_bitwise(self, case, dtype):
        samples, _ = standard(problem_on(case, initial=transformed(sign_c=-1.0, sign_w=-1.0)), dtype=dtype)
        base, _ = standard(problem_on(case), dtype=dtype)
        assert np.array_equal(samples.observed["start"].w, -base.observed["start"].w)
        assert np.array_equal(samples.values, base.values) is case.odd

    def test_a_learning_rate_of_zero_freezes_the_outputs_bitwise(self, case, dtype):
        samples, _ = standard(problem_on(case, alpha=0.0), dtype=dtype)
        assert np.array_equal(samples.values, np.broadcast_to(samples.values[:, :1], samples.values.shape))

    def test_the_order_of_the_neurons_does_not_matter(self, case, dtype):
        order = np.random.default_rng(0).permutation(WIDTH)
        samples, _ = standard(problem_on(case, initial=transformed(order=order)), dtype=dtype)
        tolerance = TOLERANCE if dtype == jnp.float64 else SINGLE
        assert_same(samples.values, standard(problem_on(case), dtype=dtype)[0].values, tolerance)

    def test_rotating_inputs_and_weights_together_changes_nothing(self, case, dtype):
        turn = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
        data = jl.Data(systems.FULL_X @ turn.T, systems.FULL_Y, systems.uneven(5))
        problem = systems.problem(case, data, initial=transformed(turn=turn))
        samples = run(problem, at=systems.FULL_AT @ turn.T, observe=parameters, replicas=2, dtype=dtype)
        tolerance = TOLERANCE if dtype == jnp.float64 else SINGLE
        assert_same(samples.values, standard(problem_on(case), dtype=dtype)[0].values, tolerance)


# What is recorded, compiled and warned about.


@pytest.mark.slow
def test_an_activation_that_promotes_leaves_a_float32_run_in_float32():
    """A fresh process with x64 and JAX's standard promotion: here strict promotion refuses such an activation."""
    script = """
        import jax, jax.numpy as jnp, numpy as np, jaxlimit as jl

        class Promoting(jl.activations.AbstractActivation):
            def __call__(self, u):
                return np.float64(1.0) * jnp.tanh(u)

            def derivative(self, u):
                return np.float64(1.0) * (1.0 - jnp.tanh(u) ** 2)

        data = jl.Data([[1.0, 0.0], [0.6, 0.8], [-0.5, 1.0]], [1.0, -1.0, 0.5])

        def run(activation):
            problem, both = jl.Problem(data, jl.networks.Shallow(activation)), lambda now, start: now
            settings = {"method": jl.Stepwise(native=False), "observe": both, "key": jax.random.key(0)}
            return jl.simulate(problem, 32, [0.0, 1.0, 3.0], replicas=2, **settings)

        assert Promoting()(jnp.ones(1, jnp.float32)).dtype == np.float64
        wide, plain = run(Promoting()), run(jl.activations.Tanh())
        assert wide.values.dtype == wide.observed.c.dtype == wide.observed.w.dtype == np.float32
        for first, second in ((wide.values, plain.values), (wide.observed.w, plain.observed.w)):
            assert np.max(np.abs(first - second)) < 2e-5
    """
    bare = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "XLA_"))}
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script)]
    outcome = subprocess.run(
        command, env={**bare, "JAX_ENABLE_X64": "1"}, capture_output=True, text=True, timeout=300, check=False
    )
    assert outcome.returncode == 0, outcome.stderr


class Counting(AbstractActivation):
    """tanh that counts its calls from Python: some while a program is traced, none when it runs."""

    calls = []

    def __call__(self, u):
        self.calls.append(1)
        return jnp.tanh(u)

    def derivative(self, u):
        return 1.0 - jnp.tanh(u) ** 2


def test_a_second_run_of_the_same_shape_compiles_nothing():
    data = jl.Data(systems.FULL_X, systems.FULL_Y)
    network = jl.networks.Shallow(Counting(), jl.Initial())
    first = run(jl.Problem(data, network))
    traced = len(Counting.calls)
    assert traced > 0
    # Another key, other times, data, weights and factors: all of that is data, not program.
    other = jl.Problem(
        jl.Data(-systems.FULL_X, 2 * systems.FULL_Y, systems.uneven(5)),
        jl.networks.Shallow(Counting(), jl.Initial()),
        jl.PowerScaling(0.75),
        learning_rate=0.5,
    )
    second = run(other, ts=(0.5, 1.5, 1.75, 8.0), seed=1, replicas=3)
    assert len(Counting.calls) == traced
    assert not np.array_equal(first.values[:3], second.values)


def test_diverged_replicas_are_recorded_and_the_others_kept():
    """Two neurons with Gaussian c: stable on average, while some replicas have a kernel far above it."""
    initial = jl.Initial(c=jl.initial.Normal(0.0, 2.0), w=jl.initial.Normal())
    problem = problem_on(ACTIVATIONS["relu"], initial=initial)
    with pytest.warns(UserWarning, match=r"of 32 replicas diverged, the first at step \d+") as caught:
        samples = run(problem, width=2, ts=np.arange(41) / 2, replicas=32)
    assert len(caught) == 1
    assert f"{samples.diverged} of 32" in str(caught[0].message)
    lost = samples.diverged_at >= 0
    assert 0 < samples.diverged == np.sum(lost) < 32
    # Every step is saved, so the record must be the first save that is not finite, and nothing is finite after it.
    finite = np.all(np.isfinite(samples.values), axis=2)
    first = np.where(lost, samples.diverged_at, 2**31)
    assert np.array_equal(finite, samples.steps[None, :] < first[:, None])


def test_samples_say_how_they_were_made():
    samples, _ = standard(problem_on(ACTIVATIONS["erf"]))
    assert (samples.method, samples.width, samples.lanes, samples.replicas) == (
        "Stepwise(native=False)",
        WIDTH,
        systems.LANES,
        2,
    )
    assert samples.ts.tolist() == list(TS)
    assert samples.diverged == 0
    assert samples.error is None
