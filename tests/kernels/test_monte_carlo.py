"""Kernels by independent draws: right within their standard errors, which are right themselves; any law of w."""

from itertools import pairwise

import numpy as np
import pytest
import scipy.stats

import jaxlimit as jl
from jaxlimit.kernels import CertificateStatus, MonteCarlo, initial_covariance
from tests import systems
from tests.cases import ACTIVATIONS, CHAINS, VECTOR_LAWS, each

X = systems.FULL_X
NEURONS = 40_000


def network(case, w=None, c=None, train_output=True):
    initial = jl.Initial(c=jl.initial.Uniform() if c is None else c, w=jl.initial.Normal() if w is None else w)
    return jl.networks.Shallow(case.activation, initial, train_output)


def assert_within_errors(gram, exact, largest, false_alarm=1e-6):
    """Every entry within z standard errors, the rate shared by the entries; an error of 6 `largest` would be seen."""
    z = scipy.stats.norm.isf(0.5 * false_alarm / gram.value.size)
    assert np.max(gram.standard_error) <= largest
    assert np.all(np.abs(gram.value - exact) <= z * gram.standard_error + gram.radius)


@pytest.mark.parametrize("name", [*CHAINS, "sin + cos", "Hermite 2"])
def test_entries_are_those_of_the_other_rules_within_their_standard_errors(name):
    """Smooth, kinked, bounded or not; both terms, the second alone, and Σ."""
    case = ACTIVATIONS[name]
    for trained in (True, False):
        exact = jl.gram(network(case, train_output=trained), X, rule=case.rule)
        found = jl.gram(network(case, train_output=trained), X, rule=MonteCarlo(NEURONS))
        assert_within_errors(found, exact.value, 0.06)
    exact = initial_covariance(network(case), X, rule=case.rule)
    assert_within_errors(initial_covariance(network(case), X, rule=MonteCarlo(NEURONS)), exact.value, 0.06)


def moments(case, p, q, variance):
    """E f and Var f of f = σσ' + v σ'σ' x·x' by a rule that is exact to rounding for sines of these points."""
    z, weights = np.polynomial.hermite_e.hermegauss(80)
    weights = weights / weights.sum()
    along, across = p @ q / np.linalg.norm(p), np.linalg.norm(q - p @ q / (p @ p) * p)
    u = np.linalg.norm(p) * z[:, None] + 0 * z[None, :]
    v = along * z[:, None] + across * z[None, :]
    f = case.sigma(u) * case.sigma(v) + variance * case.slope(u) * case.slope(v) * (p @ q)
    mean = weights @ f @ weights
    return mean, weights @ (f - mean) ** 2 @ weights


@pytest.mark.parametrize("name", ["sin", "cos"])
def test_standard_errors_are_those_of_the_exact_variance_with_the_covariance_of_both_terms(name):
    """To 3%: with 40,000 draws the sample deviation of a bounded f is good to 1%."""
    case = ACTIVATIONS[name]
    found = jl.gram(network(case, c=jl.initial.Rademacher()), X, rule=MonteCarlo(NEURONS))
    for i, p in enumerate(X):
        for j, q in enumerate(X[:i]):
            _, variance = moments(case, p, q, 1.0)
            assert found.standard_error[i, j] == pytest.approx(np.sqrt(variance / NEURONS), rel=0.03)
    # Were the covariance left out, some entry would be off by far more.
    without = initial_covariance(network(case, c=jl.initial.Rademacher()), X, rule=MonteCarlo(NEURONS))
    second = jl.gram(network(case, c=jl.initial.Rademacher(), train_output=False), X, rule=MonteCarlo(NEURONS))
    sums = np.hypot(without.standard_error, second.standard_error)
    assert np.max(np.abs(sums / found.standard_error - 1)) > 0.1


def test_uniform_weights_against_quadrature_of_their_law():
    """No other rule has this law: Gauss-Legendre in both coordinates of w."""
    case = ACTIVATIONS["tanh"]
    x = X[:, :2]
    found = jl.gram(network(case, w=jl.initial.Uniform(-1.0, 2.0)), x, rule=MonteCarlo(NEURONS))
    t, weights = np.polynomial.legendre.leggauss(40)
    w = np.stack(np.meshgrid(0.5 + 1.5 * t, 0.5 + 1.5 * t), axis=-1).reshape(-1, 2)
    mass = 0.25 * np.outer(weights, weights).ravel()
    value, slope = case.sigma(w @ x.T), case.slope(w @ x.T)
    exact = (mass * value.T) @ value + jl.initial.Uniform().second_moment * ((mass * slope.T) @ slope) * (x @ x.T)
    assert_within_errors(found, exact, 0.01)
    with pytest.raises(ValueError, match="MonteCarlo"):
        jl.gram(network(case, w=jl.initial.Uniform()), x)


