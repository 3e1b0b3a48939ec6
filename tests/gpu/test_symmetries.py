"""Symmetries of the chain: signs are exact in floating point, so they hold bit by bit; the others to rounding.

One program for all of them: what is turned and negated is data.
"""

import numpy as np
import pytest

import jaxlimit as jl
from tests.gpu.sizes import KEY, METHODS, assert_close, data, elsewhere, initial, named, problem, run, same_bits, sizes
from tests.oracle import largest_difference

CASES = named(METHODS, quick=("stepwise",))


def assert_alike(other, base, turned):
    """Every replica to rounding, w after what was done to its start."""
    for replica in range(base.replicas):
        assert_close(other.values[replica], base.values[replica], base.steps, "outputs")
        assert_close(other.observed["w"][replica], turned(base.observed["w"][replica]), base.steps, "parameters")


@pytest.mark.parametrize(("name", "size"), CASES)
def test_negating_c_and_the_targets_negates_the_outputs_bitwise(name, size):
    method = METHODS[name](size)
    base = run(problem(size), size, method)
    negated = run(problem(size, initial(size, sign_c=-1), data(size, -1.0)), size, method)
    assert np.array_equal(negated.values, -base.values)
    assert np.array_equal(negated.observed["w"], base.observed["w"])
    assert largest_difference(base.values[:, -1], base.values[:, 0]) > 0.01


@pytest.mark.parametrize(("name", "size"), CASES)
def test_negating_both_layers_of_an_odd_activation_changes_no_output_bitwise(name, size):
    method = METHODS[name](size)
    base = run(problem(size), size, method)
    both = run(problem(size, initial(size, sign_c=-1, sign_w=-1)), size, method)
    assert np.array_equal(both.observed["w"], -base.observed["w"])
    assert np.array_equal(both.values, base.values)


@pytest.mark.parametrize(("name", "size"), CASES)
def test_a_learning_rate_of_zero_freezes_everything_bitwise(name, size):
    method = METHODS[name](size)
    still = run(problem(size, learning_rate=0.0), size, method)
    for seen in (still.values, still.observed["c"], still.observed["w"]):
        assert np.array_equal(seen, np.broadcast_to(seen[:, :1], seen.shape))
    assert np.array_equal(still.values[:, 0], run(problem(size), size, method).values[:, 0])


@pytest.mark.parametrize(("name", "size"), CASES)
def test_the_order_of_the_neurons_does_not_matter(name, size):
    method = METHODS[name](size)
    order = np.random.default_rng(0).permutation(size.width)
    base, other = run(problem(size), size, method), run(problem(size, initial(size, order=order)), size, method)
    assert np.array_equal(other.observed["w"][:, 0], base.observed["w"][:, 0][:, order])
    assert_alike(other, base, lambda w: w[:, order])


@pytest.mark.parametrize(("name", "size"), CASES)
def test_rotating_inputs_and_weights_together_changes_nothing(name, size):
    method = METHODS[name](size)
    turn = np.linalg.qr(np.random.default_rng(1).standard_normal((size.inputs, size.inputs)))[0]
    base = run(problem(size), size, method)
    turned = problem(size, initial(size, turn=turn), data(size, turn=turn))
    other = run(turned, size, method, at=elsewhere(size) @ turn.T)
    assert not same_bits(other, base, size.replicas)
    assert_alike(other, base, lambda w: w @ turn.T)


@pytest.mark.parametrize("width", sizes(32, 16384))
def test_a_wider_network_begins_with_the_neurons_of_a_narrower_one(width):
    question = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Tanh()))
    narrow, wide = (jl.simulation.draws(question, n, KEY, 0, 10) for n in (width, 2 * width))
    assert np.array_equal(narrow[0], wide[0][:width])
    assert np.array_equal(narrow[1], wide[1][:width])
    assert np.array_equal(narrow[2], wide[2])
