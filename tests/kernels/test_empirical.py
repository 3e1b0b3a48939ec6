"""The kernel of a finite network: its definition in NumPy, and its mean, which is the limit's kernel at every width."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.networks import Neurons
from tests import laws, systems
from tests.cases import ACTIVATIONS, each

X, X2 = systems.FULL_X, systems.FULL_AT


def network(case, train_output=True):
    return jl.networks.Shallow(case.activation, jl.Initial(), train_output)


def some_parameters(*batch, seed=0):
    rng = np.random.default_rng(seed)
    return Neurons(jnp.asarray(rng.uniform(-1, 1, (*batch, 7))), jnp.asarray(rng.standard_normal((*batch, 7, 3))))


def by_definition(case, parameters, x, x2, train_output=True):
    c, w = (np.asarray(p) for p in parameters)
    total = np.zeros((len(x), len(x2)))
    for ci, wi in zip(c, w, strict=True):
        u, v = x @ wi, x2 @ wi
        total += ci**2 * np.outer(case.slope(u), case.slope(v)) * (x @ x2.T)
        if train_output:
            total += np.outer(case.sigma(u), case.sigma(v))
    return total / len(c)


@pytest.mark.parametrize("train_output", [True, False])
@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_it_is_the_average_over_neurons(case, train_output):
    p = some_parameters()
    for x2 in (None, X2):
        found = jl.empirical_gram(network(case, train_output), p, X, x2)
        expected = by_definition(case, p, X, X if x2 is None else x2, train_output)
        assert found.dtype == jnp.float64
        assert np.max(np.abs(found - expected)) < 1e-14


def test_leading_axes_of_the_parameters_are_batched_over():
    case = ACTIVATIONS["erf"]
    p = some_parameters(2, 3)
    found = jl.empirical_gram(network(case), p, X, X2)
    assert found.shape == (2, 3, 5, 2)
    for index in np.ndindex(2, 3):
        one = jl.empirical_gram(network(case), Neurons(p.c[index], p.w[index]), X, X2)
        assert np.max(np.abs(found[index] - one)) < 1e-15


def test_it_has_the_precision_of_the_parameters_and_runs_under_jit():
    case = ACTIVATIONS["erf"]
    p = jax.tree.map(lambda a: a.astype(jnp.float32), some_parameters())
    found = jax.jit(lambda p: jl.empirical_gram(network(case), p, X))(p)
    assert found.dtype == jnp.float32
    assert np.max(np.abs(np.asarray(found) - by_definition(case, p, X, X))) < 2e-6


@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_its_mean_at_initialisation_is_the_kernel_of_the_limit(case):
    """E B_N = B at every width, so 60,000 networks of one neuron say as much as one of 60,000."""
    c, w = network(case).init(60_000, 3, jax.random.key(3))
    each_neuron = jl.empirical_gram(network(case), Neurons(c[:, None], w[:, None, :]), X[:3])
    expected = jl.gram(network(case), X[:3], rule=case.rule).value
    laws.assert_mean(each_neuron.reshape(-1, 9), expected.ravel(), detectable=0.06)


@pytest.mark.slow
def test_it_serves_as_an_observable():
    case = ACTIVATIONS["erf"]
    problem = systems.problem(case, jl.Data(X, systems.FULL_Y))
    samples = systems.run(problem, observe=lambda now, start: (now, jl.empirical_gram(problem.network, now, X)))
    now, kernel = samples.observed
    assert kernel.shape == (systems.REPLICAS, len(systems.TS), 5, 5)
    for index in np.ndindex(systems.REPLICAS, len(systems.TS)):
        expected = by_definition(case, (now.c[index], now.w[index]), X, X)
        assert np.max(np.abs(kernel[index] - expected)) < 1e-13
