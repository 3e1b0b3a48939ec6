"""The mean-field study: its claims, a planted bug that it sees, its refusals."""

import equinox as eqx
import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.studies._mean_field_claims import _assumptions

KEY = jax.random.key(3)
SMALL = {
    "widths": (8, 16, 32),
    "replicas": 64,
    "ts": (0.0, 1.0),
    "law_width": 32,
    "path_replicas": 8,
    "measure_widths": (8, 16, 32),
    "measure_replicas": 4,
    "particles": 512,
}


def study(scaling=None, initial=None, activation=None, **changes):
    network = jl.networks.Shallow(activation or jl.activations.Erf(), initial or jl.Initial())
    problem = jl.Problem(jl.data.sphere(4, 3), network, scaling=scaling or jl.MeanField(), learning_rate=2.0)
    return jl.studies.mean_field(problem, key=KEY, devices=jax.devices()[:1], **{**SMALL, **changes})


@pytest.fixture(scope="module")
def report():
    return study()


def test_every_claim_carries_its_doubt(report):
    names = ["assumptions", "large numbers", "fluctuations", "fluctuations of the start", "measure moves", "contrast"]
    assert [claim.name for claim in report.claims] == names
    for claim in report.claims:
        assert all((claim.statement, claim.source, claim.expected, claim.observed, claim.error, claim.reason))
    assert "the limit's own error" in report.claims[1].error


def test_few_networks_never_make_fluctuations_hold(report):
    assert all(claim.verdict is Verdict.UNDECIDED for claim in report.claims[2:4])


def test_the_arrays_are_what_the_verdicts_rest_on(report):
    ts, values = report.arrays["ts"], report.arrays["g_32_full_batch"]
    assert values.shape == (64, len(ts), 4)
    movement = [report.arrays[f"w2_mean_field_{width}"].mean() for width in (8, 32)]
    frozen = [report.arrays[f"w2_Xavier_{width}"].mean() for width in (8, 32)]
    assert frozen[1] / frozen[0] < 0.8 * movement[1] / movement[0]


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
    found = {
        claim.name: claim
        for claim in study(activation=jl.activations.Relu(), initial=jl.Initial(c=jl.initial.Uniform(0.0, 1.0))).claims
    }
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
    import itertools

    from jaxlimit.studies._mean_field_claims import _wasserstein

    rng = np.random.default_rng(0)
    c, w = rng.normal(size=(1, 2, 4)), rng.normal(size=(1, 2, 4, 2))
    samples = type("Seen", (), {"observed": (c, w)})()
    both = np.concatenate([c[..., None], w], axis=-1)[0]
    squares = [np.mean(np.sum((both[0] - both[1][list(p)]) ** 2, axis=1)) for p in itertools.permutations(range(4))]
    assert _wasserstein(samples)[0] == pytest.approx(np.sqrt(min(squares)), rel=1e-12)
