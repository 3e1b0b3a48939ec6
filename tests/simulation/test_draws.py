"""Draws: what chance gives a replica depends on the key and the replica's number, and follows the stated laws.

That `simulate` uses exactly these draws, in both precisions, is shown by the replays of `test_stepwise.py`.
"""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import jaxlimit as jl
from jaxlimit.simulation import draws
from jaxlimit.simulation._draws import BLOCK, index_block, parameters_key, replica_key, thresholds
from tests import laws, systems
from tests.cases import ACTIVATIONS
from tests.systems import dependence

KEY = jax.random.key(2024)
WEIGHTS = np.array([0.05, 0.4, 0.25, 0.1, 0.2])
PROBLEM = systems.problem(ACTIVATIONS["erf"], jl.Data(systems.FULL_X, systems.FULL_Y, WEIGHTS))


def drawn(width=8, replica=0, steps=0, key=KEY, problem=PROBLEM):
    return draws(problem, width, key, replica, steps)


def test_a_wider_network_contains_the_narrower_ones_draws():
    (c, w, indices), (wide_c, wide_w, wide_indices) = drawn(8, 3, 50), drawn(64, 3, 50)
    assert np.array_equal(c, wide_c[:8])
    assert np.array_equal(w, wide_w[:8])
    assert np.array_equal(indices, wide_indices)


def test_fewer_steps_are_the_beginning_of_more():
    long = drawn(steps=2 * BLOCK + 7)[2]
    for steps in (0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK):
        assert np.array_equal(drawn(steps=steps)[2], long[:steps])


def test_the_same_arguments_give_the_same_draws():
    for first, second in zip(drawn(steps=30), drawn(steps=30), strict=True):
        assert np.array_equal(first, second)


def test_replicas_and_keys_draw_differently():
    base = drawn(steps=40)
    for other in (drawn(replica=1, steps=40), drawn(key=jax.random.key(2025), steps=40)):
        for first, second in zip(base, other, strict=True):
            assert not np.array_equal(first, second)


def test_no_two_replicas_share_neurons_or_samples():
    """Streams with colliding tags would repeat whole arrays."""
    many = [drawn(replica=replica, steps=64) for replica in range(40)]
    for part in range(3):
        assert len({d[part].tobytes() for d in many}) == 40


def test_a_users_own_use_of_the_key_is_independent_of_the_draws():
    """fold_in(key, r) is what a user would write; the domain tag keeps it apart."""
    for replica in range(4):
        own = jax.random.fold_in(KEY, replica)
        c = np.asarray(jl.initial.Uniform().sample(own, (8,)))
        assert not np.array_equal(c, drawn(replica=replica)[0])


def test_draws_are_float32_and_indices_are_integers():
    c, w, indices = drawn(steps=5)
    assert (c.dtype, w.dtype) == (np.float32, np.float32)
    assert np.issubdtype(indices.dtype, np.integer)
    assert (c.shape, w.shape, indices.shape) == ((8,), (8, 3), (5,))


def test_output_and_input_weights_are_independent():
    """Rank correlations of 4000 pairs, standard deviation 1/√4000; 1e-6 for all 4 of them is z = 5.2."""
    c, w, _ = drawn(width=4000)
    assert dependence(c, w) < 5.2 / np.sqrt(4000)


def test_initial_neurons_follow_their_laws_across_replicas():
    """The first neuron of many replicas, not many neurons of one: this is what replicas must have independent."""
    start = jax.jit(jax.vmap(lambda r: PROBLEM.network.init(2, 3, parameters_key(replica_key(KEY, r)))))
    c, w = start(jnp.arange(20_000))
    assert np.array_equal(np.asarray(c[7]), drawn(2, 7)[0])
    assert np.array_equal(np.asarray(w[7]), drawn(2, 7)[1])
    c, w = np.asarray(c, np.float64), np.asarray(w, np.float64).reshape(20_000, 6)
    laws.assert_mean(3 * c**2, 1.0, detectable=0.07)
    together = np.concatenate([np.sqrt(3) * c, w], axis=1)
    products = together[:, :, None] * together[:, None, :]
    laws.assert_mean(products, np.eye(8), detectable=0.1)
    laws.assert_law(w[:, 0], scipy.stats.norm.cdf, detectable=0.05)


def test_indices_follow_the_weights():
    indices = drawn(steps=60_000)[2]
    laws.assert_mean(indices[:, None] == np.arange(5), WEIGHTS, detectable=0.02)
    # Successive samples are independent: pairs have the product law.
    pairs = 5 * indices[:-1] + indices[1:]
    laws.assert_mean(pairs[::2, None] == np.arange(25), np.outer(WEIGHTS, WEIGHTS).ravel(), detectable=0.02)


def test_indices_follow_the_weights_across_replicas():
    """The first step of many replicas."""
    bounds = jnp.asarray(thresholds(WEIGHTS))
    first = jax.jit(jax.vmap(lambda r: index_block(replica_key(KEY, r), jnp.int32(0), bounds)[:2, 0]))
    indices = np.asarray(first(jnp.arange(30_000)))
    assert np.array_equal(indices[11], drawn(replica=11, steps=2)[2])
    laws.assert_mean(indices[:, 0, None] == np.arange(5), WEIGHTS, detectable=0.03)
    pairs = 5 * indices[:, 0] + indices[:, 1]
    laws.assert_mean(pairs[:, None] == np.arange(25), np.outer(WEIGHTS, WEIGHTS).ravel(), detectable=0.03)


@pytest.mark.parametrize("weights", [[1.0], [0.5, 0.5], [0.7, 0.2, 0.1], np.full(1000, 1e-3), [1 - 1e-9, 1e-9]])
def test_thresholds_cut_the_32_bit_integers_in_proportion(weights):
    weights = np.asarray(weights)
    edges = np.concatenate([[0], thresholds(weights).astype(np.int64), [2**32]])
    shares = np.diff(edges) / 2.0**32
    assert np.max(np.abs(shares - weights)) < 2.0**-31
    assert np.all(shares >= 0)


@pytest.mark.parametrize(
    ("bits", "index"), [(0, 0), (2**31 - 1, 0), (2**31, 1), (2**32 - 2**30 - 1, 1), (2**32 - 2**30, 2), (2**32 - 1, 2)]
)
def test_a_threshold_belongs_to_the_point_above_it(bits, index):
    """Weights ½, ¼, ¼: exactly 2³¹, 2³⁰, 2³⁰ of the 2³² integers fall to each point."""
    found = jnp.searchsorted(jnp.asarray(thresholds(np.array([0.5, 0.25, 0.25]))), jnp.uint32(bits), side="right")
    assert int(found) == index


@pytest.mark.parametrize("number", [2**32, -1, True, 1.5])
def test_a_replica_number_has_32_bits(number):
    for call in (
        lambda: jl.simulation.start_key(jax.random.key(0), number),
        lambda: jl.simulation.draws(PROBLEM, 4, jax.random.key(0), number, 0),
    ):
        with pytest.raises(ValueError, match="Argument `replica` must"):
            call()
