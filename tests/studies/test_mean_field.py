"""The mean-field study: its claims, a planted bug that it sees, its refusals."""

import itertools

import equinox as eqx
import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.studies._diverged import finite, lost, unless_lost
from jaxlimit.studies._mean_field_claims import Evidence, _assumptions, _variance, _wasserstein, claims

KEY = jax.random.key(3)
SMALL = {
    "widths": (8, 16, 32),
    "replicas": 64,
    "ts": (0.0, 1.0),
    "law_width": 32,
    "path_replicas": 8,
    "measure_widths": (8, 16, 32),
    "measure_replicas": 8,
    "particles": 512,
}


def study(scaling=None, initial=None, activation=None, **changes):
    network = jl.networks.Shallow(activation or jl.activations.Erf(), initial or jl.Initial())
    problem = jl.Problem(jl.data.sphere(4, 3), network, scaling=scaling or jl.MeanField(), learning_rate=2.0)
    return jl.studies.mean_field(problem, key=KEY, devices=jax.devices()[:1], **{**SMALL, **changes})


@pytest.fixture(scope="module")
def report():
    return study()


@pytest.mark.slow
def test_every_claim_carries_its_doubt(report):
    names = ["assumptions", "large numbers", "fluctuations", "fluctuations of the start", "measure moves", "contrast"]
    assert [claim.name for claim in report.claims] == names
    for claim in report.claims:
        assert all((claim.statement, claim.source, claim.expected, claim.observed, claim.error, claim.reason))
    assert "the limit's own error" in report.claims[1].error


@pytest.mark.slow
def test_few_networks_never_make_fluctuations_hold(report):
    assert all(claim.verdict is Verdict.UNDECIDED for claim in report.claims[2:4])


@pytest.mark.slow
def test_the_arrays_are_what_the_verdicts_rest_on(report):
    ts, values = report.arrays["ts"], report.arrays["g_32_full_batch"]
    assert values.shape == (64, len(ts), 4)
    movement = [report.arrays[f"w2_mean_field_{width}"].mean() for width in (8, 32)]
    frozen = [report.arrays[f"w2_Xavier_{width}"].mean() for width in (8, 32)]
    assert frozen[1] / frozen[0] < 0.8 * movement[1] / movement[0]


@pytest.mark.slow
def test_the_panels_draw(report):
    plots = pytest.importorskip("jaxlimit.plots")
    for panel in report.panels:
        assert len(plots.png_bytes(panel.draw)) > 1000
    assert {panel.name for panel in report.panels} == {"paths", "error", "movement", "qq"}


@pytest.mark.slow
def test_the_theorems_hold_and_a_lost_source_is_seen(monkeypatch):
    """Every claim HOLDS; with SGD's noise counted half in the prediction the fluctuations are VIOLATED."""
    # Enough to see 10% at several times: 4000 networks of width 128.
    large = {
        "widths": (16, 32, 64, 128),
        "replicas": 4000,
        "law_width": 128,
        "path_replicas": 64,
        "measure_widths": (16, 64, 256),
        "measure_replicas": 8,
        "particles": 8192,
    }
    found = {claim.name: claim for claim in study(**large).claims}
    assert all(claim.verdict is not Verdict.VIOLATED for claim in found.values())
    assert found["large numbers"].verdict is Verdict.HOLDS
    assert found["measure moves"].verdict is Verdict.HOLDS
    genuine = jl.MeanFieldLimit.fluctuation

    def wrong(self, *given, **settings):
        right = genuine(self, *given, **settings)
        return eqx.tree_at(lambda one: one.sgd, right, 0.25 * right.sgd)

    monkeypatch.setattr(jl.MeanFieldLimit, "fluctuation", wrong)
    found = {claim.name: claim for claim in study(**large).claims}
    assert found["fluctuations"].verdict is Verdict.VIOLATED
    assert found["fluctuations of the start"].verdict is not Verdict.VIOLATED


@pytest.mark.slow
def test_outside_the_assumptions_it_says_so():
    initial = jl.Initial(c=jl.initial.Uniform(0.0, 1.0))
    report = study(initial=initial, activation=jl.activations.Relu(), widths=(8,), measure_widths=(8,))
    found = {claim.name: claim for claim in report.claims}
    assert found["assumptions"].verdict is Verdict.UNDECIDED
    assert "twice continuously differentiable" in found["assumptions"].reason
    # E c ≠ 0: the Xavier scaling has no limit to contrast with.
    assert "contrast" not in found


def test_the_loss_and_the_layers_trained_are_assumptions_too():
    def found(loss, train_output):
        network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial(), train_output)
        return _assumptions(jl.Problem(jl.data.sphere(4, 3), network, jl.MeanField(), loss))

    assert found(jl.SquaredError(), True).verdict is Verdict.HOLDS
    assert found(jl.Huber(), True).verdict is found(jl.SquaredError(), False).verdict is Verdict.UNDECIDED
    assert "the squared error, both layers trained;" in found(jl.Huber(), False).reason


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("problem", lambda: study(jl.Xavier())),
        ("ts", lambda: study(ts=(1.0, 2.0))),
        ("replicas", lambda: study(replicas=1)),
        ("path_replicas", lambda: study(path_replicas=7)),
        ("measure_replicas", lambda: study(measure_replicas=7)),
        ("measure_widths", lambda: study(measure_widths=(8, 4096))),
        ("widths", lambda: study(widths=(16, 8))),
        ("particles", lambda: study(particles=8)),
    ],
)
def test_bad_arguments_are_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call()


