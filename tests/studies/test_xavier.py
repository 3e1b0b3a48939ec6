"""The study: its claims, its honesty where the theorem does not apply, its refusals."""

import equinox as eqx
import jax
import numpy as np
import pytest
from matplotlib.figure import Figure

import jaxlimit as jl
from jaxlimit.claims import Verdict

KEY = jax.random.key(3)
SMALL = {"widths": (32,), "replicas": 64, "path_replicas": 8, "ts": (0.0, 1.0, 2.0)}
"""One width: a rate is then refused, and few programs are compiled."""


def study(data: jl.Data, activation=None, **changes) -> dict[str, jl.claims.Claim]:
    return {claim.name: claim for claim in reported(data, activation, **changes).claims}


def reported(data: jl.Data, activation=None, **changes) -> jl.claims.Report:
    network = jl.networks.Shallow(activation or jl.activations.Erf(), jl.Initial())
    rule = changes.pop("rule", None)
    rate = changes.pop("learning_rate", 1.0)
    return jl.studies.xavier(
        jl.Problem(data, network, learning_rate=rate),
        key=KEY,
        rule=rule,
        devices=jax.devices()[:1],  # every device compiles its own program, and one is enough here
        **{**SMALL, **changes},
    )


def test_every_claim_carries_its_doubt() -> None:
    claims = study(jl.data.sphere(4, 3), widths=(16, 32, 64))
    assert len(claims) == 13
    assert "95% interval" in claims["parameters freeze"].error
    for claim in claims.values():
        assert claim.statement
        assert claim.source
        assert claim.expected
        assert claim.observed
        assert claim.error
        assert claim.reason


def test_one_width_has_no_rate() -> None:
    claim = study(jl.data.sphere(4, 3))["path-wise rate"]
    assert claim.verdict is Verdict.UNDECIDED
    assert claim.observed == "no fit"
    assert "a rate needs 3" in claim.reason


def test_a_frozen_network_is_not_an_error() -> None:
    claims = study(jl.data.sphere(4, 3), learning_rate=0.0)
    assert claims["positive definiteness"].verdict is Verdict.VIOLATED
    assert claims["parameters freeze"].observed == "no fit"


def test_few_replicas_never_make_a_law_hold() -> None:
    claims = study(jl.data.sphere(4, 3))
    assert claims["law of h_0"].verdict is Verdict.UNDECIDED
    assert claims["law of h_t"].verdict is not Verdict.HOLDS


@pytest.mark.slow
def test_opposite_points_make_positive_definiteness_violated_with_the_reason() -> None:
    claims = study(jl.Data([[1.0, 0.0], [-1.0, 0.0]], [1.0, 0.5]))
    claim = claims["positive definiteness"]
    assert claim.verdict is Verdict.VIOLATED
    assert "opposite" in claim.reason
    assert claims["assumptions"].verdict is Verdict.UNDECIDED
    assert "distinct directions" in claims["assumptions"].reason


