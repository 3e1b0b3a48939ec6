"""The study of the early stage: its claims, planted bugs that it sees, its refusals."""

import dataclasses

import jax
import numpy as np
import pytest
import scipy.stats

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.studies import _mild, _mild_checks, _mild_claims
from jaxlimit.studies._mild_steps import largest_eigenvalue, small_step

KEY = jax.random.key(2)
SQUARE = (jl.SquaredError(),)
SMALL = {
    "losses": SQUARE,
    "widths": (16, 32),
    "narrow": (2,),
    "replicas": 8,
    "etas": (0.25,),
    "step_width": 32,
    "descent_replicas": 256,
    "partition_width": 32,
    "start_widths": (12,),
    "starts": 2000,
}
HALF = jl.FixedStep(0.25, gamma=0.0)
TINY = jl.initial.Normal(0.0, 0.001)


def problem(data=None, w=TINY, scaling=HALF, c=None, power=-0.5, activation=None, loss=None, alpha=1.0):
    law = jl.Initial(c or jl.initial.Rademacher(), w, width_power=power)
    network = jl.networks.Shallow(activation or jl.activations.Relu(), law)
    return jl.Problem(data or jl.data.aligned(8, 5), network, scaling, loss or jl.SquaredError(), alpha)


def study(given=None, **changes):
    return jl.studies.mild(given or problem(), key=KEY, devices=jax.devices()[:1], **{**SMALL, **changes})


def by_name(report):
    return {claim.name: claim for claim in report.claims}


@pytest.fixture(scope="module")
def both():
    """The report of a study, and the evidence on its way to the claims."""
    caught, genuine = [], _mild.claims

    def recorded(evidence):
        caught.append(evidence)
        return genuine(evidence)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_mild, "claims", recorded)
        report = study()
        return report, caught[0]


@pytest.fixture(scope="module")
def report(both):
    return both[0]


def test_every_claim_carries_its_doubt_and_holds_where_there_is_enough(report):
    names = [
        "assumptions",
        "monotone sets, SquaredError",
        "descent, SquaredError",
        "spread of the descent, SquaredError",
        "hitting times in N, SquaredError",
        "hitting times in η, SquaredError",
        "empty true-living sets",
    ]
    assert [claim.name for claim in report.claims] == names
    for claim in report.claims:
        assert all((claim.statement, claim.source, claim.expected, claim.observed, claim.error, claim.reason))
    # Two widths and one step make no slope.
    fitted = {names[3], names[4], names[5]}
    for claim in report.claims:
        assert claim.verdict is (Verdict.UNDECIDED if claim.name in fitted else Verdict.HOLDS), claim.reason


def test_without_balance_the_sets_are_not_monotone(report):
    remark, narrow = report.remarks
    # With two neurons some point lacks a true-living one in most networks, and its loss does not fall.
    assert narrow.found == "some do not reach the level"
    assert narrow.observed.startswith("N = 2: ")
    assert remark.found == "sets not monotone"
    assert int(remark.observed.split()[0]) > 0
    assert int(remark.observed.split()[-6]) > 0, "no c changes its sign"


def test_the_arrays_are_what_the_verdicts_rest_on(report):
    steps = report.arrays["g_SquaredError_first_step_32"]
    assert steps.shape == (256, 2, 8)
    y = report.arrays["y"]
    descent = np.diff(np.mean((steps.astype(float) - y) ** 2 / 2, axis=2), axis=1).mean()
    descent /= report.arrays["small_step_SquaredError"][-1]
    inner = jl.data.aligned(8, 5).x
    inner = np.clip(inner @ inner.T, -1.0, 1.0)
    kernel = inner * (np.pi - np.arccos(inner)) / (2 * np.pi)
    assert descent == pytest.approx(-y @ kernel @ y / len(y) ** 2, rel=0.05)
    assert report.arrays["living_SquaredError"].shape[0] == 8


def test_the_panels_draw(report):
    plots = pytest.importorskip("jaxlimit.plots")
    for panel in report.panels:
        assert len(plots.png_bytes(panel.draw)) > 1000
    names = {"hitting_width", "hitting_step", "descent", "sets_SquaredError", "loss_SquaredError"}
    assert {panel.name for panel in report.panels} == names


def test_the_interval_of_a_share_is_that_of_clopper_and_pearson():
    for hits in (0, 3, 40):
        found = _mild_claims._share(np.arange(40) < hits, 0.005)
        expected = scipy.stats.binomtest(hits, 40).proportion_ci(0.99, "exact")
        assert found == pytest.approx((hits / 40, expected.low, expected.high), rel=1e-9)


