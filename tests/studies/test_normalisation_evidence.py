"""Verdicts of the normalisation study on made-up evidence: laws that are right, too few networks, diverged ones."""

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.studies._normalisation_claims import Evidence, claims
from jaxlimit.studies._normalisation_prediction import Curve, Predictions, wrong_sign

DATA = jl.data.sphere(3, 3)
# At x = 0 every network with σ(0) = 0 says 0, which has the wrong sign.
HELD_OUT = jl.Data(np.vstack([np.zeros((1, 3)), jl.data.sphere(3, 3, seed=1).x]), [1.0, 1.0, -1.0, 1.0])
TS = np.array([0.0, 2.0])
WIDTHS = (64, 256, 1024)
DECIDED = ("variance γ = 0.5", "bias", "movement γ = 0.5", "test error")


@pytest.fixture(scope="module")
def predictions():
    problem = jl.Problem(DATA, jl.networks.Shallow(jl.activations.Erf(), jl.Initial()), learning_rate=2.0)
    return Predictions(jl.SpectralLimit(problem), HELD_OUT, TS, 128, jax.random.key(0))


def samples(predictions, width, replicas, points, lost=0, scale=1.0, seed=0):
    """Networks at γ = 1/2 that have the predicted law, point by point; the first `lost` diverged."""
    rng = np.random.default_rng([seed, width])
    variance = np.diagonal(predictions.linear.covariance, axis1=1, axis2=2).copy()
    variance[-1, DATA.points :] += predictions._linear_error[0] / width
    values = predictions.linear.mean + np.sqrt(scale * variance) * rng.standard_normal((replicas, *variance.shape))
    values[:lost] = np.nan
    moved = np.zeros((replicas, 2))
    moved[:, 1] = rng.gamma(50.0, 1.0, replicas) / 50 / width
    diverged, steps = np.full(replicas, -1), (TS * width).astype(np.int64)
    diverged[:lost] = 1
    return jl.Samples(TS, values[:, :, :points], moved, steps, diverged, "Stepwise", width, 1)


def found(predictions, replicas=8192, path_replicas=2048, lost=(0, 0), scale=1.0):
    law = samples(predictions, 512, replicas, DATA.points, lost[0], scale)
    paths = tuple(samples(predictions, w, path_replicas, 7, lost[1], scale, seed=1) for w in WIDTHS)
    tested, _, remarks = claims(Evidence(predictions, (0.5,), WIDTHS, (law,), (paths,)))
    return {claim.name: claim for claim in tested}, remarks


def test_networks_of_the_predicted_law_hold(predictions):
    tested, _ = found(predictions)
    assert [tested[name].verdict for name in DECIDED] == [Verdict.HOLDS] * 4, tested


def test_a_variance_off_by_a_half_is_seen_from_1000_networks_on(predictions):
    tested, _ = found(predictions, replicas=1000, scale=1.5)
    assert tested["variance γ = 0.5"].verdict is Verdict.VIOLATED
    few, _ = found(predictions, replicas=999, scale=1.5)
    assert few["variance γ = 0.5"].verdict is Verdict.UNDECIDED
    assert "999 replicas are fewer than the 1000" in few["variance γ = 0.5"].reason


def test_few_networks_decide_nothing_whatever_they_show(predictions):
    """Of two networks both centred squares are the same: the standard error is 0 exactly."""
    tested, _ = found(predictions, replicas=2, path_replicas=1000)
    for name in ("variance γ = 0.5", "bias", "test error"):
        assert tested[name].verdict is Verdict.UNDECIDED
    assert "2 replicas are fewer than the 1000" in tested["variance γ = 0.5"].reason


@pytest.mark.parametrize(("lost", "count"), [(1, "1 of 8192"), (4915, "4915 of 8192"), (8191, "8191 of 8192")])
def test_diverged_networks_leave_variance_and_bias_undecided(predictions, lost, count):
    tested, _ = found(predictions, lost=(lost, 0))
    for name in DECIDED[:2]:
        assert tested[name].verdict is Verdict.UNDECIDED
        assert f"networks diverged: {count} at N = 512" in tested[name].reason
    assert tested["movement γ = 0.5"].verdict is Verdict.HOLDS


@pytest.mark.parametrize("lost", [1, 2047, 2048])
def test_diverged_networks_leave_movement_and_test_error_undecided(predictions, lost):
    tested, _ = found(predictions, lost=(0, lost))
    for name in DECIDED[2:]:
        assert tested[name].verdict is Verdict.UNDECIDED
        assert f"networks diverged: {lost} of 2048 at N = 64, {lost} of 2048 at N = 256" in tested[name].reason
    assert tested["bias"].verdict is Verdict.HOLDS


def test_a_remark_compares_no_test_errors_of_diverged_networks(predictions, monkeypatch):
    variance, mean = Predictions.variance, Predictions.mean
    # No flow is solved: both γ are predicted as the first.
    monkeypatch.setattr(Predictions, "variance", lambda self, _, width: variance(self, 0.5, width))
    monkeypatch.setattr(Predictions, "mean", lambda self, _, width: mean(self, 0.5, width))
    law = samples(predictions, 512, 100, DATA.points)
    whole, lossy = (tuple(samples(predictions, w, 100, 7, lost) for w in WIDTHS) for lost in (0, 3))
    *_, remarks = claims(Evidence(predictions, (0.5, 0.6), WIDTHS, (law, law), (whole, lossy)))
    assert {remark.found for remark in remarks} == {"not compared"}
    assert all("3 of 100" in remark.reason for remark in remarks)


def test_a_bias_that_is_predicted_to_vanish_is_undecided(predictions, monkeypatch):
    learnt = np.tile(np.concatenate([DATA.y, np.zeros(4)]), (2, 1))
    monkeypatch.setattr(Predictions, "mean", lambda *_: Curve(learnt, 0 * learnt))
    tested, _ = found(predictions)
    assert (tested["bias"].verdict, tested["bias"].reason) == (Verdict.UNDECIDED, "a predicted bias is 0")


def test_the_sign_of_an_output_without_spread_is_that_of_its_mean():
    seen = wrong_sign(np.array([0.0, 0.1, -0.1, 0.0, 1.0]), np.array([0.0, 0.0, 0.0, 2.0, 1.0]))
    np.testing.assert_allclose(seen, [1.0, 0.0, 1.0, 0.5, 0.15865525393145707], rtol=1e-12)


def test_at_the_origin_the_prediction_is_that_every_network_is_wrong(predictions):
    shares = predictions.test_error(0.5, 100)
    assert 0.25 < float(shares.value) < 1.0
    assert float(shares.error) == 0.0
