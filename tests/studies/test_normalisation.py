"""The study of the scalings N^−γ: its claims, planted bugs that it sees, its refusals."""

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.studies import _normalisation_prediction as prediction

KEY = jax.random.key(3)
DATA = jl.data.sphere(4, 3)
HELD_OUT = jl.Data(jl.data.sphere(10, 3, seed=1).x, np.resize([1.0, -1.0], 10))
SMALL = {
    "gammas": (0.75, 1.0),
    "widths": (8, 16, 32),
    "replicas": 64,
    "path_replicas": 8,
    "law_width": 16,
    "ts": (0.0, 2.0),
    "particles": 128,
}


def study(initial=None, activation=None, loss=None, data=DATA, **changes):
    network = jl.networks.Shallow(activation or jl.activations.Erf(), initial or jl.Initial())
    problem = jl.Problem(data, network, loss=loss or jl.losses.SquaredError(), learning_rate=2.0)
    return jl.studies.normalisation(problem, key=KEY, devices=jax.devices()[:1], **{**SMALL, **changes})


@pytest.fixture(scope="module")
def report():
    return study(held_out=HELD_OUT)


@pytest.mark.slow
def test_every_claim_carries_its_doubt(report):
    names = ["assumptions", "variance γ = 0.75", "variance γ = 1", "bias", "movement γ = 0.75", "movement γ = 1"]
    assert [claim.name for claim in report.claims] == [*names, "test error"]
    for claim in report.claims:
        assert all((claim.statement, claim.source, claim.expected, claim.observed, claim.error, claim.reason))
    assert len(report.remarks) == 3
    assert all("±" in remark.error for remark in report.remarks)


@pytest.mark.slow
def test_few_networks_never_make_a_variance_hold(report):
    assert all(claim.verdict is Verdict.UNDECIDED for claim in report.claims[1:3])


@pytest.mark.slow
def test_the_arrays_are_what_the_verdicts_rest_on(report):
    assert report.arrays["h_1_16_law"].shape == (64, 2, 4)
    assert report.arrays["h_0.75_32"].shape == (8, 2, 14)
    moved = {w: np.sqrt(report.arrays[f"movement_0.75_{w}"][:, -1]).mean() for w in (8, 32)}
    assert moved[32] < moved[8]


@pytest.mark.slow
def test_the_panels_draw(report):
    plots = pytest.importorskip("jaxlimit.plots")
    assert [panel.name for panel in report.panels] == ["bias_variance", "finite_width", "movement", "test_error"]
    for panel in report.panels:
        assert len(plots.png_bytes(panel.draw)) > 1000


@pytest.mark.slow
def test_networks_that_answer_by_chance_have_half_of_the_points_wrong():
    """Where the targets' signs are opposite in pairs of equal inputs, half is wrong whatever the network."""
    x = np.repeat(jl.data.sphere(5, 3, seed=2).x, 2, axis=0) * np.tile([[1.0], [1.0 + 1e-9]], (5, 1))
    found = study(held_out=jl.Data(x, np.resize([1.0, -1.0], 10)), gammas=(0.75,), path_replicas=1024)
    claim = next(c for c in found.claims if c.name == "test error")
    assert claim.observed.startswith("50.00% to 50.00%")
    assert claim.verdict is Verdict.HOLDS


@pytest.mark.slow
def test_the_mean_at_the_ends_is_that_of_the_two_limits():
    """γ = 1/2: the linear limit's own. γ = 1: a solve of the mean field with many particles, within its doubt."""
    problem = jl.Problem(DATA, jl.networks.Shallow(jl.activations.Erf(), jl.Initial()), learning_rate=2.0)
    ts = np.array([0.0, 1.0])
    limit = jl.SpectralLimit(problem)
    found = prediction.Predictions(limit, None, ts, 128, KEY)
    np.testing.assert_array_equal(found.mean(0.5, 100).value, limit.law(ts).mean)
    mean = found.mean(1.0, 100)
    flow = jl.EpsilonFlow(problem, 1.0, 2**15, key=jax.random.key(9))
    wanted = flow.path(np.zeros(4), ts)
    error = np.hypot(mean.error, flow.particle_error(np.zeros(4), ts))
    # Errors from 8 groups have 7 degrees of freedom: 9 of them are 1e-4 for each of 4 numbers.
    assert np.all(np.abs(mean.value - wanted)[1] <= 9 * error[1])
    assert np.max(mean.error) < 0.01


@pytest.mark.slow
def test_the_variance_of_the_start_is_exact_at_every_gamma():
    problem = jl.Problem(DATA, jl.networks.Shallow(jl.activations.Erf(), jl.Initial()))
    limit = jl.SpectralLimit(problem)
    found = prediction.Predictions(limit, None, np.array([0.0, 1.0]), 1024, KEY)
    start = np.diagonal(limit.kernel.covariance.value)
    np.testing.assert_allclose(found.variance(0.5, 64).value[0], start, rtol=1e-12)
    at = found.variance(0.75, 64)
    # What the particles say of the start cancels, whatever they are.
    np.testing.assert_allclose(at.value[0], start / 8, rtol=1e-3)
    # After the start SGD and the kernel add to it.
    assert np.all(at.value[1] > np.diagonal(limit.law([1.0]).covariance[0]) / 8)
    assert np.all(at.error[1] < 0.1 * at.value[1])


