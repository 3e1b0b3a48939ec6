"""The multilayer study: its claims, planted bugs that it sees, its refusals."""

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.studies import _multilayer_assumptions as assumed
from jaxlimit.studies import _multilayer_checks as checks
from jaxlimit.studies import _multilayer_claims as judged
from jaxlimit.studies._multilayer_evidence import Coupling, Training

KEY, NORMAL, TANH = jax.random.key(5), jl.initial.Normal, jl.activations.Tanh()
SMALL = {
    "widths": (4, 8, 16),
    "reference": 128,
    "replicas": 8,
    "ts": (0.0, 1.0),
    "step_width": 8,
    "step_replicas": 16,
    "resolutions": (5, 10, 20),
    "spread_widths": (8, 16, 32),
    "spread_replicas": 8,
    "spread_end": 1.0,
    "loss_width": 16,
    "loss_replicas": 4,
    "end": 2.0,
}


def study(
    means=(1.0, 1.0), law=None, scaling=None, activation=TANH, loss=None, layers=3, rate=1.0, train=True, **changes
):
    problem = small_problem(means, law, scaling, activation, loss, layers, rate, train)
    return jl.studies.multilayer(problem, key=KEY, devices=jax.devices()[:1], **{**SMALL, **changes})


def small_problem(means=(1.0, 1.0), law=None, scaling=None, activation=TANH, loss=None, layers=3, rate=1.0, train=True):
    law = law or jl.initial.IndependentLayers((NORMAL(0, 1), *(NORMAL(m, 1) for m in means[: layers - 1])))
    network = jl.networks.Multilayer((activation,) * (layers - 1), law, train=train)
    scaling, loss = scaling or jl.LayerwiseMeanField(0.05), loss or jl.Huber()
    return jl.Problem(jl.data.sphere(4, 3), network, scaling, loss, rate)


@pytest.fixture(scope="module")
def report():
    return study()


NAMES = ["assumptions", "coupling", "SGD", "full batch", "collapse", "three layers", "cure", "features"]


@pytest.mark.slow
def test_every_claim_carries_its_doubt_and_no_short_run_makes_a_loss_vanish(report):
    assert [claim.name for claim in report.claims] == [*NAMES, "loss Huber", "loss BoundedQuadratic"]
    for claim in report.claims:
        assert all((claim.statement, claim.source, claim.expected, claim.observed, claim.error, claim.reason))
    assert all(claim.verdict is Verdict.UNDECIDED for claim in report.claims[-2:])
    assert "a later `end` would tell" in report.claims[-1].reason
    assert report.claims[0].verdict is Verdict.HOLDS
    names = ["global convergence", "support of w_1, Huber", "support of w_1, BoundedQuadratic"]
    assert [remark.name for remark in report.remarks] == names


def test_a_layer_that_comes_to_cover_less_is_called_thinner():
    radii = np.array([[0.5, 0.7], [0.5, 0.72], [0.51, 0.71]])
    samples = jl.simulate(small_problem(), (8, 8), [0.0, 1.0], replicas=2, key=KEY, batch=None)
    training = Training(small_problem(), samples)
    assert judged._support(training, radii).found == "thinner than at the start"
    assert judged._support(training, radii[:, ::-1]).found == "denser than at the start"
    assert judged._support(training, radii * 0 + np.array([[1, 1.2], [1, 0.9], [1, 1.0]])).found == "as at the start"


@pytest.mark.slow
def test_distances_are_those_of_the_first_neurons_of_the_limit_with_the_same_key(report):
    """Replica 3 at width 8, layer by layer, from the public pieces alone."""
    n, r, reference = 8, 3, SMALL["reference"]
    law = jl.initial.IndependentLayers((NORMAL(0, 1), NORMAL(1, 1), NORMAL(1, 1)))
    network = jl.networks.Multilayer((TANH, TANH), law)
    problem = jl.Problem(jl.data.sphere(4, 3), network, jl.LayerwiseMeanField(0.05), jl.Huber())
    key = jax.random.fold_in(KEY, 0)
    limit = jl.MultilayerLimit(problem, (reference,) * 2, key=jl.simulation.start_key(key, r))
    exact = limit.parameters([0.0, 1.0]).weights
    settings = {"replicas": 1, "first": r, "key": key, "batch": None, "observe": lambda now, start: now}
    samples = jl.simulate(problem, (n, n), [0.0, 1.0], **settings)
    found = samples.observed.weights
    parts = (exact[0][1, :n], exact[1][1, :n, :n], exact[2][1, :n])
    expected = [np.mean((np.asarray(w[0, 1], float) - p) ** 2) for w, p in zip(found, parts, strict=True)]
    expected.append(np.mean((samples.values[0, 1] - limit.law([1.0]).mean[0]) ** 2))
    seen = report.arrays[f"squares_widths_{n}"][:, r] * (1 - n / reference)
    # Two float32 programs and a solver of tolerance 1e-5, against distances of 0.05 and more.
    np.testing.assert_allclose(np.sqrt(seen), np.sqrt(expected), rtol=2e-3)


