"""The multilayer study before it trains and after networks diverged: what it refuses, and what it leaves open."""

import dataclasses

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.studies import _multilayer as whole
from jaxlimit.studies import _multilayer_checks as checks
from jaxlimit.studies import _multilayer_claims as judged
from jaxlimit.studies._multilayer_evidence import Coupling, Evidence, Training
from jaxlimit.studies._multilayer_panels import panels
from tests.studies.test_multilayer import KEY, NAMES, SMALL, small_problem, study


@pytest.mark.parametrize(
    ("epsilon", "resolutions", "ts"),
    [
        (0.02, whole.RESOLUTIONS, whole.TIMES),
        (0.01, whole.RESOLUTIONS, whole.TIMES),
        (0.1, (10, 30, 70), (0.0, 0.1 + 0.2, 0.7)),
        (1 / 3, (3, 9), (0.0, 1 / 3, 2 / 3, 1.0 + 1e-12)),
    ],
)
def test_times_that_are_steps_up_to_rounding_are_taken(epsilon, resolutions, ts):
    """The defaults, and tenths and thirds, whose quotients in floating point are no integers."""
    problem = small_problem(scaling=jl.LayerwiseMeanField(epsilon))
    finer = [checks.with_step(problem, 1.0 / n) for n in resolutions]
    checks.require_reached(problem, finer, np.array(ts))


def test_a_step_that_is_too_long_is_refused_before_anything_is_trained(monkeypatch):
    """α = 60: stable at ε = 1/1000, where the rates in n are measured, and not at 1/5."""
    monkeypatch.setattr(whole, "distances", lambda *given: pytest.fail("the coupling has begun"))
    with pytest.raises(ValueError, match="Argument `learning_rate` must keep a step stable"):
        study(scaling=jl.LayerwiseMeanField(0.001), rate=60.0)


def test_losses_that_do_not_suit_the_targets_are_refused_before_anything_is_trained(monkeypatch):
    monkeypatch.setattr(whole, "distances", lambda *given: pytest.fail("the coupling has begun"))
    data = jl.Data(jl.data.sphere(4, 3).x, [0.5, 1.0, -1.0, 2.0])
    problem = dataclasses.replace(small_problem(), data=data)
    with pytest.raises(ValueError, match="Argument `data` must have targets 1 and −1"):
        jl.studies.multilayer(problem, key=KEY, losses=(jl.Huber(), jl.losses.Logistic()), **SMALL)


def test_distances_without_scatter_have_no_rate():
    """Where nothing moves all distances are 0."""
    rates, errors = judged._fits(Coupling((8, 16, 32), [np.zeros((1, 9))] * 3, ("output",)), {})
    seen = judged.Measured({"full batch": rates}, {"full batch": errors}, [], [], [], [])
    claim = judged._rates(seen, "full batch", "", "", 1.0, -1, "ε")
    assert claim.verdict is Verdict.UNDECIDED
    assert "do not vary" in claim.reason


def evidence(diverged):
    """Networks of which these numbers diverged, everywhere."""
    rng, problem = np.random.default_rng(0), small_problem()
    couplings = {}
    for name, exponent in (("n", -0.5), ("SGD", -0.5), ("full batch", -1.0)):
        squares = [n ** (2 * exponent) * rng.chisquare(4, (4, 12)) for n in (8, 16, 32, 64)]
        for each in squares:
            each[:, diverged] = np.nan
        couplings[name] = Coupling((8, 16, 32, 64), squares, ("$w_1$", "$w_2$", "$w_3$", "output"))
    pair = tuple(1.0 + 0.1 * rng.random((12, 2, 4)) for _ in range(2))
    for part in pair:
        part[diverged] = np.nan
    drawn = [problem.network.init((8, 8), 3, jax.random.key(r)) for r in range(4)]
    weights = tuple(np.stack([np.stack([w, w]) for w in ws]) for ws in zip(*(d.weights for d in drawn), strict=True))
    gone = np.array([r in diverged for r in range(4)])
    for w in weights:
        w[gone, 1] = np.nan
    values = np.where(gone[:, None, None], np.nan, 1.0) * np.ones((4, 2, 4))
    layers, steps = jl.networks.Layers(weights, ()), np.array([0, 20])
    samples = jl.Samples(np.array([0.0, 1.0]), values, layers, steps, np.where(gone, 7, -1), "", (8, 8), 1)
    return Evidence(
        problem,
        couplings.pop("n"),
        couplings,
        (8, 16, 32),
        {name: [pair] * 3 for name in (judged.COLLAPSE, judged.THREE, judged.CURE)},
        (Training(problem, samples),),
        512,
        8,
        jax.random.key(1),
    )


@pytest.mark.parametrize("diverged", [[1], [0, 1, 2], list(range(12))])
def test_networks_that_diverged_are_counted_and_leave_every_claim_open(diverged):
    """With one, with three that leave a single network of four, and with all; what is left is drawn."""
    found = evidence(diverged)
    seen, measured, remarks = judged.claims(found)
    assert [claim.name for claim in seen] == [*NAMES, "loss Huber"]
    for claim in seen[1:]:
        assert claim.verdict is Verdict.UNDECIDED
        of = 4 if claim.name in ("features", "loss Huber") else 12
        assert claim.reason.startswith(f"networks diverged: {min(len(diverged), of)} of {of} at ")
    left = 4 - min(len(diverged), 4)
    assert [len(measured.losses[0]), len(measured.speeds[0])] == [left, left]
    assert measured.eigenvalues[0].shape == (left, 2, 2)
    assert remarks[-1].found == ("as at the start" if left > 1 else "not measured")
    assert set(found.arrays(measured)) == set(evidence([1]).arrays(measured))
    plots = pytest.importorskip("jaxlimit.plots")
    for panel in panels(found, measured):
        assert len(plots.png_bytes(panel.draw)) > 1000