@pytest.mark.slow
def test_where_the_noise_at_held_out_points_is_not_known_the_test_error_is_undecided():
    """E c³ ≠ 0 and σ not odd: the linear limit does not know its own error there."""
    skewed = jl.Initial(c=jl.initial.Discrete([2.0, -1.0], [1 / 3, 2 / 3]))
    found = study(skewed, jl.activations.SinCos(), held_out=HELD_OUT, gammas=(0.5,), widths=(8,))
    claim = next(c for c in found.claims if c.name == "test error")
    assert claim.verdict is Verdict.UNDECIDED
    assert "noise of SGD is not in" in claim.reason


@pytest.mark.slow
def test_the_theorem_holds_and_a_lost_source_is_seen(monkeypatch):
    """Nothing is VIOLATED; without SGD's noise in the prediction the variance at γ = 1 is."""
    large = {
        "gammas": (0.5, 0.75, 1.0),
        "ts": (0.0, 1.0),
        "widths": (32, 64, 128, 256),
        "replicas": 8000,
        "law_width": 128,
        "path_replicas": 256,
        "particles": 8192,
    }
    found = {claim.name: claim for claim in study(held_out=HELD_OUT, **large).claims}
    assert all(claim.verdict is not Verdict.VIOLATED for claim in found.values()), found
    for name in ("variance γ = 0.5", "bias", "movement γ = 0.5", "movement γ = 0.75", "movement γ = 1"):
        assert found[name].verdict is Verdict.HOLDS, found[name]
    genuine = jl.EpsilonFlow.fluctuation
    monkeypatch.setattr(jl.EpsilonFlow, "fluctuation", lambda self, ts, **_: genuine(self, ts, sgd=False))
    found = {claim.name: claim for claim in study(**large).claims}
    assert found["variance γ = 1"].verdict is Verdict.VIOLATED
    assert found["variance γ = 0.5"].verdict is Verdict.HOLDS


@pytest.mark.slow
def test_a_wrong_learning_rate_is_seen(monkeypatch):
    """Planted: a learning rate N^{−(1−γ)} instead of its square, so that every network trains too fast."""
    monkeypatch.setattr(jl.PowerScaling, "learning_rate", lambda self, width: float(width) ** (self.gamma - 1.0))
    large = {"gammas": (0.75,), "ts": (0.0, 1.0), "widths": (16, 64, 256), "path_replicas": 32, "replicas": 1000}
    found = {claim.name: claim for claim in study(**large).claims}
    assert found["movement γ = 0.75"].verdict is not Verdict.HOLDS
    assert found["bias"].verdict is Verdict.VIOLATED


def test_at_one_half_the_linear_limit_alone_predicts():
    """No flow is solved, and the claims are those of one γ."""
    found = study(gammas=(0.5,), widths=(16,))
    assert [claim.name for claim in found.claims] == ["assumptions", "variance γ = 0.5", "bias", "movement γ = 0.5"]
    assert found.claims[0].verdict is Verdict.HOLDS
    assert found.claims[3].observed == "no fit"
    assert "ratio" in found.claims[1].observed
    assert [claim.verdict for claim in found.claims[1:]] == [Verdict.UNDECIDED] * 3
    assert not found.remarks


def test_predictions_are_made_for_the_times_that_networks_reach():
    found = study(gammas=(0.5,), widths=(16,), ts=(0.0, 0.99))
    np.testing.assert_array_equal(found.arrays["ts"], [0.0, 15 / 16])
    assert found.configuration["ts"] == [0.0, 15 / 16]


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("gammas", lambda: study(gammas=(0.4, 0.75))),
        ("gammas", lambda: study(gammas=(0.75, 1.1))),
        ("gammas", lambda: study(gammas=(0.75, 0.6))),
        ("ts", lambda: study(ts=(1.0, 2.0))),
        ("ts", lambda: study(ts=(0.0, 1.2))),
        ("ts", lambda: study(ts=(0.0, 0.05), widths=(20, 30, 39), gammas=(1.0,), law_width=512)),
        ("ts", lambda: study(ts=(0.0, 0.5625), widths=(20, 21, 22))),
        ("ts", lambda: study(ts=(0.0, 1.0, 1.05, 2.0))),
        ("replicas", lambda: study(replicas=7)),
        ("path_replicas", lambda: study(path_replicas=7)),
        ("problem", lambda: study(data=jl.Data(DATA.x, np.zeros(4)))),
        ("particles", lambda: study(particles=8)),
        ("widths", lambda: study(widths=(16, 8))),
        ("problem", lambda: study(initial=jl.Initial(c=jl.initial.Uniform(0.0, 1.0)))),
        ("problem", lambda: study(loss=jl.losses.Huber())),
        ("held_out", lambda: study(held_out=jl.data.sphere(4, 2))),
        ("held_out", lambda: study(held_out=jl.Data(DATA.x, [1.0, 0.0, 1.0, -1.0]))),
    ],
)
def test_bad_arguments_are_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call()