def test_losses_and_the_fastest_last_weight_are_those_of_the_gradient():
    """max |∂_t w_L| by JAX's gradient of the mean loss, with a schedule and an output activation that bends."""
    xi, loss, data, n = (1.0, 1.0, lambda t: 1.0 + t), jl.losses.BoundedQuadratic(), jl.data.sphere(4, 3), 5
    law = jl.initial.IndependentLayers((NORMAL(0, 1), NORMAL(1, 1), NORMAL(1, 1)))
    network = jl.networks.Multilayer((TANH, TANH), law, output=TANH)
    problem = jl.Problem(data, network, jl.LayerwiseMeanField(0.05, xi), loss, 1.5)
    ts, drawn = np.array([0.0, 2.0]), [network.init((n, n), 3, jax.random.key(r)) for r in range(4)]
    starts = [jax.tree.map(lambda w: np.asarray(w, np.float64), one) for one in drawn]
    weights = tuple(np.stack(w).reshape(2, 2, *w[0].shape) for w in zip(*(s.weights for s in starts), strict=True))
    values = np.stack([np.asarray(network.apply(s, data.x)) for s in starts]).reshape(2, 2, -1)
    none = np.zeros(2, int)
    samples = jl.paths.Samples(ts, values, jl.networks.Layers(weights, ()), none, none - 1, "", (n, n), 1)
    training = Training(problem, samples)
    losses, speeds = judged._losses(training), judged._speeds(training)
    mean = lambda p: jax.numpy.mean(loss.value(network.apply(p, data.x), data.y))  # noqa: E731
    for k, start in enumerate(starts):
        r, t = divmod(k, 2)
        value, slope = jax.value_and_grad(mean)(start)
        assert losses[r, t] == pytest.approx(float(value), rel=1e-5)
        fastest = 1.5 * (1 + ts[t]) * n * np.max(np.abs(slope.weights[-1]))
        assert speeds[r, t] == pytest.approx(float(fastest), rel=1e-7)


@pytest.mark.slow
def test_a_lost_factor_of_a_layer_is_seen(monkeypatch):
    """Nothing is VIOLATED as it is; with ε n_1 instead of ε n_1 n_2 for w_2 no step size helps."""
    large = {"widths": (8, 16, 32), "reference": 256, "replicas": 32, "step_replicas": 64}
    verdicts = {claim.name: claim.verdict for claim in study(**large).claims}
    assert Verdict.VIOLATED not in verdicts.values()
    genuine = jl.LayerwiseMeanField.learning_rate

    def lost(self, width):
        first, *middle, last = genuine(self, width)
        return (first, *(rate / n for rate, n in zip(middle, width[1:], strict=True)), last)

    monkeypatch.setattr(jl.LayerwiseMeanField, "learning_rate", lost)
    verdicts = {claim.name: claim.verdict for claim in study(**large).claims}
    assert verdicts["full batch"] is Verdict.VIOLATED
    # The error that does not fall with ε is the floor of the coupling, which has no rate above it.
    assert verdicts["coupling"] is not Verdict.HOLDS


@pytest.mark.slow
def test_the_panels_draw(report):
    plots = pytest.importorskip("jaxlimit.plots")
    for panel in report.panels:
        assert len(plots.png_bytes(panel.draw)) > 1000
    names = {"coupling", "sgd", "full_batch", "diversity", "loss_0_Huber", "loss_1_BoundedQuadratic", "features"}
    assert {panel.name for panel in report.panels} == names


def test_the_assumptions_of_the_coupling_hold_or_it_says_which_do_not():
    assert assumed.coupling(small_problem()).verdict is Verdict.HOLDS
    # Full support is no matter of the coupling.
    flat = jl.initial.IndependentLayers((jl.initial.Uniform(), NORMAL(1, 1), NORMAL(1, 1)))
    assert assumed.coupling(small_problem(law=flat)).verdict is Verdict.HOLDS
    cases = {
        "bounded and smooth": {"activation": jl.activations.Relu()},
        "∂_2ℓ bounded and Lipschitz": {"loss": jl.SquaredError()},
        "ξ bounded and Lipschitz": {"scaling": jl.LayerwiseMeanField(0.05, lambda t: 1.0 + t)},
    }
    for missing, changes in cases.items():
        found = assumed.coupling(small_problem(**changes))
        assert found.verdict is Verdict.UNDECIDED
        assert found.reason.startswith("not satisfied or not known: ")
        assert missing in found.reason