def test_the_distance_of_laws_is_that_of_the_best_assignment():
    """Two neurons that change places have not moved; against all permutations."""
    rng = np.random.default_rng(0)
    c, w = rng.normal(size=(1, 2, 4)), rng.normal(size=(1, 2, 4, 2))
    samples = seen(np.zeros((1, 2, 1)), (c, w))
    both = np.concatenate([c[..., None], w], axis=-1)[0]
    squares = [np.mean(np.sum((both[0] - both[1][list(p)]) ** 2, axis=1)) for p in itertools.permutations(range(4))]
    assert _wasserstein(samples)[0] == pytest.approx(np.sqrt(min(squares)), rel=1e-12)


def seen(values, observed=None, width=4, diverged=()):
    """Networks made by hand; those of these numbers diverged at step 3."""
    lost_at = np.where(np.isin(np.arange(len(values)), diverged), 3, -1)
    return jl.Samples(np.array([0.0, 1.0]), np.asarray(values), observed, np.array([0, 4]), lost_at, "", width, 1)


def evidence(**changes):
    """Networks that do what is predicted, of three widths."""
    rng, sizes = np.random.default_rng(1), (4, 16, 64)
    one = np.ones((2, 1))
    limit = type("Limit", (), {"flow": type("Flow", (), {"problem": _problem()})()})()
    covariance = np.ones((2, 1, 1))
    parts = {"initial": covariance, "covariance": covariance, "sgd": 0 * covariance}
    doubts = {"standard_error": 0 * one, "initial_standard_error": 0 * one}
    found = {
        "limit": limit,
        "solution": type("Solution", (), {"values": 0 * one, "error": 0 * one})(),
        "fluctuation": type("Fluctuation", (), {**parts, **doubts})(),
        "widths": sizes,
        "path_samples": tuple(seen(np.ones((400, 2, 1)) / n**0.5, width=n) for n in sizes),
        "law_samples": seen(rng.normal(size=(8, 2, 1)) / 2),
        "full_batch": seen(rng.normal(size=(8, 2, 1)) / 2),
        "measure_widths": sizes,
        "moved": {"mean field": tuple(_moved(n) for n in sizes)},
    }
    return Evidence(**{**found, **changes})


def _problem():
    network = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
    return jl.Problem(jl.data.sphere(4, 3), network, jl.MeanField())


def _moved(width, diverged=()):
    """Neurons that all move by 1."""
    w = np.zeros((8, 2, 3, 1))
    w[:, 1] = 1.0
    w[list(diverged), 1] = np.nan
    return seen(np.zeros((8, 2, 1)), (np.zeros((8, 2, 3)), w), width, diverged)


def test_two_networks_that_agree_by_chance_decide_nothing():
    """Deviations of two from their mean are the same: a standard error of 0 about a ratio of 100."""
    few = seen(np.array([5.0, -5.0])[:, None, None] * np.ones((2, 2, 1)))
    for start_alone in (False, True):
        claim = _variance(evidence(law_samples=few, full_batch=few), "fluctuations", "", start_alone)
        assert claim.verdict is Verdict.UNDECIDED
        assert "2 replicas are fewer than" in claim.reason


def test_networks_that_diverged_are_counted_and_leave_their_claims_open():
    """Each claim for the networks that it rests on; what is left is drawn."""
    right = evidence()
    found = {claim.name: claim.verdict for claim in claims(right)[0]}
    assert found["large numbers"] is found["measure moves"] is Verdict.HOLDS
    values = right.path_samples[1].values.copy()
    values[:2] = np.nan
    paths = (right.path_samples[0], seen(values, width=16, diverged=(0, 1)), right.path_samples[2])
    moved = (_moved(4, (1,)), _moved(16, range(8)), _moved(64, range(7)))
    law = seen(np.full((8, 2, 1), np.nan), diverged=range(8))
    wrong = evidence(path_samples=paths, moved={"mean field": moved}, law_samples=law)
    seen_claims, measured = claims(wrong)
    found = {claim.name: claim for claim in seen_claims}
    assert "networks diverged: 2 of 400 at N = 16" in found["large numbers"].reason
    assert "1 of 8 at N = 4, 8 of 8 at N = 16, 7 of 8 at N = 64" in found["measure moves"].reason
    assert "8 of 8 at N = 4" in found["fluctuations"].reason
    assert "diverged" not in found["fluctuations of the start"].reason
    assert all(claim.verdict is Verdict.UNDECIDED for claim in seen_claims[1:])
    assert [len(one) for one in measured.distances["mean field"]] == [7, 0, 1]


def test_what_was_observed_must_be_finite_too():
    observed = np.zeros((3, 2))
    observed[1, 1] = np.inf
    samples = seen(np.zeros((3, 2, 1)), {"w": observed, "c": np.zeros((3, 2, 2))}, diverged=(2,))
    assert finite(samples).tolist() == [True, False, False]
    assert lost([("N = 4", finite(samples)), ("N = 8", np.ones(2, bool))]) == "networks diverged: 2 of 3 at N = 4"
    claim = _assumptions(_problem())
    assert unless_lost(claim, lost([("N = 8", np.ones(2, bool))])) is claim
