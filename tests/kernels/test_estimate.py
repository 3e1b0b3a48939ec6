"""Estimates of λ_min against the proved interval, which they must never undercut."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

import jaxlimit as jl
from jaxlimit.kernels import Krylov, Quadrature, ShiftInvert, _estimate, _gram, _quadrature, lambda_min_estimate
from tests.cases import ACTIVATIONS

ERF = jl.networks.Shallow(jl.activations.Erf(), jl.Initial())
EASY, HARD = jl.data.sphere(points=60, inputs=20).x, jl.data.sphere(points=60, inputs=4).x
WEIGHTS = np.random.default_rng(0).uniform(0.5, 2.0, 60) / 60


def proof(x, weights=None, network=ERF, rule=None):
    kernel = jl.gram(network, x, rule=rule)
    return jl.certify(kernel if weights is None else kernel.scaled(np.sqrt(weights)))


@pytest.mark.parametrize("rows", [7, 1024])
@pytest.mark.parametrize("weights", [None, WEIGHTS])
@pytest.mark.parametrize("solver", [ShiftInvert(), Krylov(passes=8)])
def test_the_estimate_is_never_below_what_is_proved_and_agrees_with_it(monkeypatch, solver, weights, rows):
    monkeypatch.setattr(_estimate, "ROWS", rows)
    for x in (EASY, HARD):
        certificate, found = proof(x, weights), lambda_min_estimate(ERF, x, weights=weights, solver=solver)
        assert found.upper >= certificate.lower
        assert found.value <= found.upper <= found.value + 1e-12
        # Eight blocks of eight fill the space of 60 points, so both solvers are exact up to rounding here.
        assert abs(found.value - certificate.estimate) <= 1e-13
        assert found.residual <= 1e-6 * found.value + 1e-12
        assert str(found).startswith(f"ESTIMATE of λ_min by {solver!r}")


def test_too_few_passes_leave_an_estimate_that_is_too_large_and_says_so():
    certificate, found = proof(HARD), lambda_min_estimate(ERF, HARD, solver=Krylov(passes=2, block=2))
    assert found.value > 10 * certificate.upper
    assert found.residual > found.value - certificate.upper > 0


def test_a_singular_kernel_is_estimated_by_rounding():
    x = np.array([*HARD[:20], -HARD[0], HARD[3]])
    found = lambda_min_estimate(ERF, x, solver=ShiftInvert())
    assert abs(found.value) < 1e-14
    assert found.upper >= 0


@pytest.mark.parametrize("solver", [ShiftInvert(), Krylov()])
@pytest.mark.parametrize("x", [np.zeros((3, 3)), np.zeros((1, 2)), np.ones((1, 2)), np.eye(3), 1e-30 * np.eye(2)])
def test_kernels_that_are_a_multiple_of_the_identity_are_estimated_exactly(solver, x):
    """The origin, one point, orthonormal points: no direction is lower than another, and zero is no scale."""
    found = lambda_min_estimate(ERF, x, solver=solver)
    exact = float(jl.gram(ERF, x).value[0, 0])
    assert_allclose(found.value, exact, rtol=1e-14, atol=0)
    assert found.residual <= 1e-14 * exact
    assert exact <= found.upper <= exact * (1 + 1e-12) + 1e-300


def test_a_rule_brings_its_assumptions_along():
    case = ACTIVATIONS["tanh"]
    network = jl.networks.Shallow(case.activation, jl.Initial())
    found = lambda_min_estimate(network, EASY, case.rule)
    assert found.assumptions == jl.gram(network, EASY, rule=case.rule).assumptions != ()
    assert found.assumptions[0] in str(found)
    with pytest.raises(ValueError, match="Argument `rule` must"):
        lambda_min_estimate(network, EASY)


@pytest.mark.parametrize("solver", [ShiftInvert(), Krylov(passes=8)])
def test_the_rule_is_prepared_once_for_all_rows(monkeypatch, solver):
    """Blocks of 8 points and 16 rows; the series of all points are made once, not once for every pass and part."""
    calls, prepare = [], Quadrature.prepare

    def counted(self, activation, law, x, x2):
        calls.append(len(x))
        return prepare(self, activation, law, x, x2)

    for module, name, value in ((_estimate, "ROWS", 16), (_gram, "SIDE", 8), (_quadrature, "POINTS", 8)):
        monkeypatch.setattr(module, name, value)
    monkeypatch.setattr(Quadrature, "prepare", counted)
    tanh = jl.networks.Shallow(jl.activations.Tanh(), jl.Initial())
    found = lambda_min_estimate(tanh, HARD, Quadrature(), WEIGHTS, solver)
    assert sorted(calls) == [1, 60]  # one point shows whether the entries carry bounds
    assert abs(found.value - proof(HARD, WEIGHTS, tanh, Quadrature()).estimate) <= 1e-13


def test_monte_carlo_entries_are_refused_before_they_are_drawn_for_all_points(monkeypatch):
    calls = []
    monkeypatch.setattr(_estimate, "row_blocks", lambda *a: calls.append(a))
    with pytest.raises(ValueError, match="Argument `rule` must bound its errors"):
        lambda_min_estimate(ERF, EASY, jl.kernels.MonteCarlo(100))
    assert not calls


def test_memory_decides_and_refuses_beforehand(monkeypatch):
    calls = []
    monkeypatch.setattr(_estimate, "gram", lambda *a: calls.append(a))
    small = 8 * 60 * (4 * 240 + 8 * 1024)
    assert Krylov().bytes(60) == small
    monkeypatch.setattr(_estimate, "available_on_host", lambda: 1000)
    for solver in (None, ShiftInvert(), Krylov()):
        with pytest.raises(ValueError, match="Argument `x` must fit into the memory, but 60 points take"):
            lambda_min_estimate(ERF, EASY, solver=solver)
    assert not calls
    monkeypatch.undo()
    # With 20,000 points the matrix takes 4.3 GiB and the rows of Krylov's default 1.4.
    n = 20_000
    assert Krylov().bytes(n) < ShiftInvert().bytes(n)
    monkeypatch.setattr(_estimate, "available_on_host", lambda: None)
    assert lambda_min_estimate(ERF, EASY).method == "ShiftInvert()"


def test_where_the_matrix_does_not_fit_rows_are_computed_anew(monkeypatch):
    monkeypatch.setattr(_estimate, "ROWS", 8)
    monkeypatch.setattr(ShiftInvert, "bytes", lambda self, points: 2**60)
    monkeypatch.setattr(_estimate, "available_on_host", lambda: 2**40)
    found = lambda_min_estimate(ERF, EASY)
    assert "Krylov" in found.method
    assert_allclose(found.value, proof(EASY).estimate, rtol=1e-9)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"weights": np.ones(59)}, "`weights` must have shape"),
        ({"weights": np.zeros(60)}, "`weights` must be positive"),
        ({"solver": "lobpcg"}, "`solver` must be an AbstractEigensolver"),
    ],
)
def test_bad_arguments_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        lambda_min_estimate(ERF, EASY, **arguments)
    with pytest.raises(ValueError, match="`passes` must"):
        Krylov(passes=0)