def test_laws_of_finitely_many_weights_against_their_sum():
    case = ACTIVATIONS["relu"]
    law = jl.initial.Discrete([2.0, -1.0], [0.25, 0.75])
    x = X[:, :2]
    w = np.array([[a, b] for a in law.values for b in law.values])
    mass = np.array([p * q for p in law.probabilities for q in law.probabilities])
    value, slope = case.sigma(w @ x.T), case.slope(w @ x.T)
    exact = (mass * value.T) @ value + jl.initial.Uniform().second_moment * ((mass * slope.T) @ slope) * (x @ x.T)
    assert_within_errors(jl.gram(network(case, w=law), x, rule=MonteCarlo(NEURONS)), exact, 0.02)


def test_a_certain_weight_has_no_error():
    case = ACTIVATIONS["erf"]
    found = jl.gram(network(case, w=jl.initial.Dirac(0.5)), X, rule=MonteCarlo(5000))
    value, slope = case.sigma(0.5 * X.sum(axis=1)), case.slope(0.5 * X.sum(axis=1))
    exact = np.outer(value, value) + jl.initial.Uniform().second_moment * np.outer(slope, slope) * (X @ X.T)
    assert np.max(found.standard_error) < 1e-8  # the square root of rounding
    assert np.all(np.abs(found.value - exact) <= found.radius + 1e-15)


@pytest.mark.parametrize("law", each(VECTOR_LAWS))
def test_weights_with_a_covariance_agree_with_the_closed_form(law):
    case = ACTIVATIONS["erf"]
    exact = jl.gram(network(case, w=law), X)
    assert_within_errors(jl.gram(network(case, w=law), X, rule=MonteCarlo(NEURONS)), exact.value, 0.01)


def test_the_same_seed_gives_the_same_draws_whatever_is_asked():
    """Blocks, cross blocks, Σ and the kernel's first term are averages over the same neurons."""
    case, rule = ACTIVATIONS["erf"], MonteCarlo(3000, seed=4)
    x = np.random.default_rng(0).standard_normal((150, 3))  # more than one block
    whole = jl.gram(network(case), x, rule=rule)
    assert np.array_equal(whole.value, whole.value.T)
    assert np.array_equal(whole.standard_error, whole.standard_error.T)
    cross = jl.gram(network(case), x[:4], x[140:], rule=rule)
    assert np.max(np.abs(cross.value - whole.value[:4, 140:])) < 1e-13
    assert np.max(np.abs(cross.standard_error - whole.standard_error[:4, 140:])) < 1e-12
    frozen = jl.gram(network(case, train_output=False), x[:4], rule=rule)
    start = initial_covariance(network(case), x[:4], rule=rule)
    third = jl.initial.Uniform().second_moment
    assert np.max(np.abs(frozen.value + start.value / third - whole.value[:4, :4])) < 1e-13
    assert (
        np.max(np.abs(jl.gram(network(case), x[:4], rule=MonteCarlo(3000, seed=5)).value - cross.value[:, :4])) > 1e-4
    )


def test_more_neurons_begin_with_the_fewer_ones():
    """n·average is a sum over draws: from 2 to 2049 neurons, past the end of a chunk, sums grow by whole neurons."""
    case, x = ACTIVATIONS["erf"], X[:1]
    sums = [n * initial_covariance(network(case), x, rule=MonteCarlo(n)).value[0, 0] * 3 for n in (2048, 2049, 2050)]
    # One more neuron adds σ² ∈ [0, 1].
    assert all(0 <= b - a <= 1 for a, b in pairwise(sums))


def test_its_certificates_are_undecided_and_limits_take_it():
    case = ACTIVATIONS["tanh"]
    problem = systems.problem(case)
    limit = jl.SpectralLimit(problem, rule=MonteCarlo(NEURONS))
    found = limit.certificate()
    assert found.status is CertificateStatus.UNDECIDED
    # The exact kernel is one of features: so much is proved. Of any other matrix with standard errors it is not.
    assert found.lower == 0.0
    assert "lambda_min_confidence" in found.reason
    assert jl.certify(jl.kernels.Gram(np.eye(2), standard_error=np.ones((2, 2)))).lower == -np.inf
    assert jl.gram(network(case), X, X[:3], rule=MonteCarlo(100)).semidefinite is False
    assert "standard errors" in found.reason
    assert any("40000 draws" in assumption for assumption in found.assumptions)
    exact = jl.SpectralLimit(problem, rule=case.rule)
    assert np.max(np.abs(limit.law([2.0]).mean - exact.law([2.0]).mean)) < 0.02
    repeated = jl.certify(jl.gram(network(case), X[[0, 1, 1]], rule=MonteCarlo(100)))
    assert repeated.status is CertificateStatus.PROVED_NOT_PD  # a structural reason needs no entries


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda: MonteCarlo(0), "neurons"),
        (lambda: MonteCarlo(1), "neurons"),
        (lambda: MonteCarlo(2.5), "neurons"),
        (lambda: MonteCarlo(True), "neurons"),
        (lambda: MonteCarlo(10, -1), "seed"),
        (lambda: MonteCarlo(10, 2**32), "seed"),
        (lambda: MonteCarlo(10, "a"), "seed"),
    ],
)
def test_rules_that_mean_nothing_are_refused(make, name):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        make()
