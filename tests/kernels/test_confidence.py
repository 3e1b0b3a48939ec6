"""Coverage of the confidence bounds of λ_min, and failure of the plug-in value that they replace."""

import math

import jax
import numpy as np
import pytest
import scipy.stats

import jaxlimit as jl
from jaxlimit import _devices
from jaxlimit.kernels import LambdaMinReplicates, lambda_min_confidence, lambda_min_replicates
from tests import laws
from tests.cases import ACTIVATIONS, each

ERF = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
X = jl.data.sphere(points=5, inputs=3).x
TRIALS, REPLICAS, LEVEL = 200, 50, 0.05


def most(trials, level, false_alarm=laws.FALSE_ALARM):
    """More miscovered trials than this prove a miscoverage above `level`."""
    return int(scipy.stats.binom.isf(false_alarm, trials, level))


def test_both_bounds_cover_and_one_smallest_eigenvalue_does_not():
    truth = jl.certify(jl.gram(ERF, X)).lower
    found = lambda_min_replicates(ERF, X, 200, TRIALS * REPLICAS, jax.random.key(1))
    trials = found.values.reshape(TRIALS, REPLICAS)
    bounds = [lambda_min_confidence(LambdaMinReplicates(values, found.rounding), LEVEL) for values in trials]
    finite, asymptotic = (np.array([getattr(b, kind) for b in bounds]) for kind in ("finite_sample", "asymptotic"))
    assert np.sum(finite > truth) <= most(TRIALS, LEVEL)
    assert np.sum(asymptotic > truth) <= most(TRIALS, 2 * LEVEL)  # its level is approximate
    assert np.mean(found.values > truth) > 0.4  # claimed at 5%
    assert np.sum(found.values[:TRIALS] > truth) > most(TRIALS, LEVEL)
    # Neither covers by being vacuous.
    assert 0.85 * truth < np.mean(finite) < np.mean(asymptotic) < truth


LAWS = {
    "exponential": (lambda rng, size: rng.exponential(1.0, size), 1.0),
    "rare and large": (lambda rng, size: 20.0 * (rng.random(size) < 0.05), 1.0),
    "narrow": (lambda rng, size: rng.uniform(0.95, 1.05, size), 1.0),
    "Pareto, infinite variance": (lambda rng, size: rng.pareto(1.5, size), 2.0),
}


@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("level", [0.3, 0.02])
def test_betting_covers_the_mean_of_any_non_negative_law(law, level):
    draw, mean = LAWS[law]
    values = draw(np.random.default_rng(3), (400, 20))
    missed = sum(lambda_min_confidence(v, level).finite_sample > mean for v in values)
    assert missed <= most(400, level)


def test_bets_that_see_their_own_outcome_are_caught():
    """The planted bug: with the largest values first, what comes next does not have the mean it is bet on."""
    values = np.sort(np.random.default_rng(3).exponential(1.0, (400, 60)), axis=1)[:, ::-1]
    missed = sum(lambda_min_confidence(v, 0.1).finite_sample > 1.0 for v in values)
    assert missed > most(400, 0.1)


def test_bounds_scale_with_the_values_and_shrink_with_rounding():
    values = np.random.default_rng(4).exponential(1.0, 60)
    one, scaled = lambda_min_confidence(values), lambda_min_confidence(1e-9 * values)
    assert scaled.finite_sample == pytest.approx(1e-9 * one.finite_sample, rel=1e-9)
    assert scaled.asymptotic == pytest.approx(1e-9 * one.asymptotic, rel=1e-9)
    rounded = lambda_min_confidence(values, rounding=0.01)
    assert one.finite_sample - rounded.finite_sample == pytest.approx(0.01)
    assert one.asymptotic - rounded.asymptotic == pytest.approx(0.01)
    assert one.asymptotic == pytest.approx(values.mean() - scipy.stats.t.ppf(0.95, 59) * scipy.stats.sem(values))


@pytest.mark.parametrize("factor", [2.0**-1070, 2.0**-1000, 2.0**-530, 2.0**520, 2.0**1020])
def test_bounds_scale_from_subnormal_to_huge_numbers(factor):
    """By powers of two, so exactly; subnormal results are rounded outwards."""
    values = np.random.default_rng(4).integers(1, 9, 60).astype(np.float64)
    one, scaled = lambda_min_confidence(values), lambda_min_confidence(factor * values)
    least = 2.0**-1074 if factor < 2.0**-1020 else 0.0
    for kind in ("finite_sample", "asymptotic", "mean"):
        true, found = (math.frexp(getattr(b, kind)) for b in (one, scaled))
        assert getattr(scaled, kind) <= getattr(one, kind) * factor
        assert least or (found[0] == true[0] and found[1] - true[1] == math.frexp(factor)[1] - 1)
    assert scaled.finite_sample >= one.finite_sample * factor - 2 * least
    assert scaled.standard_error >= one.standard_error * factor
    matrices = lambda_min_confidence(factor * np.array([v * np.eye(2) for v in values]))
    assert matrices.finite_sample <= scaled.finite_sample
    assert matrices.mean == pytest.approx(scaled.mean, rel=1e-12, abs=least)


