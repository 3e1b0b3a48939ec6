"""The minimum-norm study: what its limit foretells, planted bugs that it sees, its refusals."""

from dataclasses import replace

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.studies import _min_norm_claims as judged
from jaxlimit.studies import _min_norm_evidence as evidence
from jaxlimit.studies import _min_norm_rates as rates

KEY = jax.random.key(3)
DATA = jl.data.polynomial(4, 3, 2).with_bias()
HELD_OUT = jl.Data(jl.data.sphere(5, 3, seed=1).x, np.ones(5)).with_bias()
LABELS = jl.data.sphere(6, 5), jl.data.sphere(7, 5, seed=1)
SMALL = {"widths": (16, 32), "replicas": 2, "steps": 20, "beside": None}
NAMES = ["assumptions", "minimum norm Relu", "movement", "largest move", "training curve"]
BESIDE = ["kernel Relu", "tangent twin"]


def small_problem(activation=None, c=None, loss=None, scaling=None, data=DATA, rate=1.0):
    law = jl.Initial(c=c or jl.initial.Rademacher())
    network = jl.networks.Shallow(activation or jl.activations.Relu(), law, train_output=False)
    return jl.Problem(data, network, scaling or jl.FixedStep(0.5), loss or jl.losses.SquaredError(), rate)


def study(problem=None, **changes):
    arguments = {"key": KEY, "devices": jax.devices()[:1], **SMALL, **changes}
    return jl.studies.min_norm(problem or small_problem(), **arguments)


@pytest.fixture(scope="module")
def report():
    return study(held_out=HELD_OUT, labels=LABELS, shares=(0.0, 0.5))