def test_the_small_step_is_small_beside_the_curvature_and_beside_the_kink():
    """λ_max from the arc-cosine kernel in NumPy; points twenty times as large; c = ±N^{−1/2}, w of any size."""
    x = jl.data.aligned(8, 5).x
    inner = np.clip(x @ x.T, -1.0, 1.0)
    angle = np.pi - np.arccos(inner)
    slopes, values = inner * angle / (2 * np.pi), (np.sqrt(1 - inner**2) + angle * inner) / (2 * np.pi)
    for size, std in ((1.0, 0.001), (20.0, 0.001), (20.0, 0.5)):
        given = problem(jl.Data(size * x, jl.data.aligned(8, 5).y), jl.initial.Normal(0.0, std))
        kernel = size**2 * (slopes + 16 * std**2 * values) / 8
        top = np.linalg.eigvalsh(kernel)[-1]
        assert largest_eigenvalue(given, 16) == pytest.approx(top, rel=1e-9)
        moves = size**2 * np.abs(inner).mean(axis=1) / 4.0  # for η = 1
        expected = min(1e-3 / top, np.min(1e-2 * std * size / moves))
        assert small_step(given, 16) == pytest.approx(expected, rel=1e-9)


def test_planted_bugs_are_violations_and_few_networks_are_none(both, monkeypatch):
    """A rate twice too large, a chance half as large, the sets of networks without balance, too few networks."""
    evidence = both[1]
    early = evidence.early[0]

    def verdicts(changed):
        return {claim.name.split(",")[0]: claim.verdict for claim in _mild_claims.claims(changed)[0]}

    found = verdicts(evidence)
    assert found["monotone sets"] is found["descent"] is found["assumptions"] is Verdict.HOLDS
    double = early._replace(rates=tuple(rate._replace(value=2 * rate.value) for rate in early.rates))
    assert verdicts(evidence._replace(early=(double,)))["descent"] is Verdict.VIOLATED
    low = tuple(one._replace(lower=one.upper / 3, upper=one.upper / 2) for one in evidence.empty)
    assert verdicts(evidence._replace(empty=low))["empty true-living sets"] is Verdict.VIOLATED
    swapped = early._replace(sets=early.contrast)
    assert verdicts(evidence._replace(early=(swapped,)))["monotone sets"] is Verdict.VIOLATED
    unbalanced = evidence.conditions[0]._replace(claimed=np.zeros(8, bool), kept=np.zeros(8, bool))
    outside = verdicts(evidence._replace(early=(swapped,), conditions=(unbalanced, evidence.conditions[1])))
    assert outside["monotone sets"] is outside["assumptions"] is Verdict.UNDECIDED
    monkeypatch.setattr(_mild_claims, "FEWEST_NETWORKS", 9)
    few = verdicts(evidence)
    assert few["monotone sets"] is few["assumptions"] is Verdict.UNDECIDED


def test_starts_say_nothing_where_the_bound_is_1_or_they_are_few_and_widths_share_one_level(both):
    evidence = both[1]
    (samples,), (one,) = evidence.starts, evidence.empty

    def outcome(widths, empty, starts):
        given = evidence._replace(start_widths=widths, starts=(starts,) * len(widths), empty=empty)
        measured = _mild_claims._measure(given)
        return _mild_claims._empty(given, measured), measured.shares

    void = one._replace(bound=1.7)
    found, _ = outcome((3,), (void,), samples)
    assert (found.verdict, found.reason[:12]) == (Verdict.UNDECIDED, "at no width ")
    found, _ = outcome((3, 12), (void._replace(lower=0.99), one), samples)
    assert found.verdict is Verdict.HOLDS
    assert found.error.endswith("the widths [3]")
    two = dataclasses.replace(samples, values=samples.values[:2], diverged_at=samples.diverged_at[:2])
    found, _ = outcome((12,), (one,), dataclasses.replace(two, observed=np.zeros((2, 1), bool)))
    assert found.verdict is Verdict.UNDECIDED
    _, shares = outcome(tuple(range(12, 32)), (one,) * 20, samples)
    hits = int(np.sum(samples.observed))
    expected = scipy.stats.binomtest(hits, 2000).proportion_ci(1 - 0.01 / 20, "exact")
    assert shares[0][1:] == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_only_late_times_show_that_a_tail_is_not_flat(both):
    """t·L·log t ∝ t^{0.3}: no network learns so slowly."""
    evidence = both[1]
    given = problem(loss=jl.Exponential())
    early = evidence.early[0]._replace(name="Exponential", problem=given)

    def outcome(ts, power):
        ts = np.array(ts)
        loss = np.exp(np.linspace(-0.01, 0.01, 8))[:, None] * ts ** (power - 1) / np.log(ts)
        margins = -np.log(loss)[:, :, None] * given.data.y
        samples = jl.Samples(ts, margins, None, ts.astype(int), np.full(8, -1), "Stepwise", 16, 1)
        tested = evidence._replace(early=(early,), tail=samples, tail_eta=1.0)
        return _mild_claims._tail(tested, _mild_claims._scaled_tail(tested, samples)).verdict

    late = (1000.0, 3000.0, 10000.0)
    assert outcome(late, 0.3) is Verdict.VIOLATED
    assert outcome(late, 0.0) is Verdict.HOLDS
    assert outcome((50.0, 100.0, 200.0), 0.3) is outcome(late[1:], 0.3) is Verdict.UNDECIDED
    early = early._replace(rates=tuple(rate._replace(value=-0.01) for rate in early.rates))
    assert outcome(late, 0.3) is Verdict.UNDECIDED