@pytest.mark.slow
def test_repeated_points_are_not_proved_and_still_solved() -> None:
    claims = study(jl.Data([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [1.0, 1.0, -1.0]))
    assert claims["positive definiteness"].verdict is Verdict.VIOLATED
    assert "equal" in claims["positive definiteness"].reason
    assert claims["two solutions of the limit"].verdict is Verdict.HOLDS


def test_relu_runs_and_says_it_lies_outside_the_theorem() -> None:
    claims = study(jl.data.sphere(4, 3), jl.activations.Relu())
    assert claims["assumptions"].verdict is Verdict.UNDECIDED
    assert "outside the theorem" in claims["assumptions"].reason
    assert claims["positive definiteness"].verdict is Verdict.HOLDS


@pytest.mark.slow
def test_quadrature_is_named_as_an_assumption_of_the_proof() -> None:
    """In the claims that use it, in the captions and in the figures; and the figures name N and the point."""
    report = reported(jl.data.sphere(3, 2), jl.activations.Tanh(), rule=jl.kernels.Quadrature())
    for claim in report.claims:
        if claim.name in ("positive definiteness", "loss envelope"):
            assert "entry errors of Quadrature are estimates" in claim.error
    for panel in report.panels:
        if panel.name in ("spectrum", "lambda_min", "loss"):
            assert "entry errors of Quadrature are estimates" in panel.caption
            assert "given error estimates" in legend(panel)
    names = {panel.name: legend(panel) for panel in report.panels if panel.name in ("paths", "lambda_min")}
    assert "$N=32$, point 0" in names["paths"]
    assert "$N=32$" in names["lambda_min"]


def legend(panel: jl.claims.Panel) -> str:
    ax = Figure().subplots()
    panel.draw(ax)
    return " | ".join(text.get_text() for text in ax.get_legend().get_texts())


@pytest.mark.slow
def test_the_loss_exponent_is_measured_only_when_it_can_be() -> None:
    data = jl.Data([[1.0]], [1.0])
    short = study(data, ts=(0.0, 0.5))["loss exponent"]
    assert short.verdict is Verdict.UNDECIDED
    assert "λ_min·T ≥ 1" in short.reason
    # One point: h decays like e^{-λt} exactly, so 2λ is visible as soon as λT ≥ 1.
    long = study(data, ts=(0.0, 1.0, 2.0, 3.0), replicas=4096, widths=(128, 256, 512), law_width=128)["loss exponent"]
    assert long.verdict is Verdict.HOLDS, long


def test_a_wrong_limit_is_violated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Planted: Σ with twice the variance of c. The law of h_0 must be VIOLATED."""
    import jaxlimit.limits._base as base

    genuine = base.initial_covariance

    def wrong(*args, **kwargs):
        gram = genuine(*args, **kwargs)
        return jl.kernels.Gram(2.0 * gram.value, gram.radius, None, gram.assumptions, gram.singular)

    monkeypatch.setattr(base, "initial_covariance", wrong)
    assert study(jl.data.sphere(4, 3), replicas=512)["law of h_0"].verdict is Verdict.VIOLATED


@pytest.mark.slow
def test_the_path_wise_rate_is_one_half_and_a_wrong_drift_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"widths": (64, 128, 256, 512), "path_replicas": 64, "replicas": 256}
    claims = study(jl.data.sphere(4, 3), **sizes)
    assert claims["path-wise rate"].verdict is Verdict.HOLDS, claims["path-wise rate"]
    import jaxlimit.limits._base as base

    monkeypatch.setattr(
        base.LinearKernel, "drift", lambda self: 2.0 * self.gram.value * self.problem.data.weights[None, :]
    )
    wrong = jl.OdeLimit(jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf())))
    right = jl.SpectralLimit(jl.Problem(jl.data.sphere(4, 3), jl.networks.Shallow(jl.activations.Erf())))
    start = np.ones(4)
    assert np.max(np.abs(wrong.path(start, [0.0, 1.0]) - right.path(start, [0.0, 1.0]))) > 10 * wrong.error


@pytest.mark.slow
def test_the_size_of_the_path_wise_error_is_predicted_and_a_wrong_one_is_noticed(monkeypatch) -> None:
    """256 to 1024 networks at each width: the size is known within 4%. Planted: α where α² belongs, at α = 2."""
    sizes = {"widths": (128, 256, 512), "path_replicas": 256, "learning_rate": 2.0}
    right = study(jl.data.sphere(4, 3), **sizes)["path-wise size"]
    assert right.verdict is Verdict.HOLDS, right
    genuine = jl.SpectralLimit.path_error

    def wrong(self, *args, **kwargs):
        error = genuine(self, *args, **kwargs)
        return eqx.tree_at(lambda e: (e.sgd, e.kernel), error, (error.sgd / 2, error.kernel / 2))

    monkeypatch.setattr(jl.SpectralLimit, "path_error", wrong)
    assert study(jl.data.sphere(4, 3), **sizes)["path-wise size"].verdict is Verdict.VIOLATED


def test_progress_ends_at_the_total() -> None:
    seen: list[tuple[float, float]] = []
    study(jl.data.sphere(3, 2), progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == pytest.approx(seen[-1][1])
    assert all(0 <= done <= total * (1 + 1e-9) for done, total in seen)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ts": (0.5, 1.0)}, "Argument `ts` must start at 0"),
        ({"widths": (64, 32)}, "Argument `widths` must be strictly increasing"),
        ({"path_replicas": 1}, "Argument `path_replicas` must be at least 2"),
        ({"replicas": 0}, "Argument `replicas` must be a positive integer"),
    ],
)
def test_bad_arguments_are_refused_before_any_compute(changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        study(jl.data.sphere(3, 2), **changes)


def test_only_the_xavier_scaling_is_admitted() -> None:
    network = jl.networks.Shallow(jl.activations.Erf())
    problem = jl.Problem(jl.data.sphere(3, 2), network, scaling=jl.PowerScaling(0.75))
    with pytest.raises(ValueError, match="Xavier scaling"):
        jl.studies.xavier(problem, key=KEY, **SMALL)


def test_settings_become_objects_and_unknown_names_are_refused() -> None:
    settings = jl.studies.resolved_settings(
        {"activation": {"name": "Relu"}, "data": {"source": "sphere", "points": 3, "inputs": 2}}
    )
    problem = jl.studies.problem_from(settings)
    assert isinstance(problem.network.activation, jl.activations.Relu)
    assert problem.data.points == 3
    for broken, message in (
        ({"activation": {"name": "AbstractActivation"}}, "activation.name"),
        ({"activation": {"name": "Erf", "slope": 2}}, "also has"),
        ({"data": {"source": "Data"}}, "data.source"),
        ({"data": {"source": "require"}}, "data.source"),
        ({"w": {"law": "Cauchy"}}, "w.law"),
    ):
        with pytest.raises(ValueError, match=message):
            jl.studies.problem_from(jl.studies.resolved_settings(broken))
    for broken in ({"width": 3}, [1], None):
        with pytest.raises(ValueError, match="config"):
            jl.studies.resolved_settings(broken)


SPHERE = {"source": "sphere", "points": 3, "inputs": 2}


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ({"activation": 3}, "activation"),
        ({"activation": {"name": 3}}, "activation.name"),
        ({"c": "x"}, "c"),
        ({"c": {"law": "Uniform", "low": "-1"}}, "c.low"),
        ({"w": {"law": "Normal", "std": [1.0]}}, "w.std"),
        ({"data": 3}, "data"),
        ({"data": {"source": "sphere"}}, "data"),
        ({"data": {**SPHERE, "points": "3"}}, "data.points"),
        ({"data": {**SPHERE, "seed": "a"}}, "data.seed"),
        ({"data": {**SPHERE, "bias": "no"}}, "data.bias"),
        ({"data": {"source": "digits", "classes": 3}}, "data.classes"),
        ({"rule": 3}, "rule"),
        ({"rule": "Quadrature"}, "rule"),
        ({"rule": {"name": "Quadrature", "tolerance": "tight"}}, "rule.tolerance"),
        ({"learning_rate": "1"}, "learning_rate"),
        ({"seed": "a"}, "seed"),
        ({"dtype": ["float32"]}, "dtype"),
        ({"widths": 64}, "widths"),
        ({"widths": ["64"]}, "widths"),
        ({"replicas": "64"}, "replicas"),
        ({"path_replicas": 2.5}, "path_replicas"),
        ({"law_width": "64"}, "law_width"),
        ({"ts": "0"}, "ts"),
    ],
    ids=str,
)
def test_a_setting_of_the_wrong_kind_is_named_by_its_place(broken: dict, where: str) -> None:
    settings = jl.studies.resolved_settings({"data": SPHERE, **broken})
    with pytest.raises(ValueError, match=rf"^Argument `{where}` must .+, but .+\.$"):
        jl.studies.xavier(jl.studies.problem_from(settings), **jl.studies.xavier_arguments(settings))


@pytest.mark.slow
def test_a_kernel_of_few_draws_violates_nothing_and_is_named_as_the_reason() -> None:
    """300 draws, whose error is beyond the margins: floors are higher than what every width shows."""
    sizes = {"widths": (64, 128, 256), "path_replicas": 32, "replicas": 4096, "law_width": 128}
    claims = study(jl.data.sphere(4, 3), rule=jl.kernels.MonteCarlo(300), **sizes)
    assert Verdict.VIOLATED not in {claim.verdict for claim in claims.values()}
    for name in ("law of h_0", "law of h_t"):
        assert claims[name].verdict is Verdict.UNDECIDED
        assert "other draws of the limit's kernel" in claims[name].reason
    assert claims["path-wise size"].verdict is Verdict.UNDECIDED
    assert claims["kernel concentrates"].verdict is Verdict.UNDECIDED