def test_the_limit_is_gradient_descent_in_the_kernel():
    """Step by step in NumPy: e ← e − ηHe, α ← α + ηe; the movement is √αᵀHα and outputs are f_0 + hα."""
    problem, steps = small_problem(rate=2.0), np.array([0, 1, 3, 8])
    limit = evidence.Limit(problem, steps, HELD_OUT.x, None)
    kernel, cross = jl.gram(problem.network, DATA.x).value, jl.gram(problem.network, HELD_OUT.x, DATA.x).value
    rng = np.random.default_rng(0)
    start, at, eta = rng.standard_normal((3, 4)), rng.standard_normal((3, 5)), 2.0 * 0.5 / 4
    for r in range(3):
        error, alpha, found = DATA.y - start[r], np.zeros(4), []
        for k in range(9):
            if k in steps:
                found.append((error @ error, np.sqrt(alpha @ kernel @ alpha)))
            if k == 8:
                break
            error, alpha = error - eta * kernel @ error, alpha + eta * error
        squares, moved = np.array(found).T
        np.testing.assert_allclose(limit.squares(start)[r], squares, rtol=1e-11)
        np.testing.assert_allclose(limit.moved(start)[r], moved, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(limit.outputs(start, at)[r], at[r] + cross @ alpha, rtol=1e-10)
        curve = jl.diagnostics.training_curve(jl.gram(problem.network, DATA.x), DATA.y - start[r], eta, steps)
        np.testing.assert_allclose(limit.squares(start)[r], curve.value, rtol=1e-11)


def test_the_loss_with_noise_is_the_mean_over_all_labels():
    """On a held-out point the label is y with chance 1 − s/2 and −y with s/2."""
    network, (train, test) = small_problem().network, LABELS
    found = evidence.with_noise(network, train, test, 0.5, 0.01, None)
    noisy = train.with_label_noise(0.5)
    value = jl.diagnostics.kernel_regression(network, noisy, test.x).value
    kept, flipped = (np.minimum(np.abs(value - sign * test.y), 1.0) for sign in (1.0, -1.0))
    assert found.loss == pytest.approx(np.mean(0.75 * kept + 0.25 * flipped), rel=1e-12)
    assert found.bound.value == pytest.approx(jl.diagnostics.generalisation_bound(network, noisy).value, rel=1e-12)


def test_the_bound_is_that_of_a_start_near_zero_with_the_same_kernel(report):
    """Networks with w of deviation 100 end at f_0 + hᵀH⁻¹(Y − f_0), which the bound says nothing of."""
    law = jl.Initial(c=jl.initial.Rademacher(), w=jl.initial.Normal(0.0, 100.0))
    network = jl.networks.Shallow(jl.activations.Relu(), law, train_output=False)
    small = evidence.near_zero(network)
    assert jl.diagnostics.generalisation_bound(network, LABELS[0]).outside
    assert not evidence.with_noise(network, *LABELS, 0.0, 0.01, None).bound.outside
    kernels = [jl.gram(one, LABELS[0].x).value for one in (network, small)]
    np.testing.assert_allclose(kernels[0], kernels[1], rtol=1e-14)
    erf = jl.networks.Shallow(jl.activations.Erf(), law, train_output=False)
    assert evidence.near_zero(erf) == erf
    said = report.claims[-1].statement
    assert "a start near zero end (w of deviation 0.001 here" in said
    assert " of 2 shares of labels" in said


def test_networks_without_a_solution_of_their_own_are_counted():
    """One neuron spans no four points in ReLU's features; one network is said to have diverged."""
    problem, ts = small_problem(), [0.0, 2.0]
    samples = jl.simulate(problem, 64, ts, replicas=3, key=KEY, batch=None, observe=evidence.parameters)
    found = evidence.beside_solutions(problem, samples)
    assert found.lost == 0
    assert found.along.orthogonal.shape == (3, 2)
    assert np.all(found.along.orthogonal[:, 0] < 1e-20)
    # The kernels in NumPy, float64: (1/N) Σ_k 1{w_k·x > 0}1{w_k·x' > 0} x·x'.
    active = (np.asarray(samples.observed.w, np.float64) @ DATA.x.T > 0).astype(float)
    kernels = np.einsum("rtki,rtkj->rtij", active, active) / 64 * (DATA.x @ DATA.x.T)
    norms = np.linalg.norm(kernels - kernels[:, :1], axis=(2, 3)) / np.linalg.norm(kernels[:, :1], axis=(2, 3))
    np.testing.assert_allclose(found.kernel, norms, atol=1e-6)
    assert found.off is None
    assert found.gaps is None
    # At worst two steps round every weight by half a unit each, all alike.
    w = np.asarray(samples.observed.w, np.float64)
    half = np.finfo(np.float32).eps
    np.testing.assert_allclose(found.rounding.whole, half * np.sqrt(np.sum(w**2, axis=(2, 3))).max(axis=1))
    np.testing.assert_allclose(found.rounding.largest, half * np.linalg.norm(w, axis=3).max(axis=(1, 2)))
    # The start is exact, and |P(w(0) − w*)| = |w(0) − w*|, up to rounding in float64.
    np.testing.assert_allclose(np.sqrt(found.along.parallel[:, 0]), found.distance, rtol=1e-9)
    left = evidence.beside_solutions(problem, replace(samples, diverged_at=np.array([-1, 1, -1])))
    assert left.lost == 1
    np.testing.assert_array_equal(left.distance, found.distance[[0, 2]])
    c, w = samples.observed
    narrow = replace(samples, observed=jl.networks.Neurons(c[..., :1], w[..., :1, :]), width=1)
    nobody = evidence.beside_solutions(problem, narrow)
    assert nobody.lost == 3
    assert nobody.values.shape == (0, 2, 4)
    verdict, reason = rates.lost((left, nobody), Verdict.HOLDS, "")
    assert verdict is Verdict.UNDECIDED
    assert "1 at width 64, 3 at width 1" in reason


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [(-0.9, -0.4, Verdict.HOLDS), (-0.2, 0.1, Verdict.VIOLATED), (-0.6, -0.2, Verdict.UNDECIDED)],
)
def test_a_bound_from_above_refutes_only_slower_decay(low, high, verdict):
    fit = rates.Fit(*[jl.statistics.Rate((low + high) / 2, low, high, (1, 2, 4), "", 0.95, 1.0)] * 2)
    assert rates.at_most(fit, -0.5)[0] is verdict


