"""SStep is the chain up to the motion of the features within a block: exact at one step, of its order in more."""

from functools import partial

import jax
import jax.numpy as jnp
import numba
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.simulation import _blocks_loop, _passes, _pieces, _sstep
from jaxlimit.simulation._state import Run
from tests import laws, systems
from tests.cases import ACTIVATIONS, CHAINS, SCALINGS, each, most_slow
from tests.oracle import assert_same, largest_difference, replay
from tests.systems import LANES, parameters, same_bits

TOLERANCE = 1e-12
"""float64, as for Stepwise."""

NATIVE = [pytest.param(False, id="XLA"), pytest.param(True, id="native")]
ORDERS = [1, 2]


def run(problem, block=None, replicas=2, *, order=1, native=False, tolerance=None, lanes=LANES, **settings):
    method = jl.SStep(block, order, tolerance, lanes=lanes, native=native)
    return systems.run(problem, replicas=replicas, method=method, **settings)


def problem_on(case, x=systems.FULL_X, y=systems.FULL_Y, **settings):
    return systems.problem(case, jl.Data(x, y, systems.uneven(len(y))), **settings)


def assert_follows(samples, problem, case, tolerance=TOLERANCE, at=None, **settings):
    for replica in range(samples.replicas):
        path = replay(problem, case, samples.width, jax.random.key(0), replica, samples.ts, at, **settings)
        assert_same(samples.values[replica], path.values, tolerance)
        assert_same(samples.observed["c"][replica], path.c, tolerance)
        assert_same(samples.observed["w"][replica], path.w, tolerance)


# Blocks of one step are the chain.


@pytest.mark.parametrize("scaling", each(SCALINGS))
@pytest.mark.parametrize("native", NATIVE)
@pytest.mark.parametrize("case", most_slow(each(CHAINS)))
def test_blocks_of_one_step_are_the_chain(case, native, scaling):
    """On data of rank 3 in 5 dimensions, outputs inside and outside their span, both layers; at order 2, where a
    block of one step has nothing to look ahead to, as at order 1."""
    problem = problem_on(case, systems.THIN_X, systems.THIN_Y, gamma=scaling.gamma)
    for order in ORDERS:
        samples = run(problem, 1, order=order, native=native, at=systems.THIN_AT, observe=parameters)
        assert samples.method == f"SStep(block=1, order={order}, native={native})"
        assert_follows(samples, problem, case, at=systems.THIN_AT)
    assert largest_difference(samples.values[:, -1], samples.values[:, 0]) > 0.01


@pytest.mark.parametrize("native", NATIVE)
def test_frozen_output_weights_stay_and_the_rest_is_the_chain(native):
    case = ACTIVATIONS["erf"]
    problem = problem_on(case, train_output=False)
    samples = run(problem, 1, native=native, observe=parameters)
    assert_follows(samples, problem, case)
    c = samples.observed["c"]
    assert np.array_equal(c, np.broadcast_to(c[:, :1], c.shape))


@pytest.mark.parametrize("native", [pytest.param(False, id="XLA", marks=pytest.mark.slow), NATIVE[1]])
@pytest.mark.parametrize("batch", [3, pytest.param(1500, marks=pytest.mark.slow)])
def test_a_batch_is_the_mean_of_its_samples(batch, native):
    """1500: more than one stream of indices holds, so that every step has a stream of its own."""
    case = ACTIVATIONS["erf"]
    problem = problem_on(case, alpha=2.0)
    samples = run(problem, 1, native=native, observe=parameters, batch=batch)
    assert_follows(samples, problem, case, batch=batch)


def shallow_blocks(monkeypatch):
    """From here on even few data points are too many for a block to see them all."""
    monkeypatch.setattr(_sstep, "MANY_POINTS", 0)


