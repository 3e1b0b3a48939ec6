"""Krylov spaces against the eigendecomposition: within the bound that they state, and honest where they give up."""

import numpy as np
import pytest

import jaxlimit as jl
from tests import systems
from tests.cases import ACTIVATIONS
from tests.oracle import assert_same

TS = [0.0, 0.3, 2.0, 40.0]
MANY = jl.data.sphere(points=120, inputs=4)
PROBLEMS = {
    "uneven weights": jl.Data(systems.FULL_X, systems.FULL_Y, systems.uneven(5)),
    "singular": jl.Data([[1.0, 0.2], [-1.0, -0.2], [0.3, 0.8]], [1.0, 0.5, -1.0], [1, 2, 5]),
    "many": jl.Data(MANY.x, MANY.y, systems.uneven(120)),
}


def both(data, **settings):
    problem = systems.problem(ACTIVATIONS["erf"], data, **settings)
    return jl.KrylovLimit(problem), jl.SpectralLimit(problem)


def starts(data):
    rng = np.random.default_rng(0)
    return (
        rng.standard_normal((2, 3, data.points)),
        rng.standard_normal((2, data.inputs)),
        rng.standard_normal((2, 3, 2)),
    )


@pytest.mark.parametrize("alpha", [1.0, 300.0])
@pytest.mark.parametrize("name", PROBLEMS)
def test_paths_and_laws_are_those_of_the_eigendecomposition(name, alpha):
    data = PROBLEMS[name]
    krylov, spectral = both(data, alpha=alpha)
    h0, at, h0_at = starts(data)
    found, exact = krylov.solve(h0, TS, at, h0_at), spectral.path(h0, TS, at, h0_at)
    assert found.values.shape == exact.shape
    assert found.error.shape == (2, 3, 4)
    difference = found.values - exact
    # The eigendecomposition rounds as well, by 1e-15·λ_max t times the size of the start.
    gap = np.sqrt(np.square(difference[..., : data.points]) @ data.weights)
    rounding = 1e-14 * (1 + spectral.eigenvalues[-1] * np.array(TS))
    assert np.all(gap <= found.error + rounding)
    reach = np.max(np.sqrt(np.square(spectral.kernel.cross_drift(at)) @ (1 / data.weights)))
    assert np.all(
        np.abs(difference[..., data.points :]) <= 1e-12 + (reach * np.array(TS) * (found.error + rounding))[..., None]
    )
    assert np.all(found.dimension <= data.points)
    chosen = [data.points - 1, 0]
    law, whole = krylov.law(TS, chosen, at), spectral.law(TS, at)
    which = [*chosen, data.points, data.points + 1]
    assert_same(law.mean, whole.mean[:, which], 1e-9)
    assert_same(law.covariance, whole.covariance[:, which][:, :, which], 1e-9)


@pytest.mark.parametrize("tolerance", [1e-2, 1e-4, 1e-7])
def test_the_stated_bound_holds_and_is_not_vacuous(tolerance):
    data = PROBLEMS["many"]
    problem = systems.problem(ACTIVATIONS["erf"], data, alpha=100.0)
    start = starts(data)[0][0]
    found = jl.KrylovLimit(problem, tolerance=tolerance).solve(start, TS)
    gap = np.sqrt(np.square(found.values - jl.SpectralLimit(problem).path(start, TS)) @ data.weights)
    norm = np.sqrt(np.square(start - data.y) @ data.weights)
    assert np.all(gap <= found.error + 1e-13)
    assert np.all(found.error <= tolerance * norm[:, None] * (1 + 1e-9))
    assert np.all(gap[:, -1] > 0.01 * found.error[:, -1])
    assert np.all(found.dimension < 40)


def test_a_smaller_tolerance_takes_a_larger_space():
    problem = systems.problem(ACTIVATIONS["erf"], PROBLEMS["many"], alpha=100.0)
    start = np.zeros(120)
    loose, tight = (jl.KrylovLimit(problem, tolerance=e).solve(start, TS) for e in (1e-3, 1e-10))
    assert loose.dimension < tight.dimension


def test_above_one_half_the_law_is_deterministic():
    krylov, spectral = both(PROBLEMS["uneven weights"], gamma=0.7)
    law = krylov.law(TS, points=[1])
    assert not law.covariance.any()
    assert_same(law.mean, spectral.law(TS).mean[:, [1]], 1e-12)


def test_targets_are_fixed_points():
    krylov, _ = both(PROBLEMS["uneven weights"])
    found = krylov.solve(systems.FULL_Y, TS)
    assert_same(found.values, np.tile(systems.FULL_Y, (4, 1)), 1e-15)
    # Nothing moves; what is left is the rounding of the targets themselves.
    assert 0 < found.error.max() < 1e-15


def test_the_bound_covers_a_start_beside_the_targets_or_an_eigenvector():
    """Where little moves the rounding of h itself is all there is, and what a breakdown drops is not nothing."""
    problem = PROBLEMS["uneven weights"]
    krylov, spectral = both(problem)
    root = np.sqrt(krylov.kernel.problem.data.weights)
    near = systems.FULL_Y * (1 + 1e-9)
    top = systems.FULL_Y + (spectral.basis[:, -1] + 3e-14 * spectral.basis[:, 0]) / root
    for start in (near, top):
        found = krylov.solve(start, TS)
        difference = np.linalg.norm(root * (found.values - spectral.path(start, TS)), axis=1)
        # The exact solution rounds as well: by a few units of what it adds up.
        assert np.all(difference <= found.error + 1e-15)
        assert np.all(found.error < 1e-13)


def test_a_space_that_is_too_small_is_an_error_that_names_remedies():
    problem = systems.problem(ACTIVATIONS["erf"], PROBLEMS["many"], alpha=100.0)
    with pytest.raises(RuntimeError, match=r"dimension 5 does not reach .* raise `max_dimension`"):
        jl.KrylovLimit(problem, max_dimension=5).path(np.zeros(120), TS)


@pytest.mark.parametrize(("points", "at"), [([], None), ([5], None), ([-1], None), (3, None)])
def test_bad_points_are_refused(points, at):
    krylov, _ = both(PROBLEMS["uneven weights"])
    with pytest.raises(ValueError, match="Argument `points` must"):
        krylov.law(TS, points, at)


@pytest.mark.parametrize("tolerance", [0.0, 1.0, 1e-14])
def test_bad_tolerances_are_refused(tolerance):
    with pytest.raises(ValueError, match="Argument `tolerance` must"):
        jl.KrylovLimit(systems.problem(ACTIVATIONS["erf"], PROBLEMS["uneven weights"]), tolerance=tolerance)