def test_a_level_that_no_network_reached_is_no_hitting_time(both):
    evidence = both[1]
    claims, _, _ = _mild_claims.claims(evidence._replace(early=(evidence.early[0]._replace(level=1e-30),)))
    claim = next(claim for claim in claims if claim.name.startswith("hitting times in N"))
    assert claim.error.endswith("no network reached it")
    assert claim.reason.endswith("raise `horizon` or `share`")


@pytest.mark.slow
def test_everything_holds_for_three_losses():
    """With the settings of the command, and narrower networks."""
    settings = jl.studies.mild_settings({"widths": [16, 64, 256, 1024], "replicas": 16, "starts": 10_000})
    arguments = {**jl.studies.mild_arguments(settings), "devices": jax.devices()[:1]}
    report = jl.studies.mild(jl.studies.mild_problem(settings), **arguments)
    assert {claim.name: claim.verdict for claim in report.claims if claim.verdict is not Verdict.HOLDS} == {}
    assert len(report.claims) == 18
    contrasts = [remark for remark in report.remarks if remark.name.startswith("w 4 times")]
    assert {remark.found for remark in contrasts} <= {"sets not monotone", "c changes its sign"}
    assert "tail" in {panel.name for panel in report.panels}


@pytest.mark.slow
def test_a_network_without_the_factor_is_not_flat():
    """c = ±N^{−1/4}: the rate grows like √N, and η·T falls."""
    given = problem(power=-0.25, scaling=jl.FixedStep(0.02, gamma=0.0))
    report = study(given, widths=(32, 64, 128), etas=(0.02,), horizon=8.0)
    found = by_name(report)
    assert found["assumptions"].verdict is Verdict.UNDECIDED
    assert found["hitting times in N, SquaredError"].verdict is Verdict.VIOLATED


UNEQUAL = jl.Data([[1.0, 0.0], [0.5, 0.5]], [1.0, 2.0])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("problem", lambda: study(problem(scaling=jl.Xavier()))),
        ("problem", lambda: study(problem(UNEQUAL))),
        ("problem", lambda: study(problem(c=jl.initial.Dirac(1.0)))),
        ("problem", lambda: study(problem(w=jl.initial.Uniform(-1, 1)))),
        ("losses", lambda: study(losses=())),
        ("losses", lambda: study(losses=(jl.SquaredError(), jl.SquaredError()))),
        ("losses", lambda: study(losses=(1,))),
        ("etas", lambda: study(etas=(0.2, 0.1))),
        ("replicas", lambda: study(replicas=1)),
        ("share", lambda: study(share=1.0)),
        ("horizon", lambda: study(horizon=0.0)),
        ("widths", lambda: study(widths=(16, 8))),
        ("tail_ts", lambda: study(tail_ts=(1.0, 10.0))),
        ("tail_ts", lambda: study(tail_ts=(1000.0, 1000.1))),
        ("tail_ts", lambda: study(tail_ts=(1e3, 1e12))),
        ("tail_ts", lambda: study(tail_eta=1e5)),
        ("step_width", lambda: study(step_width=0)),
        ("start_widths", lambda: study(start_widths=(12, 8))),
        ("problem", lambda: study(problem(alpha=0.5))),
        ("etas", lambda: study(etas=(0.25, 50.0))),
        ("etas", lambda: study(etas=(1e-12, 0.25))),
        ("eta", lambda: study(problem(scaling=jl.FixedStep(50.0, gamma=0.0)))),
        ("eta", lambda: study(horizon=1e15)),
        ("widths", lambda: study(widths=(16, 10**9))),
        ("start_widths", lambda: study(start_widths=(12, 10**9))),
        ("starts", lambda: study(starts=10**12)),
        ("eta", lambda: study(problem(scaling=jl.FixedStep(1e-7, gamma=0.0)))),
    ],
)
def test_bad_arguments_are_refused_by_name_before_anything_is_simulated(name, call, monkeypatch):
    monkeypatch.setattr(_mild, "simulated", None)
    monkeypatch.setattr(_mild_checks, "available_on_host", lambda: 2**33)
    with pytest.raises(ValueError, match=f"^Argument `{name}` must"):
        call()