@pytest.mark.parametrize("order", [1, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("batch", "block"), [(1, 1), pytest.param(1, 4, marks=pytest.mark.slow), pytest.param(2, 2, marks=pytest.mark.slow)]
)
def test_blocks_may_see_their_own_points_only(batch, block, order, monkeypatch):
    """The same numbers as with all five points, since a block moves along its own samples; at order 1 all points
    share their kernel with other blocks, which their own cannot."""
    case = ACTIVATIONS["erf"]
    problem = problem_on(case)
    whole = run(problem, block, order=order, batch=batch, observe=parameters)
    shallow_blocks(monkeypatch)
    own = run(problem, block, order=order, batch=batch, observe=parameters)
    assert not np.array_equal(own.error, whole.error)
    if block == 1:
        assert_follows(own, problem, case, batch=batch)
    assert_same(own.observed["w"], whole.observed["w"], 1e-4 if order == 1 and block > 1 else 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("native", NATIVE)
def test_more_steps_than_one_stream_of_indices(native):
    """Blocks of 700 steps begin and end within the streams of 1024 indices; nothing moves but the outputs' sums."""
    case = ACTIVATIONS["erf"]
    problem = problem_on(case, alpha=0.02)
    samples = run(problem, 700, native=native, ts=(42.0, 90.0, 100.0))
    path = replay(problem, case, samples.width, jax.random.key(0), 1, samples.ts)
    assert largest_difference(path.values[-1], path.values[0]) > 0.01
    assert_same(samples.values[1], path.values, 3e-3)
    shifted = replay(problem, case, samples.width, jax.random.key(0), 0, samples.ts)
    assert largest_difference(samples.values[1], shifted.values) > 0.1


# Longer blocks: two implementations, the order of the error, and what is said of it.


@pytest.mark.parametrize(
    ("order", "settings"),
    [
        (2, {"block": 7}),
        pytest.param(1, {"block": 7}, marks=pytest.mark.slow),
        pytest.param(2, {"tolerance": 1e-3}, marks=pytest.mark.slow),
        pytest.param(1, {"tolerance": 1e-2}, marks=pytest.mark.slow),
    ],
)
def test_native_blocks_are_those_of_xla(order, settings):
    """Independent programs, the same arithmetic: kernels, extrapolation, errors stated, lengths chosen."""
    problem = problem_on(ACTIVATIONS["tanh"], gamma=0.75, alpha=3.0)
    settings = {"order": order, "width": 300, "ts": (0.0, 0.31, 2.0), "observe": parameters, **settings}
    ours, theirs = run(problem, native=True, **settings), run(problem, native=False, **settings)
    assert_same(ours.values, theirs.values, 1e-11)
    assert_same(ours.observed["w"], theirs.observed["w"], 1e-11)
    assert_same(ours.error / theirs.error[:, -1:], theirs.error / theirs.error[:, -1:], 1e-6)
    assert np.array_equal(ours.forced, theirs.forced)


@pytest.fixture(scope="module")
def exact():
    """The chain itself at γ = 1, where features move most."""
    problem = problem_on(ACTIVATIONS["tanh"], gamma=1.0, alpha=2.0)
    method = jl.Stepwise(lanes=4, native=True)
    return problem, systems.run(problem, width=1024, ts=(0.5, 1.0), replicas=4, method=method)


def error_at(exact, block, order=1, native=True):
    problem, chain = exact
    samples = run(problem, block, 4, order=order, native=native, width=1024, ts=(0.5, 1.0))
    return float(np.sqrt(np.mean(np.max(np.abs(samples.values - chain.values), axis=2)[:, -1] ** 2))), samples


@pytest.mark.parametrize("order", ORDERS)
def test_the_error_is_of_the_stated_order_in_the_block(order):
    """One data point: gradient descent, without the noise of samples that blocks of several points average over."""
    problem = problem_on(ACTIVATIONS["tanh"], [[0.6, -0.8, 1.0]], [1.5], gamma=1.0, alpha=3.0)
    settings = {"width": 1024, "ts": (0.5, 1.0)}
    chain = systems.run(problem, method=jl.Stepwise(lanes=LANES, native=True), replicas=2, **settings)
    errors = []
    for block in (64, 16):
        samples = run(problem, block, order=order, native=True, **settings)
        errors.append(np.max(np.abs(samples.values - chain.values)))
    assert errors[-1] > 1e-9
    assert order - 0.2 < np.log(errors[0] / errors[1]) / np.log(4) < order + 0.3


def test_order_two_is_ten_times_better_at_the_same_block(exact):
    assert error_at(exact, 64, order=2)[0] < 0.1 * error_at(exact, 64, order=1)[0]


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("block", [16, 64, 256])
def test_the_stated_error_is_above_the_error_and_not_far(exact, block, order):
    """It is never wild; four blocks in which features turn over, at γ = 1, are too few to measure their motion by."""
    error, samples = error_at(exact, block, order)
    stated = float(np.sqrt(np.mean(samples.error[:, -1] ** 2)))
    assert (0.4 if block == 256 else 1.0) * error < stated < 20 * error
    assert np.all(samples.error > 0)


def test_the_exact_chain_states_no_error(exact):
    assert exact[1].error is None
    assert exact[1].forced is None


@pytest.mark.slow
@pytest.mark.parametrize("native", NATIVE)
def test_float32_is_as_good_as_float64(native):
    """The small moves of single steps are summed before they meet the weights."""
    problem = problem_on(ACTIVATIONS["tanh"])
    wide = run(problem, 64, native=native, width=2048, ts=(1.0,))
    narrow = run(problem, 64, native=native, width=2048, ts=(1.0,), dtype=jnp.float32)
    assert narrow.values.dtype == np.float32
    assert_same(narrow.values, wide.values, 3e-6)


# A tolerance.


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*beyond the tolerance:UserWarning")
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["tanh", "relu"])
def test_a_tolerance_is_kept_or_said_to_be_missed(name, order):
    """Eight fresh replicas at each of 27 settings. At most one run in a hundred misses unwarned, and then by little:
    by half where σ is smooth; where it has a kink, by what one neuron adds that passes it a step sooner or later."""
    data = jl.data.sphere(points=20, inputs=10)
    settings = {"width": 1024, "ts": (1.0, 2.0), "replicas": 8, "seed": 977}
    missed, runs, most = 0, 0, 1.5 if name == "tanh" else 4.0
    for gamma in (0.5, 0.75, 1.0):
        for alpha in (1.0, 5.0, 20.0):
            problem = systems.problem(ACTIVATIONS[name], data, gamma=gamma, alpha=alpha)
            chain = systems.run(problem, method=jl.Stepwise(native=True), **settings)
            for tolerance in (1e-2, 1e-3, 1e-4):
                samples = run(problem, order=order, native=True, tolerance=tolerance, lanes=None, **settings)
                error = np.max(np.abs(samples.values - chain.values), axis=(1, 2))
                warned = np.max(samples.error, axis=1) > tolerance
                assert np.all(error <= most * np.maximum(tolerance, np.max(samples.error, axis=1)))
                assert np.all(samples.forced[warned] > 0)
                missed, runs = missed + int(np.sum(error[~warned] > tolerance)), runs + 8
    laws.assert_rate_at_most(missed, runs, 0.01, detectable=0.12)


def test_blocks_that_could_not_be_short_enough_are_counted_and_warned_of():
    """γ = 1, α = 20 at width 128: features turn over in a block of 16."""
    problem = problem_on(ACTIVATIONS["tanh"], gamma=1.0, alpha=20.0)
    with pytest.warns(UserWarning, match=r"2 of 2 replicas state an error beyond the tolerance 1e-05.*Stepwise"):
        samples = run(problem, tolerance=1e-5, native=True, width=128, ts=(1.0,))
    assert np.all(samples.forced > 0)
    assert np.all(samples.error > 1e-5)


# Bits and bookkeeping.


@pytest.fixture(scope="module", params=[*NATIVE])
def seven(request):
    native = request.param
    return native, run(problem_on(ACTIVATIONS["erf"]), 4, 7, order=2, native=native, observe=parameters)


@pytest.mark.parametrize("replicas", [1, pytest.param(3, marks=pytest.mark.slow)])
def test_fewer_replicas_are_the_first_of_more(seven, replicas):
    native, samples = seven
    fewer = run(problem_on(ACTIVATIONS["erf"]), 4, replicas, order=2, native=native, observe=parameters)
    assert same_bits(fewer, samples, replicas)


def test_later_replicas_can_be_had_alone(seven):
    """`first` counts from replica 0: parts of a run are the run."""
    native, samples = seven
    later = run(problem_on(ACTIVATIONS["erf"]), 4, 3, order=2, native=native, observe=parameters, first=4)
    assert np.array_equal(later.values, samples.values[4:])
    assert samples.draws.shared(later.draws) == range(4, 7)


def test_several_devices_give_the_bits_of_one(seven):
    native, samples = seven
    devices = jax.devices()[:2][::-1]
    both = run(problem_on(ACTIVATIONS["erf"]), 4, 7, order=2, native=native, observe=parameters, devices=devices)
    assert same_bits(both, samples, 7)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*beyond the tolerance:UserWarning")
@pytest.mark.parametrize("tolerance", [None, 1e-2])
@pytest.mark.parametrize("native", NATIVE)
def test_small_pieces_give_the_bits_of_one_call(native, tolerance, monkeypatch):
    """Blocks know the save they are on the way to, not where a call is cut: here in the middle of most of them."""
    settings = {"order": 2, "native": native, "tolerance": tolerance, "observe": parameters, "ts": (0.29, 2.5)}
    block = 5 if tolerance is None else None
    whole = run(problem_on(ACTIVATIONS["erf"]), block, 3, **settings)
    monkeypatch.setattr(_pieces, "PIECE_SECONDS", 1e-12)
    calls = []
    cut = run(problem_on(ACTIVATIONS["erf"]), block, 3, **settings, progress=lambda done, _: calls.append(done))
    assert len(calls) > 10
    assert same_bits(cut, whole, 3)


@pytest.mark.parametrize("native", NATIVE)
def test_a_learning_rate_of_zero_freezes_the_outputs_bitwise(native):
    samples = run(problem_on(ACTIVATIONS["erf"], alpha=0.0), 5, order=2, native=native)
    assert np.array_equal(samples.values, np.broadcast_to(samples.values[:, :1], samples.values.shape))


@pytest.mark.slow
@pytest.mark.parametrize("native", NATIVE)
def test_diverged_replicas_are_recorded_as_by_the_chain(native):
    initial = jl.Initial(c=jl.initial.Normal(0.0, 2.0), w=jl.initial.Normal())
    problem = problem_on(ACTIVATIONS["relu"], initial=initial)
    with pytest.warns(UserWarning, match="of 32 replicas diverged"):
        chain = systems.run(problem, width=2, ts=np.arange(41) / 2, replicas=32)
    with pytest.warns(UserWarning, match="of 32 replicas diverged"):
        samples = run(problem, 1, 32, native=native, width=2, ts=np.arange(41) / 2)
    assert np.array_equal(samples.diverged_at, chain.diverged_at)
    kept = chain.diverged_at < 0
    assert_same(samples.values[kept], chain.values[kept], 1e-9)


@pytest.mark.parametrize(
    ("width", "gamma", "lengths"),
    [(1, 0.5, (1, 1)), (16, 1.0, (1, 1)), (1024, 1.0, (4, 64)), (4096, 0.5, (1024, 1024)), (4096, 1.0, (16, 256))],
)
def test_the_default_block_grows_with_the_width_and_is_short_where_features_move(width, gamma, lengths):
    for order, length in zip(ORDERS, lengths, strict=True):
        assert jl.SStep(order=order).block_length(width, gamma) == length
    assert jl.SStep(block=7).block_length(width, gamma) == 7


@pytest.mark.parametrize(
    "settings",
    [
        *({"block": value} for value in (0, 2.5, True)),
        {"lanes": 0},
        *({"order": value} for value in (0, 3, 1.0, True)),
        *({"tolerance": value} for value in (0.0, -1.0, np.nan, "small")),
        {"native": "yes"},
    ],
)
def test_bad_settings_are_refused(settings):
    (name,) = settings
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        jl.SStep(**settings)


def test_numbers_of_numpy_are_numbers():
    method = jl.SStep(block=np.int64(4), order=np.int32(2), tolerance=np.float32(1e-3))
    problem = problem_on(ACTIVATIONS["erf"])
    run_of = Run(problem, problem.network, 64, 3, 0, 128, 1, np.dtype(np.float32), (jax.devices()[0],))
    assert method.chain(run_of).name.startswith("SStep(tolerance=0.001, order=2")


@pytest.mark.slow
def test_native_blocks_stay_within_their_arrays(monkeypatch):
    """Compiled with every index checked: tiles, fours of points and fives of coordinates that are not full."""

    def checked(reorder=True):
        return partial(numba.njit, boundscheck=True, error_model="numpy")

    caches = (_blocks_loop.loop_of_blocks, _passes.passes, _passes.products)
    for module in (_blocks_loop, _passes):
        monkeypatch.setattr(module, "compiler", checked)
    for cached in caches:
        cached.cache_clear()
    for width, points, rank in ((1, 1, 1), (255, 3, 2), (257, 5, 5), (300, 4, 6), (520, 9, 13)):
        x = np.random.default_rng(points).standard_normal((points, rank)) / np.sqrt(rank)
        problem = problem_on(ACTIVATIONS["relu"], x, np.sin(np.arange(points)), gamma=0.75)
        for order in ORDERS:
            samples = run(problem, 7, order=order, native=True, width=width, ts=(0.1, 0.3), batch=2)
            assert np.all(np.isfinite(samples.values))
    for cached in caches:
        cached.cache_clear()
