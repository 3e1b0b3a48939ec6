"""The border of the theorem on positive definiteness: what it foretells, what is proved, and verdicts that can fail."""

import math

import jax
import numpy as np
import pytest

import jaxlimit as jl
from jaxlimit.claims import Verdict
from jaxlimit.studies import _definiteness
from tests.cases import ACTIVATIONS, each

X = jl.data.sphere(points=6, inputs=3).x
CLOSED = {name: case for name, case in ACTIVATIONS.items() if case.rule is None}
GUARANTEED, SINGULAR, SILENT = "positive definite", "λ_min = 0", None


@pytest.fixture(scope="module")
def report():
    return jl.studies.definiteness(X)


def by_name(report):
    return {claim.name: claim for claim in report.claims}


def remarks(report):
    return {remark.name: remark for remark in report.remarks}


FORETOLD = {
    "Erf, as given": GUARANTEED,
    "Erf, repeated point": SINGULAR,
    "Erf, opposite point": SINGULAR,
    "Erf, opposite point, bias": GUARANTEED,
    "Erf, parallel point": SILENT,
    "Erf, parallel point, bias": GUARANTEED,
    "SinCos, opposite point": SILENT,
    "Cos, opposite point": SINGULAR,
    "Relu, opposite point": SILENT,
    "Relu, parallel point": SINGULAR,
    "Relu, parallel point, bias": GUARANTEED,
    "Identity, as given": SINGULAR,  # 6 points, 3 monomials
    "Identity, opposite point, bias": SINGULAR,
    "Hermite(degree=2), as given": SILENT,  # 6 points, 7 monomials
    "Hermite(degree=2), 8 points in the plane": SINGULAR,
    "Erf, 8 points in the plane": GUARANTEED,
}


def test_the_theorem_foretells_what_the_mathematics_says(report):
    claims, beyond = by_name(report), remarks(report)
    assert {name: claims[name].expected if name in claims else None for name in FORETOLD} == FORETOLD
    assert {name for name, foretold in FORETOLD.items() if foretold is SILENT} <= set(beyond)


def test_every_prophecy_is_proved_and_silence_makes_no_claim(report):
    """42 cases: the verdict HOLDS wherever the theorem speaks, a remark without a verdict wherever it does not."""
    assert len(report.claims) + len(report.remarks) == 6 * 7
    assert not set(by_name(report)) & set(remarks(report))
    for claim in report.claims:
        assert claim.verdict is Verdict.HOLDS, claim
        assert claim.expected in (GUARANTEED, SINGULAR)


def test_parallel_points_stay_definite_for_bounded_analytic_activations(report):
    """The theorem is silent there, and the proof is given all the same."""
    for name in ("Erf", "SinCos", "Cos"):
        remark = remarks(report)[f"{name}, parallel point"]
        assert remark.found == "proved positive definite"
        assert remark.reason.startswith("the theorem is silent (not given: distinct directions)")


def test_each_claim_cites_a_theorem_whose_assumptions_are_met(report):
    """The rectifier is not smooth: Ito needs no smoothness, the Xavier theorem does. Singularity is elementary."""
    claims = by_name(report)
    assert claims["Erf, as given"].source == "arXiv 1907.04108; Ito 1996"
    assert claims["Relu, as given"].source == "Ito 1996"
    assert claims["Relu, parallel point"].source.startswith("elementary")
    wide = jl.Initial(c=jl.initial.Normal())  # no compact support
    (claim,) = jl.studies.definiteness(X, activations=[jl.activations.Erf()], initial=wide, variants=False).claims
    assert claim.source == "Ito 1996"


def test_singular_cases_are_singular_to_rounding_by_the_matrix_alone(report):
    arrays, claims = report.arrays, by_name(report)
    names = arrays["names"].tolist()
    assert [name in remarks(report) for name in names] == arrays["silent"].tolist()
    singular = np.array([name in claims and claims[name].expected == SINGULAR for name in names])
    assert np.all(arrays["lower"][singular] <= 0)
    assert np.all(arrays["upper"][singular] <= 1.5 * arrays["floor"][singular])
    assert np.all(arrays["lower"][~singular] > 10 * arrays["floor"][~singular])


@pytest.mark.parametrize("case", each(CLOSED))
def test_every_activation_with_a_closed_form_agrees_with_the_theorem(case):
    report = jl.studies.definiteness(X, activations=[case.activation])
    assert not report.violated
    claims = by_name(report)
    name = repr(case.activation).removesuffix("()")
    assert claims[f"{name}, repeated point"].verdict is Verdict.HOLDS
    if not case.polynomial:
        assert claims[f"{name}, as given"].verdict is Verdict.HOLDS
        assert claims[f"{name}, opposite point, bias"].verdict is Verdict.HOLDS
    if case.odd:
        assert claims[f"{name}, opposite point"].verdict is Verdict.HOLDS