def conditions(losses=None, **changes):
    return assumed.beyond(small_problem(**changes), losses or [jl.Huber()])[0]


def test_what_global_convergence_rests_on_is_sorted_by_what_is_known():
    """i.i.d. weights do for three layers and never for four; the end of training is always assumed."""
    found, assumption = conditions(), "assumed, no finite run can tell: the weights converge and ess sup |∂_t w_L| → 0"
    assert found.found == "no condition known to fail"
    assert found.observed.startswith("hold: regularity")
    assert found.observed.endswith(assumption)
    assert found.observed.count("; ") == 1
    four = conditions(means=(1.0, 1.0, 1.0), layers=4)
    assert four.found == "1 of 5 conditions failing"
    assert "fail: bidirectional diversity (independent weights, 4 layers)" in four.observed
    correlated = conditions(law=jl.initial.CorrelatedLayers(modes=5), layers=4)
    assert "hold in a limit alone: bidirectional diversity (as the number of modes, 5, → ∞)" in correlated.observed
    assert all(remark.observed.endswith(assumption) for remark in (four, correlated))


def test_conditions_that_fail_or_are_not_known_are_named():
    flat = jl.initial.IndependentLayers((jl.initial.Uniform(), NORMAL(1, 1), NORMAL(1, 1)))
    assert "fail: w_1 with full support, bidirectional diversity" in conditions(law=flat).observed
    assert "not known: regularity" in conditions(losses=(jl.Huber(), jl.SquaredError())).observed
    assert "fail: φ_2', …, φ_L' nonzero" in conditions(activation=jl.activations.Sin()).observed
    biased = jl.initial.IndependentLayers((NORMAL(0, 1), NORMAL(1, 1), NORMAL(1, 1)), (NORMAL(),) * 3)
    first, second = assumed.beyond(small_problem(law=biased), [jl.Huber()])
    assert "not known: bidirectional diversity (the theorem has no biases)" in first.observed
    assert (second.name, second.found) == ("biases", "left out of the networks of other depth")


@pytest.mark.parametrize(
    ("activation", "state"),
    [
        (TANH, assumed.HOLD),
        (jl.activations.Softplus(), assumed.HOLD),
        (jl.activations.Gelu(), assumed.FAIL),
        (jl.activations.GaussianBump(), assumed.FAIL),
        (jl.activations.Hermite(2), assumed.FAIL),
        (jl.activations.Relu(), assumed.UNKNOWN),
    ],
)
def test_a_derivative_vanishes_where_an_activation_turns(activation, state):
    assert assumed._slopes(activation) == state


def test_networks_of_other_depth_take_what_the_problem_says():
    mine = jl.initial.CorrelatedLayers(modes=5, size=0.5, mean=2.0, last=NORMAL(2, 1), biases=(NORMAL(),) * 3)
    first, middle, last, cured = checks.laws(small_problem(law=mine))
    assert cured == jl.initial.CorrelatedLayers(modes=5, size=0.5, mean=2.0, last=NORMAL(2, 1))
    assert (first, middle, last) == (NORMAL(), NORMAL(2.0, 1.0), NORMAL(2, 1))
    assert checks.laws(small_problem(law=jl.initial.CorrelatedLayers()))[1] == NORMAL(1.0, 1.0)
    first, middle, last, cured = checks.laws(small_problem((0.5, 2.0)))
    assert cured == jl.initial.CorrelatedLayers(mean=0.5, first=NORMAL(0, 1), last=NORMAL(2.0, 1))


def coupling(exponents, sizes=(16, 32, 64, 128), replicas=200, sign=1):
    """Squares of distances n^exponent with χ² noise of 4 degrees, for as many quantities."""
    rng = np.random.default_rng(0)
    squares = [
        np.stack([float(n) ** (2 * sign * e) * rng.chisquare(4, replicas) / 4 for e in exponents]) for n in sizes
    ]
    return Coupling(sizes, squares, tuple(f"$w_{i + 1}$" for i in range(len(exponents))))


@pytest.mark.parametrize(
    ("exponents", "verdict"),
    [
        ((-0.5, -0.5, -0.5), Verdict.HOLDS),
        # One layer that does not come nearer, as with a lost n_i, is enough.
        ((-0.5, 0.0, -0.5), Verdict.VIOLATED),
        ((-0.5, -0.5, -1.0), Verdict.VIOLATED),
    ],
)
def test_one_layer_with_another_rate_violates_the_coupling(exponents, verdict):
    """200 replicas: a slope has standard error 0.02, 5 of them to the margin."""
    rates, errors = judged._fits(coupling(exponents), {})
    errors["output"] = errors["$w_1$"]
    seen = judged.Measured({"coupling": rates}, {"coupling": errors}, [], [], [], [])
    claim = judged._rates(seen, "coupling", "", "", -0.5, 1, "n")
    assert claim.verdict is verdict
    assert claim.observed.count("[") == 3