def test_zeros_say_nothing_and_constants_say_almost_everything():
    assert lambda_min_confidence(np.zeros(10)).finite_sample == 0.0
    assert lambda_min_confidence(np.append(np.ones(40), 0.0)).finite_sample < 1.0
    # 38 bets of at most 0.95 of the capital: (1 + 0.95(1/m − 1))^38 = 20
    expected = 1 / (1 + (20 ** (1 / 38) - 1) / 0.95)
    assert lambda_min_confidence(np.ones(40)).finite_sample == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("train_output", [True, False])
@pytest.mark.parametrize("case", each(ACTIVATIONS))
def test_replicates_are_smallest_eigenvalues_of_empirical_kernels(case, train_output):
    network = jl.networks.Shallow(case.activation, jl.Initial(), train_output)
    weights = np.array([0.1, 0.2, 0.3, 0.15, 0.25])
    found = lambda_min_replicates(network, X, 3000, 2, jax.random.key(2), weights)
    for replica, value in enumerate(found.values):
        c, w = network.init(3000, 3, jax.random.fold_in(jax.random.key(2), replica))
        c, w = np.asarray(c, np.float64), np.asarray(w, np.float64)
        u = X @ w.T
        slopes = case.slope(u) * c
        kernel = slopes @ slopes.T * (X @ X.T) + (case.sigma(u) @ case.sigma(u).T if train_output else 0.0)
        expected = np.linalg.eigvalsh(kernel * np.sqrt(np.outer(weights, weights)) / 3000)[0]
        assert abs(value - max(expected, 0.0)) <= 1e-14
    assert found.rounding < 1e-12


class Narrow(jl.activations.AbstractActivation):
    """tanh, in single precision whatever comes in."""

    def __call__(self, u):
        return u.__array_namespace__().tanh(u).astype("float32")

    def derivative(self, u):
        return 1 - u.__array_namespace__().tanh(u) ** 2


def test_features_in_single_precision_are_refused_and_not_called_float64():
    with pytest.raises(ValueError, match=r"Argument `activation` must compute σ in float64 .+ but σ came in float32"):
        lambda_min_replicates(jl.networks.Shallow(Narrow()), X, 10, 2, jax.random.key(0))


def test_more_neurons_than_the_memory_holds_are_refused_before_they_are_drawn(monkeypatch):
    monkeypatch.setattr(_devices, "available_on_host", lambda: 2**30)
    monkeypatch.setattr(jl.networks.Shallow, "init", lambda *_: pytest.fail("neurons were drawn"))
    with pytest.raises(ValueError, match=r"Argument `neurons` must have weights that fit .+, but 29\.8 GiB are needed"):
        lambda_min_replicates(ERF, X, 10**9, 2, jax.random.key(0))


def test_matrices_are_taken_too():
    rng = np.random.default_rng(5)
    factors = rng.standard_normal((30, 3, 8))
    matrices = factors @ factors.swapaxes(1, 2)
    found = lambda_min_confidence(matrices)
    assert found.mean == pytest.approx(np.mean([np.linalg.eigvalsh(m)[0] for m in matrices]))
    assert 0 < found.rounding < 1e-13
    assert found.replicas == 30


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([1.0],), "`replicates` must|`replicas` must|be at least 2"),
        (([1.0, -0.1],), "`replicates` must be ≥ 0"),
        (([1.0, math.nan],), "`replicates` must be finite"),
        ((np.ones((2, 3)),), "`replicates` must have shape"),
        ((np.triu(np.ones((2, 2, 2))),), "`replicates` must hold symmetric"),
        (([1.0, 2.0], 0.0), "`level` must lie between"),
        (([1.0, 2.0], 1e-300), "`level` must be at least 1e-100"),
        (([1.0, 2.0], 0.1, -1.0), "`rounding` must"),
        ((LambdaMinReplicates(np.ones(2), math.nan),), "`replicates.rounding` must"),
        ((np.ones((0, 2, 2)),), "`replicates` must be at least 2"),
    ],
)
def test_what_is_no_sample_is_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        lambda_min_confidence(*arguments)