class WrongErf(jl.activations.AbstractClosedFormActivation):
    """Erf with a lie: its dual is that of a constant, so the kernel is singular where the theorem forbids it."""

    smooth = True
    bounded = True
    polynomial = False

    def __call__(self, u):
        """Zero slope: not the activation that the dual belongs to."""
        return 1.0 + 0.0 * u

    def dual(self, pair):
        """One: a matrix of rank one."""
        return np.ones(np.broadcast_shapes(pair.a.shape, pair.b.shape))

    def dual_derivative(self, pair):
        """Less than nothing: no Gram matrix at all."""
        return -np.ones(np.broadcast_shapes(pair.a.shape, pair.b.shape))

    def dual_error(self, pair):
        """None."""
        return 1e-16 * self.dual(pair)

    def dual_derivative_error(self, pair):
        """None."""
        return 1e-16 * self.dual(pair)


def test_a_kernel_that_breaks_the_theorem_is_violated():
    claims = by_name(jl.studies.definiteness(X, activations=[WrongErf()], variants=False))
    assert claims["WrongErf, as given"].verdict is Verdict.VIOLATED


def test_a_reason_that_the_matrix_contradicts_is_violated(monkeypatch):
    from jaxlimit.kernels import _gram

    monkeypatch.setattr(_gram, "singularities", lambda *_: ("points 0 and 1 are equal",))
    (claim,) = jl.studies.definiteness(X, activations=[jl.activations.Erf()], variants=False).claims
    assert claim.expected == SINGULAR
    assert claim.verdict is Verdict.VIOLATED


def test_laws_without_full_support_and_unknown_facts_leave_the_theorem_silent():
    class Unknown(jl.activations.AbstractActivation):
        """tanh, undeclared."""

        def __call__(self, u):
            """tanh(u)."""
            return u.__array_namespace__().tanh(u)

        def derivative(self, u):
            """1 − tanh²(u)."""
            return 1.0 - self(u) ** 2

    report = jl.studies.definiteness(X, activations=[Unknown()], rule=jl.kernels.Quadrature(), variants=False)
    (remark,) = report.remarks
    assert report.claims == ()
    assert "σ is no polynomial, σ grows slowly" in remark.reason
    assert "given: " in remark.error  # quadrature's assumption


class Kinked(jl.activations.AbstractActivation):
    """|u|, which Quadrature refuses."""

    smooth = False

    def __call__(self, u):
        """|u|."""
        return abs(u)

    def derivative(self, u):
        """Its sign."""
        return u.__array_namespace__().sign(u)


def test_closed_forms_are_used_where_they_exist_and_the_rule_elsewhere_and_no_case_is_lost():
    activations = [jl.activations.Relu(), jl.activations.Tanh(), Kinked()]
    report = jl.studies.definiteness(X, activations=activations, rule=jl.kernels.Quadrature(), variants=False)
    relu, tanh = report.claims
    assert (relu.verdict, tanh.verdict) == (Verdict.HOLDS, Verdict.HOLDS)
    assert "entries by closed form" in relu.error
    assert "given" not in relu.error
    assert "entries by Quadrature" in tanh.error
    assert "given: " in tanh.error
    assert report.configuration["rules"] == ["closed form", "Quadrature", "Quadrature"]
    (kinked,) = report.remarks
    assert (kinked.found, kinked.observed) == ("undecided", "no matrix")
    assert "must be ClosedForm() for a kinked activation" in kinked.reason
    assert np.all(report.arrays["lower"][:2] > 0)
    # Without a matrix, points that are equal are equal all the same.
    twice = np.concatenate([X, X[:1]])
    *_, kinked = jl.studies.definiteness(
        twice, activations=activations, rule=jl.kernels.Quadrature(), variants=False
    ).claims
    assert (kinked.observed, kinked.verdict) == ("0, structurally: points 0 and 6 are equal", Verdict.HOLDS)


def test_a_structural_zero_is_said_to_be_one_and_the_interval_to_be_numerical(report):
    claim = by_name(report)["Erf, repeated point"]
    assert claim.observed.startswith("0, structurally: points 0 and 6 are equal; numerically in [-")
    assert claim.error.startswith("proved by structure; entries by closed form, floor ")
    proved = by_name(report)["Erf, as given"]
    assert proved.error.startswith("proved from the matrix alone; ")
    low, high = (float(end) for end in proved.observed.removeprefix("λ_min ∈ [").removesuffix("]").split(", "))
    place = report.arrays["names"].tolist().index("Erf, as given")
    lower, upper = (report.arrays[end][place] for end in ("lower", "upper"))
    assert low <= lower < upper <= high
    assert high - low < 1.21 * (upper - lower)  # a place ten times finer loses a tenth at most, either side


def test_the_approach_to_parallel_points_is_quadratic_for_erf_and_linear_for_the_rectifier():
    slopes = {}
    for activation in (jl.activations.Erf(), jl.activations.Relu()):
        found = _definiteness._approach(jl.networks.Shallow(activation), 1.0, None)
        kept = (found.angles < 0.05) & (found.lower > 100 * found.floor)
        assert np.sum(kept) >= 7
        middle = np.sqrt(found.lower[kept] * found.upper[kept])
        slopes[type(activation).__name__] = np.polyfit(np.log(found.angles[kept]), np.log(middle), 1)[0]
        assert np.all(found.lower <= found.upper)
    # σ smooth: features move by θ, their squared distance is of order θ²; a kinked σ' moves by √θ in mean square.
    assert slopes == {"Erf": pytest.approx(2.0, abs=0.01), "Relu": pytest.approx(1.0, abs=0.03)}
    apart = _definiteness._approach(jl.networks.Shallow(jl.activations.Erf()), 2.0, None)
    assert apart.lower.min() > 0.03