def test_the_exponent_in_epsilon_has_the_sign_of_epsilon():
    """Distances grow with ε; a first-order scheme is no half-order one."""
    rates, errors = judged._fits(coupling((-1.0, -1.0), (20, 40, 80, 160)), {})
    errors["output"] = errors["$w_1$"]
    seen = judged.Measured({"full batch": rates}, {"full batch": errors}, [], [], [], [])
    assert judged._rates(seen, "full batch", "", "", 1.0, -1, "ε").verdict is Verdict.HOLDS
    assert judged._rates(seen, "full batch", "", "", 0.5, -1, "ε").verdict is Verdict.VIOLATED


def test_the_slope_of_the_output_is_its_derivative():
    values = np.linspace(-2, 2, 9)
    np.testing.assert_allclose(judged._slope(TANH, values), 1 / np.cosh(values) ** 2, rtol=1e-8)


@pytest.mark.parametrize(
    ("name", "call"),
    [
        ("problem", lambda: study(scaling=jl.DeepPowerScaling((0.5, 1.0)))),
        ("problem", lambda: study(layers=2)),
        ("problem", lambda: study(means=(0.0, 1.0))),
        ("problem", lambda: study(means=(1.0, 0.0))),
        ("problem", lambda: study(train=(True, True, False))),
        ("problem", lambda: study(rate=0.0)),
        ("problem", lambda: study(scaling=jl.LayerwiseMeanField(0.05, 0.0))),
        ("problem", lambda: study(scaling=jl.LayerwiseMeanField(0.05, (1.0, lambda t: 1.0 + t, 0.0)))),
        ("xi", lambda: study(scaling=jl.LayerwiseMeanField(0.05, (1.0, 1.0)))),
        ("reference", lambda: study(reference=64)),
        ("ts", lambda: study(ts=(1.0, 2.0))),
        ("ts", lambda: study(ts=(0.0, 0.52))),
        ("resolutions", lambda: study(ts=(0.0, 0.5), resolutions=(10, 11, 13))),
        ("spread_replicas", lambda: study(spread_replicas=7)),
        ("loss_replicas", lambda: study(loss_replicas=3)),
        ("replicas", lambda: study(replicas=4)),
        ("spread_widths", lambda: study(spread_widths=(16, 8))),
        ("resolutions", lambda: study(resolutions=(0, 8))),
        ("losses", lambda: study(losses=("Huber",))),
        ("loss_width", lambda: study(loss_width=3)),
        ("end", lambda: study(end=0.0)),
    ],
)
def test_bad_arguments_are_refused_by_name(name, call):
    with pytest.raises(ValueError, match=f"Argument `{name}` must"):
        call()


def test_a_shallow_network_is_sent_to_its_own_study():
    problem = jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(TANH, jl.Initial()), jl.MeanField())
    with pytest.raises(ValueError, match="Argument `problem` must have a Multilayer network"):
        jl.studies.multilayer(problem, key=KEY)


def everything_from(given):
    settings = jl.studies.multilayer_settings(given)
    return jl.studies.multilayer_problem(settings), jl.studies.multilayer_arguments(settings)


def test_settings_make_the_problem_and_unknown_ones_are_refused():
    given = {
        "layers": 4,
        "correlated": True,
        "xi": [1.0, 2.0, 1.0, 1.0],
        "losses": [{"name": "PseudoHuber", "delta": 2.0}],
    }
    problem, arguments = everything_from(given)
    assert problem.network.layers == 4
    assert isinstance(problem.network.initial, jl.initial.CorrelatedLayers)
    assert problem.scaling.schedules(4) == (1.0, 2.0, 1.0, 1.0)
    assert arguments["losses"] == [jl.losses.PseudoHuber(2.0)]
    for wrong in (
        {"layers": 2},
        {"correlated": 1},
        {"xi": [1.0]},
        {"losses": [{"name": "None"}]},
        {"deep": 1},
        {"losses": "Huber"},
    ):
        with pytest.raises(ValueError, match="Argument `"):
            everything_from(wrong)


def test_losses_in_settings_are_tables():
    with pytest.raises(ValueError, match="Argument `losses` must be a list of tables, but it is 'Huber'"):
        everything_from({"losses": "Huber"})