def fit_of(widths, squares):
    made = evidence.Evidence(small_problem(), (), None, widths, np.array([0.0]), 8, ())
    return rates.fitted(made, squares, [0.0] * len(widths))


def test_narrow_networks_refute_nothing():
    """Flat over small widths and then m^(−1), as for a step that no narrow network takes calmly; then flat for good."""
    widths, shape = (16, 32, 64, 128), np.random.default_rng(0).chisquare(20, 8) / 20
    bent = fit_of(widths, [size * shape for size in (1.0, 1.0, 1.0, 0.25)])
    assert bent.later.widths_used == (64, 128)
    assert bent.later.exponent == pytest.approx(-1.0)
    verdict, reason = rates.at_most(bent, -1.0)
    assert verdict is Verdict.UNDECIDED
    assert "not that of larger widths" in reason
    flat = fit_of(widths, [shape] * 4)
    assert rates.at_most(flat, -0.5)[0] is Verdict.VIOLATED
    verdict, reason = rates.at_most(flat, -0.5, 0.8)
    assert verdict is Verdict.UNDECIDED
    assert "not wide networks" in reason


def test_rounding_decides_nothing():
    """Steps of 1e-6 are smaller than ε|w| in float32: whatever the slopes and the movement, they are rounding's."""
    few = {"widths": (16, 32, 64), "replicas": 8, "steps": 1000, "twin": False}
    found = {claim.name: claim for claim in study(small_problem(scaling=jl.FixedStep(1e-6)), **few).claims}
    for name in ("minimum norm Relu", "movement", "largest move", "kernel Relu"):
        assert found[name].verdict is Verdict.UNDECIDED, found[name]
    assert "above what rounding may do" in found["minimum norm Relu"].reason
    assert "use float64" in found["movement"].reason


def test_every_claim_carries_its_doubt_and_few_networks_decide_nothing(report):
    assert [claim.name for claim in report.claims] == [*NAMES, *BESIDE, "kernel regression", "generalisation"]
    for claim in report.claims:
        assert all((claim.statement, claim.source, claim.expected, claim.observed, claim.error, claim.reason))
    assert all(claim.verdict is Verdict.UNDECIDED for claim in report.claims[1:-1])
    assert report.claims[0].verdict is Verdict.HOLDS
    assert "a width has" in report.claims[2].reason
    assert [remark.name for remark in report.remarks] == ["distance to w*, Relu"]


def test_the_arrays_are_what_the_verdicts_rest_on(report):
    assert report.arrays["h_Relu_32"].shape == (2, report.arrays["steps"].size, 9)
    assert report.arrays["orthogonal_Relu_16"].shape == (2, report.arrays["steps"].size)
    assert report.arrays["noise"].shape == (2, 4)
    for name in ("kernel_Relu_16", "off_Relu_32"):
        assert report.arrays[name].shape == (2, report.arrays["steps"].size)
    assert np.all(report.arrays["kernel_Relu_16"][:, 0] == 0)
    assert np.all(report.arrays["off_Relu_16"] > 0)


def test_twins_start_and_step_with_their_networks(report):
    """One step from the same start is the same for parameters; the outputs then differ where neurons changed sides."""
    gaps = report.arrays["gaps_Relu_32"]
    assert gaps.shape == report.arrays["h_Relu_32"].shape
    assert np.max(np.abs(gaps[:, 0])) < 1e-5
    assert np.max(np.abs(gaps[:, -1])) > 1e-3


def test_the_bound_is_said_to_rise_only_where_that_is_proved():
    network, (train, test) = small_problem().network, LABELS
    noise = tuple(evidence.with_noise(network, train, test, share, 0.01, None) for share in (0.0, 0.5))
    bounds = [one.bound for one in noise]
    assert f"at {int(bounds[1].lower > bounds[0].value)} of 1 " in judged._growth(noise)
    assert "at 0 of 1 " in judged._growth(noise[:1] * 2)


