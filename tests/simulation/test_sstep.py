"""SStep is the chain up to the motion of the features within a block: exact at one step, first order in more."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.simulation import _plan
from tests import systems
from tests.cases import ACTIVATIONS, SCALINGS, each, most_slow
from tests.oracle import assert_same, largest_difference, replay
from tests.systems import LANES, parameters, same_bits

TOLERANCE = 1e-12
"""float64, as for Stepwise."""


def run(problem, block, replicas=2, **settings):
    settings = {"method": jl.SStep(block=block, lanes=LANES), **settings}
    return systems.run(problem, replicas=replicas, **settings)


def problem_on(case, x=systems.FULL_X, y=systems.FULL_Y, **settings):
    return systems.problem(case, jl.Data(x, y, systems.uneven(len(y))), **settings)


# Blocks of one step are the chain.


@pytest.mark.parametrize("scaling", each(SCALINGS))
@pytest.mark.parametrize("case", most_slow(each(ACTIVATIONS)))
def test_blocks_of_one_step_are_the_chain(case, scaling):
    """On data of rank 3 in 5 dimensions, outputs inside and outside their span, both layers."""
    problem = problem_on(case, systems.THIN_X, systems.THIN_Y, gamma=scaling.gamma)
    samples = run(problem, 1, at=systems.THIN_AT, observe=parameters)
    assert samples.method == "SStep(block=1)"
    for replica in range(2):
        path = replay(problem, case, samples.width, jax.random.key(0), replica, samples.ts, systems.THIN_AT)
        assert_same(samples.values[replica], path.values, TOLERANCE)
        assert_same(samples.observed["c"][replica], path.c, TOLERANCE)
        assert_same(samples.observed["w"][replica], path.w, TOLERANCE)
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 0.01


def test_frozen_output_weights_stay_and_the_rest_is_the_chain():
    case = ACTIVATIONS["erf"]
    problem = problem_on(case, train_output=False)
    samples = run(problem, 1, observe=parameters)
    path = replay(problem, case, samples.width, jax.random.key(0), 1, samples.ts)
    assert_same(samples.observed["w"][1], path.w, TOLERANCE)
    c = samples.observed["c"]
    assert np.array_equal(c, np.broadcast_to(c[:, :1], c.shape))


@pytest.mark.slow
def test_more_steps_than_one_stream_of_indices():
    """Blocks of 700 steps begin and end within the streams of 1024 indices; nothing moves but the outputs' sums."""
    case = ACTIVATIONS["erf"]
    problem = problem_on(case, alpha=0.02)
    samples = run(problem, 700, ts=(42.0, 90.0, 100.0))
    path = replay(problem, case, samples.width, jax.random.key(0), 1, samples.ts)
    assert largest_difference(path.values[-1], path.values[0]) > 0.01
    assert_same(samples.values[1], path.values, 3e-3)
    shifted = replay(problem, case, samples.width, jax.random.key(0), 0, samples.ts)
    assert largest_difference(samples.values[1], shifted.values) > 0.1


# Longer blocks: the order of the error.


@pytest.fixture(scope="module")
def exact():
    """The chain itself at γ = 1, where features move most."""
    problem = problem_on(ACTIVATIONS["tanh"], gamma=1.0, alpha=2.0)
    return problem, systems.run(problem, width=512, ts=(0.5, 1.0), replicas=2)


def error_at(exact, block):
    problem, chain = exact
    samples = run(problem, block, width=512, ts=(0.5, 1.0))
    return float(np.max(np.abs(samples.values - chain.values))), samples


def test_the_error_is_of_first_order_in_the_block(exact):
    """Blocks of 64 against blocks of 16, both far above rounding."""
    coarse, fine = (error_at(exact, block)[0] for block in (64, 16))
    assert fine > 1e-9
    assert 0.8 < np.log(coarse / fine) / np.log(4) < 1.3


@pytest.mark.parametrize("block", [16, 64])
def test_the_stated_error_is_the_error_within_a_small_factor(exact, block):
    """At γ = 1, where the estimate is known to be low by two to three; it is never zero or wild."""
    error, samples = error_at(exact, block)
    stated = float(np.max(samples.error[:, -1]))
    assert error / 5 < stated < 5 * error
    assert np.all(np.diff(samples.error, axis=1) >= 0)


def test_the_exact_chain_states_no_error(exact):
    assert exact[1].error is None


@pytest.mark.slow
def test_float32_is_as_good_as_float64():
    """The small moves of single steps are summed before they meet the weights."""
    problem = problem_on(ACTIVATIONS["tanh"])
    wide = run(problem, 64, width=2048, ts=(1.0,))
    narrow = run(problem, 64, width=2048, ts=(1.0,), dtype=jnp.float32)
    assert narrow.values.dtype == np.float32
    assert_same(narrow.values, wide.values, 3e-6)


# Bits and bookkeeping.


@pytest.fixture(scope="module")
def seven():
    return run(problem_on(ACTIVATIONS["erf"]), 4, replicas=7, observe=parameters)


@pytest.mark.parametrize("replicas", [1, 3])
def test_fewer_replicas_are_the_first_of_more(seven, replicas):
    assert same_bits(run(problem_on(ACTIVATIONS["erf"]), 4, replicas=replicas, observe=parameters), seven, replicas)


@pytest.mark.slow
def test_small_pieces_give_the_bits_of_one_call(seven, monkeypatch):
    """Calls are cut between blocks only."""
    monkeypatch.setattr(_plan, "PIECE_SECONDS", 1e-12)
    calls = []
    cut = run(
        problem_on(ACTIVATIONS["erf"]), 4, replicas=3, observe=parameters, progress=lambda done, _: calls.append(done)
    )
    assert len(calls) > 2 * 12
    assert same_bits(cut, seven, 3)


def test_a_learning_rate_of_zero_freezes_the_outputs_bitwise():
    samples = run(problem_on(ACTIVATIONS["relu"], alpha=0.0), 5)
    assert np.array_equal(samples.values, np.broadcast_to(samples.values[:, :1], samples.values.shape))


@pytest.mark.slow
def test_diverged_replicas_are_recorded_as_by_the_chain():
    initial = jl.Initial(c=jl.initial.Normal(0.0, 2.0), w=jl.initial.Normal())
    problem = problem_on(ACTIVATIONS["relu"], initial=initial)
    with pytest.warns(UserWarning, match="of 32 replicas diverged"):
        chain = systems.run(problem, width=2, ts=np.arange(41) / 2, replicas=32)
    with pytest.warns(UserWarning, match="of 32 replicas diverged"):
        samples = run(problem, 1, width=2, ts=np.arange(41) / 2, replicas=32)
    assert np.array_equal(samples.diverged_at, chain.diverged_at)


@pytest.mark.parametrize(
    ("width", "gamma", "block"), [(1, 0.5, 1), (16, 1.0, 1), (1024, 1.0, 4), (4096, 0.5, 1024), (4096, 1.0, 16)]
)
def test_the_default_block_grows_with_the_width_and_is_short_where_features_move(width, gamma, block):
    assert jl.SStep().block_length(width, gamma) == block
    assert jl.SStep(block=7).block_length(width, gamma) == 7


@pytest.mark.parametrize("settings", [{"block": 0}, {"block": 2.5}, {"block": True}, {"lanes": 0}])
def test_bad_settings_are_refused(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        jl.SStep(**settings)