def test_networks_alone_show_what_no_rule_can_prove():
    """A bound of the smallest eigenvalue where it is positive, none where it vanishes, a remark in silence.

    Where the kernel is singular, so is that of every network, and no sample can look definite. The mean of
    λ_min(B_N) lies below λ_min(B): t with 31 degrees of freedom exceeds 6 with probability 6e-7.
    """
    erf, relu = jl.activations.Erf(), jl.activations.Relu()
    sampled = {"key": jax.random.key(0), "neurons": 2048, "replicas": 32}
    report = jl.studies.sampled_definiteness(np.concatenate([X, -X[:1]]), activations=[erf, relu], **sampled)
    (claim,), (remark,) = report.claims, report.remarks
    assert (claim.name, claim.expected, claim.verdict) == ("Erf, as given", SINGULAR, Verdict.HOLDS)
    assert claim.observed == "λ_min(B) ≥ 0 at 95% confidence"
    assert (remark.name, remark.found) == ("Relu, as given", "positive definite at 95% confidence")
    assert report.arrays["lambda_min"].shape == (2, 32)
    report = jl.studies.sampled_definiteness(X, activations=[erf], **sampled)
    (claim,), values = report.claims, report.arrays["lambda_min"][0]
    assert (claim.expected, claim.verdict) == (GUARANTEED, Verdict.HOLDS)
    proved = jl.studies.definiteness(X, activations=[erf], variants=False).arrays
    error = values.std(ddof=1) / math.sqrt(32)
    assert 0.5 * proved["lower"][0] < values.mean() < proved["upper"][0] + 6 * error
    assert claim.error.startswith(f"mean of λ_min(B_N) {values.mean():.4g} ± {error:.2g} ")


def test_laws_without_full_support_and_too_few_neurons_leave_samples_without_a_claim_or_a_verdict():
    erf, key = [jl.activations.Erf()], jax.random.key(0)
    uniform = jl.Initial(w=jl.initial.Uniform(-2.0, 2.0))
    (remark,) = jl.studies.sampled_definiteness(
        X, key=key, activations=erf, neurons=64, replicas=2, initial=uniform
    ).remarks
    assert "w with full support" in remark.reason
    x = jl.data.sphere(points=12, inputs=3).x  # two neurons: rank 2·(1 + 3) at most
    (claim,) = jl.studies.sampled_definiteness(x, key=key, activations=erf, neurons=2).claims
    assert claim.verdict is Verdict.UNDECIDED


def test_a_sampled_kernel_that_contradicts_its_reason_is_violated(monkeypatch):
    from jaxlimit.kernels import _gram

    monkeypatch.setattr(_gram, "singularities", lambda *_: ("points 0 and 1 are equal",))
    report = jl.studies.sampled_definiteness(
        X, key=jax.random.key(0), activations=[jl.activations.Erf()], neurons=2048, replicas=32
    )
    assert report.violated


def test_bad_arguments_are_refused():
    for arguments, message in (
        ({"activations": []}, "`activations` must not be empty"),
        ({"activations": [jl.activations.Erf]}, "`activations` must be an AbstractActivation"),
        ({"activations": [jl.activations.Erf(), jl.activations.Tanh()]}, "`rule` must be given for Tanh"),
        ({"rule": jl.kernels.ClosedForm(), "activations": [jl.activations.Tanh()]}, "`rule` must be given for Tanh"),
        ({"rule": jl.kernels.Quadrature(), "activations": [Kinked()]}, "`rule` must be ClosedForm"),
        ({"rule": jl.kernels.MonteCarlo(64)}, "`rule` must bound its errors"),
    ):
        with pytest.raises(ValueError, match=message):
            jl.studies.definiteness(X, **arguments)
    for wrong, message in (
        ({"activations": []}, "`activations` must not be empty"),
        ({"neurons": 0}, "`neurons` must be a positive integer"),
        ({"replicas": 1}, "`replicas` must be at least 2"),
        ({"key": 3}, "`key` must be"),
    ):
        good = {"key": jax.random.key(0), "activations": [jl.activations.Erf()], "neurons": 64}
        with pytest.raises(ValueError, match=message):
            jl.studies.sampled_definiteness(X, **{**good, **wrong})
    with pytest.raises(ValueError, match="`x` must be finite"):
        jl.studies.definiteness([[math.nan]])


@pytest.mark.slow
def test_every_panel_draws(report):
    for panel in report.panels:
        assert jl.plots.png_bytes(panel.draw)[1:4] == b"PNG"
    assert [panel.name for panel in report.panels] == ["smallest", "approach"]