@pytest.mark.slow
def test_the_panels_draw(report):
    plots = pytest.importorskip("jaxlimit.plots")
    names = ["orthogonal", "movement", "loss", "lyapunov", "kernel", "tangent", "frozen"]
    names += ["kernel_regression", "generalisation"]
    assert [panel.name for panel in report.panels] == names
    for panel in report.panels:
        assert len(plots.png_bytes(panel.draw)) > 1000


@pytest.mark.slow
def test_the_theorem_holds_and_what_is_wrong_is_seen(monkeypatch):
    """Planted: networks that train at half the step, and a start that is not the networks' own."""
    data = jl.Data(np.sqrt(3) * DATA.x[:, :3], 2 * DATA.y - 1).with_bias()
    large = {"widths": (100, 300, 1000, 3000), "replicas": 24, "steps": 200, "held_out": HELD_OUT}
    run = lambda: {c.name: c for c in study(small_problem(data=data), **large).claims}  # noqa: E731
    found = run()
    assert all(claim.verdict is not Verdict.VIOLATED for claim in found.values()), found
    for name in ("movement", "training curve", "kernel regression", "largest move", *BESIDE):
        assert found[name].verdict is Verdict.HOLDS, found[name]
    genuine = evidence.min_norm_solution

    def astray(problem, start):
        shift = 0.3 / np.sqrt(len(start.c))
        return genuine(problem, jl.networks.Neurons(np.asarray(start.c), np.asarray(start.w, np.float64) + shift))

    monkeypatch.setattr(evidence, "min_norm_solution", astray)
    assert run()["minimum norm Relu"].verdict is Verdict.VIOLATED
    monkeypatch.setattr(evidence, "min_norm_solution", genuine)
    monkeypatch.setattr(jl.FixedStep, "learning_rate", lambda self, width: 0.5 * self.eta)
    assert run()["training curve"].verdict is Verdict.VIOLATED


UNEQUAL = jl.Data(DATA.x, DATA.y, [1.0, 1.0, 1.0, 2.0])
PARALLEL = jl.Data([[1.0, 0.0], [2.0, 0.0]], [1.0, 2.0])


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("problem", lambda: study(small_problem(scaling=jl.Xavier()))),
        ("problem", lambda: study(small_problem(scaling=jl.FixedStep(0.5, gamma=0.75)))),
        ("problem", lambda: study(small_problem(loss=jl.losses.Huber()))),
        ("problem", lambda: study(small_problem(rate=0.0))),
        ("problem", lambda: study(small_problem(data=UNEQUAL))),
        ("problem", lambda: study(small_problem(data=PARALLEL))),
        ("rule", lambda: study(rule=jl.kernels.MonteCarlo(neurons=100))),
        ("widths", lambda: study(widths=(32, 16))),
        ("replicas", lambda: study(replicas=1)),
        ("steps", lambda: study(steps=0)),
        ("steps", lambda: study(steps=9)),
        ("problem", lambda: study(small_problem(scaling=jl.FixedStep(1e-30)))),
        ("widths", lambda: study(widths=(32, 64, 10**10))),
        ("learning_rate", lambda: study(beside=jl.activations.Hermite(degree=5))),
        ("twin", lambda: study(twin=1)),
        ("beside", lambda: study(beside=jl.activations.Relu())),
        ("held_out", lambda: study(held_out=jl.data.sphere(4, 2))),
        ("labels", lambda: study(labels=(DATA, DATA))),
        ("labels", lambda: study(labels=LABELS[0])),
        ("labels", lambda: study(labels=(LABELS[0], jl.data.sphere(4, 2)))),
        ("shares", lambda: study(labels=LABELS, shares=(0.5, 0.2))),
        ("delta", lambda: study(delta=1.0)),
    ],
)
def test_bad_arguments_are_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call()
