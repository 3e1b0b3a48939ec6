"""A network and its two halves: each half is a network of its own, and the average of the two follows the whole."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.simulation import antithetic
from tests import laws, systems
from tests.cases import ACTIVATIONS
from tests.oracle import assert_same, chain, drawn
from tests.systems import LANES

KEY = jax.random.key(0)


def problem_of(case=ACTIVATIONS["tanh"], alpha=1.0):
    return systems.problem(case, jl.Data(systems.FULL_X, systems.FULL_Y), gamma=1.0, alpha=alpha)


def pair_of(problem, width=systems.WIDTH, ts=(0.0, 0.5, 2.0), replicas=3, **settings):
    settings = {
        "method": jl.Stepwise(lanes=LANES),
        "devices": jax.devices()[:1],
        "dtype": jnp.float64,
        "key": KEY,
        **settings,
    }
    return antithetic(problem, width, ts, replicas=replicas, **settings)


@pytest.mark.slow
@pytest.mark.parametrize(
    "method", [jl.Stepwise(lanes=LANES), jl.Stepwise(lanes=LANES, native=True), jl.SStep(block=1, native=False)]
)
def test_halves_take_half_of_the_neurons_and_every_other_sample(method):
    case, half = ACTIVATIONS["tanh"], systems.WIDTH // 2
    problem = problem_of(case)
    pair = pair_of(problem, method=method, at=systems.FULL_AT)
    c, w, indices = drawn(problem, systems.WIDTH, KEY, 1, 2 * systems.WIDTH + 2)
    whole = chain(problem, case, c, w, indices, pair.fine.steps, systems.FULL_AT)
    assert_same(pair.fine.values[1], whole.values, 1e-12)
    for part, samples in enumerate((pair.first, pair.second)):
        assert samples.width == half
        assert samples.steps.tolist() == [0, half // 2, 2 * half]
        own = slice(part * half, (part + 1) * half)
        path = chain(problem, case, c[own], w[own], indices[part::2], samples.steps, systems.FULL_AT)
        assert_same(samples.values[1], path.values, 1e-12)


def test_the_whole_is_what_simulate_returns_bit_by_bit():
    problem = problem_of()
    alone = systems.run(problem, ts=(0.0, 0.5, 2.0), replicas=3)
    assert np.array_equal(pair_of(problem).fine.values, alone.values)


@pytest.mark.slow
def test_batches_and_more_steps_than_one_stream_of_indices():
    case = ACTIVATIONS["tanh"]
    problem = problem_of(case, alpha=0.1)
    pair = pair_of(problem, ts=(60.0,), replicas=1, batch=3)
    c, w, indices = drawn(problem, systems.WIDTH, KEY, 0, 60 * systems.WIDTH, 3)
    half = systems.WIDTH // 2
    path = chain(problem, case, c[half:], w[half:], indices[1::2], pair.second.steps)
    assert_same(pair.second.values[0], path.values, 1e-12)


def test_at_the_start_the_whole_is_the_average_of_its_halves():
    pair = pair_of(problem_of(), ts=(0.0,))
    assert_same(0.5 * (pair.first.values + pair.second.values), pair.fine.values, 1e-15)


@pytest.mark.slow
def test_the_difference_is_an_order_smaller_than_the_fluctuations():
    """At γ = 1 the variance of fine − average falls like N^−2 and that of the outputs like N^−1."""
    problem = problem_of(alpha=2.0)
    variances = []
    for width in (64, 256):
        pair = pair_of(problem, width, (1.0,), 400, dtype=jnp.float32, method=None)
        gap = pair.fine.values - 0.5 * (pair.first.values + pair.second.values)
        variances.append((np.mean(np.var(pair.fine.values, axis=0)), np.mean(np.var(gap, axis=0))))
    (wide, gap), (wider, less) = variances
    assert 0.7 < np.log(wide / wider) / np.log(4) < 1.3
    assert 1.6 < np.log(gap / less) / np.log(4) < 2.4


@pytest.mark.slow
def test_the_multilevel_estimate_is_the_plain_one_at_a_fraction_of_its_cost():
    """Widths 32 … 1024 at γ = 1: same mean as plain Monte Carlo at width 1024, at least four times cheaper."""
    problem, ts, widths = problem_of(alpha=2.0), (1.0,), (32, 64, 128, 256, 512, 1024)
    settings = {"ts": ts, "dtype": jnp.float32, "method": None}

    def levels(replicas, seed):
        coarsest = systems.run(problem, widths[0], replicas=replicas[0], seed=seed, **settings)
        found, costs = [coarsest.values[:, 0]], [coarsest.cost]
        for number, width in enumerate(widths[1:], start=1):
            # Independent keys at every level: the estimate takes them as independent.
            key = jax.random.key(100 * seed + number)
            pair = pair_of(problem, width, replicas=replicas[number], key=key, **settings)
            average = 0.5 * (pair.first.values + pair.second.values)
            found.append((pair.fine.values[:, 0], average[:, 0]))
            costs.append(pair.cost)
        return found, costs

    finest = widths[-1] ** 2
    pilot, costs = levels([200] * 6, 1)
    estimate = jl.statistics.multilevel(pilot, costs, finest)
    wanted = 0.001
    replicas = jl.statistics.allocation(estimate.variances, costs, wanted)
    estimate = jl.statistics.multilevel(*levels(replicas, 2), finest)
    assert np.all(estimate.standard_error < 1.2 * wanted)
    assert np.min(estimate.reduction) > 4
    plain = systems.run(problem, widths[-1], replicas=2000, seed=3, **settings).values[:, 0]
    error = np.hypot(estimate.standard_error, plain.std(axis=0, ddof=1) / np.sqrt(len(plain)))
    assert np.max(np.abs(estimate.mean - plain.mean(axis=0)) / error) < 5.2
    assert np.max(error) < 0.0015


@pytest.mark.slow
def test_halves_follow_the_law_of_their_width():
    """First and second halves of 400 networks of width 64 against networks of width 32, mean by mean."""
    problem = problem_of(alpha=2.0)
    pair = pair_of(problem, 64, (1.0,), 400, dtype=jnp.float32)
    alone = systems.run(problem, 32, (1.0,), replicas=1600, seed=5, dtype=jnp.float32).values[:, 0]
    for samples in (pair.first, pair.second):
        laws.assert_mean(samples.values[:, 0] - alone.mean(axis=0), 0.0, detectable=0.1)
        spread = np.log(samples.values[:, 0].std(axis=0) / alone.std(axis=0))
        assert np.max(np.abs(spread)) < 5.2 * np.sqrt(0.5 / 400 + 0.5 / 1600)


@pytest.mark.parametrize("width", [0, 3, 2.0, True])
def test_odd_widths_are_refused(width):
    with pytest.raises(ValueError, match="Argument `width` must be"):
        pair_of(problem_of(), width)


def test_progress_only_grows_and_ends_at_its_total():
    calls = []
    pair_of(problem_of(), progress=lambda done, total: calls.append((done, total)))
    done = [part for part, _ in calls]
    assert done == sorted(done)
    assert calls[-1] == (1.0, 1.0)
