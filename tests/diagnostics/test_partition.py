"""The four sets of neurons against loops of Python, and their monotonicity in training, with and without conditions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from tests.diagnostics.aligned import aligned_data, signed_problem

KEY = jax.random.key(0)
DATA = aligned_data(9, 4)
RNG = np.random.default_rng(3)
NEURONS = jl.networks.Neurons(RNG.standard_normal((2, 5, 7)), RNG.standard_normal((2, 5, 7, 4)))
SETS = ("true_living", "true_dead", "false_living", "false_dead")
GROW = {"true_living": True, "true_dead": False, "false_living": False, "false_dead": True}


def members(c, w):
    """The sets of pairs (neuron, point) of one network, as they are defined."""
    found = {name: set() for name in SETS}
    for k in range(len(c)):
        for i in range(DATA.points):
            side = "true" if c[k] * DATA.y[i] > 0 else "false"
            found[f"{side}_{'living' if sum(w[k] * DATA.x[i]) > 0 else 'dead'}"].add((k, i))
    return found


def test_counts_are_those_of_the_sets():
    found = jax.jit(lambda neurons: jl.diagnostics.neuron_partition(neurons, DATA))(NEURONS)
    for index in np.ndindex(2, 5):
        sets = members(NEURONS.c[index], NEURONS.w[index])
        for name in SETS:
            expected = [sum(i == point for _, i in sets[name]) for point in range(DATA.points)]
            assert getattr(found, name)[index].tolist() == expected
    assert not found.undecided.any()


def test_changes_are_what_the_sets_lose_and_gain():
    """Random networks at five times: a pair counts once, whichever of the four inclusions it breaks."""
    patterns = jl.diagnostics.neuron_patterns(NEURONS, DATA)
    changes = jl.diagnostics.partition_changes(patterns, DATA)
    for replica in range(2):
        history = [members(NEURONS.c[replica, t], NEURONS.w[replica, t]) for t in range(5)]
        for t in range(4):
            broken = set()
            for name in SETS:
                before, after = history[t][name], history[t + 1][name]
                broken |= before - after if GROW[name] else after - before
            assert changes.violations[replica, t] == len(broken)
            signs = np.sign(NEURONS.c[replica, t : t + 2])
            assert changes.flips[replica, t] == np.sum(signs[0] != signs[1])
    assert changes.first.startswith("in replica 0, between saves 0 and 1 neuron ")


def test_what_rounding_decides_is_counted():
    """A neuron at right angles to a point, and one that is not a number."""
    data = jl.Data([[1.0, 1.0], [1.0, 0.0]], [1.0, 1.0])
    neurons = jl.networks.Neurons(np.ones(3), np.array([[0.1, -0.1 * (1 + 1e-16)], [1.0, 1.0], [np.nan, 1.0]]))
    assert jl.diagnostics.neuron_partition(neurons, data).undecided.tolist() == [2, 1]
    assert int(jl.diagnostics.neuron_patterns(neurons, data).undecided) == 3


def history(loss, std, eta, stops, width=64):
    problem = signed_problem(loss, std, eta)

    def observe(now, start):
        return jl.diagnostics.neuron_patterns(now, problem.data), now.c**2, jnp.sum(now.w**2, -1)

    samples = jl.simulate(problem, width, stops, replicas=4, key=KEY, batch=None, observe=observe)
    patterns, squares, norms = samples.observed
    return problem, jl.diagnostics.partition_changes(patterns, problem.data), squares, squares - norms


def start(problem, width=64):
    return problem.network.init(width, problem.data.inputs, KEY)


def monotone(loss, stops):
    """The conditions hold, no inclusion breaks, no sign flips; c_k² − |w_k|² stays, where c_k² grows."""
    problem, changes, squares, balance = history(loss, 0.02, 0.5, stops)
    conditions = jl.diagnostics.partition_conditions(problem.data, start(problem))
    assert conditions.claimed
    assert conditions.mu_0 > 0.3
    assert np.all(balance[:, 0] > 0)  # the starts of the replicas themselves
    assert not conditions.reason
    # Rounding decides for a handful of millions of pairs; no more than these may be wrong.
    assert changes.undecided.sum() <= 5
    assert changes.violations.sum() == 0, changes.first
    assert changes.flips.sum() == 0
    assert changes.first == ""
    drift = np.max(np.abs(balance - balance[:, :1]))
    assert drift < 0.05 * np.max(np.abs(squares - squares[:, :1]))


def test_the_sets_are_monotone_under_the_conditions():
    monotone(jl.losses.Logistic(), np.concatenate([np.arange(0.0, 200.0), np.arange(200.0, 3001.0, 50.0)]))


@pytest.mark.slow
@pytest.mark.parametrize("loss", [jl.SquaredError(), jl.losses.Logistic(), jl.losses.Exponential()])
def test_the_sets_are_monotone_in_twenty_thousand_steps(loss):
    monotone(loss, np.concatenate([np.arange(0.0, 200.0), np.arange(200.0, 20_001.0, 20.0)]))


def test_large_w_breaks_monotonicity_and_the_first_violation_has_a_name():
    """std 0.4 with c = ±1/8: neurons cross zero. The conditions say beforehand that nothing is claimed."""
    problem, changes, _, _ = history(jl.losses.Logistic(), 0.4, 0.1, np.arange(0.0, 400.0))
    conditions = jl.diagnostics.partition_conditions(problem.data, start(problem))
    assert not conditions.claimed
    assert conditions.reason == "|c_k| < |w_k| or c_k = 0 for 64 neuron(s)"
    assert changes.flips.sum() > 0
    assert changes.violations.sum() > changes.undecided.sum()
    assert "as its c changes sign" in changes.first


def test_conditions_are_the_formulas_and_batch_over_starts():
    neurons = jl.networks.Neurons(NEURONS.c * 3.0, NEURONS.w * np.linspace(0.0, 2.0, 10).reshape(2, 5, 1, 1))
    found = jl.diagnostics.partition_conditions(DATA, neurons)
    pairs = [DATA.y[i] * DATA.y[j] * (DATA.x[i] @ DATA.x[j]) for i in range(9) for j in range(9)]
    assert found.mu_0 == pytest.approx(min(pairs), rel=1e-12)
    expected = neurons.c**2 - np.linalg.norm(neurons.w, axis=-1) ** 2
    assert np.allclose(found.balance, expected, rtol=1e-12)
    assert found.kept.tolist() == (expected >= 0).all(axis=-1).tolist()
    assert found.kept.any()
    assert not found.kept.all()
    assert found.claimed.tolist() == found.kept.tolist()


def test_a_right_angle_between_points_is_not_above_zero():
    """x_i·x_j = 0 up to rounding of either sign: nothing is claimed."""
    angle = 0.3
    x = [[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]
    neurons = jl.networks.Neurons(np.ones(1), np.zeros((1, 2)))
    found = jl.diagnostics.partition_conditions(jl.Data(x, [1.0, 1.0]), neurons)
    assert found.kept
    assert not found.claimed
    assert "is not above zero" in found.reason


def outputs_of(values, steps):
    """Samples with these outputs at the save times."""
    values, steps = np.asarray(values, np.float64), np.asarray(steps)
    return jl.Samples(steps.astype(float), values, None, steps, np.full(len(values), -1), "Stepwise", 7, 1)


def test_nothing_counts_after_an_output_passed_its_target():
    """y = 1 and −1. Replicas: until save 2; never back; diverged; a target met exactly; outputs before any step."""
    data = jl.Data(np.eye(2), [1.0, -1.0])
    outputs = [
        [[0.0, 0.0], [0.5, -0.5], [1.1, -0.9], [1.2, -0.9]],
        [[0.0, 0.0], [0.5, -1.2], [0.6, -0.9], [0.7, -0.9]],
        [[0.0, 0.0], [np.nan, 0.0], [0.5, -0.5], [np.inf, 0.0]],
        [[0.0, 0.0], [1.0, -1.0], [1.0, -1.0], [1.0, -1.0]],
        [[2.0, 0.0], [0.5, -0.5], [0.6, -0.6], [0.7, -0.7]],
    ]
    every = [[1, 1, 0], [1, 0, 0], [1, 0, 0], [1, 1, 1], [0, 0, 0]]
    some = [[1, 0, 0], [0, 0, 0], [0, 0, 0], [1, 1, 1], [0, 0, 0]]  # both ends of an interval of several steps
    square, logistic = (signed_problem(loss, 0.02, 0.1, data) for loss in (jl.SquaredError(), jl.losses.Logistic()))
    pushed = jl.diagnostics.pushed_to_labels
    assert pushed(square, outputs_of(outputs, [0, 1, 2, 3])).tolist() == np.array(every, bool).tolist()
    assert pushed(square, outputs_of(outputs, [0, 2, 4, 6])).tolist() == np.array(some, bool).tolist()
    assert pushed(logistic, outputs_of(outputs, [0, 1, 2, 3]))[[0, 1, 3, 4]].all()


def test_only_intervals_that_count_are_counted():
    counted = np.array([[True, False, True, False], [False, False, False, True]])
    all_ = jl.diagnostics.partition_changes(PATTERNS, DATA)
    found = jl.diagnostics.partition_changes(PATTERNS, DATA, counted=counted)
    assert all_.violations.all()
    assert np.array_equal(found.violations, all_.violations * counted)
    assert np.array_equal(found.flips, all_.flips * counted)
    assert found.first == all_.first
    later = jl.diagnostics.partition_changes(PATTERNS, DATA, counted=counted & (np.arange(2)[:, None] == 1))
    assert later.first.startswith("in replica 1, between saves 3 and 4 ")
    assert jl.diagnostics.partition_changes(PATTERNS, DATA, counted=np.zeros((2, 4), bool)).first == ""


def test_a_step_changes_the_balance_by_the_square_of_the_step():
    """c² − |w|² moves by η²(ċ² − |ẇ|²) exactly: one step of plain gradient descent in float64."""
    data, eta = aligned_data(4, 3), 0.3
    c, w = RNG.standard_normal(5), RNG.standard_normal((5, 3))
    u = data.x @ w.T
    missing = (data.y - np.maximum(u, 0) @ c) / 4
    of_c, of_w = missing @ np.maximum(u, 0), c[:, None] * ((missing[:, None] * (u > 0)).T @ data.x)
    moved = jl.networks.Neurons(np.stack([c, c + eta * of_c]), np.stack([w, w + eta * of_w]))
    balance = jl.diagnostics.partition_conditions(data, jax.tree.map(lambda a: a.astype(np.float64), moved)).balance
    assert np.allclose(np.diff(balance, axis=0)[0], eta**2 * (of_c**2 - np.sum(of_w**2, axis=1)), rtol=0, atol=1e-12)


PATTERNS = jl.diagnostics.neuron_patterns(NEURONS, DATA)
REFUSED = {
    "targets": ("data", lambda: jl.diagnostics.neuron_partition(NEURONS, jl.Data(np.eye(4), np.zeros(4)))),
    "no data": ("data", lambda: jl.diagnostics.neuron_patterns(NEURONS, np.eye(4))),
    "inputs": ("parameters", lambda: jl.diagnostics.neuron_partition(NEURONS, jl.Data(np.eye(3), np.ones(3)))),
    "parameters": ("parameters", lambda: jl.diagnostics.neuron_partition((1.0, 2.0), DATA)),
    "integers": (
        "parameters",
        lambda: jl.diagnostics.partition_conditions(DATA, (np.ones(2, int), np.ones((2, 4), int))),
    ),
    "patterns": ("patterns", lambda: jl.diagnostics.partition_changes(NEURONS, DATA)),
    "other points": ("patterns", lambda: jl.diagnostics.partition_changes(PATTERNS, aligned_data(20, 4))),
    "a mask": (
        "counted",
        lambda: jl.diagnostics.partition_changes(PATTERNS, DATA, counted=np.ones((2, 5), bool)),
    ),
    "numbers for a mask": (
        "counted",
        lambda: jl.diagnostics.partition_changes(PATTERNS, DATA, counted=np.ones((2, 4))),
    ),
    "too few outputs": (
        "samples",
        lambda: jl.diagnostics.pushed_to_labels(
            signed_problem(jl.SquaredError(), 0.02, 0.1), outputs_of(np.zeros((1, 2, 3)), [0, 1])
        ),
    ),
    "one time": (
        "patterns",
        lambda: jl.diagnostics.partition_changes(jax.tree.map(lambda a: a[:, :1], PATTERNS), DATA),
    ),
}


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_neurons_that_are_not_finite_meet_no_condition_and_all_their_pairs_are_undecided(bad):
    data = jl.Data([[1.0, 0.5], [0.8, 0.6]], [1.0, 1.0])
    neurons = jl.networks.Neurons(np.array([bad, 1.0]), np.array([[0.1, 0.1], [0.1, 0.2]]))
    found = jl.diagnostics.partition_conditions(data, neurons)
    assert not found.claimed
    assert found.reason == "1 neuron(s) are not finite"
    assert jl.diagnostics.neuron_partition(neurons, data).undecided.tolist() == [1, 1]
    assert int(jl.diagnostics.neuron_patterns(neurons, data).undecided) == 2


@pytest.mark.parametrize("scale", [1.0, 1e-24, 1e12])
def test_what_rounding_decides_does_not_depend_on_the_scale(scale):
    """w·x = 1 − 1 to rounding; squares of w underflow in float32."""
    w = np.array([[1.0, -1.0 - 1e-7], [1.0, 0.5]], np.float32) * np.float32(scale)
    neurons = jl.networks.Neurons(np.ones(2, np.float32), w)
    found = jl.diagnostics.neuron_partition(neurons, jl.Data([[1.0, 1.0]], [1.0]))
    assert found.undecided.tolist() == [1]


@pytest.mark.parametrize("name", REFUSED)
def test_what_does_not_fit_is_refused_by_name(name):
    argument, attempt = REFUSED[name]
    with pytest.raises(ValueError, match=rf"^Argument `{argument}` must .+, but .+\.$"):
        attempt()
